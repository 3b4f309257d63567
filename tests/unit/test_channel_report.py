"""The verdict on each channel: what footage measures, what it hardly shows and what it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.contract.channels import CHANNEL_INDEX, CHANNELS
from backend.contract.geometry import FLIP_YZ, project_points
from backend.tracking.channel_report import MEASURED, NOT_MEASURABLE, WEAK, classify_channels, shared_effect
from backend.tracking.detection import topology as topo
from backend.tracking.face.blendshape_rig import UNMEASURABLE_CHANNELS, BlendshapeRig
from backend.tracking.tracker import TrackingResult

FRAMES, NOISE = 120, 0.0004  # metres
SHAPE = 0.006  # metres that a landmark moves at 1


def clip(moves: dict[str, float], alike: tuple[str, str] | None = None) -> tuple[TrackingResult, NDArray[Any]]:
    """A head looking at the camera whose channels own ten landmarks each and swing from 0 to `moves`."""
    rng = np.random.default_rng(0)
    neutral = np.concatenate(
        [rng.uniform(-0.05, 0.05, (topo.LANDMARK_COUNT, 2)), np.zeros((topo.LANDMARK_COUNT, 1))], 1
    )
    shapes = np.zeros((len(CHANNELS), topo.LANDMARK_COUNT, 3))
    places = rng.permutation(np.setdiff1d(np.arange(topo.MESH_VERTEX_COUNT), topo.index_array(*topo.FACE_OVAL)))
    for i, own in enumerate(places[: 7 * len(CHANNELS)].reshape(len(CHANNELS), 7)):
        shapes[i, own, i % 2] = SHAPE
    if alike:
        shapes[CHANNEL_INDEX[alike[1]]] = shapes[CHANNEL_INDEX[alike[0]]] * 0.9
    channels = np.zeros((FRAMES, len(CHANNELS)))
    for number, (name, reach) in enumerate(moves.items()):
        channels[:, CHANNEL_INDEX[name]] = reach * np.sin(np.arange(FRAMES) / (7 + number)) ** 2
    intrinsics = np.array([[1000.0, 0, 256], [0, 1000.0, 256], [0, 0, 1]])
    view = np.eye(4)
    view[:3, :3], view[2, 3] = FLIP_YZ, 1.0
    still, nothing = np.tile([1.0, 0, 0, 0], (FRAMES, 1)), np.zeros((FRAMES, 3))
    points = (
        neutral + np.einsum("tk,kpc->tpc", channels, shapes) + rng.normal(0, NOISE, (FRAMES, topo.LANDMARK_COUNT, 3))
    )
    pixels = project_points(points, FLIP_YZ, view[:3, 3], intrinsics)
    track = TrackingResult(
        intrinsics, view, still, nothing, still, nothing, channels, BlendshapeRig(neutral, shapes), np.zeros(FRAMES)
    )
    return track, pixels


def test_what_moves_clearly_is_measured_and_what_rests_is_not() -> None:
    report = classify_channels(*clip({"jawOpen": 0.8, "eyeBlinkLeft": 1.0, "browInnerUp": 0.5}))
    assert list(report) == list(CHANNELS)
    assert {n for n, verdict in report.items() if verdict == MEASURED} == {"jawOpen", "eyeBlinkLeft", "browInnerUp"}
    assert set(report.values()) == {MEASURED, NOT_MEASURABLE}


def test_small_motion_is_weak_and_motion_in_the_noise_is_none() -> None:
    report = classify_channels(*clip({"jawOpen": 0.8, "mouthPucker": 0.09, "mouthSmileLeft": 0.05}))
    assert (report["jawOpen"], report["mouthPucker"], report["mouthSmileLeft"]) == (MEASURED, WEAK, NOT_MEASURABLE)


@pytest.mark.parametrize("name", UNMEASURABLE_CHANNELS)
def test_what_a_camera_in_front_cannot_see_is_never_measured(name: str) -> None:
    assert classify_channels(*clip({"jawOpen": 0.8, name: 1.0}))[name] == NOT_MEASURABLE


def test_two_channels_that_do_the_same_are_weak_only_when_both_move() -> None:
    pair = ("mouthPucker", "mouthFunnel")
    both = classify_channels(*clip({"jawOpen": 0.8, "mouthPucker": 0.7, "mouthFunnel": 0.5}, pair))
    assert (both["mouthPucker"], both["mouthFunnel"], both["jawOpen"]) == (WEAK, WEAK, MEASURED)
    one = classify_channels(*clip({"jawOpen": 0.8, "mouthPucker": 0.7}, pair))
    assert (one["mouthPucker"], one["mouthFunnel"]) == (MEASURED, NOT_MEASURABLE)


def test_opposite_channels_are_told_apart() -> None:
    shapes = np.zeros((len(CHANNELS), topo.LANDMARK_COUNT, 2))
    up, down = CHANNEL_INDEX["eyeLookUpLeft"], CHANNEL_INDEX["eyeLookDownLeft"]
    shapes[up, 468:473, 1], shapes[down, 468:473, 1] = 0.005, -0.005
    assert shared_effect(shapes, [up, down]).max() < 1e-9
    shapes[down] *= -1
    assert shared_effect(shapes, [up, down])[up] == pytest.approx(1)
