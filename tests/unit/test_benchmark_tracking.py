"""The yardsticks of the tracking benchmark measure what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

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


def lids(left: list[int], right: list[int]) -> NDArray[Any]:
    """Channels with blinks of four frames that begin at these frames."""
    channels = np.zeros((FRAMES, len(CHANNELS)))
    for side, starts in (("Left", left), ("Right", right)):
        for start in starts:
            channels[start : start + 4, CHANNEL_INDEX[f"eyeBlink{side}"]] = 0.9
    return channels


def test_blinks_are_matched_once_each_and_near() -> None:
    truth = lids([10, 40, 70], [10, 70])
    assert count_blinks(truth, truth) == (5, 5, 0)
    assert count_blinks(lids([12, 40, 76], [10]), truth) == (5, 3, 1), "late by 2 is found, by 6 is missed and false"
    assert count_blinks(lids([10, 40, 70, 90], [10, 70]), truth) == (5, 5, 1)
    assert count_blinks(0.5 * truth, truth) == (5, 0, 0), "lids that hardly close are no blink"


def test_crosstalk_counts_what_moves_where_the_truth_rests() -> None:
    truth = np.zeros((FRAMES, len(CHANNELS)))
    truth[10:30, CHANNEL_INDEX["jawOpen"]] = truth[50:60, CHANNEL_INDEX["mouthPucker"]] = 1
    truth[70:90, CHANNEL_INDEX["browInnerUp"]] = 1
    assert set(crosstalk(truth, truth).values()) == {0.0}
    ours = truth.copy()
    ours[50:60, CHANNEL_INDEX["eyeSquintLeft"]] = 0.6
    ours[70:90, CHANNEL_INDEX["mouthClose"]] = 0.28
    ours[95:, CHANNEL_INDEX["mouthClose"]] = 1  # where nothing sweeps
    found = crosstalk(ours, truth)
    assert found["crosstalk_oral_to_facial_worst"] == pytest.approx(0.6)
    assert found["crosstalk_oral_to_facial_mean"] == pytest.approx(0.6 / 3 / (len(CHANNELS) - len(ORAL_CHANNELS)))
    assert found["crosstalk_facial_to_oral_worst"] == pytest.approx(0.28)
    assert found["crosstalk_facial_to_oral_mean"] == pytest.approx(0.28 / len(ORAL_CHANNELS))


def test_runs_are_the_stretches_of_true() -> None:
    assert [list(r) for r in find_runs(np.array([0, 1, 1, 0, 1], bool))] == [[1, 2], [4]]
    assert find_runs(np.zeros(3, bool)) == []


def test_a_constant_turn_is_no_error_and_trembling_is_measured() -> None:
    angle = np.zeros((FRAMES, 3))
    angle[::2, 1] = np.radians(0.2)
    trembling = quaternion_from_matrix(matrix_from_rotation_vector(angle))
    constant = quaternion_from_matrix(matrix_from_rotation_vector(np.tile([[0.1, 0, 0]], (FRAMES, 1))))
    still = quaternion_from_matrix(np.tile(np.eye(3), (FRAMES, 1, 1)))
    assert rotation_jitter(trembling) == pytest.approx(0.2, abs=1e-4) and rotation_jitter(constant) < 1e-4
    assert rotation_errors(constant, still).max() < 1e-3
    assert rotation_errors(constant, still, should_align=False).mean() == pytest.approx(np.degrees(0.1), abs=1e-3)


def test_channel_errors_are_means_over_their_members() -> None:
    truth = lids([10, 40], [10, 40])
    ours = truth.copy()
    ours[:, CHANNEL_INDEX["eyeBlinkLeft"]] += 0.1
    ours[:, CHANNEL_INDEX["eyeLookUpLeft"]] = 0.4
    found = channel_errors(ours, truth)
    assert found["eyeBlink_mae"] == pytest.approx(0.05) and found["gaze_mae"] == pytest.approx(0.4 / 8)
    assert found["jawOpen_mae"] == 0 and found["jawOpen_r"] == 0, "what never moves follows nothing"
    assert 0.9 < found["eyeBlink_r"] < 1
