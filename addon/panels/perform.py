"""The panels that bring and arrange performances: Speak, Dub, Takes, Captures."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..properties import LINE, MOUTH
from ..scene import actor as scene_actor
from ..scene import versions
from .common import ActorPanel, fill

STRENGTHS = ("lips_strength", "brows_strength", "head_strength", "blink_strength")


class PORTRAIT_ACTOR_PT_speak(ActorPanel, bpy.types.Panel):
    bl_label = "Speak"
    bl_order = 5

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
        strengths = layout.column(heading="Strength", align=True)
        for name in STRENGTHS:
            strengths.prop(line, name, slider=True)
        layout.prop(line, "use_style")
        if line.use_style:
            part = layout.column(align=True)
            part.prop(line, "style_start")
            part.prop(line, "style_end")
        row = layout.row()
        row.enabled, row.scale_y = bool(line.audio or line.strip), 1.4
        text = f"Speak {line.strip}" if line.strip else f"Speak from Frame {scene.frame_current}"
        button = row.operator("portrait_actor.speak", icon="PLAY_SOUND", text=text)
        fill(button, line, LINE)
        button.frame_start = scene.frame_current
        if not row.enabled:
            layout.label(text="Choose a sound", icon="INFO")


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
        layout.label(text=f"Says {said}, as set under Speak" if said else "Choose a sound under Speak", icon="INFO")
        row = layout.row()
        row.enabled, row.scale_y = bool(said and settings.dub_film), 1.4
        button = row.operator("portrait_actor.dub", icon="RENDER_ANIMATION")
        fill(button, line, MOUTH)
        button.footage, button.start, button.film = settings.dub_footage, settings.dub_start, settings.dub_film


class PORTRAIT_ACTOR_PT_takes(ActorPanel, bpy.types.Panel):
    bl_label = "Takes"
    bl_order = 7
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, found = self.layout, scene_actor.find(context)
        for part, label, owner in (("FACE", "Face", found.face.data.shape_keys), ("HEAD", "Head", found.armature)):
            motion = owner.animation_data if owner is not None else None
            split = layout.split(factor=0.2)
            split.label(text=label)
            row = split.row(align=True)
            if motion is None:
                row.label(text="No take", icon="INFO")
                continue
            row.template_ID(motion, "action")
            push = row.row(align=True)
            push.enabled = motion.action is not None
            push.operator("portrait_actor.push_take", text="", icon="NLA_PUSHDOWN").part = part
            if versions.SLOTTED_ACTIONS and motion.action is not None and motion.action_slot is None:
                layout.template_search(motion, "action_slot", motion, "action_suitable_slots")
        layout.operator("portrait_actor.push_take", icon="NLA_PUSHDOWN").part = "BOTH"


class PORTRAIT_ACTOR_PT_capture(ActorPanel, bpy.types.Panel):
    bl_label = "Captures"
    bl_order = 8
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        row = self.layout.row(align=True)
        button = row.operator("portrait_actor.import_capture", text="Import", icon="IMPORT")
        button.frame_start = context.scene.frame_current
        row.operator("portrait_actor.export_capture", text="Export", icon="EXPORT")
        driven = self.layout.operator("portrait_actor.track_video", icon="TRACKING")
        driven.frame_start = context.scene.frame_current


CLASSES = (PORTRAIT_ACTOR_PT_speak, PORTRAIT_ACTOR_PT_dub, PORTRAIT_ACTOR_PT_takes, PORTRAIT_ACTOR_PT_capture)
