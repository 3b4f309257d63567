"""The footage with its overlay, as a movie clip."""

from __future__ import annotations

import math
from pathlib import Path

import bpy

from ..contract import protocol
from . import takes
from .actor import SceneActor


def load_overlay(found: SceneActor, film: Path) -> bpy.types.MovieClip:
    """Loads the film, or finds it again in the file; its first frame lies where the footage's take begins.

    Raises:
        UserError: Blender cannot read it.
    """
    clip = bpy.data.movieclips.load(str(film), check_existing=True)
    if clip.frame_duration < 1 or not all(clip.size):  # Blender loads what it cannot read without a word
        bpy.data.movieclips.remove(clip)
        raise protocol.UserError(
            "unreadable_file", f"Blender cannot read {film}.", "Create the actor again to have it written again."
        )
    clip.name = f"{found.name} footage overlay"
    clip.frame_start = found.armature.portrait_actor.footage_start
    return clip


def show(clip: bpy.types.MovieClip) -> bool:
    """Makes the clip the one that open Clip Editors show; whether there is one."""
    editors = [
        area.spaces.active
        for window in bpy.context.window_manager.windows
        for area in window.screen.areas
        if area.type == "CLIP_EDITOR"
    ]
    for editor in editors:
        editor.clip = clip
    return bool(editors)


def drifts(scene: bpy.types.Scene, clip: bpy.types.MovieClip) -> bool:
    """Whether the clip and the take run apart: Blender shows a clip's frames one by one, whatever their rate."""
    return not math.isclose(clip.fps, takes.scene_fps(scene), rel_tol=1e-3)
