"""Images of the faces in a video, from which the user chooses one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..contract.arrays import U8
from ..contract.atomic_write import make_folder, write_bytes_atomically
from ..media.decode import read_frames
from .overlay import PERSON_COLOR, SHADE_COLOR

FaceBox = tuple[int, int, int, int]  # x, y, width, height in footage pixels

FACE_IMAGE_SIDE = 160  # pixels, of the image of one face
MAX_OVERVIEW_SIDE = 960  # pixels, longest side of the image with all faces


def write_face_images(video: Path, boxes: Sequence[FaceBox], frame_index: int, folder: Path) -> tuple[Path, list[Path]]:
    """Write `faces.png`, the frame with a numbered box around each face, and `face_1.png` … of each face.

    Args:
        video: the footage.
        boxes: the faces, from left to right.
        frame_index: a frame that shows all of them.
        folder: the output folder; made if missing.

    Returns:
        The path of `faces.png` and the paths of the others.

    Raises:
        UserError: the folder cannot be written.
    """
    rgb = next(rgb for index, _, rgb in read_frames(video) if index >= frame_index)
    names = [folder / f"face_{number}.png" for number in range(1, len(boxes) + 1)]
    make_folder(folder)
    _write_png(folder / "faces.png", draw_numbered_boxes(rgb, boxes))
    for name, box in zip(names, boxes, strict=True):
        _write_png(name, crop_face(rgb, box))
    return folder / "faces.png", names


def crop_face(rgb: U8, box: FaceBox) -> U8:
    """Return the square in the middle of a face's box, `FACE_IMAGE_SIDE` pixels wide."""
    x, y, width, height = box
    side = min(width, height)
    left, top = x + (width - side) // 2, y + (height - side) // 2
    return _resize(rgb[top : top + side, left : left + side], (FACE_IMAGE_SIDE, FACE_IMAGE_SIDE))


def draw_numbered_boxes(rgb: U8, boxes: Sequence[FaceBox]) -> U8:
    """Return the frame, scaled down to `MAX_OVERVIEW_SIDE`, with a box and a number for each face."""
    scale = min(1.0, MAX_OVERVIEW_SIDE / max(rgb.shape[:2]))
    image = _resize(rgb, (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)))
    for number, box in enumerate(boxes, 1):
        x, y, width, height = (round(value * scale) for value in box)
        for color, thickness in ((SHADE_COLOR, 5), (PERSON_COLOR, 2)):
            cv2.rectangle(image, (x + 2, y + 2), (x + width - 3, y + height - 3), color, thickness, cv2.LINE_AA)
        cv2.circle(image, (x + 24, y + 24), 17, SHADE_COLOR, -1, cv2.LINE_AA)
        (text_width, text_height), _ = cv2.getTextSize(str(number), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 2)
        origin = (x + 24 - text_width // 2, y + 24 + text_height // 2)
        cv2.putText(image, str(number), origin, cv2.FONT_HERSHEY_SIMPLEX, 0.8, PERSON_COLOR, 2, cv2.LINE_AA)
    return image


def _resize(rgb: Any, size: tuple[int, int]) -> U8:
    interpolation = cv2.INTER_AREA if size[0] < rgb.shape[1] else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(rgb, size, interpolation=interpolation)).astype(np.uint8)


def _write_png(path: Path, rgb: U8) -> None:
    data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
    write_bytes_atomically(path, data.tobytes())
