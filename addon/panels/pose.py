"""The panels that pose and key: head and torso, oral and facial channels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import bpy

from .. import rna
from ..contract import channels
from ..operators import channels as channel_operators
from ..scene import rig, scene_actor, visemes
from ..translations import iface_, n_
from .panel_base import ActorPanel, draw_wrapped_text

if TYPE_CHECKING:
    from ..properties import ChannelRange

CLOSED_GROUPS = frozenset({"Tongue", "Cheeks", "Nose"})  # groups of channels that are folded at first
SLIDER_SHARE = 0.72  # of the sidebar's width; the rest shows the channel's range
VISEME_COLUMNS = 6
# Icon of each button over the sliders.
TOOL_ICONS: tuple[tuple[str, Any], ...] = (("reset", "LOOP_BACK"), ("mirror", "MOD_MIRROR"), ("key", "KEY_HLT"))
BONE_LABELS = {rig.HEAD: n_("Head"), rig.TORSO: n_("Torso"), rig.ROOT: n_("Root")}


class PORTRAIT_ACTOR_PT_pose(ActorPanel, bpy.types.Panel):
    bl_label = "Head & Torso"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        """Draw rotation and location of each bone."""
        layout, actor = rna.get_layout(self), scene_actor.require_actor(context)
        layout.use_property_split = True
        for name, label in BONE_LABELS.items():
            bone = rna.get_pose_bones(actor.armature).get(name)
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
    """Base of the panels with channel sliders.

    Each slider has the range that the footage showed beside it: what it never showed is dimmed, and a value beyond the
    range is red.
    """

    channel_names: tuple[str, ...] = ()
    channel_group = "ALL"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the sliders by group, or those that match the search."""
        layout, actor = rna.get_layout(self), scene_actor.require_actor(context)
        keys = rna.get_shape_keys(actor.face)
        if keys is None:
            layout.label(text=iface_("{} has lost its channels").format(actor.face.name), icon="ERROR")
            return
        _draw_link_hint(layout, actor)
        settings = rna.get_scene_settings(rna.get_scene(context))
        search = settings.channel_search.strip()
        tools = layout.row(align=True)
        tools.prop(settings, "channel_search", text="", icon="VIEWZOOM")
        for name, icon in TOOL_ICONS:
            button: Any = tools.operator(f"portrait_actor.{name}_channels", text="", icon=icon)
            button.part, button.search = self.channel_group, search
        if search:
            matching = channel_operators.filter_channels(self.channel_group, search)
            _draw_channels(layout.column(align=True), actor, matching)
            if not matching:
                layout.label(text=iface_("No channel name contains “{}”").format(search), icon="INFO")
            return
        for group, members in channels.CHANNEL_GROUPS.items():
            if members[0] not in self.channel_names:
                continue
            header, body = layout.panel(f"portrait_actor_{group}", default_closed=group in CLOSED_GROUPS)
            header.label(text=iface_(group), translate=False)
            if body is not None:
                _draw_channels(body.column(align=True), actor, members)


def _draw_link_hint(layout: bpy.types.UILayout, actor: scene_actor.SceneActor) -> None:
    """Draw why the channels of a linked actor cannot be keyed, and what helps."""
    linked = actor.linked_datablock
    if linked is None:
        return
    box = layout.box()
    draw_wrapped_text(box, iface_("{} is linked from another file.").format(linked.name), "LINKED")
    if actor.face.override_library:
        box.operator("portrait_actor.override_channels")
    else:
        draw_wrapped_text(box, iface_("Make a Library Override of it to key it here."))


def _draw_channels(column: bpy.types.UILayout, actor: scene_actor.SceneActor, names: Iterable[str]) -> None:
    key_blocks = rna.require_shape_keys(actor.face).key_blocks
    ranges = rna.get_actor_settings(actor.armature).channels
    for name in names:
        shape_key = key_blocks.get(name)
        if shape_key is not None:
            _draw_channel(column.row(align=True), shape_key, ranges.get(name))


def _draw_channel(row: bpy.types.UILayout, shape_key: bpy.types.ShapeKey, channel_range: ChannelRange | None) -> None:
    is_exceeded = channel_range is not None and channel_range.is_exceeded_by(shape_key.value)
    row.active = channel_range is not None and channel_range.measured
    row.alert = is_exceeded
    parts = row.split(factor=SLIDER_SHARE, align=True)
    slider = parts.row(align=True)
    # The name is on the slider, where there is room for it.
    slider.prop(shape_key, "value", text=_channel_label(shape_key.name), translate=False, slider=True)
    slider.prop_decorator(shape_key, "value")
    if channel_range is not None:
        parts.label(text=channel_range.range_label(), icon="ERROR" if is_exceeded else "NONE", translate=False)


def _channel_label(channel: str) -> str:
    """Return e.g. ``Smile Left`` for ``mouthSmileLeft``. ARKit's names are not translated."""
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in channel).split()
    return " ".join(word.capitalize() for word in (words[1:] if len(words) > 1 else words))


class PORTRAIT_ACTOR_PT_oral(ChannelPanel, bpy.types.Panel):
    bl_label = "Oral Channels"
    bl_order = 3
    channel_names, channel_group = channels.ORAL_CHANNELS, "ORAL"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the buttons of the mouth shapes over the sliders."""
        grid = rna.get_layout(self).grid_flow(row_major=True, columns=VISEME_COLUMNS, align=True)
        for viseme in visemes.VISEMES:
            button: Any = grid.operator("portrait_actor.key_viseme", text=visemes.viseme_label(viseme))
            button.viseme = viseme
        super().draw(context)


class PORTRAIT_ACTOR_PT_facial(ChannelPanel, bpy.types.Panel):
    bl_label = "Facial Channels"
    bl_order = 4
    bl_options = {"DEFAULT_CLOSED"}
    channel_names, channel_group = channels.FACIAL_CHANNELS, "FACIAL"


CLASSES = (PORTRAIT_ACTOR_PT_pose, PORTRAIT_ACTOR_PT_oral, PORTRAIT_ACTOR_PT_facial)
