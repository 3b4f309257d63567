"""Bilinear interpolation inside kernels, and push–pull: known pixels spread into unknown ones."""

from __future__ import annotations

import cv2
import numpy as np

from ..compute.kernels import kernel
from ..contract.arrays import F32, I64


def push_pull(values: F32, weight: F32) -> F32:
    """Spread values from where they have weight to where they have none.

    Each pixel takes the weighted mean of the finest level of a pyramid that has enough weight (Gortler et al.,
    SIGGRAPH 1996, "The lumigraph", section 3.4).

    Args:
        values: (H, W, C ≤ 3).
        weight: (H, W) 0–1.
    """
    levels = [np.concatenate([values * weight[..., None], weight[..., None]], axis=2)]
    while min(levels[-1].shape[:2]) > 2:
        levels.append(np.asarray(cv2.pyrDown(levels[-1]), np.float32))
    result: F32 = levels[-1][..., :-1] / np.maximum(levels[-1][..., -1:], 1e-6)
    for level in reversed(levels[:-1]):
        result = _pull_level(level, result)
    return result


@kernel(exact=True)
def _pull_level(level: F32, coarse: F32) -> F32:
    """Return the mean (H, W, C) of a level (H, W, C + 1: sums and weight) where it has weight, else the coarser one."""
    height, width, channels = level.shape[0], level.shape[1], level.shape[2] - 1
    result = np.empty((height, width, channels), np.float32)
    rows, down = interpolation_taps(height, coarse.shape[0])
    columns, right = interpolation_taps(width, coarse.shape[1])
    for y in range(height):
        top, bottom, v = rows[y, 0], rows[y, 1], down[y]
        for x in range(width):
            weight = level[y, x, channels]
            share = min(weight, np.float32(1))
            scale = share / max(weight, np.float32(1e-6))
            for c in range(channels):
                smooth = interpolate(coarse, c, top, bottom, columns[x, 0], columns[x, 1], right[x], v)
                result[y, x, c] = level[y, x, c] * scale + smooth * (1 - share)
    return result


@kernel(exact=True)
def interpolation_taps(target_size: int, source_size: int) -> tuple[I64, F32]:
    """Return between which source pixels each target pixel lies, as in cv2.resize with linear interpolation.

    Returns:
        taps: (target_size, 2) source pixels.
        shares: (target_size,) position between them, 0 at the first and 1 at the second.
    """
    taps = np.empty((target_size, 2), np.int64)
    shares = np.empty(target_size, np.float32)
    for i in range(target_size):
        position = min(max((i + 0.5) * source_size / target_size - 0.5, 0.0), source_size - 1.0)
        taps[i, 0] = int(position)
        taps[i, 1] = min(taps[i, 0] + 1, source_size - 1)
        shares[i] = position - taps[i, 0]
    return taps, shares


@kernel(exact=True, inline="always")
def interpolate(
    image: F32,
    channel: int,
    top_row: int,
    bottom_row: int,
    left_column: int,
    right_column: int,
    u: np.float32,
    v: np.float32,
) -> np.float32:
    """Return one channel of an image (h, w, C) between four of its pixels, at `u` to the right and `v` down (0–1)."""
    top = image[top_row, left_column, channel] + u * (
        image[top_row, right_column, channel] - image[top_row, left_column, channel]
    )
    bottom = image[bottom_row, left_column, channel] + u * (
        image[bottom_row, right_column, channel] - image[bottom_row, left_column, channel]
    )
    value: np.float32 = top + v * (bottom - top)
    return value
