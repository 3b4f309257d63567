"""The armature: root → torso → head. Its space is actor space in Blender's axes, so rest is the footage's rest pose."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector

from ..contract import channels
from .conventions import to_blender

ROOT, TORSO, HEAD = channels.RIGID_BONES

# A bone's angles tilt first, then nod, then turn, so that each curve is one gesture; a head never nods as far as ±90°,
# where they would not be.
ROTATION_ORDER = "ZXY"

# Joints in actor space (metres; origin between the outer eye corners, which are 0.09 m apart), from the proportions of
# an adult: the neck's middle lies about a face's height below the eyes and behind them, as the cervical spine does.
# All bones stand upright, so their own axes are the actor's: x nods, y turns, z tilts.
NECK = (0.0, -0.11, -0.07)
CROWN = (0.0, 0.12, -0.07)
CHEST = (0.0, -0.42, -0.07)
TORSO_BASE = (0.0, -0.52, -0.07)
NOSE = (0.0, -0.03, 0.06)  # a little before its tip
FACE_FRONT = Vector(np.subtract(NOSE, NECK).tolist())  # from the head bone's joint, in the bone's own axes


def create_armature(name: str, collection: bpy.types.Collection, view_layer: bpy.types.ViewLayer) -> bpy.types.Object:
    """A new armature object in `collection`, at rest, bones drawn in front of the face; selected and active."""
    data = bpy.data.armatures.new(name)
    rig = bpy.data.objects.new(name, data)
    collection.objects.link(rig)
    for other in view_layer.objects:
        other.select_set(False)
    view_layer.objects.active = rig
    rig.select_set(True)
    _set_mode(rig, "EDIT")  # the only way to add bones
    parent = None
    for bone, head, tail in ((ROOT, TORSO_BASE, CHEST), (TORSO, CHEST, NECK), (HEAD, NECK, CROWN)):
        edit = data.edit_bones.new(bone)
        edit.head, edit.tail = Vector(to_blender(head)), Vector(to_blender(tail))
        edit.parent = parent
        parent = edit
    data.edit_bones[ROOT].use_deform = False
    _set_mode(rig, "OBJECT")
    for bone in rig.pose.bones:
        bone.rotation_mode = ROTATION_ORDER
    rig.show_in_front = True
    data.display_type = "STICK"
    return rig


def _set_mode(rig: bpy.types.Object, mode: str) -> None:
    """Blender without a window knows no active object once it has opened a file, so it is named."""
    with bpy.context.temp_override(active_object=rig, object=rig):
        bpy.ops.object.mode_set(mode=mode)
