"""The part of the footage that shows the actor: its box, its crops, their mattes and the plate."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..actor import ActorFolder
from ..matting.person import PersonMatte, PlateEstimator
from ..matting.regions import head_region, mouth_region
from ..progress import Reporter
from ..tracking import topology as topo
from ..tracking.selection import Selection
from ..video.decode import frames
from .frames import FrameStore

Picture = NDArray[np.uint8]
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
) -> None:
    """Streams the chosen stretch into `frames/` and `mattes/`, and estimates the plate."""
    store = FrameStore(folder)
    store.make_folders()
    count = selection.last - selection.first + 1
    plate = PlateEstimator(count)
    local = to_crop(selection.landmarks, box, size)
    stretch = takewhile(lambda f: f[0] <= selection.last, frames(video))
    chosen = ((i - selection.first, rgb) for i, _, rgb in stretch if i >= selection.first)
    with PersonMatte() as person:
        for t, rgb in reporter.track(chosen, "cut out the person", count):
            picture = crop(rgb, box, size)
            alpha = person(picture)
            store.write_frame(t, picture)
            shape = picture.shape[0], picture.shape[1]
            store.write_matte(t, alpha, head_region(local[t], shape), mouth_region(local[t], shape))
            plate.add(picture, alpha)
    background, seen = plate.plate()
    with folder.replacing("plate.png") as part:
        rgba = np.dstack([background[..., ::-1], np.where(seen, 255, 0).astype(np.uint8)])
        part.write_bytes(cv2.imencode(".png", rgba)[1].tobytes())
