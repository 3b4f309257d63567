"""The background plate of a static camera: what stands behind the person, how surely, and how much it trembles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..compute.kernels import kernel
from ..contract.arrays import F32, I64, U8, Mask

MASK_MARGIN = 1 / 24  # of the picture's side: how far from the person's mask a pixel is surely background
REFINED_MASK_MARGIN = 1 / 128  # the same, once the edge is refined
MAX_BACKGROUND_ALPHA = 0.15  # an alpha below this counts as background
SENSOR_NOISE = 1.5  # grey levels that every camera and codec adds
FILL_ERROR_FACTOR = (
    1.2  # how much farther off a filled colour may be than it usually is at the rim: such errors have a long tail
)
RIM_WIDTH = 1 / 40  # width of the rim of the known plate at which filling is tried
NORMAL_INTERQUARTILE_RANGE = 1.349  # distance of the quartiles of a normal distribution, in deviations


@dataclass(frozen=True)
class Plate:
    """What stands behind the person.

    Attributes:
        colour: (H, W, 3) uint8. seen: (H, W) where some frame really showed it; elsewhere it is filled in.
        doubt: (H, W) grey levels by which a frame's background is expected to differ from `colour`: its trembling
            over time where it was seen, the variety of its surroundings where it was not.
    """

    color: U8
    seen: Mask
    deviation: F32


class PlateEstimator:
    """The background without the person: the median, per pixel, over the frames that show it.

    Keeps at most `capacity` frames spread over the clip, so memory does not grow with its length.
    """

    def __init__(self, expected_frames: int, capacity: int = 48) -> None:
        self._frame_interval = max(1, -(-expected_frames // capacity))
        self._frame_count = 0
        self._images: list[U8] = []
        self._is_background: list[Mask] = []

    def add_frame(self, rgb: U8, mask: F32) -> bool:
        """Looks at one frame (H, W, 3) with its person mask, of any size; True when it was kept."""
        kept = self._frame_count % self._frame_interval == 0
        if kept:
            self._images.append(rgb.copy())
            large = cv2.resize(mask, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            self._is_background.append(dilate_mask(np.asarray(large, np.float32), MASK_MARGIN) < MAX_BACKGROUND_ALPHA)
        self._frame_count += 1
        return kept

    def kept_frames(self) -> list[U8]:
        """The frames (H, W, 3) that were kept."""
        return self._images

    def update_masks(self, alphas: Sequence[F32]) -> None:
        """Replaces the masks of the kept frames by better alphas (H, W): the plate is seen closer to the person."""
        self._is_background = [dilate_mask(alpha, REFINED_MASK_MARGIN) < MAX_BACKGROUND_ALPHA for alpha in alphas]

    def estimate_plate(self) -> Plate:
        """The plate so far."""
        pictures, clear = np.stack(self._images), np.stack(self._is_background)
        colour, spread = _median_and_interquartile_range(pictures, clear)
        seen = clear.any(0)
        doubt = np.where(
            seen, spread / NORMAL_INTERQUARTILE_RANGE, FILL_ERROR_FACTOR * estimate_fill_error(colour, seen)
        )
        return Plate(fill_unknown(colour, seen), seen, np.hypot(doubt, SENSOR_NOISE).astype(np.float32))


@kernel(exact=True)
def _median_and_interquartile_range(images: U8, is_background: Mask) -> tuple[U8, F32]:
    """Median (H, W, 3) of pictures (N, H, W, 3) over those that are clear (N, H, W), and the distance (H, W) of their
    quartiles, mean of the channels; 0 where none is clear. By counting: codes of one pixel lie close together."""
    count, height, width, _ = images.shape
    median, spread = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
    tally = np.zeros(256, np.int64)
    for y in range(height):
        for x in range(width):
            for c in range(3):
                seen, least, most = 0, 255, 0
                for n in range(count):
                    if is_background[n, y, x]:
                        code = int(images[n, y, x, c])
                        tally[code] += 1
                        seen, least, most = seen + 1, min(least, code), max(most, code)
                if seen == 0:
                    break
                ranks = np.rint((seen - 1) * 0.25), np.rint((seen - 1) * 0.5), np.rint((seen - 1) * 0.75)
                below, low = 0, 0
                for code in range(least, most + 1):
                    before, below = below, below + tally[code]
                    tally[code] = 0
                    if before <= ranks[0] < below:
                        low = code
                    if before <= ranks[1] < below:
                        median[y, x, c] = code
                    if before <= ranks[2] < below:
                        spread[y, x] += np.float32(code - low) / np.float32(3)
    return median, spread


def dilate_mask(mask: F32, share: float) -> F32:
    """A mask (H, W) dilated by `share` of its height; worked out at a quarter of the size, so good to a few pixels."""
    return _apply_morphology(cv2.dilate, mask, share)


def erode_mask(mask: F32, share: float) -> F32:
    """A mask (H, W) eroded by `share` of its height; worked out at a quarter of the size, so good to a few pixels."""
    return _apply_morphology(cv2.erode, mask, share)


def _apply_morphology(operation: object, mask: F32, share: float) -> F32:
    height, width = mask.shape
    small = cv2.resize(mask, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA)
    reach = max(1, round(share * small.shape[0]))
    ring = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    changed = operation(small, ring)  # type: ignore[operator]
    return np.asarray(cv2.resize(changed, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def fill_unknown(image: U8, is_known: Mask) -> U8:
    """The picture (H, W, 3) with its unknown pixels filled from averages of the known ones around them."""
    if is_known.all() or not is_known.any():
        return image
    spread = push_pull(image.astype(np.float32), is_known.astype(np.float32))
    return np.where(is_known[..., None], image, np.clip(np.rint(spread), 0, 255).astype(np.uint8))


def estimate_fill_error(image: U8, is_known: Mask) -> F32:
    """(H, W) by how many grey levels `fill` is likely wrong: as much as it is at the rim of what is known, were that
    rim unknown too. Smooth walls fill well, foliage does not."""
    inner = erode_mask(is_known.astype(np.float32), RIM_WIDTH) > 0.99
    rim = is_known & ~inner
    if not inner.any() or not rim.any():
        return np.full(is_known.shape, 255, np.float32) * ~is_known
    wrong = np.square(fill_unknown(image, inner).astype(np.float32) - image).mean(2)
    return np.sqrt(np.maximum(push_pull(wrong[..., None], rim.astype(np.float32))[..., 0], 0))


def push_pull(values: F32, weight: F32) -> F32:
    """Values (H, W, C ≤ 3) carried from where they weigh to where they do not: push–pull over a pyramid.

    Each pixel takes the weighted mean of the finest level that has enough weight (Gortler et al., SIGGRAPH 1996).
    """
    levels = [np.concatenate([values * weight[..., None], weight[..., None]], axis=2)]
    while min(levels[-1].shape[:2]) > 2:
        levels.append(cv2.pyrDown(levels[-1]))  # type: ignore[arg-type]
    result: F32 = levels[-1][..., :-1] / np.maximum(levels[-1][..., -1:], 1e-6)
    for level in reversed(levels[:-1]):
        result = _pull_level(level, result)
    return result


@kernel(exact=True)
def _pull_level(level: F32, coarse: F32) -> F32:
    """The mean (H, W, C) of a level (H, W, C + 1: sums and their weight) where it has weight, else the coarser one."""
    height, width, channels = level.shape[0], level.shape[1], level.shape[2] - 1
    result = np.empty((height, width, channels), np.float32)
    rows, down = interpolation_taps(height, coarse.shape[0])
    columns, right = interpolation_taps(width, coarse.shape[1])
    for y in range(height):
        above, below, v = rows[y, 0], rows[y, 1], down[y]
        for x in range(width):
            first, last, u = columns[x, 0], columns[x, 1], right[x]
            weight = level[y, x, channels]
            share = min(weight, np.float32(1))
            scale = share / max(weight, np.float32(1e-6))
            for c in range(channels):
                top = coarse[above, first, c] + u * (coarse[above, last, c] - coarse[above, first, c])
                bottom = coarse[below, first, c] + u * (coarse[below, last, c] - coarse[below, first, c])
                result[y, x, c] = level[y, x, c] * scale + (top + v * (bottom - top)) * (1 - share)
    return result


@kernel(exact=True)
def interpolation_taps(target_size: int, source_size: int) -> tuple[I64, F32]:
    """For each of `length` pixels the two of `small` pixels (length, 2) between which it lies, and how far (length,) it
    is towards the second: linear interpolation as cv2.resize does it."""
    between = np.empty((target_size, 2), np.int64)
    share = np.empty(target_size, np.float32)
    for i in range(target_size):
        place = min(max((i + 0.5) * source_size / target_size - 0.5, 0.0), source_size - 1.0)
        between[i, 0] = int(place)
        between[i, 1] = min(between[i, 0] + 1, source_size - 1)
        share[i] = place - between[i, 0]
    return between, share
