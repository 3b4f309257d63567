"""One frame's pose for known points, compiled: the innermost loop of stabilisation."""

from __future__ import annotations

import numpy as np
from numba import prange

from ...compute.kernels import kernel
from ...contract.arrays import F64

DAMPING = 1e-4
MIN_DIAGONAL = 1e-9  # a frame in which nothing is seen stays at its start
STEP_TOLERANCE = 1e-7


@kernel(exact=True, parallel=True)
def solve_pnp_kernel(
    pixels: F64,
    confidence: F64,
    points: F64,
    sqrt_information: F64,
    rotation: F64,
    translation: F64,
    prior_rotation: F64,
    prior_translation: F64,
    intrinsics: F64,
    pose_precision: F64,
    noise: float,
    huber_threshold: float,
    iterations: int,
) -> None:
    """Gauss–Newton with Huber weights on every frame by itself; rotation and translation are changed in place.

    Args:
        pixels: (T, P, 2). trust: (T, P). place: (T, P, 3) body space. sharpness: (P, 2, 2).
        rotation (T, 3, 3), translation (T, 3): start. held_…: what `hold` (6,) pulls to.
        noise: pixels. limit: deviations of the noise from which a track counts less.
    """
    for t in prange(len(pixels)):
        for _ in range(iterations):
            normal = np.zeros((6, 6))
            right = np.zeros(6)
            for p in range(pixels.shape[1]):
                if confidence[t, p] > 0:
                    _accumulate_normal_equations(
                        pixels[t, p],
                        confidence[t, p],
                        points[t, p],
                        sqrt_information[p],
                        rotation[t],
                        translation[t],
                        intrinsics,
                        noise,
                        huber_threshold,
                        normal,
                        right,
                    )
            offset = _vector_from_matrix(rotation[t] @ prior_rotation[t].T)
            for i in range(3):
                right[i] -= pose_precision[i] * offset[i]
                right[3 + i] -= pose_precision[3 + i] * (translation[t, i] - prior_translation[t, i])
            for i in range(6):
                normal[i, i] += DAMPING * normal[i, i] + pose_precision[i] + MIN_DIAGONAL
            step = np.linalg.solve(normal, right)
            rotation[t] = _matrix_from_vector(step[:3]) @ rotation[t]
            translation[t] += step[3:]
            if np.abs(step).max() < STEP_TOLERANCE:
                break


@kernel(exact=True)
def _accumulate_normal_equations(
    pixel: F64,
    confidence: float,
    point: F64,
    sqrt_information: F64,
    rotation: F64,
    translation: F64,
    intrinsics: F64,
    noise: float,
    huber_threshold: float,
    normal: F64,
    rhs: F64,
) -> None:
    """Adds one track to a frame's normal equations (6, 6) and (6,): turn about the body, then shift."""
    x = rotation[0, 0] * point[0] + rotation[0, 1] * point[1] + rotation[0, 2] * point[2]
    y = rotation[1, 0] * point[0] + rotation[1, 1] * point[1] + rotation[1, 2] * point[2]
    z = rotation[2, 0] * point[0] + rotation[2, 1] * point[1] + rotation[2, 2] * point[2]
    iz = 1.0 / max(z + translation[2], 1e-6)
    u, v = (x + translation[0]) * iz, (y + translation[1]) * iz
    fx, fy = intrinsics[0, 0], intrinsics[1, 1]
    off = pixel[0] - (u * fx + intrinsics[0, 2]), pixel[1] - (v * fy + intrinsics[1, 2])
    jacobian = np.empty((2, 6))
    for row in range(2):
        a = sqrt_information[row, 0] * fx * iz  # d(whitened residual) / d(camera x, y, z)
        b = sqrt_information[row, 1] * fy * iz
        c = -(a * u + b * v)
        jacobian[row, 0] = c * y - b * z
        jacobian[row, 1] = a * z - c * x
        jacobian[row, 2] = b * x - a * y
        jacobian[row, 3], jacobian[row, 4], jacobian[row, 5] = a, b, c
    r0 = sqrt_information[0, 0] * off[0] + sqrt_information[0, 1] * off[1]
    r1 = sqrt_information[1, 0] * off[0] + sqrt_information[1, 1] * off[1]
    length = np.sqrt(r0 * r0 + r1 * r1) / noise
    w = confidence / noise**2 * min(1.0, huber_threshold / max(length, 1e-9))
    for i in range(6):
        rhs[i] += w * (jacobian[0, i] * r0 + jacobian[1, i] * r1)
        for j in range(6):
            normal[i, j] += w * (jacobian[0, i] * jacobian[0, j] + jacobian[1, i] * jacobian[1, j])


@kernel(exact=True)
def _matrix_from_vector(rotation_vector: F64) -> F64:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    angle = np.sqrt(rotation_vector[0] ** 2 + rotation_vector[1] ** 2 + rotation_vector[2] ** 2)
    k = np.array(
        [
            [0.0, -rotation_vector[2], rotation_vector[1]],
            [rotation_vector[2], 0.0, -rotation_vector[0]],
            [-rotation_vector[1], rotation_vector[0], 0.0],
        ]
    )
    a = 1.0 - angle**2 / 6 if angle < 1e-4 else np.sin(angle) / angle
    b = 0.5 - angle**2 / 24 if angle < 1e-4 else (1 - np.cos(angle)) / angle**2
    result: F64 = np.eye(3) + a * k + b * (k @ k)
    return result


@kernel(exact=True)
def _vector_from_matrix(rotation: F64) -> F64:
    """Rotation vector of a rotation matrix that turns by less than a right angle."""
    axis = (
        np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
        / 2
    )
    sine = np.sqrt(axis[0] ** 2 + axis[1] ** 2 + axis[2] ** 2)
    scale = 1.0 if sine < 1e-9 else np.arctan2(sine, (rotation[0, 0] + rotation[1, 1] + rotation[2, 2] - 1) / 2) / sine
    result: F64 = axis * scale
    return result
