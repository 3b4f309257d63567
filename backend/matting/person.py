"""The person's rough mask, from MediaPipe's segmenter."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import cv2
import numpy as np

from ..contract.arrays import F32, U8

SEGMENTER_SIDE = 256  # pixels of the images that the segmenter works on
MIN_PERSON_MASK = 0.9  # mask from which a pixel is surely the person's and not part of a hole
# Share of the image up to which a hole in the mask is filled. The gap between arm and body is larger. Not tuned.
MAX_HOLE_SHARE = 0.003


class PersonSegmenter:
    """MediaPipe's segmenter. A context manager that releases it."""

    def __init__(self) -> None:
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

        self._model: Any = SelfieSegmentation(model_selection=0)

    def __enter__(self) -> PersonSegmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model.close()

    def segment(self, rgb: U8) -> F32:
        """Return the rough mask (h, w) 0–1 of an image (H, W, 3), not larger than the segmenter's own size."""
        scale = min(1.0, SEGMENTER_SIDE / max(rgb.shape[:2]))
        size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        mask = self._model.process(np.ascontiguousarray(small)).segmentation_mask
        return fill_mask_holes(np.asarray(mask, np.float32))


def fill_mask_holes(mask: F32) -> F32:
    """Return the mask (h, w) with small holes filled.

    They are earrings, tie pins or dark locks that the segmenter took for background. Gaps that reach the image's
    border stay.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats((mask < MIN_PERSON_MASK).astype(np.uint8), connectivity=8)
    x, y, w, h, area = stats.T
    is_inside = (x > 0) & (y > 0) & (x + w < mask.shape[1]) & (y + h < mask.shape[0])
    is_hole = is_inside & (area < MAX_HOLE_SHARE * mask.size)
    is_hole[0] = False  # label 0 is the person
    return np.where(is_hole[labels], np.float32(1), mask)
