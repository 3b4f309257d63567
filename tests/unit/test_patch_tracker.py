"""Patches of a textured surface, followed from its texture into frames."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.tracking.pose.patch_tracker import PatchTracker


def picture(height: int, width: int, seed: int = 3) -> NDArray[Any]:
    """Spots of several sizes, as skin and cloth have them."""
    rng = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(rng.normal(size=(height, width, 3)), (0, 0), s) * s for s in (2.0, 6.0, 12.0)]
    return np.clip(128 + 90 * sum(layers), 0, 255).astype(np.uint8)


def grid(height: int, width: int, offset: float = 0.0) -> NDArray[Any]:
    y, x = (np.mgrid[:height, :width] + 0.5 + offset).astype(np.float32)
    return np.stack([x, y], -1)


@pytest.mark.parametrize("shape", [(8, 79), (12, 79), (15, 96), (79, 12), (10, 10), (79, 79)])
def test_a_narrow_surface_is_followed(shape: tuple[int, int]) -> None:
    frame, still = picture(shape[0] + 40, shape[1] + 40), grid(*shape, 20)
    surface = PatchTracker(np.ones(shape, np.float32), spacing=2)
    surface.learn_texture([surface.unwrap_frame(frame, still)])
    pixels, trust = surface.track_samples(frame, still)
    expected = still[surface.samples[:, 1], surface.samples[:, 0]]
    assert pixels.shape == (len(surface.samples), 2) and trust.shape == (len(surface.samples),)
    assert np.abs(pixels - expected).max() < 0.1 and trust.min() > 0.9


@pytest.mark.parametrize(("shift", "farthest", "levels"), [(0.33, 4.0, 1), (14.0, 48.0, 4)])
def test_a_shift_is_seen(shift: float, farthest: float, levels: int) -> None:
    frame, still = picture(160, 160), grid(100, 100, 30)
    surface = PatchTracker(np.ones((100, 100), np.float32), spacing=5)
    surface.learn_texture([surface.unwrap_frame(frame, still)], farthest)
    x, y = np.meshgrid(np.arange(160, dtype=np.float32), np.arange(160, dtype=np.float32))
    moved = cv2.remap(frame, x - shift, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    pixels, trust = surface.track_samples(moved, still, farthest, levels)
    inner = np.abs(surface.samples - 50).max(1) < 25
    step = (pixels - still[surface.samples[:, 1], surface.samples[:, 0]])[inner]
    assert np.abs(np.median(step, 0) - [shift, 0]).max() < 0.2
    assert trust[inner].mean() > 0.8


def test_what_lies_too_far_off_is_not_trusted() -> None:
    frame, still = picture(160, 160), grid(100, 100, 30)
    surface = PatchTracker(np.ones((100, 100), np.float32), spacing=5)
    surface.learn_texture([surface.unwrap_frame(frame, still)])
    assert surface.track_samples(picture(160, 160, seed=4), still)[1].mean() < 0.1


def test_an_edge_tells_of_shifts_across_it_only() -> None:
    stripes = np.repeat(np.where(np.arange(96) // 12 % 2, 220, 40)[None, :, None], 96, 0).astype(np.uint8)
    surface = PatchTracker(np.ones((64, 64), np.float32), spacing=8)
    noisy = np.clip(stripes.repeat(3, 2) + np.random.default_rng(0).normal(0, 2, (96, 96, 3)), 0, 255).astype(np.uint8)
    surface.learn_texture([surface.unwrap_frame(noisy, grid(64, 64, 16))])
    across, along = surface.sqrt_information[:, 0, 0], surface.sqrt_information[:, 1, 1]
    assert across.mean() > 0.8 and along.mean() < 0.7 * across.mean()
