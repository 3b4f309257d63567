"""What the landmark network and this person do to channels, measured on the clip and taken out."""

from __future__ import annotations

import numpy as np

from ...contract.arrays import F64
from ...contract.channels import CHANNEL_INDEX
from ...contract.geometry import FLIP_YZ, yaw_pitch_roll_degrees
from ..detection import topology as topo
from .blendshape_rig import BlendshapeRig

BIAS_ANGLE_UNIT_DEGREES = 10.0  # the turn that counts as 1 in the model of the network's bias
BIAS_RIDGE = 2.0  # frames' worth of pull of that model towards none
IRIS_DEPTH_METERS = 0.0045  # metres: how far the iris lies in front of the middle between the eye's corners
MAX_BLINK_SCALE = 2.5  # times by which a blink shape is enlarged at most
MIN_BLINK_CLOSURE = 0.35  # from which a clip's strongest lid closures are blinks, that is, the eye fully shut
CLOSED_EYE_QUANTILE = 0.5  # of the closures beyond 0.7 of the strongest: what counts as fully shut


def estimate_landmark_bias(residual: F64, rotation: F64, channels: F64, neutral: F64) -> F64:
    """What the landmark network adds to landmarks and the face does not do, (T, P, 2), metres in head space.

    The network draws a turned face's outline and forehead towards the frontal ones, pulls the whole face down with
    shut lids, and stirs the upper face with the jaw. Fitted per landmark to what pose and channels leave (ridge
    regression): a second-order polynomial of yaw, pitch and roll, and where lids and jaw have no business, a share of
    their channels. Irises are left alone: eyes really turn against the head.

    Args:
        residual: (T, P, 2). rotation: (T, 3, 3) head → camera. channels: (T, 52). neutral: (478, 3).
    """
    turn = yaw_pitch_roll_degrees(FLIP_YZ @ rotation) / BIAS_ANGLE_UNIT_DEGREES
    yaw, pitch, roll = (turn - np.median(turn, 0)).T
    lids = (channels[:, CHANNEL_INDEX["eyeBlinkLeft"]] + channels[:, CHANNEL_INDEX["eyeBlinkRight"]]) / 2
    pose = [yaw, pitch, roll, yaw * yaw, pitch * pitch, yaw * pitch]
    upper = np.setdiff1d(
        np.flatnonzero(neutral[:, 1] > neutral[topo.NOSE_MIDDLE, 1]), np.r_[_LID_LANDMARKS, _IRIS_LANDMARKS]
    )
    lower = np.setdiff1d(np.arange(topo.LANDMARK_COUNT), np.r_[upper, _LID_LANDMARKS, _IRIS_LANDMARKS])
    bias = np.zeros_like(residual)
    for points, extra in (
        (upper, [lids, channels[:, CHANNEL_INDEX["jawOpen"]]]),
        (lower, [lids]),
        (_LID_LANDMARKS, []),
    ):
        terms = np.stack([*pose, *extra], 1)
        design = np.concatenate([np.ones((len(terms), 1)), terms], 1)
        pull = np.diag(np.r_[1e-6, np.full(terms.shape[1], BIAS_RIDGE)])
        seen = residual[:, points].reshape(len(terms), -1)
        weights = np.linalg.solve(design.T @ design + pull, design.T @ seen)
        bias[:, points] = (terms @ weights[1:]).reshape(len(terms), -1, 2)
    return bias


def set_iris_depth(mean_mesh: F64) -> F64:
    """The mesh (478, 3) with its irises at their anatomical depth; bundle adjustment does not see them."""
    result = mean_mesh.copy()
    for eye in topo.EYES.values():
        result[topo.index_array(*eye.iris), 2] = (
            mean_mesh[eye.inner_corner, 2] + mean_mesh[eye.outer_corner, 2]
        ) / 2 + IRIS_DEPTH_METERS
    return result


def normalize_blinks(rig: BlendshapeRig, channels: F64) -> BlendshapeRig:
    """The rig with blink shapes scaled so that this clip's blinks reach 1.

    People shut their eyes when they blink; the landmark network shows lids that stop short, by another share for each
    person. A clip without clear closures changes nothing.
    """
    shapes = rig.shapes.copy()
    for side in ("Left", "Right"):
        lids = channels[:, CHANNEL_INDEX[f"eyeBlink{side}"]]
        strongest = float(np.quantile(lids, 0.997))
        if MIN_BLINK_CLOSURE < strongest < 1:
            closed = lids[lids > 0.7 * strongest]
            shapes[CHANNEL_INDEX[f"eyeBlink{side}"]] *= float(np.quantile(closed, CLOSED_EYE_QUANTILE)) / 0.95
    return BlendshapeRig(rig.neutral, shapes)


def synchronize_gaze(channels: F64) -> F64:
    """Channels (T, 52) in which both eyes look the same way: each eye's own reading is noisy, their mean is not."""
    result = channels.copy()
    column = {name: CHANNEL_INDEX[f"eyeLook{name}"] for name in _GAZE_DIRECTIONS}
    for positive, negative in ((("OutLeft", "InRight"), ("InLeft", "OutRight")), (_GAZE_UP, _GAZE_DOWN)):
        gaze = sum(channels[:, column[n]] for n in positive) - sum(channels[:, column[n]] for n in negative)
        for name in positive:
            result[:, column[name]] = np.clip(gaze / 2, 0, 1)
        for name in negative:
            result[:, column[name]] = np.clip(-gaze / 2, 0, 1)
    return result


_GAZE_UP, _GAZE_DOWN = ("UpLeft", "UpRight"), ("DownLeft", "DownRight")
_GAZE_DIRECTIONS = ("OutLeft", "InLeft", "OutRight", "InRight", *_GAZE_UP, *_GAZE_DOWN)
_LID_LANDMARKS = topo.index_array(*(i for eye in topo.EYES.values() for i in (*eye.upper_lid, *eye.lower_lid)))
_IRIS_LANDMARKS = topo.index_array(*topo.IRIS_LEFT, *topo.IRIS_RIGHT)


def ensure_lids_meet(rig: BlendshapeRig) -> BlendshapeRig:
    """The rig with lids that meet at `eyeBlink` 1. The landmark network never draws a shut eye quite shut, so a shape
    fitted to its lids would leave a slit for ever."""
    shapes = rig.shapes.copy()
    for side in ("Left", "Right"):
        eye, blink = topo.EYES[side], CHANNEL_INDEX[f"eyeBlink{side}"]
        upper, lower = list(eye.upper_lid), list(eye.lower_lid)
        opening = rig.neutral[upper, 1] - rig.neutral[lower, 1]
        closing = shapes[blink, lower, 1] - shapes[blink, upper, 1]
        if closing.sum() > 0:
            shapes[blink] *= np.clip(opening.sum() / closing.sum(), 1, MAX_BLINK_SCALE)
    return BlendshapeRig(rig.neutral, shapes)
