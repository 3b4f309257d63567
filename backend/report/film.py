"""The overlay film: every crop with what was found in it, and the clip's sound, for the report and for Blender."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import cv2

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F32, Image
from ..contract.progress import Reporter
from ..media.encode import CompressionSettings, VideoWriter
from .overlay import draw_overlay, overlay_side
from .tracked import TrackingData

OVERLAY_FILE = "overlay.mp4"
OVERLAY_STAGE = "draw the report"
SEEKABLE_COMPRESSION = CompressionSettings(crf=25, preset="veryfast", keyframe_interval=25)

ReadFrame = Callable[[int], Image]
ReadMatte = Callable[[int], F32]


def write_overlay_video(folder: ActorFolder, read_frame: ReadFrame, read_matte: ReadMatte, reporter: Reporter) -> None:
    """Writes `overlay.mp4`; its frame n is the actor's footage frame n.

    Args:
        frame: reads a crop (S, S, 3) uint8 RGB. matte: reads its alphas (S, S, 3 or 4) float32 0–1: person, head,
            mouth interior and hair. Both are called from several threads.

    Raises:
        UserError: a frame is missing or damaged, or the disk is full.
    """
    tracked, info = TrackingData.load(folder), folder.info
    side = overlay_side(info.size)
    sound = folder.file_path("audio.wav") if info.has_audio else None
    title = {"title": f"{info.name}: tracking overlay"}
    with VideoWriter(
        folder.file_path(OVERLAY_FILE), side, side, info.fps, sound, title, compression=SEEKABLE_COMPRESSION
    ) as film:
        for picture in reporter.report_items(
            _draw_frames(tracked, read_frame, read_matte), OVERLAY_STAGE, len(tracked)
        ):
            film.write_frame(picture)


def _draw_frames(tracking: TrackingData, read_frame: ReadFrame, read_matte: ReadMatte) -> Iterator[Image]:
    """All drawn frames in order, some drawn ahead on other cores while the film is being compressed."""

    def draw_frame(t: int) -> Image:
        return draw_overlay(
            read_frame(t),
            read_matte(t),
            tracking.project_mesh(t),
            tracking.project_head_axes(t),
            tracking.project_torso_axes(t),
        )

    workers, inner = min(4, os.cpu_count() or 1), cv2.getNumThreads()
    cv2.setNumThreads(1)  # a frame is one thread's work: OpenCV's own threads would only wait for each other
    try:
        with ThreadPoolExecutor(workers, "overlay") as pool:
            ahead: deque[Future[Image]] = deque()
            for t in range(len(tracking)):
                ahead.append(pool.submit(draw_frame, t))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
    finally:
        cv2.setNumThreads(inner)
