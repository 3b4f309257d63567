"""Import Actor: what comes into the scene is what the folder holds."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
import small_actor
from addon_modules import AddonModules
from bpy_extras.object_utils import world_to_camera_view
from numpy.typing import NDArray

needs_sound = pytest.mark.skipif(not bpy.app.build_options.audaspace, reason="this Blender is built without sound")


def counts() -> dict[str, int]:
    kinds = ("objects", "meshes", "armatures", "cameras", "actions", "materials", "collections", "shape_keys")
    return {kind: len(getattr(bpy.data, kind)) for kind in kinds}


def project(view: NDArray[Any], k: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """(N, 2) pixels of (N, 3) points of actor space."""
    seen = points @ view[:3, :3].T + view[:3, 3]
    return (seen / seen[:, 2:]) @ k[:2].T


def test_the_parts_are_there(nora: SimpleNamespace, addon: AddonModules) -> None:
    channels = addon.contract.channels.CHANNELS
    bones = nora.armature.data.bones
    assert [b.name for b in bones] == ["root", "torso", "head"]
    assert bones["head"].parent == bones["torso"] and bones["torso"].parent == bones["root"]
    assert bones["torso"].head_local.z < bones["torso"].tail_local.z <= bones["head"].head_local.z < 0
    keys = nora.face.data.shape_keys.key_blocks
    assert tuple(k.name for k in keys) == ("Basis", *channels)
    assert all(k.slider_min == 0 and k.slider_max == pytest.approx(1.2 if k.name == "jawOpen" else 1) for k in keys[1:])
    assert nora.face.parent == nora.armature and nora.face.hide_render
    assert bpy.context.scene.camera == nora.armature.portrait_actor.camera


def test_the_mesh_its_shapes_and_its_colours(nora: SimpleNamespace, addon: AddonModules) -> None:
    mesh, made = nora.face.data, small_actor.make_face(52)
    conv = addon.conventions
    found = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", found)
    assert np.allclose(conv.to_actor(found.reshape(-1, 3)), made["vertices"], atol=1e-6)
    for index, key in enumerate(mesh.shape_keys.key_blocks[1:]):
        key.data.foreach_get("co", found)
        offsets = conv.to_actor(found.reshape(-1, 3)) - made["vertices"]
        assert np.allclose(offsets, made["shapes"][index], atol=1e-6)
    painted = np.empty(4 * len(mesh.vertices), np.float32)
    attribute = mesh.color_attributes.active_color
    attribute.data.foreach_get("color_srgb", painted)
    assert np.allclose(painted.reshape(-1, 4)[:, :3], made["colors"], atol=1 / 255)
    front = mesh.polygons[len(mesh.polygons) // 2].normal
    assert front.y < -0.5, "the face looks along −y"


def test_the_proxy_follows_head_and_torso(nora: SimpleNamespace) -> None:
    """The evaluated mesh is the linear blend of both bones by the folder's weights."""
    made = small_actor.make_face(52)
    for key in nora.face.data.shape_keys.key_blocks:
        key.mute = True
    bpy.context.scene.frame_set(12)
    posed = nora.face.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    found = np.array([v.co for v in posed.vertices])
    rest = np.array([v.co for v in nora.face.data.vertices])
    at = {}
    for bone in ("head", "torso"):
        pose = nora.armature.pose.bones[bone]
        at[bone] = np.array([pose.matrix @ pose.bone.matrix_local.inverted() @ v.co for v in nora.face.data.vertices])
    weight = made["head_weight"][:, None]
    assert np.allclose(found, weight * at["head"] + (1 - weight) * at["torso"], atol=2e-4)
    assert np.abs(found - rest).max() > 0.01


def test_the_camera_sees_what_the_footage_saw(nora: SimpleNamespace, addon: AddonModules) -> None:
    """Blender's own projection of the proxy is the footage camera's within 0.1 px."""
    scene, footage = bpy.context.scene, small_actor.make_camera()
    nora.armature.animation_data.action = None
    for bone in nora.armature.pose.bones:
        bone.matrix_basis.identity()
    bpy.context.view_layer.update()
    assert (scene.render.resolution_x, scene.render.resolution_y) == (320, 240)
    seen = np.array([world_to_camera_view(scene, scene.camera, v.co) for v in nora.face.data.vertices])
    pixels = np.stack([seen[:, 0] * 320, (1 - seen[:, 1]) * 240], -1)
    expected = project(footage.view(), footage.intrinsics(), small_actor.make_face(52)["vertices"])
    assert np.abs(pixels - expected).max() < 0.1
    assert np.ptp(expected, axis=0).min() > 50, "the face fills a good part of the picture"


def test_the_action_is_the_footage_at_every_frame(nora: SimpleNamespace, addon: AddonModules) -> None:
    table = small_actor.make_performance()
    found, _ = nora.sample(range(1, small_actor.FRAMES + 1))
    assert found.fps == table.fps
    assert np.abs(found.channels - table.channels).max() < 1e-5
    for part in ("head", "torso"):
        same = np.abs(np.sum(getattr(found, f"{part}_rotation") * getattr(table, f"{part}_rotation"), -1))
        assert np.abs(same - 1).max() < 1e-5
        shift = getattr(found, f"{part}_translation") - getattr(table, f"{part}_translation")
        assert np.abs(shift).max() < 1e-5


def test_between_frames_the_head_turns_the_short_way(nora: SimpleNamespace) -> None:
    """The footage's quaternions change sign on the way; halfway between two frames the head is halfway."""
    scene, head = bpy.context.scene, nora.armature.pose.bones["head"]

    def turn(frame: float) -> Any:
        scene.frame_set(int(frame), subframe=frame % 1)
        return head.matrix.to_quaternion()

    for frame in range(10, 30):
        whole = turn(frame).rotation_difference(turn(frame + 1)).angle
        assert turn(frame).rotation_difference(turn(frame + 0.5)).angle < 0.75 * whole + 1e-4


def test_it_begins_where_it_is_told_and_keeps_time_in_another_rate(actor_folder: Path, addon: AddonModules) -> None:
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base, scene.frame_end = 50, 1.0, 77
    bpy.ops.portrait_actor.import_actor(directory=str(actor_folder), frame_start=101, match_scene=False)
    assert (scene.render.fps, scene.frame_end, scene.render.resolution_x) == (50, 77, 1920), "the scene is as it was"
    found = addon.scene_actor.require_actor(bpy.context)
    frames = range(101, 101 + 2 * small_actor.FRAMES, 2)
    table, _ = addon.sampling.sample_frames(scene, bpy.context.view_layer, found.armature, found.face, frames)
    assert np.abs(table.channels - small_actor.make_performance().channels).max() < 1e-4
    if bpy.app.build_options.audaspace:
        (strip,) = addon.compat.list_strips(scene)
        assert addon.compat.strip_span(strip) == (101, 101 + 2 * small_actor.FRAMES)


def test_match_scene_takes_size_rate_and_length(nora: SimpleNamespace) -> None:
    scene = bpy.context.scene
    assert (scene.render.fps / scene.render.fps_base, scene.frame_end) == (25, small_actor.FRAMES)


@pytest.mark.parametrize("fps", [23.976, 24000 / 1001, 29.97, 30000 / 1001, 12.5, 60.0])
def test_odd_frame_rates_are_kept(addon: AddonModules, fps: Any) -> None:
    scene = bpy.context.scene
    addon.camera.match_scene(scene, small_actor.make_camera(), fps, 10)
    assert addon.takes.scene_fps(scene) == pytest.approx(fps, rel=1e-6)


@needs_sound
def test_the_sound_starts_with_the_footage(nora: SimpleNamespace, addon: AddonModules) -> None:
    (strip,) = addon.compat.list_strips(bpy.context.scene)
    assert strip.type == "SOUND" and addon.compat.strip_span(strip) == (1, 1 + small_actor.FRAMES)
    assert bpy.path.abspath(strip.sound.filepath) == str(nora.folder / "audio.wav")


@needs_sound
def test_one_mouth_speaks_one_line(nora: SimpleNamespace, addon: AddonModules, tmp_path: Path) -> None:
    """A new line mutes what the same actor says at that time, and nothing else."""
    scene = bpy.context.scene
    small_actor.write_tone(tmp_path / "line.wav", 1.0)
    addon.sound.add_strip(scene, bpy.data.objects.new("somebody else", None), tmp_path / "line.wav", 5)
    addon.sound.add_strip(scene, nora.armature, tmp_path / "line.wav", 100)
    addon.sound.add_strip(scene, nora.armature, tmp_path / "line.wav", 10)
    strips = addon.compat.list_strips(scene)
    silent = {(s["portrait_actor"].name, addon.compat.strip_span(s)[0]) for s in strips if s.mute}
    assert silent == {("Nora", 1)} and len({s.channel for s in strips}) >= 3


@needs_sound
def test_a_film_is_given_what_the_sequencer_plays(nora: SimpleNamespace, addon: AddonModules, tmp_path: Path) -> None:
    """The mixdown of frames 21–60 has the tone of the footage's last 20 frames, then silence."""
    file = addon.sound.mixdown(bpy.context.scene, 21, 60, tmp_path / "mix.wav")
    with wave.open(str(file)) as sound:
        rate = sound.getframerate()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").reshape(-1, sound.getnchannels())[:, 0]
    assert len(samples) / rate == pytest.approx(40 / 25, abs=0.05)
    assert np.abs(samples[: int(0.7 * rate)]).max() > 3000 and np.abs(samples[int(0.9 * rate) :]).max() < 50
    assert bpy.context.scene.frame_end == small_actor.FRAMES
    assert addon.sound.mixdown(bpy.context.scene, 200, 210, tmp_path / "none.wav") is None


def test_what_the_footage_showed_is_known(nora: SimpleNamespace) -> None:
    ranges = nora.armature.portrait_actor.channels
    assert len(ranges) == 52
    assert {r.name for r in ranges if not r.measured} == set(small_actor.UNMEASURED)
    assert ranges["jawOpen"].high == pytest.approx(1.2)


def test_two_actors_do_not_meet(actor_folder: Path, addon: AddonModules) -> None:
    for _ in range(2):
        bpy.ops.portrait_actor.import_actor(directory=str(actor_folder))
    first, second = (addon.scene_actor.require_actor(bpy.context, name) for name in ("Nora", "Nora.001"))
    assert first.face != second.face and first.face.data.shape_keys != second.face.data.shape_keys
    second.face.data.shape_keys.animation_data_clear()
    second.face.data.shape_keys.key_blocks["jawOpen"].value = 0.77
    bpy.context.scene.frame_set(20)
    jaws = [a.face.data.shape_keys.key_blocks["jawOpen"].value for a in (first, second)]
    assert jaws[1] == pytest.approx(0.77) and jaws[0] != pytest.approx(0.77)


@pytest.mark.parametrize("match_scene", [True, False])
def test_the_artists_camera_gives_way_only_when_the_scene_is_matched(actor_folder: Path, match_scene: bool) -> None:
    bpy.ops.object.camera_add()
    own = bpy.context.scene.camera = bpy.context.object
    bpy.ops.portrait_actor.import_actor(directory=str(actor_folder), match_scene=match_scene)
    armature = bpy.data.objects["Nora"]
    assert bpy.context.scene.camera == (armature.portrait_actor.camera if match_scene else own)
    assert bpy.context.selected_objects == [armature] == [bpy.context.object], "as after any import"


def test_who_edits_goes_on_editing(actor_folder: Path) -> None:
    """An actor that comes in when its job ends must not throw the artist out of edit mode."""
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.portrait_actor.import_actor(directory=str(actor_folder))
    assert bpy.context.object == cube and cube.mode == "EDIT" and bpy.context.selected_objects == [cube]
    assert len(bpy.data.objects["Nora"].data.bones) == 3


def test_it_stands_at_the_cursor(actor_folder: Path, addon: AddonModules) -> None:
    bpy.context.scene.cursor.location = 1, 2, 3
    bpy.ops.portrait_actor.import_actor(directory=str(actor_folder))
    scene, armature = bpy.context.scene, bpy.data.objects["Nora"]
    assert list(np.array(armature.location)) == [1, 2, 3]
    armature.animation_data.action = None
    face = armature.portrait_actor.face
    bpy.context.view_layer.update()
    seen = np.array([world_to_camera_view(scene, scene.camera, face.matrix_world @ v.co) for v in face.data.vertices])
    footage = small_actor.make_camera()
    for bone in armature.pose.bones:
        bone.matrix_basis.identity()
    expected = project(footage.view(), footage.intrinsics(), small_actor.make_face(52)["vertices"])
    assert np.abs(seen[:, 0] * 320 - expected[:, 0]).max() < 0.1


@pytest.mark.parametrize("damage", ["absent", "unfinished", "no footage", "torn mesh", "newer", "not json"])
def test_a_bad_folder_is_one_sentence_and_changes_nothing(actor_folder: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "bad.actor"
    shutil.copytree(actor_folder, folder)
    info = folder / "actor.json"
    text = info.read_text(encoding="utf-8")
    match damage:
        case "absent":
            shutil.rmtree(folder)
        case "unfinished":
            info.write_text(text.replace('"complete": true', '"complete": false'), encoding="utf-8")
        case "no footage":
            (folder / "footage.npz").unlink()
        case "torn mesh":
            (folder / "proxy.npz").write_bytes((folder / "proxy.npz").read_bytes()[:100])
        case "newer":
            info.write_text(text.replace('"format_version": 1', '"format_version": 99'), encoding="utf-8")
        case "not json":
            info.write_text("{", encoding="utf-8")
    before, resolution = counts(), bpy.context.scene.render.resolution_x
    with pytest.raises(RuntimeError) as error:
        bpy.ops.portrait_actor.import_actor(directory=str(folder))
    assert "Traceback" not in str(error.value) and len(str(error.value).splitlines()) == 1
    assert counts() == before and bpy.context.scene.render.resolution_x == resolution


@pytest.mark.parametrize("saved_first", [True, False])
def test_a_file_and_its_actor_can_be_moved_together(
    actor_folder: Path, tmp_path: Path, addon: AddonModules, saved_first: bool
) -> None:
    shot, moved = tmp_path / "shot", tmp_path / "moved"
    shutil.copytree(actor_folder, shot / "Nora.actor")
    if saved_first:
        bpy.ops.wm.save_as_mainfile(filepath=str(shot / "a.blend"))
    bpy.ops.portrait_actor.import_actor(directory=str(shot / "Nora.actor"))
    bpy.ops.wm.save_as_mainfile(filepath=str(shot / "a.blend"))
    shot.rename(moved)
    bpy.ops.wm.open_mainfile(filepath=str(moved / "a.blend"))
    assert addon.scene_actor.require_actor(bpy.context).folder().path.samefile(moved / "Nora.actor")


@pytest.mark.parametrize("copy", [True, False])
def test_a_file_that_is_saved_elsewhere_finds_its_actor(
    actor_folder: Path, tmp_path: Path, addon: AddonModules, copy: bool
) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.portrait_actor.import_actor(directory=str(actor_folder))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "deep" / "er" / "b.blend"), copy=copy)
    assert addon.scene_actor.require_actor(bpy.context).folder().path.samefile(actor_folder), "the file that is open"
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "deep" / "er" / "b.blend"))
    assert addon.scene_actor.require_actor(bpy.context).folder().path.samefile(actor_folder), "the file that was saved"
    assert bpy.data.objects["Nora"].portrait_actor.folder.startswith("//")
