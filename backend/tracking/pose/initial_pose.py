"""Head pose per frame by robust perspective fitting, batched over the whole clip."""

from __future__ import annotations

import numpy as np

from ...contract.arrays import F64
from ...contract.geometry import FLIP_YZ, matrix_from_rotation_vector, project_points


def estimate_frontal_poses(pixels: F64, points: F64, intrinsics: F64) -> tuple[F64, F64]:
    """A frontal head at the place and distance where its size fits: rotation (T, 3, 3), translation (T, 3)."""
    spread = np.linalg.norm(pixels - pixels.mean(1, keepdims=True), axis=-1).mean(1)
    size = np.linalg.norm(points[:, :2] - points[:, :2].mean(0), axis=-1).mean()
    depth = intrinsics[0, 0] * size / np.maximum(spread, 1e-6)
    offset = (pixels.mean(1) - intrinsics[:2, 2]) / intrinsics[0, 0] * depth[:, None]
    rotation = np.tile(FLIP_YZ, (len(pixels), 1, 1))
    return rotation, np.concatenate([offset, depth[:, None]], 1) - points.mean(0) @ FLIP_YZ.T


def fit_poses(
    pixels: F64,
    points: F64,
    weight: F64,
    intrinsics: F64,
    initial_poses: tuple[F64, F64] | None = None,
    *,
    iterations: int = 25,
    huber_threshold: float = 0.004,
) -> tuple[F64, F64, F64]:
    """Head → camera poses that project `points` onto `pixels` (Levenberg–Marquardt with Huber weights).

    Args:
        pixels: (T, P, 2). points: (P, 3) or (T, P, 3) head space, metres. weight: (P,) or (T, P).
        intrinsics: (3, 3) pixels. start: rotation (T, 3, 3) and translation (T, 3) to begin with.
        huber: residual, as a share of the face's size in the picture, from which a point counts less.

    Returns:
        rotation (T, 3, 3), translation (T, 3) in metres, and the weighted RMS residual (T,) in pixels.
    """
    rotation, translation = (
        estimate_frontal_poses(pixels, points, intrinsics) if initial_poses is None else initial_poses
    )
    points = np.broadcast_to(points, (len(pixels), *points.shape[-2:]))
    weight = np.broadcast_to(weight, pixels.shape[:2])
    face_size = np.median(np.ptp(pixels[..., 1], axis=1)) + 1e-6
    limit = huber_threshold * face_size * 2
    for _ in range(iterations):
        residual, jacobian = linearize_projection(pixels, points, rotation, translation, intrinsics)
        length = np.linalg.norm(residual, axis=-1)
        w = weight * np.minimum(1, limit / np.maximum(length, 1e-9))
        normal = np.einsum("tp,tpci,tpcj->tij", w, jacobian, jacobian, optimize=True)
        right = np.einsum("tp,tpci,tpc->ti", w, jacobian, residual, optimize=True)
        diagonal = np.einsum("tii->ti", normal)
        least = 1e-6 * np.median(diagonal, axis=0) + 1e-12  # a frame in which nothing is seen stays at its start
        step = np.linalg.solve(normal + (1e-4 * diagonal + least)[..., None] * np.eye(6), right[..., None])[..., 0]
        rotation = matrix_from_rotation_vector(step[:, :3]) @ rotation
        translation = translation + step[:, 3:]
        if np.abs(step).max() < 1e-7:
            break
    residual = pixels - project_points(points, rotation, translation, intrinsics)
    error = np.sqrt((weight[..., None] * residual**2).sum((1, 2)) / np.maximum(weight.sum(1), 1e-12))
    return rotation, translation, error


def linearize_projection(pixels: F64, points: F64, rotation: F64, translation: F64, intrinsics: F64) -> tuple[F64, F64]:
    """Residuals (T, P, 2) and Jacobian (T, P, 2, 6) of the projection: rotation about the head, then translation."""
    turned = points @ np.swapaxes(rotation, -1, -2)
    camera = turned + translation[:, None]
    fx, fy = intrinsics[0, 0], intrinsics[1, 1]
    iz = 1 / np.maximum(camera[..., 2], 1e-6)
    x, y = camera[..., 0] * iz, camera[..., 1] * iz
    residual = pixels - (np.stack([x * fx, y * fy], -1) + intrinsics[:2, 2])
    zero = np.zeros_like(iz)
    d_camera = np.stack(
        [np.stack([fx * iz, zero, -fx * x * iz], -1), np.stack([zero, fy * iz, -fy * y * iz], -1)], -2
    )  # (T, P, 2, 3)
    a, b, c = turned[..., 0], turned[..., 1], turned[..., 2]
    cross = np.stack(  # −[turned]×, what a small rotation does to the point
        [np.stack([zero, c, -b], -1), np.stack([-c, zero, a], -1), np.stack([b, -a, zero], -1)], -2
    )
    return residual, np.concatenate([d_camera @ cross, d_camera], -1)
