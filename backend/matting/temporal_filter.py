"""Mattes that do not tremble: what the picture does not change, the matte keeps."""

from __future__ import annotations

import cv2
import numpy as np

from ..compute.kernels import kernel
from ..contract.arrays import F32, U8

MAX_PREVIOUS_SHARE = 0.85  # share of the earlier matte where the picture rests
STILL_LEVELS, MOVING_LEVELS = (
    2.0,
    5.0,
)  # grey levels of change, mean of a small window, up to which it rests, from which it moves


class TemporalFilter:
    """Blends mattes with those of the frame before, pixel by pixel, where the picture stood still.

    Motion is not compensated: where an edge moves, the picture changes and the new matte counts alone; nothing smears.
    Frames must come in their order.
    """

    def __init__(self) -> None:
        self._previous_image: U8 | None = None
        self._previous_mattes: F32 | None = None

    def __call__(self, rgb: U8, mattes: F32) -> F32:
        """Steadied mattes (H, W, C) of the next frame (H, W, 3)."""
        if self._previous_image is not None and self._previous_mattes is not None:
            red, green, blue = cv2.split(cv2.absdiff(rgb, self._previous_image))
            change = cv2.blur(cv2.max(cv2.max(red, green), blue), (5, 5))
            mattes = _blend_with_previous(mattes, self._previous_mattes, change)
        self._previous_image, self._previous_mattes = rgb, mattes
        return mattes


@kernel(exact=True)
def _blend_with_previous(mattes: F32, previous: F32, change: U8) -> F32:
    """Mattes (H, W, C) with those of the frame before, where the picture's change (H, W) is small."""
    result = mattes.copy()
    for y in range(change.shape[0]):
        for x in range(change.shape[1]):
            keep = np.float32(
                MAX_PREVIOUS_SHARE * min(max((MOVING_LEVELS - change[y, x]) / (MOVING_LEVELS - STILL_LEVELS), 0.0), 1.0)
            )
            if keep > 0:
                for c in range(mattes.shape[2]):
                    result[y, x, c] += keep * (previous[y, x, c] - mattes[y, x, c])
    return result
