"""The box that shows the job of the backend, or what it takes to have a backend: in the sidebar and the preferences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from .. import thumbnails
from ..contract import PACKAGE
from ..jobs import environment, job
from ..operators import footage_report
from ..translations import iface_, n_, translate_message
from .panel_base import draw_wrapped_text

# What helps against an error, as a button beneath it: operator, its label ("" = the operator's own), its settings.
REMEDIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no_backend": ("portrait_actor.setup_backend", "", {}),
    "other_version": ("portrait_actor.setup_backend", "", {}),
    "no_cuda": ("portrait_actor.check_backend", "", {}),
    "no_gsplat": ("portrait_actor.check_backend", "", {}),
    "broken_backend": ("portrait_actor.setup_backend", n_("Repair Backend"), {"again": True}),
    "missing_package": ("portrait_actor.setup_backend", n_("Repair Backend"), {"again": True}),
    "no_python": ("preferences.addon_show", n_("Preferences"), {"module": PACKAGE}),
    "unsaved": ("wm.save_as_mainfile", n_("Save the File"), {}),
    "offline": ("extensions.userpref_allow_online", n_("Allow Online Access"), {}),
    "damaged_actor": ("portrait_actor.import_actor", "", {}),
    "no_actor": ("portrait_actor.import_actor", "", {}),
}


def draw_setup(box: bpy.types.UILayout, state: environment.BackendState) -> None:
    """What the backend lacks, what it costs to get it, and the button."""
    box.label(text=translate_message(f"The backend is {state.value}."), icon="ERROR")
    draw_wrapped_text(box, environment.describe_setup_cost())
    if not bpy.app.online_access and not environment.preferences().wheels:
        why = iface_("Set Up Backend downloads its packages, but Blender may not go online yet. Allow it here.")
        draw_wrapped_text(box, why, "INFO")
        box.operator("extensions.userpref_allow_online", text=iface_("Allow Online Access"), icon="INTERNET")
    box.operator("portrait_actor.setup_backend", icon="IMPORT")


def draw_job(box: bpy.types.UILayout, current_job: job.Job) -> None:
    """A job with its progress, or its end and what helps."""
    box.label(text=current_job.title, translate=False)
    if current_job.is_running:
        box.progress(factor=current_job.fraction, type="BAR", text=current_job.status_text)
    elif current_job.error is not None:
        draw_wrapped_text(
            box,
            translate_message(current_job.error.message),
            "ERROR" if current_job.state is job.JobState.FAILED else "INFO",
        )
        if current_job.error.code == "several_faces":
            _draw_faces(box, current_job.error.data)
        else:
            draw_wrapped_text(box, translate_message(current_job.error.remedy))
        if current_job.error.code in REMEDIES:
            operator, label, settings = REMEDIES[current_job.error.code]
            button = box.operator(operator, text=iface_(label) if label else None)
            for name, value in settings.items():
                setattr(button, name, value)
    else:
        draw_wrapped_text(box, current_job.outcome, "CHECKMARK")
    for note in current_job.notes[-3:]:
        draw_wrapped_text(box, translate_message(note), "INFO")
    row = box.row(align=True)
    if current_job.is_running:
        row.operator("portrait_actor.cancel_job", text="Cancel", icon="CANCEL")
    row.operator("portrait_actor.open_log", icon="TEXT")
    if current_job.is_running and footage_report.find_job_report() is not None:
        row.operator("portrait_actor.open_report", icon="DOCUMENTS").directory = str(current_job.actor_folder)
    if not current_job.is_running:
        row.operator("portrait_actor.dismiss", icon="X", text="")


def _draw_faces(box: bpy.types.UILayout, data: dict[str, Any]) -> None:
    """A picture and a button for each face that the video shows."""
    draw_wrapped_text(box, iface_("Which one is the actor?"))
    count = len(data.get("faces", []))
    grid = box.grid_flow(row_major=True, columns=min(count, 3), even_columns=True)
    for number in range(1, count + 1):
        cell = grid.column(align=True)
        pictures = data.get("pictures", [])
        picture = thumbnails.load_icon(Path(pictures[number - 1])) if len(pictures) == count else 0
        if picture:
            cell.template_icon(picture, scale=5)
        cell.operator("portrait_actor.choose_face", text=_face_label(number, count), translate=False).face = number


def _face_label(number: int, count: int) -> str:
    """e.g. ``Face 1 (left)``."""
    places = {1: iface_("left"), count: iface_("right")} | ({2: iface_("middle")} if count == 3 else {})
    name = iface_("Face {}").format(number)
    return f"{name} ({places[number]})" if number in places else name
