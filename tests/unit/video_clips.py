"""Clips made by code: every frame carries its own number, corners and colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from backend.contract.arrays import F64, Image
from backend.media import decode

WIDTH, HEIGHT = 96, 64
CORNERS = {
    "top left": (220, 30, 30),
    "top right": (30, 200, 30),
    "bottom left": (30, 30, 220),
    "bottom right": (230, 230, 230),
}


def numbered_image(index: int, width: int = WIDTH, height: int = HEIGHT) -> Image:
    """A picture with its own colour in each corner and its number as eight black or white bars in the middle."""
    picture = np.full((height, width, 3), 90, np.uint8)
    h, w = height // 4, width // 4
    picture[:h, :w] = CORNERS["top left"]
    picture[:h, -w:] = CORNERS["top right"]
    picture[-h:, :w] = CORNERS["bottom left"]
    picture[-h:, -w:] = CORNERS["bottom right"]
    for bit, x in enumerate(np.arange(8) * width // 8):
        picture[h + 4 : -h - 4, x : x + width // 8] = 255 if index >> bit & 1 else 0
    return picture


def read_number(image: Image) -> int:
    height, width = image.shape[:2]
    bars = image[height // 2, width // 16 :: width // 8].mean(axis=-1)
    return sum(1 << bit for bit, bar in enumerate(bars[:8]) if bar > 127)


def write_clip(
    path: Path,
    images: Sequence[Image],
    *,
    times: Sequence[float] | None = None,
    rate: Fraction | int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    configure_stream: Callable[[av.VideoStream], None] | None = None,
    container_options: dict[str, str] | None = None,
    source_format: str = "rgb24",
) -> Path:
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], pix_fmt
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 90000)
        if configure_stream:
            configure_stream(stream)
        for i, picture in enumerate(images):
            frame = av.VideoFrame.from_ndarray(picture, format=source_format)
            if times is None:
                frame.pts, frame.time_base = i, 1 / Fraction(rate)
            else:
                frame.pts, frame.time_base = round(times[i] * 90000), Fraction(1, 90000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_numbers(path: Path, fps: float | None = None) -> list[int]:
    return [read_number(picture) for _, _, picture in decode.read_frames(path, fps)]


def corner_color(image: Image, name: str) -> F64:
    y = 4 if "top" in name else image.shape[0] - 5
    x = 4 if "left" in name else image.shape[1] - 5
    return image[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(0)


def assert_upright(image: Image) -> None:
    for name, colour in CORNERS.items():
        assert np.abs(corner_color(image, name) - colour).max() < 12, name
