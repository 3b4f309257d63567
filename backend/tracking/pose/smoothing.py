"""A temporal prior for poses that takes the tremble away and keeps real fast motion.

Both sides of the balance are measured on the curve itself: fourth differences are nearly all noise at video rates, and
what second differences hold beyond that noise is how briskly this head really moves.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded

from ...contract.arrays import F64
from ...contract.geometry import matrix_from_rotation_vector, rotation_vector_from_matrix

FAST_MOTION_RATIO = 2.5  # times the usual acceleration from which a motion is real and no longer held back
IRLS_ITERATIONS = 8
CHI_SQUARED_MEDIAN = 0.4549  # median of the squared standard normal distribution
MIN_FRAMES = 8
MAX_NOISE_PIXELS = (
    0.05  # pixels by which noise moves a body at most; what leaps (phones leave frames out) leaps by more
)


def smooth_poses(rotation: F64, translation: F64, pixels_per_unit: F64) -> tuple[F64, F64]:
    """Poses (T, 3, 3) and (T, 3) without what trembles from frame to frame.

    Args:
        pixels: (6,) how far a unit of turn (x, y, z) and of shift (x, y, z) moves the body's points, RMS.
    """
    if len(rotation) < MIN_FRAMES:
        return rotation, translation
    middle = rotation[len(rotation) // 2]
    turn = rotation_vector_from_matrix(rotation @ middle.T)
    curves = smooth_curves(np.concatenate([turn, translation], 1), MAX_NOISE_PIXELS / pixels_per_unit)
    return matrix_from_rotation_vector(curves[:, :3]) @ middle, curves[:, 3:]


def smooth_curves(curves: F64, max_noise: F64) -> F64:
    """(T, C) curves, each the most likely one under white noise and an acceleration that is usually small.

    Minimises Σ (x − observed)² / noise² + Σ w (x″)² / motion², w falling for accelerations beyond `BRISK` · motion.

    Args:
        most_noise: (C,) deviation of the noise at most, in the curve's unit.
    """
    result = np.empty_like(curves)
    for c in range(curves.shape[1]):
        observed = curves[:, c]
        noise = min(np.median(np.diff(observed, 4) ** 2) / CHI_SQUARED_MEDIAN / 70, max_noise[c] ** 2)
        accelerated = np.median(np.diff(observed, 2) ** 2) / CHI_SQUARED_MEDIAN
        motion = max(accelerated - 6 * noise, 0.03 * noise)
        result[:, c] = _smooth_curve(observed, noise, motion) if noise > 0 else observed
    return result


def _smooth_curve(observed: F64, noise_variance: float, acceleration_variance: float) -> F64:
    curve = observed
    for _ in range(IRLS_ITERATIONS):
        speed_up = np.diff(curve, 2) ** 2 / acceleration_variance
        w = noise_variance / acceleration_variance / np.maximum(1, np.sqrt(speed_up) / FAST_MOTION_RATIO)
        bands = np.zeros((3, len(curve)))  # upper form of I + Dᵀ W D, D = second difference
        bands[2] = 1
        bands[2, :-2] += w
        bands[2, 1:-1] += 4 * w
        bands[2, 2:] += w
        bands[1, 1:-1] -= 2 * w
        bands[1, 2:] -= 2 * w
        bands[0, 2:] += w
        curve = solveh_banded(bands, observed)
    return curve
