"""Pictures of an actor's folder, PNG and JPEG: no other decoder is given a file, none a picture that is too large."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..contract.actor_folder import MAX_CROP_SIDE, damaged_file_error, foreign_link_error
from ..contract.arrays import U8
from ..contract.safe_io import read_bytes

PNG_SIGNATURE, JPEG_SIGNATURE = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
MAX_FILE_BYTES = 256 * 2**20  # of a picture's file
JPEG_FRAME_MARKERS = {*range(0xC0, 0xD0)} - {
    0xC4,
    0xC8,
    0xCC,
}  # JPEG's markers of a frame header (ITU-T T.81, table B.1)
UNCHANGED = cv2.IMREAD_UNCHANGED
COLOR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # BGR, whatever is stored


def read_image(file: Path, mode: int = UNCHANGED) -> U8:
    """The picture (H, W) or (H, W, C) in a file of an actor, blue first; `way` is UNCHANGED or COLOUR.

    Raises:
        UserError: missing or damaged.
    """
    return decode_actor_image(file, read_image_bytes(file), mode)


def read_image_bytes(file: Path) -> bytes:
    """A picture's file as it is, to be kept and decoded later.

    Raises:
        UserError: it cannot be read, or is a link.
    """
    try:
        return read_bytes(file, MAX_FILE_BYTES, follow_links=False)
    except (OSError, ValueError) as error:
        raise (foreign_link_error(file) if file.is_symlink() else damaged_file_error(file)) from error


def decode_actor_image(file: Path, data: bytes, mode: int = UNCHANGED) -> U8:
    """`read_picture` of bytes that came from `file`."""
    try:
        picture = decode_image(data, MAX_CROP_SIDE, mode)
    except ValueError as error:
        raise damaged_file_error(file) from error
    if picture.dtype != np.uint8:
        raise damaged_file_error(file)
    return picture


def decode_image(data: bytes, max_side: int, mode: int = UNCHANGED) -> NDArray[Any]:
    """The picture in the bytes of a PNG or a JPEG.

    Raises:
        ValueError: there is none, or a side is longer than `longest` pixels.
    """
    if not all(0 < side <= max_side for side in _read_size(data)):
        raise ValueError("the picture is too large")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error as error:
        raise ValueError("the picture is damaged") from error
    if picture is None:
        raise ValueError("the picture is damaged")
    return picture


def _read_size(data: bytes) -> tuple[int, int]:
    """The sides that the header tells; decoders take memory for them before they look further."""
    if data[:8] == PNG_SIGNATURE and len(data) >= 24:
        _check_png_chunks(data)
        width, height = struct.unpack_from(">II", data, 16)
        return int(width), int(height)
    at = 2 if data[:3] == JPEG_SIGNATURE else len(data)
    while at + 9 <= len(data) and data[at] == 0xFF:
        length, _, height, width = struct.unpack_from(">HBHH", data, at + 2)
        if data[at + 1] in JPEG_FRAME_MARKERS:
            return int(width), int(height)
        at += 2 + length
    raise ValueError("neither PNG nor JPEG")


def _check_png_chunks(data: bytes) -> None:
    """Refuse a PNG with a chunk that is damaged, is longer than the rest of the file, or makes it an animation.

    OpenCV allocates as much memory as a chunk claims, and uses the last header (PNG specification, sections 5.3, 5.6).
    """
    at, kinds = len(PNG_SIGNATURE), []
    while at + 12 <= len(data) and b"IEND" not in kinds:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[at + 4 : end])):
            raise ValueError("a chunk is damaged")
        kinds.append(kind)
        at = end + 4
    if kinds[:1] != [b"IHDR"] or kinds.count(b"IHDR") > 1 or kinds[-1] != b"IEND" or b"acTL" in kinds:
        raise ValueError("its chunks are not those of a picture")
