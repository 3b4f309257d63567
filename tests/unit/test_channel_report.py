"""Classification of the channels: which ones a footage measures, which weakly and which not at all."""

from __future__ import annotations

import numpy as np
import pytest

from backend.contract.arrays import F64
from backend.contract.channels import CHANNEL_INDEX, CHANNELS
from backend.contract.geometry import project_points
from backend.tracking.channel_report import MEASURED, NOT_MEASURABLE, WEAK, classify_channels, shared_effect
from backend.tracking.detection import topology as topo
from backend.tracking.face.blendshape_rig import UNMEASURABLE_CHANNELS, BlendshapeRig
from backend.tracking.tracker import TrackingResult, actor_view

FRAMES = 120
NOISE = 0.0004  # deviation of the landmarks, metres
SHAPE_METERS = 0.006  # by which a channel at 1 moves its landmarks
LANDMARKS_PER_CHANNEL = 7
CAMERA = np.array([[1000.0, 0, 256], [0, 1000.0, 256], [0, 0, 1]])


def simple_rig(rng: np.random.Generator, like_channels: tuple[str, str] | None) -> BlendshapeRig:
    """A flat face whose channels move seven landmarks each, sideways or up; two channels may have like shapes."""
    neutral = np.column_stack([rng.uniform(-0.05, 0.05, (topo.LANDMARK_COUNT, 2)), np.zeros(topo.LANDMARK_COUNT)])
    shapes = np.zeros((len(CHANNELS), topo.LANDMARK_COUNT, 3))
    usable = rng.permutation(np.setdiff1d(np.arange(topo.MESH_VERTEX_COUNT), topo.index_array(*topo.FACE_OVAL)))
    owners = usable[: LANDMARKS_PER_CHANNEL * len(CHANNELS)].reshape(len(CHANNELS), LANDMARKS_PER_CHANNEL)
    for i, own in enumerate(owners):
        shapes[i, own, i % 2] = SHAPE_METERS
    if like_channels:
        shapes[CHANNEL_INDEX[like_channels[1]]] = shapes[CHANNEL_INDEX[like_channels[0]]] * 0.9
    return BlendshapeRig(neutral, shapes)


def track_moving_channels(
    maxima: dict[str, float], like_channels: tuple[str, str] | None = None
) -> tuple[TrackingResult, F64]:
    """A still head looking at the camera whose channels swing from 0 to `maxima`, and its landmarks with noise."""
    rng = np.random.default_rng(0)
    rig = simple_rig(rng, like_channels)
    channels = np.zeros((FRAMES, len(CHANNELS)))
    for number, (name, maximum) in enumerate(maxima.items()):
        channels[:, CHANNEL_INDEX[name]] = maximum * np.sin(np.arange(FRAMES) / (7 + number)) ** 2
    noise = rng.normal(0, NOISE, (FRAMES, topo.LANDMARK_COUNT, 3))
    points = rig.neutral + np.einsum("tk,kpc->tpc", channels, rig.shapes) + noise
    view = actor_view(np.array([0.0, 0, 1]))
    still, origin = np.tile([1.0, 0, 0, 0], (FRAMES, 1)), np.zeros((FRAMES, 3))
    tracking = TrackingResult(CAMERA, view, still, origin, still, origin, channels, rig, np.zeros(FRAMES))
    return tracking, project_points(points, view[:3, :3], view[:3, 3], CAMERA)


def test_channels_that_move_clearly_are_measured_and_resting_ones_are_not() -> None:
    report = classify_channels(*track_moving_channels({"jawOpen": 0.8, "eyeBlinkLeft": 1.0, "browInnerUp": 0.5}))
    assert list(report) == list(CHANNELS)
    assert {n for n, status in report.items() if status == MEASURED} == {"jawOpen", "eyeBlinkLeft", "browInnerUp"}
    assert set(report.values()) == {MEASURED, NOT_MEASURABLE}


def test_small_motion_is_weak_and_motion_below_the_noise_is_not_measurable() -> None:
    report = classify_channels(*track_moving_channels({"jawOpen": 0.8, "mouthPucker": 0.09, "mouthSmileLeft": 0.05}))
    assert (report["jawOpen"], report["mouthPucker"], report["mouthSmileLeft"]) == (MEASURED, WEAK, NOT_MEASURABLE)


@pytest.mark.parametrize("name", UNMEASURABLE_CHANNELS)
def test_channels_that_a_frontal_camera_cannot_see_are_never_measured(name: str) -> None:
    assert classify_channels(*track_moving_channels({"jawOpen": 0.8, name: 1.0}))[name] == NOT_MEASURABLE


def test_two_channels_with_like_shapes_are_weak_only_when_both_move() -> None:
    pair = ("mouthPucker", "mouthFunnel")
    both = classify_channels(*track_moving_channels({"jawOpen": 0.8, "mouthPucker": 0.7, "mouthFunnel": 0.5}, pair))
    assert (both["mouthPucker"], both["mouthFunnel"], both["jawOpen"]) == (WEAK, WEAK, MEASURED)
    one = classify_channels(*track_moving_channels({"jawOpen": 0.8, "mouthPucker": 0.7}, pair))
    assert (one["mouthPucker"], one["mouthFunnel"]) == (MEASURED, NOT_MEASURABLE)


def test_opposite_channels_share_no_effect() -> None:
    shapes = np.zeros((len(CHANNELS), topo.LANDMARK_COUNT, 2))
    up, down = CHANNEL_INDEX["eyeLookUpLeft"], CHANNEL_INDEX["eyeLookDownLeft"]
    shapes[up, 468:473, 1], shapes[down, 468:473, 1] = 0.005, -0.005
    assert shared_effect(shapes, [up, down]).max() < 1e-9
    shapes[down] *= -1
    assert shared_effect(shapes, [up, down])[up] == pytest.approx(1)
