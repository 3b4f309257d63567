"""Retargeting: another video's motion around the actor's own central pose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.channels import CHANNEL_INDEX
from backend.contract.geometry import (
    matrix_from_quaternion,
    matrix_from_rotation_vector,
    quaternion_from_matrix,
    rotation_angle_degrees,
)
from backend.contract.performance import Performance
from backend.contract.progress import Reporter
from backend.pipeline.retarget import central_rotation, retarget_performance, retarget_video
from backend.synthetic import SampleOptions, make_sample

JAW_OPEN = CHANNEL_INDEX["jawOpen"]
SOURCE_INFO = ActorInfo(channel_ranges={"jawOpen": [0.0, 0.5]})
ACTOR_INFO = replace(SOURCE_INFO, channel_ranges={"jawOpen": [0.0, 0.8]})


def make_nods(rotation_vector: tuple[float, float, float], offset: float) -> Performance:
    """4 s of nods around a rotation and an offset in metres, with a jaw that opens to 0.5."""
    performance = Performance.rest_pose(100, 25.0)
    nod = np.zeros((100, 3))
    nod[:, 0] = 0.2 * np.sin(np.linspace(0, 6 * np.pi, 100))
    rotations = matrix_from_rotation_vector(nod) @ matrix_from_rotation_vector(np.array(rotation_vector))
    performance.head_rotation = quaternion_from_matrix(rotations).astype(np.float32)
    performance.head_translation[:] = offset + 0.1 * nod
    performance.channels[:, JAW_OPEN] = np.linspace(0, 0.5, 100)
    return performance


@pytest.fixture
def source() -> Performance:
    return make_nods((0.1, 0.4, -0.2), 0.05)


@pytest.fixture
def actor_footage() -> Performance:
    return make_nods((-0.1, -0.2, 0.0), -0.02)


def test_same_nods_from_another_pose_become_the_actor_s_nods(source: Performance, actor_footage: Performance) -> None:
    result = retarget_performance(source, SOURCE_INFO, actor_footage, ACTOR_INFO, match_range=False)
    rotations, expected = (matrix_from_quaternion(p.head_rotation) for p in (result, actor_footage))
    assert rotation_angle_degrees(rotations.swapaxes(1, 2) @ expected).max() < 0.5
    np.testing.assert_allclose(result.head_translation, actor_footage.head_translation, atol=1e-4)


def test_channels_are_kept_without_match_range(source: Performance, actor_footage: Performance) -> None:
    result = retarget_performance(source, SOURCE_INFO, actor_footage, ACTOR_INFO, match_range=False)
    np.testing.assert_array_equal(result.channels, source.channels)


def test_match_range_scales_a_channel_to_the_actor_s_maximum(source: Performance, actor_footage: Performance) -> None:
    result = retarget_performance(source, SOURCE_INFO, actor_footage, ACTOR_INFO, match_range=True)
    assert result.channels[:, JAW_OPEN].max() == pytest.approx(0.8)


def test_video_of_another_person_and_size_drives_the_actor(sample_actor: ActorFolder, tmp_path: Path) -> None:
    video = tmp_path / "other.mp4"
    make_sample(video, SampleOptions(seconds=3.0, size=320, seed=11))
    result = retarget_video(video, sample_actor, Reporter())
    assert len(result) > 60
    with np.load(video.with_name("other.truth.npz"), allow_pickle=False) as truth:
        true_quaternions, true_channels = truth["head_rotation"][: len(result)], truth["channels"][: len(result)]
    rotations, true_rotations = (matrix_from_quaternion(q) for q in (result.head_rotation, true_quaternions))
    moves, true_moves = rotations @ rotations[0].T, true_rotations @ true_rotations[0].T
    assert np.median(rotation_angle_degrees(moves.swapaxes(1, 2) @ true_moves)) < 3.0
    assert np.corrcoef(result.channels[:, JAW_OPEN], true_channels[:, JAW_OPEN])[0, 1] > 0.7
    actor_center = central_rotation(matrix_from_quaternion(sample_actor.load_footage_performance().head_rotation))
    assert rotation_angle_degrees((actor_center @ central_rotation(rotations).T)[None])[0] < 1.0
