"""The panels that pose and key: head and torso, oral and facial channels."""

from __future__ import annotations

import bpy

from ..contract import channels
from ..operators import channels as channel_verbs
from ..scene import rig, scene_actor, visemes
from ..translations import iface_, n_
from .panel_base import ActorPanel, draw_wrapped_text

BONE_LABELS = {rig.HEAD: n_("Head"), rig.TORSO: n_("Torso"), rig.ROOT: n_("Root")}


class PORTRAIT_ACTOR_PT_pose(ActorPanel, bpy.types.Panel):
    bl_label = "Head & Torso"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        layout, found = self.layout, scene_actor.find_actor(context)
        layout.use_property_split = True
        for name, label in BONE_LABELS.items():
            bone = found.armature.pose.bones.get(name)
            header, body = layout.panel(f"portrait_actor_{name}", default_closed=name != rig.HEAD)
            header.label(text=iface_(label), icon="BONE_DATA", translate=False)
            if bone is None or body is None:
                continue
            _draw_rotation(body.column(align=True), bone)
            body.column(align=True).prop(bone, "location")


def _draw_rotation(column: bpy.types.UILayout, bone: bpy.types.PoseBone) -> None:
    if bone.rotation_mode == "QUATERNION":
        column.prop(bone, "rotation_quaternion", text=iface_("Rotation"))
    elif bone.rotation_mode == "AXIS_ANGLE":
        column.prop(bone, "rotation_axis_angle", text=iface_("Rotation"))
    else:
        for axis, name in enumerate((iface_("Nod"), iface_("Turn"), iface_("Tilt"))):
            column.prop(bone, "rotation_euler", index=axis, text=name, translate=False)


class ChannelPanel(ActorPanel):
    """Sliders of channels, group by group, each with the range that the footage showed: what it never showed is dimmed,
    what goes beyond it is red."""

    channel_names: tuple[str, ...] = ()
    channel_group = "ALL"

    def draw(self, context: bpy.types.Context) -> None:
        layout, found = self.layout, scene_actor.find_actor(context)
        keys = found.face.data.shape_keys
        if keys is None:
            layout.label(text=iface_("{} has lost its channels").format(found.face.name), icon="ERROR")
            return
        if found.linked_datablock is not None:
            box = layout.box()
            draw_wrapped_text(
                box, iface_("{} is linked from another file.").format(found.linked_datablock.name), "LINKED"
            )
            if found.face.override_library:
                box.operator("portrait_actor.override_channels")
            else:
                draw_wrapped_text(box, iface_("Make a Library Override of it to key it here."))
        search = context.scene.portrait_actor.channel_search.strip()
        tools = layout.row(align=True)
        tools.prop(context.scene.portrait_actor, "channel_search", text="", icon="VIEWZOOM")
        for verb, icon in (("reset", "LOOP_BACK"), ("mirror", "MOD_MIRROR"), ("key", "KEY_HLT")):
            button = tools.operator(f"portrait_actor.{verb}_channels", text="", icon=icon)
            button.part, button.search = self.channel_group, search
        ranges = found.armature.portrait_actor.channels
        if search:
            column = layout.column(align=True)
            matching = channel_verbs.filter_channels(self.channel_group, search)
            for name in matching:
                _draw_channel(column.row(align=True), keys.key_blocks.get(name), ranges.get(name))
            if not matching:
                column.label(text=iface_("None has “{}” in its name").format(search), icon="INFO")
            return
        for group, members in channels.CHANNEL_GROUPS.items():
            if members[0] not in self.channel_names:
                continue
            header, body = layout.panel(f"portrait_actor_{group}", default_closed=group in {"Tongue", "Cheeks", "Nose"})
            header.label(text=iface_(group), translate=False)
            if body is None:
                continue
            column = body.column(align=True)
            for name in members:
                _draw_channel(column.row(align=True), keys.key_blocks.get(name), ranges.get(name))


def _draw_channel(
    row: bpy.types.UILayout, shape_key: bpy.types.ShapeKey | None, channel_range: bpy.types.PropertyGroup | None
) -> None:
    if shape_key is None:
        return
    beyond = channel_range is not None and channel_range.is_exceeded_by(shape_key.value)
    row.active = channel_range is not None and channel_range.measured
    row.alert = beyond
    parts = row.split(factor=0.72, align=True)
    slider = parts.row(align=True)
    slider.prop(
        shape_key, "value", text=_channel_label(shape_key.name), translate=False, slider=True
    )  # on it, where there is room
    slider.prop_decorator(shape_key, "value")
    if channel_range is not None:
        parts.label(text=channel_range.range_label(), icon="ERROR" if beyond else "NONE", translate=False)


def _channel_label(channel: str) -> str:
    """``mouthSmileLeft`` → ``Smile Left``: the group's heading says the rest. Not translated: it is ARKit's name."""
    words = "".join(f" {c}" if c.isupper() else c for c in channel).split()
    return " ".join(w.capitalize() for w in (words[1:] if len(words) > 1 else words))


class PORTRAIT_ACTOR_PT_oral(ChannelPanel, bpy.types.Panel):
    bl_label = "Oral Channels"
    bl_order = 3
    channel_names, channel_group = channels.ORAL_CHANNELS, "ORAL"

    def draw(self, context: bpy.types.Context) -> None:
        grid = self.layout.grid_flow(row_major=True, columns=6, align=True)
        for viseme in visemes.VISEMES:
            grid.operator("portrait_actor.key_viseme", text=visemes.viseme_label(viseme)).viseme = viseme
        super().draw(context)


class PORTRAIT_ACTOR_PT_facial(ChannelPanel, bpy.types.Panel):
    bl_label = "Facial Channels"
    bl_order = 4
    bl_options = {"DEFAULT_CLOSED"}
    channel_names, channel_group = channels.FACIAL_CHANNELS, "FACIAL"


CLASSES = (PORTRAIT_ACTOR_PT_pose, PORTRAIT_ACTOR_PT_oral, PORTRAIT_ACTOR_PT_facial)
