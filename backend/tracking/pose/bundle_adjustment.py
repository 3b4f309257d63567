"""Bundle adjustment: rigid points, poses and the focal length that explain a clip's tracks together.

Poses are eliminated (Schur complement), so the system that remains holds points and focal length only. Alternating
between points and poses would creep along the one direction that matters: depth against rotation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ...contract.arrays import F64, I64
from ...contract.geometry import matrix_from_rotation_vector, project_points, rotation_vector_from_matrix
from .initial_pose import linearize_projection
from .pnp import solve_pnp_kernel
from .shape_prior import ShapePrior

HUBER_THRESHOLD = 2.5  # deviations of the noise from which a track counts less (Huber)
TRACK_NOISE_PIXELS = 0.4  # pixels: usual deviation of a track that was found
NO_POSE_PRIOR = (0.0,) * 6


@dataclass
class PointTracks:
    """Where P points of a body are seen in T frames.

    Attributes:
        pixels: (T, P, 2). trust: (T, P) 0–1. moved: (T, P, 3) what deformation adds to the points, metres.
        sharpness: (P, 2, 2) what is multiplied to residuals before they count: an edge tells of shifts across it only.
    """

    pixels: F64
    confidence: F64
    deformation: F64
    sqrt_information: F64


@dataclass
class Poses:
    """Body → camera: rotation (T, 3, 3), translation (T, 3) in metres."""

    rotation: F64
    translation: F64

    def select(self, frame_indices: I64) -> Poses:
        """The poses of these frames."""
        return Poses(self.rotation[frame_indices], self.translation[frame_indices])

    def apply_step(self, step: F64) -> Poses:
        """The poses after a small turn about the body (T, 3) and shift (T, 3), together (T, 6)."""
        return Poses(matrix_from_rotation_vector(step[:, :3]) @ self.rotation, self.translation + step[:, 3:])

    def correct_at_keyframes(self, keyframes: I64, keyframe_poses: Poses) -> Poses:
        """These poses, corrected to `at_keys` at the key frames, and in between by interpolated corrections."""
        step, frames = keyframe_poses.step_from(self.select(keyframes)), np.arange(len(self.rotation))
        return self.apply_step(np.stack([np.interp(frames, keyframes, step[:, k]) for k in range(6)], 1))

    def step_from(self, start: Poses) -> F64:
        """(T, 6) turn and shift that lead from `start` to these poses."""
        turn = rotation_vector_from_matrix(self.rotation @ np.swapaxes(start.rotation, 1, 2))
        return np.concatenate([turn, self.translation - start.translation], 1)


def solve_pnp(
    tracks: PointTracks,
    points: F64,
    poses: Poses,
    intrinsics: F64,
    *,
    pose_precision: tuple[float, ...] = NO_POSE_PRIOR,
    prior_poses: Poses | None = None,
    iterations: int = 10,
) -> Poses:
    """Each frame's most likely pose for known points (P, 3) (Gauss–Newton, Huber weights).

    Args:
        hold: how firmly turn (x, y, z) and shift (x, y, z) stay at the poses `held`, or at the start: 1 / deviation²,
            radians and metres.
    """
    start = prior_poses or poses
    rotation, translation = poses.rotation.copy(), poses.translation.copy()
    solve_pnp_kernel(
        tracks.pixels,
        tracks.confidence,
        points + tracks.deformation,
        tracks.sqrt_information,
        rotation,
        translation,
        start.rotation,
        start.translation,
        intrinsics,
        np.asarray(pose_precision),
        TRACK_NOISE_PIXELS,
        HUBER_THRESHOLD,
        iterations,
    )
    return Poses(rotation, translation)


def adjust_bundle(
    tracks: PointTracks,
    points: F64,
    poses: Poses,
    intrinsics: F64,
    *,
    shape_prior: ShapePrior,
    deviation_scale: F64,
    focal_prior: float | None = None,
    pose_precision: tuple[float, ...] = NO_POSE_PRIOR,
    prior_poses: Poses | None = None,
    iterations: int = 6,
) -> tuple[F64, Poses, F64]:
    """The most likely points, poses and focal length (Levenberg–Marquardt, Huber weights).

    Args:
        points: (P, 3) start and prior. prior, loose: how far the points may move.
        usual_focal: pixels that the lens is pulled to; the focal length is kept when it is None.
        hold, held: as in `resect`.

    Returns:
        points (P, 3), poses, intrinsics (3, 3).
    """
    problem = _BundleProblem(
        tracks,
        points,
        prior_poses or poses,
        np.asarray(pose_precision),
        shape_prior.information_matrix(points, deviation_scale),
        focal_prior,
    )
    kept = state = points, poses, intrinsics
    damping, best = 1e-3, np.inf
    for _ in range(iterations):
        cost = problem.cost(*state)
        if cost > best:
            state, damping = kept, damping * 8
        else:
            if best - cost < 1e-4 * cost:
                return state
            best, kept, damping = cost, state, damping / 3
        state = problem.gauss_newton_step(*state, damping)
    return state if problem.cost(*state) < best else kept


@dataclass
class _BundleProblem:
    tracks: PointTracks
    initial_points: F64
    prior_poses: Poses
    pose_precision: F64
    shape_information: F64
    focal_prior: float | None

    def _focal_prior_terms(self, intrinsics: F64) -> tuple[float, float]:
        """Firmness and offset of the logarithm of the focal length."""
        if self.focal_prior is None:
            return 1e12, 0.0
        return 1 / LOG_FOCAL_DEVIATION**2, float(np.log(intrinsics[0, 0] / self.focal_prior))

    def cost(self, points: F64, poses: Poses, intrinsics: F64) -> float:
        """Negative logarithm of the likelihood, up to a constant."""
        plain = self.tracks.pixels - project_points(
            points + self.tracks.deformation, poses.rotation, poses.translation, intrinsics
        )
        length = np.linalg.norm((self.tracks.sqrt_information @ plain[..., None])[..., 0], axis=-1) / TRACK_NOISE_PIXELS
        huber = np.where(length < HUBER_THRESHOLD, 0.5 * length**2, HUBER_THRESHOLD * (length - 0.5 * HUBER_THRESHOLD))
        bent = (points - self.initial_points).ravel()
        firm, lens = self._focal_prior_terms(intrinsics)
        held = (self.pose_precision * poses.step_from(self.prior_poses) ** 2).sum()
        return float(
            (self.tracks.confidence * huber).sum()
            + 0.5 * (bent @ self.shape_information @ bent + firm * lens**2 + held)
        )

    def gauss_newton_step(self, points: F64, poses: Poses, intrinsics: F64, damping: float) -> tuple[F64, Poses, F64]:
        """One damped Gauss–Newton step."""
        normal, right, cross, aim = self._reduced_normal_equations(points, poses, intrinsics, damping)
        firm, lens = self._focal_prior_terms(intrinsics)
        normal[:-1, :-1] += self.shape_information
        right[:-1] -= self.shape_information @ (points - self.initial_points).ravel()
        normal[-1, -1] += firm
        right[-1] -= firm * lens
        normal[np.diag_indices_from(normal)] *= 1 + damping
        step = cho_solve(cho_factor(normal, check_finite=False), right, check_finite=False)
        scale = np.array([np.exp(np.clip(step[-1], -0.3, 0.3))] * 2 + [1.0])
        longer = intrinsics * np.where(np.eye(3) > 0, scale, 1)
        return points + step[:-1].reshape(-1, 3), poses.apply_step(aim - cross @ step), longer

    def _reduced_normal_equations(
        self, points: F64, poses: Poses, intrinsics: F64, damping: float
    ) -> tuple[F64, F64, F64, F64]:
        """The normal equations (3P + 1)² of points and log focal length, and what gives the eliminated poses back."""
        tracks = self.tracks
        residual, pose = _whitened_residuals(tracks, points, poses, intrinsics)
        frames, count = residual.shape[:2]
        size = 3 * count + 1
        w = _huber_weights(tracks, residual)
        shape = pose[..., 3:] @ poses.rotation[:, None]  # (T, P, 2, 3): a point moves with the body's axes
        plain = (
            project_points(points + tracks.deformation, poses.rotation, poses.translation, intrinsics)
            - intrinsics[:2, 2]
        )
        lens = (tracks.sqrt_information @ plain[..., None])[..., 0]  # (T, P, 2): d pixel / d log focal
        wp, ws = w[..., None, None] * pose, w[..., None, None] * shape
        camera = np.einsum("tpci,tpcj->tij", wp, pose, optimize=True)
        camera += (damping * np.einsum("tii->ti", camera) + self.pose_precision)[..., None] * np.eye(6)
        cross = np.empty((frames, 6, size))
        cross[..., :-1] = np.einsum("tpci,tpcj->tipj", wp, shape, optimize=True).reshape(frames, 6, -1)
        cross[..., -1] = np.einsum("tpci,tpc->ti", wp, lens, optimize=True)
        aim = np.einsum("tpci,tpc->ti", wp, residual, optimize=True) - self.pose_precision * poses.step_from(
            self.prior_poses
        )
        solved = np.linalg.solve(camera, np.concatenate([cross, aim[..., None]], -1))
        normal = -(cross.reshape(-1, size).T @ solved[..., :-1].reshape(-1, size))
        right = -(cross.reshape(-1, size).T @ solved[..., -1].ravel())
        blocks = np.einsum("tpci,tpcj->pij", ws, shape, optimize=True)
        for p in range(count):
            normal[3 * p : 3 * p + 3, 3 * p : 3 * p + 3] += blocks[p]
        mixed = np.einsum("tpci,tpc->pi", ws, lens, optimize=True).ravel()
        normal[:-1, -1] += mixed
        normal[-1, :-1] += mixed
        normal[-1, -1] += np.einsum("tp,tpc,tpc->", w, lens, lens, optimize=True)
        right[:-1] += np.einsum("tpci,tpc->pi", ws, residual, optimize=True).ravel()
        right[-1] += np.einsum("tp,tpc,tpc->", w, lens, residual, optimize=True)
        return normal, right, solved[..., :-1], solved[..., -1]


LOG_FOCAL_DEVIATION = 0.25  # of the logarithm of the focal length about the usual one


def _whitened_residuals(tracks: PointTracks, points: F64, poses: Poses, intrinsics: F64) -> tuple[F64, F64]:
    """Whitened residuals (T, P, 2) and Jacobians (T, P, 2, 6) of the poses."""
    place = points + tracks.deformation
    residual, jacobian = linearize_projection(tracks.pixels, place, poses.rotation, poses.translation, intrinsics)
    return (tracks.sqrt_information @ residual[..., None])[..., 0], tracks.sqrt_information @ jacobian


def _huber_weights(tracks: PointTracks, residual: F64) -> F64:
    """(T, P) trust, less for outliers, per pixel² of the usual noise."""
    length = np.linalg.norm(residual, axis=-1) / TRACK_NOISE_PIXELS
    return tracks.confidence * np.minimum(1, HUBER_THRESHOLD / np.maximum(length, 1e-9)) / TRACK_NOISE_PIXELS**2
