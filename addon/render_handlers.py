"""Handlers for renders without a window (``blender -b FILE.blend -a``).

They render outdated frames of placed actors before the animation starts, and log frames that are missing. Frames whose
inputs have not changed are not rendered again.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from . import rna
from .contract import errors
from .operators import render_actor
from .scene import scene_actor

# Blender's options that render the scene's range; with any other option the range is unknown.
RENDER_ANIMATION_OPTIONS = frozenset({"-a", "--render-anim"})


def find_missing_frame(scene: bpy.types.Scene, actor: scene_actor.SceneActor, frame: int) -> Path | None:
    """Return the file that the scene shows of an actor at a frame, if it does not exist."""
    found = render_actor.find_placed_render(scene, actor)
    if found is None:
        return None
    _, shown_file = found
    file = shown_file.with_name(re.sub(r"\d+(?=\.\w+$)", f"{frame:04d}", shown_file.name))
    return None if file.is_file() else file


@persistent  # type: ignore[untyped-decorator]
def _render_outdated_frames(scene: bpy.types.Scene, _unused: object = None) -> None:
    options = sys.argv[: sys.argv.index("--")] if "--" in sys.argv else sys.argv
    if not bpy.app.background or not RENDER_ANIMATION_OPTIONS & set(options):
        return
    if not rna.get_scene_settings(scene).render_ahead:
        return
    for actor in scene_actor.find_actors(scene):
        found = render_actor.find_placed_render(scene, actor)
        if found is None:
            continue
        request, _ = found
        try:
            with bpy.context.temp_override(scene=scene, view_layer=scene.view_layers[0]):
                started_job = render_actor.start_job(bpy.context, request)
                started_job.wait()
            _write_log_line(started_job.outcome)
        except errors.UserError as error:
            _write_log_line(f"The frames of {actor.name} were not brought up to date. {error}")


@persistent  # type: ignore[untyped-decorator]
def _report_missing_frame(scene: bpy.types.Scene, _unused: object = None) -> None:
    for actor in scene_actor.find_actors(scene) if bpy.app.background else ():
        file = find_missing_frame(scene, actor, scene.frame_current)
        if file is not None:
            _write_log_line(f"Frame {scene.frame_current} of {actor.name} is missing: {file}")


def _write_log_line(text: str) -> None:
    """Write a line to the log of the machine that renders."""
    sys.stderr.write(f"Portrait Actor: {text}\n")
    sys.stderr.flush()


def register() -> None:
    """Add the handlers."""
    bpy.app.handlers.render_init.append(_render_outdated_frames)
    bpy.app.handlers.render_pre.append(_report_missing_frame)


def unregister() -> None:
    """Remove the handlers."""
    bpy.app.handlers.render_init.remove(_render_outdated_frames)
    bpy.app.handlers.render_pre.remove(_report_missing_frame)
