"""The box with the current job or with the set-up of the backend, in the sidebar and the preferences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import bpy

from .. import rna, thumbnails
from ..contract import PACKAGE, protocol
from ..jobs import environment, job
from ..operators import footage_report
from ..translations import iface_, n_, translate_message
from .panel_base import draw_wrapped_text

MAX_SHOWN_NOTES = 3  # the last ones: more would push the sidebar's panels away
MAX_FACE_COLUMNS = 3  # of pictures beside each other in the narrowest sidebar
FACE_ICON_SCALE = 5  # size of a face's picture, in rows of the interface

# Error code → the button that helps: operator, label (empty: the operator's own), properties.
REMEDIES: Final[Mapping[str, tuple[str, str, dict[str, Any]]]] = MappingProxyType({
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
})  # fmt: skip


def draw_setup(box: bpy.types.UILayout, state: environment.BackendState) -> None:
    """Draw the state of the backend, the size of the download, and the button that sets it up."""
    box.label(text=translate_message(f"The backend is {state.value}."), icon="ERROR")
    draw_wrapped_text(box, environment.describe_setup_cost())
    if not bpy.app.online_access and not rna.get_preferences().wheels:
        reason = iface_("Set Up Backend downloads its packages, but Blender may not go online yet. Allow it here.")
        draw_wrapped_text(box, reason, "INFO")
        box.operator("extensions.userpref_allow_online", text=iface_("Allow Online Access"), icon="INTERNET")
    box.operator("portrait_actor.setup_backend", icon="IMPORT")


def draw_job(box: bpy.types.UILayout, current_job: job.Job) -> None:
    """Draw a job with its progress or its result."""
    box.label(text=current_job.title, translate=False)
    if current_job.is_running:
        box.progress(factor=current_job.fraction, type="BAR", text=current_job.status_text)
    elif current_job.error is not None:
        is_failed = current_job.state is job.JobState.FAILED
        _draw_error(box, current_job.error, "ERROR" if is_failed else "INFO")
    else:
        draw_wrapped_text(box, current_job.outcome, "CHECKMARK")
    for note in current_job.notes[-MAX_SHOWN_NOTES:]:
        draw_wrapped_text(box, translate_message(note), "INFO")
    row = box.row(align=True)
    if current_job.is_running:
        row.operator("portrait_actor.cancel_job", text="Cancel", icon="CANCEL")
    row.operator("portrait_actor.open_log", icon="TEXT")
    if current_job.is_running and footage_report.find_job_report() is not None:
        button: Any = row.operator("portrait_actor.open_report", icon="DOCUMENTS")
        button.directory = str(current_job.actor_folder)
    if not current_job.is_running:
        row.operator("portrait_actor.dismiss", icon="X", text="")


def _draw_error(box: bpy.types.UILayout, error: protocol.Error, icon: str) -> None:
    """Draw what went wrong, what helps, and the button that does it."""
    draw_wrapped_text(box, translate_message(error.message), icon)
    if error.code == "several_faces":
        _draw_faces(box, error.data)
    else:
        draw_wrapped_text(box, translate_message(error.remedy))
    if error.code in REMEDIES:
        operator, label, properties = REMEDIES[error.code]
        button = box.operator(operator, text=iface_(label) if label else None)
        for name, value in properties.items():
            setattr(button, name, value)


def _draw_faces(box: bpy.types.UILayout, data: dict[str, Any]) -> None:
    """Draw a picture and a button for each face that the video shows."""
    draw_wrapped_text(box, iface_("Which one is the actor?"))
    count = len(data.get("faces", []))
    grid = box.grid_flow(row_major=True, columns=min(count, MAX_FACE_COLUMNS), even_columns=True)
    for number in range(1, count + 1):
        cell = grid.column(align=True)
        pictures = data.get("pictures", [])
        icon = thumbnails.load_icon(Path(pictures[number - 1])) if len(pictures) == count else 0
        if icon:
            cell.template_icon(icon, scale=FACE_ICON_SCALE)
        button: Any = cell.operator("portrait_actor.choose_face", text=_face_label(number, count), translate=False)
        button.face = number


def _face_label(number: int, count: int) -> str:
    """Return e.g. ``Face 1 (left)``."""
    positions = {1: iface_("left"), count: iface_("right")} | ({2: iface_("middle")} if count == 3 else {})
    name = iface_("Face {}").format(number)
    return f"{name} ({positions[number]})" if number in positions else name
