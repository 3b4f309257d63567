"""Match Scene: an imported actor sets the scene's camera, size, rate and range only where that overwrites nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import bpy
import pytest
import small_actor
from addon_modules import AddonModules

OPS = bpy.ops.portrait_actor
FOOTAGE = (320, 240, 25.0, small_actor.FRAMES)  # of the actor that small_actor writes


def settings_of(scene: bpy.types.Scene) -> tuple[int, int, float, int]:
    """Picture width and height, frames per second and last frame."""
    render = scene.render
    return render.resolution_x, render.resolution_y, render.fps / render.fps_base, scene.frame_end


def is_matched(scene: bpy.types.Scene, name: str = "Nora") -> bool:
    """Whether all is the footage's (True) or nothing is (False), a missing camera aside."""
    matched = settings_of(scene) == FOOTAGE
    assert matched == (scene.camera == bpy.data.objects[name].portrait_actor.camera)
    return matched


def add_camera() -> None:
    bpy.ops.object.camera_add()
    bpy.context.scene.camera = bpy.context.object


def change_camera(name: str, value: object) -> Callable[[], None]:
    def change() -> None:
        camera = bpy.context.scene.camera
        setattr(camera.data if hasattr(camera.data, name) else camera, name, value)

    return change


def change_scene(name: str, value: object) -> Callable[[], None]:
    def change() -> None:
        scene = bpy.context.scene
        setattr(scene if hasattr(scene, name) else scene.render, name, value)

    return change


SET_UP = {
    "another camera": add_camera,
    "the camera was moved": change_camera("location", (7.36, -6.93, 5.5)),
    "the camera was turned": change_camera("rotation_euler", (1.2, 0.0, 0.814928)),
    "another lens": change_camera("lens", 35.0),
    "an orthographic camera": change_camera("type", "ORTHO"),
    "a keyed camera": lambda: bpy.context.scene.camera.keyframe_insert("location", frame=1),
    "a keyed lens": lambda: bpy.context.scene.camera.data.keyframe_insert("lens", frame=1),
    "a camera that looks at something": lambda: bpy.context.scene.camera.constraints.new("TRACK_TO"),
    "another width": change_scene("resolution_x", 2048),
    "another percentage": change_scene("resolution_percentage", 50),
    "another rate": change_scene("fps", 30),
    "another rate's base": change_scene("fps_base", 1.001),
    "another first frame": change_scene("frame_start", 1001),
    "another last frame": change_scene("frame_end", 300),
}


def test_the_start_up_scene_takes_the_footages_settings(actor_folder: Path) -> None:
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    scene = bpy.context.scene
    assert scene.camera is not None and scene.portrait_actor.match_scene
    OPS.import_actor(directory=str(actor_folder))
    assert is_matched(scene)


def test_a_scene_without_a_camera_takes_the_footages_settings(actor_folder: Path) -> None:
    assert bpy.context.scene.portrait_actor.match_scene
    OPS.import_actor(directory=str(actor_folder))
    assert is_matched(bpy.context.scene)


@pytest.mark.parametrize("what", SET_UP)
def test_a_scene_that_is_set_up_keeps_its_camera_and_settings(actor_folder: Path, what: Any) -> None:
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    SET_UP[what]()
    scene = bpy.context.scene
    camera, before = scene.camera, settings_of(scene)
    assert not scene.portrait_actor.match_scene, "the sidebar shows what will be done"
    OPS.import_actor(directory=str(actor_folder))
    assert scene.camera == camera and settings_of(scene) == before


def test_a_second_actor_leaves_the_scene_to_the_first(actor_folder: Path) -> None:
    scene = bpy.context.scene
    OPS.import_actor(directory=str(actor_folder))
    scene.frame_end = 500
    OPS.import_actor(directory=str(actor_folder))
    assert scene.camera == bpy.data.objects["Nora"].portrait_actor.camera and scene.frame_end == 500


def test_an_actor_whose_camera_was_deleted_still_keeps_the_scene(actor_folder: Path) -> None:
    scene = bpy.context.scene
    OPS.import_actor(directory=str(actor_folder), match_scene=False)
    bpy.data.objects.remove(bpy.data.objects["Nora"].portrait_actor.camera)
    OPS.import_actor(directory=str(actor_folder))
    assert settings_of(scene) == (1920, 1080, 24.0, 250)


@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize("is_set_up", [True, False])
def test_what_a_script_says_wins_over_the_scene(actor_folder: Path, is_set_up: bool, chosen: bool) -> None:
    if is_set_up:
        add_camera()
    else:
        bpy.ops.wm.read_homefile(use_factory_startup=True)
    OPS.import_actor(directory=str(actor_folder), match_scene=chosen)
    assert is_matched(bpy.context.scene) == chosen


def test_a_choice_in_the_sidebar_is_for_the_next_actor_only(addon: AddonModules) -> None:
    """In a scene that is set up: ticked, it stays ticked until an actor comes in."""
    add_camera()
    form = bpy.context.scene.portrait_actor
    form.match_scene = True
    assert form.match_scene and form.match_choice == "ON"
    form.match_scene = False
    assert form.match_choice == "AUTO", "what is expected anyway is no choice"


@pytest.mark.parametrize("chosen", ["AUTO", "ON", "OFF"])
@pytest.mark.parametrize("is_set_up", [True, False])
def test_create_actor_imports_as_the_sidebar_says(
    installed: Callable[[str], ModuleType],
    addon: AddonModules,
    actor_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_set_up: bool,
    chosen: str,
) -> None:
    """The scene is set up while the job runs, after the button was pressed; only a choice matters more."""
    finishes = []
    create = installed("addon.operators.create_actor")
    monkeypatch.setattr(addon.job, "start_job", lambda request: finishes.append(request.finish))
    form = bpy.context.scene.portrait_actor
    form.video = str(actor_folder / "audio.wav")  # any file
    form.folder, form.consent_who, form.consent_given = str(actor_folder), "nobody", True
    form.match_choice = chosen
    create.PORTRAIT_ACTOR_OT_create_actor.invoke(Pressed(create), bpy.context, None)
    if is_set_up:
        add_camera()
    said = finishes[0]({})
    matched = chosen == "ON" or (chosen == "AUTO" and not is_set_up)
    assert (settings_of(bpy.context.scene) == FOOTAGE) == matched
    assert ("Match Scene" in said) != matched, "the report names what was not done, and how to do it"
    assert form.match_choice == "AUTO", "the choice was about this actor"


class Pressed:
    """Stands for Create Actor when its button is pressed with nothing set: without a window Blender invokes nothing."""

    match_scene = False

    def __init__(self, create: ModuleType) -> None:
        self.properties = SimpleNamespace(is_property_set=lambda name: name in vars(self))
        self.execute = lambda context: create.PORTRAIT_ACTOR_OT_create_actor.run(self, context)
        self.watch_job = lambda started: {"FINISHED"}


@pytest.mark.parametrize(
    ("option", "is_set_up", "matched"),
    [([], False, True), ([], True, False), (["--match-scene"], True, True), (["--no-match-scene"], False, False)],
)
def test_the_command_line_matches_where_it_overwrites_nothing(
    addon: AddonModules, actor_folder: Path, option: Any, is_set_up: bool, matched: bool
) -> None:
    if is_set_up:
        add_camera()
    assert addon.cli.main(["import", str(actor_folder), *option]) == 0
    assert (settings_of(bpy.context.scene) == FOOTAGE) == matched
