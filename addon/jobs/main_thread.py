"""The timer that hands over what a job's process reports to Blender's main thread."""

from __future__ import annotations

import bpy

from .. import rna
from . import job

POLL_INTERVAL_SECONDS = 0.15  # between two looks at the process; a larger interval delays the progress bar
REDRAWN_AREAS = frozenset({"VIEW_3D", "PREFERENCES"})  # the areas that show jobs


def start_timer() -> None:
    """Start watching the current job. The timer survives the opening of another file."""
    if not bpy.app.timers.is_registered(_update_job):
        bpy.app.timers.register(_update_job, first_interval=POLL_INTERVAL_SECONDS, persistent=True)


def stop_timer() -> None:
    """Remove the timer. Blender crashes or hangs when one is left at exit."""
    if bpy.app.timers.is_registered(_update_job):
        bpy.app.timers.unregister(_update_job)


def _update_job() -> float | None:
    running = job.current_job()
    if running is None:
        return None
    if _is_modal_operator_running():
        return POLL_INTERVAL_SECONDS
    if running.update():
        redraw_areas()
    return POLL_INTERVAL_SECONDS if running.is_running else None


def _is_modal_operator_running() -> bool:
    """Whether the artist is in the middle of a drag or a stroke: changing the scene under it could crash Blender."""
    windows = rna.get_window_manager().windows
    return any("BLOCKING" in operator.bl_options for window in windows for operator in window.modal_operators)


def redraw_areas(area_types: frozenset[str] = REDRAWN_AREAS) -> None:
    """Redraw the areas of these types in all windows."""
    for window in rna.get_window_manager().windows:
        for area in window.screen.areas if window.screen is not None else ():
            if area.type in area_types:
                area.tag_redraw()
