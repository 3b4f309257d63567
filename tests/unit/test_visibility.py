"""Visibility of the face: hands, blur, shut eyes, the image's edge and missed detections, one at a time."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.contract.actor_folder import ActorInfo
from backend.dataset.split import usable_train_frames
from backend.media.decode import read_frames
from backend.tracking.detection import topology as topo
from backend.tracking.detection import visibility
from backend.tracking.detection.landmarks import DETECTION_INTERVAL, MAX_SCAN_SIDE, THUMBNAIL_SIDE, Scan, scan_frames
from backend.tracking.detection.selection import (
    BLURRED,
    EYES_SHUT,
    HAND_OVER_FACE,
    NO_FACE,
    find_face_regions,
    select_segment,
)

FRAMES = 200
FPS = 25.0
DETECTION_FRAMES = range(0, FRAMES, DETECTION_INTERVAL)


def make_scan() -> Scan:
    """A still face 160 pixels tall at (300, 200) in every detection; its oval is a circle, its eyes are open."""
    rng = np.random.default_rng(0)
    face = rng.uniform(-40, 40, (topo.LANDMARK_COUNT, 3)).astype(np.float32)
    angle = np.linspace(0, 2 * np.pi, len(topo.FACE_OVAL), endpoint=False)
    face[list(topo.FACE_OVAL)] = np.stack([80 * np.sin(angle), -80 * np.cos(angle), 0 * angle], 1)
    face[topo.NOSE_TIP] = 0
    for side, eye in zip((-1, 1), topo.EYES.values(), strict=True):
        face[list(eye.upper_lid)], face[list(eye.lower_lid)] = (side * 30, -24, 0), (side * 30, -16, 0)
        face[eye.inner_corner], face[eye.outer_corner] = (side * 15, -20, 0), (side * 45, -20, 0)
    boxes = np.array([[220, 120, 160, 160, 0.9]], np.float32)
    return Scan(
        np.tile(face + [300, 200, 0], (FRAMES, 1, 1)).astype(np.float32),
        [boxes.copy() for _ in DETECTION_FRAMES],
        np.full((FRAMES, THUMBNAIL_SIDE, THUMBNAIL_SIDE), 90, np.uint8),
        (900, 400),
        np.full(FRAMES, 0.2, np.float32),
        [np.zeros((0, 21, 2), np.float32) for _ in DETECTION_FRAMES],
        [np.zeros(0, np.float32) for _ in DETECTION_FRAMES],
    )


def put_hand(scan: Scan, detection: int, center: tuple[float, float], score: float) -> None:
    """Puts a hand about 50 pixels wide into one detection."""
    joints = np.random.default_rng(detection).uniform(-25, 25, (1, 21, 2)) + center
    scan.hands[detection], scan.hand_scores[detection] = joints.astype(np.float32), np.array([score], np.float32)


def test_faultless_face_is_good_in_every_respect() -> None:
    scan = make_scan()
    for mask in (
        visibility.has_face(scan),
        visibility.is_inside_image(scan),
        visibility.is_uncovered(scan),
        visibility.is_sharp(scan),
    ):
        assert mask.all()
    assert visibility.has_open_eyes(scan, FPS).all() and visibility.is_frontal(np.zeros(FRAMES)).all()


def test_hand_over_the_face_ends_the_segment_and_hand_on_the_chest_does_not() -> None:
    scan = make_scan()
    for detection in (10, 11, 13):  # missed once between
        put_hand(scan, detection, (300, 240), 0.8)
    for detection in range(20, 30):
        put_hand(scan, detection, (300, 350), 0.99)
    covered = ~visibility.is_uncovered(scan)
    assert visibility.find_runs(covered) == [(8 * DETECTION_INTERVAL + 1, 15 * DETECTION_INTERVAL - 1)]
    selection = select_segment(scan, np.zeros(FRAMES), FPS)
    assert (selection.first, selection.last) == (15 * DETECTION_INTERVAL, FRAMES - 1)
    assert [41, 74, HAND_OVER_FACE] in selection.excluded and "hand over the face" in selection.notes[0]


def test_hand_in_a_single_detection_covers_only_with_a_high_score() -> None:
    scan = make_scan()
    put_hand(scan, 10, (300, 200), 0.8)
    assert visibility.is_uncovered(scan).all()
    put_hand(scan, 10, (300, 200), 0.99)
    assert not visibility.is_uncovered(scan)[50]


def test_runs_of_blurred_frames_are_excluded_and_shorter_ones_are_kept() -> None:
    scan = make_scan()
    scan.sharpness[[20, 21]] = 0.05
    scan.sharpness[60:66] = 0.05
    scan.sharpness[100:110] = 0.16
    assert visibility.find_runs(~visibility.is_sharp(scan)) == [(60, 65)]
    selection = select_segment(scan, np.zeros(FRAMES), FPS)
    assert (selection.first, selection.last) == (0, FRAMES - 1) and selection.excluded == [[60, 65, "blurred"]]
    assert selection.notes == ["Within it the portrait is not trained on 0.2 s blurred."]


def test_eyes_shut_for_long_are_excluded_and_blinks_are_not() -> None:
    scan = make_scan()
    for eye in topo.EYES.values():
        for part in (slice(20, 28), slice(50, 80), slice(82, 120)):  # a blink; a nap with a glance between
            scan.landmarks[part, list(eye.upper_lid), 1] = scan.landmarks[0, eye.lower_lid[3], 1] - 1
    selection = select_segment(scan, np.zeros(FRAMES), FPS)
    assert selection.excluded == [[50, 119, EYES_SHUT]] and (selection.first, selection.last) == (0, FRAMES - 1)


def test_face_at_the_edge_of_the_image_is_excluded_count() -> None:
    scan = make_scan()
    scan.landmarks[:60, :, 1] -= 190
    scan.face_boxes[:12] = [boxes - [0, 190, 0, 0, 0] for boxes in scan.face_boxes[:12]]
    assert visibility.find_runs(~visibility.is_inside_image(scan)) == [(0, 59)]
    assert select_segment(scan, np.zeros(FRAMES), FPS).first == 60


def test_missed_detections_are_bridged_only_while_the_mesh_holds() -> None:
    scan = make_scan()
    for detection in (10, 11, 12):
        scan.face_boxes[detection] = np.zeros((0, 5), np.float32)
    assert visibility.has_face(scan).all()
    scan.landmarks[55] = np.nan
    assert not visibility.has_face(scan)[50:60].any()
    selection = select_segment(scan, np.zeros(FRAMES), FPS)
    assert [48, 62, NO_FACE] in selection.excluded
    assert "of good footage lie outside that segment" in selection.notes[1]


def test_every_frame_is_either_used_or_excluded_once() -> None:
    scan, yaw = make_scan(), np.zeros(FRAMES)
    scan.sharpness[150:160], yaw[40:50] = 0.01, 60
    scan.thumbnails[90:] = 200
    selection = select_segment(scan, yaw, FPS)
    excluded_count = np.zeros(FRAMES, int)
    for first, last, _ in selection.excluded:
        excluded_count[int(first) : int(last) + 1] += 1
    assert excluded_count.max() == 1
    assert (np.flatnonzero(excluded_count == 0) == [*range(90, 150), *range(160, 200)]).all()


def test_training_leaves_out_frames_excluded_within_the_segment() -> None:
    info = ActorInfo(
        segments=[[10, 109]],
        excluded=[[0, 9, NO_FACE], [20, 24, BLURRED], [105, 109, EYES_SHUT], [110, 120, HAND_OVER_FACE]],
    )
    assert usable_train_frames(info, 90).tolist() == [*range(10), *range(15, 90)]


def test_training_uses_every_frame_when_none_or_all_are_excluded() -> None:
    assert len(usable_train_frames(ActorInfo(segments=[[0, 9]], excluded=[[0, 9, EYES_SHUT]]), 9)) == 9
    assert len(usable_train_frames(ActorInfo(), 9)) == 9


def test_motion_blur_is_detected_in_the_blurred_frames_only(sample_clip: Path) -> None:
    """Seven pixels of blur along x are about a twentieth of the face."""
    kernel = np.zeros((13, 13), np.float32)
    kernel[6, 3:10] = 1 / 7

    frames = [
        (i, t, np.asarray(cv2.filter2D(rgb, -1, kernel), np.uint8) if 20 <= i < 26 else rgb)
        for i, t, rgb in islice(read_frames(sample_clip), 40)
    ]
    scan = scan_frames(frames)
    assert visibility.find_runs(~visibility.is_sharp(scan)) == [(20, 25)]


def test_sample_clip_without_hands_is_uncovered(sample_clip: Path) -> None:
    scan = scan_frames(islice(read_frames(sample_clip), 40))
    assert not any(map(len, scan.hands)) and visibility.is_uncovered(scan).all()


def test_small_face_in_a_large_image_gives_the_landmarks_of_its_close_up(sample_clip: Path) -> None:
    """The sample's frame is pasted into 4K footage that decoding has shrunk to a third."""
    small = list(islice(read_frames(sample_clip), 12))
    side, left, top, width, height = 256, 900, 380, 1280, 720
    noise = np.random.default_rng(0).integers(60, 90, (9, 16, 3), dtype=np.uint8)
    background = np.asarray(cv2.resize(noise, (width, height)), np.uint8)
    large = []
    for index, seconds, rgb in small:
        image = background.copy()
        image[top : top + side, left : left + side] = rgb
        large.append((index, seconds, image))
    close_up, scan = scan_frames(small), scan_frames(large, frame_size=(3840, 2160))
    assert width > MAX_SCAN_SIDE and scan.frame_size == (3840, 2160)
    assert np.isfinite(scan.landmarks).all()
    error = scan.landmarks[:, :, :2] / 3 - [left, top] - close_up.landmarks[:, :, :2]
    assert np.linalg.norm(error, axis=2).mean() < 1.0


def test_second_scan_of_the_same_frames_gives_the_same_numbers(sample_clip: Path) -> None:
    frames = list(islice(read_frames(sample_clip), 15))
    first, second = scan_frames(frames), scan_frames(frames)
    np.testing.assert_array_equal(first.landmarks, second.landmarks)
    np.testing.assert_array_equal(first.sharpness, second.sharpness)


def test_face_of_the_sample_clip_is_listed_once_and_inside_the_frame(sample_clip: Path) -> None:
    (box,) = find_face_regions(scan_frames(read_frames(sample_clip)))
    assert box[0] >= 0 and box[0] + box[2] <= 256 and box[2] > 60


@pytest.mark.parametrize("mask, expected", [
    ([], []), ([0, 0], []), ([1, 1, 0, 1], [(0, 1), (3, 3)]), ([0, 1], [(1, 1)]),
])  # fmt: skip
def test_runs_of_true_are_found(mask: list[int], expected: list[tuple[int, int]]) -> None:
    assert visibility.find_runs(np.array(mask, bool)) == expected
