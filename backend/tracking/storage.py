"""Writes and reads `tracking.npz`: poses, channels and the rig of the actor's footage."""

from __future__ import annotations

import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F64
from .face.blendshape_rig import BlendshapeRig
from .tracker import TrackingResult


def write_tracking(folder: ActorFolder, tracking: TrackingResult, landmarks: F64) -> None:
    """Write `tracking.npz`.

    Args:
        folder: of the actor.
        tracking: of T frames.
        landmarks: (T, 478, ≥2) pixels of the crop.
    """
    folder.save_arrays(
        "tracking.npz",
        landmarks=landmarks[:, :, :2].astype(np.float32),
        intrinsics=tracking.intrinsics,
        view=tracking.view,
        head_rotation=tracking.head_rotation.astype(np.float32),
        head_translation=tracking.head_translation.astype(np.float32),
        torso_rotation=tracking.torso_rotation.astype(np.float32),
        torso_translation=tracking.torso_translation.astype(np.float32),
        channels=tracking.channels.astype(np.float32),
        neutral=tracking.rig.neutral,
        shapes=tracking.rig.shapes,
        reprojection=tracking.reprojection.astype(np.float32),
    )


def load_tracking(folder: ActorFolder) -> TrackingResult:
    """Read `tracking.npz`.

    Raises:
        UserError: the file is missing or damaged.
    """
    table = {k: np.asarray(v, np.float64) for k, v in folder.load_tracking().items()}
    rig = BlendshapeRig(table.pop("neutral"), table.pop("shapes"))
    table.pop("landmarks")
    return TrackingResult(rig=rig, **table)
