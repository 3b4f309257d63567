"""The card: the same picture as the frames themselves, through the camera, without a compositor; and the shadow."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from numpy.typing import NDArray
from support import read_pixels, run_python

FRAMES = range(11, 14)
GREY = 0.25
# A grid of soft dots, other ones in every frame, the size of the scene's picture; half of the alpha in the lower half.
WRITE = """
import sys, numpy as np
from pathlib import Path
from backend.rendering.images import encode_exr, encode_png
from backend.rendering.passes import EMPTY_DEPTH_METERS, MATTE_NAMES, Passes
folder, kind, width, height, first, last = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
y, x = np.mgrid[:height, :width] + 0.5
for frame in range(first, last + 1):
    wave = np.sin(x / 5 + frame) * np.sin(y / 4)
    cover = (np.clip(wave * 2, 0, 1) * np.where(y > height / 2, 0.5, 1)).astype(np.float32)
    color = np.stack([x / width, y / height, np.full_like(x, 0.1 * (frame - first + 1))], -1).astype(np.float32)
    depth = np.where(cover > 0, 1, EMPTY_DEPTH_METERS).astype(np.float32)
    passes = Passes(color, cover, depth, {m: cover for m in MATTE_NAMES})
    data = encode_exr(passes, 25.0, {}) if kind == "exr" else encode_png(passes, 16, {})
    (folder / f"nora_{frame:04d}.{kind}").write_bytes(data)
    np.save(folder / f"{frame}.npy", np.concatenate([color, cover[..., None]], -1))
"""


def linear(display: Any) -> Any:
    return np.where(display <= 0.04045, display / 12.92, ((np.maximum(display, 0) + 0.055) / 1.055) ** 2.4)


@pytest.fixture
def scene(nora: SimpleNamespace) -> Any:
    made = bpy.context.scene
    made.render.engine, made.cycles.samples, made.cycles.use_denoising = "CYCLES", 4, False
    made.cycles.pixel_filter_type, made.cycles.filter_width, made.cycles.transparent_max_bounces = "BOX", 0.01, 8
    made.render.resolution_x, made.render.resolution_y = 96, 72
    made.view_settings.view_transform = "Raw"
    made.render.image_settings.file_format, made.render.image_settings.color_mode = "OPEN_EXR", "RGBA"
    world = made.world = bpy.data.worlds.new("world")
    if world.node_tree is None:
        world.use_nodes = True
    background = next(n for n in world.node_tree.nodes if n.bl_idname == "ShaderNodeBackground")
    background.inputs["Color"].default_value = GREY, GREY, GREY, 1
    nora.armature.location, nora.armature.rotation_euler, nora.armature.scale = (1, 2, -0.5), (0.1, 0.2, -1), [1.4] * 3
    made.camera.parent = nora.armature
    camera = made.camera.data
    camera.sensor_fit, camera.shift_x, camera.shift_y = "VERTICAL", 0.08, -0.05
    for frame, lens, x in ((11, 35, 0.0), (13, 42, 0.1)):
        camera.lens, made.camera.location.x = lens, x
        camera.keyframe_insert("lens", frame=frame)
        made.camera.keyframe_insert("location", frame=frame)
    return made


def place(nora: SimpleNamespace, addon: AddonModules, scene: bpy.types.Scene, folder: Path, kind: str = "exr") -> Any:
    """The card with frames of the scene's size."""
    table, path = nora.sample(FRAMES)
    run_python(WRITE, str(folder), kind, str(path.width), str(path.height), str(FRAMES[0]), str(FRAMES[-1]))
    shown = addon.scene_actor.SceneActor(nora.armature, nora.face)
    sequence = addon.compositing.FrameSequence(folder, f"nora_####.{kind}", FRAMES[0], FRAMES[-1])
    return addon.card.place_frames(shown, scene, sequence, addon.card.CardAnimation.from_camera(table, path, FRAMES, 1))


def rendered(scene: bpy.types.Scene, folder: Path, frame: int) -> NDArray[Any]:
    scene.frame_set(frame)
    scene.render.filepath = str(folder / "out.exr")
    bpy.ops.render.render(write_still=True)
    return read_pixels(scene.render.filepath)


@pytest.mark.parametrize(
    ("change", "kind"),
    [({}, "exr"), ({}, "png"), ({"pixel_aspect_x": 1.3, "resolution_percentage": 50}, "exr"),
     ({"use_border": True, "border_min_x": 0.25, "border_max_x": 0.75, "border_max_y": 0.5}, "exr"),
     ({"use_border": True, "use_crop_to_border": True, "border_min_x": 0.3, "border_max_y": 0.6}, "exr")],
)  # fmt: skip
def test_the_card_shows_each_frame_as_it_is(
    nora: SimpleNamespace, addon: AddonModules, scene: bpy.types.Scene, tmp_path: Path, change: Any, kind: str
) -> None:
    for name, value in change.items():
        setattr(scene.render, name, value)
    place(nora, addon, scene, tmp_path, kind)
    for frame in FRAMES:
        seen = rendered(scene, tmp_path, frame)[..., :3]
        picture = np.load(tmp_path / f"{frame}.npy")
        assert seen.shape[:2] == picture.shape[:2]
        expected = linear(picture[..., :3]) * picture[..., 3:] + GREY * (1 - picture[..., 3:])
        drawn = seen.max(-1) > 0  # a border leaves the rest black
        assert drawn.sum() > 500
        error = np.abs(seen - expected)[drawn]
        assert np.quantile(error, 0.99) < 0.04 and error.mean() < 0.005, f"frame {frame}: {error.mean():.4f}"


def test_a_holdout_is_a_hole(
    nora: SimpleNamespace, addon: AddonModules, scene: bpy.types.Scene, tmp_path: Path
) -> None:
    place(nora, addon, scene, tmp_path)
    scene.render.film_transparent = False
    addon.card.find_holdout_socket(nora.armature).default_value = 1
    scene.render.film_transparent = True
    plane = bpy.data.meshes.new("wall")
    plane.from_pydata([(-9, 3, -9), (9, 3, -9), (9, 3, 9), (-9, 3, 9)], [], [(0, 1, 2, 3)])
    wall = bpy.data.objects.new("wall", plane)
    wall.parent = nora.armature
    scene.collection.objects.link(wall)
    alpha = rendered(scene, tmp_path, 12)[..., 3]
    cover = np.load(tmp_path / "12.npy")[..., 3]
    assert np.abs(alpha - (1 - cover)).mean() < 0.01


def test_the_shadow_falls_and_its_casters_are_not_seen(
    nora: SimpleNamespace, addon: AddonModules, scene: bpy.types.Scene, tmp_path: Path
) -> None:
    """Empty frames: all that the actor leaves is a shadow on the wall behind it."""
    place(nora, addon, scene, tmp_path)
    card = next(c for c in nora.armature.children if c.get(addon.card.TAG_PROPERTY) == "card")
    card.hide_render = True
    plane = bpy.data.meshes.new("wall")
    plane.from_pydata([(-2, 0.5, -2), (2, 0.5, -2), (2, 0.5, 2), (-2, 0.5, 2)], [], [(0, 1, 2, 3)])
    wall = bpy.data.objects.new("wall", plane)
    wall.parent = nora.armature
    scene.collection.objects.link(wall)
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy = 3
    sun.parent, sun.rotation_euler = nora.armature, (1.4, 0, 0.15)
    scene.collection.objects.link(sun)
    scene.world = None
    shadowed = rendered(scene, tmp_path, 12)[..., 1]
    shown = addon.scene_actor.SceneActor(nora.armature, nora.face)
    addon.card.set_visible(shown, is_visible=False)
    free = rendered(scene, tmp_path, 12)[..., 1]
    lit = free > 0.1
    assert lit.mean() > 0.5
    darker = shadowed < 0.5 * free
    assert 0.02 < darker[lit].mean() < 0.6, "a shadow falls"
    assert np.all(shadowed <= free + 0.01), "nothing of what casts it shines"
    assert (np.abs(shadowed - free)[lit & ~darker] < 0.01).mean() > 0.9, "or stands before the wall"


def test_placing_again_keeps_one_card_and_the_compositor_is_quiet_meanwhile(
    nora: SimpleNamespace, addon: AddonModules, scene: bpy.types.Scene, tmp_path: Path
) -> None:
    first = place(nora, addon, scene, tmp_path)
    again = place(nora, addon, scene, tmp_path)
    assert first == again and len([c for c in nora.armature.children if c.get(addon.card.TAG_PROPERTY)]) == 3
    assert len([a for a in bpy.data.actions if a.name.startswith("Nora card")]) == 1
    node = addon.compositing.place_frames(
        scene, nora.armature, addon.compositing.FrameSequence(tmp_path, "nora_####.exr", FRAMES[0], FRAMES[-1])
    )
    addon.compositing.set_muted(scene, nora.armature, is_muted=True)
    with_card = rendered(scene, tmp_path, 12)[..., :3]
    picture = np.load(tmp_path / "12.npy")
    expected = linear(picture[..., :3]) * picture[..., 3:] + GREY * (1 - picture[..., 3:])
    assert node.mute and np.abs(with_card - expected).mean() < 0.005, "the actor is not there twice"
