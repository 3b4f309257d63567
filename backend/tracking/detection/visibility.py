"""Frames that show the face well enough to learn from: one mask per reason, True where the frame is good."""

from __future__ import annotations

import cv2
import numpy as np

from ...contract.arrays import F64, Floats, Mask
from . import topology as topo
from .landmarks import DETECTION_INTERVAL, Scan

# Degrees as the mesh's depth shows them, about half of the true turn of strongly turned heads. Larger keeps frames in
# which half of the face is hidden. Not tuned.
MAX_YAW_DEGREES = 30.0
# Consecutive detections in which the detector may miss a face that the mesh keeps. Not tuned.
MAX_MISSED_DETECTIONS = 3
MAX_OUTSIDE_SHARE = 0.03  # share of the mesh that may lie outside the image; not tuned
MIN_COVERING_JOINTS = 2  # joints of a hand inside the face from which it covers the face; not tuned
MIN_HAND_OVERLAP = 0.02  # face heights by which such a joint lies inside the outline of the face; not tuned
# Score from which one detection of a hand suffices; below, a neighbouring detection must confirm it. Lower trusts more
# single false detections. Not tuned.
CONFIDENT_HAND_SCORE = 0.95
# Share of the clip's median sharpness below which a frame is blurred. A face that moves by a twentieth of its height
# during the exposure keeps 0.55 to 0.65; sharp frames of the clips used in development stayed above 0.74.
MIN_SHARPNESS_RATIO = 0.65
# Frames from which a run of blurred frames is left out. Shorter runs belong to how the person looks in quick turns.
MIN_BLURRED_FRAMES = 3
# Share of the usual opening of the lids below which eyes are shut, and the percentile of the clip that is usual.
MIN_OPENING_RATIO = 0.4
USUAL_OPENING_PERCENTILE = 80
MIN_SHUT_SECONDS = 1.5  # shorter runs are blinks, or a look down, which lowers the lids too
MAX_BRIDGED_SECONDS = 0.15  # open eyes for no longer than this between two runs of shut eyes count as shut


def has_face(scan: Scan) -> Mask:
    """Return (T,) where the mesh found a face and the nearest detection confirms it."""
    has_mesh = np.isfinite(scan.landmarks[:, 0, 0])
    confirmed = np.array([_is_confirmed(scan, k) for k in range(len(scan.face_boxes))], bool)
    # Where the mesh never lost the face, a few misses between good detections are the detector's fault.
    for first, last in find_runs(~confirmed):
        is_between = first > 0 and last < len(confirmed) - 1 and last - first + 1 <= MAX_MISSED_DETECTIONS
        if is_between and has_mesh[(first - 1) * DETECTION_INTERVAL : (last + 1) * DETECTION_INTERVAL].all():
            confirmed[first : last + 1] = True
    nearest = np.rint(np.arange(len(has_mesh)) / DETECTION_INTERVAL).astype(int)
    return np.asarray(has_mesh & confirmed[np.clip(nearest, 0, len(confirmed) - 1)])


def _is_confirmed(scan: Scan, detection_index: int) -> bool:
    """Return whether a detected face lies where the mesh is."""
    boxes = scan.face_boxes[detection_index]
    nose = scan.landmarks[_detection_frame(scan, detection_index), topo.NOSE_TIP, :2]
    return bool(((boxes[:, :2] < nose) & (nose < boxes[:, :2] + boxes[:, 2:4])).all(1).any())


def _detection_frame(scan: Scan, detection_index: int) -> int:
    """Return the frame of a detection."""
    return min(detection_index * DETECTION_INTERVAL, len(scan.landmarks) - 1)


def estimate_yaw(landmarks: Floats) -> F64:
    """Return (T,) degrees by which the head is turned, each frame by itself; NaN where there is no face.

    The mesh's own depth gives the turn: the line from side to side of the face, seen from above.
    """
    left = landmarks[:, list(topo.SIDE_LEFT)].mean(1)
    right = landmarks[:, list(topo.SIDE_RIGHT)].mean(1)
    across = left - right
    return np.asarray(np.degrees(np.arctan2(across[:, 2], across[:, 0])), np.float64)


def is_frontal(yaw: F64) -> Mask:
    """Return (T,) where the face is turned to the camera; unknown turns (NaN) are not."""
    return np.abs(np.nan_to_num(yaw, nan=90.0)) < MAX_YAW_DEGREES


def is_inside_image(scan: Scan) -> Mask:
    """Return (T,) where the face lies in the image; True where there is no face."""
    points = scan.landmarks[:, : topo.MESH_VERTEX_COUNT, :2]
    is_beyond = (points < 0) | (points > np.array(scan.frame_size))
    return np.asarray(is_beyond.any(2).mean(1) <= MAX_OUTSIDE_SHARE)


def is_uncovered(scan: Scan) -> Mask:
    """Return (T,) where no hand is over the face.

    Frames up to two detections away from a covering hand count as covered: a hand in motion is not detected.
    """
    scores = np.array([_covering_hand_score(scan, k) for k in range(len(scan.hands))])
    is_detected = scores > 0
    # A hand missed in one detection between two others is still there. A hand detected only once must be clear.
    is_detected |= _shift_right(is_detected) & _shift_left(is_detected)
    has_neighbor = _shift_right(is_detected) | _shift_left(is_detected)
    is_covered = is_detected & (has_neighbor | (scores > CONFIDENT_HAND_SCORE))
    result = np.ones(len(scan.landmarks), bool)
    for k in np.flatnonzero(is_covered):
        result[max((k - 2) * DETECTION_INTERVAL + 1, 0) : (k + 2) * DETECTION_INTERVAL] = False
    return result


def _shift_right(mask: Mask) -> Mask:
    return np.concatenate([[False], mask])[:-1]


def _shift_left(mask: Mask) -> Mask:
    return np.concatenate([mask, [False]])[1:]


def _covering_hand_score(scan: Scan, detection_index: int) -> float:
    """Return the best score of a hand over the face in one detection; 0 without one."""
    points = scan.landmarks[_detection_frame(scan, detection_index), list(topo.FACE_OVAL), :2]
    if np.isnan(points).any():
        return 0.0
    outline = cv2.convexHull(np.ascontiguousarray(points, np.float32))
    overlap = MIN_HAND_OVERLAP * float(np.ptp(points[:, 1]))
    best = 0.0
    for hand, score in zip(scan.hands[detection_index], scan.hand_scores[detection_index], strict=True):
        joints = sum(cv2.pointPolygonTest(outline, (float(x), float(y)), True) > overlap for x, y in hand)
        if joints >= MIN_COVERING_JOINTS:
            best = max(best, float(score))
    return best


def is_sharp(scan: Scan) -> Mask:
    """Return (T,) False in runs of frames much less sharp than the clip's median; True where there is no face."""
    if not np.isfinite(scan.sharpness).any():
        return np.ones(len(scan.landmarks), bool)
    usual = float(np.nanmedian(scan.sharpness))
    is_blurred = np.nan_to_num(scan.sharpness, nan=np.inf) < MIN_SHARPNESS_RATIO * usual
    result = np.ones(len(is_blurred), bool)
    for first, last in find_runs(is_blurred):
        result[first : last + 1] = last - first + 1 < MIN_BLURRED_FRAMES
    return result


def has_open_eyes(scan: Scan, fps: float) -> Mask:
    """Return (T,) False where the eyes are shut for longer than a blink; True where there is no face."""
    opening = eye_opening(scan.landmarks)
    if not np.isfinite(opening).any():
        return np.ones(len(opening), bool)
    usual = float(np.nanpercentile(opening, USUAL_OPENING_PERCENTILE))
    is_shut = np.nan_to_num(opening, nan=np.inf) < MIN_OPENING_RATIO * usual
    for first, last in find_runs(~is_shut):
        if last - first + 1 <= MAX_BRIDGED_SECONDS * fps and first > 0 and last < len(is_shut) - 1:
            is_shut[first : last + 1] = True
    result = np.ones(len(is_shut), bool)
    for first, last in find_runs(is_shut):
        result[first : last + 1] = last - first + 1 < MIN_SHUT_SECONDS * fps
    return result


def eye_opening(landmarks: Floats) -> F64:
    """Return (T,) the distance of the lids over the width of the eye, mean of both eyes."""
    openings = []
    for eye in topo.EYES.values():
        upper = landmarks[:, list(eye.upper_lid[2:5]), :2].mean(1)
        lower = landmarks[:, list(eye.lower_lid[2:5]), :2].mean(1)
        width = np.linalg.norm(landmarks[:, eye.inner_corner, :2] - landmarks[:, eye.outer_corner, :2], axis=1)
        openings.append(np.linalg.norm(upper - lower, axis=1) / np.maximum(width, 1e-6))
    return np.asarray(np.mean(openings, 0), np.float64)


def find_runs(mask: Mask) -> list[tuple[int, int]]:
    """Return the first and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
