"""The camera that the backend gets against what Blender's own renderer draws: lens, aspect, border, shutter, cuts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from bpy_extras.object_utils import world_to_camera_view
from numpy.typing import NDArray
from support import read_pixels

FRAME = 12


@pytest.fixture
def scene(nora: SimpleNamespace) -> Any:
    """The proxy face alone, rendered by Cycles in a moment: pixels whose centre it covers are opaque."""
    made = bpy.context.scene
    made.render.engine, made.cycles.samples, made.cycles.use_denoising = "CYCLES", 16, False
    made.cycles.pixel_filter_type, made.cycles.filter_width = "BOX", 0.01
    made.render.film_transparent = True
    nora.face.hide_render = False
    nora.armature.location, nora.armature.rotation_euler, nora.armature.scale = (2, -1, 0.5), (0.2, 0.1, 2.5), [1.3] * 3
    made.camera.parent = nora.armature
    return made


def rendered(scene: bpy.types.Scene, folder: Path) -> NDArray[Any]:
    """(H, W) the alpha of the scene's render, top row first."""
    scene.frame_set(FRAME)
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.render.filepath = str(folder / "cycles.png")
    bpy.ops.render.render(write_still=True)
    return read_pixels(scene.render.filepath)[..., 3]


def corners(nora: SimpleNamespace, path: Any) -> NDArray[Any]:
    """(F, 3, 2) pixels of the proxy's triangles through the sampled camera."""
    scene = bpy.context.scene
    scene.frame_set(FRAME)
    posed = nora.face.evaluated_get(bpy.context.evaluated_depsgraph_get())
    actor = nora.armature.matrix_world.inverted() @ posed.matrix_world
    points = np.array([actor @ v.co for v in posed.data.vertices])[:, [0, 2, 1]] * (1, 1, -1)
    view, k = path.matrices_at(FRAME)
    seen = (points @ view[:3, :3].T + view[:3, 3]) @ k.T
    triangles = np.array([p.vertices[:] for p in posed.data.polygons])
    return (seen[:, :2] / seen[:, 2:])[triangles]


def covered(triangles: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """(height, width) whether a pixel's centre lies in any triangle."""
    y, x = np.mgrid[:height, :width] + 0.5
    mask = np.zeros((height, width), bool)
    for triangle in triangles:
        sides = []
        for a, b in zip(triangle, np.roll(triangle, -1, 0), strict=True):
            sides.append((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]))
        mask |= (np.min(sides, 0) >= 0) | (np.max(sides, 0) <= 0)
    return mask


def plain(scene: bpy.types.Scene) -> None:
    pass


def wide_pixels_and_vertical_fit(scene: bpy.types.Scene) -> None:
    scene.render.pixel_aspect_x, scene.camera.data.sensor_fit = 1.5, "VERTICAL"
    scene.camera.data.shift_x, scene.camera.data.shift_y = 0.1, -0.07


def tall_pixels_and_half_size(scene: bpy.types.Scene) -> None:
    scene.render.pixel_aspect_y, scene.camera.data.sensor_fit = 1.3, "HORIZONTAL"
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 333, 407, 51
    scene.camera.data.sensor_width, scene.camera.data.lens = 24, 30


def portrait_format_and_auto_fit(scene: bpy.types.Scene) -> None:
    scene.render.resolution_x, scene.render.resolution_y = 150, 260
    scene.camera.data.sensor_fit, scene.camera.data.shift_y = "AUTO", 0.12


@pytest.mark.parametrize("crop", [None, False, True])
@pytest.mark.parametrize(
    "change", [plain, wide_pixels_and_vertical_fit, tall_pixels_and_half_size, portrait_format_and_auto_fit]
)
def test_cycles_draws_the_proxy_where_the_camera_says(
    nora: SimpleNamespace, addon: AddonModules, scene: bpy.types.Scene, tmp_path: Path, change: Any, crop: bool | None
) -> None:
    change(scene)
    if crop is not None:
        render = scene.render
        render.use_border, render.use_crop_to_border = True, crop
        render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.313, 0.68, 0.27, 0.777
    _, path = nora.sample(range(FRAME, FRAME + 1))
    alpha = rendered(scene, tmp_path)
    assert alpha.shape == (path.height, path.width)
    expected = covered(corners(nora, path), path.width, path.height)
    if path.border is not None:
        left, top, right, bottom = path.border
        drawn = np.zeros_like(expected)
        drawn[top:bottom, left:right] = True
        assert expected[~drawn].any() and not alpha[~drawn].any(), "the border cuts the face"
        expected &= drawn
    assert (path.border is not None) == (crop is False)
    wrong = (alpha > 0.5) != expected
    assert expected.sum() > 500 and wrong.mean() < 0.002, f"{wrong.sum()} of {wrong.size} pixels differ"
    rows, columns = np.nonzero(expected)
    drawn_rows, drawn_columns = np.nonzero(alpha > 0.5)
    for a, b in ((rows, drawn_rows), (columns, drawn_columns)):
        assert abs(a.min() - b.min()) <= 1 and abs(a.max() - b.max()) <= 1


def test_a_border_without_pixels_is_one_sentence(nora: SimpleNamespace, scene: bpy.types.Scene, tmp_path: Path) -> None:
    scene.render.use_border = True
    scene.render.border_min_x = scene.render.border_max_x = 0.5
    with pytest.raises(RuntimeError, match="border has no pixel"):
        bpy.ops.portrait_actor.render_actor(output=str(tmp_path), actor="Nora")


@pytest.mark.parametrize(
    ("position", "expected"), [("START", [0.125, 0.375]), ("CENTER", [-0.125, 0.125]), ("END", [-0.375, -0.125])]
)
def test_the_shutter_is_blenders(nora: SimpleNamespace, addon: AddonModules, position: str, expected: Any) -> None:
    scene = bpy.context.scene
    scene.render.motion_blur_shutter, scene.render.motion_blur_position = 0.5, position
    assert addon.sampling.shutter_offsets(scene, 2) == pytest.approx(expected)
    curve = nora.face.data.shape_keys.key_blocks["jawOpen"]
    nora.face.data.shape_keys.animation_data.action = None
    curve.driver_add("value").driver.expression = "frame / 100"
    frames = range(-3, 30, 4)
    table, path = addon.sampling.sample_frames(
        scene, bpy.context.view_layer, nora.armature, nora.face, frames, addon.sampling.shutter_offsets(scene, 2)
    )
    assert table.frames.tolist() == [2 * f + i for f in frames for i in (0, 1)] == path.frames.tolist()
    jaw = table.channels[:, table.names.index("jawOpen")]
    times = np.array([f + moment for f in frames for moment in expected])
    assert np.allclose(jaw, np.clip(times / 100, 0, 1), atol=1e-5), "read from the curves between the frames"


def test_an_open_shutter_does_not_see_a_cut(nora: SimpleNamespace, addon: AddonModules) -> None:
    scene = bpy.context.scene
    first, second = scene.camera, scene.camera.copy()
    second.location.x += 1
    scene.collection.objects.link(second)
    for frame, camera in ((1, first), (5, second)):
        scene.timeline_markers.new("cut", frame=frame).camera = camera
    _, path = addon.sampling.sample_frames(
        scene, bpy.context.view_layer, nora.armature, nora.face, range(4, 6), (-0.25, 0.0, 0.25)
    )
    views = path.views.reshape(2, 3, 4, 4)
    assert np.allclose(views[:, 0], views[:, 1]) and np.allclose(views[:, 1], views[:, 2])
    assert np.abs(views[0] - views[1]).max() > 0.1


def test_every_second_frame_of_the_scene(nora: SimpleNamespace, addon: AddonModules) -> None:
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end, scene.frame_step = 3, 12, 3
    table, path = nora.sample(range(scene.frame_start, scene.frame_end + 1, scene.frame_step))
    assert table.frames.tolist() == [3, 6, 9, 12]
    scene.frame_set(9)
    point = world_to_camera_view(scene, scene.camera, nora.armature.matrix_world.translation)
    view, k = path.matrices_at(9)
    seen = k @ view[:3, 3]
    assert seen[:2] / seen[2] == pytest.approx((point.x * path.width, (1 - point.y) * path.height), abs=0.05)
