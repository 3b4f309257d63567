"""Presets of the forms Speak and Render. Blender stores them with its own."""

from __future__ import annotations

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from ..properties import LINE_PROPERTIES, RENDER_PROPERTIES
from ..translations import CONTEXT

SHOT_PROPERTIES = frozenset({"audio", "strip", "into_take", "output"})  # belong to one shot, so a preset omits them


class PORTRAIT_ACTOR_PT_speak_presets(PresetPanel, bpy.types.Panel):
    bl_label = "Speak Presets"
    bl_translation_context = CONTEXT
    preset_subdir = "portrait_actor/speak"
    preset_operator = "script.execute_preset"
    preset_add_operator = "portrait_actor.add_speak_preset"


class PORTRAIT_ACTOR_PT_render_presets(PresetPanel, bpy.types.Panel):
    bl_label = "Render Presets"
    bl_translation_context = CONTEXT
    preset_subdir = "portrait_actor/render"
    preset_operator = "script.execute_preset"
    preset_add_operator = "portrait_actor.add_render_preset"


class PORTRAIT_ACTOR_OT_add_speak_preset(AddPresetBase, bpy.types.Operator):  # type: ignore[misc]  # as Blender does
    """Save how the actor speaks now as a preset, or remove the preset"""

    bl_idname = "portrait_actor.add_speak_preset"
    bl_label = "Add Speak Preset"
    bl_options = {"REGISTER", "INTERNAL"}
    bl_translation_context = CONTEXT
    preset_menu = "PORTRAIT_ACTOR_PT_speak_presets"
    preset_subdir = PORTRAIT_ACTOR_PT_speak_presets.preset_subdir
    preset_defines = ["line = bpy.context.scene.portrait_actor.line"]
    preset_values = [f"line.{name}" for name in LINE_PROPERTIES if name not in SHOT_PROPERTIES]


class PORTRAIT_ACTOR_OT_add_render_preset(AddPresetBase, bpy.types.Operator):  # type: ignore[misc]
    """Save how frames are rendered and placed now as a preset, or remove the preset"""

    bl_idname = "portrait_actor.add_render_preset"
    bl_label = "Add Render Preset"
    bl_options = {"REGISTER", "INTERNAL"}
    bl_translation_context = CONTEXT
    preset_menu = "PORTRAIT_ACTOR_PT_render_presets"
    preset_subdir = PORTRAIT_ACTOR_PT_render_presets.preset_subdir
    preset_defines = ["form = bpy.context.scene.portrait_actor"]
    preset_values = [f"form.{name}" for name in RENDER_PROPERTIES if name not in SHOT_PROPERTIES]


CLASSES = (
    PORTRAIT_ACTOR_PT_speak_presets,
    PORTRAIT_ACTOR_PT_render_presets,
    PORTRAIT_ACTOR_OT_add_speak_preset,
    PORTRAIT_ACTOR_OT_add_render_preset,
)
