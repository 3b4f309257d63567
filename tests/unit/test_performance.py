"""Performances on disk: saved ones are loaded unchanged, everything else is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.contract.channels import CHANNELS
from backend.contract.errors import UserError
from backend.contract.performance import Performance

FRESH = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
COLUMNS = ("head_rotation", "head_translation", "torso_rotation", "torso_translation", "channels")


@st.composite
def performances(draw: st.DrawFn) -> Performance:
    """Any valid performance: a few frames with gaps, poses up to a metre away, channels 0–1."""
    count = draw(st.integers(1, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    performance = Performance.rest_pose(count, draw(st.floats(0.1, 240)), draw(st.integers(-1000, 1000)))
    performance.frames = performance.frames + np.cumsum(random.integers(0, 5, count))
    for name in ("head_rotation", "torso_rotation"):
        quaternion = random.normal(size=(count, 4))
        setattr(performance, name, (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).astype(np.float32))
    performance.head_translation = random.uniform(-1, 1, (count, 3)).astype(np.float32)
    performance.torso_translation = random.uniform(-1, 1, (count, 3)).astype(np.float32)
    performance.channels = random.uniform(0, 1, (count, len(CHANNELS))).astype(np.float32)
    return performance


@FRESH
@given(performances())
def test_saved_performance_is_loaded_unchanged(tmp_path: Path, performance: Performance) -> None:
    path = tmp_path / "ein Satz — «日本».npz"
    performance.save(path)
    again = Performance.load(path)
    assert again.fps == performance.fps and again.names == CHANNELS and len(again) == len(performance.frames)
    np.testing.assert_array_equal(again.frames, performance.frames)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(again, name), getattr(performance, name))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # no temporary file is left


def test_rest_pose_is_the_identity() -> None:
    rest = Performance.rest_pose(3, 25.0, first_frame=7).check()
    np.testing.assert_array_equal(rest.frames, [7, 8, 9])
    np.testing.assert_array_equal(rest.head_rotation, np.tile([1, 0, 0, 0], (3, 1)))
    np.testing.assert_array_equal(rest.torso_rotation, np.tile([1, 0, 0, 0], (3, 1)))
    assert not rest.channels.any() and not rest.head_translation.any() and not rest.torso_translation.any()


@FRESH
@given(performances(), st.data())
def test_damaged_performance_is_refused_or_loaded_unharmed(
    tmp_path: Path, performance: Performance, data: st.DataObject
) -> None:
    path = tmp_path / "line.npz"
    performance.save(path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), "cut short"):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        start = data.draw(st.integers(0, len(content) - 1))
        noise = data.draw(st.binary(min_size=1, max_size=64))
        content[start : start + len(noise)] = noise
    path.write_bytes(content)
    try:
        Performance.load(path)  # harmless where it is not read: a zip's padding, a time stamp
    except UserError as error:
        assert error.code == "bad_performance" and error.remedy
    assert path.read_bytes() == content


@FRESH
@given(st.binary(max_size=300))
def test_random_bytes_are_refused_as_performance(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "line.npz"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        Performance.load(path)
    assert caught.value.code == "bad_performance"


def save_with(path: Path, **changes: Any) -> Path:
    """Save a rest performance at `path` with replaced columns (None: left out)."""
    rest = Performance.rest_pose(4, 25.0)
    columns: dict[str, Any] = {name: getattr(rest, name) for name in COLUMNS}
    columns |= {"format": "portrait_actor.performance.1", "fps": 25.0, "frames": rest.frames, "names": CHANNELS}
    np.savez(path, **{k: np.asarray(v) for k, v in (columns | changes).items() if v is not None})
    return path


def test_unchanged_table_is_a_valid_performance(tmp_path: Path) -> None:
    assert len(Performance.load(save_with(tmp_path / "line.npz"))) == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "portrait_actor.performance.2"},
        {"format": None},
        {"fps": 0.0},
        {"fps": -25.0},
        {"fps": np.nan},
        {"fps": np.inf},
        {"fps": 1e9},
        {"fps": [25.0, 25.0]},
        {"frames": np.array([0, 1, 1, 2])},
        {"frames": np.array([3, 2, 1, 0])},
        {"frames": np.zeros((0,), np.int64)},
        {"frames": np.arange(5)},
        {"frames": np.zeros((4, 4), np.int64)},
        {"frames": np.array(3)},
        {"names": CHANNELS[::-1]},
        {"names": CHANNELS[:10]},
        {"channels": np.zeros((4, 51))},
        {"channels": np.full((4, 52), np.nan)},
        {"channels": np.array(["much"] * 4)},
        {"channels": None},
        {"head_rotation": np.zeros((4, 4))},
        {"head_rotation": np.full((4, 4), np.inf)},
        {"torso_rotation": np.ones((4, 4))},
        {"head_translation": np.zeros((4, 2))},
        {"torso_translation": np.full((4, 3), np.nan)},
        {"head_translation": np.array([{"a": 1}] * 4, dtype=object)},  # would need pickle
    ],
    ids=lambda change: ",".join(f"{k}={np.asarray(v).dtype}{np.asarray(v).shape}" for k, v in change.items()),
)
def test_invalid_column_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = save_with(tmp_path / "line.npz", **changes)
    with pytest.raises(UserError) as caught:
        Performance.load(path)
    assert caught.value.code == "bad_performance" and caught.value.remedy


def test_missing_performance_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        Performance.load(tmp_path / "none.npz")
    assert caught.value.code == "missing_file"
    with pytest.raises(UserError):
        Performance.load(tmp_path)


def test_channels_are_clipped_to_their_range(tmp_path: Path) -> None:
    values = np.tile(np.linspace(-1, 3, 52, dtype=np.float32), (4, 1))
    channels = Performance.load(save_with(tmp_path / "line.npz", channels=values)).channels
    assert channels.min() >= 0 and channels.max() <= 1.5
    np.testing.assert_array_equal(channels, np.clip(values, 0, 1.5))
