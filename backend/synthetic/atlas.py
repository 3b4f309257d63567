"""The layout of the synthetic actor's texture atlas."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..contract.arrays import F32, F64


class Rectangle(NamedTuple):
    """A part of the atlas, in texels."""

    left: int
    top: int
    width: int
    height: int


ATLAS_SIZE = (2048, 2048)  # rows, columns
ATLAS_RECTANGLES = {
    "skin": Rectangle(0, 0, 2048, 1280),
    "hair": Rectangle(0, 1280, 1024, 512),
    "clothes": Rectangle(1024, 1280, 1024, 512),
    "eye": Rectangle(0, 1792, 256, 256),
    "teeth": Rectangle(256, 1792, 512, 128),
    "tongue": Rectangle(256, 1920, 256, 128),
    "ear": Rectangle(768, 1792, 256, 256),
}
RECTANGLE_MARGIN = 2  # texels that uv stay off a rectangle's edge, so that bilinear look-ups see no other part

# The skin is unrolled around a vertical axis.
UNWRAP_AXIS_Z = -0.065  # metres
SKIN_TOP = 0.13  # metres, height at the rectangle's upper edge
SKIN_BOTTOM = -0.25  # metres, height at the rectangle's lower edge


def skin_uv(points: F64) -> F64:
    """(N, 2) where points (N, 3) of the skin lie in its rectangle, 0–1."""
    u = np.arctan2(points[:, 0], points[:, 2] - UNWRAP_AXIS_Z) / (2 * np.pi) + 0.5
    return np.stack([u, (SKIN_TOP - points[:, 1]) / (SKIN_TOP - SKIN_BOTTOM)], 1)


def to_atlas_texels(name: str, uv: F64) -> F32:
    """(N, 2) texels of the atlas for coordinates 0–1 (N, 2) of a part."""
    left, top, width, height = ATLAS_RECTANGLES[name]
    margin = RECTANGLE_MARGIN
    inside = np.clip(uv, 0, 1) * [width - 2 * margin, height - 2 * margin] + [left + margin, top + margin]
    return inside.astype(np.float32)
