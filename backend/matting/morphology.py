"""Soft masks grown and shrunk by a share of the image's height."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from ..contract.arrays import F32

WORKING_SCALE = 4  # masks are shrunk by this factor: faster, and exact to a few pixels


def dilate_mask(mask: F32, share: float) -> F32:
    """Return a mask (H, W) grown by `share` of its height, exact to a few pixels."""
    return _apply_morphology(cv2.dilate, mask, share)


def erode_mask(mask: F32, share: float) -> F32:
    """Return a mask (H, W) shrunk by `share` of its height, exact to a few pixels."""
    return _apply_morphology(cv2.erode, mask, share)


def _apply_morphology(operation: Callable[..., Any], mask: F32, share: float) -> F32:
    height, width = mask.shape
    small_size = max(1, width // WORKING_SCALE), max(1, height // WORKING_SCALE)
    small = cv2.resize(mask, small_size, interpolation=cv2.INTER_AREA)
    radius = max(1, round(share * small.shape[0]))
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(
        cv2.resize(operation(small, ellipse), (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )
