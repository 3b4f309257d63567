"""Perspective-n-point: the pose of each frame for known points, compiled, because tracking spends its time here."""

from __future__ import annotations

import numpy as np
from numba import prange

from ...compute.kernels import kernel
from ...contract.arrays import F64
from .poses import NO_POSE_PRIOR, PointTracks, PosePrior, Poses

# Residual, in deviations of the noise, from which a track counts less. Larger lets outliers pull the pose, smaller
# trusts few tracks. Not tuned.
HUBER_THRESHOLD = 2.5
TRACK_NOISE_PIXELS = 0.4  # usual deviation of a track; larger lets priors weigh more. Not tuned.
DAMPING = 1e-4  # share that is added to the diagonal of the normal equations (Levenberg–Marquardt); not tuned
MIN_DIAGONAL = 1e-9  # added to the diagonal too: a frame in which nothing is seen stays at its start
STEP_TOLERANCE = 1e-7  # radians and metres: smaller steps end a frame's iteration


def solve_pnp(
    tracks: PointTracks,
    points: F64,
    poses: Poses,
    intrinsics: F64,
    prior: PosePrior = NO_POSE_PRIOR,
    *,
    iterations: int = 10,
) -> Poses:
    """Return each frame's most likely pose for known points (Gauss–Newton with Huber weights).

    Args:
        tracks: of T frames.
        points: (P, 3) metres, body space.
        poses: start.
        intrinsics: (3, 3) pixels.
        prior: pull of the poses.
        iterations: at most.
    """
    center = prior.poses or poses
    rotation, translation = poses.rotation.copy(), poses.translation.copy()
    solve_pnp_kernel(
        tracks.pixels,
        tracks.confidence,
        points + tracks.deformation,
        tracks.sqrt_information,
        rotation,
        translation,
        center.rotation,
        center.translation,
        intrinsics,
        np.asarray(prior.precision),
        TRACK_NOISE_PIXELS,
        HUBER_THRESHOLD,
        iterations,
    )
    return Poses(rotation, translation)


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
    """Gauss–Newton with Huber weights on every frame by itself.

    Args:
        pixels: (T, P, 2) where the points are seen.
        confidence: (T, P) 0–1.
        points: (T, P, 3) metres, body space.
        sqrt_information: (P, 2, 2) factor that whitens a point's residual.
        rotation: (T, 3, 3) start, replaced by the result.
        translation: (T, 3) start in metres, replaced by the result.
        prior_rotation: (T, 3, 3) to which the prior pulls.
        prior_translation: (T, 3) to which the prior pulls.
        intrinsics: (3, 3) pixels.
        pose_precision: (6,) 1 / deviation² of the prior's turn (radians) and shift (metres).
        noise: usual deviation of a track, pixels.
        huber_threshold: deviations of the noise from which a track counts less.
        iterations: at most.
    """
    for t in prange(len(pixels)):
        for _ in range(iterations):
            normal = np.zeros((6, 6))
            rhs = np.zeros(6)
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
                        rhs,
                    )
            offset = _vector_from_matrix(rotation[t] @ prior_rotation[t].T)
            for i in range(3):
                rhs[i] -= pose_precision[i] * offset[i]
                rhs[3 + i] -= pose_precision[3 + i] * (translation[t, i] - prior_translation[t, i])
            for i in range(6):
                normal[i, i] += DAMPING * normal[i, i] + pose_precision[i] + MIN_DIAGONAL
            step = np.linalg.solve(normal, rhs)
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
    """Add one track to a frame's normal equations, (6, 6) and (6,): turn about the body, then shift.

    `least_squares.linearize_projection` is the reference implementation.
    """
    x = rotation[0, 0] * point[0] + rotation[0, 1] * point[1] + rotation[0, 2] * point[2]
    y = rotation[1, 0] * point[0] + rotation[1, 1] * point[1] + rotation[1, 2] * point[2]
    z = rotation[2, 0] * point[0] + rotation[2, 1] * point[1] + rotation[2, 2] * point[2]
    iz = 1.0 / max(z + translation[2], 1e-6)
    u, v = (x + translation[0]) * iz, (y + translation[1]) * iz
    fx, fy = intrinsics[0, 0], intrinsics[1, 1]
    residual = pixel[0] - (u * fx + intrinsics[0, 2]), pixel[1] - (v * fy + intrinsics[1, 2])
    jacobian = np.empty((2, 6))
    for row in range(2):
        a = sqrt_information[row, 0] * fx * iz  # d(whitened residual) / d(camera x, y, z)
        b = sqrt_information[row, 1] * fy * iz
        c = -(a * u + b * v)
        jacobian[row, 0] = c * y - b * z
        jacobian[row, 1] = a * z - c * x
        jacobian[row, 2] = b * x - a * y
        jacobian[row, 3], jacobian[row, 4], jacobian[row, 5] = a, b, c
    r0 = sqrt_information[0, 0] * residual[0] + sqrt_information[0, 1] * residual[1]
    r1 = sqrt_information[1, 0] * residual[0] + sqrt_information[1, 1] * residual[1]
    length = np.sqrt(r0 * r0 + r1 * r1) / noise
    w = confidence / noise**2 * min(1.0, huber_threshold / max(length, 1e-9))
    for i in range(6):
        rhs[i] += w * (jacobian[0, i] * r0 + jacobian[1, i] * r1)
        for j in range(6):
            normal[i, j] += w * (jacobian[0, i] * jacobian[0, j] + jacobian[1, i] * jacobian[1, j])


@kernel(exact=True)
def _matrix_from_vector(rotation_vector: F64) -> F64:
    """Rotation matrix of a rotation vector (Rodrigues).

    Numba compiles no `contract.geometry`, which is the reference implementation.
    """
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
    """Rotation vector of a rotation matrix that turns by less than a right angle; see `_matrix_from_vector`."""
    axis = (
        np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
        / 2
    )
    sine = np.sqrt(axis[0] ** 2 + axis[1] ** 2 + axis[2] ** 2)
    scale = 1.0 if sine < 1e-9 else np.arctan2(sine, (rotation[0, 0] + rotation[1, 1] + rotation[2, 2] - 1) / 2) / sine
    result: F64 = axis * scale
    return result
