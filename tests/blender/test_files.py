"""An actor that is saved, copied, renamed, linked, overridden or moved stays itself; what is keyed is sampled."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
import small_actor
from addon_modules import AddonModules

OPS = bpy.ops.portrait_actor
FRAMES = range(1, small_actor.FRAMES + 1)
COLUMNS = ("head_rotation", "head_translation", "torso_rotation", "torso_translation", "channels")
needs_sound = pytest.mark.skipif(not bpy.app.build_options.audaspace, reason="this Blender is built without sound")


def same(a: Any, b: Any) -> bool:
    return all(np.allclose(getattr(a, name), getattr(b, name), atol=1e-5) for name in COLUMNS)


def jaw(addon: AddonModules, found: Any, frame: int = 1) -> float:
    """What the backend would get of the jaw."""
    scene = next(s for s in bpy.data.scenes if found.armature.name in s.objects)
    table = addon.sampling.sample_performance(scene, scene.view_layers[0], found.armature, found.face, [frame])
    return float(table.channels[0, table.names.index("jawOpen")])


def free(found: Any) -> None:
    """Takes the takes off, so that values stay as they are set."""
    for owner in (found.armature, found.face.data.shape_keys):
        if owner.animation_data is not None:
            owner.animation_data.action = None
    for key in found.face.data.shape_keys.key_blocks:
        key.value = 0.0


def select(*things: bpy.types.Object) -> None:
    for other in bpy.context.view_layer.objects:
        other.select_set(other in things)
    bpy.context.view_layer.objects.active = things[0]


def test_saved_and_opened_it_does_the_same(nora: SimpleNamespace, addon: AddonModules, tmp_path: Path) -> None:
    OPS.key_viseme(viseme="MBP")
    before, view = nora.sample(FRAMES)
    for _ in range(2):
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
        found = addon.scene_actor.require_actor(bpy.context)
        after, seen = addon.sampling.sample_frames(
            bpy.context.scene, bpy.context.view_layer, found.armature, found.face, FRAMES
        )
        assert same(before, after) and np.allclose(view.views, seen.views, atol=1e-6)
        assert found.folder().path.samefile(nora.folder)


def test_a_copy_of_the_whole_actor_is_an_actor_of_its_own(nora: SimpleNamespace, addon: AddonModules) -> None:
    before, _ = nora.sample(FRAMES)
    select(nora.armature, nora.face, nora.armature.portrait_actor.camera)
    bpy.ops.object.duplicate()
    copy = addon.scene_actor.require_actor(bpy.context)
    assert copy.armature != nora.armature and copy.face != nora.face and copy.face.parent == copy.armature
    assert copy.armature.portrait_actor.camera != nora.armature.portrait_actor.camera
    OPS.key_viseme(viseme="A")
    bpy.context.scene.frame_set(1)
    free(copy)
    copy.face.data.shape_keys.key_blocks["jawOpen"].value = 0.9
    assert jaw(addon, copy) == pytest.approx(0.9)
    after, _ = nora.sample(FRAMES)
    assert same(before, after), "the first actor is as it was"


@pytest.mark.parametrize("part", ["armature", "face"])
def test_a_copy_of_a_part_belongs_to_no_wrong_actor(nora: SimpleNamespace, addon: AddonModules, part: str) -> None:
    """An armature without a face of its own is no actor; a second face of the same armature is not the actor's."""
    before, _ = nora.sample(FRAMES)
    select(getattr(nora, part))
    bpy.ops.object.duplicate()
    found = addon.scene_actor.find_actor(bpy.context)
    assert (found.armature, found.face) == (nora.armature, nora.face), "the scene's actor is meant"
    with pytest.raises(RuntimeError, match="No actor called"):
        OPS.render_actor(actor=f"{getattr(nora, part).name}.001", output="/nowhere")
    after, _ = nora.sample(FRAMES)
    assert same(before, after)


def test_a_deleted_actor_is_not_the_scene_s_any_more(nora: SimpleNamespace, addon: AddonModules) -> None:
    camera = nora.armature.portrait_actor.camera
    select(nora.armature, nora.face, camera)
    bpy.ops.object.delete()
    assert addon.scene_actor.find_actor(bpy.context) is None
    assert not OPS.reset_channels.poll() and not OPS.live_preview.poll()


@needs_sound
def test_a_renamed_actor_keeps_its_own(nora: SimpleNamespace, addon: AddonModules, tmp_path: Path) -> None:
    """Strips and nodes know the actor, not what it was called."""
    scene = bpy.context.scene
    for number in (1, 2):
        (tmp_path / f"line_{number:04d}.png").write_bytes(b"")
    frames = addon.compositing.FrameSequence(tmp_path, "line_####.png", 1, 2)
    addon.compositing.place_frames(scene, nora.armature, frames)
    nora.armature.name, nora.face.name, nora.face.data.shape_keys.name = "Queen", "Mask", "Channels"
    nora.armature.portrait_actor.camera.name = "Eye"
    small_actor.write_tone(tmp_path / "line.wav", 1.0)
    addon.sound.add_strip(scene, nora.armature, tmp_path / "line.wav", 10)
    assert [s.mute for s in addon.compat.list_strips(scene) if addon.compat.strip_span(s)[0] == 1] == [True]
    tree = addon.compat.ensure_compositor_tree(scene)
    addon.compositing.place_frames(scene, nora.armature, frames)
    assert len([n for n in tree.nodes if n.bl_idname == "CompositorNodeImage"]) == 1
    found = addon.scene_actor.require_actor(bpy.context, "Queen")
    assert found.face == nora.face
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    found = addon.scene_actor.require_actor(bpy.context, "Queen")
    addon.compositing.place_frames(bpy.context.scene, found.armature, frames)
    tree = addon.compat.ensure_compositor_tree(bpy.context.scene)
    assert len([n for n in tree.nodes if n.bl_idname == "CompositorNodeImage"]) == 1


def test_two_actors_in_two_scenes(nora: SimpleNamespace, addon: AddonModules, actor_folder: Path) -> None:
    first_scene = bpy.context.scene
    before, _ = nora.sample(FRAMES)
    second_scene = bpy.data.scenes.new("other")
    bpy.context.window.scene = second_scene
    OPS.import_actor(directory=str(actor_folder))
    second = addon.scene_actor.require_actor(bpy.context)
    assert second.armature != nora.armature and second.armature.name in second_scene.objects
    OPS.key_viseme(viseme="A")
    OPS.reset_channels()
    free(second)
    second.face.data.shape_keys.key_blocks["jawOpen"].value = 0.7
    assert jaw(addon, second) == pytest.approx(0.7)
    bpy.context.window.scene = first_scene
    after, _ = nora.sample(FRAMES)
    assert same(before, after)
    assert addon.scene_actor.require_actor(bpy.context).armature == nora.armature
    with pytest.raises(RuntimeError, match="No actor called"):
        OPS.render_actor(actor=second.name, output="/nowhere")
    if bpy.app.build_options.audaspace:
        heard = [len(addon.compat.list_strips(s)) for s in (first_scene, second_scene)]
        assert heard == [1, 1]


@pytest.fixture
def library(nora: SimpleNamespace, addon: AddonModules, tmp_path: Path) -> SimpleNamespace:
    """Nora in a file of her own, her folder beside it; then an empty file elsewhere is open."""
    place = tmp_path / "library"
    shutil.copytree(nora.folder, place / "Nora.actor")
    nora.armature.portrait_actor.folder = str(place / "Nora.actor")
    bpy.ops.wm.save_as_mainfile(filepath=str(place / "nora.blend"))
    assert nora.armature.portrait_actor.folder == "//Nora.actor"
    before, _ = nora.sample(FRAMES)
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.context.scene.render.fps = 25
    (tmp_path / "shot").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot" / "shot.blend"))
    with bpy.data.libraries.load(str(place / "nora.blend"), link=True, relative=True) as (_, chosen):
        chosen.collections = ["Nora"]
    return SimpleNamespace(
        collection=chosen.collections[0], before=before, actor=place / "Nora.actor", shot=tmp_path / "shot"
    )


def sampled(addon: AddonModules, found: Any) -> Any:
    scene = bpy.context.scene
    return addon.sampling.sample_performance(scene, bpy.context.view_layer, found.armature, found.face, FRAMES)


def test_a_linked_actor_plays_and_says_why_it_cannot_be_keyed(library: SimpleNamespace, addon: AddonModules) -> None:
    bpy.context.scene.collection.children.link(library.collection)
    armature = bpy.context.scene.objects["Nora"]
    assert armature.library is not None
    bpy.context.view_layer.objects.active = armature
    found = addon.scene_actor.require_actor(bpy.context)
    assert found.folder().path.samefile(library.actor)
    assert same(sampled(addon, found), library.before)
    for verb, arguments in (("key_viseme", {"viseme": "A"}), ("reset_channels", {}), ("key_channels", {}),
                            ("mirror_channels", {})):  # fmt: skip
        with pytest.raises(RuntimeError, match=r"is linked from nora\.blend") as error:
            getattr(OPS, verb)(**arguments)
        assert len(str(error.value).splitlines()) == 1 and "Library Override" in str(error.value)
    assert same(sampled(addon, found), library.before)


def test_a_library_override_is_keyed_and_sampled(library: SimpleNamespace, addon: AddonModules) -> None:
    scene = bpy.context.scene
    library.collection.override_hierarchy_create(scene, bpy.context.view_layer, do_fully_editable=True)
    armature = next(o for o in scene.objects if o.type == "ARMATURE")
    assert armature.override_library is not None and armature.library is None
    bpy.context.view_layer.objects.active = armature

    def check(keyed: float) -> None:
        found = addon.scene_actor.require_actor(bpy.context)
        assert found.face.library is None and found.face.parent == found.armature
        assert found.armature.portrait_actor.camera.library is None
        assert found.folder().path.samefile(library.actor)
        assert jaw(addon, found, 20) == pytest.approx(keyed, abs=1e-4)

    check(float(library.before.channels[19, library.before.names.index("jawOpen")]))
    scene.frame_set(20)
    found = addon.scene_actor.require_actor(bpy.context)
    with pytest.raises(RuntimeError, match="Press Make Channels Editable"):
        OPS.key_viseme(viseme="A")
    assert OPS.override_channels() == {"FINISHED"} and not OPS.override_channels.poll()
    assert same(sampled(addon, found), library.before), "it still plays the footage's performance"
    assert OPS.key_viseme(viseme="A") == {"FINISHED"}
    check(0.55)
    before = sampled(addon, found)
    for _ in range(2):
        bpy.ops.wm.save_mainfile()
        bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
        armature = next(o for o in bpy.context.scene.objects if o.type == "ARMATURE")
        bpy.context.view_layer.objects.active = armature
        check(0.55)
        assert same(sampled(addon, addon.scene_actor.require_actor(bpy.context)), before)


def test_a_folder_that_was_moved_is_found_beside_the_file(
    nora: SimpleNamespace, addon: AddonModules, tmp_path: Path
) -> None:
    old, shot = tmp_path / "elsewhere" / "Nora.actor", tmp_path / "shot"
    shutil.copytree(nora.folder, old)
    nora.armature.portrait_actor.folder = str(old)
    shot.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(shot / "a.blend"))
    shutil.move(old, shot / "Nora.actor")
    assert addon.scene_actor.require_actor(bpy.context).folder().path == shot / "Nora.actor"
    bpy.ops.wm.save_mainfile()
    assert bpy.data.objects["Nora"].portrait_actor.folder == "//Nora.actor", "and the file remembers"


def test_a_folder_that_is_lost_is_one_sentence(nora: SimpleNamespace, addon: AddonModules, tmp_path: Path) -> None:
    old = tmp_path / "Nora.actor"
    shutil.copytree(nora.folder, old)
    nora.armature.portrait_actor.folder = str(old)
    old.rename(tmp_path / "Other.actor")
    for verb, arguments in (("live_preview", {}), ("render_actor", {"output": str(tmp_path)})):
        with pytest.raises(RuntimeError, match="There is no actor at") as error:
            getattr(OPS, verb)(**arguments)
        assert len(str(error.value).splitlines()) == 1
    nora.armature.portrait_actor.folder = str(tmp_path / "Other.actor")
    assert addon.scene_actor.require_actor(bpy.context).folder().path == tmp_path / "Other.actor"
