"""Mattes that do not tremble: what the picture does not change, the matte keeps."""

from __future__ import annotations

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
KEEP = 0.85  # share of the earlier matte where the picture rests
RESTS, MOVES = 2.0, 5.0  # grey levels of change, mean of a small window, up to which it rests, from which it moves


class Steadier:
    """Blends mattes with those of the frame before, pixel by pixel, where the picture stood still.

    Motion is not compensated: where an edge moves, the picture changes and the new matte counts alone; nothing smears.
    Frames must come in their order.
    """

    def __init__(self) -> None:
        self._picture: U8 | None = None
        self._mattes: F32 | None = None

    def __call__(self, rgb: U8, mattes: F32) -> F32:
        """Steadied mattes (H, W, C) of the next frame (H, W, 3)."""
        if self._picture is not None and self._mattes is not None:
            red, green, blue = cv2.split(cv2.absdiff(rgb, self._picture))
            change = cv2.blur(cv2.max(cv2.max(red, green), blue), (5, 5))
            mattes = _blended(mattes, self._mattes, change)
        self._picture, self._mattes = rgb, mattes
        return mattes


@numba.njit(nogil=True, cache=True)
def _blended(mattes: F32, before: F32, change: U8) -> F32:
    """Mattes (H, W, C) with those of the frame before, where the picture's change (H, W) is small."""
    result = mattes.copy()
    for y in range(change.shape[0]):
        for x in range(change.shape[1]):
            keep = np.float32(KEEP * min(max((MOVES - change[y, x]) / (MOVES - RESTS), 0.0), 1.0))
            if keep > 0:
                for c in range(mattes.shape[2]):
                    result[y, x, c] += keep * (before[y, x, c] - mattes[y, x, c])
    return result
