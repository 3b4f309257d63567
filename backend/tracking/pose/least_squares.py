"""Parts that the robust least-squares fits of poses share: the linearised projection and Huber's weights."""

from __future__ import annotations

import numpy as np

from ...contract.arrays import F64
from .poses import Poses

MIN_DEPTH_METERS = 1e-6  # of a point before the camera, against division by zero


def linearize_projection(pixels: F64, points: F64, poses: Poses, intrinsics: F64) -> tuple[F64, F64]:
    """Return the residuals (T, P, 2) of a projection and their Jacobian (T, P, 2, 6) by pose.

    This is the reference implementation of what `pnp.solve_pnp_kernel` computes point by point.

    Args:
        pixels: (T, P, 2) where the points are seen.
        points: (P, 3) or (T, P, 3) metres, body space.
        poses: body → camera.
        intrinsics: (3, 3) pixels.

    Returns:
        `pixels` − projection, and the derivative of the projection by a rotation about the body, then by a shift.
    """
    turned = points @ np.swapaxes(poses.rotation, -1, -2)
    camera = turned + poses.translation[:, None]
    fx, fy = intrinsics[0, 0], intrinsics[1, 1]
    iz = 1 / np.maximum(camera[..., 2], MIN_DEPTH_METERS)
    x, y = camera[..., 0] * iz, camera[..., 1] * iz
    residual = pixels - (np.stack([x * fx, y * fy], -1) + intrinsics[:2, 2])
    zero = np.zeros_like(iz)
    by_shift = np.stack(  # (T, P, 2, 3)
        [np.stack([fx * iz, zero, -fx * x * iz], -1), np.stack([zero, fy * iz, -fy * y * iz], -1)], -2
    )
    a, b, c = turned[..., 0], turned[..., 1], turned[..., 2]
    cross = np.stack(  # −[turned]×: what a small rotation does to the point
        [np.stack([zero, c, -b], -1), np.stack([-c, zero, a], -1), np.stack([b, -a, zero], -1)], -2
    )
    return residual, np.concatenate([by_shift @ cross, by_shift], -1)


def huber_weights(length: F64, threshold: float) -> F64:
    """Weights 0–1 that make least squares minimise Huber's loss (Ann. Math. Statist. 35(1), 1964).

    Args:
        length: of the residuals, any shape.
        threshold: length from which a residual counts less, in the same unit.
    """
    return np.asarray(np.minimum(1, threshold / np.maximum(length, 1e-9)), np.float64)
