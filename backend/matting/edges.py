"""The person's mask drawn to the true edge, hair by hair where the plate is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from .light import LINEAR, SLOPE, linear
from .plate import Plate, grown, shrunk, spread_out, taps

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
INSIDE, OUTSIDE = 1 / 40, 1 / 16  # of the side: how far around the mask's edge the true edge is sought
SOLID, SURE = 1 / 128, 0.95  # how far inside the guided mask, and from which value, a colour is surely the person's
EMPTY_NEAR, FULL_CORE = 0.1, 0.9  # the zone ends where the grown mask is below, the shrunk one above these
PRIOR_EDGE, PRIOR_BODY = 0.30, 0.08  # deviation of the guided mask from the truth: at its edge, well inside it
PERSON_DOUBT = 25.0  # grey levels by which the person's colour differs from what its surroundings promise
HOLE, HOLE_MASK = 0.003, 0.8  # share of the picture of a hole at most; mean of the mask over it at least
EMPTY, FULL = 0.06, 0.9  # an alpha outside these is noise of the background, shading of the person
EXPLAINED = 3.0  # deviations up to which a colour lies on the line between background and person


@dataclass(frozen=True)
class Refined:
    """alpha (H, W) 0–1, and how much (H, W) 0–1 of it the plate decided; 0 away from the edge."""

    alpha: F32
    by_plate: F32


class EdgeRefiner:
    """Refines raw masks, frame after frame, before one plate.

    Where the plate is known, alpha is how far a pixel has gone from the background's colour to the person's, in linear
    light. The person's colour is that of hair or of the rest nearby, whichever explains the pixel. Where the plate is
    doubtful or alike the person, the mask drawn to the picture's edges (a guided filter) counts instead: both are
    weighed by their variances.
    """

    def __init__(self, plate: Plate) -> None:
        self.plate = plate
        height, width = plate.seen.shape
        self._light = linear(plate.colour)
        self._variance = np.square(plate.doubt * SLOPE[plate.colour].mean(2))
        self._small = max(8, width // 4), max(8, height // 4)
        self._small_light = linear(cv2.resize(plate.colour, self._small, interpolation=cv2.INTER_AREA))
        self._small_seen = cv2.resize(plate.seen.astype(np.uint8), self._small, interpolation=cv2.INTER_AREA) > 0

    def __call__(self, raw: F32, rgb: U8, hair: F32) -> Refined:
        """Refines a mask (H, W) of a picture (H, W, 3), given where hair is likely (h, w), any size, 0–1."""
        guided = guide(raw, rgb)
        near, core = grown(raw, OUTSIDE), shrunk(raw, INSIDE)
        light = linear(cv2.resize(rgb, self._small, interpolation=cv2.INTER_AREA))
        colours = person_colours(light, shrunk(guided, SOLID), hair)
        reach = 2 * round(raw.shape[0] / 128) + 1
        alpha, by_plate = _keyed(
            rgb, cv2.blur(raw, (reach, reach)), guided, near, core, self._light, self._variance,
            self._shift(light, near), colours, LINEAR, SLOPE,
        )  # fmt: skip
        return Refined(without_holes(alpha, raw), by_plate)

    def _shift(self, light: F32, near: F32) -> F32:
        """(3,) by how much this frame's background is brighter than the plate: exposure changes.

        Args:
            light: the frame, a quarter of the size. near: (H, W) the mask with its surroundings.
        """
        clear = (cv2.resize(near, self._small, interpolation=cv2.INTER_AREA) <= EMPTY_NEAR) & self._small_seen
        if np.count_nonzero(clear) < 50:
            return np.zeros(3, np.float32)
        return np.median((light - self._small_light)[clear], axis=0).astype(np.float32)


@numba.njit(nogil=True, cache=True)
def _keyed(
    rgb: U8, body: F32, guided: F32, near: F32, core: F32, plate: F32, variance: F32, shift: F32, colours: F32,
    light: F32, slope: F32,
) -> tuple[F32, F32]:  # fmt: skip
    """Alpha (H, W), and how much (H, W) of it the plate decided.

    Args:
        rgb: (H, W, 3). body: the raw mask, blurred. guided: the guided one. near, core: it with, without its edge.
        plate: (H, W, 3) linear light. variance: (H, W) of it. shift: (3,) what is to be added to it.
        colours: (K, h, w, 3) candidates for the person's colour. light, slope: (256,) of a code, of a grey level.
    """
    height, width = body.shape
    alpha, by_plate = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    rows, down = taps(height, colours.shape[1])
    columns, right = taps(width, colours.shape[2])
    behind, away, line = np.empty(3, np.float32), np.empty(3, np.float32), np.empty(3, np.float32)
    for y in range(height):
        above, below, v = rows[y, 0], rows[y, 1], down[y]
        for x in range(width):
            if core[y, x] > FULL_CORE:
                alpha[y, x] = 1
                continue
            if near[y, x] <= EMPTY_NEAR:
                continue
            first, last, u = columns[x, 0], columns[x, 1], right[x]
            for c in range(3):
                behind[c] = plate[y, x, c] + shift[c]
                away[c] = light[rgb[y, x, c]] - behind[c]
            length = away[0] * away[0] + away[1] * away[1] + away[2] * away[2]
            best, least, contrast = np.float32(0), np.float32(np.inf), np.float32(1)
            for k in range(len(colours)):
                for c in range(3):
                    top = (1 - u) * colours[k, above, first, c] + u * colours[k, above, last, c]
                    bottom = (1 - u) * colours[k, below, first, c] + u * colours[k, below, last, c]
                    line[c] = top + v * (bottom - top) - behind[c]
                square = max(line[0] * line[0] + line[1] * line[1] + line[2] * line[2], np.float32(1e-4))
                share = (away[0] * line[0] + away[1] * line[1] + away[2] * line[2]) / square
                nearest = min(max(share, np.float32(0)), np.float32(1))
                off = length + nearest * square * (nearest - 2 * share)  # |away − nearest · line|²
                if off < least:
                    best, least, contrast = share, off, square
            # what no candidate explains is no mixture of them: its distance from the background counts, not its direction
            doubt = variance[y, x]
            unexplained = min(max(math.sqrt(max(least, np.float32(0)) / doubt) / EXPLAINED - 1, 0.0), 1.0)
            distance = math.sqrt(max(length - EXPLAINED**2 * doubt, 0.0) / contrast)
            keyed = min(max(best + max(distance - best, 0.0) * unexplained, 0.0), 1.0)
            own = PERSON_DOUBT * slope[rgb[y, x, 1]]
            uncertain = (3 * doubt + own * own * max(keyed, 0.1)) / contrast
            inside = min(max(body[y, x] * 4 - 3, 0.0), 1.0)
            prior = (PRIOR_EDGE + (PRIOR_BODY - PRIOR_EDGE) * inside) ** 2
            weight = prior / (prior + uncertain)
            mixed = keyed * weight + guided[y, x] * (1 - weight)
            alpha[y, x] = min(max((mixed - EMPTY) / (FULL - EMPTY), 0.0), 1.0)
            by_plate[y, x] = weight
    return alpha, by_plate


def person_colours(light: F32, sure: F32, hair: F32) -> F32:
    """What the person near each pixel looks like: pictures (1–2, h, w, 3) of linear light, hair and all else.

    Args:
        light: (h, w, 3). sure: (H, W) the mask without its edge. hair: where hair is likely; any size.
    """
    size = light.shape[1], light.shape[0]
    solid = cv2.resize(sure, size, interpolation=cv2.INTER_AREA) > SURE
    likely = cv2.resize(hair, size, interpolation=cv2.INTER_AREA)
    parts = [solid & (likely > 0.8), solid & (likely < 0.2)]
    known = [part.astype(np.float32) for part in parts if np.count_nonzero(part) > 10] or [solid.astype(np.float32)]
    return np.stack([spread_out(light, part) for part in known])


def without_holes(alpha: F32, mask: F32) -> F32:
    """The alpha (H, W) with those holes filled that lie where the rough mask (H, W) is sure of the person: a highlight
    on the hair in the very colour of the background. Gaps between strands are none: there the mask is not sure."""
    count, labels = cv2.connectedComponents((alpha < 0.9).astype(np.uint8), connectivity=8)
    return _holes_filled(alpha, mask, labels, count)


@numba.njit(nogil=True, cache=True)
def _holes_filled(alpha: F32, mask: F32, labels: NDArray[np.int32], count: int) -> F32:
    """The alpha (H, W), 1 in those of its labelled parts (H, W) that are holes; changed in place."""
    area, inside = np.zeros(count), np.zeros(count)
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            area[labels[y, x]] += 1
            inside[labels[y, x]] += mask[y, x]
    hole = (inside > HOLE_MASK * area) & (area < HOLE * alpha.size)
    hole[0] = False
    if hole.any():
        for y in range(alpha.shape[0]):
            for x in range(alpha.shape[1]):
                if hole[labels[y, x]]:
                    alpha[y, x] = 1
    return alpha


def guide(raw: F32, rgb: U8) -> F32:
    """A raw mask (H, W) drawn to the edges of the picture (H, W, 3): a guided filter (He et al., PAMI 2013).

    The radius is about the width of the mask's own uncertain band; a curve then takes faint haze away. Worked out at
    half the size (He and Sun, "Fast guided filter", 2015): the full size costs four times as much.
    """
    height, width = raw.shape
    half = (max(1, width // 2), max(1, height // 2))
    small = cv2.resize(rgb, half, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(raw, half, interpolation=cv2.INTER_AREA)
    guided = cv2.ximgproc.guidedFilter(small, mask, max(2, round(max(half) / 32)), (0.02 * 255) ** 2)
    wide = cv2.resize(guided, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip((wide - 0.15) / 0.7, 0, 1).astype(np.float32)
