"""Display-referred sRGB and linear light: coverage mixes light, so mattes are worked out in linear light."""

from __future__ import annotations

import numpy as np

from ..contract.arrays import F32, U8, Floats

_CODES = np.arange(256) / 255
SRGB_TO_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)
SRGB_TO_LINEAR_SLOPE = np.gradient(SRGB_TO_LINEAR).astype(np.float32)  # linear light per grey level


def linear_from_srgb(codes: U8) -> F32:
    """sRGB codes 0–255 of any shape as linear light 0–1 (IEC 61966-2-1)."""
    return SRGB_TO_LINEAR[codes]


def srgb_from_linear(linear: Floats) -> F32:
    """Linear light of any shape as display-referred sRGB 0–1; clipped."""
    value = np.clip(linear, 0, 1)
    curve = np.where(value <= 0.0031308, 12.92 * value, 1.055 * np.power(value, 1 / 2.4) - 0.055)
    return np.asarray(curve, np.float32)
