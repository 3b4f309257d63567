"""Writes and reads `tracking.npz`: poses, channels and the rig of the actor's footage."""

from __future__ import annotations

import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F64
from .face.blendshape_rig import BlendshapeRig
from .tracker import TrackingResult


def write_tracking(folder: ActorFolder, track: TrackingResult, landmarks: F64) -> None:
    """Writes `tracking.npz`; landmarks (T, 478, 3) are those of the crops."""
    f32 = np.float32
    folder.save_arrays(
        "tracking.npz",
        landmarks=landmarks[:, :, :2].astype(f32),
        intrinsics=track.intrinsics, view=track.view,
        head_rotation=track.head_rotation.astype(f32), head_translation=track.head_translation.astype(f32),
        torso_rotation=track.torso_rotation.astype(f32), torso_translation=track.torso_translation.astype(f32),
        channels=track.channels.astype(f32),
        neutral=track.rig.neutral, shapes=track.rig.shapes, reprojection=track.reprojection.astype(f32),
    )  # fmt: skip


def load_track(folder: ActorFolder) -> TrackingResult:
    """Reads `tracking.npz` back.

    Raises:
        UserError: missing or damaged.
    """
    table = {k: np.asarray(v, np.float64) for k, v in folder.load_tracking().items()}
    rig = BlendshapeRig(table.pop("neutral"), table.pop("shapes"))
    table.pop("landmarks")
    return TrackingResult(rig=rig, **table)
