"""Which frames show the face: hands, blur, shut eyes, the picture's edge and missed looks, one at a time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.contract.actor_folder import ActorInfo
from backend.contract.progress import Reporter
from backend.dataset.split import usable_train_frames
from backend.media.decode import read_frames
from backend.pipeline.scan import list_faces
from backend.tracking.detection import topology as topo
from backend.tracking.detection import visibility
from backend.tracking.detection.landmarks import DETECTION_INTERVAL, MAX_SCAN_SIDE, THUMBNAIL_SIDE, Scan, scan_frames
from backend.tracking.detection.selection import BLURRED, EYES_SHUT, HAND_OVER_FACE, NO_FACE, select_segment

FRAMES, FPS = 200, 25.0
LOOKS = range(0, FRAMES, DETECTION_INTERVAL)


def make_scan() -> Scan:
    """A still face 160 pixels tall at (300, 200), seen by every witness; its oval is a circle, its eyes are open."""
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
        [boxes.copy() for _ in LOOKS],
        np.full((FRAMES, THUMBNAIL_SIDE, THUMBNAIL_SIDE), 90, np.uint8),
        (900, 400),
        np.full(FRAMES, 0.2, np.float32),
        [np.zeros((0, 21, 2), np.float32) for _ in LOOKS],
        [np.zeros(0, np.float32) for _ in LOOKS],
    )


def put_hand(made: Scan, look: int, x: float, y: float, score: float) -> None:
    joints = np.random.default_rng(look).uniform(-25, 25, (1, 21, 2)) + [x, y]
    made.hands[look], made.hand_scores[look] = joints.astype(np.float32), np.array([score], np.float32)


def test_a_plain_face_is_fine_in_every_respect() -> None:
    made = make_scan()
    for mask in (
        visibility.has_face(made),
        visibility.is_inside_image(made),
        visibility.is_uncovered(made),
        visibility.is_sharp(made),
    ):
        assert mask.all()
    assert visibility.has_open_eyes(made, FPS).all() and visibility.is_frontal(np.zeros(FRAMES)).all()


def test_a_hand_over_the_face_ends_the_stretch_and_one_on_the_chest_does_not() -> None:
    made = make_scan()
    for look in (10, 11, 13):  # lost once between
        put_hand(made, look, 300, 240, 0.8)
    for look in range(20, 30):
        put_hand(made, look, 300, 350, 0.99)
    covered = ~visibility.is_uncovered(made)
    assert visibility.find_runs(covered) == [(8 * DETECTION_INTERVAL + 1, 15 * DETECTION_INTERVAL - 1)]
    chosen = select_segment(made, np.zeros(FRAMES), FPS)
    assert (chosen.first, chosen.last) == (15 * DETECTION_INTERVAL, FRAMES - 1)
    assert [41, 74, HAND_OVER_FACE] in chosen.excluded and "hand over the face" in chosen.notes[0]


def test_a_hand_seen_in_one_look_must_be_clear() -> None:
    made = make_scan()
    put_hand(made, 10, 300, 200, 0.8)
    assert visibility.is_uncovered(made).all()
    put_hand(made, 10, 300, 200, 0.99)
    assert not visibility.is_uncovered(made)[50]


def test_runs_of_blur_are_not_trained_on_and_single_frames_stay() -> None:
    made = make_scan()
    made.sharpness[[20, 21]] = 0.05
    made.sharpness[60:66] = 0.05
    made.sharpness[100:110] = 0.16
    assert visibility.find_runs(~visibility.is_sharp(made)) == [(60, 65)]
    chosen = select_segment(made, np.zeros(FRAMES), FPS)
    assert (chosen.first, chosen.last) == (0, FRAMES - 1) and chosen.excluded == [[60, 65, "blurred"]]
    assert chosen.notes == ["Within it the portrait is not trained on 0.2 s blurred."]


def test_eyes_shut_for_long_are_found_and_blinks_are_not() -> None:
    made = make_scan()
    for eye in topo.EYES.values():
        for part in (slice(20, 28), slice(50, 80), slice(82, 120)):  # a blink; a nap with a glance between
            made.landmarks[part, list(eye.upper_lid), 1] = made.landmarks[0, eye.lower_lid[3], 1] - 1
    chosen = select_segment(made, np.zeros(FRAMES), FPS)
    assert chosen.excluded == [[50, 119, EYES_SHUT]] and (chosen.first, chosen.last) == (0, FRAMES - 1)


def test_a_face_at_the_edge_of_the_picture_is_left_out() -> None:
    made = make_scan()
    made.landmarks[:60, :, 1] -= 190
    made.face_boxes[:12] = [boxes - [0, 190, 0, 0, 0] for boxes in made.face_boxes[:12]]
    assert visibility.find_runs(~visibility.is_inside_image(made)) == [(0, 59)]
    assert select_segment(made, np.zeros(FRAMES), FPS).first == 60


def test_missed_looks_are_forgiven_as_long_as_the_mesh_holds() -> None:
    made = make_scan()
    for look in (10, 11, 12):
        made.face_boxes[look] = np.zeros((0, 5), np.float32)
    assert visibility.has_face(made).all()
    made.landmarks[55] = np.nan
    assert not visibility.has_face(made)[50:60].any()
    chosen = select_segment(made, np.zeros(FRAMES), FPS)
    assert [48, 62, NO_FACE] in chosen.excluded
    assert "of good footage lie outside that stretch" in chosen.notes[1]


def test_excluded_frames_and_used_ones_are_all_there_are() -> None:
    made, yaw = make_scan(), np.zeros(FRAMES)
    made.sharpness[150:160], yaw[40:50] = 0.01, 60
    made.thumbnails[90:] = 200
    chosen = select_segment(made, yaw, FPS)
    left_out = np.zeros(FRAMES, int)
    for first, last, _ in chosen.excluded:
        left_out[int(first) : int(last) + 1] += 1
    assert left_out.max() == 1
    assert (np.flatnonzero(left_out == 0) == [*range(90, 150), *range(160, 200)]).all()


def test_training_leaves_out_what_is_excluded_within_the_stretch() -> None:
    info = ActorInfo(
        segments=[[10, 109]],
        excluded=[[0, 9, NO_FACE], [20, 24, BLURRED], [105, 109, EYES_SHUT], [110, 120, HAND_OVER_FACE]],
    )
    rows = usable_train_frames(info, 90)
    assert rows.tolist() == [*range(10), *range(15, 90)]
    assert len(usable_train_frames(ActorInfo(segments=[[0, 9]], excluded=[[0, 9, EYES_SHUT]]), 9)) == 9
    assert len(usable_train_frames(ActorInfo(), 9)) == 9


def test_motion_blur_is_measured(sample_clip: Path) -> None:
    """Blur along x over a twentieth of the face is told from the same frames without it."""
    kernel = np.zeros((13, 13), np.float32)
    kernel[6, 3:10] = 1 / 7

    def shown() -> list[tuple[int, float, np.ndarray]]:
        first = [f for f in read_frames(sample_clip) if f[0] < 40]
        return [(i, t, cv2.filter2D(rgb, -1, kernel) if 20 <= i < 26 else rgb) for i, t, rgb in first]

    found = scan_frames(shown())
    assert visibility.find_runs(~visibility.is_sharp(found)) == [(20, 25)]
    assert not any(map(len, found.hands)) and visibility.is_uncovered(found).all()


def test_a_small_face_in_a_large_picture_is_seen_through_a_window(sample_clip: Path) -> None:
    """The sample's frame in a corner of 4K footage, shrunk as the scan does: as good as the frame by itself."""
    small = [f for f in read_frames(sample_clip) if f[0] < 12]
    side, left, top, wide = 256, 900, 380, 1280

    def large() -> list[tuple[int, float, np.ndarray]]:
        rng = np.random.default_rng(0)
        ground = cv2.resize(rng.integers(60, 90, (9, 16, 3), dtype=np.uint8), (wide, 720))
        pictures = []
        for i, t, rgb in small:
            picture = ground.copy()
            picture[top : top + side, left : left + side] = rgb
            pictures.append((i, t, picture))
        return pictures

    alone, within = scan_frames(small).landmarks, scan_frames(large(), frame_size=(3840, 2160))
    assert max(wide, 720) > MAX_SCAN_SIDE and within.frame_size == (3840, 2160)
    placed = within.landmarks[:, :, :2] / 3 - [left, top]
    error = np.linalg.norm(placed - alone[:, :, :2], axis=2)
    assert np.isfinite(within.landmarks).all() and error.mean() < 1.0


def test_a_scan_gives_the_same_numbers_again(sample_clip: Path) -> None:
    few = [f for f in read_frames(sample_clip) if f[0] < 15]
    first, second = scan_frames(few), scan_frames(few)
    np.testing.assert_array_equal(first.landmarks, second.landmarks)
    np.testing.assert_array_equal(first.sharpness, second.sharpness)


def test_the_faces_to_choose_from_are_listed(sample_clip: Path) -> None:
    (box,) = list_faces(sample_clip, Reporter())
    assert box[0] >= 0 and box[0] + box[2] <= 256 and box[2] > 60


@pytest.mark.parametrize("mask, expected", [
    ([], []), ([0, 0], []), ([1, 1, 0, 1], [(0, 1), (3, 3)]), ([0, 1], [(1, 1)]),
])  # fmt: skip
def test_runs(mask: list[int], expected: list[tuple[int, int]]) -> None:
    assert visibility.find_runs(np.array(mask, bool)) == expected
