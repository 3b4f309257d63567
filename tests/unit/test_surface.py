"""A surface that is only a strip, as a torso that a tight framing leaves: OpenCV's own flow ends the process there."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

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
