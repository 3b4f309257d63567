"""What is wrong with recovered poses and channels, given the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.contract.arrays import F64, Floats, Mask
from backend.contract.channels import CHANNEL_INDEX, CHANNELS, FACIAL_CHANNELS, ORAL_CHANNELS
from backend.contract.geometry import matrix_from_quaternion, rotation_angle_degrees

MEASURED_CHANNELS = {
    "jawOpen": ("jawOpen",), "eyeBlink": ("eyeBlinkLeft", "eyeBlinkRight"), "mouthPucker": ("mouthPucker",),
    "mouthSmile": ("mouthSmileLeft", "mouthSmileRight"), "browInnerUp": ("browInnerUp",),
    "gaze": tuple(n for n in CHANNELS if n.startswith("eyeLook")),
}  # fmt: skip
ONSET_VALUE, ONSET_TOLERANCE_FRAMES = 0.5, 3  # where a blink begins, and frames by which two beginnings may differ
MIN_MOTION = 0.1  # from which a channel of the truth is in motion


def rotation_errors(estimate: Floats, truth: Floats, should_align: bool = True) -> F64:
    """(T,) degrees between two rotations (T, 4) wxyz, after the one constant turn by which the two define "straight".

    Which way a head looks "straight ahead" is a convention of each rig; a constant turn between conventions moves no
    picture, so it is estimated (mean of the relative rotations) and taken out.
    """
    a, b = matrix_from_quaternion(estimate), matrix_from_quaternion(truth)
    relative = np.swapaxes(b, 1, 2) @ a
    if not should_align:
        return rotation_angle_degrees(relative)
    u, _, vt = np.linalg.svd(relative.mean(0))
    constant = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return rotation_angle_degrees(np.swapaxes(relative, 1, 2) @ constant)


def rotation_jitter(rotation: Floats) -> float:
    """Mean degrees between successive rotations (T, 4): what a still head trembles."""
    turn = matrix_from_quaternion(rotation)
    return float(rotation_angle_degrees(np.swapaxes(turn[1:], 1, 2) @ turn[:-1]).mean())


def channel_errors(estimate: Floats, truth: Floats) -> dict[str, float]:
    """Mean absolute error of the channels (T, 52) that matter most, and how well they follow."""
    figures = {}
    for name, members in MEASURED_CHANNELS.items():
        columns = [CHANNEL_INDEX[n] for n in members]
        a, b = estimate[:, columns], truth[:, columns]
        figures[f"{name}_mae"] = float(np.abs(a - b).mean())
        figures[f"{name}_r"] = correlation(a.ravel(), b.ravel())
    return figures


def correlation(a: Floats, b: Floats) -> float:
    """Pearson's r of two curves (N,); 0 when one of them never moves."""
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) and np.ptp(b) else 0.0


def count_blinks(estimate: Floats, truth: Floats) -> tuple[int, int, int]:
    """Of blinks, each eye's own: how many there truly are, how many of them are found, how many are false.

    A blink is where `eyeBlink` rises through `ONSET`; one that was found begins within `NEAR` frames.
    """
    there = found = false = 0
    for name in MEASURED_CHANNELS["eyeBlink"]:
        true, seen = (find_onsets(c[:, CHANNEL_INDEX[name]]) for c in (truth, estimate))
        free = list(seen)
        for moment in true:
            near = min(free, key=lambda t, moment=moment: abs(t - moment), default=None)  # type: ignore[misc]
            if near is not None and abs(near - moment) <= ONSET_TOLERANCE_FRAMES:
                free.remove(near)
                found += 1
        there, false = there + len(true), false + len(free)
    return there, found, false


def find_onsets(curve: Floats) -> list[int]:
    """The frames at which a curve (T,) has risen to `ONSET`."""
    return [int(t) + 1 for t in np.flatnonzero((curve[1:] >= ONSET_VALUE) & (curve[:-1] < ONSET_VALUE))]


def crosstalk(estimate: Floats, truth: Floats) -> dict[str, float]:
    """What rests in the truth but moves in ours while the other half of the face moves (T, 52), sample motion "parts".

    `_mean` is the mean over all channels of that half and all those frames; `_worst` the largest mean of one channel
    over one sweep.
    """
    figures = {}
    halves = {"oral": [CHANNEL_INDEX[n] for n in ORAL_CHANNELS], "facial": [CHANNEL_INDEX[n] for n in FACIAL_CHANNELS]}
    for mover, rester in (("oral", "facial"), ("facial", "oral")):
        moving = truth[:, halves[mover]].max(1) > MIN_MOTION
        leaked = estimate[:, halves[rester]]
        figures[f"crosstalk_{mover}_to_{rester}_mean"] = float(leaked[moving].mean())
        sweeps = [leaked[run].mean(0).max() for run in find_runs(moving)]
        figures[f"crosstalk_{mover}_to_{rester}_worst"] = float(max(sweeps))
    return figures


def find_runs(flags: Mask) -> list[NDArray[np.intp]]:
    """The indices of each run of True in flags (T,)."""
    true = np.flatnonzero(flags)
    return [run for run in np.split(true, np.flatnonzero(np.diff(true) > 1) + 1) if len(run)]
