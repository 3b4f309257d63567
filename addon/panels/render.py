"""The panel that renders and places frames."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..contract import reading
from ..scene import actor as scene_actor
from ..scene import card, compositing, merge_group
from .common import ActorPanel, draw_text


class PORTRAIT_ACTOR_PT_render(ActorPanel, bpy.types.Panel):
    bl_label = "Render"
    bl_order = 9

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, context.scene
        settings = scene.portrait_actor
        layout.use_property_split, layout.use_property_decorate = True, False
        layout.prop(scene, "camera")
        for name in ("output", "file_format"):
            layout.prop(settings, name)
        placement = layout.row()
        placement.enabled = settings.file_format != "mp4"
        placement.prop(settings, "placement")
        layout.prop(scene.render, "use_motion_blur")
        if scene.render.use_motion_blur:
            layout.prop(settings, "blur_samples")
        elif settings.file_format == "exr":
            layout.prop(settings, "vectors")
        layout.prop(scene.view_settings, "view_transform")
        shown = scene_actor.find(context)
        if compositing.is_outdated(scene, shown.armature):
            draw_text(
                layout, "The compositor's group is for another view transform: render again, frames are kept", "INFO"
            )
        if settings.placement == "card" and settings.file_format == "exr" and merge_group.look_space(scene):
            draw_text(layout, "A card of OpenEXR frames keeps the footage's colors with Standard; choose PNG", "INFO")
        hole = card.holdout(shown.armature)
        if hole is not None:
            layout.prop(hole, "default_value", text="Card as Holdout", slider=True)
        row = layout.row()
        row.scale_y = 1.4
        button = row.operator("portrait_actor.render_actor", icon="RENDER_ANIMATION")
        for name in ("output", "file_format", "placement", "blur_samples"):
            setattr(button, name, getattr(settings, name))
        button.vectors = settings.vectors and settings.file_format == "exr" and not scene.render.use_motion_blur
        button.frame_start, button.frame_end = scene.frame_start, scene.frame_end
        farm = layout.operator("portrait_actor.export_job", icon="NETWORK_DRIVE")
        farm.blur_samples, farm.vectors = settings.blur_samples, button.vectors
        if settings.output and reading.is_folder(Path(bpy.path.abspath(settings.output))):
            layout.operator("portrait_actor.open_folder", icon="FILE_FOLDER").directory = settings.output


CLASSES = (PORTRAIT_ACTOR_PT_render,)
