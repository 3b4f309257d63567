"""Which frames show the face well enough to learn from: one mask per reason, True where the frame is fine."""

from __future__ import annotations

import cv2
import numpy as np

from ...contract.arrays import F64, Floats, Mask
from . import topology as topo
from .landmarks import DETECTION_INTERVAL, Scan

# Degrees as the mesh's depth shows them, which is about half of the true turn for strongly turned heads.
MAX_YAW_DEGREES = 30.0
MAX_MISSED_DETECTIONS = 3  # looks in a row in which the detector may miss a face that the mesh keeps
MAX_OUTSIDE_SHARE = 0.03  # share of the mesh that may lie outside the picture
MIN_COVERING_JOINTS, MIN_HAND_OVERLAP = (
    2,
    0.02,
)  # joints of a hand, and face heights that they reach into the face, to cover it
CONFIDENT_HAND_SCORE = 0.95  # score from which a single look is believed; otherwise a second one must confirm it
# A face moved by a twentieth of its height during the exposure keeps 0.55 to 0.65 of its usual sharpness; sharp frames
# of the clips this was developed on never fell below 0.74.
MIN_SHARPNESS_RATIO, MIN_BLURRED_FRAMES = (
    0.65,
    3,
)  # shorter runs stay: a blink of blur in a quick turn is how the person looks
MIN_OPENING_RATIO, MIN_SHUT_SECONDS = (
    0.4,
    1.5,
)  # of the usual opening; looking down lowers the lids too, but not for as long
MAX_BRIDGED_SECONDS = 0.15  # seconds of open eyes between two runs of closed eyes that are taken as closed


def has_face(scan: Scan) -> Mask:
    """(T,) a face was found, and the detector's nearest look agrees that one is where the mesh is."""
    landmarks, meshed = scan.landmarks, np.isfinite(scan.landmarks[:, 0, 0])
    seen = np.array([_is_confirmed(scan, k) for k in range(len(scan.face_boxes))], bool)
    # a few missed looks between good ones are the detector's fault where the mesh never lost the face
    for first, last in find_runs(~seen):
        between = first > 0 and last < len(seen) - 1 and last - first + 1 <= MAX_MISSED_DETECTIONS
        if between and meshed[(first - 1) * DETECTION_INTERVAL : (last + 1) * DETECTION_INTERVAL].all():
            seen[first : last + 1] = True
    nearest = np.clip(np.rint(np.arange(len(landmarks)) / DETECTION_INTERVAL).astype(int), 0, len(seen) - 1)
    return np.asarray(meshed & seen[nearest])


def _is_confirmed(scan: Scan, detection_index: int) -> bool:
    """Whether the detector sees a face where the mesh is in one look."""
    boxes = scan.face_boxes[detection_index]
    nose = scan.landmarks[min(detection_index * DETECTION_INTERVAL, len(scan.landmarks) - 1), topo.NOSE_TIP, :2]
    return bool(((boxes[:, :2] < nose) & (nose < boxes[:, :2] + boxes[:, 2:4])).all(1).any())


def estimate_yaw(landmarks: Floats) -> F64:
    """(T,) degrees the head is turned, from single frames alone; NaN where there is no face.

    The mesh's own depth gives the turn: the line through the outer eye corners and the cheeks, seen from above.
    """
    left = landmarks[:, [263, 356, 323, 291]].mean(1)
    right = landmarks[:, [33, 127, 93, 61]].mean(1)
    across = left - right
    return np.degrees(np.arctan2(across[:, 2], across[:, 0])).astype(np.float64)


def is_frontal(yaw: F64) -> Mask:
    """(T,) turned to the camera; unknown turns are not."""
    return np.abs(np.nan_to_num(yaw, nan=90.0)) < MAX_YAW_DEGREES


def is_inside_image(scan: Scan) -> Mask:
    """(T,) the face lies in the picture; True where there is none."""
    points = scan.landmarks[:, : topo.MESH_VERTEX_COUNT, :2]
    beyond = (points < 0) | (points > np.array(scan.frame_size))
    return beyond.any(2).mean(1) <= MAX_OUTSIDE_SHARE


def is_uncovered(scan: Scan) -> Mask:
    """(T,) no hand is over the face, nor about to be: one in motion is not recognised, so a look is added."""
    scores = np.array([_covering_hand_score(scan, k) for k in range(len(scan.hands))])
    seen = scores > 0
    # the same hand, lost in one look between two, is still there; one seen only once must be clear
    before, after = np.r_[False, seen][:-1], np.r_[seen, False][1:]
    seen |= before & after
    beside = np.r_[False, seen][:-1] | np.r_[seen, False][1:]
    covered = seen & (beside | (scores > CONFIDENT_HAND_SCORE))
    result = np.ones(len(scan.landmarks), bool)
    for k in np.flatnonzero(covered):
        result[max((k - 2) * DETECTION_INTERVAL + 1, 0) : (k + 2) * DETECTION_INTERVAL] = False
    return result


def _covering_hand_score(scan: Scan, detection_index: int) -> float:
    """The best score of a hand over the face in one look, 0 without one."""
    points = scan.landmarks[
        min(detection_index * DETECTION_INTERVAL, len(scan.landmarks) - 1), list(topo.FACE_OVAL), :2
    ]
    if np.isnan(points).any():
        return 0.0
    face = cv2.convexHull(np.ascontiguousarray(points, np.float32))
    depth = MIN_HAND_OVERLAP * float(np.ptp(points[:, 1]))
    best = 0.0
    for hand, score in zip(scan.hands[detection_index], scan.hand_scores[detection_index], strict=True):
        joints = sum(cv2.pointPolygonTest(face, (float(x), float(y)), True) > depth for x, y in hand)
        if joints >= MIN_COVERING_JOINTS:
            best = max(best, float(score))
    return best


def is_sharp(scan: Scan) -> Mask:
    """(T,) not in a run of clearly blurred frames, by the clip's own measure; True where there is no face."""
    if not np.isfinite(scan.sharpness).any():
        return np.ones(len(scan.landmarks), bool)
    usual = float(np.nanmedian(scan.sharpness))
    blurred = np.nan_to_num(scan.sharpness, nan=np.inf) < MIN_SHARPNESS_RATIO * usual
    result = np.ones(len(blurred), bool)
    for first, last in find_runs(blurred):
        result[first : last + 1] = last - first + 1 < MIN_BLURRED_FRAMES
    return result


def has_open_eyes(scan: Scan, fps: float) -> Mask:
    """(T,) not in a long stretch of shut eyes; True where there is no face."""
    opening = eye_opening(scan.landmarks)
    if not np.isfinite(opening).any():
        return np.ones(len(opening), bool)
    shut = np.nan_to_num(opening, nan=np.inf) < MIN_OPENING_RATIO * float(np.nanpercentile(opening, 80))
    for first, last in find_runs(~shut):
        if last - first + 1 <= MAX_BRIDGED_SECONDS * fps and first > 0 and last < len(shut) - 1:
            shut[first : last + 1] = True
    result = np.ones(len(shut), bool)
    for first, last in find_runs(shut):
        result[first : last + 1] = last - first + 1 < MIN_SHUT_SECONDS * fps
    return result


def eye_opening(landmarks: Floats) -> F64:
    """(T,) how far the lids are apart over the eye's width, mean of both eyes."""
    sides = []
    for eye in topo.EYES.values():
        upper = landmarks[:, list(eye.upper_lid[2:5]), :2].mean(1)
        lower = landmarks[:, list(eye.lower_lid[2:5]), :2].mean(1)
        width = np.linalg.norm(landmarks[:, eye.inner_corner, :2] - landmarks[:, eye.outer_corner, :2], axis=1)
        sides.append(np.linalg.norm(upper - lower, axis=1) / np.maximum(width, 1e-6))
    return np.asarray(np.mean(sides, 0), np.float64)


def find_runs(mask: Mask) -> list[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
