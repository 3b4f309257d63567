"""Another video drives the actor: motion is kept, its neutral becomes the actor's."""

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


def nodding(offset: tuple[float, float, float], place: float) -> Performance:
    """4 s of nods around a pose, a jaw that opens to 0.5."""
    table = Performance.rest_pose(100, 25.0)
    nod = np.zeros((100, 3))
    nod[:, 0] = 0.2 * np.sin(np.linspace(0, 6 * np.pi, 100))
    turns = matrix_from_rotation_vector(nod) @ matrix_from_rotation_vector(np.array(offset))
    table.head_rotation = quaternion_from_matrix(turns).astype(np.float32)
    table.head_translation[:] = place + 0.1 * nod
    table.channels[:, CHANNEL_INDEX["jawOpen"]] = np.linspace(0, 0.5, 100)
    return table


def test_motion_is_kept_around_the_actors_own_neutral() -> None:
    shown, own = nodding((0.1, 0.4, -0.2), 0.05), nodding((-0.1, -0.2, 0.0), -0.02)
    info = ActorInfo(channel_ranges={"jawOpen": [0.0, 0.5]})
    mine = replace(info, channel_ranges={"jawOpen": [0.0, 0.8]})
    done = retarget_performance(shown, info, own, mine, match_range=False)
    off = matrix_from_quaternion(done.head_rotation).swapaxes(1, 2) @ matrix_from_quaternion(own.head_rotation)
    assert rotation_angle_degrees(off).max() < 0.5, "degrees: the same nods from the actor's own pose"
    np.testing.assert_allclose(done.head_translation, own.head_translation, atol=1e-4)
    np.testing.assert_array_equal(done.channels, shown.channels)
    scaled = retarget_performance(shown, info, own, mine, match_range=True)
    assert scaled.channels[:, CHANNEL_INDEX["jawOpen"]].max() == pytest.approx(0.8)


def test_a_clip_of_another_size_and_person_drives_the_actor(sample_actor: ActorFolder, tmp_path: Path) -> None:
    """Its pose relative to its neutral is what the sample's truth says, and its jaw moves as the true one."""
    clip = tmp_path / "other.mp4"
    make_sample(clip, SampleOptions(seconds=3.0, size=320, seed=11))
    done = retarget_video(clip, sample_actor, Reporter())
    with np.load(clip.with_name("other.truth.npz"), allow_pickle=False) as truth:
        true_turn, true_channels = truth["head_rotation"][: len(done)], truth["channels"][: len(done)]
    assert len(done) > 60
    pairs = (matrix_from_quaternion(done.head_rotation), matrix_from_quaternion(true_turn))
    steps = [turns @ turns[0].T for turns in pairs]
    assert np.median(rotation_angle_degrees(steps[0].swapaxes(1, 2) @ steps[1])) < 3.0
    jaw = CHANNEL_INDEX["jawOpen"]
    assert np.corrcoef(done.channels[:, jaw], true_channels[:, jaw])[0, 1] > 0.7
    own = matrix_from_quaternion(sample_actor.load_footage_performance().head_rotation)
    assert rotation_angle_degrees((central_rotation(own) @ central_rotation(pairs[0]).T)[None])[0] < 1.0
