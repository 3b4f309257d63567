"""Pictures of the faces that a video shows, for the person to choose one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..contract.atomic_write import make_folder, save_whole
from ..media.decode import frames
from .overlay import PERSON

Region = tuple[int, int, int, int]  # x, y, width, height in footage pixels

SIDE = 160  # pixels of a face's picture
OVERVIEW = 960  # pixels of the longest side of the picture with all of them
SHADE = (18, 26, 44)


def write_faces(video: Path, regions: Sequence[Region], frame: int, folder: Path) -> tuple[Path, list[Path]]:
    """Writes `faces.png`, the frame with a numbered box around each face, and `face_1.png` … of each alone.

    Args:
        regions: where the faces are, from the left. frame: which frame shows them all. folder: is made when missing.

    Returns:
        the path of the first and the paths of the others.

    Raises:
        UserError: the folder cannot be written.
    """
    footage = frames(video)
    rgb = next(rgb for index, _, rgb in footage if index >= frame)
    names = [folder / f"face_{number}.png" for number in range(1, len(regions) + 1)]
    make_folder(folder)
    _write(folder / "faces.png", numbered(rgb, regions))
    for name, region in zip(names, regions, strict=True):
        _write(name, portrait(rgb, region))
    return folder / "faces.png", names


def portrait(rgb: NDArray[np.uint8], region: Region) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3) of one face: the square in the middle of its region."""
    x, y, width, height = region
    side = min(width, height)
    left, top = x + (width - side) // 2, y + (height - side) // 2
    return _resized(rgb[top : top + side, left : left + side], (SIDE, SIDE))


def numbered(rgb: NDArray[np.uint8], regions: Sequence[Region]) -> NDArray[np.uint8]:
    """The frame, at most `OVERVIEW` pixels long, with a box and a number per face."""
    scale = min(1.0, OVERVIEW / max(rgb.shape[:2]))
    picture = _resized(rgb, (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)))
    for number, region in enumerate(regions, 1):
        x, y, width, height = (round(v * scale) for v in region)
        for colour, thick in ((SHADE, 5), (PERSON, 2)):
            cv2.rectangle(picture, (x + 2, y + 2), (x + width - 3, y + height - 3), colour, thick, cv2.LINE_AA)
        cv2.circle(picture, (x + 24, y + 24), 17, SHADE, -1, cv2.LINE_AA)
        (wide, high), _ = cv2.getTextSize(str(number), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 2)
        place = (x + 24 - wide // 2, y + 24 + high // 2)
        cv2.putText(picture, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, 0.8, PERSON, 2, cv2.LINE_AA)
    return picture


def _resized(rgb: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    smaller = size[0] < rgb.shape[1]
    kind = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(rgb, size, interpolation=kind)).astype(np.uint8)


def _write(path: Path, rgb: NDArray[np.uint8]) -> None:
    data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
    save_whole(path, data.tobytes())
