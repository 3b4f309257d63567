"""Which frames show the face well enough to learn from: one mask per reason, True where the frame is fine."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import topology as topo
from .landmarks import DETECT_EVERY, Scan

Mask = NDArray[np.bool_]

# Degrees as the mesh's depth shows them, which is about half of the true turn for strongly turned heads.
MAX_YAW = 30.0
MISSED_LOOKS = 3  # looks in a row in which the detector may miss a face that the mesh keeps
OUTSIDE = 0.03  # share of the mesh that may lie outside the picture
HAND_POINTS, HAND_DEPTH = 2, 0.02  # joints of a hand, and face heights that they reach into the face, to cover it
CLEAR_HAND = 0.95  # score from which a single look is believed; otherwise a second one must confirm it
# A face moved by a twentieth of its height during the exposure keeps 0.55 to 0.65 of its usual sharpness; sharp frames
# of the clips this was developed on never fell below 0.74.
BLURRED, BLURRED_FRAMES = 0.65, 3  # shorter runs stay: a blink of blur in a quick turn is how the person looks
SHUT, SHUT_SECONDS = 0.4, 1.5  # of the usual opening; looking down lowers the lids too, but not for as long
BRIDGED = 0.15  # seconds of open eyes between two runs of closed eyes that are taken as closed


def found(scan: Scan) -> Mask:
    """(T,) a face was found, and the detector's nearest look agrees that one is where the mesh is."""
    landmarks, meshed = scan.landmarks, np.isfinite(scan.landmarks[:, 0, 0])
    seen = np.array([_confirmed(scan, k) for k in range(len(scan.faces))], bool)
    # a few missed looks between good ones are the detector's fault where the mesh never lost the face
    for first, last in runs(~seen):
        between = first > 0 and last < len(seen) - 1 and last - first + 1 <= MISSED_LOOKS
        if between and meshed[(first - 1) * DETECT_EVERY : (last + 1) * DETECT_EVERY].all():
            seen[first : last + 1] = True
    nearest = np.clip(np.rint(np.arange(len(landmarks)) / DETECT_EVERY).astype(int), 0, len(seen) - 1)
    return np.asarray(meshed & seen[nearest])


def _confirmed(scan: Scan, look: int) -> bool:
    """Whether the detector sees a face where the mesh is in one look."""
    boxes = scan.faces[look]
    nose = scan.landmarks[min(look * DETECT_EVERY, len(scan.landmarks) - 1), topo.NOSE_TIP, :2]
    return bool(((boxes[:, :2] < nose) & (nose < boxes[:, :2] + boxes[:, 2:4])).all(1).any())


def rough_yaw(landmarks: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(T,) degrees the head is turned, from single frames alone; NaN where there is no face.

    The mesh's own depth gives the turn: the line through the outer eye corners and the cheeks, seen from above.
    """
    left = landmarks[:, [263, 356, 323, 291]].mean(1)
    right = landmarks[:, [33, 127, 93, 61]].mean(1)
    across = left - right
    return np.degrees(np.arctan2(across[:, 2], across[:, 0])).astype(np.float64)


def facing(yaw: NDArray[np.float64]) -> Mask:
    """(T,) turned to the camera; unknown turns are not."""
    return np.abs(np.nan_to_num(yaw, nan=90.0)) < MAX_YAW


def inside(scan: Scan) -> Mask:
    """(T,) the face lies in the picture; True where there is none."""
    points = scan.landmarks[:, : topo.MESH, :2]
    beyond = (points < 0) | (points > np.array(scan.size))
    return beyond.any(2).mean(1) <= OUTSIDE


def uncovered(scan: Scan) -> Mask:
    """(T,) no hand is over the face, nor about to be: one in motion is not recognised, so a look is added."""
    scores = np.array([_covered(scan, k) for k in range(len(scan.hands))])
    seen = scores > 0
    # the same hand, lost in one look between two, is still there; one seen only once must be clear
    before, after = np.r_[False, seen][:-1], np.r_[seen, False][1:]
    seen |= before & after
    beside = np.r_[False, seen][:-1] | np.r_[seen, False][1:]
    covered = seen & (beside | (scores > CLEAR_HAND))
    result = np.ones(len(scan.landmarks), bool)
    for k in np.flatnonzero(covered):
        result[max((k - 2) * DETECT_EVERY + 1, 0) : (k + 2) * DETECT_EVERY] = False
    return result


def _covered(scan: Scan, look: int) -> float:
    """The best score of a hand over the face in one look, 0 without one."""
    points = scan.landmarks[min(look * DETECT_EVERY, len(scan.landmarks) - 1), list(topo.FACE_OVAL), :2]
    if np.isnan(points).any():
        return 0.0
    face = cv2.convexHull(np.ascontiguousarray(points, np.float32))
    depth = HAND_DEPTH * float(np.ptp(points[:, 1]))
    best = 0.0
    for hand, score in zip(scan.hands[look], scan.hand_scores[look], strict=True):
        joints = sum(cv2.pointPolygonTest(face, (float(x), float(y)), True) > depth for x, y in hand)
        if joints >= HAND_POINTS:
            best = max(best, float(score))
    return best


def sharp(scan: Scan) -> Mask:
    """(T,) not in a run of clearly blurred frames, by the clip's own measure; True where there is no face."""
    if not np.isfinite(scan.sharpness).any():
        return np.ones(len(scan.landmarks), bool)
    usual = float(np.nanmedian(scan.sharpness))
    blurred = np.nan_to_num(scan.sharpness, nan=np.inf) < BLURRED * usual
    result = np.ones(len(blurred), bool)
    for first, last in runs(blurred):
        result[first : last + 1] = last - first + 1 < BLURRED_FRAMES
    return result


def awake(scan: Scan, fps: float) -> Mask:
    """(T,) not in a long stretch of shut eyes; True where there is no face."""
    opening = eye_opening(scan.landmarks)
    if not np.isfinite(opening).any():
        return np.ones(len(opening), bool)
    shut = np.nan_to_num(opening, nan=np.inf) < SHUT * float(np.nanpercentile(opening, 80))
    for first, last in runs(~shut):
        if last - first + 1 <= BRIDGED * fps and first > 0 and last < len(shut) - 1:
            shut[first : last + 1] = True
    result = np.ones(len(shut), bool)
    for first, last in runs(shut):
        result[first : last + 1] = last - first + 1 < SHUT_SECONDS * fps
    return result


def eye_opening(landmarks: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(T,) how far the lids are apart over the eye's width, mean of both eyes."""
    sides = []
    for eye in topo.EYES.values():
        upper = landmarks[:, list(eye.upper_lid[2:5]), :2].mean(1)
        lower = landmarks[:, list(eye.lower_lid[2:5]), :2].mean(1)
        width = np.linalg.norm(landmarks[:, eye.inner, :2] - landmarks[:, eye.outer, :2], axis=1)
        sides.append(np.linalg.norm(upper - lower, axis=1) / np.maximum(width, 1e-6))
    return np.asarray(np.mean(sides, 0), np.float64)


def runs(mask: Mask) -> list[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
