"""Selection of the footage to learn from: synthetic scans with one fault each, and clips that must be refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from backend.contract.errors import UserError
from backend.contract.progress import Reporter
from backend.pipeline.scan import scan_footage
from backend.tracking.detection import topology as topo
from backend.tracking.detection.landmarks import DETECTION_INTERVAL, THUMBNAIL_SIDE, Scan
from backend.tracking.detection.selection import find_cuts, find_face_regions, require_single_face, select_segment

CLIPS = Path(os.environ.get("PORTRAIT_ACTOR_CLIPS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
needs_clips = pytest.mark.skipif(not (CLIPS / "hard").is_dir(), reason="real clips are not available")


def make_scan(frames: int = 200, faces: int = 1) -> Scan:
    """A still face 160 pixels tall in front of a plain background; further faces stand to its right."""
    rng = np.random.default_rng(0)
    face = rng.uniform(-80, 80, (topo.LANDMARK_COUNT, 3)).astype(np.float32)
    face[topo.NOSE_TIP] = 0
    landmarks = np.tile(face + [300, 200, 0], (frames, 1, 1)).astype(np.float32)
    boxes = np.array([[220 + 300 * k, 120, 160, 160, 0.9] for k in range(faces)], np.float32)
    thumbnails = np.full((frames, THUMBNAIL_SIDE, THUMBNAIL_SIDE), 90, np.uint8)
    detections = [boxes.copy() for _ in range(0, frames, DETECTION_INTERVAL)]
    return Scan(landmarks, detections, thumbnails, (900, 400))


def test_faultless_clip_is_used_whole_and_without_notes() -> None:
    selection = select_segment(make_scan(), np.zeros(200), 25)
    assert (selection.first, selection.last, selection.notes) == (0, 199, [])


def test_cut_splits_the_clip_and_is_named_in_the_note() -> None:
    scan = make_scan()
    scan.thumbnails[60:] = 200
    assert np.flatnonzero(find_cuts(scan, np.full(200, 160.0))).tolist() == [60]
    selection = select_segment(scan, np.zeros(200), 25)
    assert (selection.first, selection.last) == (60, 199)
    assert "1 cut" in selection.notes[0] and "2.4 s to 8.0 s" in selection.notes[0]


def test_jump_cut_within_one_framing_is_not_a_cut() -> None:
    scan = make_scan()
    scan.thumbnails[60:] = 106
    assert not find_cuts(scan, np.full(200, 160.0)).any()


def test_frames_without_a_face_or_turned_away_are_left_out_and_named() -> None:
    scan, yaw = make_scan(), np.zeros(200)
    scan.landmarks[:40] = np.nan
    yaw[150:] = 60
    selection = select_segment(scan, yaw, 25)
    assert (selection.first, selection.last) == (40, 149)
    assert "without a clear face" in selection.notes[0] and "turned away" in selection.notes[0]


def test_mesh_without_detected_face_is_refused_as_no_face() -> None:
    scan = make_scan()
    scan.face_boxes = [np.zeros((0, 5), np.float32) for _ in scan.face_boxes]
    with pytest.raises(UserError, match="No human face") as caught:
        require_single_face(scan)
    assert caught.value.code == "no_face" and caught.value.remedy


def test_two_faces_are_refused_with_the_option_that_chooses_one() -> None:
    scan = make_scan(faces=2)
    with pytest.raises(UserError, match="--face 1 to 2") as caught:
        require_single_face(scan)
    assert caught.value.code == "several_faces"


def test_face_regions_are_ordered_from_left_to_right() -> None:
    left, right = find_face_regions(make_scan(faces=2))
    assert left[0] < right[0]


@pytest.mark.parametrize(("yaw", "frames", "code"), [(40.0, 200, "turned_away"), (0.0, 50, "too_short")])
def test_unusable_footage_is_refused_with_code_sentence_and_remedy(yaw: float, frames: int, code: str) -> None:
    with pytest.raises(UserError) as caught:
        select_segment(make_scan(frames), np.full(frames, yaw), 25)
    assert caught.value.code == code and caught.value.message.count(".") >= 1 and caught.value.remedy


def test_face_of_48_pixels_is_refused_as_too_small() -> None:
    scan = make_scan()
    scan.landmarks = (scan.landmarks - [300, 200, 0]) * 0.3 + [300, 200, 0]
    with pytest.raises(UserError) as caught:
        select_segment(scan, np.zeros(200), 25)
    assert caught.value.code == "face_too_small"


@needs_clips
@pytest.mark.parametrize(
    ("clip", "code"),
    [
        ("hard_cat_nonhuman.mp4", "no_face"),
        ("hard_no_face_vfr.mp4", "no_face"),
        ("hard_face_then_noface_vfr.mov", "too_short"),
        ("hard_side_view_audio.mp4", "turned_away"),
        ("hard_multicut_stage_pd.mp4", "too_short"),
        ("hard_two_faces.mp4", "several_faces"),
    ],
)
def test_unusable_clip_is_refused_for_its_reason(clip: str, code: str) -> None:
    with pytest.raises(UserError) as caught:
        scan_footage(CLIPS / "hard" / clip, None, Reporter())
    assert caught.value.code == code and caught.value.remedy
