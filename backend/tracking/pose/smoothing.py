"""A temporal prior on poses that removes jitter and keeps fast motion.

Noise and acceleration are both measured on the curve: fourth differences are nearly all noise at video rates, and what
second differences hold beyond that noise is the usual acceleration of the head.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded

from ...contract.arrays import F64
from ...contract.geometry import matrix_from_rotation_vector, rotation_vector_from_matrix
from .poses import Poses

# Multiple of the usual acceleration from which a motion counts as intended and is smoothed less. Larger flattens nods,
# smaller leaves jitter beside them. Not tuned.
FAST_MOTION_RATIO = 2.5
IRLS_ITERATIONS = 8  # of iteratively reweighted least squares; the weights have settled by then
CHI_SQUARED_MEDIAN = 0.4549  # median of the squared standard normal distribution
FOURTH_DIFFERENCE_GAIN = 70  # 1² + 4² + 6² + 4² + 1²: variance of the fourth difference of unit white noise
SECOND_DIFFERENCE_GAIN = 6  # 1² + 2² + 1²: the same of the second difference
MIN_ACCELERATION_TO_NOISE = 0.03  # variance of a still curve's acceleration against its noise; 0 would divide by zero
MIN_FRAMES = 8  # shorter clips are left as they are: their noise cannot be measured
# Most pixels by which noise can move a body. Larger smooths away the leaps of footage whose frames were dropped (phones
# do that), smaller leaves jitter. Without this limit a phone's clip shook by 76 % more than with poses per frame.
MAX_NOISE_PIXELS = 0.05


def smooth_poses(poses: Poses, pixels_per_unit: F64) -> Poses:
    """Return the poses without their jitter.

    Args:
        poses: of T successive frames.
        pixels_per_unit: (6,) RMS pixels by which a unit of turn (x, y, z) and of shift (x, y, z) moves the body's
            points in the image.
    """
    if len(poses.rotation) < MIN_FRAMES:
        return poses
    middle = poses.rotation[len(poses.rotation) // 2]
    turn = rotation_vector_from_matrix(poses.rotation @ middle.T)
    curves = smooth_curves(np.concatenate([turn, poses.translation], 1), MAX_NOISE_PIXELS / pixels_per_unit)
    return Poses(matrix_from_rotation_vector(curves[:, :3]) @ middle, curves[:, 3:])


def smooth_curves(curves: F64, max_noise: F64) -> F64:
    """Return the most likely curves under white noise and an acceleration that is usually small.

    Minimises Σ (x − observed)² / noise² + Σ w (x″)² / acceleration², where w falls for accelerations beyond
    `FAST_MOTION_RATIO` times the usual one.

    Args:
        curves: (T, C), each column by itself.
        max_noise: (C,) largest deviation of the noise, in the curve's unit.
    """
    result = np.empty_like(curves)
    for c in range(curves.shape[1]):
        observed = curves[:, c]
        fourth = np.median(np.diff(observed, 4) ** 2) / CHI_SQUARED_MEDIAN
        noise = min(fourth / FOURTH_DIFFERENCE_GAIN, max_noise[c] ** 2)
        second = np.median(np.diff(observed, 2) ** 2) / CHI_SQUARED_MEDIAN
        acceleration = max(second - SECOND_DIFFERENCE_GAIN * noise, MIN_ACCELERATION_TO_NOISE * noise)
        result[:, c] = _smooth_curve(observed, noise, acceleration) if noise > 0 else observed
    return result


def _smooth_curve(observed: F64, noise_variance: float, acceleration_variance: float) -> F64:
    """Minimise the sum of `smooth_curves` for one curve (T,)."""
    curve = observed
    for _ in range(IRLS_ITERATIONS):
        acceleration = np.diff(curve, 2) ** 2 / acceleration_variance
        w = noise_variance / acceleration_variance / np.maximum(1, np.sqrt(acceleration) / FAST_MOTION_RATIO)
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
