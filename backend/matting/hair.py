"""Hair, told from skin and clothes by colours that the clip shows, and by where in the head's frame it can be."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from ..compute.kernels import kernel
from ..contract.arrays import F32, F64, I32, U8, Floats, Mask
from ..tracking.detection import topology as topo

LAB_BINS = 16  # per axis of Lab
CHROMA_BIN_WIDTH = 5  # Lab codes per bin of a and b, around their middle: skin, hair and most clothes lie within ±40
MAX_SKIN_OVERLAP = (
    0.6  # overlap of the colours above the forehead with the skin's above which there is no hair to be seen
)
MIN_CLASS_PIXELS = 200  # pixels that a class needs, over all frames, to be learned
MIN_HAIR_HEIGHT = (
    0.3  # height on the head above which a patch of hair must reach: clothes do not, locks behind an ear do
)
MIN_FRINGE_HEIGHT = 0.88  # height inside the face's oval from which hair may hang into it
NECK_HALF_WIDTH = 0.55  # half width of the neck, in half widths of the face
SHADE_FACTORS = (
    (1.0, 0.7, 0.5, 0.35),
    (1.0, 0.75, 0.55),
    (1.0,),
)  # in which hair, skin, cloth are expected: locks shade locks
HISTOGRAM_BLUR_BINS = (
    1.5,
    0.8,
    0.8,
)  # of the colour tables in bins: light falls differently on every lock, its hue stays
NO_HAIR_PROBABILITY, FULL_HAIR_PROBABILITY = 0.25, 0.65  # likelihoods at which a pixel is no hair, all hair
# Patches that hang on a thread are cut off; what is kept is rounded.
SEPARATING_KERNEL, ROUNDING_KERNEL = np.ones((3, 3), np.uint8), np.ones((7, 7), np.uint8)
HAIR, SKIN, CLOTH = 0, 1, 2


class HairModel:
    """The colours of hair, skin and clothes of one clip. Callable: how likely each pixel is hair."""

    def __init__(self, color_probabilities: F32 | None) -> None:
        self._color_probabilities = (
            color_probabilities  # (3, BINS³) probability of a colour given hair, skin, cloth; None without hair
        )

    @property
    def has_hair(self) -> bool:
        """False for a bald person, and where the picture ends at the forehead."""
        return self._color_probabilities is not None

    @classmethod
    def learn(cls, images: Sequence[U8], masks: Sequence[F32], landmarks: Sequence[Floats]) -> HairModel:
        """From frames (H, W, 3), their person masks (H, W) and landmarks (478, ≥2) in pixels.

        Hair is what stands above the forehead, skin the middle of the face, cloth what lies well below the chin.
        """
        counts = np.zeros((3, LAB_BINS**3))
        for rgb, mask, points in zip(images, masks, landmarks, strict=True):
            person = mask > 0.95
            across, up, face = head_coordinates(points, person.shape)
            zones = (
                (up > 1.12) & (up < 1.6) & (np.abs(across) < 0.8) & ~face,
                face & (up > 0.25) & (up < 0.75) & (np.abs(across) < 0.6),
                (up < -0.45) & ~face,
            )
            for kind, zone in enumerate(zones):
                seen = rgb[zone & person]
                for shade in SHADE_FACTORS[kind] if len(seen) else ():
                    codes = color_bins(np.rint(seen[None] * shade).astype(np.uint8))
                    counts[kind] += np.bincount(codes[0], minlength=LAB_BINS**3)
        if counts[HAIR].sum() < MIN_CLASS_PIXELS or counts[SKIN].sum() < MIN_CLASS_PIXELS:
            return cls(None)
        table = _smooth_histograms(counts)
        overlap = float(np.sqrt(table[HAIR] * table[SKIN]).sum())  # Bhattacharyya
        if overlap > MAX_SKIN_OVERLAP:
            return cls(None)
        counts = np.zeros_like(counts)  # once more with all of the person, each pixel as what it now seems to be
        for rgb, mask, points in zip(images, masks, landmarks, strict=True):
            codes = color_bins(rgb)
            shares = class_posterior(table, codes, mask, points)
            for kind, share in enumerate(shares):
                counts[kind] += np.bincount(codes[mask > 0.95], share[mask > 0.95], LAB_BINS**3)
        return cls(_smooth_histograms(counts))

    def __call__(self, rgb: U8, landmarks: Floats, person_mask: F32) -> F32:
        """(H, W) 0–1: how likely a pixel of the person is hair. All zeros where no hair was learned.

        Fine enough at half the size of a crop: its edge is soft.

        Args:
            rgb: (H, W, 3). landmarks: (478, ≥2) pixels. person: (H, W) mask.
        """
        if self._color_probabilities is None:
            return np.zeros(person_mask.shape, np.float32)
        hair = class_posterior(self._color_probabilities, color_bins(rgb), person_mask, landmarks)[HAIR]
        reach = max(2, round(person_mask.shape[0] / 64))
        soft = cv2.ximgproc.guidedFilter(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), hair, reach, (0.04 * 255) ** 2)
        return np.clip((soft - NO_HAIR_PROBABILITY) / (FULL_HAIR_PROBABILITY - NO_HAIR_PROBABILITY), 0, 1)


def _smooth_histograms(counts: F64) -> F32:
    """(3, BINS³) probability of each colour, none of them quite 0, from counts of the same shape."""
    smooth = np.stack([gaussian_filter(c.reshape((LAB_BINS,) * 3), HISTOGRAM_BLUR_BINS).ravel() for c in counts])
    return (smooth / np.maximum(smooth.sum(1, keepdims=True), 1) + 1e-5).astype(np.float32)


def color_bins(rgb: U8) -> I32:
    """(H, W) which bin of Lab each pixel falls in, 0 to BINS³ − 1."""
    return _lab_bins(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB))


@kernel(exact=True)
def _lab_bins(lab: U8) -> I32:
    codes = np.empty(lab.shape[:2], np.int32)
    for y in range(lab.shape[0]):
        for x in range(lab.shape[1]):
            code = int(lab[y, x, 0]) * LAB_BINS // 256
            for c in (1, 2):
                code = code * LAB_BINS + min(
                    max((int(lab[y, x, c]) - 128) // CHROMA_BIN_WIDTH + LAB_BINS // 2, 0), LAB_BINS - 1
                )
            codes[y, x] = code
    return codes


def head_coordinates(landmarks: Floats, image_shape: tuple[int, ...]) -> tuple[F32, F32, Mask]:
    """Where pixels lie on the head: `across` (H, W), ±1 at the cheeks; `up`, 0 at the chin and 1 at the forehead; and
    whether they are inside the oval of the face."""
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
    face = np.zeros(image_shape[:2], np.uint8)
    cv2.fillPoly(face, [np.rint(oval).astype(np.int32)], 1)
    return across, up, face > 0


def _outer_sum(columns: F64, rows: F64) -> F32:
    return np.add(columns, rows, dtype=np.float32, casting="same_kind")


def class_posterior(color_probabilities: F32, bins: I32, person_mask: F32, landmarks: Floats) -> F32:
    """(3, H, W) how likely each pixel is hair, skin, cloth, by its colour (H, W) and its place.

    Hair counts only in patches that reach up beside or above the face; what else looks like hair is cloth.
    """
    across, up, face = head_coordinates(landmarks, bins.shape)
    shares = _color_position_posterior(color_probabilities, bins, across, up, face)
    hair = cv2.medianBlur(cv2.medianBlur(cv2.convertScaleAbs(shares[HAIR], alpha=255), 3), 3)
    likely = ((hair > 0.4 * 255) & (person_mask > 0.3)).astype(np.uint8)
    count, labels = cv2.connectedComponents(cv2.erode(likely, SEPARATING_KERNEL), connectivity=8)
    reaches = np.zeros(count, np.uint8)
    reaches[labels[up > MIN_HAIR_HEIGHT]] = 1
    reaches[0] = 0
    kept = cv2.dilate(reaches[labels], ROUNDING_KERNEL)
    seen = hair * kept * np.float32(1 / 255)
    shares[CLOTH] += np.maximum(shares[HAIR] - seen, 0)
    shares[HAIR] = seen
    return shares


@kernel(exact=True)
def _color_position_posterior(color_probabilities: F32, bins: I32, across: F32, up: F32, face: Mask) -> F32:
    """(3, H, W) how likely hair, skin and cloth are by colour (H, W) and by the place on the head (H, W)."""
    shares = np.empty((3, *bins.shape), np.float32)
    for y in range(bins.shape[0]):
        for x in range(bins.shape[1]):
            hair, skin = _position_prior(across[y, x], up[y, x], face[y, x])
            cloth = max(1 - hair - skin, 0.01)
            code = bins[y, x]
            hair, skin, cloth = (
                hair * color_probabilities[HAIR, code],
                skin * color_probabilities[SKIN, code],
                cloth * color_probabilities[CLOTH, code],
            )
            every = hair + skin + cloth
            shares[HAIR, y, x], shares[SKIN, y, x], shares[CLOTH, y, x] = hair / every, skin / every, cloth / every
    return shares


@kernel(exact=True, inline="always")
def _position_prior(across: float, up: float, face: bool) -> tuple[float, float]:
    """How likely hair and skin are at a place of the head's frame, before any colour is seen."""
    if face:  # brows and beards are the face's
        return 0.3 if up > MIN_FRINGE_HEIGHT else 0.0, 0.7
    if up > 0.9:
        return 0.85, 0.12
    if up > 0.1:
        return 0.5, 0.45
    if abs(across) < NECK_HALF_WIDTH:  # only a shadow lies on the neck
        return 0.01, 0.3
    below = max(-up, 0.0)
    return max(0.45 * (1 - below / 1.4), 0.005) * min(max(2.6 - abs(across), 0.01), 1.0), 0.3
