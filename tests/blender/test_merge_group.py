"""Every slider of the compositor group: what it does to pixels, and that it does nothing until it is moved. Edge alone
does: the tests of the other sliders set it to 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from numpy.typing import NDArray
from support import get_armature, run_python

SIZE, EDGE, GREY, DEPTH = 64, 32, 0.25, 2.0
COLOR = (0.5, 0.6, 0.4)  # of the actor, display sRGB
# The actor fills the left half, at one depth, with an edge as a renderer draws it.
WRITE = """
import sys, numpy as np
from pathlib import Path
from backend.rendering.images import encode_exr
from backend.rendering.passes import EMPTY_DEPTH_METERS, MATTE_NAMES, Passes
size, edge, depth, color = 64, 32, 2.0, (0.5, 0.6, 0.4)
x = np.mgrid[:size, :size][1] + 0.5
cover = np.clip(edge - x + 0.75, 0, 1).astype(np.float32)
picture = np.broadcast_to(np.array(color, np.float32), (size, size, 3)).copy()
planes = cover, np.where(cover > 0, depth, EMPTY_DEPTH_METERS).astype(np.float32), {m: cover for m in MATTE_NAMES}
passes = Passes(picture, *planes)
for frame in (1, 2):
    Path(sys.argv[1], f"nora_{frame:04d}.exr").write_bytes(encode_exr(passes, 25.0, {}))
"""


def linear(display: Any) -> Any:
    return ((np.asarray(display) + 0.055) / 1.055) ** 2.4


X = np.arange(SIZE) + 0.5
ALPHA = np.clip(EDGE - X + 0.75, 0, 1)
PLAIN = ALPHA[:, None] * linear(COLOR) + (1 - ALPHA[:, None]) * GREY  # (SIZE, 3) the actor over the grey


class Shot:
    """A grey scene with the actor wired over it."""

    def __init__(self, addon: AddonModules, folder: Path) -> None:
        self.folder, self.scene = folder, bpy.context.scene
        run_python(WRITE, str(folder))
        scene, render = self.scene, self.scene.render
        render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 1, False
        render.resolution_x = render.resolution_y = SIZE
        render.image_settings.file_format = "OPEN_EXR"
        world = scene.world = bpy.data.worlds.new("world")
        if world.node_tree is None:
            world.use_nodes = True
        background = next(n for n in world.node_tree.nodes if n.bl_idname == "ShaderNodeBackground")
        background.inputs["Color"].default_value = GREY, GREY, GREY, 1
        scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        scene.collection.objects.link(scene.camera)
        scene.view_settings.view_transform = "Raw"
        self.node = addon.compositing.place_frames(
            scene, get_armature("Nora"), addon.compositing.FrameSequence(folder, "nora_####.exr", 1, 2)
        )
        self.default_edge = self.node.inputs["Edge"].default_value
        self.set(Edge=0.0)

    def set(self, **sliders: Any) -> None:
        for name, value in sliders.items():
            self.node.inputs[name.replace("_", " ")].default_value = value

    def wall(self, distance: float, left: float, right: float, brightness: float) -> None:
        """A shining rectangle as high as the picture, between two shares of its width."""
        half = distance * self.scene.camera.data.sensor_width / 2 / self.scene.camera.data.lens
        a, b = ((2 * share - 1) * half for share in (left, right))
        mesh = bpy.data.meshes.new("wall")
        corners = [(a, -half, -distance), (b, -half, -distance), (b, half, -distance), (a, half, -distance)]
        mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
        material = bpy.data.materials.new("wall")
        if material.node_tree is None:
            material.use_nodes = True
        nodes = material.node_tree.nodes
        nodes.clear()
        light, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
        light.inputs["Color"].default_value = brightness, brightness, brightness, 1
        material.node_tree.links.new(light.outputs[0], output.inputs["Surface"])
        mesh.materials.append(material)
        self.scene.collection.objects.link(bpy.data.objects.new("wall", mesh))

    def picture(self, frame: int = 1) -> NDArray[Any]:
        """(SIZE, SIZE, 3) linear."""
        self.scene.frame_set(frame)
        self.scene.render.filepath = str(self.folder / "out.exr")
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(self.scene.render.filepath)
        pixels = np.empty(4 * SIZE * SIZE, np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
        return pixels.reshape(SIZE, SIZE, 4)[..., :3]

    def row(self) -> NDArray[Any]:
        """(SIZE, 3) the middle row."""
        return self.picture()[SIZE // 2]


@pytest.fixture
def shot(addon: AddonModules, tmp_path: Path) -> Shot:
    return Shot(addon, tmp_path)


def matte(row: NDArray[Any]) -> NDArray[Any]:
    """(SIZE,) how much of the green of a row is the actor's."""
    return (row[:, 1] - GREY) / (linear(COLOR[1]) - GREY)


def test_unmoved_sliders_change_nothing(shot: Shot) -> None:
    assert np.abs(shot.picture() - PLAIN).max() < 1e-3


def test_what_stands_before_the_actor_hides_it(shot: Shot) -> None:
    shot.wall(1.0, 0.0, 0.25, 0.9)
    row = shot.row()
    assert np.allclose(row[:14], 0.9, atol=2e-3), "hidden behind the wall"
    assert np.allclose(row[18:], PLAIN[18:], atol=2e-3), "and as it was beside it"
    shot.set(Depth_Merge=0.0)
    assert np.allclose(shot.row(), PLAIN, atol=2e-3), "without the merge the actor is over everything"
    shot.set(Depth_Merge=1.0, Depth_Offset=-1.5)
    assert np.allclose(shot.row(), PLAIN, atol=2e-3), "brought before the wall"


def test_a_wall_behind_the_actor_eats_nothing_of_the_edge(shot: Shot) -> None:
    shot.wall(5.0, 0.0, 1.0, 0.1)
    expected = ALPHA[:, None] * linear(COLOR) + (1 - ALPHA[:, None]) * 0.1
    assert np.abs(shot.picture() - expected).max() < 2e-3
    shot.set(Depth_Offset=4.0)
    assert np.allclose(shot.row(), 0.1, atol=2e-3), "moved behind the wall"


@pytest.mark.parametrize("pixels", [-5, -2, 2, 5])
def test_the_edge_moves_by_pixels(shot: Shot, pixels: int) -> None:
    shot.set(Edge=pixels)
    row = shot.row()
    assert matte(row).sum() == pytest.approx(ALPHA.sum() + pixels, abs=0.6)
    solid = matte(row) > 0.98
    assert np.allclose(row[solid], linear(COLOR), atol=4e-3), "the new edge has the actor's colour"
    assert np.count_nonzero((matte(row) > 0.02) & ~solid) <= 4, "and is sharp"


def test_default_edge_takes_less_than_a_pixel_from_a_sharp_matte(shot: Shot) -> None:
    shot.set(Edge=shot.default_edge)
    row = shot.row()
    assert 0.1 < ALPHA.sum() - matte(row).sum() < 1.0
    assert np.allclose(row[: EDGE - 2], PLAIN[: EDGE - 2], atol=2e-3), "the actor's inside stays"
    assert np.allclose(row[EDGE + 1 :], PLAIN[EDGE + 1 :], atol=2e-3), "and so does the scene"


def test_soften_widens_the_edge(shot: Shot) -> None:
    shot.set(Soften=8.0)
    soft = matte(shot.row())
    assert np.count_nonzero((soft > 0.05) & (soft < 0.95)) >= 5
    assert soft.sum() == pytest.approx(ALPHA.sum(), abs=0.7) and soft[4] == pytest.approx(1, abs=0.01)


def test_spill_loses_its_hue_at_the_edge_alone(shot: Shot) -> None:
    shot.set(Spill=1.0, Spill_Color=(0, 1, 0, 1))
    row = shot.row()
    straight = row[EDGE - 2]
    assert straight[1] < linear(COLOR)[1] - 0.03 and straight.sum() == pytest.approx(linear(COLOR).sum(), abs=5e-3)
    assert np.allclose(row[:8], linear(COLOR), atol=3e-3), "far from the edge nothing changes"
    shot.set(Spill_Color=(1, 0, 1, 1))
    assert np.allclose(shot.row(), PLAIN, atol=2e-3), "the actor does not lean towards magenta"


def test_the_actor_takes_the_light_of_the_scene(shot: Shot) -> None:
    shot.set(Footage_Light=(0.125, 0.125, 0.125, 1), Match_Exposure=1.0)
    assert np.allclose(shot.row()[:16], 2 * linear(COLOR), rtol=0.01), "the scene is twice as bright"
    shot.set(Footage_Light=(0.25, 0.125, 0.125, 1), Match_Exposure=0.0, Match_Color=1.0)
    expected = linear(COLOR) * np.array([GREY / 0.25, GREY / 0.125, GREY / 0.125]) * (0.5 / (3 * GREY))
    assert np.allclose(shot.row()[:16], expected, rtol=0.01), "less red, and no brighter as a whole"
    shot.set(Match_Color=0.0)
    assert np.allclose(shot.row(), PLAIN, atol=2e-3)


def test_gain_and_offset(shot: Shot) -> None:
    shot.set(Gain=(2, 1, 0.5, 1), Offset=(0, 0.1, 0, 1))
    expected = linear(COLOR) * (2, 1, 0.5) + (0, 0.1, 0)
    assert np.allclose(shot.row(), ALPHA[:, None] * expected + (1 - ALPHA[:, None]) * GREY, atol=3e-3)


def test_light_wraps_around_the_edge(shot: Shot) -> None:
    shot.wall(5.0, 0.0, 1.0, 0.9)
    before = shot.row()
    shot.set(Light_Wrap=1.0, Wrap_Reach=12.0)
    gained = shot.row() - before
    assert gained[EDGE - 2].min() > 0.1 and np.all(np.diff(gained[12 : EDGE - 1, 1]) > -1e-4)
    assert np.abs(gained[:6]).max() < 0.02 and np.abs(gained[EDGE + 2 :]).max() < 2e-3, "inside the edge alone"


def test_grain_is_noise_on_the_actor(shot: Shot) -> None:
    shot.set(Grain=0.05)
    noise = [(shot.picture(frame) - PLAIN)[:, : EDGE - 2, 1] for frame in (1, 2)]
    assert noise[0].std() == pytest.approx(0.05 * np.sqrt(linear(COLOR[1])), rel=0.15)
    assert abs(noise[0].mean()) < 0.003
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1, "every frame has its own"
    assert np.allclose(shot.picture()[:, EDGE + 2 :], GREY, atol=2e-3), "the scene has its own grain"
    shot.set(Grain_Size=3.0)
    large = (shot.picture() - PLAIN)[:, : EDGE - 2, 1]

    def likeness(plane: Any) -> Any:
        return np.corrcoef(plane[:, :-1].ravel(), plane[:, 1:].ravel())[0, 1]

    assert likeness(large) > 0.5 > abs(likeness(noise[0])) + 0.3, "larger grains"
    assert large.std() == pytest.approx(noise[0].std(), rel=0.25), "about as strong"


def test_sliders_stay_when_frames_are_placed_again(shot: Shot, addon: AddonModules) -> None:
    shot.set(Light_Wrap=0.7, Spill_Color=(0.1, 0.2, 0.3, 1))
    again = addon.compositing.place_frames(
        shot.scene, get_armature("Nora"), addon.compositing.FrameSequence(shot.folder, "nora_####.exr", 2, 2)
    )
    assert again == shot.node and again.inputs["Light Wrap"].default_value == pytest.approx(0.7)
    assert not addon.compositing.is_outdated(shot.scene, get_armature("Nora"))
    shot.scene.view_settings.view_transform = "AgX"
    assert addon.compositing.is_outdated(shot.scene, get_armature("Nora")), "the panel says so"
    other = addon.compositing.place_frames(
        shot.scene, get_armature("Nora"), addon.compositing.FrameSequence(shot.folder, "nora_####.exr", 1, 2)
    )
    assert not addon.compositing.is_outdated(shot.scene, get_armature("Nora"))
    assert other.inputs["Light Wrap"].default_value == pytest.approx(0.7)
    assert tuple(other.inputs["Spill Color"].default_value)[:3] == pytest.approx((0.1, 0.2, 0.3))


def test_group_of_an_older_format_is_outdated_and_replaced_with_its_sliders_kept(
    shot: Shot, addon: AddonModules
) -> None:
    shot.set(Edge=0.25, Grain=0.1)
    old = shot.node.node_tree
    old[addon.merge_group.TAG_PROPERTY] = old[addon.merge_group.TAG_PROPERTY].replace(
        str(addon.merge_group.GROUP_VERSION), "1", 1
    )
    assert addon.compositing.is_outdated(shot.scene, get_armature("Nora"))
    node = addon.compositing.place_frames(
        shot.scene, get_armature("Nora"), addon.compositing.FrameSequence(shot.folder, "nora_####.exr", 1, 2)
    )
    assert node.node_tree != old and not addon.compositing.is_outdated(shot.scene, get_armature("Nora"))
    assert node.inputs["Edge"].default_value == pytest.approx(0.25)
    assert node.inputs["Grain"].default_value == pytest.approx(0.1)
