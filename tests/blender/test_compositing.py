"""Rendered frames in the compositor: the right file at the right frame, in the right colours, over the scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from numpy.typing import NDArray
from support import get_armature, run_python

SIZE = 24
# Writes frames with the backend's own encoders: left half of alpha 0.5, its grey tells the frame; the right half empty.
WRITE = """
import sys, numpy as np
from pathlib import Path
from backend.rendering.images import encode_exr, encode_png
from backend.rendering.passes import EMPTY_DEPTH_METERS, MATTE_NAMES, Passes
folder, kind, first, last, size = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
for frame in range(first, last + 1):
    cover = np.zeros((size, size), np.float32)
    cover[:, : size // 2] = 0.5
    color = np.full((size, size, 3), (frame - first + 1) / 10, np.float32)
    depth = np.where(cover > 0, 1, EMPTY_DEPTH_METERS).astype(np.float32)
    passes = Passes(color, cover, depth, {m: cover for m in MATTE_NAMES})
    data = encode_exr(passes, 25.0, {}) if kind == "exr" else encode_png(passes, 16, {})
    (folder / f"nora_{frame:04d}.{kind}").write_bytes(data)
"""


def frames(addon: AddonModules, folder: Path, kind: str, first: int, last: int) -> Any:
    run_python(WRITE, str(folder), kind, str(first), str(last), str(SIZE))
    return addon.compositing.FrameSequence(folder, f"nora_####.{kind}", first, last)


def place_frames(addon: AddonModules, scene: bpy.types.Scene, armature: Any, sequence: Any) -> bpy.types.Node:
    """Place frames with Edge at 0: its default takes from a matte of half coverage, see test_merge_group.py."""
    merge = addon.compositing.place_frames(scene, armature, sequence)
    merge.inputs["Edge"].default_value = 0
    return merge


def linear(display: float) -> float:
    return ((display + 0.055) / 1.055) ** 2.4


@pytest.fixture
def scene() -> Any:
    """A scene of one colour, rendered in a moment, shown without any look."""
    made = bpy.context.scene
    render = made.render
    render.engine, made.cycles.samples, made.cycles.use_denoising = "CYCLES", 1, False
    render.resolution_x = render.resolution_y = SIZE
    world = bpy.data.worlds.new("world")
    if world.node_tree is None:
        world.use_nodes = True
    background = next(n for n in world.node_tree.nodes if n.bl_idname == "ShaderNodeBackground")
    background.inputs["Color"].default_value = 0.25, 0.25, 0.25, 1
    made.world = world
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    made.collection.objects.link(camera)
    made.camera = camera
    made.view_settings.view_transform = "Raw"
    return made


def composite(scene: bpy.types.Scene, frame: int, folder: Path) -> NDArray[Any]:
    """(SIZE, SIZE) linear red of the composited picture."""
    scene.frame_set(frame)
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.filepath = str(folder / f"out_{frame}.exr")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    pixels = np.empty(4 * SIZE * SIZE, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return pixels.reshape(SIZE, SIZE, 4)[..., 0]


@pytest.mark.parametrize("kind", ["exr", "png"])
def test_each_frame_lies_over_the_scene_in_linear_light(
    scene: bpy.types.Scene, addon: AddonModules, tmp_path: Path, kind: str
) -> None:
    place_frames(addon, scene, get_armature("Nora"), frames(addon, tmp_path, kind, 7, 9))
    for frame in (7, 8, 9):
        picture = composite(scene, frame, tmp_path)
        grey = linear((frame - 6) / 10)
        assert np.allclose(picture[:, : SIZE // 2], 0.5 * grey + 0.5 * 0.25, atol=2e-3), f"frame {frame}"
        assert np.allclose(picture[:, SIZE // 2 :], 0.25, atol=2e-3)


def test_rendering_again_replaces_the_frames_and_adds_no_nodes(
    scene: bpy.types.Scene, addon: AddonModules, tmp_path: Path
) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    place_frames(addon, scene, get_armature("Nora"), frames(addon, first, "exr", 1, 2))
    tree = addon.compat.ensure_compositor_tree(scene)
    count = len(tree.nodes)
    place_frames(addon, scene, get_armature("Nora"), frames(addon, second, "exr", 5, 9))
    assert len(tree.nodes) == count and [i.name for i in bpy.data.images if i.source == "SEQUENCE"] == ["nora_0005.exr"]
    assert np.allclose(composite(scene, 9, tmp_path)[0, 0], 0.5 * linear(0.5) + 0.125, atol=2e-3)


def test_two_actors_and_the_artists_own_nodes(scene: bpy.types.Scene, addon: AddonModules, tmp_path: Path) -> None:
    """What the artist built stays beneath: here, a node that halves the render's light."""
    tree = addon.compat.ensure_compositor_tree(scene)
    output = addon.compat.ensure_compositor_output(tree)
    own = tree.nodes.new("CompositorNodeExposure")
    own.inputs["Exposure"].default_value = -1
    tree.links.new(output.links[0].from_socket, own.inputs["Image"])
    tree.links.new(own.outputs["Image"], output)
    sequence = frames(addon, tmp_path, "exr", 1, 3)
    place_frames(addon, scene, get_armature("Nora"), sequence)
    place_frames(addon, scene, get_armature("Otto"), sequence)
    picture = composite(scene, 3, tmp_path)
    assert np.allclose(picture[:, SIZE // 2 :], 0.125, atol=2e-3)
    assert np.allclose(picture[:, : SIZE // 2], 0.75 * linear(0.3) + 0.25 * 0.125, atol=2e-3)


def test_a_saved_file_keeps_the_composite(scene: bpy.types.Scene, addon: AddonModules, tmp_path: Path) -> None:
    place_frames(addon, scene, get_armature("Nora"), frames(addon, tmp_path, "exr", 3, 4))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert np.allclose(composite(bpy.context.scene, 4, tmp_path)[0, 0], 0.5 * linear(0.2) + 0.125, atol=2e-3)
