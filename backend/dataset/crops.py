"""The part of the footage that shows the actor: its box, its crops, their mattes and the plate."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..contract.actor_folder import ActorFolder
from ..contract.progress import Reporter
from ..matting.clip import ClipMattes
from ..matting.person import PersonMask
from ..matting.temporal_filter import Steadier
from ..media.decode import frames
from ..tracking.detection import topology as topo
from ..tracking.detection.selection import Selection
from .frame_store import FrameStore

S = TypeVar("S")
T = TypeVar("T")
F32 = NDArray[np.float32]
Picture = NDArray[np.uint8]
WORKERS = min(4, os.cpu_count() or 1)
CROP_HEIGHTS = (0.50, 0.85)  # face heights above the forehead and below the chin that the crop shows


def crop_box(landmarks: NDArray[np.floating[Any]], size: tuple[int, int]) -> tuple[float, float, float]:
    """x, y, side in whole pixels of the square that holds head and shoulders over the whole stretch.

    Args:
        landmarks: (T, 478, ≥2) footage pixels. size: width and height of the footage frame.
    """
    top, bottom = (np.percentile(landmarks[:, i, 1], p) for i, p in ((topo.FOREHEAD, 2), (topo.CHIN, 98)))
    height = float(np.median(np.ptp(landmarks[..., 1], axis=1)))
    middle = float(np.median(landmarks[:, topo.NOSE_TIP, 0]))
    wanted = (bottom + CROP_HEIGHTS[1] * height) - (top - CROP_HEIGHTS[0] * height)
    side = round(min(wanted, *size))
    x = round(np.clip(middle - side / 2, 0, size[0] - side))
    y = round(np.clip(top - CROP_HEIGHTS[0] * height, 0, size[1] - side))
    return float(x), float(y), float(side)


def to_crop(landmarks: NDArray[np.floating[Any]], box: tuple[float, float, float], size: int) -> NDArray[np.float64]:
    """Landmarks (T, 478, 3) from footage pixels to pixels of the crop; depth is scaled alike."""
    x, y, side = box
    return (np.asarray(landmarks, np.float64) - [x, y, 0]) * (size / side)


def crop(rgb: Picture, box: tuple[float, float, float], size: int) -> Picture:
    """The square x, y, side of a picture (H, W, 3), resized to (size, size, 3)."""
    x, y, side = (round(v) for v in box)
    part = rgb[y : y + side, x : x + side]
    smaller = side > size
    return np.ascontiguousarray(
        cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    )


def write_crops(
    video: Path,
    folder: ActorFolder,
    selection: Selection,
    box: tuple[float, float, float],
    size: int,
    reporter: Reporter,
) -> float:
    """Streams the chosen stretch into `frames/` and `mattes/`, and estimates the plate, in two passes.

    The first cuts the person out roughly and learns what the background and the hair look like; the second draws the
    mattes to the edge.

    Returns:
        The share 0–1 of the person's edge that the known background could decide.
    """
    store = FrameStore(folder)
    store.make_folders()
    count = selection.last - selection.first + 1
    local = to_crop(selection.landmarks, box, size)
    clip = ClipMattes(count)
    stretch = takewhile(lambda f: f[0] <= selection.last, frames(video))

    def cut() -> Iterator[Picture]:
        for i, _, rgb in stretch:
            if i >= selection.first:
                picture = crop(rgb, box, size)
                store.write_frame(i - selection.first, picture)
                yield picture

    with PersonMask() as person, one_thread_each(), closing(ahead(cut())) as pictures:
        for t, picture in enumerate(reporter.track(pictures, "cut out the person", count)):
            mask = person(picture)
            store.write_mask(t, mask)
            clip.look(picture, mask, local[t])
        clip.learn()
    with folder.replacing("plate.png") as part:
        rgba = np.dstack([clip.plate.colour[..., ::-1], np.where(clip.plate.seen, 255, 0).astype(np.uint8)])
        part.write_bytes(cv2.imencode(".png", rgba)[1].tobytes())
    return _write_mattes(store, clip, local, reporter)


def _write_mattes(store: FrameStore, clip: ClipMattes, local: NDArray[np.float64], reporter: Reporter) -> float:
    """The second pass: refines and writes several frames at a time, on all cores; steadies them in their order."""
    steadier, count = Steadier(), len(local)

    def refine(t: int) -> tuple[Picture, F32, float]:
        picture = store.frame(t, keep=False)
        return picture, *clip.matte(picture, store.mask(t), local[t])

    def steadied() -> Iterator[tuple[int, F32, float]]:
        for t, (picture, matte, share) in enumerate(in_order(pool, refine, range(count))):
            yield t, steadier(picture, matte), share

    def write(item: tuple[int, F32, float]) -> float:
        t, matte, share = item
        store.write_matte(t, matte)
        return share

    with ThreadPoolExecutor(WORKERS, "mattes") as pool, one_thread_each():
        written = in_order(pool, write, steadied())
        return float(np.mean(list(reporter.track(written, "refine the mattes", count))))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Keeps OpenCV from threads of its own, which would only wait for each other: a frame is one thread's work."""
    inner = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(inner)


def in_order(pool: ThreadPoolExecutor, work: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """work(item) of one item after the other, worked out a few ahead, one to a thread."""
    waiting: deque[Future[T]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items, made a few ahead by a thread of their own."""
    end: Any = object()
    with ThreadPoolExecutor(1, "ahead") as pool:
        waiting = deque(pool.submit(next, items, end) for _ in range(4))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(pool.submit(next, items, end))
                yield item
        finally:
            for future in waiting:
                future.cancel()
