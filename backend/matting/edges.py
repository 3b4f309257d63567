"""Refinement of the person's rough mask to the true edge, hair by hair where the plate is known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..compute.kernels import kernel
from ..contract.arrays import F32, I32, U8
from ..media.srgb import SRGB_TO_LINEAR, SRGB_TO_LINEAR_SLOPE, linear_from_srgb_codes
from .morphology import dilate_mask, erode_mask
from .plate import Plate
from .resampling import interpolate, interpolation_taps, push_pull

# Widths are shares of the image's height. Nothing here is tuned unless its comment says so.

# How far inside and outside the rough mask's edge the true edge is sought. Outside it is wider, for loose strands.
INNER_SEARCH_WIDTH = 1 / 40
OUTER_SEARCH_WIDTH = 1 / 16
# The searched zone ends where the grown mask is below the first, the shrunk mask above the second.
MAX_BACKGROUND_MASK = 0.1
MIN_FOREGROUND_MASK = 0.9

# Guided filter.
GUIDE_RADIUS_DIVISOR = 32  # the longest side over this is the radius: about the rough mask's uncertain band
GUIDE_EDGE_LEVELS = 0.02 * 255  # gray levels of an edge that the filter follows
GUIDE_HAZE = 0.15  # filtered mask that becomes 0: faint haze around the person
GUIDE_RANGE = 0.7  # filtered mask above that haze which becomes 1

# Colours of the person.
SOLID_MARGIN = 1 / 128  # distance from the guided mask's edge at which a pixel surely shows the person
MIN_SOLID_MASK = 0.95  # eroded mask from which it does
MIN_HAIR_PROBABILITY = 0.8  # from which a pixel shows hair
MAX_OTHER_PROBABILITY = 0.2  # of hair, up to which it shows skin or clothes
MIN_COLOR_PIXELS = 10  # at a quarter of the size, that a candidate colour needs
MIN_EXPOSURE_PIXELS = 50  # of background, at a quarter of the size, from which the exposure is compared

# Keying. Deviations are of a normal distribution. Single precision is twice as fast as double.
EDGE_MASK_DEVIATION = np.float32(0.30)  # of the guided mask from the truth at its edge
BODY_MASK_DEVIATION = np.float32(0.08)  # the same well inside the rough mask
BODY_MASK_GAIN = np.float32(4)  # "well inside" is gain · blurred mask − offset: from 0.75 on, fully at 1
BODY_MASK_OFFSET = np.float32(3)
MASK_BLUR_DIVISOR = 128  # the image's height over this is the radius of that blur
PERSON_COLOR_DEVIATION = np.float32(25)  # gray levels between the person's colour and that of its surroundings
MIN_PERSON_SHARE = np.float32(0.1)  # share of that deviation that counts even where alpha is 0
COLOR_CHANNELS = np.float32(3)
MAX_MIXTURE_DEVIATION = np.float32(3)  # deviations up to which a colour is a mixture of background and person
MIN_SQUARED_CONTRAST = np.float32(1e-4)  # between background and person, so that divisions stay finite
# Alphas below and above are noise of the background and shading of the person: they become 0 and 1.
ALPHA_BLACK_POINT = np.float32(0.06)
ALPHA_WHITE_POINT = np.float32(0.9)

# Holes and islands of the alpha.
MAX_HOLE_SHARE = 0.003  # of the image up to which a hole is filled
MIN_HOLE_MASK = 0.8  # rough mask over a hole, at least
MAX_HOLE_OPENNESS = 0.1  # sides of a hole that border on the background per pixel of it, at most: a narrow mouth
MIN_ISLAND_ALPHA = 0.2  # alpha from which pixels are connected
ISLAND_MARGIN = np.ones((5, 5), np.uint8)  # islands are removed together with their faint border

ZERO = np.float32(0)
ONE = np.float32(1)
INFINITY = np.float32(np.inf)


@dataclass(frozen=True)
class RefinedMatte:
    """A refined alpha.

    Attributes:
        alpha: (H, W) 0–1.
        plate_influence: (H, W) 0–1 share of the plate in that decision; 0 away from the edge.
    """

    alpha: F32
    plate_influence: F32


class EdgeRefiner:
    """Refines rough masks of frames in front of one plate.

    Where the plate is known, alpha is how far a pixel lies from the background's colour towards the person's, in linear
    light. The person's colour is that of hair or of the rest nearby, whichever explains the pixel better. Where the
    plate is uncertain or similar to the person, the mask drawn to the image's edges (a guided filter) counts instead:
    the two are weighted by their inverse variances.
    """

    def __init__(self, plate: Plate) -> None:
        self.plate = plate
        height, width = plate.seen.shape
        self._plate_linear = linear_from_srgb_codes(plate.color)
        self._plate_variance = np.square(plate.deviation * SRGB_TO_LINEAR_SLOPE[plate.color].mean(2))
        self._small_size = max(8, width // 4), max(8, height // 4)
        self._small_plate_linear = self._shrink_to_linear(plate.color)
        small_seen = cv2.resize(plate.seen.astype(np.uint8), self._small_size, interpolation=cv2.INTER_AREA)
        self._small_plate_seen = small_seen > 0

    def refine(self, rough_mask: F32, rgb: U8, hair_probability: F32) -> RefinedMatte:
        """Refine the rough mask of a frame.

        Args:
            rough_mask: (H, W) 0–1.
            rgb: (H, W, 3).
            hair_probability: (h, w) 0–1, any size.
        """
        guided = apply_guided_filter(rough_mask, rgb)
        dilated, eroded = dilate_mask(rough_mask, OUTER_SEARCH_WIDTH), erode_mask(rough_mask, INNER_SEARCH_WIDTH)
        linear = self._shrink_to_linear(rgb)
        person_colors = estimate_person_colors(linear, erode_mask(guided, SOLID_MARGIN), hair_probability)
        blur_side = 2 * round(rough_mask.shape[0] / MASK_BLUR_DIVISOR) + 1
        alpha, plate_influence = _key_edges(
            rgb, cv2.blur(rough_mask, (blur_side, blur_side)), guided, dilated, eroded, self._plate_linear,
            self._plate_variance, self._exposure_shift(linear, dilated), person_colors, SRGB_TO_LINEAR,
            SRGB_TO_LINEAR_SLOPE,
        )  # fmt: skip
        return RefinedMatte(remove_islands(fill_alpha_holes(alpha, rough_mask), rough_mask), plate_influence)

    def _shrink_to_linear(self, rgb: U8) -> F32:
        """Return an image in linear light at a quarter of its size."""
        small = cv2.resize(rgb, self._small_size, interpolation=cv2.INTER_AREA)
        return linear_from_srgb_codes(np.asarray(small, np.uint8))

    def _exposure_shift(self, linear_image: F32, dilated_mask: F32) -> F32:
        """Return (3,) the linear light by which this frame's background is brighter than the plate.

        Args:
            linear_image: (h, w, 3) the frame at a quarter of its size.
            dilated_mask: (H, W) the mask with its surroundings.
        """
        small_mask = cv2.resize(dilated_mask, self._small_size, interpolation=cv2.INTER_AREA)
        is_background = (small_mask <= MAX_BACKGROUND_MASK) & self._small_plate_seen
        if np.count_nonzero(is_background) < MIN_EXPOSURE_PIXELS:
            return np.zeros(3, np.float32)
        return np.asarray(np.median((linear_image - self._small_plate_linear)[is_background], axis=0), np.float32)


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
    """Compute alpha (H, W) and the plate's influence (H, W) on it.

    Args:
        rgb: (H, W, 3).
        blurred_mask: (H, W) rough mask, slightly blurred.
        guided_mask: (H, W) rough mask after the guided filter.
        dilated_mask: (H, W) rough mask with its surroundings.
        eroded_mask: (H, W) rough mask without its edge.
        plate: (H, W, 3) linear light.
        variance: (H, W) of the plate, per channel.
        exposure_shift: (3,) added to the plate.
        person_colors: (K, h, w, 3) candidates for the person's colour, linear light.
        linear_table: (256,) linear light of a code.
        slope_table: (256,) linear light per gray level at a code.
    """
    height, width = blurred_mask.shape
    alpha, plate_influence = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    rows, down = interpolation_taps(height, person_colors.shape[1])
    columns, right = interpolation_taps(width, person_colors.shape[2])
    for y in range(height):
        top, bottom, v = rows[y, 0], rows[y, 1], down[y]
        for x in range(width):
            if eroded_mask[y, x] > MIN_FOREGROUND_MASK:
                alpha[y, x] = 1
                continue
            if dilated_mask[y, x] <= MAX_BACKGROUND_MASK:
                continue
            left, last, u = columns[x, 0], columns[x, 1], right[x]
            r0 = plate[y, x, 0] + exposure_shift[0]
            g0 = plate[y, x, 1] + exposure_shift[1]
            b0 = plate[y, x, 2] + exposure_shift[2]
            r, g, b = linear_table[rgb[y, x, 0]] - r0, linear_table[rgb[y, x, 1]] - g0, linear_table[rgb[y, x, 2]] - b0
            squared_length = r * r + g * g + b * b
            best, least_error, contrast = ZERO, INFINITY, ONE
            for k in range(len(person_colors)):
                rk = interpolate(person_colors[k], 0, top, bottom, left, last, u, v) - r0
                gk = interpolate(person_colors[k], 1, top, bottom, left, last, u, v) - g0
                bk = interpolate(person_colors[k], 2, top, bottom, left, last, u, v) - b0
                square = max(rk * rk + gk * gk + bk * bk, MIN_SQUARED_CONTRAST)
                share = (r * rk + g * gk + b * bk) / square
                nearest = min(max(share, ZERO), ONE)
                error = squared_length + nearest * square * (nearest - share - share)  # |pixel − nearest · person|²
                if error < least_error:
                    best, least_error, contrast = share, error, square
            # A colour that no candidate explains is no mixture: its distance from the plate counts, not its direction.
            noise = variance[y, x]
            unexplained = min(max(np.sqrt(max(least_error, ZERO) / noise) / MAX_MIXTURE_DEVIATION - ONE, ZERO), ONE)
            beyond_noise = squared_length - MAX_MIXTURE_DEVIATION * MAX_MIXTURE_DEVIATION * noise
            distance = np.sqrt(max(beyond_noise, ZERO) / contrast)
            keyed = min(max(best + max(distance - best, ZERO) * unexplained, ZERO), ONE)
            person_noise = PERSON_COLOR_DEVIATION * slope_table[rgb[y, x, 1]]
            key_variance = (
                COLOR_CHANNELS * noise + person_noise * person_noise * max(keyed, MIN_PERSON_SHARE)
            ) / contrast
            inside = min(max(blurred_mask[y, x] * BODY_MASK_GAIN - BODY_MASK_OFFSET, ZERO), ONE)
            mask_variance = np.square(EDGE_MASK_DEVIATION + (BODY_MASK_DEVIATION - EDGE_MASK_DEVIATION) * inside)
            weight = mask_variance / (mask_variance + key_variance)
            mixed = keyed * weight + guided_mask[y, x] * (ONE - weight)
            alpha[y, x] = min(max((mixed - ALPHA_BLACK_POINT) / (ALPHA_WHITE_POINT - ALPHA_BLACK_POINT), ZERO), ONE)
            plate_influence[y, x] = weight
    return alpha, plate_influence


def estimate_person_colors(linear_image: F32, solid_mask: F32, hair_probability: F32) -> F32:
    """Return the colours of the person near each pixel (1–2, h, w, 3), linear light: hair, and everything else.

    Args:
        linear_image: (h, w, 3) linear light.
        solid_mask: (H, W) the mask without its edge.
        hair_probability: 0–1, any size.
    """
    size = linear_image.shape[1], linear_image.shape[0]
    is_solid = cv2.resize(solid_mask, size, interpolation=cv2.INTER_AREA) > MIN_SOLID_MASK
    hair = cv2.resize(hair_probability, size, interpolation=cv2.INTER_AREA)
    parts = [is_solid & (hair > MIN_HAIR_PROBABILITY), is_solid & (hair < MAX_OTHER_PROBABILITY)]
    large_parts = [part for part in parts if np.count_nonzero(part) > MIN_COLOR_PIXELS] or [is_solid]
    return np.stack([push_pull(linear_image, part.astype(np.float32)) for part in large_parts])


def fill_alpha_holes(alpha: F32, rough_mask: F32) -> F32:
    """Return the alpha (H, W) with small holes filled where the rough mask (H, W) is sure of the person.

    Such holes are highlights on the hair in the colour of the background. Gaps that are open to the background stay,
    except for a narrow mouth.
    """
    is_gap = ((alpha < ALPHA_WHITE_POINT) & (rough_mask > MIN_HOLE_MASK)).astype(np.uint8)
    count, labels = cv2.connectedComponents(is_gap, connectivity=8)
    return _fill_enclosed_holes(alpha, np.asarray(labels, np.int32), count)


@kernel(exact=True)
def _fill_enclosed_holes(alpha: F32, labels: I32, count: int) -> F32:
    """Set alpha (H, W) to 1 in those labelled gaps (H, W; 0 is none) that are holes; changed in place."""
    height, width = alpha.shape
    area, open_sides = np.zeros(count), np.zeros(count)
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            if label > 0:
                area[label] += 1
                for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                    is_outside = v < 0 or v >= height or u < 0 or u >= width
                    if not is_outside and labels[v, u] == 0 and alpha[v, u] < ALPHA_WHITE_POINT:
                        open_sides[label] += 1
    is_hole = (area < MAX_HOLE_SHARE * alpha.size) & (open_sides < MAX_HOLE_OPENNESS * area)
    if is_hole.any():
        for y in range(height):
            for x in range(width):
                if is_hole[labels[y, x]]:
                    alpha[y, x] = 1
    return alpha


def remove_islands(alpha: F32, rough_mask: F32) -> F32:
    """Return the alpha (H, W) without parts that are not connected to a sure pixel of the rough mask (H, W).

    Such islands are things that moved in the background beside the person.
    """
    _, labels = cv2.connectedComponents((alpha > MIN_ISLAND_ALPHA).astype(np.uint8), connectivity=8)
    is_person = np.zeros(int(labels.max()) + 1, np.bool_)
    is_person[labels[rough_mask > MIN_FOREGROUND_MASK]] = True
    if is_person[1:].all():
        return alpha
    is_person[0] = True
    island = cv2.dilate((~is_person[labels]).astype(np.uint8), ISLAND_MARGIN)
    mainland = (labels > 0) & is_person[labels]
    return np.where((island > 0) & ~mainland, ZERO, alpha)


def apply_guided_filter(rough_mask: F32, rgb: U8) -> F32:
    """Return the rough mask (H, W) drawn to the edges of the image (H, W, 3), without faint haze.

    Guided filter (He et al., PAMI 2013), computed at half the size (He and Sun, "Fast guided filter", 2015): the full
    size costs four times as much.
    """
    height, width = rough_mask.shape
    half = (max(1, width // 2), max(1, height // 2))
    small = cv2.resize(rgb, half, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(rough_mask, half, interpolation=cv2.INTER_AREA)
    radius = max(2, round(max(half) / GUIDE_RADIUS_DIVISOR))
    guided = cv2.ximgproc.guidedFilter(small, mask, radius, GUIDE_EDGE_LEVELS**2)
    large = cv2.resize(guided, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip((large - GUIDE_HAZE) / GUIDE_RANGE, 0, 1), np.float32)
