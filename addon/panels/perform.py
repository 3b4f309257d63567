"""The panels that bring and arrange performances: Speak, Dub, Takes, Captures."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..operators import dub, speak
from ..scene import compat, scene_actor
from ..translations import iface_
from . import presets
from .panel_base import ActorPanel

STRENGTH_PROPERTIES = ("lips_strength", "brows_strength", "head_strength", "blink_strength")


class PORTRAIT_ACTOR_PT_speak(ActorPanel, bpy.types.Panel):
    bl_label = "Speak"
    bl_order = 5

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        presets.PORTRAIT_ACTOR_PT_speak_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene, line = self.layout, context.scene, context.scene.portrait_actor.line
        layout.use_property_split, layout.use_property_decorate = True, False
        if scene.sequence_editor is not None:
            strips = "strips" if hasattr(scene.sequence_editor, "strips") else "sequences"
            layout.prop_search(line, "strip", scene.sequence_editor, strips, icon="SEQUENCE")
        if not line.strip:
            layout.prop(line, "audio")
        for name in ("head", "blink", "into_take", "seed", "smoothing"):
            layout.prop(line, name)
        strengths = layout.column(align=True)
        strengths.label(text=iface_("Strength"))
        for name in STRENGTH_PROPERTIES:
            strengths.prop(line, name, slider=True)
        layout.prop(line, "use_style")
        if line.use_style:
            part = layout.column(align=True)
            part.prop(line, "style_start")
            part.prop(line, "style_end")
        why = speak.missing_input(scene.portrait_actor)
        if why:
            layout.label(text=iface_(why), icon="INFO")
        row = layout.row()
        row.enabled, row.scale_y = not why, 1.4
        if line.strip:
            text = iface_("Speak {}").format(line.strip)
        else:
            text = iface_("Speak from Frame {}").format(scene.frame_current)
        row.operator("portrait_actor.speak", icon="PLAY_SOUND", text=text, translate=False)


class PORTRAIT_ACTOR_PT_dub(ActorPanel, bpy.types.Panel):
    bl_label = "Dub the Footage"
    bl_order = 6
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait_actor
        line = settings.line
        layout.use_property_split, layout.use_property_decorate = True, False
        for name in ("dub_footage", "dub_start", "dub_film"):
            layout.prop(settings, name)
        said = line.strip or Path(line.audio).name
        why = dub.missing_input(settings)
        told = iface_(why) if why else iface_("Says {}, as set under Speak").format(said)
        layout.label(text=told, icon="INFO", translate=False)
        row = layout.row()
        row.enabled, row.scale_y = not why, 1.4
        row.operator("portrait_actor.dub", icon="RENDER_ANIMATION")


class PORTRAIT_ACTOR_PT_takes(ActorPanel, bpy.types.Panel):
    bl_label = "Takes"
    bl_order = 7
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, found = self.layout, scene_actor.find_actor(context)
        owners = ("FACE", iface_("Face"), found.face.data.shape_keys), ("HEAD", iface_("Head"), found.armature)
        for part, label, owner in owners:
            motion = owner.animation_data if owner is not None else None
            split = layout.split(factor=0.2)
            split.label(text=label, translate=False)
            row = split.row(align=True)
            if motion is None:
                row.label(text=iface_("No take"), icon="INFO")
                continue
            row.template_ID(motion, "action")
            row.operator("portrait_actor.push_take", text="", icon="NLA_PUSHDOWN").part = part
            if compat.HAS_SLOTTED_ACTIONS and motion.action is not None and motion.action_slot is None:
                layout.template_search(motion, "action_slot", motion, "action_suitable_slots")
        layout.operator("portrait_actor.push_take", icon="NLA_PUSHDOWN").part = "BOTH"


class PORTRAIT_ACTOR_PT_capture(ActorPanel, bpy.types.Panel):
    bl_label = "Captures"
    bl_order = 8
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        row = self.layout.row(align=True)
        row.operator("portrait_actor.import_capture", text="Import", icon="IMPORT")
        row.operator("portrait_actor.export_capture", text="Export", icon="EXPORT")
        self.layout.operator("portrait_actor.track_video", icon="TRACKING")


CLASSES = (PORTRAIT_ACTOR_PT_speak, PORTRAIT_ACTOR_PT_dub, PORTRAIT_ACTOR_PT_takes, PORTRAIT_ACTOR_PT_capture)
