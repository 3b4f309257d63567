"""Bundle adjustment: the rigid points, poses and focal length that explain a clip's tracks together.

Poses are eliminated (Schur complement; Triggs et al., Bundle Adjustment – A Modern Synthesis, 2000), so the system that
remains holds points and focal length only. Alternating between points and poses would converge slowly along the
direction that matters most: depth against rotation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ...contract.arrays import F64
from ...contract.geometry import project_points
from .least_squares import huber_weights, linearize_projection
from .pnp import HUBER_THRESHOLD, TRACK_NOISE_PIXELS
from .poses import NO_POSE_PRIOR, PointTracks, PosePrior, Poses
from .shape_prior import ShapePrior

# Deviation of the logarithm of the focal length about the usual one. Larger lets clips with little rotation choose a
# wrong lens, smaller ignores what the tracks say about it. Not tuned.
LOG_FOCAL_DEVIATION = 0.25
FIXED_FOCAL_PRECISION = 1e12  # 1 / deviation² of the logarithm of a focal length that must not change
MAX_LOG_FOCAL_STEP = 0.3  # of one iteration, so that a first step cannot invert the lens
INITIAL_DAMPING = 1e-3  # share of the diagonal (Levenberg–Marquardt); not tuned
DAMPING_INCREASE = 8  # factor after a step that made the fit worse
DAMPING_DECREASE = 3  # divisor after a step that made it better
MIN_RELATIVE_DECREASE = 1e-4  # of the cost; a smaller one ends the iteration


@dataclass(frozen=True)
class Bundle:
    """What bundle adjustment estimates together.

    Attributes:
        points: (P, 3) metres, body space.
        poses: body → camera, of T frames.
        intrinsics: (3, 3) pixels.
    """

    points: F64
    poses: Poses
    intrinsics: F64


@dataclass(frozen=True)
class BundlePriors:
    """What is known before the tracks are seen.

    Attributes:
        shape: of the points' displacements from their start.
        deviation_scale: (P,) factor to the deviations of `shape`.
        focal: usual focal length in pixels, or None to keep the one at the start.
        poses: pull of the poses.
    """

    shape: ShapePrior
    deviation_scale: F64
    focal: float | None = None
    poses: PosePrior = NO_POSE_PRIOR


def adjust_bundle(tracks: PointTracks, start: Bundle, priors: BundlePriors, *, iterations: int = 6) -> Bundle:
    """Return the most likely points, poses and focal length (Levenberg–Marquardt with Huber weights).

    Args:
        tracks: of the poses' frames.
        start: where the iteration begins; its points are the centre of the shape prior.
        priors: what is known beforehand.
        iterations: at most.
    """
    problem = _BundleProblem(tracks, start, priors)
    best = current = start
    damping, best_cost = INITIAL_DAMPING, np.inf
    for _ in range(iterations):
        cost = problem.cost(current)
        if cost > best_cost:
            current, damping = best, damping * DAMPING_INCREASE
        else:
            if best_cost - cost < MIN_RELATIVE_DECREASE * cost:
                return current
            best_cost, best, damping = cost, current, damping / DAMPING_DECREASE
        current = problem.gauss_newton_step(current, damping)
    return current if problem.cost(current) < best_cost else best


@dataclass(frozen=True)
class _Linearization:
    """Whitened residuals (T, P, 2) and their derivatives at one bundle.

    Attributes:
        weights: (T, P) confidence times Huber weight, per pixel² of the usual noise.
        by_pose: (T, P, 2, 6) turn about the body, then shift.
        by_point: (T, P, 2, 3).
        by_focal: (T, P, 2) logarithm of the focal length.
    """

    residual: F64
    weights: F64
    by_pose: F64
    by_point: F64
    by_focal: F64


class _BundleProblem:
    """The cost of a bundle and the steps that reduce it."""

    def __init__(self, tracks: PointTracks, start: Bundle, priors: BundlePriors) -> None:
        self.tracks = tracks
        self.start_points = start.points
        self.shape_information = priors.shape.information_matrix(start.points, priors.deviation_scale)
        self.focal_prior = priors.focal
        self.prior_poses = priors.poses.poses or start.poses
        self.pose_precision = np.asarray(priors.poses.precision)

    def cost(self, bundle: Bundle) -> float:
        """Return the negative logarithm of the likelihood, up to a constant."""
        residual = self.tracks.pixels - self._project(bundle)
        whitened = (self.tracks.sqrt_information @ residual[..., None])[..., 0]
        length = np.linalg.norm(whitened, axis=-1) / TRACK_NOISE_PIXELS
        huber = np.where(length < HUBER_THRESHOLD, 0.5 * length**2, HUBER_THRESHOLD * (length - 0.5 * HUBER_THRESHOLD))
        displacement = (bundle.points - self.start_points).ravel()
        focal_precision, focal_offset = self._focal_prior_terms(bundle.intrinsics)
        pose_cost = (self.pose_precision * bundle.poses.step_from(self.prior_poses) ** 2).sum()
        shape_cost = displacement @ self.shape_information @ displacement
        return float(
            (self.tracks.confidence * huber).sum() + 0.5 * (shape_cost + focal_precision * focal_offset**2 + pose_cost)
        )

    def gauss_newton_step(self, bundle: Bundle, damping: float) -> Bundle:
        """Return the bundle after one damped Gauss–Newton step."""
        normal, rhs, pose_cross, pose_rhs = self._reduced_normal_equations(bundle, damping)
        focal_precision, focal_offset = self._focal_prior_terms(bundle.intrinsics)
        normal[:-1, :-1] += self.shape_information
        rhs[:-1] -= self.shape_information @ (bundle.points - self.start_points).ravel()
        normal[-1, -1] += focal_precision
        rhs[-1] -= focal_precision * focal_offset
        normal[np.diag_indices_from(normal)] *= 1 + damping
        step = cho_solve(cho_factor(normal, check_finite=False), rhs, check_finite=False)
        focal_factor = np.exp(np.clip(step[-1], -MAX_LOG_FOCAL_STEP, MAX_LOG_FOCAL_STEP))
        scale = np.array([focal_factor] * 2 + [1.0])
        return Bundle(
            bundle.points + step[:-1].reshape(-1, 3),
            bundle.poses.apply_step(pose_rhs - pose_cross @ step),
            bundle.intrinsics * np.where(np.eye(3) > 0, scale, 1),
        )

    def _project(self, bundle: Bundle) -> F64:
        """Pixels (T, P, 2) of the deformed points."""
        points = bundle.points + self.tracks.deformation
        return project_points(points, bundle.poses.rotation, bundle.poses.translation, bundle.intrinsics)

    def _focal_prior_terms(self, intrinsics: F64) -> tuple[float, float]:
        """Precision of the prior on the logarithm of the focal length, and the offset from its centre."""
        if self.focal_prior is None:
            return FIXED_FOCAL_PRECISION, 0.0
        return 1 / LOG_FOCAL_DEVIATION**2, float(np.log(intrinsics[0, 0] / self.focal_prior))

    def _linearize(self, bundle: Bundle) -> _Linearization:
        whiten = self.tracks.sqrt_information
        points = bundle.points + self.tracks.deformation
        residual, jacobian = linearize_projection(self.tracks.pixels, points, bundle.poses, bundle.intrinsics)
        residual, by_pose = (whiten @ residual[..., None])[..., 0], whiten @ jacobian
        length = np.linalg.norm(residual, axis=-1) / TRACK_NOISE_PIXELS
        weights = self.tracks.confidence * huber_weights(length, HUBER_THRESHOLD) / TRACK_NOISE_PIXELS**2
        by_point = by_pose[..., 3:] @ bundle.poses.rotation[:, None]  # a point moves with the body's axes
        from_center = self._project(bundle) - bundle.intrinsics[:2, 2]
        return _Linearization(residual, weights, by_pose, by_point, (whiten @ from_center[..., None])[..., 0])

    def _reduced_normal_equations(self, bundle: Bundle, damping: float) -> tuple[F64, F64, F64, F64]:
        """The normal equations of the tracks without the poses.

        Returns:
            Matrix (3P + 1, 3P + 1) and right side (3P + 1,) of points and logarithm of the focal length, and what gives
            the poses' step back as `pose_rhs − pose_cross @ step`: pose_cross (T, 6, 3P + 1) and pose_rhs (T, 6).
        """
        at = self._linearize(bundle)
        frames, count = at.residual.shape[:2]
        size = 3 * count + 1
        weighted = at.weights[..., None, None] * at.by_pose
        pose_block = np.einsum("tpci,tpcj->tij", weighted, at.by_pose, optimize=True)
        pose_block += (damping * np.einsum("tii->ti", pose_block) + self.pose_precision)[..., None] * np.eye(6)
        cross = np.empty((frames, 6, size))
        cross[..., :-1] = np.einsum("tpci,tpcj->tipj", weighted, at.by_point, optimize=True).reshape(frames, 6, -1)
        cross[..., -1] = np.einsum("tpci,tpc->ti", weighted, at.by_focal, optimize=True)
        pose_offset = bundle.poses.step_from(self.prior_poses)
        pose_rhs = np.einsum("tpci,tpc->ti", weighted, at.residual, optimize=True) - self.pose_precision * pose_offset
        solved = np.linalg.solve(pose_block, np.concatenate([cross, pose_rhs[..., None]], -1))
        normal = -(cross.reshape(-1, size).T @ solved[..., :-1].reshape(-1, size))
        rhs = -(cross.reshape(-1, size).T @ solved[..., -1].ravel())
        _add_point_and_focal_blocks(at, normal, rhs)
        return normal, rhs, solved[..., :-1], solved[..., -1]


def _add_point_and_focal_blocks(at: _Linearization, normal: F64, rhs: F64) -> None:
    """Add the blocks of points and focal length to the normal equations (3P + 1)²."""
    weighted = at.weights[..., None, None] * at.by_point
    blocks = np.einsum("tpci,tpcj->pij", weighted, at.by_point, optimize=True)
    for p in range(len(blocks)):
        normal[3 * p : 3 * p + 3, 3 * p : 3 * p + 3] += blocks[p]
    mixed = np.einsum("tpci,tpc->pi", weighted, at.by_focal, optimize=True).ravel()
    normal[:-1, -1] += mixed
    normal[-1, :-1] += mixed
    normal[-1, -1] += np.einsum("tp,tpc,tpc->", at.weights, at.by_focal, at.by_focal, optimize=True)
    rhs[:-1] += np.einsum("tpci,tpc->pi", weighted, at.residual, optimize=True).ravel()
    rhs[-1] += np.einsum("tp,tpc,tpc->", at.weights, at.by_focal, at.residual, optimize=True)
