"""The crops and mattes of an actor: written once while the footage streams by, read again at random in training."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from ..contract.actor_folder import ActorFolder, damaged_file_error
from ..contract.arrays import F32, U8
from ..contract.atomic_write import write_bytes_atomically
from ..media.image_io import COLOR, UNCHANGED, decode_actor_image, read_image, read_image_bytes

JPEG_PARAMETERS = [cv2.IMWRITE_JPEG_QUALITY, 98, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
PNG_FILTER_UP, PNG_COLOR_GRAY, PNG_COLOR_RGBA = 2, 0, 6  # PNG's numbers for a filter and two kinds of colour
MATTE_PERSON, MATTE_HEAD, MATTE_MOUTH, MATTE_HAIR = 0, 1, 2, 3  # channels of a matte


class FrameStore:
    """`frames/` and `mattes/` of an actor folder.

    Reading keeps the compressed bytes in memory and decodes on demand: a 5 minute clip at 512² takes under 1 GB.
    """

    def __init__(self, folder: ActorFolder) -> None:
        self._folder = folder
        self._frame_folder, self._matte_folder = folder.path / "frames", folder.path / "mattes"
        self._cache: dict[Path, bytes] = {}

    def make_folders(self) -> None:
        """Creates the two folders.

        Raises:
            UserError: they cannot be made.
        """
        for place in (self._frame_folder, self._matte_folder):
            self._folder.make_folder(place.name)

    def write_frame(self, index: int, image: U8) -> None:
        """Stores the crop (S, S, 3)."""
        ok, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), JPEG_PARAMETERS)
        if not ok:
            raise ValueError(f"frame {index} could not be encoded")
        write_bytes_atomically(self._frame_folder / f"{index:06d}.jpg", data.tobytes())

    def write_mask(self, index: int, mask: F32) -> None:
        """Stores a raw person mask (h, w) in 0–1 where the matte will stand, until `write_matte` replaces it."""
        write_bytes_atomically(
            self._matte_folder / f"{index:06d}.png", encode_png_fast(cv2.convertScaleAbs(mask, alpha=255))
        )

    def read_mask(self, index: int) -> F32:
        """The raw mask (h, w) in 0–1 that `write_mask` stored.

        Raises:
            UserError: missing or damaged.
        """
        file = self._matte_folder / f"{index:06d}.png"
        mask = read_image(file)
        if mask.ndim != 2:
            raise damaged_file_error(file)
        return mask.astype(np.float32) / 255

    def write_matte(self, index: int, matte: F32) -> None:
        """Stores the mattes (S, S, 4) in 0–1: person, head, mouth interior, hair."""
        write_bytes_atomically(
            self._matte_folder / f"{index:06d}.png", encode_png_fast(cv2.convertScaleAbs(matte, alpha=255))
        )

    def read_frame(self, index: int, *, use_cache: bool = True) -> U8:
        """The crop (S, S, 3) uint8 RGB; `keep` its compressed bytes in memory for the next time.

        Raises:
            UserError: missing or damaged.
        """
        picture = self._read_image(self._frame_folder / f"{index:06d}.jpg", use_cache, COLOR)
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8)

    def read_matte(self, index: int, *, use_cache: bool = True) -> F32:
        """The mattes (S, S, 4) float32 in 0–1: person, and what part of the person is head, mouth interior, hair.

        Actors of an earlier version have no matte of hair: theirs is 0. `keep` as for `frame`.
        """
        stored = self._read_image(self._matte_folder / f"{index:06d}.png", use_cache)
        if stored.ndim == 3 and stored.shape[2] == 3:
            stored = np.dstack([stored, np.zeros_like(stored[..., 0])])
        if stored.ndim != 3 or stored.shape[2] != 4:
            raise damaged_file_error(self._matte_folder / f"{index:06d}.png")
        return cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA).astype(np.float32) / 255

    def read_torso_alpha(self, index: int, *, use_cache: bool = True) -> F32:
        """The torso's alpha (S, S): what is person and not head."""
        matte = self.read_matte(index, use_cache=use_cache)
        result: F32 = matte[..., MATTE_PERSON] * (1 - matte[..., MATTE_HEAD])
        return result

    def _read_image(self, path: Path, use_cache: bool = True, read_mode: int = UNCHANGED) -> U8:
        data = self._cache.get(path) or read_image_bytes(path)
        if use_cache:
            self._cache[path] = data
        picture = decode_actor_image(path, data, read_mode)
        if picture.shape[:2] != (self._folder.info.size, self._folder.info.size):
            raise damaged_file_error(path)
        return picture


def encode_png_fast(image: U8) -> bytes:
    """A picture (H, W) or (H, W, 4: red, green, blue, alpha) as a PNG file.

    OpenCV's encoder tries five filters on every row; mattes are flat, so "up" alone makes them as small in less than
    half the time (PNG specification, third edition, sections 9.2 and 11).
    """
    height, width = image.shape[:2]
    rows = np.ascontiguousarray(image).reshape(height, -1)
    filtered = np.full((height, rows.shape[1] + 1), PNG_FILTER_UP, np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, PNG_COLOR_GRAY if image.ndim == 2 else PNG_COLOR_RGBA, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(filtered.data, 1)), (b"IEND", b"")
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(d, zlib.crc32(k))) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
