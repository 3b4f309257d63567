"""Calibration to the person: bias of the landmark network, blinks, gaze and lids, on synthetic channels."""

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


def test_bias_that_follows_the_head_is_removed_except_from_irises() -> None:
    rng = np.random.default_rng(0)
    rotation_vectors = rng.uniform(-0.3, 0.3, (FRAMES, 3))
    slope, bend = rng.normal(0, 0.01, (2, topo.LANDMARK_COUNT, 2))
    added = rotation_vectors[:, 1, None, None] * slope + rotation_vectors[:, 0, None, None] ** 2 * bend
    noise = rng.normal(0, 0.0005, added.shape)
    bias = estimate_landmark_bias(
        added + noise,
        matrix_from_rotation_vector(rotation_vectors) @ FLIP_YZ,
        np.zeros((FRAMES, 52)),
        rng.normal(size=(topo.LANDMARK_COUNT, 3)),
    )
    irises = topo.index_array(*topo.IRIS_LEFT, *topo.IRIS_RIGHT)
    rest = np.setdiff1d(np.arange(topo.LANDMARK_COUNT), irises)
    remaining = added - bias
    assert (remaining - remaining.mean(0))[:, rest].std() < 0.25 * added[:, rest].std()
    assert not bias[:, irises].any()


def test_lids_are_removed_from_lips_and_the_jaw_only_from_brows() -> None:
    rng = np.random.default_rng(1)
    channels = np.zeros((FRAMES, 52))
    lids = (np.arange(FRAMES) % 40 < 5).astype(float)
    jaw = rng.uniform(0, 1, FRAMES)
    channels[:, CHANNEL_INDEX["eyeBlinkLeft"]] = channels[:, CHANNEL_INDEX["eyeBlinkRight"]] = lids
    channels[:, CHANNEL_INDEX["jawOpen"]] = jaw
    neutral = np.zeros((topo.LANDMARK_COUNT, 3))
    neutral[list(topo.BROW_LEFT), 1] = 0.03
    residual = np.zeros((FRAMES, topo.LANDMARK_COUNT, 2))
    residual[:, list(topo.LIPS), 1] = -0.002 * lids[:, None] + 0.01 * jaw[:, None]
    residual[:, list(topo.BROW_LEFT), 1] = 0.002 * jaw[:, None]
    remaining = residual - estimate_landmark_bias(residual, np.tile(FLIP_YZ, (FRAMES, 1, 1)), channels, neutral)
    lips, brow = remaining[:, list(topo.LIPS), 1].mean(1), remaining[:, list(topo.BROW_LEFT), 1].mean(1)
    assert abs(np.corrcoef(lips, lids)[0, 1]) < 0.2 and brow.std() < 1e-4
    assert lips.std() > 0.002, "the jaw's motion of the lips is real"


@pytest.mark.parametrize(("closure", "factor"), [(0.57, 0.6), (0.2, 1.0)])
def test_blink_shape_is_scaled_only_when_the_clip_shows_blinks(closure: float, factor: float) -> None:
    channels = np.zeros((FRAMES, 52))
    for first in range(20, FRAMES, 40):
        channels[first : first + 4, CHANNEL_INDEX["eyeBlinkLeft"]] = closure
    rig = normalize_blinks(
        BlendshapeRig(np.zeros((topo.LANDMARK_COUNT, 3)), np.ones((52, topo.LANDMARK_COUNT, 3))), channels
    )
    assert rig.shapes[CHANNEL_INDEX["eyeBlinkLeft"]].max() == pytest.approx(factor, rel=0.01)
    assert rig.shapes[CHANNEL_INDEX["eyeBlinkRight"]].max() == 1


def test_gaze_of_each_eye_becomes_the_mean_of_both() -> None:
    channels = np.zeros((3, 52))
    channels[0, CHANNEL_INDEX["eyeLookOutLeft"]], channels[0, CHANNEL_INDEX["eyeLookInRight"]] = 0.6, 0.4
    channels[1, CHANNEL_INDEX["eyeLookInLeft"]], channels[1, CHANNEL_INDEX["eyeLookUpRight"]] = 0.4, 0.2
    gaze = synchronize_gaze(channels)
    assert gaze[0, CHANNEL_INDEX["eyeLookOutLeft"]] == gaze[0, CHANNEL_INDEX["eyeLookInRight"]] == 0.5
    assert gaze[1, CHANNEL_INDEX["eyeLookOutRight"]] == gaze[1, CHANNEL_INDEX["eyeLookInLeft"]] == pytest.approx(0.2)
    assert gaze[1, CHANNEL_INDEX["eyeLookUpLeft"]] == pytest.approx(0.1)
    assert not gaze[2].any()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_lids_meet_at_a_full_blink_and_other_shapes_stay(share: float) -> None:
    """A blink shape that closes half of the eye, as the landmark network shows it, is completed; a whole one stays."""
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
