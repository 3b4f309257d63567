"""The footage beside the actor: which of its frames belongs to the scene's, and the film with the overlay."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np

from ..contract import actor_folder, camera, errors
from . import takes
from .scene_actor import SceneActor

HEAD_BOX_CORNERS = np.array(
    [[x, y, z, 1] for x in (-0.1, 0.1) for y in (-0.15, 0.1) for z in (-0.1, 0.05)]
)  # about a head, metres
MAX_ALIGNMENT_ERROR = 0.002  # of the picture's width: less is no difference that a person sees


def find_footage_frame(
    scene: bpy.types.Scene, armature: bpy.types.Object, info: actor_folder.ActorInfo, view: camera.CameraPath
) -> int:
    """The footage's frame that belongs to the scene's current one, which is seen through the camera `view`.

    Raises:
        UserError: the camera does not stand where the footage's stood, or the footage has no such frame.
    """
    if not is_camera_matched(info.camera, view):
        raise _camera_mismatch_error(scene, armature.portrait_actor.camera)
    start = armature.portrait_actor.footage_start
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
    """Whether a still camera sees a head from where the footage's camera saw it; its lens may be another."""
    here, there = ((HEAD_BOX_CORNERS @ np.asarray(matrix).T)[:, :3] for matrix in (view.views[0], footage.view()))
    if min(here[:, 2].min(), there[:, 2].min()) <= 0:
        return False
    apart = here[:, :2] / here[:, 2:] - there[:, :2] / there[:, 2:]
    return bool(np.abs(apart).max() * footage.focal < MAX_ALIGNMENT_ERROR * footage.width)


def _camera_mismatch_error(scene: bpy.types.Scene, matched: bpy.types.Object | None) -> errors.UserError:
    if matched is None:
        told = "The camera that is matched to the footage is gone.", "Import the actor again."
    elif scene.camera != matched:
        told = f"The footage is seen through {matched.name} alone.", "Make it the scene's camera."
    else:
        told = f"{matched.name} or the actor has been moved: the footage was seen from elsewhere.", "Move it back."
    return errors.UserError("other_camera", *told)


def load_overlay(scene_actor: SceneActor, film: Path) -> bpy.types.MovieClip:
    """`load_film` of the overlay; its first frame lies where the footage's take begins."""
    clip = load_movie_clip(film, "Create the actor again to have it written again.")
    clip.name = f"{scene_actor.name} footage overlay"
    clip.frame_start = scene_actor.armature.portrait_actor.footage_start
    return clip


def load_movie_clip(film: Path, remedy: str) -> bpy.types.MovieClip:
    """Loads a film as a movie clip, or reads it again when the file has it already.

    Raises:
        UserError: Blender cannot read it; `remedy` is what helps.
    """
    clip = bpy.data.movieclips.load(str(film), check_existing=True)
    clip.filepath = clip.filepath  # forgets the pictures of a film that was there before
    if clip.frame_duration < 1 or not all(clip.size):  # Blender loads what it cannot read without a word
        bpy.data.movieclips.remove(clip)
        raise errors.UserError("unreadable_file", f"Blender cannot read {film}.", remedy)
    return clip


def show_in_clip_editors(clip: bpy.types.MovieClip) -> bool:
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


def is_frame_rate_different(scene: bpy.types.Scene, clip: bpy.types.MovieClip) -> bool:
    """Whether the clip and the take run apart: Blender shows a clip's frames one by one, whatever their rate."""
    return not math.isclose(clip.fps, takes.scene_fps(scene), rel_tol=1e-3)
