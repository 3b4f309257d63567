"""The panel on top: what the backend does now, the actor, its live preview, its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from .. import thumbnails
from ..jobs import environment, job
from ..operators import report
from ..preview import live
from ..scene import actor as scene_actor
from ..translations import iface_, n_, sentence
from .common import Sidebar, draw_text

# What helps against an error, as a button beneath it: operator and its label ("" = the operator's own).
REMEDIES: dict[str, tuple[str, str]] = {
    "no_backend": ("portrait_actor.setup_backend", ""),
    "other_version": ("portrait_actor.setup_backend", ""),
    "unsaved": ("wm.save_as_mainfile", n_("Save the File")),
    "no_python": ("preferences.addon_show", n_("Preferences")),
    "offline": ("extensions.userpref_allow_online", n_("Allow Online Access")),
    "damaged_actor": ("portrait_actor.import_actor", ""),
    "no_actor": ("portrait_actor.import_actor", ""),
}


class PORTRAIT_ACTOR_PT_job(Sidebar, bpy.types.Panel):
    bl_label = "Portrait Actor"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        state = environment.state()
        if state is not environment.State.READY and not job.is_busy():
            box = layout.box()
            box.label(text=sentence(f"The backend is {state.value}."), icon="ERROR")
            box.operator("portrait_actor.setup_backend", icon="IMPORT")
        shown = job.current()
        if shown is not None:
            _draw_job(layout.box(), shown)
        found = scene_actor.find(context)
        if found is not None:
            layout.prop(context.scene.portrait_actor, "actor")
            layout.prop(found.armature.portrait_actor, "folder", text=iface_("Folder"))
            row = layout.row(align=True)
            row.operator("view3d.view_camera", text=iface_("Camera"), icon="VIEW_CAMERA")
            row.operator("view3d.view_selected", text=iface_("Selected"), icon="ZOOM_SELECTED")
            layout.prop(context.space_data.shading, "color_type", text=iface_("Colors"))
            _draw_preview(layout, context)
            column = layout.column(align=True)
            column.operator("portrait_actor.open_report", icon="DOCUMENTS")
            column.operator("portrait_actor.load_overlay", icon="FILE_MOVIE")


def _draw_preview(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    shown, settings = live.current(), context.scene.portrait_actor
    row = layout.row(align=True)
    row.operator("portrait_actor.live_preview", icon="HIDE_OFF" if shown else "HIDE_ON", depress=shown is not None)
    row.prop(settings, "preview_size", text="")
    row.prop(settings, "preview_card", text="", icon="IMAGE_PLANE")
    if shown is None:
        return
    if shown.trouble:
        draw_text(layout, shown.trouble, "ERROR")
    elif shown.picture is None:
        layout.label(text=iface_("The preview starts"), icon="TIME")
    elif context.space_data.region_3d.view_perspective != "CAMERA" and not settings.preview_card:
        layout.label(text=iface_("Press Camera to see the preview"), icon="INFO")
    else:
        told = iface_("{:.0f} ms on {}").format(1000 * shown.picture.latency, shown.painter.device)
        layout.label(text=told, icon="CHECKMARK")
    _draw_comparison(layout.column(align=True), settings, shown)


def _draw_comparison(column: bpy.types.UILayout, settings: bpy.types.PropertyGroup, shown: live.Live) -> None:
    column.label(text=iface_("Compare with Footage:"))
    column.row(align=True).prop(settings, "compare", expand=True)
    if settings.compare == "OFF":
        return
    column.prop(settings, live.AMOUNTS[settings.compare], slider=True)
    found = shown.things()
    if found is not None:
        column.prop(found[1].portrait_actor, "footage_start")
    if shown.incomparable:
        draw_text(column, shown.incomparable, "INFO")


def _draw_job(box: bpy.types.UILayout, shown: job.Job) -> None:
    box.label(text=shown.title, translate=False)
    if shown.is_running:
        box.progress(factor=shown.fraction, type="BAR", text=shown.line)
    elif shown.error is not None:
        draw_text(box, sentence(shown.error.message), "ERROR" if shown.state is job.State.FAILED else "INFO")
        if shown.error.code == "several_faces":
            _draw_faces(box, shown.error.data)
        else:
            draw_text(box, sentence(shown.error.remedy))
        if shown.error.code in REMEDIES:
            operator, label = REMEDIES[shown.error.code]
            button = box.operator(operator, text=iface_(label) if label else None)
            if operator == "preferences.addon_show":
                button.module = environment.PACKAGE
    else:
        draw_text(box, shown.outcome, "CHECKMARK")
    for note in shown.notes[-3:]:
        draw_text(box, sentence(note), "INFO")
    row = box.row(align=True)
    if shown.is_running:
        row.operator("portrait_actor.cancel_job", text="Cancel", icon="CANCEL")
    row.operator("portrait_actor.open_log", icon="TEXT")
    if shown.is_running and report.page_of_job() is not None:
        row.operator("portrait_actor.open_report", icon="DOCUMENTS").directory = str(shown.folder)
    if not shown.is_running:
        row.operator("portrait_actor.dismiss", icon="X", text="")


def _draw_faces(box: bpy.types.UILayout, data: dict[str, Any]) -> None:
    """A picture and a button for each face that the video shows."""
    draw_text(box, iface_("Which one is the actor?"))
    count = len(data.get("faces", []))
    grid = box.grid_flow(row_major=True, columns=min(count, 3), even_columns=True)
    for number in range(1, count + 1):
        cell = grid.column(align=True)
        pictures = data.get("pictures", [])
        picture = thumbnails.icon(Path(pictures[number - 1])) if len(pictures) == count else 0
        if picture:
            cell.template_icon(picture, scale=5)
        cell.operator("portrait_actor.choose_face", text=_face_name(number, count), translate=False).face = number


def _face_name(number: int, count: int) -> str:
    """e.g. ``Face 1 (left)``."""
    places = {1: iface_("left"), count: iface_("right")} | ({2: iface_("middle")} if count == 3 else {})
    name = iface_("Face {}").format(number)
    return f"{name} ({places[number]})" if number in places else name


CLASSES = (PORTRAIT_ACTOR_PT_job,)
