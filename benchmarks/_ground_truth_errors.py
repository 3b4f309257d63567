"""Errors of recovered poses and channels against ground truth."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from backend.contract.arrays import F64, Floats, Mask
from backend.contract.channels import CHANNEL_INDEX, CHANNELS, FACIAL_CHANNELS, ORAL_CHANNELS
from backend.contract.geometry import matrix_from_quaternion, rotation_angle_degrees

# The channels that matter most, by the name of their figure.
MEASURED_CHANNELS = {
    "jawOpen": ("jawOpen",), "eyeBlink": ("eyeBlinkLeft", "eyeBlinkRight"), "mouthPucker": ("mouthPucker",),
    "mouthSmile": ("mouthSmileLeft", "mouthSmileRight"), "browInnerUp": ("browInnerUp",),
    "gaze": tuple(n for n in CHANNELS if n.startswith("eyeLook")),
}  # fmt: skip
ONSET_VALUE = 0.5  # of eyeBlink, where a blink begins
ONSET_TOLERANCE_FRAMES = 3  # by which the beginnings of a found and a true blink may differ
MIN_MOTION = 0.1  # from which a channel of the truth counts as moving


def rotation_errors(estimate: Floats, truth: Floats, should_align: bool = True) -> F64:
    """(T,) degrees between rotations.

    The rigs' conventions of "straight ahead" differ by a constant rotation, which changes no image. It is estimated as
    the mean of the relative rotations and removed.

    Args:
        estimate: (T, 4) quaternions wxyz.
        truth: (T, 4) the same.
        should_align: whether the constant rotation is removed.
    """
    a, b = matrix_from_quaternion(estimate), matrix_from_quaternion(truth)
    relative = np.swapaxes(b, 1, 2) @ a
    if not should_align:
        return rotation_angle_degrees(relative)
    u, _, vt = np.linalg.svd(relative.mean(0))
    constant = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return rotation_angle_degrees(np.swapaxes(relative, 1, 2) @ constant)


def rotation_jitter(rotation: Floats) -> float:
    """Mean degrees between successive rotations (T, 4) wxyz: the jitter of a head that is still."""
    matrices = matrix_from_quaternion(rotation)
    return float(rotation_angle_degrees(np.swapaxes(matrices[1:], 1, 2) @ matrices[:-1]).mean())


def channel_errors(estimate: Floats, truth: Floats) -> dict[str, float]:
    """Mean absolute error and correlation of channels (T, 52), for each row of `MEASURED_CHANNELS`."""
    figures = {}
    for name, members in MEASURED_CHANNELS.items():
        columns = [CHANNEL_INDEX[n] for n in members]
        a, b = estimate[:, columns], truth[:, columns]
        figures[f"{name}_mae"] = float(np.abs(a - b).mean())
        figures[f"{name}_r"] = correlation(a.ravel(), b.ravel())
    return figures


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's r of two curves (N,); 0 when one of them is constant."""
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else 0.0


def count_blinks(estimate: Floats, truth: Floats) -> tuple[int, int, int]:
    """Count the blinks of both eyes in channels (T, 52): true ones, found ones, false ones.

    A blink begins where `eyeBlink` rises through `ONSET_VALUE`. A true one is found when an estimated one begins within
    `ONSET_TOLERANCE_FRAMES`.
    """
    true_count = found_count = false_count = 0
    for name in MEASURED_CHANNELS["eyeBlink"]:
        true_onsets, unmatched = (find_onsets(c[:, CHANNEL_INDEX[name]]) for c in (truth, estimate))
        for onset in true_onsets:
            nearest = min(unmatched, key=partial(_distance, onset), default=None)
            if nearest is not None and _distance(onset, nearest) <= ONSET_TOLERANCE_FRAMES:
                unmatched.remove(nearest)
                found_count += 1
        true_count, false_count = true_count + len(true_onsets), false_count + len(unmatched)
    return true_count, found_count, false_count


def _distance(a: int, b: int) -> int:
    return abs(a - b)


def find_onsets(curve: Floats) -> list[int]:
    """Return the frames at which a curve (T,) has risen to `ONSET_VALUE`."""
    return [int(t) + 1 for t in np.flatnonzero((curve[1:] >= ONSET_VALUE) & (curve[:-1] < ONSET_VALUE))]


def crosstalk(estimate: Floats, truth: Floats) -> dict[str, float]:
    """Mean values of channels (T, 52) that rest in the truth while the other half of the face moves.

    For the motion "parts" of the synthetic actor, which moves oral and facial channels by turns.

    Returns:
        By direction, `_mean`: over all channels of the resting half and all frames; `_worst`: the largest mean of one
        channel over one sweep.
    """
    figures = {}
    halves = {"oral": [CHANNEL_INDEX[n] for n in ORAL_CHANNELS], "facial": [CHANNEL_INDEX[n] for n in FACIAL_CHANNELS]}
    for moving, resting in (("oral", "facial"), ("facial", "oral")):
        is_moving = truth[:, halves[moving]].max(1) > MIN_MOTION
        leaked = estimate[:, halves[resting]]
        figures[f"crosstalk_{moving}_to_{resting}_mean"] = float(leaked[is_moving].mean())
        sweeps = [leaked[run].mean(0).max() for run in find_runs(is_moving)]
        figures[f"crosstalk_{moving}_to_{resting}_worst"] = float(max(sweeps))
    return figures


def find_runs(flags: Mask) -> list[NDArray[np.intp]]:
    """Return the indices of each run of True in flags (T,)."""
    indices = np.flatnonzero(flags)
    return [run for run in np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1) if len(run)]
