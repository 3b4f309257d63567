"""The panel that renders and places frames."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..contract import safe_io
from ..scene import card, compositing, merge_group, scene_actor
from ..translations import iface_
from . import presets
from .panel_base import ActorPanel, draw_wrapped_text


class PORTRAIT_ACTOR_PT_render(ActorPanel, bpy.types.Panel):
    bl_label = "Render"
    bl_order = 9

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        presets.PORTRAIT_ACTOR_PT_render_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, context.scene
        settings = scene.portrait_actor
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
        shown = scene_actor.find_actor(context)
        if compositing.is_outdated(scene, shown.armature):
            why = iface_(
                "The compositor's group is older, or for another view transform: render again, frames are kept"
            )
            draw_wrapped_text(layout, why, "INFO")
        if settings.placement == "card" and settings.file_format == "exr" and merge_group.view_transform_space(scene):
            why = iface_("A card of OpenEXR frames keeps the footage's colors with Standard; choose PNG")
            draw_wrapped_text(layout, why, "INFO")
        hole = card.find_holdout_socket(shown.armature)
        if hole is not None:
            layout.prop(hole, "default_value", text=iface_("Card as Holdout"), slider=True)
        row = layout.row()
        row.scale_y = 1.4
        row.operator("portrait_actor.render_actor", icon="RENDER_ANIMATION")
        layout.prop(settings, "render_ahead")
        layout.operator("portrait_actor.export_job", icon="NETWORK_DRIVE")
        if settings.output and safe_io.is_accessible_folder(Path(bpy.path.abspath(settings.output))):
            layout.operator("portrait_actor.open_folder", icon="FILE_FOLDER").directory = settings.output


CLASSES = (PORTRAIT_ACTOR_PT_render,)
