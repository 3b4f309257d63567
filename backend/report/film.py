"""The overlay film: every crop with what was found in it, and the clip's sound, for the report and for Blender."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from ..contract.actor_folder import ActorFolder
from ..contract.progress import Reporter
from ..media.encode import Compression, VideoWriter
from .overlay import Picture, draw, drawn_side
from .tracked import Tracked

FILM = "overlay.mp4"
STAGE = "draw the report"
SMOOTH_TO_SEEK = Compression(crf=25, preset="veryfast", keyframes=25)

Frame = Callable[[int], Picture]
Matte = Callable[[int], NDArray[np.float32]]


def write_film(folder: ActorFolder, frame: Frame, matte: Matte, reporter: Reporter) -> None:
    """Writes `overlay.mp4`; its frame n is the actor's footage frame n.

    Args:
        frame: reads a crop (S, S, 3) uint8 RGB. matte: reads its alphas (S, S, 3 or 4) float32 0–1: person, head,
            mouth interior and hair. Both are called from several threads.

    Raises:
        UserError: a frame is missing or damaged, or the disk is full.
    """
    tracked, info = Tracked.load(folder), folder.info
    side = drawn_side(info.size)
    sound = folder.file("audio.wav") if info.has_audio else None
    title = {"title": f"{info.name}: tracking overlay"}
    with VideoWriter(folder.file(FILM), side, side, info.fps, sound, title, compression=SMOOTH_TO_SEEK) as film:
        for picture in reporter.track(_pictures(tracked, frame, matte), STAGE, len(tracked)):
            film.write(picture)


def _pictures(tracked: Tracked, frame: Frame, matte: Matte) -> Iterator[Picture]:
    """All drawn frames in order, some drawn ahead on other cores while the film is being compressed."""

    def work(t: int) -> Picture:
        return draw(frame(t), matte(t), tracked.mesh(t), tracked.head_axes(t), tracked.torso_axes(t))

    workers, inner = min(4, os.cpu_count() or 1), cv2.getNumThreads()
    cv2.setNumThreads(1)  # a frame is one thread's work: OpenCV's own threads would only wait for each other
    try:
        with ThreadPoolExecutor(workers, "overlay") as pool:
            ahead: deque[Future[Picture]] = deque()
            for t in range(len(tracked)):
                ahead.append(pool.submit(work, t))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
    finally:
        cv2.setNumThreads(inner)
