"""Whether the actor holds together beyond the footage: at head poses half as far again as any that were learned."""

from __future__ import annotations

import numpy as np

from ..dataset.clip import Clip
from ..portrait.model import Portrait
from ..training.extrapolated_poses import PoseExtrapolator, count_hole_pixels

EXTRAPOLATED_POSE_COUNT = 24  # poses that are drawn


def measure_holes(clip: Clip, portrait: Portrait) -> dict[str, float]:
    """{"pixels_mean", "pixels_max"}: pixels inside the silhouette whose alpha is under 0.95, per pose, at 512².

    The head is turned and shifted against the torso half as far again as the farthest training frames show.
    """
    counts = []
    for pose in PoseExtrapolator(clip).farthest_poses(EXTRAPOLATED_POSE_COUNT):
        frame = portrait.render(pose, clip.camera, with_mattes=False)
        counts.append(count_hole_pixels(frame.alpha.cpu().numpy()) * (512 / clip.crop_size) ** 2)
    return {"pixels_mean": round(float(np.mean(counts)), 2), "pixels_max": round(float(np.max(counts)), 2)}
