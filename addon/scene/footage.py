"""The footage beside the actor: its frame at a scene frame, and the film with the overlay."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .. import rna
from ..contract import actor_folder, camera, errors
from . import takes
from .scene_actor import SceneActor

# Corners of a box around a head in actor space, metres, homogeneous.
HEAD_BOX_CORNERS = np.array([[x, y, z, 1] for x in (-0.1, 0.1) for y in (-0.15, 0.1) for z in (-0.1, 0.05)])
# Share of the picture's width by which the corners may differ: about half a pixel at 256 pixels, which nobody sees.
# A larger value compares pictures that do not lie on each other.
MAX_ALIGNMENT_ERROR = 0.002
FRAME_RATE_TOLERANCE = 1e-3  # relative: 29.97 and 30000 / 1001 are one rate, 24 and 23.976 are two over a minute


def find_footage_frame(
    scene: bpy.types.Scene, armature: bpy.types.Object, info: actor_folder.ActorInfo, view: camera.CameraPath
) -> int:
    """Return the number of the footage's frame at the scene's current frame.

    Args:
        scene: the scene.
        armature: the actor's armature.
        info: the actor's info.
        view: the camera through which the scene is seen.

    Raises:
        UserError: the camera is elsewhere than the footage's was, or the footage has no such frame.
    """
    settings = rna.get_actor_settings(armature)
    if info.camera is None or not is_camera_matched(info.camera, view):
        raise _camera_mismatch_error(scene, settings.camera)
    start = settings.footage_start
    rate = takes.scene_fps(scene) / info.fps
    index = round((scene.frame_current - start) / rate)
    if not 0 <= index < info.frame_count:
        last = start + math.floor((info.frame_count - 1) * rate)
        raise errors.UserError(
            "no_footage",
            f"The footage shows nothing at frame {scene.frame_current}.",
            f"It runs from {start} to {last}.",
        )
    return index


def is_camera_matched(footage: actor_folder.FootageCamera, view: camera.CameraPath) -> bool:
    """Return whether a still camera is where the footage's camera was. Its lens may be another."""
    here, there = ((HEAD_BOX_CORNERS @ np.asarray(matrix).T)[:, :3] for matrix in (view.views[0], footage.view()))
    if min(here[:, 2].min(), there[:, 2].min()) <= 0:
        return False
    apart = here[:, :2] / here[:, 2:] - there[:, :2] / there[:, 2:]
    return bool(np.abs(apart).max() * footage.focal < MAX_ALIGNMENT_ERROR * footage.width)


def _camera_mismatch_error(scene: bpy.types.Scene, matched: bpy.types.Object | None) -> errors.UserError:
    if matched is None:
        texts = "The camera that is matched to the footage is gone.", "Import the actor again."
    elif scene.camera != matched:
        texts = f"The footage is seen through {matched.name} alone.", "Make it the scene's camera."
    else:
        texts = f"{matched.name} or the actor has been moved: the footage was seen from elsewhere.", "Move it back."
    return errors.UserError("other_camera", *texts)


def load_overlay(scene_actor: SceneActor, film: Path) -> bpy.types.MovieClip:
    """Load the overlay's film as a movie clip that begins where the footage's take begins."""
    clip = load_movie_clip(film, "Create the actor again to have it written again.")
    clip.name = f"{scene_actor.name} footage overlay"
    clip.frame_start = rna.get_actor_settings(scene_actor.armature).footage_start
    return clip


def load_movie_clip(film: Path, remedy: str) -> bpy.types.MovieClip:
    """Load a film as a movie clip, or read it again if the .blend has it already.

    Args:
        film: the file.
        remedy: what the artist can do if Blender cannot read it.

    Raises:
        UserError: Blender cannot read it.
    """
    clip: Any = bpy.data.movieclips.load(str(film), check_existing=True)
    clip.filepath = clip.filepath  # drops the cached images of a film that had the same path
    if clip.frame_duration < 1 or not all(clip.size):  # Blender loads what it cannot read without an error
        bpy.data.movieclips.remove(clip)
        raise errors.UserError("unreadable_file", f"Blender cannot read {film}.", remedy)
    loaded: bpy.types.MovieClip = clip
    return loaded


def show_in_clip_editors(clip: bpy.types.MovieClip) -> bool:
    """Show the clip in all open Clip Editors and return whether there is one."""
    editors: list[Any] = [
        area.spaces.active
        for window in rna.get_window_manager().windows
        if window.screen is not None
        for area in window.screen.areas
        if area.type == "CLIP_EDITOR"
    ]
    for editor in editors:
        editor.clip = clip
    return bool(editors)


def is_frame_rate_different(scene: bpy.types.Scene, clip: bpy.types.MovieClip) -> bool:
    """Return whether clip and take drift apart: Blender shows one frame of a clip per scene frame at any rate."""
    return not math.isclose(clip.fps, takes.scene_fps(scene), rel_tol=FRAME_RATE_TOLERANCE)
