"""Pictures of the faces that a video shows, for the person to choose one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..contract.arrays import U8
from ..contract.atomic_write import make_folder, write_bytes_atomically
from ..media.decode import read_frames
from .overlay import PERSON_COLOR

FaceBox = tuple[int, int, int, int]  # x, y, width, height in footage pixels

FACE_IMAGE_SIDE = 160  # pixels of a face's picture
MAX_OVERVIEW_SIDE = 960  # pixels of the longest side of the picture with all of them
SHADE_COLOR = (18, 26, 44)


def write_face_images(video: Path, boxes: Sequence[FaceBox], frame_index: int, folder: Path) -> tuple[Path, list[Path]]:
    """Writes `faces.png`, the frame with a numbered box around each face, and `face_1.png` … of each alone.

    Args:
        regions: where the faces are, from the left. frame: which frame shows them all. folder: is made when missing.

    Returns:
        the path of the first and the paths of the others.

    Raises:
        UserError: the folder cannot be written.
    """
    footage = read_frames(video)
    rgb = next(rgb for index, _, rgb in footage if index >= frame_index)
    names = [folder / f"face_{number}.png" for number in range(1, len(boxes) + 1)]
    make_folder(folder)
    _write_png(folder / "faces.png", draw_numbered_boxes(rgb, boxes))
    for name, region in zip(names, boxes, strict=True):
        _write_png(name, crop_face(rgb, region))
    return folder / "faces.png", names


def crop_face(rgb: U8, box: FaceBox) -> U8:
    """(SIDE, SIDE, 3) of one face: the square in the middle of its region."""
    x, y, width, height = box
    side = min(width, height)
    left, top = x + (width - side) // 2, y + (height - side) // 2
    return _resize(rgb[top : top + side, left : left + side], (FACE_IMAGE_SIDE, FACE_IMAGE_SIDE))


def draw_numbered_boxes(rgb: U8, boxes: Sequence[FaceBox]) -> U8:
    """The frame, at most `OVERVIEW` pixels long, with a box and a number per face."""
    scale = min(1.0, MAX_OVERVIEW_SIDE / max(rgb.shape[:2]))
    picture = _resize(rgb, (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)))
    for number, region in enumerate(boxes, 1):
        x, y, width, height = (round(v * scale) for v in region)
        for colour, thick in ((SHADE_COLOR, 5), (PERSON_COLOR, 2)):
            cv2.rectangle(picture, (x + 2, y + 2), (x + width - 3, y + height - 3), colour, thick, cv2.LINE_AA)
        cv2.circle(picture, (x + 24, y + 24), 17, SHADE_COLOR, -1, cv2.LINE_AA)
        (wide, high), _ = cv2.getTextSize(str(number), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 2)
        place = (x + 24 - wide // 2, y + 24 + high // 2)
        cv2.putText(picture, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, 0.8, PERSON_COLOR, 2, cv2.LINE_AA)
    return picture


def _resize(rgb: Any, size: tuple[int, int]) -> U8:
    smaller = size[0] < rgb.shape[1]
    kind = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(rgb, size, interpolation=kind)).astype(np.uint8)


def _write_png(path: Path, rgb: U8) -> None:
    data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
    write_bytes_atomically(path, data.tobytes())
