"""Thin alpha under a view transform that needs much light for white: no rim brighter than a plain alpha over, in the
composite and on the card, and the footage's colours where the actor is opaque."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from numpy.typing import NDArray
from support import get_armature, read_pixels, run_python

SIZE, SOLID, DARK = 64, 32, 0.01
INSIDE = (0.6, 0.5, 0.45)  # display sRGB of the opaque upper half
RIMS = ((0.98, 0.97, 1.0), (0.95, 0.6, 1.0))  # of the lower half's quarters: white, violet
THIN = np.linspace(0.01, 0.2, SIZE)  # alpha of the lower half's columns
WRITE = """
import sys, numpy as np
from pathlib import Path
from backend.rendering.images import encode_exr, encode_png
from backend.rendering.passes import MATTE_NAMES, Passes
color = np.empty((64, 64, 3), np.float32)
color[:32], color[32:48], color[48:] = (0.6, 0.5, 0.45), (0.98, 0.97, 1.0), (0.95, 0.6, 1.0)
alpha = np.ones((64, 64), np.float32)
alpha[32:] = np.linspace(0.01, 0.2, 64)
passes = Passes(color, alpha, np.ones_like(alpha), {m: alpha for m in MATTE_NAMES})
for kind, data in (("exr", encode_exr(passes, 25.0, {})), ("png", encode_png(passes, 16, {}))):
    Path(sys.argv[1], f"nora_0001.{kind}").write_bytes(data)
"""
TRANSFORMS = pytest.mark.parametrize("transform", ["AgX", "Filmic"])


def light_of(display: Any) -> NDArray[Any]:
    """IEC 61966-2-1, for values over its linear foot."""
    return ((np.asarray(display) + 0.055) / 1.055) ** 2.4


def plain_over(light: Any) -> NDArray[Any]:
    """(SIZE, 3) one row of the lower half: light at each column's alpha over the dark scene."""
    return THIN[:, None] * light + (1 - THIN[:, None]) * DARK


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    made = bpy.context.scene
    made.render.engine, made.cycles.samples, made.cycles.use_denoising = "CYCLES", 4, False
    made.cycles.pixel_filter_type, made.cycles.filter_width = "BOX", 0.01
    made.render.resolution_x = made.render.resolution_y = SIZE
    made.render.dither_intensity = 0
    world = made.world = bpy.data.worlds.new("world")
    if world.node_tree is None:
        world.use_nodes = True
    background = next(n for n in world.node_tree.nodes if n.bl_idname == "ShaderNodeBackground")
    background.inputs["Color"].default_value = DARK, DARK, DARK, 1
    made.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    made.collection.objects.link(made.camera)
    run_python(WRITE, str(tmp_path))
    return made


def rendered(scene: bpy.types.Scene, folder: Path, kind: str) -> NDArray[Any]:
    """(SIZE, SIZE, 3): scene-linear light for OPEN_EXR, display values for PNG."""
    scene.frame_set(1)
    settings = scene.render.image_settings
    settings.file_format, settings.color_depth = kind, "32" if kind == "OPEN_EXR" else "16"
    scene.render.filepath = str(folder / ("out.exr" if kind == "OPEN_EXR" else "out.png"))
    bpy.ops.render.render(write_still=True)
    return read_pixels(scene.render.filepath)[..., :3]


@pytest.fixture
def composite(addon: AddonModules, scene: bpy.types.Scene, tmp_path: Path) -> Any:
    """Wires the frames for a view transform; gives the group's node."""

    def wire(transform: str) -> Any:
        scene.view_settings.view_transform = transform
        sequence = addon.compositing.FrameSequence(tmp_path, "nora_####.exr", 1, 1)
        return addon.compositing.place_frames(scene, get_armature("Nora"), sequence)

    return wire


@TRANSFORMS
def test_thin_alpha_composites_as_a_plain_alpha_over(
    composite: Any, scene: bpy.types.Scene, tmp_path: Path, transform: Any
) -> None:
    composite(transform).inputs["Edge"].default_value = 0
    seen = rendered(scene, tmp_path, "OPEN_EXR")
    for row, rim in ((40, RIMS[0]), (56, RIMS[1])):
        assert np.abs(seen[row] - plain_over(light_of(rim))).max() < 2e-3


@TRANSFORMS
def test_default_edge_leaves_less_than_a_seventh_of_a_thin_rim(
    composite: Any, scene: bpy.types.Scene, tmp_path: Path, transform: Any
) -> None:
    composite(transform)
    seen = rendered(scene, tmp_path, "OPEN_EXR")
    for row, rim in ((40, RIMS[0]), (56, RIMS[1])):
        gained, plain = seen[row] - DARK, plain_over(light_of(rim)) - DARK
        assert np.all(gained <= plain / 7 + 1e-3) and gained.min() > -1e-3


@TRANSFORMS
def test_opaque_inside_keeps_the_footages_colors(
    composite: Any, scene: bpy.types.Scene, tmp_path: Path, transform: Any
) -> None:
    composite(transform)
    inside = rendered(scene, tmp_path, "PNG")[: SOLID - 3]
    assert np.abs(inside - INSIDE).max() < 2 / 255


@TRANSFORMS
def test_thin_alpha_on_a_png_card_adds_no_more_than_white_does(
    nora: SimpleNamespace, addon: AddonModules, scene: bpy.types.Scene, tmp_path: Path, transform: Any
) -> None:
    scene.camera = nora.armature.portrait_actor.camera
    scene.view_settings.view_transform = transform
    table, path = nora.sample(range(1, 2))
    placed = addon.card.CardAnimation.from_camera(table, path, range(1, 2), 1)
    sequence = addon.compositing.FrameSequence(tmp_path, "nora_####.png", 1, 1)
    card = addon.card.place_frames(addon.scene_actor.SceneActor(nora.armature, nora.face), scene, sequence, placed)
    image = next(n for n in card.active_material.node_tree.nodes if n.bl_idname == "ShaderNodeTexImage")
    image.interpolation = "Closest"
    seen = rendered(scene, tmp_path, "OPEN_EXR")
    for rows in (slice(34, 46), slice(50, 62)):
        rim = np.median(seen[rows], axis=0)  # Cycles hits both triangles of the card at single pixels of its diagonal
        assert np.all(rim <= plain_over(1.0) + 5e-3) and rim.min() >= 0
        assert rim[-1, 0] > 0.1, "the rim is in the picture"
