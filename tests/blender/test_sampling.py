"""What is keyed is what is rendered: the performance and the camera that the backend gets."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from bpy_extras.object_utils import world_to_camera_view

FRAMES = range(1, 41)
POSES = ("head_rotation", "head_translation", "torso_rotation", "torso_translation")


def changed(before: Any, after: Any) -> dict[str, set[int]]:
    """Frames at which a column or a channel differs, by its name."""
    found = {}
    for name in POSES:
        a, b = getattr(before, name), getattr(after, name)
        rows = np.abs(np.abs(np.sum(a * b, -1)) - 1) if name.endswith("rotation") else np.abs(a - b).max(-1)
        found[name] = set(before.frames[rows > 1e-6].tolist())
    for index, name in enumerate(before.names):
        found[name] = set(before.frames[np.abs(before.channels[:, index] - after.channels[:, index]) > 1e-6].tolist())
    return {name: frames for name, frames in found.items() if frames}


def key_channel(face: Any, name: str, values: dict[int, float]) -> None:
    key = face.data.shape_keys.key_blocks[name]
    for frame, value in values.items():
        key.value = value
        key.keyframe_insert("value", frame=frame)


def rest(armature: Any) -> None:
    armature.animation_data.action = None
    for bone in armature.pose.bones:
        bone.matrix_basis.identity()


def test_a_keyed_channel_changes_only_itself_and_only_there(nora: SimpleNamespace) -> None:
    before, _ = nora.sample(FRAMES)
    key_channel(nora.face, "mouthSmileLeft", {20: 0.9, 21: 0.1})
    after, _ = nora.sample(FRAMES)
    assert changed(before, after) == {"mouthSmileLeft": {20, 21}}
    assert after.channels[19, after.names.index("mouthSmileLeft")] == pytest.approx(0.9)


def test_a_keyed_head_bone_turns_the_head_and_nothing_else(nora: SimpleNamespace) -> None:
    before, _ = nora.sample(FRAMES)
    head = nora.armature.pose.bones["head"]
    bpy.context.scene.frame_set(30)
    head.rotation_euler.y = 0.5
    head.keyframe_insert("rotation_euler", frame=30)
    after, _ = nora.sample(FRAMES)
    found = changed(before, after)
    assert set(found) == {"head_rotation", "head_translation"} and set().union(*found.values()) == {30}


def test_the_torso_carries_the_head_and_the_root_both(nora: SimpleNamespace) -> None:
    rest(nora.armature)
    for name in ("torso", "root"):
        bone = nora.armature.pose.bones[name]
        bone.rotation_mode = "XYZ"
        bone.rotation_euler = 0, 0.3, 0
        found, _ = nora.sample(range(1, 2))
        assert np.allclose(found.head_rotation, found.torso_rotation, atol=1e-6)
        assert np.allclose(found.head_translation, found.torso_translation, atol=1e-6)
        turn = 2 * math.acos(min(1, abs(found.head_rotation[0, 0])))
        assert turn == pytest.approx(0.3, abs=1e-4)
        assert abs(found.head_rotation[0, 2]) == pytest.approx(math.sin(0.15), abs=1e-4), "about actor space's y: up"
        bone.rotation_euler = 0, 0, 0


def test_constraints_count(nora: SimpleNamespace) -> None:
    rest(nora.armature)
    target = bpy.data.objects.new("target", None)
    bpy.context.scene.collection.objects.link(target)
    target.rotation_mode = "XYZ"
    target.rotation_euler = 0, 0, math.radians(30)
    constraint = nora.armature.pose.bones["head"].constraints.new("COPY_ROTATION")
    constraint.target, constraint.mix_mode = target, "AFTER"
    constraint.target_space = constraint.owner_space = "WORLD"
    target.keyframe_insert("rotation_euler", frame=1)
    target.rotation_euler.z = math.radians(60)
    target.keyframe_insert("rotation_euler", frame=11)
    found, _ = nora.sample(range(1, 12))
    turns = 2 * np.degrees(np.arccos(np.clip(np.abs(found.head_rotation[:, 0]), 0, 1)))
    assert turns[0] == pytest.approx(30, abs=0.1) and turns[-1] == pytest.approx(60, abs=0.1)
    assert np.all(np.diff(turns) > 0)


def test_drivers_count_and_muted_channels_do_not(nora: SimpleNamespace) -> None:
    keys = nora.face.data.shape_keys
    keys.animation_data.action = None
    keys.key_blocks["mouthFunnel"].value = 0.8
    keys.key_blocks["mouthFunnel"].mute = True
    curve = keys.key_blocks["jawOpen"].driver_add("value")
    curve.driver.expression = "frame / 100"
    found, _ = nora.sample(FRAMES)
    jaw, funnel = (found.names.index(n) for n in ("jawOpen", "mouthFunnel"))
    assert np.allclose(found.channels[:, jaw], np.arange(1, 41) / 100, atol=1e-6)
    assert not found.channels[:, funnel].any()


def test_nla_strips_count(nora: SimpleNamespace, addon: AddonModules) -> None:
    keys = nora.face.data.shape_keys
    before, _ = nora.sample(FRAMES)
    action = keys.animation_data.action
    track = keys.animation_data.nla_tracks.new()
    strip = track.strips.new("moved", 11, action)
    if addon.compat.HAS_SLOTTED_ACTIONS:
        strip.action_slot = keys.animation_data.action_slot
    strip.extrapolation = "NOTHING"
    keys.animation_data.action = None
    after, _ = nora.sample(range(11, 51))
    assert np.allclose(after.channels, before.channels, atol=1e-5)


def test_the_frame_is_where_it_was(nora: SimpleNamespace) -> None:
    bpy.context.scene.frame_set(17, subframe=0.25)
    nora.sample(range(3, 6))
    assert (bpy.context.scene.frame_current, bpy.context.scene.frame_subframe) == (17, 0.25)


@pytest.mark.parametrize("seed", range(10))
def test_any_camera_projects_as_blender_does(nora: SimpleNamespace, seed: Any) -> None:
    """Lens, sensor fit, shift, aspect, place; an actor that is moved, turned and scaled: within 0.1 px."""
    random = np.random.default_rng(seed)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = (2 * int(v) for v in random.integers(100, 450, 2))
    scene.render.resolution_percentage = int(random.choice([50, 100]))
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = random.uniform(1, 1.6, 2)
    scene.camera.parent = nora.armature
    lens = scene.camera.data
    lens.sensor_fit = random.choice(["AUTO", "HORIZONTAL", "VERTICAL"])
    lens.lens, lens.sensor_width, lens.sensor_height = random.uniform(15, 90), 30, 20
    lens.shift_x, lens.shift_y = random.uniform(-0.3, 0.3, 2)
    nora.armature.rotation_euler = random.uniform(-3, 3, 3)
    nora.armature.location = random.uniform(-3, 3, 3)
    nora.armature.scale = [random.uniform(0.5, 2)] * 3
    found, view = nora.sample(range(7, 8))
    scene.frame_set(7)
    matrix, k = view.matrices_at(7)
    points = random.normal(0, 0.1, (30, 3))
    placed = nora.armature.matrix_world.to_4x4()
    blender = np.array([world_to_camera_view(scene, scene.camera, placed @ to_vector(p)) for p in points])
    expected = np.stack([blender[:, 0] * view.width, (1 - blender[:, 1]) * view.height], -1)
    seen = np.stack([points[:, 0], points[:, 2], -points[:, 1]], -1) @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.abs((seen / seen[:, 2:]) @ k[:2].T - expected).max() < 0.1
    assert len(found) == 1


def to_vector(values: Any) -> Any:
    from mathutils import Vector

    return Vector(values)


def test_a_moving_and_zooming_camera(nora: SimpleNamespace) -> None:
    camera = bpy.context.scene.camera
    for frame, lens, x in ((1, 35, 0.0), (11, 70, 0.5)):
        camera.data.lens, camera.location.x = lens, x
        camera.data.keyframe_insert("lens", frame=frame)
        camera.keyframe_insert("location", frame=frame)
    _, view = nora.sample(range(1, 12))
    assert view.intrinsics[-1, 0] == pytest.approx(2 * view.intrinsics[0, 0], rel=1e-5)
    assert np.all(np.diff(view.intrinsics[:, 0]) > 0)
    assert np.abs(view.views[-1] - view.views[0]).max() > 0.1


def test_camera_markers_cut(nora: SimpleNamespace) -> None:
    other = bpy.context.scene.camera.copy()
    other.location.x += 1
    bpy.context.scene.collection.objects.link(other)
    for frame, camera in ((1, bpy.context.scene.camera), (5, other)):
        bpy.context.scene.timeline_markers.new("cut", frame=frame).camera = camera
    _, view = nora.sample(range(1, 9))
    steps = np.abs(np.diff(view.views, axis=0)).max((1, 2))
    assert np.flatnonzero(steps > 1e-6).tolist() == [3]


def spoil_rig(nora: SimpleNamespace) -> None:
    bpy.context.view_layer.objects.active = nora.armature
    bpy.ops.object.mode_set(mode="EDIT")
    nora.armature.data.edit_bones.remove(nora.armature.data.edit_bones["head"])
    bpy.ops.object.mode_set(mode="OBJECT")


SPOILS: dict[str, Callable[[SimpleNamespace], object]] = {
    "head": spoil_rig,
    "jawOpen": lambda nora: nora.face.shape_key_remove(nora.face.data.shape_keys.key_blocks["jawOpen"]),
    "perspective": lambda nora: setattr(bpy.context.scene.camera.data, "type", "ORTHO"),
    "no camera": lambda nora: setattr(bpy.context.scene, "camera", None),
    "view layer": lambda nora: setattr(bpy.context.view_layer.layer_collection.children["Nora"], "exclude", True),
}


@pytest.mark.parametrize("what", SPOILS)
def test_a_spoilt_scene_is_one_sentence(nora: SimpleNamespace, addon: AddonModules, what: Any, tmp_path: Path) -> None:
    SPOILS[what](nora)
    with pytest.raises(RuntimeError, match=what) as error:
        bpy.ops.portrait_actor.render_actor(output=str(tmp_path), actor="Nora")
    assert len(str(error.value).splitlines()) == 1
