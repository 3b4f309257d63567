"""The panel that renders and places frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from .. import rna
from ..contract import safe_io
from ..scene import card, compositing, merge_group, scene_actor
from ..translations import iface_
from . import presets
from .panel_base import ActorPanel, draw_main_button, draw_wrapped_text


class PORTRAIT_ACTOR_PT_render(ActorPanel, bpy.types.Panel):
    bl_label = "Render"
    bl_order = 9

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        """Draw the menu of presets."""
        presets.PORTRAIT_ACTOR_PT_render_presets.draw_panel_header(rna.get_layout(self))

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the form, hints about the frames in the scene, and the buttons."""
        layout, scene = rna.get_layout(self), rna.get_scene(context)
        settings = rna.get_scene_settings(scene)
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(scene, "camera")
        for name in ("output", "file_format"):
            layout.prop(settings, name)
        if settings.file_format != "mp4":
            layout.prop(settings, "placement")
        layout.prop(scene.render, "use_motion_blur")
        if scene.render.use_motion_blur:
            layout.prop(settings, "blur_samples")
        elif settings.file_format == "exr":
            layout.prop(settings, "vectors")
        layout.prop(scene.view_settings, "view_transform")
        armature = scene_actor.require_actor(context).armature
        if compositing.is_outdated(scene, armature):
            hint = iface_(
                "The compositor's group is older, or for another view transform: render again, frames are kept"
            )
            draw_wrapped_text(layout, hint, "INFO")
        if settings.placement == "card" and settings.file_format == "exr" and merge_group.view_transform_space(scene):
            hint = iface_("A card of OpenEXR frames keeps the footage's colors with Standard; choose PNG")
            draw_wrapped_text(layout, hint, "INFO")
        holdout = card.find_holdout_socket(armature)
        if holdout is not None:
            layout.prop(holdout, "default_value", text=iface_("Card as Holdout"), slider=True)
        draw_main_button(layout, "portrait_actor.render_actor", "", icon="RENDER_ANIMATION")
        layout.prop(settings, "render_ahead")
        layout.operator("portrait_actor.export_job", icon="NETWORK_DRIVE")
        if settings.output and safe_io.is_accessible_folder(Path(bpy.path.abspath(settings.output))):
            button: Any = layout.operator("portrait_actor.open_folder", icon="FILE_FOLDER")
            button.directory = settings.output


CLASSES = (PORTRAIT_ACTOR_PT_render,)
