"""What the landmark network and this person do to channels, measured on the clip and taken out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...contract.channels import INDEX
from ...contract.geometry import FLIP, yaw_pitch_roll
from ..detection import topology as topo
from .blendshape_rig import Rig

F64 = NDArray[np.float64]

DEGREES = 10.0  # the turn that counts as 1 in the model of the network's bias
BIAS_PULL = 2.0  # frames' worth of pull of that model towards none
IRIS_DEPTH = 0.0045  # metres: how far the iris lies in front of the middle between the eye's corners
MOST_CLOSING = 2.5  # times by which a blink shape is enlarged at most
SURE_BLINK = 0.35  # from which a clip's strongest lid closures are blinks, that is, the eye fully shut
SHUT_QUANTILE = 0.5  # of the closures beyond 0.7 of the strongest: what counts as fully shut


def network_bias(residual: F64, rotation: F64, channels: F64, neutral: F64) -> F64:
    """What the landmark network adds to landmarks and the face does not do, (T, P, 2), metres in head space.

    The network draws a turned face's outline and forehead towards the frontal ones, pulls the whole face down with
    shut lids, and stirs the upper face with the jaw. Fitted per landmark to what pose and channels leave (ridge
    regression): a second-order polynomial of yaw, pitch and roll, and where lids and jaw have no business, a share of
    their channels. Irises are left alone: eyes really turn against the head.

    Args:
        residual: (T, P, 2). rotation: (T, 3, 3) head → camera. channels: (T, 52). neutral: (478, 3).
    """
    turn = yaw_pitch_roll(FLIP @ rotation) / DEGREES
    yaw, pitch, roll = (turn - np.median(turn, 0)).T
    lids = (channels[:, INDEX["eyeBlinkLeft"]] + channels[:, INDEX["eyeBlinkRight"]]) / 2
    pose = [yaw, pitch, roll, yaw * yaw, pitch * pitch, yaw * pitch]
    upper = np.setdiff1d(np.flatnonzero(neutral[:, 1] > neutral[topo.NOSE_MIDDLE, 1]), np.r_[_LIDS, _IRISES])
    lower = np.setdiff1d(np.arange(topo.COUNT), np.r_[upper, _LIDS, _IRISES])
    bias = np.zeros_like(residual)
    for points, extra in ((upper, [lids, channels[:, INDEX["jawOpen"]]]), (lower, [lids]), (_LIDS, [])):
        terms = np.stack([*pose, *extra], 1)
        design = np.concatenate([np.ones((len(terms), 1)), terms], 1)
        pull = np.diag(np.r_[1e-6, np.full(terms.shape[1], BIAS_PULL)])
        seen = residual[:, points].reshape(len(terms), -1)
        weights = np.linalg.solve(design.T @ design + pull, design.T @ seen)
        bias[:, points] = (terms @ weights[1:]).reshape(len(terms), -1, 2)
    return bias


def with_irises_in_place(mean: F64) -> F64:
    """The mesh (478, 3) with its irises at their anatomical depth; bundle adjustment does not see them."""
    result = mean.copy()
    for eye in topo.EYES.values():
        result[topo.indices(*eye.iris), 2] = (mean[eye.inner, 2] + mean[eye.outer, 2]) / 2 + IRIS_DEPTH
    return result


def with_full_blinks(rig: Rig, channels: F64) -> Rig:
    """The rig with blink shapes scaled so that this clip's blinks reach 1.

    People shut their eyes when they blink; the landmark network shows lids that stop short, by another share for each
    person. A clip without clear closures changes nothing.
    """
    shapes = rig.shapes.copy()
    for side in ("Left", "Right"):
        lids = channels[:, INDEX[f"eyeBlink{side}"]]
        strongest = float(np.quantile(lids, 0.997))
        if SURE_BLINK < strongest < 1:
            closed = lids[lids > 0.7 * strongest]
            shapes[INDEX[f"eyeBlink{side}"]] *= float(np.quantile(closed, SHUT_QUANTILE)) / 0.95
    return Rig(rig.neutral, shapes)


def with_eyes_together(channels: F64) -> F64:
    """Channels (T, 52) in which both eyes look the same way: each eye's own reading is noisy, their mean is not."""
    result = channels.copy()
    column = {name: INDEX[f"eyeLook{name}"] for name in _LOOKS}
    for positive, negative in ((("OutLeft", "InRight"), ("InLeft", "OutRight")), (_UP, _DOWN)):
        gaze = sum(channels[:, column[n]] for n in positive) - sum(channels[:, column[n]] for n in negative)
        for name in positive:
            result[:, column[name]] = np.clip(gaze / 2, 0, 1)
        for name in negative:
            result[:, column[name]] = np.clip(-gaze / 2, 0, 1)
    return result


_UP, _DOWN = ("UpLeft", "UpRight"), ("DownLeft", "DownRight")
_LOOKS = ("OutLeft", "InLeft", "OutRight", "InRight", *_UP, *_DOWN)
_LIDS = topo.indices(*(i for eye in topo.EYES.values() for i in (*eye.upper_lid, *eye.lower_lid)))
_IRISES = topo.indices(*topo.IRIS_LEFT, *topo.IRIS_RIGHT)


def with_closed_lids(rig: Rig) -> Rig:
    """The rig with lids that meet at `eyeBlink` 1. The landmark network never draws a shut eye quite shut, so a shape
    fitted to its lids would leave a slit for ever."""
    shapes = rig.shapes.copy()
    for side in ("Left", "Right"):
        eye, blink = topo.EYES[side], INDEX[f"eyeBlink{side}"]
        upper, lower = list(eye.upper_lid), list(eye.lower_lid)
        opening = rig.neutral[upper, 1] - rig.neutral[lower, 1]
        closing = shapes[blink, lower, 1] - shapes[blink, upper, 1]
        if closing.sum() > 0:
            shapes[blink] *= np.clip(opening.sum() / closing.sum(), 1, MOST_CLOSING)
    return Rig(rig.neutral, shapes)
