"""Where Blender renders without a window (``blender -b FILE.blend -a``): the frames of placed actors are brought up to
date first, and a frame that is not there is told. Frames whose inputs have not changed are not rendered again.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from .contract import errors
from .operators import render_actor
from .scene import scene_actor

RENDER_ANIMATION_OPTIONS = {
    "-a",
    "--render-anim",
}  # Blender's options for the whole range: only then is the range known


def find_missing_frame(scene: bpy.types.Scene, actor: scene_actor.SceneActor, frame: int) -> Path | None:
    """The file that the scene shows of an actor at this frame, if it is not there."""
    found = render_actor.find_placed_render(scene, actor)
    if found is None:
        return None
    file = found[1].with_name(re.sub(r"\d+(?=\.\w+$)", f"{frame:04d}", found[1].name))
    return None if file.is_file() else file


@persistent
def _render_outdated_frames(scene: bpy.types.Scene, _unused: object = None) -> None:
    own = sys.argv[: sys.argv.index("--")] if "--" in sys.argv else sys.argv
    if not bpy.app.background or not scene.portrait_actor.render_ahead or not RENDER_ANIMATION_OPTIONS & set(own):
        return
    for shown in scene_actor.find_actors(scene):
        found = render_actor.find_placed_render(scene, shown)
        if found is None:
            continue
        try:
            with bpy.context.temp_override(scene=scene, view_layer=scene.view_layers[0]):
                started = render_actor.start_job(bpy.context, found[0])
                started.wait()
            _write_log_line(started.outcome)
        except errors.UserError as error:
            _write_log_line(f"The frames of {shown.name} were not brought up to date. {error}")


@persistent
def _report_missing_frame(scene: bpy.types.Scene, _unused: object = None) -> None:
    for shown in scene_actor.find_actors(scene) if bpy.app.background else ():
        file = find_missing_frame(scene, shown, scene.frame_current)
        if file is not None:
            _write_log_line(f"Frame {scene.frame_current} of {shown.name} is missing: {file}")


def _write_log_line(text: str) -> None:
    """A line in the log of the machine that renders."""
    sys.stderr.write(f"Portrait Actor: {text}\n")
    sys.stderr.flush()


def register() -> None:
    """Begins to listen."""
    bpy.app.handlers.render_init.append(_render_outdated_frames)
    bpy.app.handlers.render_pre.append(_report_missing_frame)


def unregister() -> None:
    """Stops."""
    bpy.app.handlers.render_init.remove(_render_outdated_frames)
    bpy.app.handlers.render_pre.remove(_report_missing_frame)
