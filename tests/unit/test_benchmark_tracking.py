"""The error measures of the tracking benchmark, against errors of known size."""

from __future__ import annotations

import numpy as np
import pytest

from backend.contract.arrays import F64
from backend.contract.channels import CHANNEL_INDEX, CHANNELS, ORAL_CHANNELS
from backend.contract.geometry import matrix_from_rotation_vector, quaternion_from_matrix
from benchmarks._ground_truth_errors import (
    channel_errors,
    count_blinks,
    crosstalk,
    find_runs,
    rotation_errors,
    rotation_jitter,
)

FRAMES = 100


def blink_channels(left: list[int], right: list[int]) -> F64:
    """Channels with blinks of four frames that begin at these frames."""
    channels = np.zeros((FRAMES, len(CHANNELS)))
    for side, starts in (("Left", left), ("Right", right)):
        for start in starts:
            channels[start : start + 4, CHANNEL_INDEX[f"eyeBlink{side}"]] = 0.9
    return channels


def test_each_blink_is_matched_once_within_the_tolerance() -> None:
    truth = blink_channels([10, 40, 70], [10, 70])
    assert count_blinks(truth, truth) == (5, 5, 0)
    assert count_blinks(blink_channels([12, 40, 76], [10]), truth) == (5, 3, 1), (
        "late by 2 is found, by 6 is missed and false"
    )
    assert count_blinks(blink_channels([10, 40, 70, 90], [10, 70]), truth) == (5, 5, 1)
    assert count_blinks(0.5 * truth, truth) == (5, 0, 0), "lids that hardly close are no blink"


def test_crosstalk_counts_channels_that_move_while_the_truth_rests() -> None:
    truth = np.zeros((FRAMES, len(CHANNELS)))
    truth[10:30, CHANNEL_INDEX["jawOpen"]] = truth[50:60, CHANNEL_INDEX["mouthPucker"]] = 1
    truth[70:90, CHANNEL_INDEX["browInnerUp"]] = 1
    assert set(crosstalk(truth, truth).values()) == {0.0}
    ours = truth.copy()
    ours[50:60, CHANNEL_INDEX["eyeSquintLeft"]] = 0.6
    ours[70:90, CHANNEL_INDEX["mouthClose"]] = 0.28
    ours[95:, CHANNEL_INDEX["mouthClose"]] = 1  # where no channel of the truth moves
    found = crosstalk(ours, truth)
    assert found["crosstalk_oral_to_facial_worst"] == pytest.approx(0.6)
    assert found["crosstalk_oral_to_facial_mean"] == pytest.approx(0.6 / 3 / (len(CHANNELS) - len(ORAL_CHANNELS)))
    assert found["crosstalk_facial_to_oral_worst"] == pytest.approx(0.28)
    assert found["crosstalk_facial_to_oral_mean"] == pytest.approx(0.28 / len(ORAL_CHANNELS))


def test_runs_are_the_intervals_of_true() -> None:
    assert [list(r) for r in find_runs(np.array([0, 1, 1, 0, 1], bool))] == [[1, 2], [4]]
    assert find_runs(np.zeros(3, bool)) == []


def constant_rotation(radians: float) -> F64:
    """Quaternions (T, 4) of one turn about x."""
    return quaternion_from_matrix(matrix_from_rotation_vector(np.tile([[radians, 0, 0]], (FRAMES, 1))))


def test_a_constant_turn_is_an_error_only_without_alignment() -> None:
    turned, still = constant_rotation(0.1), constant_rotation(0.0)
    assert rotation_errors(turned, still).max() < 1e-3
    assert rotation_errors(turned, still, should_align=False).mean() == pytest.approx(np.degrees(0.1), abs=1e-3)


def test_jitter_is_the_angle_between_successive_rotations() -> None:
    angle = np.zeros((FRAMES, 3))
    angle[::2, 1] = np.radians(0.2)
    trembling = quaternion_from_matrix(matrix_from_rotation_vector(angle))
    assert rotation_jitter(trembling) == pytest.approx(0.2, abs=1e-4)
    assert rotation_jitter(constant_rotation(0.1)) < 1e-4


def test_channel_errors_are_means_over_their_members() -> None:
    truth = blink_channels([10, 40], [10, 40])
    ours = truth.copy()
    ours[:, CHANNEL_INDEX["eyeBlinkLeft"]] += 0.1
    ours[:, CHANNEL_INDEX["eyeLookUpLeft"]] = 0.4
    found = channel_errors(ours, truth)
    assert found["eyeBlink_mae"] == pytest.approx(0.05) and found["gaze_mae"] == pytest.approx(0.4 / 8)
    assert found["jawOpen_mae"] == 0 and found["jawOpen_r"] == 0, "what never moves follows nothing"
    assert 0.9 < found["eyeBlink_r"] < 1
