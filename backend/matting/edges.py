"""The person's mask drawn to the true edge, hair by hair where the plate is known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .light import SLOPE, linear
from .plate import Plate, grown, shrunk, spread_out

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
INSIDE, OUTSIDE = 1 / 40, 1 / 16  # of the side: how far around the mask's edge the true edge is sought
SOLID = 1 / 128  # how far inside the guided mask a colour is surely the person's
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
        self._light = linear(plate.colour)
        self._variance = np.square(plate.doubt * SLOPE[plate.colour].mean(2))

    def __call__(self, raw: F32, rgb: U8, hair: F32) -> Refined:
        """Refines a mask (H, W) of a picture (H, W, 3), given where hair is likely (h, w), any size, 0–1."""
        guided = guide(raw, rgb)
        sure = shrunk(raw, INSIDE) > 0.9
        zone = (grown(raw, OUTSIDE) > 0.1) & ~sure
        at = np.nonzero(zone)
        light = linear(rgb)
        behind = self._light[at] + self._shift(light, ~zone & ~sure)
        away = light[at] - behind
        variance = self._variance[at]
        colours = [colour[at] for colour in person_colours(light, shrunk(guided, SOLID) > 0.95, hair)]
        keyed, contrast = key(away, behind, colours, variance)
        doubt = np.square(PERSON_DOUBT * SLOPE[rgb[..., 1][at]])
        uncertain = (3 * variance + doubt * np.maximum(keyed, 0.1)) / contrast
        inside = np.clip(cv2.blur(raw, (2 * round(raw.shape[0] / 128) + 1,) * 2)[at] * 4 - 3, 0, 1)
        prior = np.square(PRIOR_EDGE + (PRIOR_BODY - PRIOR_EDGE) * inside)
        weight = prior / (prior + uncertain)
        mixed = keyed * weight + guided[at] * (1 - weight)
        alpha, by_plate = sure.astype(np.float32), np.zeros_like(raw)
        alpha[at] = np.clip((mixed - EMPTY) / (FULL - EMPTY), 0, 1)
        by_plate[at] = weight
        return Refined(without_holes(alpha, raw), by_plate)

    def _shift(self, light: F32, clear: NDArray[np.bool_]) -> F32:
        """(3,) by how much this frame's background is brighter than the plate: exposure changes."""
        some = clear[::4, ::4] & self.plate.seen[::4, ::4]
        if np.count_nonzero(some) < 50:
            return np.zeros(3, np.float32)
        return np.median((light[::4, ::4] - self._light[::4, ::4])[some], axis=0).astype(np.float32)


def key(away: F32, behind: F32, colours: list[F32], variance: F32) -> tuple[F32, F32]:
    """Alpha (N,) of pixels that are `away` (N, 3) from the background `behind` (N, 3), and the squared contrast (N,)
    between background and the person's colour that was chosen.

    Args:
        colours: candidates (N, 3) for the person's colour. variance: (N,) of the background's colour.

    What no candidate explains is no mixture of them: its distance from the background counts, not its direction.
    """
    best_alpha, best_off, best_contrast = (np.full(len(away), v, np.float32) for v in (0, np.inf, 1))
    length = dot(away, away)
    for colour in colours:
        line = colour - behind
        contrast = np.maximum(dot(line, line), 1e-4)
        alpha = dot(away, line) / contrast
        nearest = np.clip(alpha, 0, 1)
        off = length + nearest * (nearest * contrast - 2 * alpha * contrast)  # |away − nearest · line|²
        better = off < best_off
        best_alpha = np.where(better, alpha, best_alpha)
        best_contrast = np.where(better, contrast, best_contrast)
        best_off = np.where(better, off, best_off)
    unexplained = np.clip(np.sqrt(np.maximum(best_off, 0) / variance) / EXPLAINED - 1, 0, 1)
    distance = np.sqrt(np.maximum(length - EXPLAINED**2 * variance, 0) / best_contrast)
    alpha = best_alpha + np.maximum(distance - best_alpha, 0) * unexplained
    return np.clip(alpha, 0, 1).astype(np.float32), best_contrast.astype(np.float32)


def dot(a: F32, b: F32) -> F32:
    """(N,) products of vectors (N, 3); several times faster than a sum along so short an axis."""
    return np.asarray(a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2], np.float32)


def person_colours(light: F32, sure: NDArray[np.bool_], hair: F32) -> list[F32]:
    """What the person near each pixel looks like: two pictures (H, W, 3) of linear light, hair and all else."""
    height, width = sure.shape
    size = max(8, width // 4), max(8, height // 4)
    small = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
    solid = cv2.resize(sure.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.9
    likely = cv2.resize(hair, size, interpolation=cv2.INTER_AREA)
    parts = [solid & (likely > 0.8), solid & (likely < 0.2)]
    known = [part.astype(np.float32) for part in parts if np.count_nonzero(part) > 10] or [solid.astype(np.float32)]
    return [cv2.resize(spread_out(small, part), (width, height), interpolation=cv2.INTER_LINEAR) for part in known]


def without_holes(alpha: F32, mask: F32) -> F32:
    """The alpha (H, W) with those holes filled that lie where the rough mask (H, W) is sure of the person: a highlight
    on the hair in the very colour of the background. Gaps between strands are none: there the mask is not sure."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((alpha < 0.9).astype(np.uint8), connectivity=8)
    sure = np.bincount(labels.ravel(), mask.ravel(), len(stats)) > HOLE_MASK * stats[:, cv2.CC_STAT_AREA]
    hole = sure & (stats[:, cv2.CC_STAT_AREA] < HOLE * mask.size)
    hole[0] = False
    return np.where(hole[labels], np.float32(1), alpha)


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
