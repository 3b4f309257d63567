"""The actor folder: atomic writes, loading what was saved, and refusal of invalid content."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.contract.actor_folder import FORMAT_VERSION, ActorFolder, ActorInfo, FootageCamera, Proxy, fingerprint
from backend.contract.atomic_write import error_from_failed_write
from backend.contract.channels import CHANNELS
from backend.contract.errors import UserError
from backend.contract.performance import Performance
from backend.contract.presets import PRESET_NAMES

FRESH = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CAMERA = FootageCamera(640, 360, 900.0, np.diag([1.0, -1.0, -1.0, 1.0]).tolist(), (120.5, 20.0, 256.0))
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
cameras = st.builds(
    FootageCamera,
    width=st.integers(1, 8192),
    height=st.integers(1, 8192),
    focal=st.floats(1, 1e5),
    world_to_camera=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4), min_size=4, max_size=4),
    crop=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(1, 1e4)),
)
infos = st.builds(
    ActorInfo,
    name=text,
    preset=st.sampled_from(PRESET_NAMES),
    size=st.integers(64, 1024),
    fps=st.floats(1, 120),
    frame_count=st.integers(0, 10**6),
    segments=st.lists(st.lists(st.integers(0, 10**6), min_size=2, max_size=2).map(sorted), max_size=4),
    camera=st.none() | cameras,
    channel_ranges=st.dictionaries(st.sampled_from(CHANNELS), st.lists(st.floats(0, 1), min_size=2, max_size=2)),
    has_audio=st.booleans(),
    source=st.dictionaries(text, text | st.integers(0, 2**50), max_size=3),
    consent=st.dictionaries(text, text, max_size=3),
    notes=st.lists(text, max_size=3),
    stages=st.dictionaries(text, text, max_size=5),
    complete=st.booleans(),
)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below `folder` with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def complete_actor(path: Path) -> ActorFolder:
    """Make a small complete actor at `path`."""
    folder = ActorFolder.create(path, ActorInfo(name="Jane", camera=CAMERA, complete=True))
    folder.save_arrays("proxy.npz", **asdict(proxy()))
    Performance.rest_pose(3, 25.0).save(folder.file_path("footage.npz"))
    return folder


def proxy(**changes: Any) -> Proxy:
    """Return one triangle with its shapes."""
    parts = {
        "vertices": np.eye(3, dtype=np.float32), "faces": np.array([[0, 1, 2]], np.int32),
        "shapes": np.zeros((52, 3, 3), np.float32), "colors": np.ones((3, 3), np.float32),
        "head_weight": np.ones(3, np.float32),
    }  # fmt: skip
    return Proxy(**{**parts, **changes})


@FRESH
@given(infos)
def test_created_actor_is_opened_unchanged(tmp_path: Path, info: ActorInfo) -> None:
    path = tmp_path / "Zoë d'Arc 日本 (1).actor"
    ActorFolder.create(path, info)
    assert ActorFolder.open(path, must_be_complete=False).info == info
    assert [p.name for p in path.iterdir()] == ["actor.json"]


def test_unfinished_actor_is_refused_until_it_is_complete(tmp_path: Path) -> None:
    folder = ActorFolder.create(tmp_path / "jane.actor", ActorInfo(name="Jane"))
    with pytest.raises(UserError) as caught:
        ActorFolder.open(folder.path)
    assert caught.value.code == "unfinished_actor"
    folder.info.complete = True
    folder.save()
    assert ActorFolder.open(folder.path).info.name == "Jane"


def test_newer_format_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    path = complete_actor(tmp_path / "jane.actor").path
    data = json.loads((path / "actor.json").read_text(encoding="utf-8"))
    data |= {"format_version": FORMAT_VERSION + 1, "later_field": [1, 2]}
    (path / "actor.json").write_text(json.dumps(data), encoding="utf-8")
    before = snapshot(path)
    with pytest.raises(UserError) as caught:
        ActorFolder.open(path)
    assert caught.value.code == "newer_format" and "Update" in caught.value.remedy
    assert snapshot(path) == before


def test_a_field_of_a_later_version_is_ignored(tmp_path: Path) -> None:
    path = complete_actor(tmp_path / "jane.actor").path
    data = json.loads((path / "actor.json").read_text(encoding="utf-8"))
    (path / "actor.json").write_text(json.dumps(data | {"mood": "calm"}), encoding="utf-8")
    assert ActorFolder.open(path).info.name == "Jane"


@FRESH
@given(st.data())
def test_damaged_actor_json_is_refused_and_left_unchanged(tmp_path: Path, data: st.DataObject) -> None:
    path = complete_actor(tmp_path / "jane.actor").path
    content = bytearray((path / "actor.json").read_bytes())
    if data.draw(st.booleans(), "cut short"):
        del content[data.draw(st.integers(0, len(content) - 2)) :]
    else:
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + 1] = data.draw(st.binary(max_size=8))
    (path / "actor.json").write_bytes(content)
    before = snapshot(path)
    try:
        ActorFolder.open(path)  # a changed letter in a name cannot be noticed
    except UserError as error:
        assert error.code in ("damaged_actor", "unfinished_actor", "newer_format") and error.remedy
    assert snapshot(path) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b"3", b'"actor"', b"{}", b"\xff\xfe\x00", b'{"format_version": 1}',
     b'{"format_version": "one", "camera": null}', b'{"format_version": 1, "camera": 5}',
     b'{"format_version": 1, "camera": {"width": 640}}', b'{"format_version": 1, "camera": []}'],
)  # fmt: skip
def test_actor_json_with_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    path = complete_actor(tmp_path / "jane.actor").path
    (path / "actor.json").write_bytes(content)
    with pytest.raises(UserError) as caught:
        ActorFolder.open(path, must_be_complete=False)
    assert caught.value.code == "damaged_actor"


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": None},
        {"format_version": 1.5},
        {"format_version": 0},
        {"name": 5},
        {"size": "large"},
        {"fps": None},
        {"fps": -1.0},
        {"segments": {"a": 1}},
        {"stages": []},
        {"complete": "yes"},
        {"channel_ranges": [1, 2]},
        {"camera": {**asdict(CAMERA), "world_to_camera": [[1, 0], [0, 1]]}},
        {"camera": {**asdict(CAMERA), "world_to_camera": [["a"] * 4] * 4}},
        {"camera": {**asdict(CAMERA), "crop": [1.0, 2.0]}},
        {"camera": {**asdict(CAMERA), "crop": "abc"}},
        {"camera": {**asdict(CAMERA), "focal": "long"}},
        {"camera": {**asdict(CAMERA), "focal": 0.0}},
        {"camera": {**asdict(CAMERA), "width": -640}},
        {"camera": {**asdict(CAMERA), "lens": "anamorphic"}},
    ],
    ids=str,
)
def test_invalid_field_of_actor_json_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = complete_actor(tmp_path / "jane.actor").path
    data = json.loads((path / "actor.json").read_text(encoding="utf-8"))
    (path / "actor.json").write_text(json.dumps(data | changes), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        ActorFolder.open(path, must_be_complete=False)
    assert caught.value.code == "damaged_actor"


@pytest.mark.parametrize("place", ["nowhere.actor", "a folder", "a file"])
def test_path_without_an_actor_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a file").write_text("hello")
    before = snapshot(tmp_path)
    with pytest.raises(UserError) as caught:
        ActorFolder.open(tmp_path / place)
    assert caught.value.code in ("no_actor", "damaged_actor")
    assert snapshot(tmp_path) == before


def test_create_refuses_an_existing_file_or_folder(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").write_bytes(b"jpeg")
    (tmp_path / "notes.txt").write_text("mine")
    before = snapshot(tmp_path)
    for name in ("holiday", "notes.txt"):
        with pytest.raises(UserError) as caught:
            ActorFolder.create(tmp_path / name, ActorInfo())
        assert caught.value.code == "not_an_actor"
    assert snapshot(tmp_path) == before


def test_create_refuses_a_path_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError):
        ActorFolder.create(tmp_path / "file" / "jane.actor", ActorInfo())


def test_failed_write_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    folder = complete_actor(tmp_path / "jane.actor")
    before = snapshot(folder.path)
    with pytest.raises(UserError) as caught, folder.write_atomically("plate.png") as part:
        part.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.code == "disk_full"
    with pytest.raises(RuntimeError), folder.write_atomically("proxy.npz") as part:
        part.write_bytes(b"half")
        raise RuntimeError("a bug")
    assert snapshot(folder.path) == before


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "disk_full"), (errno.EACCES, "read_only"), (errno.EROFS, "read_only"), (errno.EIO, "write_failed")],
)
def test_failed_write_gets_a_code_and_a_remedy(number: int, code: str) -> None:
    error = error_from_failed_write(Path("jane.actor"), OSError(number, os.strerror(number)))
    assert error.code == code and "jane.actor" in error.message and error.remedy


def test_stage_is_done_only_for_the_same_inputs(tmp_path: Path) -> None:
    folder = ActorFolder.create(tmp_path / "jane.actor", ActorInfo())
    inputs = fingerprint("clip", 256, 1.5)
    assert not folder.is_stage_done("track", inputs)
    folder.mark_stage_done("track", inputs)
    again = ActorFolder.open(folder.path, must_be_complete=False)
    assert again.is_stage_done("track", inputs) and not again.is_stage_done("track", fingerprint("clip", 512, 1.5))
    assert inputs == fingerprint("clip", 256, 1.5)


@pytest.mark.parametrize(
    "damage",
    [
        {"vertices": np.zeros((3, 2), np.float32)},
        {"vertices": np.array([[0, 0, np.nan]] * 3, np.float32)},
        {"vertices": np.array(1.0, np.float32)},
        {"faces": np.array([[0, 1, 3]], np.int32)},
        {"faces": np.array([[-1, 1, 2]], np.int32)},
        {"faces": np.zeros((0, 3), np.int32)},
        {"faces": np.array([[0, 1, 2, 0]], np.int32)},
        {"faces": np.array([[0.5, 1, 2]], np.float32)},
        {"shapes": np.zeros((51, 3, 3), np.float32)},
        {"colors": np.zeros((2, 3), np.float32)},
        {"colors": np.array([["red"] * 3] * 3)},
        {"head_weight": np.ones((3, 1), np.float32)},
        {"head_weight": np.array([np.inf, 1, 1], np.float32)},
    ],
    ids=lambda damage: ",".join(f"{k}={v.dtype}{v.shape}" for k, v in damage.items()),
)
def test_invalid_proxy_is_refused(tmp_path: Path, damage: dict[str, Any]) -> None:
    folder = complete_actor(tmp_path / "jane.actor")
    assert len(folder.load_proxy().vertices) == 3
    folder.save_arrays("proxy.npz", **asdict(proxy(**damage)))
    with pytest.raises(UserError) as caught:
        folder.load_proxy()
    assert caught.value.code == "damaged_actor"


def test_missing_or_truncated_array_files_are_refused(tmp_path: Path) -> None:
    folder = complete_actor(tmp_path / "jane.actor")
    assert len(folder.load_footage_performance()) == 3
    for name in ("proxy.npz", "footage.npz"):
        content = folder.file_path(name).read_bytes()
        folder.file_path(name).write_bytes(content[: len(content) // 2])
    for read in (folder.load_proxy, folder.load_footage_performance):
        with pytest.raises(UserError):
            read()
    folder.file_path("proxy.npz").unlink()
    with pytest.raises(UserError) as caught:
        folder.load_proxy()
    assert caught.value.code == "damaged_actor"


def test_proxy_without_all_arrays_is_refused(tmp_path: Path) -> None:
    folder = complete_actor(tmp_path / "jane.actor")
    folder.save_arrays("proxy.npz", vertices=np.eye(3, dtype=np.float32))
    with pytest.raises(UserError):
        folder.load_proxy()


def test_crop_intrinsics_map_crop_points_to_image_points() -> None:
    x, y, side = CAMERA.crop
    for u, v in ((0.0, 0.0), (1.0, 0.0), (0.3, 0.9)):
        ray = np.linalg.inv(CAMERA.intrinsics()) @ [x + u * side, y + v * side, 1.0]
        np.testing.assert_allclose((CAMERA.crop_intrinsics(512) @ ray)[:2], [u * 512, v * 512], atol=1e-9)
