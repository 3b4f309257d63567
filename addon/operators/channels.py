"""What an animator does to many channels at once: reset, mirror, key, and the mouth shapes of speech sounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import bpy

from ..contract import channels
from ..scene import scene_actor, visemes
from ..translations import rpt_, tip_
from ..translations.props import EnumProperty, FloatProperty, StringProperty
from .operator_base import ActorVerb

PARTS = (
    ("ALL", "All", "Every channel"),
    ("ORAL", "Oral", "Jaw, lips and tongue"),
    ("FACIAL", "Facial", "Eyes, brows, cheeks and nose"),
)
NAMES = {"ALL": channels.CHANNELS, "ORAL": channels.ORAL, "FACIAL": channels.FACIAL}
SOUNDS = tuple((name, visemes.label(name), about) for name, (about, _) in visemes.VISEMES.items())


def named(part: str, search: str = "") -> tuple[str, ...]:
    """The channels of a part whose names have `search` in them; case and spaces do not count."""
    wanted = search.replace(" ", "").lower()
    return tuple(name for name in NAMES[part] if wanted in name.lower())


class ChannelVerb(ActorVerb):
    """Base of the operators on the actor's channels."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if scene_actor.require(context).face.data.shape_keys is None:
            cls.poll_message_set(tip_("The face has lost its channels: undo the change, or import the actor again"))
            return False
        return True

    def blocks(self, context: bpy.types.Context, names: Iterable[str]) -> dict[str, bpy.types.ShapeKey]:
        """The actor's shape keys of these channels, those that it has lost left out.

        Raises:
            UserError: the actor is linked from another file.
        """
        found = scene_actor.require(context)
        found.check_editable()
        keys = found.face.data.shape_keys.key_blocks
        return {name: keys[name] for name in names if name in keys}


def change(
    context: bpy.types.Context, blocks: dict[str, bpy.types.ShapeKey], value: Callable[[str], float], *, key: bool
) -> None:
    """Sets channels, and keys them at the current frame when asked to or when Blender keys by itself."""
    values = {name: value(name) for name in blocks}
    key = key or context.scene.tool_settings.use_keyframe_insert_auto
    for name, block in blocks.items():
        block.value = values[name]
        if key:
            block.keyframe_insert("value", group="Oral" if name in channels.ORAL else "Facial")


class ManyChannels(ChannelVerb):
    """Base of those that work on what the sidebar lists."""

    part: EnumProperty(name="Channels", description="Which channels are meant", items=PARTS)
    search: StringProperty(
        name="Search", description="Only channels whose names have this in them", options={"SKIP_SAVE"}
    )


class PORTRAIT_ACTOR_OT_reset_channels(ManyChannels, bpy.types.Operator):
    """Put the channels that are listed to rest"""

    bl_idname = "portrait_actor.reset_channels"
    bl_label = "Reset Channels"

    def act(self, context: bpy.types.Context) -> set[str]:
        change(context, self.blocks(context, named(self.part, self.search)), lambda _: 0.0, key=False)
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_mirror_channels(ManyChannels, bpy.types.Operator):
    """Swap left and right of the channels that are listed"""

    bl_idname = "portrait_actor.mirror_channels"
    bl_label = "Mirror Channels"

    def act(self, context: bpy.types.Context) -> set[str]:
        listed = named(self.part, self.search)
        blocks = self.blocks(context, dict.fromkeys((*listed, *map(channels.mirrored, listed))))
        change(context, blocks, lambda name: blocks.get(channels.mirrored(name), blocks[name]).value, key=False)
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_key_channels(ManyChannels, bpy.types.Operator):
    """Key the channels that are listed at the current frame as they are"""

    bl_idname = "portrait_actor.key_channels"
    bl_label = "Key Channels"

    def act(self, context: bpy.types.Context) -> set[str]:
        blocks = self.blocks(context, named(self.part, self.search))
        change(context, blocks, lambda name: blocks[name].value, key=True)
        told = rpt_("{} channels are keyed at frame {}.")
        self.report({"INFO"}, told.format(len(blocks), context.scene.frame_current))
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_key_viseme(ChannelVerb, bpy.types.Operator):
    """Key the mouth shape of a speech sound at the current frame"""

    bl_idname = "portrait_actor.key_viseme"
    bl_label = "Key Viseme"

    viseme: EnumProperty(name="Sound", description="The speech sound whose mouth shape is keyed", items=SOUNDS)
    strength: FloatProperty(
        name="Strength", description="How far the mouth goes", default=1.0, min=0, soft_max=1.5, max=2, subtype="FACTOR"
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        return tip_("Key the mouth for {}").format(tip_(visemes.VISEMES[properties.viseme][0]))

    def act(self, context: bpy.types.Context) -> set[str]:
        shape = visemes.shape_of(self.viseme, self.strength)
        change(context, self.blocks(context, shape), lambda name: min(shape[name], 1.2), key=True)
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_override_channels(ActorVerb, bpy.types.Operator):
    """Let the channels of an overridden actor be keyed here: its mesh is overridden too, its takes are copied"""

    bl_idname = "portrait_actor.override_channels"
    bl_label = "Make Channels Editable"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        found = scene_actor.find(context)
        if found is None or found.linked is None or found.face.override_library is None:
            cls.poll_message_set(tip_("The actor is no library override whose channels are linked"))
            return False
        return True

    def act(self, context: bpy.types.Context) -> set[str]:
        scene_actor.require(context).make_editable()
        return {"FINISHED"}


CLASSES = (
    PORTRAIT_ACTOR_OT_override_channels,
    PORTRAIT_ACTOR_OT_reset_channels,
    PORTRAIT_ACTOR_OT_mirror_channels,
    PORTRAIT_ACTOR_OT_key_channels,
    PORTRAIT_ACTOR_OT_key_viseme,
)
