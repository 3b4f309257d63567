"""Hair, told from skin and clothes by colours learned from the clip and by the position on the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from ..compute.kernels import kernel
from ..contract.arrays import F32, F64, I32, U8, Floats, Mask
from ..tracking.detection import topology as topo

# Classes: indices of the first axis of histograms and probabilities.
HAIR = 0
SKIN = 1
CLOTH = 2

LAB_BINS = 16  # per axis of Lab; more need more pixels to learn from
# Lab codes per bin of a and b, counted from their middle: skin, hair and most clothes lie within ±40.
CHROMA_BIN_WIDTH = 5
# Deviation in bins (L, a, b) of the blur of the histograms: light differs on every lock, its hue stays.
HISTOGRAM_BLUR_BINS = (1.5, 0.8, 0.8)
MIN_COLOR_PROBABILITY = 1e-5  # of colours that were never seen
# Factors on brightness under which the colours of a class are expected too: locks shade locks.
SHADE_FACTORS = {HAIR: (1.0, 0.7, 0.5, 0.35), SKIN: (1.0, 0.75, 0.55), CLOTH: (1.0,)}
MIN_CLASS_PIXELS = 200  # pixels that a class needs, over all frames, to be learned
# Bhattacharyya coefficient of the colours above the forehead with those of the skin, above which the person is bald.
MAX_SKIN_OVERLAP = 0.6
SURE_PERSON_MASK = 0.95  # mask from which a pixel is used for learning


class Zone(NamedTuple):
    """Part of the head's coordinates (`head_coordinates`) in which a class is learned at first.

    Attributes:
        min_up: lower bound of the height; 0 at the chin, 1 at the forehead.
        max_up: upper bound.
        max_across: bound of the distance from the middle; 1 at the cheek.
        is_in_face: whether the zone lies inside the face's oval, or outside.
    """

    min_up: float
    max_up: float
    max_across: float
    is_in_face: bool


LEARNING_ZONES = {
    HAIR:  Zone(1.12,    1.6,   0.8,    False),  # above the forehead
    SKIN:  Zone(0.25,    0.75,  0.6,    True),   # the middle of the face
    CLOTH: Zone(-np.inf, -0.45, np.inf, False),  # well below the chin
}  # fmt: skip

# Prior probabilities of hair and skin by position, in the head's coordinates; the rest is cloth. Not tuned.
MIN_FRINGE_UP = 0.88  # height inside the face's oval from which hair may hang into it; lower, brows and beards are skin
FACE_PRIOR = (0.0, 0.7)
FRINGE_PRIOR = (0.3, 0.7)
MIN_TOP_UP = 0.9
TOP_PRIOR = (0.85, 0.12)  # above that height
MIN_BESIDE_UP = 0.1
BESIDE_PRIOR = (0.5, 0.45)  # beside the face, above that height
NECK_HALF_WIDTH = 0.55  # half width of the neck, in half widths of the face
NECK_PRIOR = (0.01, 0.3)  # what is dark on the neck is a shadow
BELOW_HAIR_PRIOR = 0.45  # of hair at the chin's height beside the neck; it falls to `MIN_BELOW_HAIR_PRIOR`
BELOW_SKIN_PRIOR = 0.3
HAIR_LENGTH = 1.4  # face heights below the chin at which that has fallen to 0
MIN_BELOW_HAIR_PRIOR = 0.005
HAIR_REACH = 2.6  # half widths of the face to the side at which it has fallen to `MIN_PRIOR`
MIN_PRIOR = 0.01

# Patches of hair.
MIN_PATCH_HAIR = 0.4  # probability of hair from which a pixel belongs to a patch
MIN_PATCH_MASK = 0.3  # person mask from which it does
# Height that a patch of hair must reach: clothes do not, locks behind an ear do.
MIN_HAIR_UP = 0.3
SEPARATING_KERNEL = np.ones((3, 3), np.uint8)  # eroding with it cuts off patches that hang on a thread
ROUNDING_KERNEL = np.ones((7, 7), np.uint8)  # dilating with it restores and rounds the patches that are kept

# Smoothing of the result along the image's edges.
FILTER_RADIUS_DIVISOR = 64  # the image's height over this is the radius of the guided filter in pixels
FILTER_EDGE_LEVELS = 0.04 * 255  # gray levels of an edge that the filter keeps
# Filtered probabilities that become 0 and 1.
NO_HAIR_PROBABILITY = 0.25
FULL_HAIR_PROBABILITY = 0.65


class HairModel:
    """The colours of hair, skin and clothes of one clip.

    Args:
        color_probabilities: (3, BINS³) probability of a colour given hair, skin, cloth; None where there is no hair.
    """

    def __init__(self, color_probabilities: F32 | None) -> None:
        self._color_probabilities = color_probabilities

    @property
    def has_hair(self) -> bool:
        """False for a bald person, and where the image ends at the forehead."""
        return self._color_probabilities is not None

    @classmethod
    def learn(cls, images: Sequence[U8], masks: Sequence[F32], landmarks: Sequence[Floats]) -> HairModel:
        """Learn colours in `LEARNING_ZONES`, then again from all of the person, classified by those.

        Args:
            images: (H, W, 3) per frame.
            masks: (H, W) person mask per frame.
            landmarks: (478, ≥2) pixels per frame.
        """
        counts = _count_zone_colors(images, masks, landmarks)
        if min(counts[HAIR].sum(), counts[SKIN].sum()) < MIN_CLASS_PIXELS:
            return cls(None)
        probabilities = _smooth_histograms(counts)
        overlap = float(np.sqrt(probabilities[HAIR] * probabilities[SKIN]).sum())  # Bhattacharyya coefficient
        if overlap > MAX_SKIN_OVERLAP:
            return cls(None)
        counts = np.zeros_like(counts)
        for rgb, mask, points in zip(images, masks, landmarks, strict=True):
            bins, is_person = color_bins(rgb), mask > SURE_PERSON_MASK
            for kind, probability in enumerate(class_posterior(probabilities, bins, mask, points)):
                counts[kind] += np.bincount(bins[is_person], probability[is_person], LAB_BINS**3)
        return cls(_smooth_histograms(counts))

    def predict(self, rgb: U8, landmarks: Floats, person_mask: F32) -> F32:
        """Return (H, W) 0–1: how likely each pixel of the person is hair; all 0 where no hair was learned.

        Half the size of a crop is fine enough: the edge of hair is soft.

        Args:
            rgb: (H, W, 3).
            landmarks: (478, ≥2) pixels.
            person_mask: (H, W).
        """
        if self._color_probabilities is None:
            return np.zeros(person_mask.shape, np.float32)
        hair = class_posterior(self._color_probabilities, color_bins(rgb), person_mask, landmarks)[HAIR]
        radius = max(2, round(person_mask.shape[0] / FILTER_RADIUS_DIVISOR))
        gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        soft = cv2.ximgproc.guidedFilter(gray, hair, radius, FILTER_EDGE_LEVELS**2)
        probability = (soft - NO_HAIR_PROBABILITY) / (FULL_HAIR_PROBABILITY - NO_HAIR_PROBABILITY)
        return np.asarray(np.clip(probability, 0, 1), np.float32)


def _count_zone_colors(images: Sequence[U8], masks: Sequence[F32], landmarks: Sequence[Floats]) -> F64:
    """Return histograms (3, BINS³) of the colours in `LEARNING_ZONES`."""
    counts = np.zeros((3, LAB_BINS**3))
    for rgb, mask, points in zip(images, masks, landmarks, strict=True):
        across, up, is_face = head_coordinates(points, mask.shape)
        for kind, zone in LEARNING_ZONES.items():
            is_zone = (up > zone.min_up) & (up < zone.max_up) & (np.abs(across) < zone.max_across)
            pixels = rgb[is_zone & (is_face if zone.is_in_face else ~is_face) & (mask > SURE_PERSON_MASK)]
            for shade in SHADE_FACTORS[kind] if len(pixels) else ():
                bins = color_bins(np.rint(pixels[None] * shade).astype(np.uint8))
                counts[kind] += np.bincount(bins[0], minlength=LAB_BINS**3)
    return counts


def _smooth_histograms(counts: F64) -> F32:
    """Return (3, BINS³) probabilities of each colour, none of them 0, from counts of the same shape."""
    smooth = np.stack([gaussian_filter(c.reshape((LAB_BINS,) * 3), HISTOGRAM_BLUR_BINS).ravel() for c in counts])
    return np.asarray(smooth / np.maximum(smooth.sum(1, keepdims=True), 1) + MIN_COLOR_PROBABILITY, np.float32)


def color_bins(rgb: U8) -> I32:
    """Return (H, W) the bin of Lab of each pixel (H, W, 3), 0 to BINS³ − 1."""
    return _lab_bins(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB))


@kernel(exact=True)
def _lab_bins(lab: U8) -> I32:
    bins = np.empty(lab.shape[:2], np.int32)
    for y in range(lab.shape[0]):
        for x in range(lab.shape[1]):
            code = int(lab[y, x, 0]) * LAB_BINS // 256
            for c in (1, 2):
                chroma = (int(lab[y, x, c]) - 128) // CHROMA_BIN_WIDTH + LAB_BINS // 2
                code = code * LAB_BINS + min(max(chroma, 0), LAB_BINS - 1)
            bins[y, x] = code
    return bins


def head_coordinates(landmarks: Floats, image_shape: tuple[int, ...]) -> tuple[F32, F32, Mask]:
    """Return the position of each pixel on the head.

    Args:
        landmarks: (478, ≥2) pixels.
        image_shape: height and width of the image.

    Returns:
        across: (H, W) ±1 at the cheeks.
        up: (H, W) 0 at the chin and 1 at the forehead.
        is_face: (H, W) inside the oval of the face.
    """
    points = np.asarray(landmarks, np.float64)[:, :2]
    chin, forehead = points[topo.CHIN], points[topo.FOREHEAD]
    axis = forehead - chin
    height = max(float(np.linalg.norm(axis)), 1.0)
    axis = axis / height
    side = np.array([-axis[1], axis[0]])
    oval = points[list(topo.FACE_OVAL)]
    half_width = max(float(np.ptp(oval @ side)) / 2, 1.0)
    middle = (float((oval @ side).max()) + float((oval @ side).min())) / 2
    x, y = np.arange(image_shape[1]) + 0.5, (np.arange(image_shape[0]) + 0.5)[:, None]
    across = _outer_sum(x * (side[0] / half_width), (y * side[1] - middle) / half_width)
    up = _outer_sum((x - chin[0]) * (axis[0] / height), (y - chin[1]) * (axis[1] / height))
    is_face = np.zeros(image_shape[:2], np.uint8)
    cv2.fillPoly(is_face, [np.rint(oval).astype(np.int32)], 1)
    return across, up, is_face > 0


def _outer_sum(columns: F64, rows: F64) -> F32:
    return np.add(columns, rows, dtype=np.float32, casting="same_kind")


def class_posterior(color_probabilities: F32, bins: I32, person_mask: F32, landmarks: Floats) -> F32:
    """Return (3, H, W) how likely each pixel is hair, skin and cloth, by colour and position.

    Hair counts only in patches that reach up beside or above the face; what else looks like hair is cloth.

    Args:
        color_probabilities: (3, BINS³) probability of a colour given the class.
        bins: (H, W) from `color_bins`.
        person_mask: (H, W).
        landmarks: (478, ≥2) pixels.
    """
    across, up, is_face = head_coordinates(landmarks, bins.shape)
    posterior = _color_position_posterior(color_probabilities, bins, across, up, is_face)
    hair = cv2.medianBlur(cv2.medianBlur(cv2.convertScaleAbs(posterior[HAIR], alpha=255), 3), 3)
    is_hair = ((hair > MIN_PATCH_HAIR * 255) & (person_mask > MIN_PATCH_MASK)).astype(np.uint8)
    count, labels = cv2.connectedComponents(cv2.erode(is_hair, SEPARATING_KERNEL), connectivity=8)
    is_patch_kept = np.zeros(count, np.uint8)
    is_patch_kept[labels[up > MIN_HAIR_UP]] = 1
    is_patch_kept[0] = 0  # label 0 is no hair
    kept_hair = hair * cv2.dilate(is_patch_kept[labels], ROUNDING_KERNEL) * np.float32(1 / 255)
    posterior[CLOTH] += np.maximum(posterior[HAIR] - kept_hair, 0)
    posterior[HAIR] = kept_hair
    return posterior


@kernel(exact=True)
def _color_position_posterior(color_probabilities: F32, bins: I32, across: F32, up: F32, is_face: Mask) -> F32:
    """Return (3, H, W) posterior probabilities of hair, skin and cloth (Bayes), each pixel by itself.

    Args:
        color_probabilities: (3, BINS³) probability of a colour given the class.
        bins: (H, W) from `color_bins`.
        across: (H, W) from `head_coordinates`.
        up: (H, W) from the same.
        is_face: (H, W) from the same.
    """
    posterior = np.empty((3, *bins.shape), np.float32)
    for y in range(bins.shape[0]):
        for x in range(bins.shape[1]):
            hair, skin = _position_prior(across[y, x], up[y, x], is_face[y, x])
            cloth = max(1 - hair - skin, MIN_PRIOR)
            code = bins[y, x]
            hair = hair * color_probabilities[HAIR, code]
            skin = skin * color_probabilities[SKIN, code]
            cloth = cloth * color_probabilities[CLOTH, code]
            total = hair + skin + cloth
            posterior[HAIR, y, x], posterior[SKIN, y, x], posterior[CLOTH, y, x] = (
                hair / total,
                skin / total,
                cloth / total,
            )
    return posterior


@kernel(exact=True, inline="always")
def _position_prior(across: float, up: float, is_face: bool) -> tuple[float, float]:
    """Return the prior probabilities of hair and skin at a position in the head's coordinates."""
    if is_face:
        return FRINGE_PRIOR if up > MIN_FRINGE_UP else FACE_PRIOR
    if up > MIN_TOP_UP:
        return TOP_PRIOR
    if up > MIN_BESIDE_UP:
        return BESIDE_PRIOR
    if abs(across) < NECK_HALF_WIDTH:
        return NECK_PRIOR
    below = max(-up, 0.0)
    by_height = max(BELOW_HAIR_PRIOR * (1 - below / HAIR_LENGTH), MIN_BELOW_HAIR_PRIOR)
    return by_height * min(max(HAIR_REACH - abs(across), MIN_PRIOR), 1.0), BELOW_SKIN_PRIOR
