"""Which part of the footage an actor can be learned from, and plain sentences about what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ...contract.arrays import F32, F64, Floats, Mask
from ...contract.errors import UserError
from . import topology as topo
from . import visibility
from .landmarks import DETECTION_INTERVAL, Scan

MIN_SEGMENT_SECONDS = 3.0
MIN_FACE_PIXELS = 72
MAX_MEDIAN_YAW_DEGREES = 16.0  # degrees like `visibility.MAX_YAW`; beyond it one half of the face is hardly ever seen
CUT_THRESHOLD = 28.0  # mean grey-level change between thumbnails that only a cut makes
SUDDEN_CUT_THRESHOLD = 20.0  # the same where the picture was calm before; a jump cut within one framing stays below it
MIN_REPORTED_SECONDS = 1.0  # seconds of good footage that is not used

# Why a frame is not learned from. The first four end a stretch; the next two only keep a frame from training the
# portrait; the last is no fault of the frame.
HAND_OVER_FACE, NO_FACE, TURNED_AWAY, OUTSIDE_IMAGE = (
    "hand over the face",
    "no clear face",
    "turned away",
    "cut off by the picture's edge",
)
BLURRED, EYES_SHUT = "blurred", "eyes shut"
OUTSIDE_SEGMENT = "outside the longest good stretch"
SEGMENT_BREAKING_REASONS, FRAME_EXCLUDING_REASONS = (
    (HAND_OVER_FACE, NO_FACE, TURNED_AWAY, OUTSIDE_IMAGE),
    (BLURRED, EYES_SHUT),
)
EXCLUSION_REASONS = (*SEGMENT_BREAKING_REASONS, *FRAME_EXCLUDING_REASONS, OUTSIDE_SEGMENT)
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
    """The chosen stretch.

    Attributes:
        first, last: source frames, inclusive.
        landmarks: (T, 478, 3) of those frames.
        notes: what was left out, for the person.
        excluded: [first, last, reason] of source frames (inclusive) that the portrait is not trained on, in order; each
            reason is one of `REASONS`. Those that are `FLAWED` may lie inside the stretch.
    """

    first: int
    last: int
    landmarks: F32
    notes: list[str] = field(default_factory=list)
    excluded: list[list[int | str]] = field(default_factory=list)


def find_face_regions(scan: Scan) -> list[tuple[int, int, int, int]]:
    """Where persons sit, left to right: x, y, width, height in pixels of a region that holds one face each.

    Faces count when they are seen in at least a fifth of the looks and are at least half as tall as the largest.
    """
    seen = [box for boxes in scan.face_boxes for box in boxes]
    if not seen:
        return []
    tallest = np.percentile([b[3] for b in seen], 90)
    centres: list[list[F32]] = []
    for box in sorted((b for b in seen if b[3] > 0.5 * tallest), key=lambda b: float(b[0])):
        middle = box[0] + box[2] / 2
        home = next((c for c in centres if abs(np.mean([b[0] + b[2] / 2 for b in c]) - middle) < 0.9 * tallest), None)
        (home.append(box) if home else centres.append([box]))
    regions = []
    for boxes in centres:
        if len(boxes) < 0.2 * len(scan.face_boxes):
            continue
        x0, y0 = np.min([b[:2] for b in boxes], 0)
        x1, y1 = np.max([b[:2] + b[2:4] for b in boxes], 0)
        grow = 0.35 * tallest
        left, top = max(0, int(x0 - grow)), max(0, int(y0 - grow))
        right, bottom = min(scan.frame_size[0], int(x1 + grow)), min(scan.frame_size[1], int(y1 + grow))
        regions.append((left, top, right - left, bottom - top))
    return regions


def count_simultaneous_faces(scan: Scan) -> int:
    """How many faces of similar size are in the picture at once, in most looks where there is any."""
    counts = [int((b[:, 3] > 0.5 * b[:, 3].max()).sum()) for b in scan.face_boxes if len(b)]
    return int(np.percentile(counts, 75)) if counts else 0


def require_single_face(scan: Scan) -> None:
    """Passes when exactly one person is shown.

    Raises:
        UserError: no_face, or several_faces (with the remedy ``--face``).
    """
    looks = [len(b) for b in scan.face_boxes]
    if not looks or np.mean([n > 0 for n in looks]) < 0.1:
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
            f"Say which one to use with --face 1 to {len(regions)}, counted from the left.",
            {"faces": [list(region) for region in regions], "frame": _find_frame_with_faces(scan, len(regions))},
        )


def _find_frame_with_faces(scan: Scan, count: int) -> int:
    """The first looked-at frame in which `count` faces are seen, or the most that are ever seen at once."""
    seen = [len(boxes) for boxes in scan.face_boxes]
    return seen.index(next((n for n in seen if n >= count), max(seen))) * DETECTION_INTERVAL


def select_segment(scan: Scan, yaw: F64, fps: float) -> SegmentSelection:
    """The longest stretch without cuts in which one face is plausible and turned to the camera.

    Args:
        yaw: (T,) degrees of a rough head pose, NaN where there is no face.

    Raises:
        UserError: face_too_small, turned_away, too_short.
    """
    landmarks = scan.landmarks
    found = np.isfinite(landmarks[:, 0, 0])
    height = np.where(found, np.ptp(np.nan_to_num(landmarks[..., 1]), axis=1), 0)
    typical = float(np.median(height[found])) if found.any() else 0.0
    if typical < MIN_FACE_PIXELS:
        raise UserError(
            "face_too_small",
            f"The face is only {typical:.0f} pixels tall.",
            f"Use footage in which it is at least {MIN_FACE_PIXELS} pixels tall.",
        )
    reasons = _good_frames_by_reason(scan, yaw, fps)
    good = np.all([reasons[name] for name in SEGMENT_BREAKING_REASONS], 0)
    cuts = find_cuts(scan, height)
    first, last = _longest_segment(good, cuts)
    seconds = (last - first + 1) / fps
    usable = np.abs(yaw[reasons[NO_FACE]])
    if len(usable) and np.median(usable) > MAX_MEDIAN_YAW_DEGREES:
        raise UserError(
            "turned_away",
            "The face is turned away from the camera most of the time.",
            "Use footage in which the person looks towards the camera.",
        )
    if seconds < MIN_SEGMENT_SECONDS:
        raise UserError(
            "too_short",
            f"The longest stretch that shows one face clearly and without a cut lasts only {max(seconds, 0):.1f} s.",
            f"Use a clip that shows the person for at least {MIN_SEGMENT_SECONDS:.0f} s, "
            "better 20 s or more, without a cut.",
        )
    labels = _label_frames(reasons, first, last)
    notes = _describe_selection(labels, int(cuts.sum()), first, last, fps)
    if seconds < 8:
        notes.append(f"Only {seconds:.1f} s could be used: expressions that the clip does not show will look generic.")
    excluded: list[list[int | str]] = [
        [start, end, name] for name in EXCLUSION_REASONS for start, end in visibility.find_runs(labels == name)
    ]
    return SegmentSelection(first, last, landmarks[first : last + 1], notes, sorted(excluded, key=lambda e: int(e[0])))


def _good_frames_by_reason(scan: Scan, yaw: F64, fps: float) -> dict[str, Mask]:
    """For each reason to leave a frame out the frames (T,) that are fine in that respect."""
    found = visibility.has_face(scan)
    return {
        HAND_OVER_FACE: visibility.is_uncovered(scan),
        NO_FACE: found,
        TURNED_AWAY: visibility.is_frontal(yaw) | ~found,
        OUTSIDE_IMAGE: visibility.is_inside_image(scan),
        BLURRED: visibility.is_sharp(scan),
        EYES_SHUT: visibility.has_open_eyes(scan, fps),
    }


def _label_frames(good_frames: dict[str, Mask], first: int, last: int) -> NDArray[np.str_]:
    """(T,) why each frame is not learned from, "" where it is: the first reason that applies counts."""
    labels = np.full(len(good_frames[NO_FACE]), "", dtype="U32")
    for name in EXCLUSION_REASONS[:-1]:
        labels[(labels == "") & ~good_frames[name]] = name
    outside = np.ones(len(labels), bool)
    outside[first : last + 1] = False
    labels[outside & (labels == "")] = OUTSIDE_SEGMENT
    return labels


def find_cuts(scan: Scan, face_height: Floats) -> Mask:
    """(T,) True on the first frame of a new shot: the whole picture changes at once, or the face jumps.

    A jump cut that keeps person and framing is no new shot: both sides teach the same actor.
    """
    thumbs = scan.thumbnails.astype(np.float32)
    change = np.r_[0, np.abs(np.diff(thumbs, axis=0)).mean((1, 2))]
    usual = cv2.blur(change[:, None].astype(np.float32), (1, 25))[:, 0]
    middle = scan.landmarks[:, topo.NOSE_TIP, :2]
    jump = np.r_[0, np.linalg.norm(np.diff(middle, axis=0), axis=1)]
    jumped = np.nan_to_num(jump) > 0.45 * np.maximum(face_height, 1)
    return (change > CUT_THRESHOLD) | ((change > SUDDEN_CUT_THRESHOLD) & (change > 5 * usual)) | (jumped & (change > 4))


def _longest_segment(is_good: Mask, is_cut: Mask) -> tuple[int, int]:
    """First and last frame of the longest run of good frames within one shot; (0, −1) when there is none."""
    best, start = (0, -1), -1
    for t in range(len(is_good) + 1):
        ends = t == len(is_good) or not is_good[t] or is_cut[t]
        if start >= 0 and ends:
            if t - start > best[1] - best[0] + 1:
                best = (start, t - 1)
            start = -1
        if t < len(is_good) and is_good[t] and start < 0:
            start = t
    return best


def _describe_selection(labels: NDArray[np.str_], cut_count: int, first: int, last: int, fps: float) -> list[str]:
    """What is used and what is not, in plain words; nothing when all of the clip is."""
    if not (labels != "").any():
        return []

    def seconds(names: tuple[str, ...], part: slice = slice(None)) -> float:
        return float(np.isin(labels[part], names).sum() / fps)

    why = [f"{cut_count} cut{'s' if cut_count > 1 else ''}"] if cut_count else []
    why += [f"{seconds((name,)):.1f} s {REASON_PHRASES[name]}" for name in SEGMENT_BREAKING_REASONS if seconds((name,))]
    notes = []
    if last - first + 1 < len(labels):
        notes.append(
            f"Used {first / fps:.1f} s to {(last + 1) / fps:.1f} s of {len(labels) / fps:.1f} s of footage "
            f"({'; '.join(why)})."
        )
    if seconds((OUTSIDE_SEGMENT,)) >= MIN_REPORTED_SECONDS:
        notes.append(
            f"{seconds((OUTSIDE_SEGMENT,)):.1f} s of good footage lie outside that stretch and were not used: "
            "only the longest stretch without interruption is learned from."
        )
    inside = slice(first, last + 1)
    flawed = [
        f"{seconds((name,), inside):.1f} s {REASON_PHRASES[name]}"
        for name in FRAME_EXCLUDING_REASONS
        if seconds((name,), inside)
    ]
    if flawed:
        notes.append(f"Within it the portrait is not trained on {' and '.join(flawed)}.")
    return notes
