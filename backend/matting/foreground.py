"""The person's own colours at the edge, with the background's share taken out."""

from __future__ import annotations

import cv2
import numpy as np

from ..contract.arrays import F32, U8
from ..media.srgb import linear_from_srgb_codes, srgb_from_linear
from .plate import push_pull

MIN_SOLID_ALPHA = 0.95  # an alpha above this shows the person's colour unmixed
COLOR_PRIOR_WEIGHT = (
    0.08  # share of background variance in the guess: how little alpha may be before its colour says nothing
)


def estimate_foreground(image: U8, alpha: F32, plate: U8) -> U8:
    """The colour (H, W, 3) that composites over the plate into the picture, and over anything else without spill.

    In linear light F = (I − (1 − α) B) / α where α is large; where it is small that is mostly noise, and F leans on the
    solid pixels nearby. Least squares of both: F = (α (I − (1 − α) B) + λ G) / (α² + λ) with their colour G and λ that
    fades as α becomes solid.

    Args:
        picture, plate: (H, W, 3) sRGB codes. alpha: (H, W) 0–1.
    """
    light, behind = linear_from_srgb_codes(image), linear_from_srgb_codes(plate)
    height, width = alpha.shape
    size = max(8, width // 4), max(8, height // 4)
    solid = np.where(alpha > MIN_SOLID_ALPHA, np.float32(1), 0)
    inside = (cv2.resize(solid, size, interpolation=cv2.INTER_AREA) > 0.9).astype(np.float32)
    nearby = push_pull(cv2.resize(light, size, interpolation=cv2.INTER_AREA), inside)
    guess = cv2.resize(nearby, (width, height), interpolation=cv2.INTER_LINEAR)
    a = alpha[..., None]
    doubt = COLOR_PRIOR_WEIGHT * (1 - a)
    colour = (a * (light - (1 - a) * behind) + doubt * guess) / (np.square(a) + doubt + 1e-6)
    result = np.where(a < 0.999, np.rint(srgb_from_linear(colour) * 255).astype(np.uint8), image)
    return np.asarray(result, np.uint8)
