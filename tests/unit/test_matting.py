"""Mattes and plate on the sample actor, whose alphas are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from backend.matting.person import PersonMatte, PlateEstimator, fill, refine
from backend.matting.regions import head_region, mouth_region
from backend.sample import Truth, truth_path
from backend.tracking import topology as topo
from backend.video.decode import frames


def test_person_matte_lies_on_the_sample_actor(sample_clip: Path) -> None:
    truth = Truth.load(truth_path(sample_clip))
    with PersonMatte() as person:
        errors = [np.abs(person(rgb) - truth.person(i)).mean() for i, _, rgb in frames(sample_clip) if i % 10 == 0]
    assert np.mean(errors) < 0.05


def test_refinement_follows_the_picture_s_edge() -> None:
    rgb = np.full((96, 96, 3), 40, np.uint8)
    rgb[:, 50:] = 210
    raw = np.zeros((96, 96), np.float32)
    raw[:, 49:] = 1.0  # a pixel beside the edge, and blurred
    alpha = refine(cv2.GaussianBlur(raw, (0, 0), 2), rgb)
    true = np.zeros_like(raw)
    true[:, 50:] = 1.0
    assert np.abs(alpha - true).mean() < 0.6 * np.abs(cv2.GaussianBlur(raw, (0, 0), 2) - true).mean()


def test_plate_is_the_background_behind_a_moving_person() -> None:
    background = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    estimator = PlateEstimator(expected=40, capacity=40)
    for t in range(40):
        alpha = np.zeros((64, 64), np.float32)
        alpha[20:, t : t + 12] = 1
        picture = background.copy()
        picture[alpha > 0] = 255
        estimator.add(picture, alpha)
    plate, seen = estimator.plate()
    assert seen.mean() > 0.9
    assert np.array_equal(plate[seen], background[seen])


def test_plate_memory_does_not_grow_with_the_clip() -> None:
    estimator = PlateEstimator(expected=1000, capacity=16)
    for _ in range(1000):
        estimator.add(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.float32))
    assert len(estimator._pictures) <= 17


def test_unknown_pixels_are_filled_from_their_surroundings() -> None:
    picture = np.full((40, 40, 3), 100, np.uint8)
    known = np.ones((40, 40), bool)
    known[10:30, 10:30] = False
    picture[~known] = 0
    assert np.abs(fill(picture, known).astype(int) - 100).max() <= 1


def test_head_and_mouth_regions_match_the_truth(sample_clip: Path) -> None:
    truth = Truth.load(truth_path(sample_clip))
    assert truth.mattes is not None
    frame = int(truth.mouth_opening.argmax())
    shape = truth.mattes.shape[2], truth.mattes.shape[3]
    head = head_region(truth.landmarks[frame], shape) * truth.person(frame)
    true_head = truth.mattes[frame, 0].astype(np.float32) / 255
    assert np.minimum(head, true_head).sum() / np.maximum(head, true_head).sum() > 0.85
    mouth = mouth_region(truth.landmarks[frame], shape)
    true_mouth = truth.mattes[frame, 3].astype(np.float32) / 255
    assert np.minimum(mouth, true_mouth).sum() / np.maximum(mouth, true_mouth).sum() > 0.5
    assert (
        head_region(truth.landmarks[frame], shape)[int(truth.landmarks[frame, topo.NOSE_TIP, 1]), shape[1] // 2] > 0.9
    )
