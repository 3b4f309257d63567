"""Smooth random fields for textures."""

from __future__ import annotations

import cv2
import numpy as np

from ..contract.arrays import F64


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: tuple[float, float]) -> F64:
    """Return smooth noise of unit deviation.

    Args:
        rng: source of the noise.
        shape: rows and columns of the result.
        scale: size of its features in texels, along rows and columns.
    """
    rows, columns = (max(2, int(np.ceil(n / s))) for n, s in zip(shape, scale, strict=True))
    field = cv2.resize(rng.standard_normal((rows, columns)), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(field / max(field.std(), 1e-9))
