"""The armature: root → torso → head. Its space is actor space in Blender's axes, at rest the footage's rest pose."""

from __future__ import annotations

from typing import Literal

import bpy
import numpy as np
from mathutils import Vector

from .. import rna
from ..contract import channels
from .conventions import to_blender

ROOT, TORSO, HEAD = channels.RIGID_BONES

# A bone tilts first, then nods, then turns, so that each curve is one gesture. That holds up to a nod of ±90°, which no
# head reaches.
ROTATION_ORDER = "ZXY"

# Joints in actor space (metres; origin between the outer eye corners, which are 0.09 m apart), from the proportions of
# an adult: the neck's middle lies about a face's height below the eyes and behind them, as the cervical spine does.
# All bones stand upright, so their own axes are the actor's: x nods, y turns, z tilts.
NECK = (0.0, -0.11, -0.07)
CROWN = (0.0, 0.12, -0.07)
CHEST = (0.0, -0.42, -0.07)
TORSO_BASE = (0.0, -0.52, -0.07)
NOSE = (0.0, -0.03, 0.06)  # a little in front of its tip
BONES = ((ROOT, TORSO_BASE, CHEST), (TORSO, CHEST, NECK), (HEAD, NECK, CROWN))  # name, head and tail; parents first
FACE_FRONT = Vector(np.subtract(NOSE, NECK).tolist())  # from the head bone's joint, in the bone's own axes


def create_armature(name: str, collection: bpy.types.Collection, view_layer: bpy.types.ViewLayer) -> bpy.types.Object:
    """Return a new armature object in `collection`, at rest, selected and active, its bones drawn in front."""
    data = bpy.data.armatures.new(name)
    assert isinstance(data, bpy.types.Armature)
    rig = bpy.data.objects.new(name, data)
    collection.objects.link(rig)
    for other in view_layer.objects:
        other.select_set(False)
    view_layer.objects.active = rig
    rig.select_set(True)
    _set_mode(rig, "EDIT")  # the only way to add bones
    parent = None
    for bone, head, tail in BONES:
        edit = data.edit_bones.new(bone)
        edit.head, edit.tail = Vector(to_blender(head).tolist()), Vector(to_blender(tail).tolist())
        edit.parent = parent
        parent = edit
    data.edit_bones[ROOT].use_deform = False
    _set_mode(rig, "OBJECT")
    for pose_bone in rna.get_pose_bones(rig):
        pose_bone.rotation_mode = ROTATION_ORDER
    rig.show_in_front = True
    data.display_type = "STICK"
    return rig


def _set_mode(rig: bpy.types.Object, mode: Literal["OBJECT", "EDIT"]) -> None:
    """Set the mode, with the object given: without a window Blender has no active object after it opened a file."""
    with bpy.context.temp_override(active_object=rig, object=rig):
        bpy.ops.object.mode_set(mode=mode)
