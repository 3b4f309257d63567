"""Performances that come in from other programs, and go out to them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from mathutils import Quaternion
from numpy.typing import NDArray
from support import PACKAGE

OPS = bpy.ops.portrait_actor


def take_of(actor: Any) -> bpy.types.Action:
    return actor.face.data.shape_keys.animation_data.action


def test_what_is_exported_comes_back_as_a_take(nora: SimpleNamespace, tmp_path: Path) -> None:
    before, _ = nora.sample(range(1, 31))
    bpy.context.scene.frame_end = 30
    assert OPS.export_capture(filepath=str(tmp_path / "nora.csv")) == {"FINISHED"}
    assert OPS.import_capture(filepath=str(tmp_path / "nora.csv"), frame_start=1) == {"FINISHED"}
    assert " nora" in take_of(nora).name
    after, _ = nora.sample(range(1, 31))
    np.testing.assert_allclose(after.channels, before.channels, atol=1e-4)
    angle = np.abs(np.sum(after.head_rotation * relative(before), -1))
    assert angle.min() > 0.9999, "the capture holds the head's turn against the torso"


def relative(table: Any) -> NDArray[Any]:
    """(T, 4) the head's turn against the torso."""
    pairs = zip(table.torso_rotation, table.head_rotation, strict=True)
    return np.array([Quaternion(torso).conjugated() @ Quaternion(head) for torso, head in pairs])


def test_a_performance_file_goes_out_and_in_whole(nora: SimpleNamespace, tmp_path: Path) -> None:
    before, _ = nora.sample(range(5, 21))
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 5, 20
    OPS.export_capture(filepath=str(tmp_path / "nora.npz"))
    OPS.import_capture(filepath=str(tmp_path / "nora.npz"), frame_start=5)
    after, _ = nora.sample(range(5, 21))
    for name in ("channels", "head_translation", "torso_translation", "torso_rotation"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=1e-4)


def test_a_capture_keeps_its_time_and_begins_where_it_is_put(nora: SimpleNamespace, tmp_path: Path) -> None:
    scene = bpy.context.scene
    lines = ["Timecode,JawOpen," + ",".join(n[0].upper() + n[1:] for n in names() if n != "jawOpen")]
    lines += [f"10:00:0{i // 60}:{i % 60:02d}.000,{i / 120},{','.join('0' * 51)}" for i in range(121)]
    (tmp_path / "phone.csv").write_text("\n".join(lines), encoding="utf-8")
    OPS.import_capture(filepath=str(tmp_path / "phone.csv"), frame_start=11, head=False)
    armature_take = nora.armature.animation_data.action
    rate = scene.render.fps / scene.render.fps_base
    found, _ = nora.sample([11, 11 + round(rate), 11 + 2 * round(rate)])
    assert found.channels[:, names().index("jawOpen")] == pytest.approx([0, 0.5, 1], abs=1e-3)
    assert nora.armature.animation_data.action == armature_take, "without head motion the armature keeps its take"


def names() -> list[str]:
    return list(import_module(f"{PACKAGE}.backend.contract.channels").CHANNELS)


def test_a_bad_capture_changes_nothing(nora: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("Timecode,JawOpen\n", encoding="utf-8")
    before = take_of(nora)
    for path in (tmp_path / "bad.csv", tmp_path / "none.csv"):
        with pytest.raises(RuntimeError):
            OPS.import_capture(filepath=str(path))
    assert take_of(nora) == before
    with pytest.raises(RuntimeError):
        OPS.export_capture(filepath=str(tmp_path / "no folder" / "nora.csv"))


def test_without_an_actor_there_is_nothing_to_exchange(addon: AddonModules) -> None:
    assert not OPS.import_capture.poll() and not OPS.export_capture.poll()
