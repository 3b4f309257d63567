"""Which channels a footage measures, which weakly, and which not at all.

A channel is told by what it does to the landmarks. Three questions, each about its rig shape as this camera sees it:
does it move, is what it moves larger than what landmarks stray by there, and is the part of it that no other channels
moving in this footage could have had still larger? That part, in deviations of the landmarks, is what a least-squares
fit tells the channel from the others by.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from ..contract.arrays import F64
from ..contract.channels import CHANNEL_INDEX
from ..contract.geometry import matrix_from_quaternion
from .face.blendshape_fit import landmark_weights, project_rig, unproject_landmarks
from .face.blendshape_rig import UNMEASURABLE_CHANNELS, BlendshapeRig
from .tracker import TrackingResult

MEASURED, WEAK, NOT_MEASURABLE = "measured", "weak", "not measurable"
RANGE_PERCENTILES = (
    1.0,
    99.0,
)  # percentiles between which a channel's range lies; a blink fills more than a hundredth of a clip
MIN_MOVING_RANGE, MIN_CLEAR_RANGE = 0.02, 0.1  # ranges below which a channel does not move, and moves little
MIN_DETECTABLE_EFFECT, MIN_CLEAR_EFFECT = (
    0.75,
    1.5,
)  # effects, in deviations of the landmarks, below which it drowns in them, and barely shows


def classify_channels(tracking: TrackingResult, pixels: F64) -> dict[str, str]:
    """The verdict of every channel: "measured", "weak" or "not measurable".

    Args:
        pixels: (T, 478, 2) landmarks in the crop.
    """
    rotation, translation = head_to_camera_poses(tracking)
    seen, slope = unproject_landmarks(pixels, tracking.rig.neutral[:, 2], rotation, translation, tracking.intrinsics)
    stray = seen - project_rig(tracking.rig, tracking.channels, slope)
    usual_slope = np.median(slope, 0)
    shapes = project_shapes(tracking.rig, usual_slope)
    low, high = np.percentile(tracking.channels, RANGE_PERCENTILES, axis=0)
    reach = high - low
    effect = effect_to_noise(shapes, reach, stray)
    there = (reach >= MIN_MOVING_RANGE) & (effect >= MIN_DETECTABLE_EFFECT)
    there[[CHANNEL_INDEX[name] for name in UNMEASURABLE_CHANNELS]] = False
    clear = there & (reach >= MIN_CLEAR_RANGE) & (effect >= MIN_CLEAR_EFFECT)
    own = effect * np.sqrt(1 - shared_effect(shapes, np.flatnonzero(clear).tolist()))
    sure = clear & (own >= MIN_CLEAR_EFFECT)
    return {n: NOT_MEASURABLE if not there[i] else MEASURED if sure[i] else WEAK for n, i in CHANNEL_INDEX.items()}


def head_to_camera_poses(tracking: TrackingResult) -> tuple[F64, F64]:
    """Rotation (T, 3, 3) and translation (T, 3) from head space to the camera."""
    turn, shift = tracking.view[:3, :3], tracking.view[:3, 3]
    return turn @ matrix_from_quaternion(tracking.head_rotation), tracking.head_translation @ turn.T + shift


def project_shapes(rig: BlendshapeRig, slope: F64) -> F64:
    """(52, 478, 2) metres by which each channel at 1 moves the landmarks across the camera's rays, slope (478, 2)."""
    across: F64 = rig.shapes[..., :2] - slope * rig.shapes[..., 2:]
    return across


def effect_to_noise(shapes: F64, channel_range: F64, residual: F64) -> F64:
    """(52,) how far each channel moves the landmarks that it moves, against how far these stray from the rig.

    Both are root mean squares in which a landmark counts by how far the shape moves it (squared) and by its weight
    in the fit. Averaging over landmarks takes no noise away: the network's errors are alike in neighbours.

    Args:
        shapes: (52, 478, 2). reach: (52,) range of the channel. stray: (T, 478, 2) what the rig leaves unexplained.
    """
    noise = residual.var(0).sum(-1)
    squared = (shapes**2).sum(-1)
    weight = squared * landmark_weights()
    total = np.maximum(weight.sum(1), 1e-18)
    size = np.sqrt((weight * squared).sum(1) / total)
    result: F64 = channel_range * size / np.sqrt((weight * noise).sum(1) / total + 1e-18)
    return result


def shared_effect(shapes: F64, moving_channels: list[int]) -> F64:
    """(52,) share 0–1 of each channel's effect that the other `moving` channels together could have had.

    The share explained by the best sum of the others' shapes, none of them negative: channels rest at 0, so that
    looking up cannot be a negative look down. 1 / (1 − share) is what statistics call the variance inflation factor.
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
