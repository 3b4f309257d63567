"""Undo and redo around every operator that changes the file: back is as before, forth is as after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import bpy
import pytest
import small_actor
from addon_modules import AddonModules
from support import PACKAGE, run_python, wait_for_preview

OPS = bpy.ops.portrait_actor
FILM = """
import sys
from pathlib import Path
import numpy as np
from backend.media.encode import VideoWriter
with VideoWriter(Path(sys.argv[1]), 64, 48, 25.0) as film:
    for shade in range(5):
        film.write_frame(np.full((48, 64, 3), 5 * shade, np.uint8))
"""


def curves(action: bpy.types.Action) -> list[tuple[Any, ...]]:
    """What an action keys, with or without slots."""
    if hasattr(action, "layers"):
        bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
        found = [(bag.slot.identifier, curve) for bag in bags for curve in bag.fcurves]
    else:
        found = [("", curve) for curve in action.fcurves]
    return sorted(
        (slot, c.data_path, c.array_index, [tuple(round(v, 5) for v in k.co) for k in c.keyframe_points])
        for slot, c in found
    )


def actor_state(armature: bpy.types.Object) -> dict[str, Any]:
    settings, face = armature.portrait_actor, armature.portrait_actor.face
    keys = face.data.shape_keys
    animated = {
        owner.name: owner.animation_data.action.name
        for owner in (armature, keys)
        if owner.animation_data and owner.animation_data.action
    }
    tracks = [
        (owner.name, track.name, [(s.name, s.frame_start, s.frame_end, s.blend_in, s.blend_out) for s in track.strips])
        for owner in (armature, keys)
        for track in (owner.animation_data.nla_tracks if owner.animation_data else ())
    ]
    return {
        "folder": settings.folder, "face": face.name, "camera": settings.camera.name, "start": settings.footage_start,
        "ranges": {r.name: (r.measured, r.low, r.high) for r in settings.channels}, "animated": animated,
        "tracks": tracks,
        "values": {k.name: round(k.value, 5) for k in keys.key_blocks},
        "bones": {b.name: [round(v, 5) for row in b.matrix_basis for v in row] for b in armature.pose.bones},
    }  # fmt: skip


def state(addon: AddonModules) -> dict[str, Any]:
    """Everything of the file that an operator of the extension may change."""
    scene = bpy.context.scene
    trees = [t for t in (getattr(scene, n, None) for n in ("compositing_node_group", "node_tree")) if t]
    kinds = ("objects", "meshes", "armatures", "cameras", "materials", "collections", "shape_keys", "movieclips",
             "images", "sounds", "scenes", "node_groups")  # fmt: skip
    return {
        "names": {kind: sorted(getattr(bpy.data, kind).keys()) for kind in kinds},
        "actions": {action.name: curves(action) for action in bpy.data.actions},
        "actors": {o.name: actor_state(o) for o in bpy.data.objects if addon.scene_actor.is_actor_armature(o)},
        "scene": (scene.frame_start, scene.frame_end, scene.frame_current, scene.render.fps, scene.render.resolution_x,
                  scene.camera and scene.camera.name, getattr(scene.portrait_actor.actor, "name", None)),
        "strips": sorted((s.name, addon.compat.strip_span(s), s.mute) for s in addon.compat.list_strips(scene)),
        "nodes": [sorted((n.bl_idname, n.label) for n in tree.nodes) for tree in trees],
    }  # fmt: skip


def import_actor(folder: Path, tmp_path: Path) -> None:
    OPS.import_actor(directory=str(folder), frame_start=11)


def load_overlay(folder: Path, tmp_path: Path) -> None:
    run_python(FILM, str(folder / "overlay.mp4"))
    try:
        OPS.load_overlay()
    finally:
        (folder / "overlay.mp4").unlink()


def import_capture(folder: Path, tmp_path: Path) -> None:
    OPS.export_capture(filepath=str(tmp_path / "line.npz"))
    OPS.import_capture(filepath=str(tmp_path / "line.npz"), frame_start=30)


SCENE_VERBS: dict[str, Callable[[Path, Path], object]] = {
    "import_actor": import_actor,
    "load_overlay": load_overlay,
    "import_capture": import_capture,
    "reset_channels": lambda *_: OPS.reset_channels(),
    "mirror_channels": lambda *_: OPS.mirror_channels(),
    "key_channels": lambda *_: OPS.key_channels(),
    "key_viseme": lambda *_: OPS.key_viseme(viseme="O"),
    "push_take": lambda *_: OPS.push_take(part="BOTH"),
}


def speak(folder: Path, tmp_path: Path) -> None:
    small_actor.write_tone(tmp_path / "line.wav", 1.0)
    OPS.speak(audio=str(tmp_path / "line.wav"), frame_start=5)


def render_actor(folder: Path, tmp_path: Path) -> None:
    OPS.render_actor(output=str(tmp_path / "out"), file_format="png", frame_start=1, frame_end=1)


def track_video(folder: Path, tmp_path: Path) -> None:
    OPS.track_video(filepath=str(folder.with_name("sample.mp4")))


def create_actor(folder: Path, tmp_path: Path) -> None:
    """The folder is finished: the job has nothing left to do, and the actor comes into the scene once more."""
    OPS.create_actor(
        video=str(folder.with_name("sample.mp4")),
        folder=str(folder),
        preset="tiny",
        consent_who="nobody: drawn by code",
    )


JOB_VERBS: dict[str, Callable[[Path, Path], object]] = {
    "speak": speak,
    "render_actor": render_actor,
    "create_actor": create_actor,
    "track_video": track_video,
}
HARMLESS = {  # change nothing but a form, or are create_actor again
    "add_render_preset", "add_speak_preset", "cancel_job", "check_backend", "choose_face", "dismiss", "dub",
    "export_capture", "export_job", "live_preview", "open_folder", "open_log", "open_report", "sample_clip",
    "setup_backend",
}  # fmt: skip
ELSEWHERE = {"override_channels"}  # test_files


def there_and_back(addon: AddonModules, act: Callable[[], object]) -> None:
    """Without a window Blender pushes no steps by itself, so this pushes them as it would around an operator."""
    bpy.ops.ed.undo_push(message="before")
    before = state(addon)
    act()
    after = state(addon)
    assert after != before, "the operator changes something"
    bpy.ops.ed.undo_push(message="after")
    for _ in range(2):
        assert bpy.ops.ed.undo() == {"FINISHED"}
        assert state(addon) == before
        assert bpy.ops.ed.redo() == {"FINISHED"}
        assert state(addon) == after


@pytest.mark.parametrize("verb", SCENE_VERBS)
def test_undo_and_redo(nora: SimpleNamespace, addon: AddonModules, verb: Any, tmp_path: Path) -> None:
    bpy.context.scene.frame_set(12)
    there_and_back(addon, lambda: SCENE_VERBS[verb](nora.folder, tmp_path))


@pytest.mark.parametrize("verb", JOB_VERBS)
def test_undo_and_redo_of_what_a_job_made(sam: SimpleNamespace, addon: AddonModules, verb: Any, tmp_path: Path) -> None:
    there_and_back(addon, lambda: JOB_VERBS[verb](sam.folder, tmp_path))


def test_every_operator_is_tried_here() -> None:
    ours = {name.removeprefix("PORTRAIT_ACTOR_OT_") for name in dir(bpy.types) if name.startswith("PORTRAIT_ACTOR_OT_")}
    assert ours == {*SCENE_VERBS, *JOB_VERBS, *HARMLESS, *ELSEWHERE}
    undoable = {verb for verb in ours if "UNDO" in getattr(OPS, verb).bl_options}
    assert undoable == {*SCENE_VERBS, *ELSEWHERE}


def test_what_is_keyed_after_an_undo_is_what_is_sampled(nora: SimpleNamespace, addon: AddonModules) -> None:
    """Undo makes new objects of everything: nothing of the extension may still hold the old ones."""
    bpy.ops.ed.undo_push(message="before")
    OPS.key_viseme(viseme="O")
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    found = addon.scene_actor.require_actor(bpy.context)
    OPS.key_viseme(viseme="U")
    table, _ = addon.sampling.sample_frames(bpy.context.scene, bpy.context.view_layer, found.armature, found.face, [1])
    assert table.channels[0, table.names.index("mouthPucker")] == pytest.approx(0.65)


def test_the_live_preview_goes_on_over_undo_and_redo(sam: SimpleNamespace, live: ModuleType) -> None:
    bpy.ops.ed.undo_push(message="before")
    live.start_preview(bpy.context)
    wait_for_preview(live)
    OPS.reset_channels()
    bpy.ops.ed.undo_push(message="after")
    for step in (bpy.ops.ed.undo, bpy.ops.ed.redo):
        step()
        live.current_preview().is_outdated = True
        assert live.update_preview() is not None and live.current_preview() is not None
        assert wait_for_preview(live) is not None and not live.current_preview().error_text


def test_an_import_that_is_undone_ends_the_preview(sam: SimpleNamespace, live: ModuleType) -> None:
    bpy.ops.ed.undo_push(message="before")
    OPS.import_actor(directory=str(sam.folder))
    bpy.ops.ed.undo_push(message="after")
    live.start_preview(bpy.context)
    process = live.current_preview().process._process
    bpy.ops.ed.undo()
    assert live.update_preview() is None and live.current_preview() is None
    process._child.wait(30)
    assert PACKAGE in bpy.context.preferences.addons
