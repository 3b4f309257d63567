"""The hand-over to Blender's main thread: a timer that takes in what the job's process said, while one runs."""

from __future__ import annotations

import bpy

from . import job

POLL_INTERVAL_SECONDS = 0.15  # s


def start_timer() -> None:
    """Begins to watch the current job. It goes on when another file is opened."""
    if not bpy.app.timers.is_registered(_update_job):
        bpy.app.timers.register(_update_job, first_interval=POLL_INTERVAL_SECONDS, persistent=True)


def stop_timer() -> None:
    """Takes the timer away: one that is still there when Blender exits crashes or hangs it."""
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
    windows = bpy.context.window_manager.windows
    return any("BLOCKING" in operator.bl_options for window in windows for operator in window.modal_operators)


def redraw_areas(area_types: frozenset[str] = frozenset({"VIEW_3D", "PREFERENCES"})) -> None:
    """Draws areas of these kinds again, the sidebars and the preferences unless said."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in area_types:
                area.tag_redraw()
