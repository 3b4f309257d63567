"""The person's own colours at the edge, without the background's share."""

from __future__ import annotations

import cv2
import numpy as np

from ..contract.arrays import F32, U8
from ..media.srgb import linear_from_srgb_codes, srgb_from_linear
from .resampling import push_pull

MIN_SOLID_ALPHA = 0.95  # alpha above which a pixel shows the person's colour unmixed
MIN_SOLID_SHARE = 0.9  # share of such pixels in a pixel of the quarter-size image from which its colour is used
MAX_MIXED_ALPHA = 0.999  # alpha from which the image's own code is kept
# λ of the least squares at α = 0. Larger takes more of the colour from solid pixels nearby; smaller amplifies noise of
# thin strands. Not tuned.
COLOR_PRIOR_WEIGHT = 0.08


def estimate_foreground(image: U8, alpha: F32, plate: U8) -> U8:
    """Return the colour F (H, W, 3) that composites over the plate into the image, and over others without spill.

    In linear light F = (I − (1 − α) B) / α where α is large; where it is small, that is mostly noise, and F leans on
    the colour G of solid pixels nearby: F = (α (I − (1 − α) B) + λ G) / (α² + λ), with λ fading as α becomes solid.
    This is the least-squares solution of both demands.

    Args:
        image: (H, W, 3) sRGB codes of I.
        alpha: (H, W) α in 0–1.
        plate: (H, W, 3) sRGB codes of B.
    """
    linear_image, linear_plate = linear_from_srgb_codes(image), linear_from_srgb_codes(plate)
    height, width = alpha.shape
    small_size = max(8, width // 4), max(8, height // 4)
    is_solid = np.where(alpha > MIN_SOLID_ALPHA, np.float32(1), 0)
    small_solid = (cv2.resize(is_solid, small_size, interpolation=cv2.INTER_AREA) > MIN_SOLID_SHARE).astype(np.float32)
    nearby = push_pull(cv2.resize(linear_image, small_size, interpolation=cv2.INTER_AREA), small_solid)
    prior = cv2.resize(nearby, (width, height), interpolation=cv2.INTER_LINEAR)
    a = alpha[..., None]
    prior_weight = COLOR_PRIOR_WEIGHT * (1 - a)
    color = (a * (linear_image - (1 - a) * linear_plate) + prior_weight * prior) / (np.square(a) + prior_weight + 1e-6)
    result = np.where(a < MAX_MIXED_ALPHA, np.rint(srgb_from_linear(color) * 255).astype(np.uint8), image)
    return np.asarray(result, np.uint8)
