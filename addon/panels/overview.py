"""The top panel: the current job, the actor, its live preview and its report."""

from __future__ import annotations

from typing import Any

import bpy

from .. import rna
from ..jobs import environment, job
from ..preview import live_preview
from ..properties import SceneSettings
from ..scene import scene_actor
from ..translations import iface_
from .job_box import draw_job, draw_setup
from .panel_base import SidebarPanel, draw_wrapped_text


class PORTRAIT_ACTOR_PT_job(SidebarPanel, bpy.types.Panel):
    bl_label = "Portrait Actor"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the backend's state, the current job, and the actor in use."""
        layout = rna.get_layout(self)
        state = environment.read_state()
        if state is not environment.BackendState.READY and not job.is_busy():
            draw_setup(layout.box(), state)
        current_job = job.current_job()
        if current_job is not None:
            draw_job(layout.box(), current_job)
        actor = scene_actor.find_actor(context)
        if actor is not None:
            _draw_actor(layout, context, actor)


def _draw_actor(layout: bpy.types.UILayout, context: bpy.types.Context, actor: scene_actor.SceneActor) -> None:
    if scene_actor.find_selected(context) is not None:
        text = iface_("Actor: {}").format(actor.name)
        layout.label(text=text, icon="RESTRICT_SELECT_OFF", translate=False)
    else:
        layout.prop(rna.get_scene_settings(rna.get_scene(context)), "actor")
    layout.prop(rna.get_actor_settings(actor.armature), "folder", text=iface_("Folder"))
    row = layout.row(align=True)
    row.operator("view3d.view_camera", text=iface_("Camera"), icon="VIEW_CAMERA")
    row.operator("view3d.view_selected", text=iface_("Selected"), icon="ZOOM_SELECTED")
    space: Any = context.space_data
    layout.prop(space.shading, "color_type", text=iface_("Colors"))
    _draw_preview(layout, context, actor)
    column = layout.column(align=True)
    column.operator("portrait_actor.open_report", icon="DOCUMENTS")
    column.operator("portrait_actor.load_overlay", icon="FILE_MOVIE")


def _draw_preview(layout: bpy.types.UILayout, context: bpy.types.Context, actor: scene_actor.SceneActor) -> None:
    settings = rna.get_scene_settings(rna.get_scene(context))
    preview = live_preview.find_preview(actor.armature)
    space: Any = context.space_data
    row = layout.row(align=True)
    row.operator("portrait_actor.live_preview", icon="HIDE_OFF" if preview else "HIDE_ON", depress=preview is not None)
    row.prop(settings, "preview_size", text="")
    row.prop(settings, "preview_card", text="", icon="IMAGE_PLANE")
    if preview is None:
        return
    if preview.error_text:
        draw_wrapped_text(layout, preview.error_text, "ERROR")
    elif preview.image is None:
        layout.label(text=iface_("The preview starts"), icon="TIME")
    elif space.region_3d.view_perspective != "CAMERA" and not settings.preview_card:
        layout.label(text=iface_("Press Camera to see the preview"), icon="INFO")
    else:
        milliseconds = 1000 * preview.image.latency_seconds
        text = iface_("{:.0f} ms on {}").format(milliseconds, preview.process.device)
        layout.label(text=text, icon="CHECKMARK")
    _draw_comparison(layout.column(align=True), settings, preview)


def _draw_comparison(column: bpy.types.UILayout, settings: SceneSettings, preview: live_preview.LivePreview) -> None:
    column.label(text=iface_("Compare with Footage:"))
    column.row(align=True).prop(settings, "compare", expand=True)
    if settings.compare == "OFF":
        return
    column.prop(settings, live_preview.COMPARISON_PROPERTIES[settings.compare], slider=True)
    objects = preview.find_objects()
    if objects is not None:
        _, armature = objects
        column.prop(rna.get_actor_settings(armature), "footage_start")
    if preview.comparison_error:
        draw_wrapped_text(column, preview.comparison_error, "INFO")


CLASSES = (PORTRAIT_ACTOR_PT_job,)
