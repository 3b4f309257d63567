"""The person's mask drawn to the true edge, hair by hair where the plate is known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..compute.kernels import kernel
from ..contract.arrays import F32, I32, U8
from ..media.srgb import SRGB_TO_LINEAR, SRGB_TO_LINEAR_SLOPE, linear_from_srgb_codes
from .plate import Plate, dilate_mask, erode_mask, interpolation_taps, push_pull

INNER_SEARCH_WIDTH, OUTER_SEARCH_WIDTH = (
    1 / 40,
    1 / 16,
)  # of the side: how far around the mask's edge the true edge is sought
SOLID_MARGIN, MIN_SOLID_MASK = (
    1 / 128,
    0.95,
)  # how far inside the guided mask, and from which value, a colour is surely the person's
MAX_BACKGROUND_MASK, MIN_FOREGROUND_MASK = (
    0.1,
    0.9,
)  # the zone ends where the grown mask is below, the shrunk one above these
EDGE_MASK_DEVIATION, BODY_MASK_DEVIATION = (
    np.float32(0.30),
    np.float32(0.08),
)  # deviation of the guided mask from the truth: at its edge, well inside it
PERSON_COLOR_DEVIATION = np.float32(
    25
)  # grey levels by which the person's colour differs from what its surroundings promise
MAX_HOLE_SHARE, MIN_HOLE_MASK = 0.003, 0.8  # share of the picture of a hole at most; mask over it at least
MAX_HOLE_OPENNESS = 0.1  # sides of a hole that border on the background, per pixel of it, at most
ALPHA_BLACK_POINT, ALPHA_WHITE_POINT = (
    np.float32(0.06),
    np.float32(0.9),
)  # an alpha outside these is noise of the background, shading of the person
MIN_ISLAND_ALPHA = 0.2  # alpha from which pixels hang together
MAX_MIXTURE_DEVIATION = np.float32(3)  # deviations up to which a colour lies on the line between background and person
ZERO, ONE, INFINITY = np.float32(0), np.float32(1), np.float32(np.inf)  # single precision: twice as fast


@dataclass(frozen=True)
class RefinedMatte:
    """alpha (H, W) 0–1, and how much (H, W) 0–1 of it the plate decided; 0 away from the edge."""

    alpha: F32
    plate_influence: F32


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
        self._plate_linear = linear_from_srgb_codes(plate.color)
        self._plate_variance = np.square(plate.deviation * SRGB_TO_LINEAR_SLOPE[plate.color].mean(2))
        self._small_size = max(8, width // 4), max(8, height // 4)
        self._small_plate_linear = linear_from_srgb_codes(
            cv2.resize(plate.color, self._small_size, interpolation=cv2.INTER_AREA)
        )
        self._small_plate_seen = (
            cv2.resize(plate.seen.astype(np.uint8), self._small_size, interpolation=cv2.INTER_AREA) > 0
        )

    def __call__(self, rough_mask: F32, rgb: U8, hair_probability: F32) -> RefinedMatte:
        """Refines a mask (H, W) of a picture (H, W, 3), given where hair is likely (h, w), any size, 0–1."""
        guided = apply_guided_filter(rough_mask, rgb)
        near, core = dilate_mask(rough_mask, OUTER_SEARCH_WIDTH), erode_mask(rough_mask, INNER_SEARCH_WIDTH)
        light = linear_from_srgb_codes(cv2.resize(rgb, self._small_size, interpolation=cv2.INTER_AREA))
        colours = estimate_person_colors(light, erode_mask(guided, SOLID_MARGIN), hair_probability)
        reach = 2 * round(rough_mask.shape[0] / 128) + 1
        alpha, by_plate = _key_edges(
            rgb, cv2.blur(rough_mask, (reach, reach)), guided, near, core, self._plate_linear, self._plate_variance,
            self._exposure_shift(light, near), colours, SRGB_TO_LINEAR, SRGB_TO_LINEAR_SLOPE,
        )  # fmt: skip
        return RefinedMatte(remove_islands(fill_alpha_holes(alpha, rough_mask), rough_mask), by_plate)

    def _exposure_shift(self, linear_image: F32, dilated_mask: F32) -> F32:
        """(3,) by how much this frame's background is brighter than the plate: exposure changes.

        Args:
            light: the frame, a quarter of the size. near: (H, W) the mask with its surroundings.
        """
        clear = (
            cv2.resize(dilated_mask, self._small_size, interpolation=cv2.INTER_AREA) <= MAX_BACKGROUND_MASK
        ) & self._small_plate_seen
        if np.count_nonzero(clear) < 50:
            return np.zeros(3, np.float32)
        return np.median((linear_image - self._small_plate_linear)[clear], axis=0).astype(np.float32)


@kernel(exact=True, error_model="numpy")
def _key_edges(
    rgb: U8,
    blurred_mask: F32,
    guided_mask: F32,
    dilated_mask: F32,
    eroded_mask: F32,
    plate: F32,
    variance: F32,
    exposure_shift: F32,
    person_colors: F32,
    linear_table: F32,
    slope_table: F32,
) -> tuple[F32, F32]:
    """Alpha (H, W), and how much (H, W) of it the plate decided.

    Args:
        rgb: (H, W, 3). body: the raw mask, blurred. guided: the guided one. near, core: it with, without its edge.
        plate: (H, W, 3) linear light. variance: (H, W) of it. shift: (3,) what is to be added to it.
        colours: (K, h, w, 3) candidates for the person's colour. light, slope: (256,) of a code, of a grey level.
    """
    height, width = blurred_mask.shape
    alpha, by_plate = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    rows, down = interpolation_taps(height, person_colors.shape[1])
    columns, right = interpolation_taps(width, person_colors.shape[2])
    for y in range(height):
        above, below, v = rows[y, 0], rows[y, 1], down[y]
        for x in range(width):
            if eroded_mask[y, x] > MIN_FOREGROUND_MASK:
                alpha[y, x] = 1
                continue
            if dilated_mask[y, x] <= MAX_BACKGROUND_MASK:
                continue
            first, last, u = columns[x, 0], columns[x, 1], right[x]
            r0, g0, b0 = (
                plate[y, x, 0] + exposure_shift[0],
                plate[y, x, 1] + exposure_shift[1],
                plate[y, x, 2] + exposure_shift[2],
            )
            r, g, b = linear_table[rgb[y, x, 0]] - r0, linear_table[rgb[y, x, 1]] - g0, linear_table[rgb[y, x, 2]] - b0
            length = r * r + g * g + b * b
            best, least, contrast = ZERO, INFINITY, ONE
            for k in range(len(person_colors)):
                rk = _bilinear(person_colors[k], 0, above, below, first, last, u, v) - r0
                gk = _bilinear(person_colors[k], 1, above, below, first, last, u, v) - g0
                bk = _bilinear(person_colors[k], 2, above, below, first, last, u, v) - b0
                square = max(rk * rk + gk * gk + bk * bk, np.float32(1e-4))
                share = (r * rk + g * gk + b * bk) / square
                nearest = min(max(share, ZERO), ONE)
                off = length + nearest * square * (nearest - share - share)  # |away − nearest · line|²
                if off < least:
                    best, least, contrast = share, off, square
            # what no candidate explains is no mixture of them: its distance counts, not its direction
            doubt = variance[y, x]
            unexplained = min(max(np.sqrt(max(least, ZERO) / doubt) / MAX_MIXTURE_DEVIATION - ONE, ZERO), ONE)
            distance = np.sqrt(max(length - MAX_MIXTURE_DEVIATION * MAX_MIXTURE_DEVIATION * doubt, ZERO) / contrast)
            keyed = min(max(best + max(distance - best, ZERO) * unexplained, ZERO), ONE)
            own = PERSON_COLOR_DEVIATION * slope_table[rgb[y, x, 1]]
            uncertain = (np.float32(3) * doubt + own * own * max(keyed, np.float32(0.1))) / contrast
            inside = min(max(blurred_mask[y, x] * np.float32(4) - np.float32(3), ZERO), ONE)
            prior = np.square(EDGE_MASK_DEVIATION + (BODY_MASK_DEVIATION - EDGE_MASK_DEVIATION) * inside)
            weight = prior / (prior + uncertain)
            mixed = keyed * weight + guided_mask[y, x] * (ONE - weight)
            alpha[y, x] = min(max((mixed - ALPHA_BLACK_POINT) / (ALPHA_WHITE_POINT - ALPHA_BLACK_POINT), ZERO), ONE)
            by_plate[y, x] = weight
    return alpha, by_plate


@kernel(exact=True, inline="always")
def _bilinear(
    image: F32,
    channel: int,
    top_row: int,
    bottom_row: int,
    left_column: int,
    right_column: int,
    u: np.float32,
    v: np.float32,
) -> np.float32:
    """Channel c of a picture (h, w, 3) between four of its pixels."""
    top = image[top_row, left_column, channel] + u * (
        image[top_row, right_column, channel] - image[top_row, left_column, channel]
    )
    bottom = image[bottom_row, left_column, channel] + u * (
        image[bottom_row, right_column, channel] - image[bottom_row, left_column, channel]
    )
    return top + v * (bottom - top)


def estimate_person_colors(linear_image: F32, solid_mask: F32, hair_probability: F32) -> F32:
    """What the person near each pixel looks like: pictures (1–2, h, w, 3) of linear light, hair and all else.

    Args:
        light: (h, w, 3). sure: (H, W) the mask without its edge. hair: where hair is likely; any size.
    """
    size = linear_image.shape[1], linear_image.shape[0]
    solid = cv2.resize(solid_mask, size, interpolation=cv2.INTER_AREA) > MIN_SOLID_MASK
    likely = cv2.resize(hair_probability, size, interpolation=cv2.INTER_AREA)
    parts = [solid & (likely > 0.8), solid & (likely < 0.2)]
    known = [part.astype(np.float32) for part in parts if np.count_nonzero(part) > 10] or [solid.astype(np.float32)]
    return np.stack([push_pull(linear_image, part) for part in known])


def fill_alpha_holes(alpha: F32, rough_mask: F32) -> F32:
    """The alpha (H, W) with those small gaps filled where the rough mask (H, W) is sure of the person: a highlight on
    the hair in the very colour of the background. What is open to the background is none, but for a narrow mouth."""
    gap = ((alpha < ALPHA_WHITE_POINT) & (rough_mask > MIN_HOLE_MASK)).astype(np.uint8)
    count, labels = cv2.connectedComponents(gap, connectivity=8)
    return _fill_enclosed_holes(alpha, labels, count)


@kernel(exact=True)
def _fill_enclosed_holes(alpha: F32, labels: I32, count: int) -> F32:
    """The alpha (H, W), 1 in those of its labelled gaps (H, W; 0 is none) that are holes; changed in place."""
    height, width = alpha.shape
    area, open_ = np.zeros(count), np.zeros(count)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label > 0:
                area[label] += 1
                for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                    outside = v < 0 or v >= height or u < 0 or u >= width
                    if not outside and labels[v, u] == 0 and alpha[v, u] < ALPHA_WHITE_POINT:
                        open_[label] += 1
    hole = (area < MAX_HOLE_SHARE * alpha.size) & (open_ < MAX_HOLE_OPENNESS * area)
    if hole.any():
        for y in range(height):
            for x in range(width):
                if hole[labels[y, x]]:
                    alpha[y, x] = 1
    return alpha


def remove_islands(alpha: F32, rough_mask: F32) -> F32:
    """The alpha (H, W) without what hangs together with no sure pixel of the rough mask (H, W): something that moved in
    the background beside the person and differs from the plate there."""
    _, labels = cv2.connectedComponents((alpha > MIN_ISLAND_ALPHA).astype(np.uint8), connectivity=8)
    person = np.zeros(int(labels.max()) + 1, np.bool_)
    person[labels[rough_mask > MIN_FOREGROUND_MASK]] = True
    if person[1:].all():
        return alpha
    person[0] = True
    island = cv2.dilate((~person[labels]).astype(np.uint8), np.ones((5, 5), np.uint8))  # with its faint shore
    mainland = (labels > 0) & person[labels]
    return np.where((island > 0) & ~mainland, ZERO, alpha)


def apply_guided_filter(rough_mask: F32, rgb: U8) -> F32:
    """A raw mask (H, W) drawn to the edges of the picture (H, W, 3): a guided filter (He et al., PAMI 2013).

    The radius is about the width of the mask's own uncertain band; a curve then takes faint haze away. Worked out at
    half the size (He and Sun, "Fast guided filter", 2015): the full size costs four times as much.
    """
    height, width = rough_mask.shape
    half = (max(1, width // 2), max(1, height // 2))
    small = cv2.resize(rgb, half, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(rough_mask, half, interpolation=cv2.INTER_AREA)
    guided = cv2.ximgproc.guidedFilter(small, mask, max(2, round(max(half) / 32)), (0.02 * 255) ** 2)
    wide = cv2.resize(guided, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip((wide - 0.15) / 0.7, 0, 1).astype(np.float32)
