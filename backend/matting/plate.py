"""The plate of a static camera: the background without the person, how certain it is, and how much it varies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..compute.kernels import kernel
from ..contract.arrays import F32, U8, Mask
from .morphology import dilate_mask, erode_mask
from .resampling import push_pull

MAX_PLATE_FRAMES = 48  # frames spread over the clip that the plate is the median of; more cost memory. Not tuned.
# Share of the image's height that the person's rough mask is grown by before the rest counts as background. Smaller
# lets the person's edge into the plate; larger leaves more of the plate unseen. Not tuned.
MASK_MARGIN = 1 / 24
REFINED_MASK_MARGIN = 1 / 128  # the same for a refined alpha
MAX_BACKGROUND_ALPHA = 0.15  # alpha below which a pixel counts as background
SENSOR_NOISE = 1.5  # gray levels that every camera and codec adds
# How much larger the error of a filled colour is taken than the one measured at the rim: such errors have a long tail.
FILL_ERROR_FACTOR = 1.2
RIM_WIDTH = 1 / 40  # share of the image's height of the rim of the known plate at which filling is tried
MAX_GRAY_LEVEL = 255  # deviation of a plate about which nothing is known
NORMAL_INTERQUARTILE_RANGE = 1.349  # distance of the quartiles of a normal distribution, in standard deviations


@dataclass(frozen=True)
class Plate:
    """The background behind the person.

    Attributes:
        color: (H, W, 3) uint8.
        seen: (H, W) where some frame showed the background; elsewhere the colour is filled in.
        deviation: (H, W) gray levels by which a frame's background is expected to differ from `color`: its variation
            over time where it was seen, the expected error of filling where it was not.
    """

    color: U8
    seen: Mask
    deviation: F32


class PlateEstimator:
    """The median, per pixel, of the frames that show the background there.

    Memory does not grow with the length of the clip: at most `capacity` frames, spread over it, are kept.
    """

    def __init__(self, expected_frames: int, capacity: int = MAX_PLATE_FRAMES) -> None:
        self._frame_interval = max(1, -(-expected_frames // capacity))
        self._frame_count = 0
        self._images: list[U8] = []
        self._is_background: list[Mask] = []

    def add_frame(self, rgb: U8, mask: F32) -> bool:
        """Add the next frame (H, W, 3) with its person mask, of any size; return whether it was kept."""
        is_kept = self._frame_count % self._frame_interval == 0
        if is_kept:
            self._images.append(rgb.copy())
            large = cv2.resize(mask, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            self._is_background.append(dilate_mask(np.asarray(large, np.float32), MASK_MARGIN) < MAX_BACKGROUND_ALPHA)
        self._frame_count += 1
        return is_kept

    def kept_frames(self) -> list[U8]:
        """Return the frames (H, W, 3) that were kept."""
        return self._images

    def update_masks(self, alphas: Sequence[F32]) -> None:
        """Replace the masks of the kept frames by refined alphas (H, W), which show more of the plate."""
        self._is_background = [dilate_mask(alpha, REFINED_MASK_MARGIN) < MAX_BACKGROUND_ALPHA for alpha in alphas]

    def estimate_plate(self) -> Plate:
        """Return the plate of the kept frames."""
        is_background = np.stack(self._is_background)
        color, interquartile_range = _median_and_interquartile_range(np.stack(self._images), is_background)
        seen = is_background.any(0)
        fill_error = FILL_ERROR_FACTOR * estimate_fill_error(color, seen)
        deviation = np.where(seen, interquartile_range / NORMAL_INTERQUARTILE_RANGE, fill_error)
        return Plate(fill_unknown(color, seen), seen, np.hypot(deviation, SENSOR_NOISE).astype(np.float32))


@kernel(exact=True)
def _median_and_interquartile_range(images: U8, is_background: Mask) -> tuple[U8, F32]:
    """Return median and spread over time of the pixels that show the background.

    A histogram finds them without sorting: the codes of one pixel lie close together.

    Args:
        images: (N, H, W, 3).
        is_background: (N, H, W).

    Returns:
        median: (H, W, 3), 0 where no frame shows the background.
        spread: (H, W) distance of the quartiles, mean of the channels; 0 where no frame shows the background.
    """
    count, height, width, _ = images.shape
    median, spread = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
    histogram = np.zeros(256, np.int64)
    for y in range(height):
        for x in range(width):
            for c in range(3):
                seen, lowest, highest = 0, 255, 0
                for n in range(count):
                    if is_background[n, y, x]:
                        code = int(images[n, y, x, c])
                        histogram[code] += 1
                        seen, lowest, highest = seen + 1, min(lowest, code), max(highest, code)
                if seen == 0:
                    break
                ranks = np.rint((seen - 1) * 0.25), np.rint((seen - 1) * 0.5), np.rint((seen - 1) * 0.75)
                below, lower_quartile = 0, 0
                for code in range(lowest, highest + 1):
                    before, below = below, below + histogram[code]
                    histogram[code] = 0
                    if before <= ranks[0] < below:
                        lower_quartile = code
                    if before <= ranks[1] < below:
                        median[y, x, c] = code
                    if before <= ranks[2] < below:
                        spread[y, x] += np.float32(code - lower_quartile) / np.float32(3)
    return median, spread


def fill_unknown(image: U8, is_known: Mask) -> U8:
    """Return the image (H, W, 3) with unknown pixels filled from averages of the known ones around them."""
    if is_known.all() or not is_known.any():
        return image
    filled = push_pull(image.astype(np.float32), is_known.astype(np.float32))
    return np.where(is_known[..., None], image, np.clip(np.rint(filled), 0, 255).astype(np.uint8))


def estimate_fill_error(image: U8, is_known: Mask) -> F32:
    """Return (H, W) gray levels by which `fill_unknown` is likely wrong.

    The error is measured at the rim of what is known, by filling it as if it were unknown, and spread from there.
    Smooth walls fill well, foliage does not.
    """
    inner = erode_mask(is_known.astype(np.float32), RIM_WIDTH) > 0.99
    rim = is_known & ~inner
    if not inner.any() or not rim.any():
        return np.full(is_known.shape, MAX_GRAY_LEVEL, np.float32) * ~is_known
    squared_error = np.square(fill_unknown(image, inner).astype(np.float32) - image).mean(2)
    spread = push_pull(squared_error[..., None], rim.astype(np.float32))[..., 0]
    return np.asarray(np.sqrt(np.maximum(spread, 0)), np.float32)
