"""First estimate of the head's poses, from the landmarks of each frame alone, for all frames at once."""

from __future__ import annotations

import numpy as np

from ...contract.arrays import F64
from ...contract.geometry import FLIP_YZ, project_points
from .least_squares import huber_weights, linearize_projection
from .poses import Poses

# Residual, in heights of the landmark group in the image, from which a landmark counts less. Larger lets bad landmarks
# pull the pose; smaller trusts few landmarks. Not tuned.
HUBER_THRESHOLD_HEIGHTS = 0.008
DAMPING = 1e-4  # share that is added to the diagonal of the normal equations (Levenberg–Marquardt); not tuned
STEP_TOLERANCE = 1e-7  # radians and metres: smaller steps end the iteration


def estimate_frontal_poses(pixels: F64, points: F64, intrinsics: F64) -> Poses:
    """Return frontal poses at the position and distance at which the size of points (P, 3) fits pixels (T, P, 2)."""
    spread = np.linalg.norm(pixels - pixels.mean(1, keepdims=True), axis=-1).mean(1)
    size = np.linalg.norm(points[:, :2] - points[:, :2].mean(0), axis=-1).mean()
    depth = intrinsics[0, 0] * size / np.maximum(spread, 1e-6)
    offset = (pixels.mean(1) - intrinsics[:2, 2]) / intrinsics[0, 0] * depth[:, None]
    rotation = np.tile(FLIP_YZ, (len(pixels), 1, 1))
    return Poses(rotation, np.concatenate([offset, depth[:, None]], 1) - points.mean(0) @ FLIP_YZ.T)


def fit_poses(pixels: F64, points: F64, weight: F64, intrinsics: F64, *, iterations: int = 25) -> tuple[Poses, F64]:
    """Fit the poses that project `points` onto `pixels` (Levenberg–Marquardt with Huber weights).

    Args:
        pixels: (T, P, 2).
        points: (P, 3) head space, metres.
        weight: (P,).
        intrinsics: (3, 3) pixels.
        iterations: at most.

    Returns:
        Poses head → camera, and the weighted RMS residual (T,) in pixels.
    """
    poses = estimate_frontal_poses(pixels, points, intrinsics)
    points = np.broadcast_to(points, (len(pixels), *points.shape[-2:]))
    weight = np.broadcast_to(weight, pixels.shape[:2])
    height = np.median(np.ptp(pixels[..., 1], axis=1)) + 1e-6
    threshold = HUBER_THRESHOLD_HEIGHTS * height
    for _ in range(iterations):
        residual, jacobian = linearize_projection(pixels, points, poses, intrinsics)
        w = weight * huber_weights(np.linalg.norm(residual, axis=-1), threshold)
        normal = np.einsum("tp,tpci,tpcj->tij", w, jacobian, jacobian, optimize=True)
        rhs = np.einsum("tp,tpci,tpc->ti", w, jacobian, residual, optimize=True)
        diagonal = np.einsum("tii->ti", normal)
        minimum = 1e-6 * np.median(diagonal, axis=0) + 1e-12  # a frame in which nothing is seen stays at its start
        step = np.linalg.solve(normal + (DAMPING * diagonal + minimum)[..., None] * np.eye(6), rhs[..., None])[..., 0]
        poses = poses.apply_step(step)
        if np.abs(step).max() < STEP_TOLERANCE:
            break
    residual = pixels - project_points(points, poses.rotation, poses.translation, intrinsics)
    error = np.sqrt((weight[..., None] * residual**2).sum((1, 2)) / np.maximum(weight.sum(1), 1e-12))
    return poses, error
