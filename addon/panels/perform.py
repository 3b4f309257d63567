"""The panels that create and arrange performances: Speak, Dub, Takes, Captures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from .. import rna
from ..operators import dub, speak
from ..scene import compat, scene_actor
from ..translations import iface_
from . import presets
from .panel_base import ActorPanel, draw_main_button

TAKE_LABEL_SHARE = 0.2  # of the sidebar's width, for the word before a take
STRENGTH_PROPERTIES = ("lips_strength", "brows_strength", "head_strength", "blink_strength")


class PORTRAIT_ACTOR_PT_speak(ActorPanel, bpy.types.Panel):
    bl_label = "Speak"
    bl_order = 5

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        """Draw the menu of presets."""
        presets.PORTRAIT_ACTOR_PT_speak_presets.draw_panel_header(rna.get_layout(self))

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the form of the line, and the button."""
        layout, scene = rna.get_layout(self), rna.get_scene(context)
        settings = rna.get_scene_settings(scene)
        line = settings.line
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
        problem = speak.missing_input(settings)
        if line.strip:
            text = iface_("Speak {}").format(line.strip)
        else:
            text = iface_("Speak from Frame {}").format(scene.frame_current)
        button = {"icon": "PLAY_SOUND", "text": text, "translate": False}
        draw_main_button(layout, "portrait_actor.speak", iface_(problem) if problem else "", **button)


class PORTRAIT_ACTOR_PT_dub(ActorPanel, bpy.types.Panel):
    bl_label = "Dub the Footage"
    bl_order = 6
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the form of the film, and the button."""
        layout, settings = rna.get_layout(self), rna.get_scene_settings(rna.get_scene(context))
        line = settings.line
        layout.use_property_split, layout.use_property_decorate = True, False
        for name in ("dub_footage", "dub_start", "dub_film"):
            layout.prop(settings, name)
        problem = dub.missing_input(settings)
        if not problem:
            text = iface_("Says {}, as set under Speak").format(line.strip or Path(line.audio).name)
            layout.label(text=text, icon="INFO", translate=False)
        draw_main_button(layout, "portrait_actor.dub", iface_(problem) if problem else "", icon="RENDER_ANIMATION")


class PORTRAIT_ACTOR_PT_takes(ActorPanel, bpy.types.Panel):
    bl_label = "Takes"
    bl_order = 7
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the takes in use and the buttons that push them to the NLA."""
        layout, actor = rna.get_layout(self), scene_actor.require_actor(context)
        owners: tuple[tuple[str, str, bpy.types.ID | None], ...] = (
            ("FACE", iface_("Face"), rna.get_shape_keys(actor.face)),
            ("HEAD", iface_("Head"), actor.armature),
        )
        for part, label, owner in owners:
            motion = rna.get_animation(owner)
            split = layout.split(factor=TAKE_LABEL_SHARE)
            split.label(text=label, translate=False)
            row = split.row(align=True)
            if motion is None:
                row.label(text=iface_("No take"), icon="INFO")
                continue
            row.template_ID(motion, "action")
            _draw_push_button(row, part, text="")
            if compat.HAS_SLOTTED_ACTIONS and motion.action is not None and motion.action_slot is None:
                layout.template_search(motion, "action_slot", motion, "action_suitable_slots")
        _draw_push_button(layout, "BOTH")


def _draw_push_button(layout: bpy.types.UILayout, part: str, **options: Any) -> None:
    button: Any = layout.operator("portrait_actor.push_take", icon="NLA_PUSHDOWN", **options)
    button.part = part


class PORTRAIT_ACTOR_PT_capture(ActorPanel, bpy.types.Panel):
    bl_label = "Captures"
    bl_order = 8
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the buttons."""
        layout = rna.get_layout(self)
        row = layout.row(align=True)
        row.operator("portrait_actor.import_capture", text="Import", icon="IMPORT")
        row.operator("portrait_actor.export_capture", text="Export", icon="EXPORT")
        layout.operator("portrait_actor.track_video", icon="TRACKING")


CLASSES = (PORTRAIT_ACTOR_PT_speak, PORTRAIT_ACTOR_PT_dub, PORTRAIT_ACTOR_PT_takes, PORTRAIT_ACTOR_PT_capture)
