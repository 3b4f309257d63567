"""Perspective-n-point, bundle adjustment, shape prior and smoothing against exact truth made by projecting a body."""

from __future__ import annotations

import numpy as np
import pytest

from backend.contract.arrays import F64
from backend.contract.geometry import FLIP_YZ, matrix_from_rotation_vector, project_points, rotation_angle_degrees
from backend.tracking.pose import pnp
from backend.tracking.pose.bundle_adjustment import Bundle, BundlePriors, adjust_bundle
from backend.tracking.pose.least_squares import huber_weights, linearize_projection
from backend.tracking.pose.pnp import solve_pnp
from backend.tracking.pose.poses import PointTracks, PosePrior, Poses, spread_frames
from backend.tracking.pose.shape_prior import ShapePrior
from backend.tracking.pose.smoothing import smooth_curves, smooth_poses

CAMERA = np.array([[900.0, 0, 128], [0, 900.0, 128], [0, 0, 1]])
PRIOR = ShapePrior(smooth_deviation=(0.003, 0.003, 0.012), correlation_length=0.03, independent_deviation=0.001)
RIGID_PRIOR = ShapePrior(
    smooth_deviation=(0.0005, 0.0005, 0.0005), correlation_length=0.03, independent_deviation=0.0002
)
FRAMES = 60
NO_LIMIT = np.array([np.inf])  # of the noise


def face_points() -> F64:
    """150 points on a bulge of the size of a face."""
    xy = np.random.default_rng(0).uniform(-0.07, 0.07, (150, 2))
    return np.column_stack([xy, 0.04 - 8 * (xy**2).sum(1)])


def head_motion() -> Poses:
    """A head that turns by up to 17 degrees."""
    t = np.linspace(0, 2 * np.pi, FRAMES)
    turn = np.stack([0.12 * np.sin(2 * t), 0.3 * np.sin(t), 0.08 * np.cos(3 * t)], 1)
    return Poses(
        matrix_from_rotation_vector(turn) @ FLIP_YZ, np.array([0.0, 0.0, 1.1]) + 0.03 * np.sin(t)[:, None] * [1, 0.5, 1]
    )


def frontal_poses() -> Poses:
    """A start that knows nothing but the rough distance."""
    return Poses(np.tile(FLIP_YZ, (FRAMES, 1, 1)), np.tile([0.0, 0, 1.0], (FRAMES, 1)))


def project_tracks(points: F64, poses: Poses, noise: float = 0.0) -> PointTracks:
    """Tracks of the points with noise in pixels."""
    pixels = project_points(points, poses.rotation, poses.translation, CAMERA)
    pixels = pixels + np.random.default_rng(1).normal(0, noise, pixels.shape)
    return PointTracks(
        pixels, np.ones(pixels.shape[:2]), np.zeros((*pixels.shape[:2], 3)), np.tile(np.eye(2), (len(points), 1, 1))
    )


def max_rotation_error(found: Poses, true: Poses) -> float:
    """Degrees, after the one constant turn that no image shows."""
    relative = np.swapaxes(true.rotation, 1, 2) @ found.rotation
    u, _, vt = np.linalg.svd(relative.mean(0))
    return float(rotation_angle_degrees(np.swapaxes(relative, 1, 2) @ (u @ vt)).max())


def test_pnp_finds_poses_in_spite_of_outliers() -> None:
    points, true = face_points(), head_motion()
    tracks = project_tracks(points, true, 0.1)
    tracks.pixels[:, ::10] += 15.0
    found = solve_pnp(tracks, points, frontal_poses(), CAMERA, iterations=40)
    assert rotation_angle_degrees(np.swapaxes(found.rotation, 1, 2) @ true.rotation).max() < 0.5
    assert np.abs(found.translation - true.translation).max() < 0.02


def test_pnp_keeps_the_start_of_a_frame_without_tracks() -> None:
    points, true = face_points(), head_motion()
    tracks = project_tracks(points, true)
    tracks.confidence[1] = 0
    found = solve_pnp(tracks, points, frontal_poses(), CAMERA, iterations=40)
    assert np.allclose(found.rotation[1], FLIP_YZ) and np.allclose(found.translation[1], [0, 0, 1.0])
    assert np.allclose(found.translation[0], true.translation[0], atol=1e-4)


def test_pnp_keeps_held_rotation_axes_fixed() -> None:
    points, true = face_points(), head_motion()
    start = Poses(frontal_poses().rotation, true.translation)
    held = PosePrior((1e12, 1e12, 0, 0, 0, 0))
    step = solve_pnp(project_tracks(points, true), points, start, CAMERA, held).step_from(start)
    assert np.abs(step[:, :2]).max() < 1e-3 < np.abs(step[:, 2]).max()


def test_compiled_pnp_step_equals_the_numpy_reference() -> None:
    rng = np.random.default_rng(4)
    points, start = face_points(), head_motion()
    tracks = project_tracks(points, start, 1.5)
    tracks.confidence[:] = rng.random(tracks.confidence.shape)
    tracks.sqrt_information[:] = rng.normal(size=tracks.sqrt_information.shape)
    center = start.apply_step(rng.normal(0, 0.01, (FRAMES, 6)))
    precision = np.array([1e4, 0, 2e4, 0, 3e5, 1e5])
    found = solve_pnp(tracks, points, start, CAMERA, PosePrior(tuple(precision), center), iterations=1)

    residual, jacobian = linearize_projection(tracks.pixels, points, start, CAMERA)
    residual = (tracks.sqrt_information @ residual[..., None])[..., 0]
    jacobian = tracks.sqrt_information @ jacobian
    length = np.linalg.norm(residual, axis=-1) / pnp.TRACK_NOISE_PIXELS
    w = tracks.confidence * huber_weights(length, pnp.HUBER_THRESHOLD) / pnp.TRACK_NOISE_PIXELS**2
    normal = np.einsum("tp,tpci,tpcj->tij", w, jacobian, jacobian)
    rhs = np.einsum("tp,tpci,tpc->ti", w, jacobian, residual) - precision * start.step_from(center)
    diagonal = pnp.DAMPING * np.einsum("tii->ti", normal) + precision + pnp.MIN_DIAGONAL
    step = np.linalg.solve(normal + diagonal[..., None] * np.eye(6), rhs[..., None])[..., 0]
    expected = start.apply_step(step)
    assert np.abs(step).max() > 1e-3
    assert np.allclose(found.rotation, expected.rotation, atol=1e-9)
    assert np.allclose(found.translation, expected.translation, atol=1e-9)


def test_bundle_adjustment_restores_the_depth_of_a_flattened_body() -> None:
    points, true = face_points(), head_motion()
    flat = points * [1, 1, 0.8]
    tracks = project_tracks(points, true, 0.15)
    rough = solve_pnp(tracks, flat, true, CAMERA)
    priors = BundlePriors(PRIOR, np.ones(len(points)))
    found = adjust_bundle(tracks, Bundle(flat, rough, CAMERA), priors, iterations=15)
    assert max_rotation_error(found.poses, true) < 0.4 * max_rotation_error(rough, true)
    slope = np.polyfit(points[:, 2], found.points[:, 2], 1)[0]
    assert slope == pytest.approx(1, abs=0.06)


def test_bundle_adjustment_finds_the_focal_length_of_a_turning_head() -> None:
    points, true = face_points(), head_motion()
    tracks = project_tracks(points, true, 0.05)
    wrong = CAMERA * np.where(np.eye(3) > 0, [0.8, 0.8, 1], 1)
    start = solve_pnp(tracks, points, Poses(true.rotation, true.translation * [1, 1, 0.8]), wrong)
    priors = BundlePriors(RIGID_PRIOR, np.ones(len(points)), focal=720.0)
    found = adjust_bundle(tracks, Bundle(points, start, wrong), priors, iterations=30)
    assert found.intrinsics[0, 0] == pytest.approx(900, rel=0.05)


def test_bundle_adjustment_without_focal_prior_keeps_the_focal_length() -> None:
    points, true = face_points(), head_motion()
    priors = BundlePriors(RIGID_PRIOR, np.ones(len(points)))
    found = adjust_bundle(project_tracks(points, true, 0.05), Bundle(points, true, 0.9 * CAMERA), priors)
    assert found.intrinsics[0, 0] == pytest.approx(0.9 * 900, rel=1e-4)


def test_shape_prior_moves_neighbours_and_leaves_distant_points() -> None:
    points = face_points()
    displacement = np.tile([0.0, 0, 0.005], (len(points), 1))
    query_points = np.array([[0.0, 0, 0.04], [0.5, 0.5, 0]])
    near, far = PRIOR.propagate_displacement(points, np.ones(len(points)), displacement, query_points, np.ones(2))
    assert near[2] == pytest.approx(0.005, rel=0.1) and abs(far[2]) < 1e-6


def test_keyframe_corrections_are_interpolated() -> None:
    poses = Poses(np.tile(np.eye(3), (5, 1, 1)), np.zeros((5, 3)))
    corrected = Poses(np.tile(np.eye(3), (2, 1, 1)), np.array([[0.0, 0, 0], [0.4, 0, 0]]))
    result = poses.correct_at_keyframes(np.array([0, 4]), corrected)
    assert np.allclose(result.translation[:, 0], [0, 0.1, 0.2, 0.3, 0.4])


def test_spread_frames_are_distinct_and_reach_both_ends() -> None:
    assert spread_frames(3, 40).tolist() == [0, 1, 2]
    assert spread_frames(101, 5).tolist() == [0, 25, 50, 75, 100]


def test_smoothing_removes_jitter_and_keeps_a_fast_nod() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(300) / 25
    slow = 0.1 * np.sin(2 * np.pi * 0.3 * t)
    nod = 0.08 * np.exp(-(((t - 6) / 0.08) ** 2))
    noisy = slow + nod + rng.normal(0, 0.002, len(t))
    smooth = smooth_curves(noisy[:, None], NO_LIMIT)[:, 0]
    calm = np.abs(t - 6) > 0.5
    assert np.abs(smooth - slow)[calm].mean() < 0.7 * np.abs(noisy - slow)[calm].mean()
    assert smooth.max() > 0.93 * (slow + nod).max()


def test_smoothing_within_the_noise_limit_keeps_leaps_of_dropped_frames() -> None:
    """A phone's footage of 30 frames a second at 25: every sixth step is twice as far."""
    time = np.delete(np.arange(360), np.s_[5::6]) / 30
    path = 0.02 * np.sin(2 * np.pi * 1.3 * time)[:, None]  # metres; 20 pixels
    assert np.abs(smooth_curves(path, np.array([0.05 / 1000])) - path).max() * 1000 < 0.5
    assert np.abs(smooth_curves(path, NO_LIMIT) - path).max() * 1000 > 1.0, "without the limit they are lost"


def test_smoothing_keeps_poses_without_jitter() -> None:
    true = head_motion()
    smooth = smooth_poses(true, np.ones(6))
    assert rotation_angle_degrees(np.swapaxes(smooth.rotation, 1, 2) @ true.rotation).max() < 0.05
    assert np.abs(smooth.translation - true.translation).max() < 1e-4


def test_smoothing_makes_a_still_body_still() -> None:
    still = np.random.default_rng(2).normal(0, 1, (100, 1))
    assert np.abs(np.diff(smooth_curves(still, NO_LIMIT)[:, 0])).mean() < 0.25 * np.abs(np.diff(still[:, 0])).mean()
