"""Operators on many channels at once: reset, mirror, key, and the mouth shapes of speech sounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import bpy

from .. import rna
from ..contract import channels
from ..scene import scene_actor, takes, visemes
from ..translations import rpt_, tip_
from ..translations.props import EnumProperty, FloatProperty, StringProperty
from .operator_base import ActorOperator, OperatorResult

CHANNEL_GROUP_ITEMS = (
    ("ALL", "All", "Every channel"),
    ("ORAL", "Oral", "Jaw, lips and tongue"),
    ("FACIAL", "Facial", "Eyes, brows, cheeks and nose"),
)
CHANNELS_BY_GROUP = {"ALL": channels.CHANNELS, "ORAL": channels.ORAL_CHANNELS, "FACIAL": channels.FACIAL_CHANNELS}
MAX_VISEME_VALUE = 1.2  # of a channel in a keyed mouth shape, whatever the strength; a larger value breaks the lips
VISEME_ITEMS = tuple((name, visemes.viseme_label(name), about) for name, (about, _) in visemes.VISEMES.items())


def filter_channels(group: str, search: str = "") -> tuple[str, ...]:
    """Return the group's channels whose names contain `search`, regardless of case and spaces."""
    wanted = search.replace(" ", "").lower()
    return tuple(name for name in CHANNELS_BY_GROUP[group] if wanted in name.lower())


class ChannelOperator(ActorOperator):
    """Base of the operators on the actor's channels."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Return whether there is an actor with channels."""
        if not super().poll(context):
            return False
        if rna.get_shape_keys(scene_actor.require_actor(context).face) is None:
            cls.poll_message_set(tip_("The face has lost its channels: undo the change, or import the actor again"))
            return False
        return True

    def find_key_blocks(self, context: bpy.types.Context, names: Iterable[str]) -> dict[str, bpy.types.ShapeKey]:
        """Return the actor's shape keys of these channels, without those that it has lost.

        Raises:
            UserError: the actor is linked from another file.
        """
        found = scene_actor.require_actor(context)
        found.check_editable()
        keys = rna.require_shape_keys(found.face).key_blocks
        return {name: keys[name] for name in names if name in keys}


def set_channels(
    context: bpy.types.Context,
    key_blocks: dict[str, bpy.types.ShapeKey],
    value_of: Callable[[str], float],
    *,
    should_key: bool,
) -> None:
    """Set channels, and key them at the current frame when asked to or when Auto Keying is on."""
    values = {name: value_of(name) for name in key_blocks}
    tools = rna.get_scene(context).tool_settings
    should_key = should_key or (tools is not None and tools.use_keyframe_insert_auto)
    for name, block in key_blocks.items():
        block.value = values[name]
        if should_key:
            block.keyframe_insert("value", group=takes.channel_group(name))


class ChannelListOperator(ChannelOperator):
    """Base of the operators on the channels that the sidebar lists."""

    part: EnumProperty(name="Channels", description="Group of channels", items=CHANNEL_GROUP_ITEMS)
    search: StringProperty(
        name="Search", description="Only channels whose names contain this text", options={"SKIP_SAVE"}
    )


class PORTRAIT_ACTOR_OT_reset_channels(ChannelListOperator, bpy.types.Operator):
    """Set the listed channels to 0"""

    bl_idname = "portrait_actor.reset_channels"
    bl_label = "Reset Channels"

    def run(self, context: bpy.types.Context) -> OperatorResult:
        set_channels(
            context,
            self.find_key_blocks(context, filter_channels(self.part, self.search)),
            lambda _: 0.0,
            should_key=False,
        )
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_mirror_channels(ChannelListOperator, bpy.types.Operator):
    """Swap left and right of the listed channels"""

    bl_idname = "portrait_actor.mirror_channels"
    bl_label = "Mirror Channels"

    def run(self, context: bpy.types.Context) -> OperatorResult:
        listed = filter_channels(self.part, self.search)
        blocks = self.find_key_blocks(context, dict.fromkeys((*listed, *map(channels.mirror_channel, listed))))
        set_channels(
            context,
            blocks,
            lambda name: blocks.get(channels.mirror_channel(name), blocks[name]).value,
            should_key=False,
        )
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_key_channels(ChannelListOperator, bpy.types.Operator):
    """Key the listed channels at the current frame with their present values"""

    bl_idname = "portrait_actor.key_channels"
    bl_label = "Key Channels"

    def run(self, context: bpy.types.Context) -> OperatorResult:
        blocks = self.find_key_blocks(context, filter_channels(self.part, self.search))
        set_channels(context, blocks, lambda name: blocks[name].value, should_key=True)
        text = rpt_("{} channels are keyed at frame {}.")
        self.report({"INFO"}, text.format(len(blocks), rna.get_scene(context).frame_current))
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_key_viseme(ChannelOperator, bpy.types.Operator):
    """Key the mouth shape of a speech sound at the current frame"""

    bl_idname = "portrait_actor.key_viseme"
    bl_label = "Key Viseme"

    viseme: EnumProperty(name="Sound", description="The speech sound whose mouth shape is keyed", items=VISEME_ITEMS)
    strength: FloatProperty(
        name="Strength",
        description="Strength of the mouth shape",
        default=1.0,
        min=0,
        soft_max=1.5,
        max=2,
        subtype="FACTOR",
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """Return the tooltip, which names the sound."""
        viseme: str = properties.viseme  # type: ignore[attr-defined]
        return tip_("Key the mouth for {}").format(tip_(visemes.VISEMES[viseme][0]))

    def run(self, context: bpy.types.Context) -> OperatorResult:
        shape = visemes.viseme_channels(self.viseme, self.strength)
        set_channels(
            context,
            self.find_key_blocks(context, shape),
            lambda name: min(shape[name], MAX_VISEME_VALUE),
            should_key=True,
        )
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_override_channels(ActorOperator, bpy.types.Operator):
    """Let the channels of an overridden actor be keyed here: its mesh is overridden too, its takes are copied"""

    bl_idname = "portrait_actor.override_channels"
    bl_label = "Make Channels Editable"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        found = scene_actor.find_actor(context)
        if found is None or found.linked_datablock is None or found.face.override_library is None:
            cls.poll_message_set(tip_("The actor is not a library override with linked channels"))
            return False
        return True

    def run(self, context: bpy.types.Context) -> OperatorResult:
        scene_actor.require_actor(context).make_editable()
        return {"FINISHED"}


CLASSES = (
    PORTRAIT_ACTOR_OT_override_channels,
    PORTRAIT_ACTOR_OT_reset_channels,
    PORTRAIT_ACTOR_OT_mirror_channels,
    PORTRAIT_ACTOR_OT_key_channels,
    PORTRAIT_ACTOR_OT_key_viseme,
)
