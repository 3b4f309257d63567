"""Display-referred sRGB values and linear light (IEC 61966-2-1), with the same primaries."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract.arrays import F32, U8, Floats


def linear_from_srgb(display: Floats) -> F32:
    """Return display values 0–1 of any shape as linear light 0–1."""
    return np.asarray(_decode(display), np.float32)


def linear_from_srgb_codes(codes: U8) -> F32:
    """Return sRGB codes 0–255 of any shape as linear light 0–1."""
    return SRGB_TO_LINEAR[codes]


def srgb_from_linear(linear: Floats) -> F32:
    """Return linear light of any shape as display values 0–1, clipped to that range."""
    return np.asarray(_encode(np.clip(linear, 0, 1)), np.float32)


def srgb_code_table(steps: int) -> U8:
    """Return the sRGB codes (steps,) of linear light 0–1 in equal steps."""
    return np.asarray(_encode(np.linspace(0, 1, steps)) * 255 + 0.5, np.uint8)


def _decode(display: Floats) -> Any:
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def _encode(linear: Floats) -> Any:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055)


SRGB_TO_LINEAR = linear_from_srgb(np.arange(256) / 255)  # (256,) linear light of each code
SRGB_TO_LINEAR_SLOPE = np.gradient(SRGB_TO_LINEAR).astype(np.float32)  # (256,) linear light per gray level
