"""How good a matte is, measured against a known alpha."""

from __future__ import annotations

import cv2
import numpy as np

from ..contract.arrays import F32, Mask

SOFT_ALPHA_MARGIN = 0.02  # an alpha nearer than this to 0 or 1 counts as opaque or empty
EDGE_BAND_PIXELS = 3.0  # by how many pixels at 512² the edge band is wider than the truly soft pixels
GRADIENT_SIGMA = 1.4  # of the gradient filter, as in the benchmark of Rhemann et al.
MAX_STILL_CHANGE = 0.004  # a true alpha that changes by less stands still


def edge_band(true_alpha: F32) -> Mask:
    """(H, W) where a matte is difficult: the pixels whose true alpha is neither 0 nor 1, and their close surroundings.

    A hard edge between two pixels has no soft pixel, so the step itself counts as well.
    """
    reach = max(1, round(EDGE_BAND_PIXELS * true_alpha.shape[0] / 512))
    soft = ((true_alpha > SOFT_ALPHA_MARGIN) & (true_alpha < 1 - SOFT_ALPHA_MARGIN)).astype(np.uint8)
    solid = (true_alpha >= 0.5).astype(np.uint8)
    soft |= cv2.morphologyEx(solid, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(np.uint8)
    ring = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(soft, ring) > 0


def alpha_error(alpha: F32, true_alpha: F32) -> float:
    """Mean |alpha − true| over the edge band."""
    return float(np.abs(alpha - true_alpha)[edge_band(true_alpha)].mean())


def gradient_error(alpha: F32, true_alpha: F32) -> float:
    """Mean over the edge band of the squared difference of the two mattes' gradient magnitudes, times 1000.

    Gradients are those of first-order derivatives of a Gaussian (Rhemann et al., CVPR 2009, "A perceptually motivated
    online benchmark for image matting", section 4, with σ = 1.4 and q = 2); the mean makes sizes comparable.
    """
    difference = gradient_magnitude(alpha) - gradient_magnitude(true_alpha)
    return 1000 * float(np.square(difference)[edge_band(true_alpha)].mean())


def gradient_magnitude(alpha: F32) -> F32:
    """(H, W) length of the gradient per pixel of a matte filtered with a Gaussian."""
    reach = int(np.ceil(3 * GRADIENT_SIGMA))
    x = np.arange(-reach, reach + 1)
    bell = np.exp(-(x**2) / (2 * GRADIENT_SIGMA**2))
    bell /= bell.sum()
    slope = -x / GRADIENT_SIGMA**2 * bell
    dx = cv2.sepFilter2D(alpha, cv2.CV_32F, slope, bell, borderType=cv2.BORDER_REPLICATE)
    dy = cv2.sepFilter2D(alpha, cv2.CV_32F, bell, slope, borderType=cv2.BORDER_REPLICATE)
    return np.hypot(dx, dy).astype(np.float32)


def flicker(previous: F32, current: F32, true_previous: F32, true_current: F32) -> float:
    """Mean |change| of a matte from one frame to the next over the edge band where the true alpha stands still.

    NaN when nothing stands still.
    """
    still = edge_band(true_current) & (np.abs(true_current - true_previous) < MAX_STILL_CHANGE)
    return float(np.abs(current - previous)[still].mean()) if still.any() else float("nan")


def fill_columns(matte: F32) -> F32:
    """A matte (H, W) without gaps from top to bottom of each column: the sample's truth leaves out the throat."""
    down = np.maximum.accumulate(matte, 0)
    up = np.maximum.accumulate(matte[::-1], 0)[::-1]
    return np.minimum(down, up)
