"""Bundle adjustment, resection and smoothing against exact truth made by projecting a body."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.contract.geometry import FLIP_YZ, matrix_from_rotation_vector, project_points, rotation_angle_degrees
from backend.tracking.pose.bundle_adjustment import PointTracks, Poses, adjust_bundle, solve_pnp
from backend.tracking.pose.shape_prior import ShapePrior
from backend.tracking.pose.smoothing import smooth_curves, smooth_poses

CAMERA = np.array([[900.0, 0, 128], [0, 900.0, 128], [0, 0, 1]])
PRIOR = ShapePrior(smooth_deviation=(0.003, 0.003, 0.012), correlation_length=0.03, independent_deviation=0.001)
FRAMES = 60
FREE = np.array([np.inf])  # noise without a limit


def body(seed: int = 0) -> NDArray[Any]:
    """150 points on a bulge of the size of a face."""
    xy = np.random.default_rng(seed).uniform(-0.07, 0.07, (150, 2))
    return np.column_stack([xy, 0.04 - 8 * (xy**2).sum(1)])


def motion() -> Poses:
    t = np.linspace(0, 2 * np.pi, FRAMES)
    turn = np.stack([0.12 * np.sin(2 * t), 0.3 * np.sin(t), 0.08 * np.cos(3 * t)], 1)
    return Poses(
        matrix_from_rotation_vector(turn) @ FLIP_YZ, np.array([0.0, 0.0, 1.1]) + 0.03 * np.sin(t)[:, None] * [1, 0.5, 1]
    )


def seen(points: NDArray[Any], poses: Poses, noise: float = 0.0) -> PointTracks:
    pixels = project_points(points, poses.rotation, poses.translation, CAMERA)
    pixels = pixels + np.random.default_rng(1).normal(0, noise, pixels.shape)
    count = len(points)
    return PointTracks(
        pixels, np.ones(pixels.shape[:2]), np.zeros((*pixels.shape[:2], 3)), np.tile(np.eye(2), (count, 1, 1))
    )


def worst(found: Poses, true: Poses) -> float:
    """Degrees, after the one constant turn that no picture shows."""
    relative = np.swapaxes(true.rotation, 1, 2) @ found.rotation
    u, _, vt = np.linalg.svd(relative.mean(0))
    return float(rotation_angle_degrees(np.swapaxes(relative, 1, 2) @ (u @ vt)).max())


def test_poses_of_a_known_body_are_found_in_spite_of_outliers() -> None:
    points, true = body(), motion()
    tracks = seen(points, true, 0.1)
    tracks.pixels[:, ::10] += 15.0
    start = Poses(np.tile(FLIP_YZ, (FRAMES, 1, 1)), np.tile([0.0, 0, 1.0], (FRAMES, 1)))
    found = solve_pnp(tracks, points, start, CAMERA, iterations=40)
    assert rotation_angle_degrees(np.swapaxes(found.rotation, 1, 2) @ true.rotation).max() < 0.5
    assert np.abs(found.translation - true.translation).max() < 0.02


def test_a_frame_in_which_nothing_is_seen_keeps_its_start() -> None:
    points, true = body(), motion()
    tracks = seen(points, true)
    tracks.confidence[1] = 0
    start = Poses(np.tile(FLIP_YZ, (FRAMES, 1, 1)), np.tile([0.0, 0, 1.0], (FRAMES, 1)))
    found = solve_pnp(tracks, points, start, CAMERA, iterations=40)
    assert np.allclose(found.rotation[1], FLIP_YZ) and np.allclose(found.translation[1], [0, 0, 1.0])
    assert np.allclose(found.translation[0], true.translation[0], atol=1e-4)


def test_what_is_held_stays() -> None:
    points, true = body(), motion()
    start = Poses(np.tile(FLIP_YZ, (FRAMES, 1, 1)), true.translation)
    found = solve_pnp(seen(points, true), points, start, CAMERA, pose_precision=(1e12, 1e12, 0, 0, 0, 0))
    moved = found.step_from(start)
    assert np.abs(moved[:, :2]).max() < 1e-3 < np.abs(moved[:, 2]).max()


def test_a_flattened_body_gets_its_depth_back_and_the_poses_with_it() -> None:
    points, true = body(), motion()
    flat = points * [1, 1, 0.8]
    tracks = seen(points, true, 0.15)
    rough = solve_pnp(tracks, flat, true, CAMERA)
    shape, poses, _ = adjust_bundle(
        tracks, flat, rough, CAMERA, shape_prior=PRIOR, deviation_scale=np.ones(len(points)), iterations=15
    )
    assert worst(poses, true) < 0.4 * worst(rough, true)
    slope = np.polyfit(points[:, 2], shape[:, 2], 1)[0]
    assert slope == pytest.approx(1, abs=0.06)


def test_the_lens_is_found_when_the_head_turns() -> None:
    points, true = body(), motion()
    tracks = seen(points, true, 0.05)
    wrong = CAMERA * np.where(np.eye(3) > 0, [0.8, 0.8, 1], 1)
    start = solve_pnp(tracks, points, Poses(true.rotation, true.translation * [1, 1, 0.8]), wrong)
    free = ShapePrior(smooth_deviation=(0.0005, 0.0005, 0.0005), correlation_length=0.03, independent_deviation=0.0002)
    _, _, lens = adjust_bundle(
        tracks,
        points,
        start,
        wrong,
        shape_prior=free,
        deviation_scale=np.ones(len(points)),
        focal_prior=720.0,
        iterations=30,
    )
    assert lens[0, 0] == pytest.approx(900, rel=0.05)


def test_the_prior_moves_neighbours_along() -> None:
    points = body()
    offset = np.tile([0.0, 0, 0.005], (len(points), 1))
    others = np.array([[0.0, 0, 0.04], [0.5, 0.5, 0]])
    ones = np.ones(len(points))
    near, far = PRIOR.propagate_displacement(points, ones, offset, others, np.ones(2))
    assert near[2] == pytest.approx(0.005, rel=0.1) and abs(far[2]) < 1e-6


def test_smoothing_takes_tremble_away_and_keeps_a_fast_nod() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(300) / 25
    slow = 0.1 * np.sin(2 * np.pi * 0.3 * t)
    nod = 0.08 * np.exp(-(((t - 6) / 0.08) ** 2))
    noisy = slow + nod + rng.normal(0, 0.002, len(t))
    smooth = smooth_curves(noisy[:, None], FREE)[:, 0]
    calm = np.abs(t - 6) > 0.5
    assert np.abs(smooth - slow)[calm].mean() < 0.7 * np.abs(noisy - slow)[calm].mean()
    assert smooth.max() > 0.93 * (slow + nod).max()


def test_motion_that_leaps_is_kept_as_it_leaps() -> None:
    """A phone's film of 30 frames a second at 25: every sixth step is twice as far."""
    at = np.delete(np.arange(360), np.s_[5::6]) / 30
    path = 0.02 * np.sin(2 * np.pi * 1.3 * at)[:, None]  # metres; 20 pixels
    assert np.abs(smooth_curves(path, np.array([0.05 / 1000])) - path).max() * 1000 < 0.5
    assert np.abs(smooth_curves(path, FREE) - path).max() * 1000 > 1.0  # what the limit is for


def test_smoothing_keeps_poses_that_do_not_tremble() -> None:
    true = motion()
    rotation, translation = smooth_poses(true.rotation, true.translation, np.ones(6))
    assert rotation_angle_degrees(np.swapaxes(rotation, 1, 2) @ true.rotation).max() < 0.05
    assert np.abs(translation - true.translation).max() < 1e-4


def test_a_still_body_is_still() -> None:
    still = np.zeros((100, 1)) + np.random.default_rng(2).normal(0, 1, (100, 1))
    assert np.abs(np.diff(smooth_curves(still, FREE)[:, 0])).mean() < 0.25 * np.abs(np.diff(still[:, 0])).mean()
