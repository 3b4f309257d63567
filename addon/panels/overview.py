"""The panel on top: what the backend does now, the actor, its live preview, its report."""

from __future__ import annotations

import bpy

from ..jobs import environment, job
from ..preview import live_preview
from ..scene import scene_actor
from ..translations import iface_
from .job_box import draw_job, draw_setup
from .panel_base import SidebarPanel, draw_wrapped_text


class PORTRAIT_ACTOR_PT_job(SidebarPanel, bpy.types.Panel):
    bl_label = "Portrait Actor"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        state = environment.read_state()
        if state is not environment.BackendState.READY and not job.is_busy():
            draw_setup(layout.box(), state)
        shown = job.current_job()
        if shown is not None:
            draw_job(layout.box(), shown)
        found = scene_actor.find_actor(context)
        if found is not None:
            if scene_actor.find_selected(context) is not None:
                told = iface_("Actor: {}").format(found.name)
                layout.label(text=told, icon="RESTRICT_SELECT_OFF", translate=False)
            else:
                layout.prop(context.scene.portrait_actor, "actor")
            layout.prop(found.armature.portrait_actor, "folder", text=iface_("Folder"))
            row = layout.row(align=True)
            row.operator("view3d.view_camera", text=iface_("Camera"), icon="VIEW_CAMERA")
            row.operator("view3d.view_selected", text=iface_("Selected"), icon="ZOOM_SELECTED")
            layout.prop(context.space_data.shading, "color_type", text=iface_("Colors"))
            _draw_preview(layout, context, found)
            column = layout.column(align=True)
            column.operator("portrait_actor.open_report", icon="DOCUMENTS")
            column.operator("portrait_actor.load_overlay", icon="FILE_MOVIE")


def _draw_preview(layout: bpy.types.UILayout, context: bpy.types.Context, actor: scene_actor.SceneActor) -> None:
    settings, shown = context.scene.portrait_actor, live_preview.find_preview(actor.armature)
    row = layout.row(align=True)
    row.operator("portrait_actor.live_preview", icon="HIDE_OFF" if shown else "HIDE_ON", depress=shown is not None)
    row.prop(settings, "preview_size", text="")
    row.prop(settings, "preview_card", text="", icon="IMAGE_PLANE")
    if shown is None:
        return
    if shown.error_text:
        draw_wrapped_text(layout, shown.error_text, "ERROR")
    elif shown.image is None:
        layout.label(text=iface_("The preview starts"), icon="TIME")
    elif context.space_data.region_3d.view_perspective != "CAMERA" and not settings.preview_card:
        layout.label(text=iface_("Press Camera to see the preview"), icon="INFO")
    else:
        told = iface_("{:.0f} ms on {}").format(1000 * shown.image.latency_seconds, shown.process.device)
        layout.label(text=told, icon="CHECKMARK")
    _draw_comparison(layout.column(align=True), settings, shown)


def _draw_comparison(
    column: bpy.types.UILayout, settings: bpy.types.PropertyGroup, preview: live_preview.LivePreview
) -> None:
    column.label(text=iface_("Compare with Footage:"))
    column.row(align=True).prop(settings, "compare", expand=True)
    if settings.compare == "OFF":
        return
    column.prop(settings, live_preview.COMPARISON_PROPERTIES[settings.compare], slider=True)
    found = preview.find_objects()
    if found is not None:
        column.prop(found[1].portrait_actor, "footage_start")
    if preview.comparison_error:
        draw_wrapped_text(column, preview.comparison_error, "INFO")


CLASSES = (PORTRAIT_ACTOR_PT_job,)
