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

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F32, F64, U8, Floats
from ..contract.progress import Reporter
from ..matting.clip import ClipMatting
from ..matting.person import PersonSegmenter
from ..matting.temporal_filter import TemporalFilter
from ..media.decode import read_frames
from ..tracking.detection import topology as topo
from ..tracking.detection.selection import SegmentSelection
from .frame_store import FrameStore

S = TypeVar("S")
T = TypeVar("T")
MAX_WORKERS = min(4, os.cpu_count() or 1)
CROP_MARGIN_FACE_HEIGHTS = (0.50, 0.85)  # face heights above the forehead and below the chin that the crop shows


def crop_box(landmarks: Floats, footage_size: tuple[int, int]) -> tuple[float, float, float]:
    """x, y, side in whole pixels of the square that holds head and shoulders over the whole stretch.

    Args:
        landmarks: (T, 478, ≥2) footage pixels. size: width and height of the footage frame.
    """
    top, bottom = (np.percentile(landmarks[:, i, 1], p) for i, p in ((topo.FOREHEAD, 2), (topo.CHIN, 98)))
    height = float(np.median(np.ptp(landmarks[..., 1], axis=1)))
    middle = float(np.median(landmarks[:, topo.NOSE_TIP, 0]))
    wanted = (bottom + CROP_MARGIN_FACE_HEIGHTS[1] * height) - (top - CROP_MARGIN_FACE_HEIGHTS[0] * height)
    side = round(min(wanted, *footage_size))
    x = round(np.clip(middle - side / 2, 0, footage_size[0] - side))
    y = round(np.clip(top - CROP_MARGIN_FACE_HEIGHTS[0] * height, 0, footage_size[1] - side))
    return float(x), float(y), float(side)


def to_crop_space(landmarks: Floats, box: tuple[float, float, float], crop_size: int) -> F64:
    """Landmarks (T, 478, 3) from footage pixels to pixels of the crop; depth is scaled alike."""
    x, y, side = box
    return (np.asarray(landmarks, np.float64) - [x, y, 0]) * (crop_size / side)


def crop_image(image: U8, box: tuple[float, float, float], crop_size: int) -> U8:
    """The square x, y, side of a picture (H, W, 3), resized to (size, size, 3)."""
    x, y, side = (round(v) for v in box)
    part = image[y : y + side, x : x + side]
    smaller = side > crop_size
    return np.ascontiguousarray(
        cv2.resize(part, (crop_size, crop_size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    )


def write_crops(
    video: Path,
    folder: ActorFolder,
    selection: SegmentSelection,
    box: tuple[float, float, float],
    crop_size: int,
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
    local = to_crop_space(selection.landmarks, box, crop_size)
    clip = ClipMatting(count)
    stretch = takewhile(lambda f: f[0] <= selection.last, read_frames(video))

    def cut() -> Iterator[U8]:
        for i, _, rgb in stretch:
            if i >= selection.first:
                picture = crop_image(rgb, box, crop_size)
                store.write_frame(i - selection.first, picture)
                yield picture

    with PersonSegmenter() as person, single_opencv_thread(), closing(prefetch(cut())) as pictures:
        for t, picture in enumerate(reporter.report_items(pictures, "cut out the person", count)):
            mask = person(picture)
            store.write_mask(t, mask)
            clip.add_frame(picture, mask, local[t])
        clip.learn()
    with folder.write_atomically("plate.png") as part:
        rgba = np.dstack([clip.plate.color[..., ::-1], np.where(clip.plate.seen, 255, 0).astype(np.uint8)])
        part.write_bytes(cv2.imencode(".png", rgba)[1].tobytes())
    return _write_mattes(store, clip, local, reporter)


def _write_mattes(store: FrameStore, clip_mattes: ClipMatting, crop_landmarks: F64, reporter: Reporter) -> float:
    """The second pass: refines and writes several frames at a time, on all cores; steadies them in their order."""
    steadier, count = TemporalFilter(), len(crop_landmarks)

    def refine(t: int) -> tuple[U8, F32, float]:
        picture = store.read_frame(t, use_cache=False)
        return picture, *clip_mattes.compute_matte(picture, store.read_mask(t), crop_landmarks[t])

    def steadied() -> Iterator[tuple[int, F32, float]]:
        for t, (picture, matte, share) in enumerate(map_in_order(pool, refine, range(count))):
            yield t, steadier(picture, matte), share

    def write(item: tuple[int, F32, float]) -> float:
        t, matte, share = item
        store.write_matte(t, matte)
        return share

    with ThreadPoolExecutor(MAX_WORKERS, "mattes") as pool, single_opencv_thread():
        written = map_in_order(pool, write, steadied())
        return float(np.mean(list(reporter.report_items(written, "refine the mattes", count))))


@contextmanager
def single_opencv_thread() -> Iterator[None]:
    """Keeps OpenCV from threads of its own, which would only wait for each other: a frame is one thread's work."""
    inner = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(inner)


def map_in_order(pool: ThreadPoolExecutor, function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """work(item) of one item after the other, worked out a few ahead, one to a thread."""
    waiting: deque[Future[T]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * MAX_WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def prefetch(items: Iterator[T]) -> Generator[T, None, None]:
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
