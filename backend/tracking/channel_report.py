"""Classifies which channels a footage measures, which weakly, and which not at all.

A channel is recognised by how it moves the landmarks. Three questions decide, each about its rig shape as this camera
sees it: Does the channel move? Does it move landmarks farther than they stray from the rig there? And is the part that
no other moving channel could have caused still larger than that? A least-squares fit can separate the channel from the
others by that part only.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from ..contract.arrays import F64
from ..contract.channels import CHANNEL_INDEX
from .face.blendshape_fit import landmark_weights, project_rig, unproject_landmarks
from .face.blendshape_rig import UNMEASURABLE_CHANNELS, BlendshapeRig
from .tracker import TrackingResult

MEASURED = "measured"
WEAK = "weak"
NOT_MEASURABLE = "not measurable"
# Percentiles between which a channel's range lies. They leave out single outliers, but must not leave out blinks, which
# fill more than a hundredth of a clip.
RANGE_PERCENTILES = (1.0, 99.0)
MIN_MOVING_RANGE = 0.02  # channel units; a channel with less does not move. Not tuned.
MIN_CLEAR_RANGE = 0.1  # channel units; a channel with less is weak. Not tuned.
MIN_DETECTABLE_EFFECT = 0.75  # deviations of the landmarks; a smaller effect is lost in their noise. Not tuned.
MIN_CLEAR_EFFECT = 1.5  # deviations of the landmarks; a smaller effect is weak. Not tuned.


def classify_channels(tracking: TrackingResult, pixels: F64) -> dict[str, str]:
    """Return "measured", "weak" or "not measurable" for every channel.

    Args:
        tracking: of T frames.
        pixels: (T, 478, 2) landmarks in the crop.
    """
    poses = tracking.head_to_camera_poses()
    seen, slope = unproject_landmarks(
        pixels, tracking.rig.neutral[:, 2], poses.rotation, poses.translation, tracking.intrinsics
    )
    residual = seen - project_rig(tracking.rig, tracking.channels, slope)
    shapes = project_shapes(tracking.rig, np.median(slope, 0))
    low, high = np.percentile(tracking.channels, RANGE_PERCENTILES, axis=0)
    channel_range = high - low
    effect = effect_to_noise(shapes, channel_range, residual)
    is_moving = (channel_range >= MIN_MOVING_RANGE) & (effect >= MIN_DETECTABLE_EFFECT)
    is_moving[[CHANNEL_INDEX[name] for name in UNMEASURABLE_CHANNELS]] = False
    is_clear = is_moving & (channel_range >= MIN_CLEAR_RANGE) & (effect >= MIN_CLEAR_EFFECT)
    own_effect = effect * np.sqrt(1 - shared_effect(shapes, np.flatnonzero(is_clear).tolist()))
    is_measured = is_clear & (own_effect >= MIN_CLEAR_EFFECT)
    return {
        name: NOT_MEASURABLE if not is_moving[i] else MEASURED if is_measured[i] else WEAK
        for name, i in CHANNEL_INDEX.items()
    }


def project_shapes(rig: BlendshapeRig, slope: F64) -> F64:
    """Metres (52, 478, 2) by which each channel at 1 moves the landmarks across the camera's rays.

    Args:
        rig: the person's.
        slope: (478, 2) d(xy)/dz of the viewing rays in head space.
    """
    across: F64 = rig.shapes[..., :2] - slope * rig.shapes[..., 2:]
    return across


def effect_to_noise(shapes: F64, channel_range: F64, residual: F64) -> F64:
    """How far each channel moves its landmarks (52,), relative to how far these stray from the rig.

    Both are root mean squares in which a landmark counts by how far the shape moves it (squared) and by its weight in
    the fit. Averaging over landmarks removes no noise: the network's errors are alike in neighbours.

    Args:
        shapes: (52, 478, 2) metres.
        channel_range: (52,) of each channel.
        residual: (T, 478, 2) metres that the rig leaves unexplained.
    """
    noise = residual.var(0).sum(-1)
    squared = (shapes**2).sum(-1)
    weight = squared * landmark_weights()
    total = np.maximum(weight.sum(1), 1e-18)
    size = np.sqrt((weight * squared).sum(1) / total)
    result: F64 = channel_range * size / np.sqrt((weight * noise).sum(1) / total + 1e-18)
    return result


def shared_effect(shapes: F64, moving_channels: list[int]) -> F64:
    """Share 0–1 of each channel's effect (52,) that the other moving channels together could have had.

    It is the share that the best sum of the others' shapes explains, none of them negative: channels rest at 0, so that
    looking up cannot be a negative looking down. 1 / (1 − share) is the variance inflation factor of statistics.

    Args:
        shapes: (52, 478, 2) metres.
        moving_channels: indices; the others get 0.
    """
    rows = (shapes * np.sqrt(landmark_weights())[:, None]).reshape(len(shapes), -1)
    result = np.zeros(len(shapes))
    for i in moving_channels:
        others = rows[[j for j in moving_channels if j != i]]
        power = float(rows[i] @ rows[i])
        if len(others) and power > 0:
            _, rest = nnls(others.T, rows[i])
            result[i] = 1 - rest**2 / power
    return result
