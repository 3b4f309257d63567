"""Patches of a textured surface, tracked from its texture into frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.contract.arrays import F32, Image
from backend.tracking.pose.patch_tracker import PatchTracker, SearchRange


def spotted_image(height: int, width: int, seed: int = 3) -> Image:
    """Spots of several sizes, as skin and cloth have them."""
    rng = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(rng.normal(size=(height, width, 3)), (0, 0), s) * s for s in (2.0, 6.0, 12.0)]
    image: Image = np.clip(128 + 90 * np.sum(layers, 0), 0, 255).astype(np.uint8)
    return image


def still_warp_map(height: int, width: int, offset: float = 0.0) -> F32:
    """The pixels (H, W, 2) of a view that begins `offset` pixels inside the frame."""
    y, x = (np.mgrid[:height, :width] + 0.5 + offset).astype(np.float32)
    return np.stack([x, y], -1)


def learn_surface(frame: Image, warp_map: F32, spacing: int, search: SearchRange | None = None) -> PatchTracker:
    """A surface that has the frame for texture."""
    tracker = PatchTracker(np.ones(warp_map.shape[:2], np.float32), spacing)
    tracker.learn_texture([tracker.unwrap_frame(frame, warp_map)], search or SearchRange())
    return tracker


@pytest.mark.parametrize("shape", [(8, 79), (12, 79), (15, 96), (79, 12), (10, 10), (79, 79)])
def test_samples_of_narrow_surfaces_stay_where_they_are_in_a_still_frame(shape: tuple[int, int]) -> None:
    frame, warp_map = spotted_image(shape[0] + 40, shape[1] + 40), still_warp_map(*shape, 20)
    tracker = learn_surface(frame, warp_map, spacing=2)
    pixels, confidence = tracker.track_samples(frame, warp_map)
    expected = warp_map[tracker.samples[:, 1], tracker.samples[:, 0]]
    assert pixels.shape == (len(tracker.samples), 2) and confidence.shape == (len(tracker.samples),)
    assert np.abs(pixels - expected).max() < 0.1 and confidence.min() > 0.9


@pytest.mark.parametrize(("shift", "search"), [(0.33, SearchRange()), (14.0, SearchRange(48.0, 4))])
def test_a_shift_within_the_search_range_is_measured(shift: float, search: SearchRange) -> None:
    frame, warp_map = spotted_image(160, 160), still_warp_map(100, 100, 30)
    tracker = learn_surface(frame, warp_map, 5, search)
    x, y = np.meshgrid(np.arange(160, dtype=np.float32), np.arange(160, dtype=np.float32))
    shifted: Image = cv2.remap(frame, x - shift, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    pixels, confidence = tracker.track_samples(shifted, warp_map, search)
    inner = np.abs(tracker.samples - 50).max(1) < 25
    step = (pixels - warp_map[tracker.samples[:, 1], tracker.samples[:, 0]])[inner]
    assert np.abs(np.median(step, 0) - [shift, 0]).max() < 0.2
    assert confidence[inner].mean() > 0.8


def test_samples_have_no_confidence_in_a_frame_that_does_not_show_them() -> None:
    warp_map = still_warp_map(100, 100, 30)
    tracker = learn_surface(spotted_image(160, 160), warp_map, spacing=5)
    assert tracker.track_samples(spotted_image(160, 160, seed=4), warp_map)[1].mean() < 0.1


def test_an_edge_has_less_information_along_it_than_across() -> None:
    stripes = np.repeat(np.where(np.arange(96) // 12 % 2, 220, 40)[None, :, None], 96, 0).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 2, (96, 96, 3))
    frame: Image = np.clip(stripes.repeat(3, 2) + noise, 0, 255).astype(np.uint8)
    tracker = learn_surface(frame, still_warp_map(64, 64, 16), spacing=8)
    across, along = tracker.sqrt_information[:, 0, 0], tracker.sqrt_information[:, 1, 1]
    assert across.mean() > 0.8 and along.mean() < 0.7 * across.mean()
