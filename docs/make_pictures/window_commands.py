"""Runs inside the Blender whose window the manual shows: adds commands to the desktop tests' driver.

blender --python window_commands.py -- FOLDER
"""

from __future__ import annotations

import math
import sys
from typing import Any

import bpy
from mathutils import Euler, Vector

sys.path.insert(0, sys.argv[sys.argv.index("--") + 1])
import driver  # isort: skip  # from now on it answers questions

context: Any = bpy.context  # the type stubs make every member optional


def operate(name: str, **arguments: Any) -> list[str]:
    """Run an operator in the first 3D view, as the sidebar's buttons do, and return its result."""
    with override_view_context():
        module, operator = name.split(".")
        return sorted(getattr(getattr(bpy.ops, module), operator)(**arguments))


def override_view_context() -> Any:
    """Override the context by the first 3D view."""
    window, area, _ = driver.find_sidebar()
    region = next(r for r in area.regions if r.type == "WINDOW")
    return context.temp_override(window=window, screen=window.screen, area=area, region=region)


def empty() -> None:
    """Empty a new file and show the footage's colors; views change at once, not gradually."""
    context.preferences.view.smooth_view = 0
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)
    area: Any = driver.find_sidebar()[1]
    area.spaces.active.shading.color_type = "VERTEX"


def view(frame: int, turn: float | None = None) -> None:
    """Show a frame through the camera, or from `turn` degrees beside the actor's front."""
    context.scene.frame_set(frame)
    area: Any = driver.find_sidebar()[1]
    region = area.spaces.active.region_3d
    region.view_perspective = "CAMERA" if turn is None else "PERSP"
    if turn is not None:
        region.view_rotation = Euler((math.radians(86), 0, math.radians(turn))).to_quaternion()
        region.view_location, region.view_distance = Vector((0.06, 0.05, -0.2)), 0.7


def pose(bone: str) -> None:
    """Enter pose mode with one bone selected."""
    armature = context.scene.portrait_actor.actor
    with override_view_context():
        bpy.ops.object.select_all(action="DESELECT")
        context.view_layer.objects.active = armature
        armature.select_set(True)
        bpy.ops.object.mode_set(mode="POSE")
    armature.data.show_names = True
    context.scene.camera.hide_set(True)
    for data_bone in armature.data.bones:
        data_bone.select = data_bone.name == bone
    armature.data.bones.active = armature.data.bones[bone]


def select_face() -> None:
    """Enter object mode with the face selected, so that editors show its channels."""
    armature = context.scene.portrait_actor.actor
    armature.data.show_names, face = False, armature.portrait_actor.face
    with override_view_context():
        bpy.ops.object.mode_set(mode="OBJECT")
        bpy.ops.object.select_all(action="DESELECT")
    face.select_set(True)
    context.view_layer.objects.active = face


def split(kind: str, share: float) -> None:
    """Give the lower `share` of the 3D view to another editor."""
    window, area, _ = driver.find_sidebar()
    previous = set(window.screen.areas)
    with override_view_context():
        bpy.ops.screen.area_split(direction="HORIZONTAL", factor=share)
    (new,) = set(window.screen.areas) - previous
    min((area, new), key=lambda a: a.y).ui_type = kind


def find_editor(kind: str) -> Any:
    """The editor of this kind."""
    return next(a for a in context.window_manager.windows[0].screen.areas if a.ui_type == kind)


def fit(kind: str, operator: str) -> None:
    """Frame everything in an editor by its operator, e.g. ``graph.view_all``."""
    window, area = context.window_manager.windows[0], find_editor(kind)
    region = next(r for r in area.regions if r.type == "WINDOW")
    module, name = operator.split(".")
    with context.temp_override(window=window, screen=window.screen, area=area, region=region):
        getattr(getattr(bpy.ops, module), name)()


def become(kind: str) -> None:
    """Turn the largest editor into another kind."""
    area = max(context.window_manager.windows[0].screen.areas, key=lambda a: a.width * a.height)
    area.ui_type = kind
    if kind == "CompositorNodeTree":
        area.spaces.active.show_region_ui = False


def curves(names: list[str]) -> None:
    """Show these channels of the face in the Graph Editor, the first of them selected."""
    keys = context.scene.portrait_actor.actor.portrait_actor.face.data.shape_keys
    for curve in keys.animation_data.action.fcurves:
        name = curve.data_path.split('"')[1]
        curve.hide, curve.select = name not in names, name == names[0]
    area = find_editor("FCURVES")
    area.spaces.active.show_region_ui = False
    area.spaces.active.dopesheet.show_only_selected = True
    expand_channels(area)


def strips() -> None:
    """Turn the Graph Editor into the NLA Editor, with all tracks of the actor."""
    area = find_editor("FCURVES")
    area.ui_type = "NLA_EDITOR"
    area.spaces.active.show_region_ui = False
    area.spaces.active.dopesheet.show_only_selected = False
    expand_channels(area)


def expand_channels(area: Any) -> None:
    """Expand all groups in an editor's list of channels."""
    window = context.window_manager.windows[0]
    region = next(r for r in area.regions if r.type == "CHANNELS")
    with context.temp_override(window=window, screen=window.screen, area=area, region=region):
        for _ in range(3):
            bpy.ops.anim.channels_expand(all=True)


COMMANDS: tuple[Any, ...] = (operate, empty, view, pose, select_face, split, fit, become, curves, strips)
driver.COMMANDS |= {command.__name__: command for command in COMMANDS}
