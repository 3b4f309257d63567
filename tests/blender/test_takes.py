"""Takes are actions: on NLA tracks they are stacked, shifted and faded, and what is rendered is that blend."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from numpy.typing import NDArray

OPS = bpy.ops.portrait_actor
FRAMES = range(1, 81)


def add_line(addon: AddonModules, actor: Any, name: str, first: int, count: int, value: float, **parts: Any) -> None:
    """A take of `count` frames in which every channel is `value` and the head is turned by about as many radians."""
    table = addon.contract.performance.Performance.rest_pose(count, 25.0, first)
    table.channels[:] = value
    table.head_rotation[:] = np.cos(value / 2), 0, np.sin(value / 2), 0
    addon.takes.add_take(name, actor.armature, actor.face, table, table.frames.astype(float), **parts)


def still(actor: Any) -> None:
    for owner in (actor.armature, actor.face.data.shape_keys):
        owner.animation_data.action = None


def channel(table: Any, name: str) -> NDArray[Any]:
    return table.channels[:, table.names.index(name)]


def turn(table: Any) -> NDArray[Any]:
    return 2 * np.arccos(np.clip(np.abs(table.head_rotation[:, 0]), 0, 1))


def test_two_lines_are_cross_faded(nora: SimpleNamespace, addon: AddonModules) -> None:
    still(nora)
    add_line(addon, nora, "one", 1, 40, 0.2)  # frames 1 to 40
    OPS.push_take(fade=10)
    add_line(addon, nora, "two", 31, 40, 0.8)  # frames 31 to 70
    OPS.push_take(fade=10)
    found, _ = nora.sample(FRAMES)
    jaw = channel(found, "mouthSmileLeft")
    assert jaw[:30] == pytest.approx(0.2, abs=1e-5), "the first line alone"
    assert jaw[40:] == pytest.approx(0.8, abs=1e-5), "the second alone, and held after its end"
    assert np.all(np.diff(jaw[30:41]) > 0.03), "between them each frame is a step from one to the other"
    assert jaw[35] == pytest.approx(0.5, abs=0.04), "half way it is half of each"
    assert turn(found)[5] == pytest.approx(0.2, abs=1e-3) and turn(found)[60] == pytest.approx(0.8, abs=1e-3)
    assert 0.3 < turn(found)[35] < 0.7


def test_strips_play_a_take_frame_for_frame(nora: SimpleNamespace, addon: AddonModules) -> None:
    """Also where the frames of a capture lie between whole ones."""
    before, _ = nora.sample(range(1, 41))
    OPS.push_take()
    assert nora.armature.animation_data.action is None and nora.face.data.shape_keys.animation_data.action is None
    after, _ = nora.sample(range(1, 41))
    np.testing.assert_allclose(after.channels, before.channels, atol=1e-5)
    np.testing.assert_allclose(after.head_translation, before.head_translation, atol=1e-6)
    still(nora)
    table = addon.contract.performance.Performance.rest_pose(20, 25.0)
    table.channels[:] = np.linspace(0, 1, 20)[:, None]
    addon.takes.add_take("capture", nora.armature, nora.face, table, 3.4 + 1.2 * table.frames)
    before, _ = nora.sample(range(4, 26))
    OPS.push_take(fade=0)
    after, _ = nora.sample(range(4, 26))
    np.testing.assert_allclose(after.channels, before.channels, atol=1e-5)


def test_a_line_in_the_midst_of_the_footage_fades_in_and_out(nora: SimpleNamespace, addon: AddonModules) -> None:
    footage, _ = nora.sample(range(1, 41))
    OPS.push_take()
    add_line(addon, nora, "line", 11, 20, 0.9)
    OPS.push_take(fade=5)
    found, _ = nora.sample(range(1, 41))
    np.testing.assert_allclose(found.channels[:10], footage.channels[:10], atol=1e-5)
    np.testing.assert_allclose(found.channels[30:], footage.channels[30:], atol=1e-5)
    assert channel(found, "mouthSmileLeft")[16:24] == pytest.approx(0.9, abs=1e-5)


def test_head_of_one_take_and_mouth_of_another(nora: SimpleNamespace, addon: AddonModules) -> None:
    """The bones play the footage; the mouth speaks, and what the line has no curves for plays the footage too."""
    footage, _ = nora.sample(range(1, 41))
    OPS.push_take()
    oral = addon.contract.channels.ORAL_CHANNELS
    add_line(addon, nora, "line", 1, 40, 0.6, should_key_bones=False, channel_names=oral)
    for push in (False, True):
        if push:
            OPS.push_take(fade=0)
        found, _ = nora.sample(range(1, 41))
        np.testing.assert_allclose(found.head_rotation, footage.head_rotation, atol=1e-5)
        np.testing.assert_allclose(found.channels[:, len(oral) :], footage.channels[:, len(oral) :], atol=1e-5)
        assert channel(found, "mouthSmileLeft") == pytest.approx(0.6, abs=1e-5)


def test_a_strip_can_be_moved_and_its_weight_turned_down(nora: SimpleNamespace, addon: AddonModules) -> None:
    still(nora)
    add_line(addon, nora, "line", 1, 20, 0.8)
    OPS.push_take(part="FACE")
    strip = nora.face.data.shape_keys.animation_data.nla_tracks[-1].strips[0]
    assert nora.armature.animation_data.action is not None, "the bones' take is still in use"
    strip.frame_start_ui, strip.extrapolation = 31, "NOTHING"
    strip.use_animated_influence = True
    strip.fcurves.find("influence").keyframe_points.insert(31, 0.5)
    found, _ = nora.sample(range(31, 51))
    assert channel(found, "mouthSmileLeft")[:19] == pytest.approx(0.4, abs=0.01)


def speak_into(addon: AddonModules, actor: Any, first: int, count: int, value: float, **parts: Any) -> str:
    table = addon.contract.performance.Performance.rest_pose(count, 25.0, first)
    table.channels[:] = value
    table.head_rotation[:] = -np.array([np.cos(value / 2), 0, np.sin(value / 2), 0])  # the same turn, other signs
    return addon.takes.merge_into_take(actor.armature, actor.face, table, table.frames.astype(float), **parts)


def test_speaking_into_a_take_changes_its_stretch_alone(nora: SimpleNamespace, addon: AddonModules) -> None:
    before, _ = nora.sample(range(1, 41))
    action = nora.face.data.shape_keys.animation_data.action
    assert speak_into(addon, nora, 11, 20, 0.6) == action.name
    after, _ = nora.sample(range(1, 41))
    outside = np.r_[0:10, 30:40]
    for name in ("channels", "head_rotation", "head_translation", "torso_rotation"):
        np.testing.assert_allclose(getattr(after, name)[outside], getattr(before, name)[outside], atol=1e-5)
    assert channel(after, "mouthSmileLeft")[15:25] == pytest.approx(0.6, abs=1e-5)
    assert turn(after)[15:25] == pytest.approx(0.6, abs=1e-3)
    steps = np.abs(np.diff(channel(after, "mouthSmileLeft")))
    assert steps.max() < 0.35, "it fades in and out"
    assert np.abs(np.diff(turn(after))).max() < 0.35


def test_speaking_into_a_take_keeps_the_artists_keys(nora: SimpleNamespace, addon: AddonModules) -> None:
    """Sparse keys with handles of their own, and a marked one, before and after."""
    still(nora)
    add_line(addon, nora, "own", 1, 2, 0.0)
    (curve,) = [
        c for c in addon.compat.find_channelbag(nora.face.data.shape_keys).fcurves if '"jawOpen"' in c.data_path
    ]
    for frame, value in ((5, 0.3), (15, 0.9), (25, 0.4), (60, 0.2)):
        point = curve.keyframe_points.insert(frame, value)
        point.interpolation, point.handle_left_type, point.handle_right_type = "BEZIER", "FREE", "FREE"
        point.handle_left, point.handle_right = (frame - 2, value - 0.1), (frame + 2, value + 0.1)
    curve.update()

    def keys() -> Any:
        return {
            round(p.co.x): (p.co.y, p.interpolation, p.handle_right_type, tuple(p.handle_right))
            for p in curve.keyframe_points
        }

    before = keys()
    speak_into(addon, nora, 11, 20, 0.6, should_key_bones=False)
    after = keys()
    assert [f for f in after if f < 11 or f > 30] == [f for f in before if f < 11 or f > 30]
    assert all(after[f] == before[f] for f in (5, 60))
    assert [f for f in after if 11 <= f <= 30] == list(range(11, 31)) and after[20][0] == pytest.approx(0.6)


def test_speaking_into_a_take_that_lacks_a_channel(nora: SimpleNamespace, addon: AddonModules) -> None:
    still(nora)
    add_line(
        addon, nora, "mouth", 1, 40, 0.2, should_key_bones=False, channel_names=addon.contract.channels.ORAL_CHANNELS
    )
    nora.face.data.shape_keys.key_blocks["browInnerUp"].value = 0.1
    speak_into(addon, nora, 11, 20, 0.6, should_key_bones=False)
    found, _ = nora.sample(range(1, 41))
    brow = channel(found, "browInnerUp")
    assert brow[20] == pytest.approx(0.6) and brow[[0, 39]] == pytest.approx(0.1, abs=1e-6)


def test_speaking_into_no_take_is_one_sentence(nora: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "line.wav").write_bytes(b"RIFF")
    still(nora)
    with pytest.raises(RuntimeError, match="no take in use to speak into"):
        OPS.speak(audio=str(tmp_path / "line.wav"), into_take=True)
    with pytest.raises(RuntimeError, match="No strip called"):
        OPS.speak(strip="nothing")


def test_without_a_take_there_is_nothing_to_push(nora: SimpleNamespace) -> None:
    still(nora)
    with pytest.raises(RuntimeError, match="no take in use"):
        OPS.push_take()
    assert not nora.armature.animation_data.nla_tracks


def test_what_only_the_upper_line_moves_fades_in_from_rest(nora: SimpleNamespace, addon: AddonModules) -> None:
    still(nora)
    add_line(
        addon, nora, "mouth", 1, 40, 0.2, should_key_bones=False, channel_names=addon.contract.channels.ORAL_CHANNELS
    )
    OPS.push_take()
    add_line(addon, nora, "all", 21, 40, 0.8, should_key_bones=False)
    OPS.push_take(fade=10)
    found, _ = nora.sample(range(1, 51))
    brow = channel(found, "browInnerUp")
    assert brow[21] < 0.15 and brow[25] == pytest.approx(0.4, abs=0.05) and brow[31] == pytest.approx(0.8, abs=1e-5)


def test_pushing_can_be_undone(nora: SimpleNamespace) -> None:
    assert "UNDO" in bpy.types.PORTRAIT_ACTOR_OT_push_take.bl_options
