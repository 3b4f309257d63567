"""The footage beside the live preview: the right frame, in the right place, through the matched camera alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
import small_actor
from addon_modules import AddonModules
from numpy.typing import NDArray
from support import wait_for_preview


@pytest.fixture
def compare(installed: Callable[[str], ModuleType]) -> Any:
    return installed("addon.preview.comparison")


@pytest.fixture
def footage(installed: Callable[[str], ModuleType]) -> Any:
    return installed("addon.scene.footage")


def pixels(*rows: Any) -> NDArray[Any]:
    return np.array(rows, np.uint8)


ACTOR = pixels([(200, 100, 0, 255), (200, 100, 0, 0), (200, 100, 0, 255), (10, 20, 30, 51)])
FOOTAGE = pixels([(100, 200, 50, 255), (100, 200, 50, 255), (0, 0, 0, 0), (10, 20, 30, 255)])


@pytest.mark.parametrize(
    ("mode", "amount", "expected"),
    [
        ("ONION", 0.0, ACTOR[0]),
        ("ONION", 1.0, [FOOTAGE[0, 0], FOOTAGE[0, 1], ACTOR[0, 2], FOOTAGE[0, 3]]),
        ("ONION", 0.5, [(150, 150, 25, 255), (100, 200, 50, 128), ACTOR[0, 2], (10, 20, 30, 153)]),
        ("WIPE", 0.0, ACTOR[0]),
        ("WIPE", 0.5, [FOOTAGE[0, 0], FOOTAGE[0, 1], (255, 255, 255, 255), ACTOR[0, 3]]),
        ("WIPE", 1.0, FOOTAGE[0]),
        ("DIFFERENCE", 1.0, [(100, 100, 50, 255), (100, 200, 50, 255), (200, 100, 0, 0), (8, 16, 24, 255)]),
        ("DIFFERENCE", 2.0, [(200, 200, 100, 255), (200, 255, 100, 255), (255, 200, 0, 0), (16, 32, 48, 255)]),
    ],
)
def test_what_is_made_of_both(compare: Any, mode: str, amount: float, expected: Any) -> None:
    both = compare.compare_images(mode, amount, ACTOR, FOOTAGE)
    assert both.dtype == np.uint8
    seen = np.array(expected)[:, 3] > 0
    assert both[0, :, 3].tolist() == np.array(expected)[:, 3].tolist()
    assert np.array_equal(both[0][seen], np.array(expected)[seen])


def still(folder: Path, index: int) -> NDArray[Any]:
    """(S, S, 3) a footage frame of the actor's folder, as Blender reads it."""
    image = bpy.data.images.load(str(folder / "frames" / f"{index:06d}.jpg"))
    values = np.array(image.pixels[:]).reshape(*reversed(image.size), 4)[::-1, :, :3] * 255
    bpy.data.images.remove(image)
    return values


def test_the_footage_s_frame_lies_over_the_actor(sam: SimpleNamespace, live: ModuleType, addon: AddonModules) -> None:
    """It is the frame of that moment, where the camera saw it; sharper and other frames fit worse."""
    scene = bpy.context.scene
    scene.portrait_actor.compare = "ONION"
    scene.frame_set(31)
    live.start_preview(bpy.context)
    picture = wait_for_preview(live)
    assert picture.footage_request == (30, False) and picture.footage.shape == picture.pixels.shape
    info = addon.contract.actor_folder.ActorFolder.open(sam.folder).info
    x, y, side = info.camera.crop
    scale = picture.pixels.shape[1] / info.camera.width
    rows, columns = np.mgrid[: picture.pixels.shape[0], : picture.pixels.shape[1]] + 0.5
    u, v = ((columns / scale - x) / side, (rows / scale - y) / side)
    inside = (u > 0.02) & (u < 0.98) & (v > 0.02) & (v < 0.98)
    assert picture.footage[inside][:, 3].min() == 255
    apart = {}
    for index in (24, 30, 36):
        frame = still(sam.folder, index)
        size = len(frame)
        expected = frame[(v[inside] * size).astype(int), (u[inside] * size).astype(int)]
        apart[index] = np.abs(expected - picture.footage[inside][:, :3]).mean()
    assert apart[30] < 2.5 and apart[30] == min(apart.values()) and min(apart[24], apart[36]) > 1.2 * apart[30]
    both = live.current_preview().compared_image(scene)
    assert both.frame == 31 and np.array_equal(both.pixels, live.current_preview().compared_image(scene).pixels)
    scene.portrait_actor.onion_opacity = 1.0
    assert np.array_equal(live.current_preview().compared_image(scene).pixels[inside], picture.footage[inside])
    scene.portrait_actor.compare = "OFF"
    assert live.current_preview().compared_image(scene) is picture


def test_the_difference_is_small_where_the_actor_is_right_and_black_around(
    sam: SimpleNamespace, live: ModuleType
) -> None:
    scene = bpy.context.scene
    scene.portrait_actor.compare, scene.portrait_actor.difference_gain = "DIFFERENCE", 1.0
    scene.frame_set(20)
    live.start_preview(bpy.context)
    picture = wait_for_preview(live)
    assert picture.footage_request == (19, True)
    solid = (picture.pixels[..., 3] > 250) & (picture.footage[..., 3] > 250)
    right = live.current_preview().compared_image(scene).pixels[solid][:, :3].mean()
    nothing = np.abs(picture.footage[solid][:, :3].astype(float)).mean()
    assert right < 0.35 * nothing, "the actor takes most of the footage's person away"
    scene.portrait_actor.compare = "WIPE"
    assert live.current_preview().compared_image(scene) is picture, (
        "the footage's person alone is not shown as the footage"
    )
    bpy.context.view_layer.update()
    assert live.current_preview().is_outdated, "another way to compare asks again"
    assert wait_for_preview(live).footage_request == (19, False)


def test_elsewhere_it_says_why_and_shows_the_actor(sam: SimpleNamespace, live: ModuleType) -> None:
    scene = bpy.context.scene
    matched = scene.camera
    scene.portrait_actor.compare = "ONION"
    live.start_preview(bpy.context)

    def told() -> str:
        bpy.context.view_layer.update()
        live.current_preview().is_outdated = True
        picture = wait_for_preview(live)
        off = scene.portrait_actor.compare == "OFF"
        assert (picture.footage is None) == (off or bool(live.current_preview().comparison_error))
        return live.current_preview().comparison_error

    assert told() == ""
    other = matched.copy()
    scene.collection.objects.link(other)
    other.location.x += 0.3
    scene.camera = other
    assert told() == f"The footage is seen through {matched.name} alone. Make it the scene's camera."
    scene.camera = matched
    place = matched.location.copy()
    matched.location.x += 0.05
    assert "has been moved" in told()
    matched.location = place
    assert told() == ""
    scene.camera.data.lens *= 0.8
    assert told() == "", "another lens at the same place shows the footage as well"
    scene.frame_set(99999)
    assert told().startswith("The footage shows nothing at frame 99999. It runs from 1 to")
    scene.portrait_actor.compare = "OFF"
    assert told() == ""


@pytest.mark.parametrize(
    ("fps", "start", "frame", "expected"),
    [(25, 1, 1, 0), (25, 1, 40, 39), (25, 11, 13, 2), (50, 1, 1, 0), (50, 1, 79, 39), (12.5, 1, 3, 4),
     (25, 11, 10, None), (25, 1, 41, None), (50, 1, 81, None)],
)  # fmt: skip
def test_which_footage_belongs_to_a_frame(
    nora: SimpleNamespace, addon: AddonModules, footage: Any, fps: float, start: int, frame: int, expected: int | None
) -> None:
    """Nora's footage: 40 frames at 25 a second."""
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 50, 50 / fps
    nora.armature.portrait_actor.footage_start = start
    info = addon.contract.actor_folder.ActorFolder.open(nora.folder).info
    scene.frame_set(frame)
    view = SimpleNamespace(views=[small_actor.make_camera().view()])
    if expected is not None:
        assert footage.find_footage_frame(scene, nora.armature, info, view) == expected
        return
    with pytest.raises(addon.contract.errors.UserError, match="The footage shows nothing") as error:
        footage.find_footage_frame(scene, nora.armature, info, view)
    assert error.value.code == "no_footage"


def test_a_lost_camera_is_told(nora: SimpleNamespace, addon: AddonModules, footage: Any) -> None:
    info = addon.contract.actor_folder.ActorFolder.open(nora.folder).info
    view = SimpleNamespace(views=[np.eye(4)])
    bpy.data.objects.remove(nora.armature.portrait_actor.camera)
    with pytest.raises(addon.contract.errors.UserError, match="is gone"):
        footage.find_footage_frame(bpy.context.scene, nora.armature, info, view)
