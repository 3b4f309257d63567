"""Runs inside the Blender whose window the manual shows: the desktop tests' driver, and what pictures need besides.

blender --python window_commands.py -- FOLDER
"""

from __future__ import annotations

import math
import sys
from typing import Any

import bpy
from mathutils import Euler, Vector

sys.path.insert(0, sys.argv[sys.argv.index("--") + 1])
import driver  # isort: skip  # answers questions from now on


def operate(name: str, **arguments: Any) -> list[str]:
    """Runs an operator in the first 3D view; the sidebar's buttons do the same."""
    with override_view_context():
        module, verb = name.split(".")
        return sorted(getattr(getattr(bpy.ops, module), verb)(**arguments))


def override_view_context() -> Any:
    """The context of the first 3D view."""
    window, area, _ = driver.find_sidebar()
    region = next(r for r in area.regions if r.type == "WINDOW")
    return bpy.context.temp_override(window=window, screen=window.screen, area=area, region=region)


def empty() -> None:
    """Takes away what a new file holds, and shows the footage's colours; views change at once, not gradually."""
    bpy.context.preferences.view.smooth_view = 0
    for thing in list(bpy.data.objects):
        bpy.data.objects.remove(thing)
    _, area, _ = driver.find_sidebar()
    area.spaces.active.shading.color_type = "VERTEX"


def view(frame: int, turn: float | None = None) -> None:
    """Shows a frame through the camera, or from `turn` degrees beside the actor's front."""
    bpy.context.scene.frame_set(frame)
    _, area, _ = driver.find_sidebar()
    seen = area.spaces.active.region_3d
    seen.view_perspective = "CAMERA" if turn is None else "PERSP"
    if turn is not None:
        seen.view_rotation = Euler((math.radians(86), 0, math.radians(turn))).to_quaternion()
        seen.view_location, seen.view_distance = Vector((0.06, 0.05, -0.2)), 0.7


def pose(bone: str) -> None:
    """Pose mode with one bone selected."""
    armature = bpy.context.scene.portrait_actor.actor
    with override_view_context():
        bpy.ops.object.select_all(action="DESELECT")
        bpy.context.view_layer.objects.active = armature
        armature.select_set(True)
        bpy.ops.object.mode_set(mode="POSE")
    armature.data.show_names = True
    bpy.context.scene.camera.hide_set(True)
    for each in armature.data.bones:
        each.select = each.name == bone
    armature.data.bones.active = armature.data.bones[bone]


def select_face() -> None:
    """Object mode with the face selected, so that editors show its channels."""
    armature = bpy.context.scene.portrait_actor.actor
    armature.data.show_names, face = False, armature.portrait_actor.face
    with override_view_context():
        bpy.ops.object.mode_set(mode="OBJECT")
        bpy.ops.object.select_all(action="DESELECT")
    face.select_set(True)
    bpy.context.view_layer.objects.active = face


def split(kind: str, share: float) -> None:
    """Gives the lower share of the 3D view to another editor."""
    window, area, _ = driver.find_sidebar()
    known = set(window.screen.areas)
    with override_view_context():
        bpy.ops.screen.area_split(direction="HORIZONTAL", factor=share)
    (new,) = set(window.screen.areas) - known
    min((area, new), key=lambda a: a.y).ui_type = kind


def find_editor(kind: str) -> bpy.types.Area:
    """The editor of that kind."""
    return next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.ui_type == kind)


def fit(kind: str, operator: str) -> None:
    """Lets an editor show everything, e.g. ``graph.view_all``."""
    window, area = bpy.context.window_manager.windows[0], find_editor(kind)
    region = next(r for r in area.regions if r.type == "WINDOW")
    module, verb = operator.split(".")
    with bpy.context.temp_override(window=window, screen=window.screen, area=area, region=region):
        getattr(getattr(bpy.ops, module), verb)()


def become(kind: str) -> None:
    """Makes the largest editor another one."""
    area = max(bpy.context.window_manager.windows[0].screen.areas, key=lambda a: a.width * a.height)
    area.ui_type = kind
    if kind == "CompositorNodeTree":
        area.spaces.active.show_region_ui = False


def curves(names: list[str]) -> None:
    """Shows these channels of the face in the Graph Editor, the first of them selected."""
    keys = bpy.context.scene.portrait_actor.actor.portrait_actor.face.data.shape_keys
    for curve in keys.animation_data.action.fcurves:
        name = curve.data_path.split('"')[1]
        curve.hide, curve.select = name not in names, name == names[0]
    area = find_editor("FCURVES")
    area.spaces.active.show_region_ui = False
    area.spaces.active.dopesheet.show_only_selected = True
    expand_channels(area)


def strips() -> None:
    """Turns the Graph Editor into the NLA Editor, with all tracks of the actor."""
    area = find_editor("FCURVES")
    area.ui_type = "NLA_EDITOR"
    area.spaces.active.show_region_ui = False
    area.spaces.active.dopesheet.show_only_selected = False
    expand_channels(area)


def expand_channels(area: bpy.types.Area) -> None:
    """Opens all that is folded in an editor's list of channels."""
    window = bpy.context.window_manager.windows[0]
    region = next(r for r in area.regions if r.type == "CHANNELS")
    with bpy.context.temp_override(window=window, screen=window.screen, area=area, region=region):
        for _ in range(3):
            bpy.ops.anim.channels_expand(all=True)


driver.COMMANDS |= {
    f.__name__: f for f in (operate, empty, view, pose, select_face, split, fit, become, curves, strips)
}
