"""Errors of a matte against a known alpha."""

from __future__ import annotations

import cv2
import numpy as np

from backend.contract.arrays import F32, Mask

SOFT_ALPHA_MARGIN = 0.02  # an alpha nearer than this to 0 or 1 counts as empty or opaque
EDGE_BAND_PIXELS = 3.0  # pixels at 512² by which the edge band is wider than the soft pixels
GRADIENT_SIGMA = 1.4  # pixels; of the gradient filter, as in the benchmark of Rhemann et al.
GRADIENT_SCALE = 1000  # makes the gradient error readable
MAX_STILL_CHANGE = 0.004  # a true alpha that changes by less stands still


def edge_band(true_alpha: F32) -> Mask:
    """Return (H, W) where a matte is difficult: the true alpha is neither 0 nor 1, or close to such pixels.

    A hard edge between two pixels has no soft pixel, so the step itself counts as well.
    """
    radius = max(1, round(EDGE_BAND_PIXELS * true_alpha.shape[0] / 512))
    is_soft = ((true_alpha > SOFT_ALPHA_MARGIN) & (true_alpha < 1 - SOFT_ALPHA_MARGIN)).astype(np.uint8)
    is_solid = (true_alpha >= 0.5).astype(np.uint8)
    is_soft |= np.asarray(cv2.morphologyEx(is_solid, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)), np.uint8)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(is_soft, ellipse) > 0)


def alpha_error(alpha: F32, true_alpha: F32) -> float:
    """Return the mean |alpha − true alpha| over the edge band."""
    return float(np.abs(alpha - true_alpha)[edge_band(true_alpha)].mean())


def gradient_error(alpha: F32, true_alpha: F32) -> float:
    """Return the mean over the edge band of the squared difference of the gradients' magnitudes, times 1000.

    Gradients are those of first-order derivatives of a Gaussian (Rhemann et al., CVPR 2009, "A perceptually motivated
    online benchmark for image matting", section 4, with σ = 1.4 and q = 2). The mean makes sizes comparable.
    """
    difference = gradient_magnitude(alpha) - gradient_magnitude(true_alpha)
    return GRADIENT_SCALE * float(np.square(difference)[edge_band(true_alpha)].mean())


def gradient_magnitude(alpha: F32) -> F32:
    """Return (H, W) the magnitude of the gradient, per pixel, of a matte filtered with a Gaussian."""
    radius = int(np.ceil(3 * GRADIENT_SIGMA))
    x = np.arange(-radius, radius + 1)
    gaussian = np.exp(-(x**2) / (2 * GRADIENT_SIGMA**2))
    gaussian /= gaussian.sum()
    derivative = -x / GRADIENT_SIGMA**2 * gaussian
    dx = cv2.sepFilter2D(alpha, cv2.CV_32F, derivative, gaussian, borderType=cv2.BORDER_REPLICATE)
    dy = cv2.sepFilter2D(alpha, cv2.CV_32F, gaussian, derivative, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.hypot(dx, dy), np.float32)


def flicker(previous: F32, current: F32, true_previous: F32, true_current: F32) -> float:
    """Return the mean |change| of a matte between two frames over the edge band where the true alpha stands still.

    NaN if nothing stands still.
    """
    is_still = edge_band(true_current) & (np.abs(true_current - true_previous) < MAX_STILL_CHANGE)
    return float(np.abs(current - previous)[is_still].mean()) if is_still.any() else float("nan")


def fill_columns(matte: F32) -> F32:
    """Return a matte (H, W) without gaps within its columns: the sample's truth leaves out the throat."""
    down = np.maximum.accumulate(matte, 0)
    up = np.maximum.accumulate(matte[::-1], 0)[::-1]
    return np.minimum(down, up)
