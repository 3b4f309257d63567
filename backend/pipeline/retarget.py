"""Another video drives the actor: it is tracked as footage is, and what it shows is carried over to the actor."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.actor_folder import ActorFolder, ActorInfo
from ..contract.arrays import F64
from ..contract.geometry import (
    align_quaternion_signs,
    matrix_from_quaternion,
    matrix_from_rotation_vector,
    quaternion_from_matrix,
    rotation_vector_from_matrix,
)
from ..contract.performance import Performance
from ..contract.progress import Reporter
from .create import CreateOptions, track_footage

MIN_SCALED_MAXIMUM = 0.1  # a channel that reaches less than this was hardly seen, and is not scaled by it


def retarget_video(
    video: Path, actor: ActorFolder, reporter: Reporter, *, face_number: int | None = None, match_range: bool = False
) -> Performance:
    """What the person in a video does, as a performance for the actor.

    The pose in which that person is most of the time becomes the one that the actor has most of the time; from there
    head and torso move as they do in the video.

    Args:
        face: which of several faces, from 1 at the left.
        match_range: scales each channel so that its widest in the video is the widest of the actor's own footage.

    Returns:
        at the video's rate, frames from 0.

    Raises:
        UserError: the video cannot be used, or the actor is damaged.
        Cancelled: nothing is left behind.
    """
    with tempfile.TemporaryDirectory(prefix="track") as place:
        options = CreateOptions(preset="standard", face_number=face_number, name=video.stem)
        clip = track_footage(video, Path(place) / "clip.actor", options, reporter)
        shown = clip.load_footage_performance()
    return retarget_performance(shown, clip.info, actor.load_footage_performance(), actor.info, match_range=match_range)


def retarget_performance(
    source: Performance, source_info: ActorInfo, actor_footage: Performance, actor_info: ActorInfo, *, match_range: bool
) -> Performance:
    """The performance `shown` in a clip for an actor whose footage is `own`; see `follow`."""
    moved: dict[str, Any] = {}
    for part in ("head", "torso"):
        turn, shift = f"{part}_rotation", f"{part}_translation"
        turns = matrix_from_quaternion(getattr(source, turn))
        usual, ours = central_rotation(turns), central_rotation(matrix_from_quaternion(getattr(actor_footage, turn)))
        away = turns @ usual.T
        place, ours_place = (np.median(getattr(table, shift), 0) for table in (source, actor_footage))
        offset = getattr(source, shift) - place
        quaternions = align_quaternion_signs(quaternion_from_matrix(away @ ours))
        moved[turn], moved[shift] = quaternions.astype(np.float32), (ours_place + offset).astype(np.float32)
    channels = source.channels.copy()
    if match_range:
        for index, name in enumerate(source.names):
            theirs, ours_high = (info.channel_ranges.get(name, [0.0, 0.0])[1] for info in (source_info, actor_info))
            if theirs >= MIN_SCALED_MAXIMUM and ours_high > 0:
                channels[:, index] *= ours_high / theirs
    return replace(source, channels=channels, **moved).check("tracked")


def central_rotation(rotations: F64) -> F64:
    """(3, 3) the rotation in the midst of some (T, 3, 3): their mean's nearest rotation, then a median around it."""
    u, _, vt = np.linalg.svd(rotations.mean(0))
    middle = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    around = rotation_vector_from_matrix(rotations @ middle.T)
    result: F64 = matrix_from_rotation_vector(np.median(around, 0)) @ middle
    return result
