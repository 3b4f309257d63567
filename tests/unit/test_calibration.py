"""What the landmark network and the person do to channels is measured and taken out."""

from __future__ import annotations

import numpy as np
import pytest

from backend.contract.channels import CHANNEL_INDEX, CHANNELS
from backend.contract.geometry import FLIP_YZ, matrix_from_rotation_vector
from backend.tracking.detection import topology as topo
from backend.tracking.face.blendshape_rig import BlendshapeRig
from backend.tracking.face.calibration import (
    ensure_lids_meet,
    estimate_landmark_bias,
    normalize_blinks,
    synchronize_gaze,
)

FRAMES = 200


def test_bias_that_follows_the_head_is_found_and_irises_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    turn = rng.uniform(-0.3, 0.3, (FRAMES, 3))
    slope, bend = rng.normal(0, 0.01, (2, topo.LANDMARK_COUNT, 2))
    added = turn[:, 1, None, None] * slope + turn[:, 0, None, None] ** 2 * bend
    noise = rng.normal(0, 0.0005, added.shape)
    found = estimate_landmark_bias(
        added + noise,
        matrix_from_rotation_vector(turn) @ FLIP_YZ,
        np.zeros((FRAMES, 52)),
        rng.normal(size=(topo.LANDMARK_COUNT, 3)),
    )
    irises = topo.index_array(*topo.IRIS_LEFT, *topo.IRIS_RIGHT)
    rest = np.setdiff1d(np.arange(topo.LANDMARK_COUNT), irises)
    left = added - found
    assert (left - left.mean(0))[:, rest].std() < 0.25 * added[:, rest].std()
    assert not found[:, irises].any()


def test_shut_lids_do_not_move_the_mouth_and_the_jaw_not_the_brows() -> None:
    rng = np.random.default_rng(1)
    channels = np.zeros((FRAMES, 52))
    lids = (np.arange(FRAMES) % 40 < 5).astype(float)
    channels[:, CHANNEL_INDEX["eyeBlinkLeft"]] = channels[:, CHANNEL_INDEX["eyeBlinkRight"]] = lids
    channels[:, CHANNEL_INDEX["jawOpen"]] = rng.uniform(0, 1, FRAMES)
    neutral = np.zeros((topo.LANDMARK_COUNT, 3))
    neutral[list(topo.BROW_LEFT), 1] = 0.03
    residual = np.zeros((FRAMES, topo.LANDMARK_COUNT, 2))
    residual[:, list(topo.LIPS), 1] = -0.002 * lids[:, None] + 0.01 * channels[:, CHANNEL_INDEX["jawOpen"], None]
    residual[:, list(topo.BROW_LEFT), 1] = 0.002 * channels[:, CHANNEL_INDEX["jawOpen"], None]
    left = residual - estimate_landmark_bias(residual, np.tile(FLIP_YZ, (FRAMES, 1, 1)), channels, neutral)
    lips, brow = left[:, list(topo.LIPS), 1].mean(1), left[:, list(topo.BROW_LEFT), 1].mean(1)
    assert abs(np.corrcoef(lips, lids)[0, 1]) < 0.2 and brow.std() < 1e-4
    assert lips.std() > 0.002, "what the jaw does to the lips is motion"


@pytest.mark.parametrize(("shut", "factor"), [(0.57, 0.6), (0.2, 1.0)])
def test_blinks_reach_one_when_the_clip_shows_blinks(shut: float, factor: float) -> None:
    channels = np.zeros((FRAMES, 52))
    for moment in range(20, FRAMES, 40):
        channels[moment : moment + 4, CHANNEL_INDEX["eyeBlinkLeft"]] = shut
    rig = normalize_blinks(
        BlendshapeRig(np.zeros((topo.LANDMARK_COUNT, 3)), np.ones((52, topo.LANDMARK_COUNT, 3))), channels
    )
    assert rig.shapes[CHANNEL_INDEX["eyeBlinkLeft"]].max() == pytest.approx(factor, rel=0.01)
    assert rig.shapes[CHANNEL_INDEX["eyeBlinkRight"]].max() == 1


def test_both_eyes_look_the_same_way() -> None:
    channels = np.zeros((3, 52))
    channels[0, CHANNEL_INDEX["eyeLookOutLeft"]], channels[0, CHANNEL_INDEX["eyeLookInRight"]] = 0.6, 0.4
    channels[1, CHANNEL_INDEX["eyeLookInLeft"]], channels[1, CHANNEL_INDEX["eyeLookUpRight"]] = 0.4, 0.2
    found = synchronize_gaze(channels)
    assert found[0, CHANNEL_INDEX["eyeLookOutLeft"]] == found[0, CHANNEL_INDEX["eyeLookInRight"]] == 0.5
    assert found[1, CHANNEL_INDEX["eyeLookOutRight"]] == found[1, CHANNEL_INDEX["eyeLookInLeft"]] == pytest.approx(0.2)
    assert found[1, CHANNEL_INDEX["eyeLookUpLeft"]] == pytest.approx(0.1)
    assert not found[2].any()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_lids_meet_at_a_full_blink(share: float) -> None:
    """A blink shape that stops half-way, as the landmark network draws it, is completed; a whole one stays."""
    neutral, shapes = np.zeros((topo.LANDMARK_COUNT, 3)), np.zeros((len(CHANNELS), topo.LANDMARK_COUNT, 3))
    for side in ("Left", "Right"):
        eye = topo.EYES[side]
        upper = list(eye.upper_lid)
        neutral[upper, 1] = 0.010
        shapes[CHANNEL_INDEX[f"eyeBlink{side}"], upper, 1] = -0.010 * share
    rig = ensure_lids_meet(BlendshapeRig(neutral, shapes))
    for side in ("Left", "Right"):
        eye, shut = topo.EYES[side], rig.neutral + rig.shapes[CHANNEL_INDEX[f"eyeBlink{side}"]]
        assert np.abs(shut[list(eye.upper_lid), 1] - shut[list(eye.lower_lid), 1]).max() < 1e-9
    assert np.array_equal(shapes[CHANNEL_INDEX["jawOpen"]], rig.shapes[CHANNEL_INDEX["jawOpen"]])
