"""Retarget: another video is tracked as footage, and its motion becomes a performance of the actor."""

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

# A channel whose maximum in the video stays below this was hardly seen, and its range is not matched: the factor would
# be large and uncertain. Not tuned.
MIN_MATCHED_MAXIMUM = 0.1
TRACKING_PRESET = "standard"  # decides the size of the crops


def retarget_video(
    video: Path, actor: ActorFolder, reporter: Reporter, *, face_number: int | None = None, match_range: bool = False
) -> Performance:
    """Return the motion of the person in a video as a performance for the actor.

    The central pose of that person becomes the actor's central pose; from there head and torso move as in the video.

    Args:
        video: the video.
        actor: the actor.
        reporter: gets progress and notes.
        face_number: which of several faces, from 1 at the left.
        match_range: scale each channel so that its maximum in the video becomes that of the actor's footage.

    Returns:
        The performance at the video's frame rate, with frames from 0.

    Raises:
        UserError: the video cannot be used, or the actor is damaged.
        Cancelled: no files are left behind.
    """
    with tempfile.TemporaryDirectory(prefix="track") as folder:
        options = CreateOptions(preset=TRACKING_PRESET, face_number=face_number, name=video.stem)
        clip = track_footage(video, Path(folder) / "clip.actor", options, reporter)
        source = clip.load_footage_performance()
    return retarget_performance(
        source, clip.info, actor.load_footage_performance(), actor.info, match_range=match_range
    )


def retarget_performance(
    source: Performance, source_info: ActorInfo, actor_footage: Performance, actor_info: ActorInfo, *, match_range: bool
) -> Performance:
    """Return a performance with its poses around the actor's central pose; see `retarget_video`.

    Args:
        source: the performance.
        source_info: channel ranges of the person that gave it.
        actor_footage: the performance of the actor's footage.
        actor_info: channel ranges of the actor.
        match_range: see `retarget_video`.
    """
    poses: dict[str, Any] = {}
    for part in ("head", "torso"):
        rotation, translation = f"{part}_rotation", f"{part}_translation"
        source_rotations, actor_rotations = (
            matrix_from_quaternion(getattr(table, rotation)) for table in (source, actor_footage)
        )
        difference = source_rotations @ central_rotation(source_rotations).T
        quaternions = align_quaternion_signs(quaternion_from_matrix(difference @ central_rotation(actor_rotations)))
        source_center, actor_center = (np.median(getattr(table, translation), 0) for table in (source, actor_footage))
        poses[rotation] = quaternions.astype(np.float32)
        poses[translation] = (actor_center + (getattr(source, translation) - source_center)).astype(np.float32)
    channels = source.channels.copy()
    if match_range:
        for index, name in enumerate(source.names):
            source_max, actor_max = (info.channel_ranges.get(name, [0.0, 0.0])[1] for info in (source_info, actor_info))
            if source_max >= MIN_MATCHED_MAXIMUM and actor_max > 0:
                channels[:, index] *= actor_max / source_max
    return replace(source, channels=channels, **poses).check("tracked")


def central_rotation(rotations: F64) -> F64:
    """Return the central rotation (3, 3) of rotations (T, 3, 3).

    The mean's nearest rotation is found by singular value decomposition (Moakher, SIAM J. Matrix Anal. Appl. 24, 2002);
    the median of the rotation vectors around it makes it robust against outliers.
    """
    u, _, vt = np.linalg.svd(rotations.mean(0))
    mean = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    offsets = rotation_vector_from_matrix(rotations @ mean.T)
    center: F64 = matrix_from_rotation_vector(np.median(offsets, 0)) @ mean
    return center
