"""The live preview with the real backend process: what moves is drawn, the newest wins, nothing stays behind."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from bpy_extras.object_utils import world_to_camera_view
from support import PACKAGE, wait_for_preview

OPS = bpy.ops.portrait_actor


def handlers() -> int:
    events = bpy.app.handlers
    return sum(map(len, (events.depsgraph_update_post, events.frame_change_post, events.load_pre)))


def test_what_moves_is_drawn_and_nothing_is_left_when_it_ends(sam: SimpleNamespace, live: ModuleType) -> None:
    before = handlers()
    assert OPS.live_preview() == {"FINISHED"}
    first = wait_for_preview(live)
    assert max(first.pixels.shape[:2]) == 256 and first.pixels[..., 3].max() == 255
    bpy.context.scene.frame_set(12)
    assert live.current_preview().is_outdated, "a frame change marks the picture as old"
    second = wait_for_preview(live)
    assert second.frame == 12 and np.abs(second.pixels.astype(int) - first.pixels).max() > 10
    sam.face.data.shape_keys.animation_data.action = None
    sam.face.data.shape_keys.key_blocks["jawOpen"].value = 1.0
    bpy.context.view_layer.update()
    third = wait_for_preview(live)
    assert np.abs(third.pixels.astype(int) - second.pixels).max() > 10 and third.latency_seconds < 30
    process = live.current_preview().process._process
    assert OPS.live_preview() == {"FINISHED"}
    assert live.current_preview() is None and handlers() == before and live.update_preview() is None
    process._child.wait(20)


def test_it_shows_what_is_rendered(sam: SimpleNamespace, live: ModuleType, tmp_path: Path) -> None:
    from support import run_backend

    scene = bpy.context.scene
    scene.frame_set(7)
    live.start_preview(bpy.context)
    shown = wait_for_preview(live)
    sampling = importlib.import_module(f"{PACKAGE}.addon.scene.sampling")
    table, view = sampling.sample_frames(scene, bpy.context.view_layer, sam.armature, sam.face, [7])
    view = live.resize_camera(view, 256)
    table.save(tmp_path / "one.npz")
    view.save(tmp_path / "camera.json")
    folder = str(sam.folder)
    run_backend("render", folder, str(tmp_path / "one.npz"), "--camera", str(tmp_path / "camera.json"),
            "--out", str(tmp_path / "out"), "--format", "png", "--bits", "8", "--device", "cpu")  # fmt: skip
    image = bpy.data.images.load(str(next((tmp_path / "out").glob("*.png"))))
    values = np.array(image.pixels[:]).reshape(*reversed(image.size), 4)[::-1] * 255
    apart = np.abs(values - shown.pixels)
    solid = shown.pixels[..., 3] > 250
    assert apart[..., 3].max() < 3 and apart[solid].max() < 4


@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_the_card_is_what_the_camera_frames_before_the_face(
    nora: SimpleNamespace, addon: AddonModules, installed: Callable[[str], ModuleType], shift: float
) -> None:
    """Its corners are the picture's, and it faces the camera just before the proxy's face."""
    scene = bpy.context.scene
    nora.armature.location, nora.armature.scale = (1, 2, 3), (2, 2, 2)
    scene.camera.location = 1, 0.2, 3
    scene.camera.scale = 3, 3, 3
    scene.camera.data.shift_x = shift
    rest = nora.armature.animation_data
    rest.action = None
    for bone in nora.armature.pose.bones:
        bone.matrix_basis.identity()
    bpy.context.view_layer.update()
    face = [nora.face.matrix_world @ v.co for v in nora.face.data.vertices]
    before = (
        nora.armature.matrix_world @ nora.armature.pose.bones["head"].matrix @ installed("addon.scene.rig").FACE_FRONT
    )
    corners = addon.camera.view_plane_corners(scene, before)
    seen = [world_to_camera_view(scene, scene.camera, corner) for corner in corners]
    assert np.allclose([(x, y) for x, y, _ in seen], [(0, 0), (1, 0), (1, 1), (0, 1)], atol=1e-4)
    depths = [z for *_, z in seen]
    nearest = min(world_to_camera_view(scene, scene.camera, point).z for point in face)
    assert np.ptp(depths) < 1e-4 and nearest - 0.1 < depths[0] < nearest + 0.05
    scene.camera.data.type = "ORTHO"
    assert addon.camera.view_plane_corners(scene, before) is None


def test_a_deleted_actor_takes_its_preview_along(sam: SimpleNamespace, live: ModuleType) -> None:
    before, images = handlers(), set(bpy.data.images.keys())
    live.start_preview(bpy.context)
    manager, process = live._manager, live.current_preview().process._process
    overlay = manager._overlay
    assert len(overlay._handles) == 2 and manager._card_corners(bpy.context.scene) is not None
    bpy.data.objects.remove(sam.armature)
    assert manager._card_corners(bpy.context.scene) is None
    assert live.update_preview() is None and live.current_preview() is None
    assert not overlay._handles and not bpy.app.timers.is_registered(manager._timer)
    assert handlers() == before and set(bpy.data.images.keys()) == images
    process._child.wait(30)


def test_an_actor_that_cannot_be_drawn_is_told(sam: SimpleNamespace, live: ModuleType) -> None:
    scene = bpy.context.scene
    live.start_preview(bpy.context)
    wait_for_preview(live)
    scene.camera.data.type = "ORTHO"
    bpy.context.view_layer.update()
    live.current_preview().is_outdated = True
    live.current_preview().update()
    assert "not a perspective camera" in live.current_preview().error_text
    scene.camera.data.type = "PERSP"
    bpy.context.view_layer.update()
    live.current_preview().is_outdated = True
    assert wait_for_preview(live) is not None and not live.current_preview().error_text


def test_a_frame_change_costs_next_to_nothing(sam: SimpleNamespace, live: ModuleType) -> None:
    scene = bpy.context.scene

    def steps() -> float:
        began = time.perf_counter()
        for frame in range(1, 41):
            scene.frame_set(frame)
        return (time.perf_counter() - began) / 40

    steps()
    without = min(steps() for _ in range(3))
    live.start_preview(bpy.context)
    with_preview = min(steps() for _ in range(3))
    assert with_preview - without < 0.005


def test_without_an_actor_or_a_camera_it_says_why(sam: SimpleNamespace, live: ModuleType) -> None:
    bpy.context.scene.camera = None
    with pytest.raises(RuntimeError, match="no camera"):
        OPS.live_preview()
    assert live.current_preview() is None
