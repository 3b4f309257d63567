"""The crops and mattes of an actor on disk: written once from the footage, read at random during training."""

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

# JPEG at quality 98 without chroma subsampling: subsampled chroma would blur the lips' edge, which training learns.
JPEG_PARAMETERS = [cv2.IMWRITE_JPEG_QUALITY, 98, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
# Numbers of the PNG specification, third edition: filter type (9.2) and colour types (11.2.1).
PNG_FILTER_UP = 2
PNG_COLOR_GRAY = 0
PNG_COLOR_RGBA = 6
# zlib's fastest level: mattes are so flat that a higher one saves little.
PNG_COMPRESSION_LEVEL = 1
# Channels of a matte: the person, and the share of the person that is head, mouth interior and hair.
MATTE_PERSON = 0
MATTE_HEAD = 1
MATTE_MOUTH = 2
MATTE_HAIR = 3


class FrameStore:
    """`frames/` and `mattes/` of an actor folder.

    Reading keeps the compressed bytes in memory and decodes on demand: a clip of 5 minutes at 512² takes under 1 GB.
    """

    def __init__(self, folder: ActorFolder) -> None:
        self._folder = folder
        self._frame_folder, self._matte_folder = folder.path / "frames", folder.path / "mattes"
        self._cache: dict[Path, bytes] = {}

    def make_folders(self) -> None:
        """Create the two folders.

        Raises:
            UserError: they cannot be created.
        """
        for path in (self._frame_folder, self._matte_folder):
            self._folder.make_folder(path.name)

    def write_frame(self, index: int, image: U8) -> None:
        """Write the crop (S, S, 3)."""
        is_encoded, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), JPEG_PARAMETERS)
        if not is_encoded:
            raise ValueError(f"frame {index} could not be encoded")
        write_bytes_atomically(self._frame_path(index), data.tobytes())

    def write_mask(self, index: int, mask: F32) -> None:
        """Write a raw person mask (h, w) in 0–1 to the matte's file, until `write_matte` replaces it."""
        self._write_png(index, mask)

    def write_matte(self, index: int, matte: F32) -> None:
        """Write the matte (S, S, 4) in 0–1: person, head, mouth interior, hair."""
        self._write_png(index, matte)

    def read_mask(self, index: int) -> F32:
        """Return the raw mask (h, w) in 0–1 that `write_mask` wrote.

        Raises:
            UserError: it is missing or damaged.
        """
        file = self._matte_path(index)
        mask = read_image(file)
        if mask.ndim != 2:
            raise damaged_file_error(file)
        return mask.astype(np.float32) / 255

    def read_frame(self, index: int, *, use_cache: bool = True) -> U8:
        """Return the crop (S, S, 3) uint8 RGB.

        Args:
            index: the frame of the clip.
            use_cache: keep the compressed bytes in memory for the next time.

        Raises:
            UserError: it is missing or damaged.
        """
        stored = self._read_image(self._frame_path(index), use_cache, COLOR)
        frame: U8 = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB).astype(np.uint8)
        return frame

    def read_matte(self, index: int, *, use_cache: bool = True) -> F32:
        """Return the matte (S, S, 4) float32 in 0–1: person, and the person's share of head, mouth interior and hair.

        Actors of an earlier version have no matte of hair; theirs is 0.

        Args:
            index: the frame of the clip.
            use_cache: keep the compressed bytes in memory for the next time.

        Raises:
            UserError: it is missing or damaged.
        """
        file = self._matte_path(index)
        stored = self._read_image(file, use_cache)
        if stored.ndim == 3 and stored.shape[2] == 3:
            stored = np.dstack([stored, np.zeros_like(stored[..., 0])])
        if stored.ndim != 3 or stored.shape[2] != 4:
            raise damaged_file_error(file)
        matte: F32 = cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA).astype(np.float32) / 255
        return matte

    def read_head_alpha(self, index: int, *, use_cache: bool = True) -> F32:
        """Return the head's alpha (S, S)."""
        matte = self.read_matte(index, use_cache=use_cache)
        alpha: F32 = matte[..., MATTE_PERSON] * matte[..., MATTE_HEAD]
        return alpha

    def read_torso_alpha(self, index: int, *, use_cache: bool = True) -> F32:
        """Return the torso's alpha (S, S): the person without the head."""
        matte = self.read_matte(index, use_cache=use_cache)
        alpha: F32 = matte[..., MATTE_PERSON] * (1 - matte[..., MATTE_HEAD])
        return alpha

    def _frame_path(self, index: int) -> Path:
        return self._frame_folder / f"{index:06d}.jpg"

    def _matte_path(self, index: int) -> Path:
        return self._matte_folder / f"{index:06d}.png"

    def _write_png(self, index: int, values: F32) -> None:
        png = encode_png_fast(cv2.convertScaleAbs(values, alpha=255))
        write_bytes_atomically(self._matte_path(index), png)

    def _read_image(self, path: Path, use_cache: bool = True, read_mode: int = UNCHANGED) -> U8:
        data = self._cache.get(path) or read_image_bytes(path)
        if use_cache:
            self._cache[path] = data
        image = decode_actor_image(path, data, read_mode)
        if image.shape[:2] != (self._folder.info.size, self._folder.info.size):
            raise damaged_file_error(path)
        return image


def encode_png_fast(image: U8) -> bytes:
    """Return an image (H, W) or (H, W, 4: red, green, blue, alpha) as a PNG file.

    OpenCV's encoder tries five filters on every row. Mattes are flat, so "up" alone makes them as small in less than
    half the time (PNG specification, third edition, sections 9.2 and 11).
    """
    height, width = image.shape[:2]
    rows = np.ascontiguousarray(image).reshape(height, -1)
    filtered = np.full((height, rows.shape[1] + 1), PNG_FILTER_UP, np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    color_type = PNG_COLOR_GRAY if image.ndim == 2 else PNG_COLOR_RGBA
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    compressed = zlib.compress(filtered.data, PNG_COMPRESSION_LEVEL)
    chunks = (b"IHDR", header), (b"IDAT", compressed), (b"IEND", b"")
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(d, zlib.crc32(k))) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
