"""The person's rough mask, from MediaPipe's segmenter."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import cv2
import numpy as np

from ..contract.arrays import F32, U8

MAX_HOLE_SHARE = 0.003  # share of the picture that a hole in the mask may have at most
SEGMENTER_SIDE = 256  # of the pictures that the segmenter works on


class PersonSegmenter:
    """Rough mask of the person, frame after frame. A context manager: it holds MediaPipe's segmenter."""

    def __init__(self) -> None:
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

        self._model: Any = SelfieSegmentation(model_selection=0)

    def __enter__(self) -> PersonSegmenter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model.close()

    def __call__(self, rgb: U8) -> F32:
        """(h, w) mask in 0–1 of an (H, W, 3) picture; not larger than the segmenter's own size."""
        shrink = min(1.0, SEGMENTER_SIDE / max(rgb.shape[:2]))
        size = round(rgb.shape[1] * shrink), round(rgb.shape[0] * shrink)
        small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        mask = self._model.process(np.ascontiguousarray(small)).segmentation_mask
        return fill_mask_holes(np.asarray(mask, np.float32))


def fill_mask_holes(mask: F32) -> F32:
    """The mask (h, w) with its small holes filled: an earring, a tie pin or a dark lock that the segmenter took for
    background. A gap between arm and body is larger, or open to the picture's border, and stays."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((mask < 0.9).astype(np.uint8), connectivity=8)
    x, y, w, h, area = stats.T
    inner = (x > 0) & (y > 0) & (x + w < mask.shape[1]) & (y + h < mask.shape[0])
    hole = inner & (area < MAX_HOLE_SHARE * mask.size)
    hole[0] = False
    return np.where(hole[labels], np.float32(1), mask)
