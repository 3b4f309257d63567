"""The hand-over to Blender's main thread: a timer that takes in what the job's process said, while one runs."""

from __future__ import annotations

import bpy

from . import job

INTERVAL = 0.15  # s


def start() -> None:
    """Begins to watch the current job. It goes on when another file is opened."""
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=INTERVAL, persistent=True)


def stop() -> None:
    """Takes the timer away: one that is still there when Blender exits crashes or hangs it."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def _tick() -> float | None:
    running = job.current()
    if running is None:
        return None
    if _hands_are_busy():
        return INTERVAL
    if running.update():
        redraw()
    return INTERVAL if running.is_running else None


def _hands_are_busy() -> bool:
    """Whether the artist is in the middle of a drag or a stroke: changing the scene under it could crash Blender."""
    windows = bpy.context.window_manager.windows
    return any("BLOCKING" in operator.bl_options for window in windows for operator in window.modal_operators)


def redraw(kinds: frozenset[str] = frozenset({"VIEW_3D", "PREFERENCES"})) -> None:
    """Draws areas of these kinds again, the sidebars and the preferences unless said."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in kinds:
                area.tag_redraw()
