"""Selection of the footage that an actor learns from, and the notes that tell the user what is left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...contract.arrays import F32, F64, Floats, Mask
from ...contract.errors import UserError
from . import topology as topo
from . import visibility
from .landmarks import DETECTION_INTERVAL, Box, Scan

MIN_SEGMENT_SECONDS = 3.0  # shorter footage is refused; not tuned
MIN_VARIED_SECONDS = 8.0  # below, a note warns that expressions will be generic; not tuned
MIN_FACE_PIXELS = 72  # median height of the face below which footage is refused; not tuned
# Degrees of median yaw, as in `visibility.MAX_YAW_DEGREES`, beyond which one half of the face is hardly ever seen.
MAX_MEDIAN_YAW_DEGREES = 16.0
MIN_REPORTED_SECONDS = 1.0  # seconds of unused good footage from which a note mentions it

# Several people. Nothing here is tuned.
MIN_FACE_PRESENCE = 0.1  # share of the detections that must see a face for the footage to show a person
SIMILAR_FACE_HEIGHT = 0.5  # share of the largest face's height from which another face counts as a person too
TALLEST_FACE_PERCENTILE = 90  # of all heights: one false, huge detection does not decide
SIMULTANEOUS_FACES_PERCENTILE = 75  # of the counts of faces per detection
MAX_CENTER_DISTANCE = 0.9  # horizontal distance in heights of the tallest face up to which boxes are one person's
MIN_PERSON_PRESENCE = 0.2  # share of the detections in which a person must be seen to be offered
REGION_MARGIN = 0.35  # heights of the tallest face added around a person's boxes

# Cuts. Changes are mean differences of the thumbnails in gray levels. Thresholds were chosen so that a jump cut within
# one framing stays below: both of its sides teach the same actor.
CUT_THRESHOLD = 28.0  # change that only a cut makes
SUDDEN_CUT_THRESHOLD = 20.0  # change that is a cut where it also exceeds the usual change `SUDDEN_CUT_RATIO` times
SUDDEN_CUT_RATIO = 5.0
USUAL_CHANGE_FRAMES = 25  # length of the mean that gives the usual change
MAX_FACE_JUMP = 0.45  # face heights that the nose moves between two frames without a cut
MIN_JUMP_CHANGE = 4.0  # change that must come with such a jump; less is a slip of the mesh

# Why a frame is not trained on. Actor files store these texts.
HAND_OVER_FACE = "hand over the face"
NO_FACE = "no clear face"
TURNED_AWAY = "turned away"
OUTSIDE_IMAGE = "cut off by the picture's edge"
BLURRED = "blurred"
EYES_SHUT = "eyes shut"
OUTSIDE_SEGMENT = "outside the longest good stretch"  # the frame itself is good
SEGMENT_BREAKING_REASONS = (HAND_OVER_FACE, NO_FACE, TURNED_AWAY, OUTSIDE_IMAGE)  # the segment ends at such a frame
FRAME_EXCLUDING_REASONS = (BLURRED, EYES_SHUT)  # such frames may lie inside the segment
EXCLUSION_REASONS = (*SEGMENT_BREAKING_REASONS, *FRAME_EXCLUDING_REASONS, OUTSIDE_SEGMENT)
# How notes put each reason after a number of seconds.
REASON_PHRASES = {
    HAND_OVER_FACE: "with a hand over the face",
    NO_FACE: "without a clear face",
    TURNED_AWAY: "turned away",
    OUTSIDE_IMAGE: "with the face partly outside the picture",
    BLURRED: "blurred",
    EYES_SHUT: "with the eyes shut",
}


@dataclass
class SegmentSelection:
    """The segment of the footage that an actor learns from.

    Attributes:
        first: first source frame.
        last: last source frame, inclusive.
        landmarks: (T, 478, 3) of those frames.
        notes: sentences for the user about what is left out.
        excluded: [first, last, reason] of source frames (inclusive) that the portrait is not trained on, in order; each
            reason is one of `EXCLUSION_REASONS`. Those of `FRAME_EXCLUDING_REASONS` may lie inside the segment.
    """

    first: int
    last: int
    landmarks: F32
    notes: list[str] = field(default_factory=list)
    excluded: list[list[int | str]] = field(default_factory=list)


def find_face_regions(scan: Scan) -> list[Box]:
    """Return one region per person, from left to right: x, y, width, height in pixels.

    A person is seen in at least `MIN_PERSON_PRESENCE` of the detections, at a similar size as the tallest.
    """
    boxes = [box for detected in scan.face_boxes for box in detected]
    if not boxes:
        return []
    tallest = np.percentile([box[3] for box in boxes], TALLEST_FACE_PERCENTILE)
    return [
        _surrounding_region(person, REGION_MARGIN * tallest, scan.frame_size)
        for person in _group_by_person(boxes, tallest)
        if len(person) >= MIN_PERSON_PRESENCE * len(scan.face_boxes)
    ]


def _group_by_person(boxes: list[F32], tallest: np.floating[Any]) -> list[list[F32]]:
    """Return the boxes that are large enough, grouped by their horizontal position from left to right."""
    groups: list[list[F32]] = []
    large = (box for box in boxes if box[3] > SIMILAR_FACE_HEIGHT * tallest)
    for box in sorted(large, key=lambda b: float(b[0])):
        center = box[0] + box[2] / 2
        for group in groups:
            if abs(np.mean([b[0] + b[2] / 2 for b in group]) - center) < MAX_CENTER_DISTANCE * tallest:
                group.append(box)
                break
        else:
            groups.append([box])
    return groups


def _surrounding_region(boxes: list[F32], margin: np.floating[Any], frame_size: tuple[int, int]) -> Box:
    """Return the region around boxes (5,), cut to the frame."""
    x0, y0 = np.min([box[:2] for box in boxes], 0)
    x1, y1 = np.max([box[:2] + box[2:4] for box in boxes], 0)
    left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
    right, bottom = min(frame_size[0], int(x1 + margin)), min(frame_size[1], int(y1 + margin))
    return left, top, right - left, bottom - top


def count_simultaneous_faces(scan: Scan) -> int:
    """Return how many faces of similar size most detections see at once."""
    counts = [int((b[:, 3] > SIMILAR_FACE_HEIGHT * b[:, 3].max()).sum()) for b in scan.face_boxes if len(b)]
    return int(np.percentile(counts, SIMULTANEOUS_FACES_PERCENTILE)) if counts else 0


def require_single_face(scan: Scan) -> None:
    """Check that the footage shows exactly one person.

    Raises:
        UserError: no_face, or several_faces (with the remedy ``--face``).
    """
    if not scan.face_boxes or np.mean([len(boxes) > 0 for boxes in scan.face_boxes]) < MIN_FACE_PRESENCE:
        raise UserError(
            "no_face",
            "No human face was found in this video.",
            "Use a clip that shows one person's face from the front, at least 100 pixels tall.",
        )
    regions = find_face_regions(scan)
    if count_simultaneous_faces(scan) >= 2 and len(regions) >= 2:
        raise UserError(
            "several_faces",
            f"This video shows {len(regions)} faces at once.",
            f"Choose one with --face 1 to {len(regions)}, counted from the left.",
            {"faces": [list(region) for region in regions], "frame": _find_frame_with_faces(scan, len(regions))},
        )


def _find_frame_with_faces(scan: Scan, count: int) -> int:
    """Return the first frame in which `count` faces are detected, or the most that are ever detected at once."""
    counts = [len(boxes) for boxes in scan.face_boxes]
    return counts.index(next((n for n in counts if n >= count), max(counts))) * DETECTION_INTERVAL


def select_segment(scan: Scan, yaw: F64, fps: float) -> SegmentSelection:
    """Select the longest segment without cuts in which one face is clear and turned to the camera.

    Args:
        scan: the scan of the footage.
        yaw: (T,) degrees of a rough head pose, NaN where there is no face.
        fps: frames per second.

    Raises:
        UserError: face_too_small, turned_away, too_short.
    """
    face_heights = _measure_face_heights(scan.landmarks)
    is_good_by_reason = _good_frames_by_reason(scan, yaw, fps)
    _require_frontal_face(yaw[is_good_by_reason[NO_FACE]])
    is_cut = find_cuts(scan, face_heights)
    first, last = _longest_segment(np.all([is_good_by_reason[name] for name in SEGMENT_BREAKING_REASONS], 0), is_cut)
    seconds = (last - first + 1) / fps
    if seconds < MIN_SEGMENT_SECONDS:
        raise UserError(
            "too_short",
            f"The longest uninterrupted segment that shows one face clearly lasts only {max(seconds, 0):.1f} s.",
            f"Use a clip that shows the person for at least {MIN_SEGMENT_SECONDS:.0f} s, "
            "better 20 s or more, without a cut.",
        )
    labels = _label_frames(is_good_by_reason, first, last)
    notes = _describe_selection(labels, int(is_cut.sum()), first, last, fps)
    if seconds < MIN_VARIED_SECONDS:
        notes.append(f"Only {seconds:.1f} s could be used: expressions that the clip does not show will look generic.")
    excluded: list[list[int | str]] = [
        [start, end, name] for name in EXCLUSION_REASONS for start, end in visibility.find_runs(labels == name)
    ]
    excluded.sort(key=lambda e: int(e[0]))
    return SegmentSelection(first, last, scan.landmarks[first : last + 1], notes, excluded)


def _measure_face_heights(landmarks: F32) -> Floats:
    """Return (T,) heights of the face in pixels, 0 where there is none.

    Raises:
        UserError: face_too_small.
    """
    has_mesh = np.isfinite(landmarks[:, 0, 0])
    heights = np.where(has_mesh, np.ptp(np.nan_to_num(landmarks[..., 1]), axis=1), 0)
    typical = float(np.median(heights[has_mesh])) if has_mesh.any() else 0.0
    if typical < MIN_FACE_PIXELS:
        raise UserError(
            "face_too_small",
            f"The face is only {typical:.0f} pixels tall.",
            f"Use footage in which it is at least {MIN_FACE_PIXELS} pixels tall.",
        )
    return heights


def _require_frontal_face(yaw: F64) -> None:
    """Check that the head is turned to the camera most of the time.

    Args:
        yaw: degrees in the frames that show a face.

    Raises:
        UserError: turned_away.
    """
    if len(yaw) and np.median(np.abs(yaw)) > MAX_MEDIAN_YAW_DEGREES:
        raise UserError(
            "turned_away",
            "The face is turned away from the camera most of the time.",
            "Use footage in which the person looks towards the camera.",
        )


def _good_frames_by_reason(scan: Scan, yaw: F64, fps: float) -> dict[str, Mask]:
    """Return for each exclusion reason the frames (T,) that it does not apply to."""
    has_face = visibility.has_face(scan)
    return {
        HAND_OVER_FACE: visibility.is_uncovered(scan),
        NO_FACE: has_face,
        TURNED_AWAY: visibility.is_frontal(yaw) | ~has_face,
        OUTSIDE_IMAGE: visibility.is_inside_image(scan),
        BLURRED: visibility.is_sharp(scan),
        EYES_SHUT: visibility.has_open_eyes(scan, fps),
    }


def _label_frames(is_good_by_reason: dict[str, Mask], first: int, last: int) -> NDArray[np.str_]:
    """Return (T,) the first reason that excludes each frame; "" for frames that are trained on."""
    labels = np.full(len(is_good_by_reason[NO_FACE]), "", dtype="U32")
    for name in EXCLUSION_REASONS[:-1]:
        labels[(labels == "") & ~is_good_by_reason[name]] = name
    is_outside = np.ones(len(labels), bool)
    is_outside[first : last + 1] = False
    labels[is_outside & (labels == "")] = OUTSIDE_SEGMENT
    return labels


def find_cuts(scan: Scan, face_height: Floats) -> Mask:
    """Return (T,) True on the first frame after a cut: the whole image changes at once, or the face jumps.

    Args:
        scan: the scan of the footage.
        face_height: (T,) pixels.
    """
    thumbnails = scan.thumbnails.astype(np.float32)
    change = np.r_[0, np.abs(np.diff(thumbnails, axis=0)).mean((1, 2))]
    usual = cv2.blur(change[:, None].astype(np.float32), (1, USUAL_CHANGE_FRAMES))[:, 0]
    jump = np.r_[0, np.linalg.norm(np.diff(scan.landmarks[:, topo.NOSE_TIP, :2], axis=0), axis=1)]
    has_jumped = np.nan_to_num(jump) > MAX_FACE_JUMP * np.maximum(face_height, 1)
    is_sudden = (change > SUDDEN_CUT_THRESHOLD) & (change > SUDDEN_CUT_RATIO * usual)
    return np.asarray((change > CUT_THRESHOLD) | is_sudden | (has_jumped & (change > MIN_JUMP_CHANGE)))


def _longest_segment(is_good: Mask, is_cut: Mask) -> tuple[int, int]:
    """Return the first and last frame of the longest run of good frames between two cuts; (0, −1) without one."""
    bounds = [0, *np.flatnonzero(is_cut).tolist(), len(is_good)]
    segments = [
        (start + first, start + last)
        for start, end in pairwise(bounds)
        for first, last in visibility.find_runs(is_good[start:end])
    ]
    return max(segments, key=lambda segment: segment[1] - segment[0], default=(0, -1))


def _describe_selection(labels: NDArray[np.str_], cut_count: int, first: int, last: int, fps: float) -> list[str]:
    """Return sentences about what is used and what is not; none when the whole clip is used."""
    if not (labels != "").any():
        return []

    def reason_phrases(reasons: tuple[str, ...], part: NDArray[np.str_]) -> list[str]:
        seconds = {name: float((part == name).sum() / fps) for name in reasons}
        return [f"{seconds[name]:.1f} s {REASON_PHRASES[name]}" for name in reasons if seconds[name]]

    cuts = [f"{cut_count} cut{'s' if cut_count > 1 else ''}"] if cut_count else []
    notes = []
    if last - first + 1 < len(labels):
        notes.append(
            f"Used {first / fps:.1f} s to {(last + 1) / fps:.1f} s of {len(labels) / fps:.1f} s of footage "
            f"({'; '.join(cuts + reason_phrases(SEGMENT_BREAKING_REASONS, labels))})."
        )
    unused_seconds = float((labels == OUTSIDE_SEGMENT).sum() / fps)
    if unused_seconds >= MIN_REPORTED_SECONDS:
        notes.append(
            f"{unused_seconds:.1f} s of good footage lie outside that segment and were not used: "
            "the actor learns only from the longest uninterrupted segment."
        )
    flawed = reason_phrases(FRAME_EXCLUDING_REASONS, labels[first : last + 1])
    if flawed:
        notes.append(f"Within it the portrait is not trained on {' and '.join(flawed)}.")
    return notes
