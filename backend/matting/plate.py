"""The background plate of a static camera: what stands behind the person, how surely, and how much it trembles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
MARGIN = 1 / 24  # of the picture's side: how far from the person's mask a pixel is surely background
CLOSE = 1 / 128  # the same, once the edge is refined
BACKGROUND = 0.15  # an alpha below this counts as background
SENSOR_NOISE = 1.5  # grey levels that every camera and codec adds
GUESSED = 1.2  # how much farther off a filled colour may be than it usually is at the rim: such errors have a long tail
RIM = 1 / 40  # width of the rim of the known plate at which filling is tried
NORMAL_QUARTILES = 1.349  # distance of the quartiles of a normal distribution, in deviations


@dataclass(frozen=True)
class Plate:
    """What stands behind the person.

    Attributes:
        colour: (H, W, 3) uint8. seen: (H, W) where some frame really showed it; elsewhere it is filled in.
        doubt: (H, W) grey levels by which a frame's background is expected to differ from `colour`: its trembling
            over time where it was seen, the variety of its surroundings where it was not.
    """

    colour: U8
    seen: NDArray[np.bool_]
    doubt: F32


class PlateEstimator:
    """The background without the person: the median, per pixel, over the frames that show it.

    Keeps at most `capacity` frames spread over the clip, so memory does not grow with its length.
    """

    def __init__(self, expected: int, capacity: int = 48) -> None:
        self._every = max(1, -(-expected // capacity))
        self._seen = 0
        self._pictures: list[U8] = []
        self._clear: list[NDArray[np.bool_]] = []

    def add(self, rgb: U8, mask: F32) -> bool:
        """Looks at one frame (H, W, 3) with its person mask, of any size; True when it was kept."""
        kept = self._seen % self._every == 0
        if kept:
            self._pictures.append(rgb.copy())
            large = cv2.resize(mask, rgb.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            self._clear.append(grown(np.asarray(large, np.float32), MARGIN) < BACKGROUND)
        self._seen += 1
        return kept

    def looked_at(self) -> list[U8]:
        """The frames (H, W, 3) that were kept."""
        return self._pictures

    def look_again(self, alphas: Sequence[F32]) -> None:
        """Replaces the masks of the kept frames by better alphas (H, W): the plate is seen closer to the person."""
        self._clear = [grown(alpha, CLOSE) < BACKGROUND for alpha in alphas]

    def plate(self) -> Plate:
        """The plate so far."""
        pictures, clear = np.stack(self._pictures), np.stack(self._clear)
        colour, spread = _quartiles(pictures, clear)
        seen = clear.any(0)
        doubt = np.where(seen, spread / NORMAL_QUARTILES, GUESSED * filling_error(colour, seen))
        return Plate(fill(colour, seen), seen, np.hypot(doubt, SENSOR_NOISE).astype(np.float32))


@numba.njit(nogil=True, cache=True)
def _quartiles(pictures: U8, clear: NDArray[np.bool_]) -> tuple[U8, F32]:
    """Median (H, W, 3) of pictures (N, H, W, 3) over those that are clear (N, H, W), and the distance (H, W) of their
    quartiles, mean of the channels; 0 where none is clear. By counting: codes of one pixel lie close together."""
    count, height, width, _ = pictures.shape
    median, spread = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
    tally = np.zeros(256, np.int64)
    for y in range(height):
        for x in range(width):
            for c in range(3):
                seen, least, most = 0, 255, 0
                for n in range(count):
                    if clear[n, y, x]:
                        code = int(pictures[n, y, x, c])
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


def grown(mask: F32, share: float) -> F32:
    """A mask (H, W) dilated by `share` of its height; worked out at a quarter of the size, so good to a few pixels."""
    return _morphed(cv2.dilate, mask, share)


def shrunk(mask: F32, share: float) -> F32:
    """A mask (H, W) eroded by `share` of its height; worked out at a quarter of the size, so good to a few pixels."""
    return _morphed(cv2.erode, mask, share)


def _morphed(operation: object, mask: F32, share: float) -> F32:
    height, width = mask.shape
    small = cv2.resize(mask, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA)
    reach = max(1, round(share * small.shape[0]))
    ring = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    changed = operation(small, ring)  # type: ignore[operator]
    return np.asarray(cv2.resize(changed, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def fill(picture: U8, known: NDArray[np.bool_]) -> U8:
    """The picture (H, W, 3) with its unknown pixels filled from averages of the known ones around them."""
    if known.all() or not known.any():
        return picture
    spread = spread_out(picture.astype(np.float32), known.astype(np.float32))
    return np.where(known[..., None], picture, np.clip(np.rint(spread), 0, 255).astype(np.uint8))


def filling_error(picture: U8, known: NDArray[np.bool_]) -> F32:
    """(H, W) by how many grey levels `fill` is likely wrong: as much as it is at the rim of what is known, were that
    rim unknown too. Smooth walls fill well, foliage does not."""
    inner = shrunk(known.astype(np.float32), RIM) > 0.99
    rim = known & ~inner
    if not inner.any() or not rim.any():
        return np.full(known.shape, 255, np.float32) * ~known
    wrong = np.square(fill(picture, inner).astype(np.float32) - picture).mean(2)
    return np.sqrt(np.maximum(spread_out(wrong[..., None], rim.astype(np.float32))[..., 0], 0))


def spread_out(values: F32, weight: F32) -> F32:
    """Values (H, W, C ≤ 3) carried from where they weigh to where they do not: push–pull over a pyramid.

    Each pixel takes the weighted mean of the finest level that has enough weight (Gortler et al., SIGGRAPH 1996).
    """
    levels = [np.concatenate([values * weight[..., None], weight[..., None]], axis=2)]
    while min(levels[-1].shape[:2]) > 2:
        levels.append(cv2.pyrDown(levels[-1]))  # type: ignore[arg-type]
    result: F32 = levels[-1][..., :-1] / np.maximum(levels[-1][..., -1:], 1e-6)
    for level in reversed(levels[:-1]):
        result = _pulled(level, result)
    return result


@numba.njit(nogil=True, cache=True)
def _pulled(level: F32, coarse: F32) -> F32:
    """The mean (H, W, C) of a level (H, W, C + 1: sums and their weight) where it has weight, else the coarser one."""
    height, width, channels = level.shape[0], level.shape[1], level.shape[2] - 1
    result = np.empty((height, width, channels), np.float32)
    rows, down = taps(height, coarse.shape[0])
    columns, right = taps(width, coarse.shape[1])
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


@numba.njit(nogil=True, cache=True)
def taps(length: int, small: int) -> tuple[NDArray[np.int64], F32]:
    """For each of `length` pixels the two of `small` pixels (length, 2) between which it lies, and how far (length,) it
    is towards the second: linear interpolation as cv2.resize does it."""
    between = np.empty((length, 2), np.int64)
    share = np.empty(length, np.float32)
    for i in range(length):
        place = min(max((i + 0.5) * small / length - 0.5, 0.0), small - 1.0)
        between[i, 0] = int(place)
        between[i, 1] = min(between[i, 0] + 1, small - 1)
        share[i] = place - between[i, 0]
    return between, share
