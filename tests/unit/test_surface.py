"""What a tight framing leaves of a torso: a strip, which crashes OpenCV's flow, or nothing at all in some frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.tracking.pose import fit_pose, project
from backend.tracking.surface import Surface


@pytest.mark.parametrize("shape", [(8, 79), (12, 79), (15, 96), (79, 12), (10, 10), (79, 79)])
def test_a_narrow_surface_is_followed(shape: tuple[int, int]) -> None:
    height, width = shape
    noise = np.random.default_rng(3).integers(0, 255, (height + 40, width + 40, 3), np.uint8)
    frame = cv2.GaussianBlur(noise, (0, 0), 2.0)
    y, x = (np.mgrid[:height, :width] + 0.5).astype(np.float32)
    still = np.stack([x + 20, y + 20], -1)
    surface = Surface(np.ones(shape, np.float32), spacing=2)
    texture = surface.unwrap(frame, still)
    pixels, confidence = surface.observe(texture, frame, still)
    expected = still[surface.samples[:, 1], surface.samples[:, 0]]
    assert pixels.shape == (len(surface.samples), 2) and confidence.shape == (len(surface.samples),)
    assert np.abs(pixels - expected).max() < 0.1 and confidence.min() > 0.9


def test_a_frame_in_which_nothing_is_seen_keeps_its_start() -> None:
    random = np.random.default_rng(4)
    points = random.normal(size=(40, 3)) * 0.05
    intrinsics = np.array([[400.0, 0, 128], [0, 400, 128], [0, 0, 1]])
    start = np.tile(np.diag([1.0, -1, -1]), (3, 1, 1)), np.tile([0.0, 0, 0.8], (3, 1))
    moved = start[1] + [0.01, 0.02, 0.0]
    weight = np.ones((3, 40))
    weight[1] = 0
    rotation, translation, error = fit_pose(
        project(points, start[0], moved, intrinsics), points, weight, intrinsics, start
    )
    assert np.allclose(translation[[0, 2]], moved[[0, 2]], atol=1e-6)
    assert np.allclose(translation[1], start[1][1]) and np.allclose(rotation[1], start[0][1])
    assert np.isfinite(error).all()
