"""Temporal filter against flicker: the matte stays where the image does not change."""

from __future__ import annotations

import cv2
import numpy as np

from ..compute.kernels import kernel
from ..contract.arrays import F32, U8

# Weight of the previous matte where the image is still. Larger flickers less and follows slow changes later. Not tuned.
MAX_PREVIOUS_SHARE = 0.85
# Gray levels of change, mean of `CHANGE_WINDOW`, up to which the image is still, and from which it moves. Between them
# the weight falls linearly. Not tuned.
STILL_LEVELS = 2.0
MOVING_LEVELS = 5.0
CHANGE_WINDOW = (5, 5)  # pixels


class TemporalFilter:
    """Blends each matte with that of the previous frame, pixel by pixel, where the image stood still.

    Motion is not compensated: where an edge moves, the image changes and the new matte counts alone, so nothing smears.
    """

    def __init__(self) -> None:
        self._previous_image: U8 | None = None
        self._previous_mattes: F32 | None = None

    def filter(self, rgb: U8, mattes: F32) -> F32:
        """Return the filtered mattes (H, W, C) of the next frame (H, W, 3). Call once per frame, in order."""
        if self._previous_image is not None and self._previous_mattes is not None:
            red, green, blue = cv2.split(cv2.absdiff(rgb, self._previous_image))
            change = cv2.blur(cv2.max(cv2.max(red, green), blue), CHANGE_WINDOW)
            mattes = _blend_with_previous(mattes, self._previous_mattes, np.asarray(change, np.uint8))
        self._previous_image, self._previous_mattes = rgb, mattes
        return mattes


@kernel(exact=True)
def _blend_with_previous(mattes: F32, previous: F32, change: U8) -> F32:
    """Return mattes (H, W, C) blended with the previous ones where the image's change (H, W) is small."""
    result = mattes.copy()
    for y in range(change.shape[0]):
        for x in range(change.shape[1]):
            stillness = min(max((MOVING_LEVELS - change[y, x]) / (MOVING_LEVELS - STILL_LEVELS), 0.0), 1.0)
            share = np.float32(MAX_PREVIOUS_SHARE * stillness)
            if share > 0:
                for c in range(mattes.shape[2]):
                    result[y, x, c] += share * (previous[y, x, c] - mattes[y, x, c])
    return result
