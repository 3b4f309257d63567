"""Calibration of channels to the person: bias of the landmark network, strength of blinks, agreement of both eyes."""

from __future__ import annotations

import numpy as np

from ...contract.arrays import F64
from ...contract.channels import CHANNEL_INDEX
from ...contract.geometry import FLIP_YZ, yaw_pitch_roll_degrees
from ..detection import topology as topo
from .blendshape_rig import BlendshapeRig

BIAS_ANGLE_UNIT_DEGREES = 10.0  # the turn that counts as 1 in the model of the network's bias
# Ridge of that model, in frames' worth of evidence that there is no bias. Larger leaves more bias in. Not tuned.
BIAS_RIDGE = 2.0
BIAS_INTERCEPT_RIDGE = 1e-6  # keeps the system regular; the intercept itself is free and is not taken out
IRIS_DEPTH_METERS = 0.0045  # how far the iris lies in front of the middle between the eye's corners

# The strongest closure of a clip is this quantile: single frames are noise.
STRONGEST_CLOSURE_QUANTILE = 0.997
# Strongest closure from which the clip shows blinks, that is, eyes fully shut. Not tuned.
MIN_BLINK_CLOSURE = 0.35
SHUT_RATIO = 0.7  # share of the strongest closure from which a frame shows a shut eye
CLOSED_EYE_QUANTILE = 0.5  # of the closures of shut eyes: the one that counts as fully shut
FULL_BLINK = 0.95  # channel value that this closure gets, so that stronger blinks still fit below 1
MAX_BLINK_SCALE = 2.5  # factor by which a blink shape is enlarged at most until lids meet; not tuned

_GAZE_UP = ("UpLeft", "UpRight")
_GAZE_DOWN = ("DownLeft", "DownRight")
_GAZE_TO_LEFT = ("OutLeft", "InRight")
_GAZE_TO_RIGHT = ("InLeft", "OutRight")
_GAZE_AXES = ((_GAZE_TO_LEFT, _GAZE_TO_RIGHT), (_GAZE_UP, _GAZE_DOWN))
_LID_LANDMARKS = topo.index_array(*(i for eye in topo.EYES.values() for i in (*eye.upper_lid, *eye.lower_lid)))
_IRIS_LANDMARKS = topo.index_array(*topo.IRIS_LEFT, *topo.IRIS_RIGHT)


def estimate_landmark_bias(residual: F64, rotation: F64, channels: F64, neutral: F64) -> F64:
    """Return the motion (T, 478, 2) that the landmark network adds to the face's own, in metres of head space.

    The network draws a turned face's outline and forehead towards the frontal ones, pulls the whole face down with
    shut lids, and moves the upper face with the jaw. A ridge regression per landmark predicts the residual from a
    second-order polynomial of yaw, pitch and roll, and away from lids and jaw from their channels. Irises keep their
    motion: eyes do turn against the head.

    Args:
        residual: (T, 478, 2) landmarks minus the rig, metres of head space.
        rotation: (T, 3, 3) head → camera.
        channels: (T, 52).
        neutral: (478, 3) metres.
    """
    turn = yaw_pitch_roll_degrees(FLIP_YZ @ rotation) / BIAS_ANGLE_UNIT_DEGREES
    yaw, pitch, roll = (turn - np.median(turn, 0)).T
    pose_terms = [yaw, pitch, roll, yaw * yaw, pitch * pitch, yaw * pitch]
    lids = (channels[:, CHANNEL_INDEX["eyeBlinkLeft"]] + channels[:, CHANNEL_INDEX["eyeBlinkRight"]]) / 2
    jaw = channels[:, CHANNEL_INDEX["jawOpen"]]
    eyes = np.r_[_LID_LANDMARKS, _IRIS_LANDMARKS]
    upper = np.setdiff1d(np.flatnonzero(neutral[:, 1] > neutral[topo.NOSE_MIDDLE, 1]), eyes)
    lower = np.setdiff1d(np.arange(topo.LANDMARK_COUNT), np.r_[upper, eyes])
    bias = np.zeros_like(residual)
    for landmarks, channel_terms in ((upper, [lids, jaw]), (lower, [lids]), (_LID_LANDMARKS, [])):
        terms = np.stack([*pose_terms, *channel_terms], 1)
        design = np.concatenate([np.ones((len(terms), 1)), terms], 1)
        ridge = np.diag(np.r_[BIAS_INTERCEPT_RIDGE, np.full(terms.shape[1], BIAS_RIDGE)])
        target = residual[:, landmarks].reshape(len(terms), -1)
        weights = np.linalg.solve(design.T @ design + ridge, design.T @ target)
        bias[:, landmarks] = (terms @ weights[1:]).reshape(len(terms), -1, 2)
    return bias


def set_iris_depth(mean_mesh: F64) -> F64:
    """Return the mesh (478, 3) with its irises at their anatomical depth, which bundle adjustment does not see."""
    result = mean_mesh.copy()
    for eye in topo.EYES.values():
        corner_depth = (mean_mesh[eye.inner_corner, 2] + mean_mesh[eye.outer_corner, 2]) / 2
        result[topo.index_array(*eye.iris), 2] = corner_depth + IRIS_DEPTH_METERS
    return result


def normalize_blinks(rig: BlendshapeRig, channels: F64) -> BlendshapeRig:
    """Return the rig with blink shapes scaled so that this clip's blinks reach about 1.

    People shut their eyes when they blink, but the lids of the landmark network stop short, by a different share for
    each person. A clip without clear closures changes nothing.
    """
    shapes = rig.shapes.copy()
    for side in ("Left", "Right"):
        closures = channels[:, CHANNEL_INDEX[f"eyeBlink{side}"]]
        strongest = float(np.quantile(closures, STRONGEST_CLOSURE_QUANTILE))
        if MIN_BLINK_CLOSURE < strongest < 1:
            shut = float(np.quantile(closures[closures > SHUT_RATIO * strongest], CLOSED_EYE_QUANTILE))
            shapes[CHANNEL_INDEX[f"eyeBlink{side}"]] *= shut / FULL_BLINK
    return BlendshapeRig(rig.neutral, shapes)


def synchronize_gaze(channels: F64) -> F64:
    """Return channels (T, 52) in which both eyes look in the same direction: the mean of two noisy measurements."""
    result = channels.copy()
    for positive, negative in _GAZE_AXES:
        positive_columns = [CHANNEL_INDEX[f"eyeLook{name}"] for name in positive]
        negative_columns = [CHANNEL_INDEX[f"eyeLook{name}"] for name in negative]
        gaze = sum(channels[:, k] for k in positive_columns) - sum(channels[:, k] for k in negative_columns)
        for column in positive_columns:
            result[:, column] = np.clip(gaze / 2, 0, 1)
        for column in negative_columns:
            result[:, column] = np.clip(-gaze / 2, 0, 1)
    return result


def ensure_lids_meet(rig: BlendshapeRig) -> BlendshapeRig:
    """Return the rig with lids that meet at eyeBlink = 1.

    The landmark network never shows a shut eye quite shut, so a shape fitted to its lids would leave a slit.
    """
    shapes = rig.shapes.copy()
    for side in ("Left", "Right"):
        eye, blink = topo.EYES[side], CHANNEL_INDEX[f"eyeBlink{side}"]
        upper, lower = list(eye.upper_lid), list(eye.lower_lid)
        opening = rig.neutral[upper, 1] - rig.neutral[lower, 1]
        closing = shapes[blink, lower, 1] - shapes[blink, upper, 1]
        if closing.sum() > 0:
            shapes[blink] *= np.clip(opening.sum() / closing.sum(), 1, MAX_BLINK_SCALE)
    return BlendshapeRig(rig.neutral, shapes)
