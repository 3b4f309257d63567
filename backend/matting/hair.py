"""Hair, told from skin and clothes by colours that the clip shows, and by where in the head's frame it can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..tracking import topology as topo

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Landmarks = NDArray[np.floating[Any]]
BINS = 16  # per axis of Lab
CHROMA = 5  # Lab codes per bin of a and b, around their middle: skin, hair and most clothes lie within ±40
ALIKE = 0.6  # overlap of the colours above the forehead with the skin's above which there is no hair to be seen
ENOUGH = 200  # pixels that a class needs, over all frames, to be learned
BESIDE = 0.3  # height on the head above which a patch of hair must reach: clothes do not, locks behind an ear do
FRINGE = 0.88  # height inside the face's oval from which hair may hang into it
NECK = 0.55  # half width of the neck, in half widths of the face
SHADES = (1.0, 0.7, 0.5, 0.35), (1.0, 0.75, 0.55), (1.0,)  # in which hair, skin, cloth are expected: locks shade locks
BLUR = (1.5, 0.8, 0.8)  # of the colour tables in bins: light falls differently on every lock, its hue stays
UNLIKELY, LIKELY = 0.25, 0.65  # likelihoods at which a pixel is no hair, all hair
HAIR, SKIN, CLOTH = 0, 1, 2


class HairModel:
    """The colours of hair, skin and clothes of one clip. Callable: how likely each pixel is hair."""

    def __init__(self, table: F32 | None) -> None:
        self._table = table  # (3, BINS³) probability of a colour given hair, skin, cloth; None without hair

    @property
    def has_hair(self) -> bool:
        """False for a bald person, and where the picture ends at the forehead."""
        return self._table is not None

    @classmethod
    def learn(cls, pictures: Sequence[U8], masks: Sequence[F32], landmarks: Sequence[Landmarks]) -> HairModel:
        """From frames (H, W, 3), their person masks (H, W) and landmarks (478, ≥2) in pixels.

        Hair is what stands above the forehead, skin the middle of the face, cloth what lies well below the chin.
        """
        counts = np.zeros((3, BINS**3))
        for rgb, mask, points in zip(pictures, masks, landmarks, strict=True):
            small, person = _half(rgb), _half(mask) > 0.95
            across, up, face = head_frame(points / 2, person.shape)
            zones = (
                (up > 1.12) & (up < 1.6) & (np.abs(across) < 0.8) & ~face,
                face & (up > 0.25) & (up < 0.75) & (np.abs(across) < 0.6),
                (up < -0.45) & ~face,
            )
            for kind, zone in enumerate(zones):
                seen = small[zone & person]
                for shade in SHADES[kind] if len(seen) else ():
                    codes = colour_codes(np.rint(seen[None] * shade).astype(np.uint8))
                    counts[kind] += np.bincount(codes[0], minlength=BINS**3)
        if counts[HAIR].sum() < ENOUGH or counts[SKIN].sum() < ENOUGH:
            return cls(None)
        table = _probabilities(counts)
        overlap = float(np.sqrt(table[HAIR] * table[SKIN]).sum())  # Bhattacharyya
        if overlap > ALIKE:
            return cls(None)
        counts = np.zeros_like(counts)  # once more with all of the person, each pixel as what it now seems to be
        for rgb, mask, points in zip(pictures, masks, landmarks, strict=True):
            codes, person = colour_codes(_half(rgb)), _half(mask)
            shares = posterior(table, codes, person, points / 2)
            for kind, share in enumerate(shares):
                counts[kind] += np.bincount(codes[person > 0.95], share[person > 0.95], BINS**3)
        return cls(_probabilities(counts))

    def __call__(self, rgb: U8, landmarks: Landmarks, person: F32) -> F32:
        """(H, W) 0–1: how likely a pixel of the person is hair. All zeros where no hair was learned.

        Args:
            rgb: (H, W, 3). landmarks: (478, ≥2) pixels. person: (H, W) mask.
        """
        height, width = person.shape
        if self._table is None:
            return np.zeros((height, width), np.float32)
        small = _half(rgb)
        hair = posterior(self._table, colour_codes(small), _half(person), landmarks / 2)[HAIR]
        soft = cv2.ximgproc.guidedFilter(small, hair, max(2, round(height / 128)), (0.04 * 255) ** 2)
        wide = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.clip((wide - UNLIKELY) / (LIKELY - UNLIKELY), 0, 1)


def _probabilities(counts: NDArray[np.float64]) -> F32:
    """(3, BINS³) probability of each colour, none of them quite 0, from counts of the same shape."""
    smooth = np.stack([gaussian_filter(c.reshape((BINS,) * 3), BLUR).ravel() for c in counts])
    return (smooth / np.maximum(smooth.sum(1, keepdims=True), 1) + 1e-5).astype(np.float32)


def _half(picture: Any) -> Any:
    return cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)


def colour_codes(rgb: U8) -> NDArray[np.int32]:
    """(H, W) which bin of Lab each pixel falls in, 0 to BINS³ − 1."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    light = lab[..., 0].astype(np.int32) * BINS // 256
    chroma = np.clip((lab[..., 1:].astype(np.int32) - 128) // CHROMA + BINS // 2, 0, BINS - 1)
    return (light * BINS + chroma[..., 0]) * BINS + chroma[..., 1]


def head_frame(landmarks: Landmarks, shape: tuple[int, ...]) -> tuple[F32, F32, NDArray[np.bool_]]:
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
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    across = (x * side[0] + y * side[1] - middle) / half_width
    up = ((x - chin[0]) * axis[0] + (y - chin[1]) * axis[1]) / height
    face = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(face, [np.rint(oval).astype(np.int32)], 1)
    return across.astype(np.float32), up.astype(np.float32), face > 0


def location_prior(landmarks: Landmarks, shape: tuple[int, ...]) -> F32:
    """(3, H, W) how likely hair, skin and cloth are at each place of the head's frame, before any colour is seen."""
    across, up, face = head_frame(landmarks, shape)
    below = np.clip(-up, 0, None)
    fading = np.clip(0.45 * (1 - below / 1.4), 0.005, None) * np.clip(2.6 - np.abs(across), 0.01, 1)
    hair = np.where(up > 0.9, 0.85, np.where(up > 0.1, 0.5, fading))
    skin = np.where(up > 0.9, 0.12, np.where(up > 0.1, 0.45, 0.3))
    hair = np.where((np.abs(across) < NECK) & (up < 0.1), 0.01, hair)  # only a shadow lies on the neck
    hair = np.where(face, np.where(up > FRINGE, 0.3, 0), hair)  # brows and beards are the face's
    skin = np.where(face, 0.7, skin)
    return np.stack([hair, skin, np.maximum(1 - hair - skin, 0.01)]).astype(np.float32)


def posterior(table: F32, codes: NDArray[np.int32], person: F32, landmarks: Landmarks) -> F32:
    """(3, H, W) how likely each pixel is hair, skin, cloth, by its colour (H, W) and its place.

    Hair counts only in patches that reach up beside or above the face; what else looks like hair is cloth.
    """
    evidence = location_prior(landmarks, codes.shape) * table[:, codes]
    shares = (evidence / (evidence[0] + evidence[1] + evidence[2])).astype(np.float32)
    hair = cv2.medianBlur(np.rint(shares[HAIR] * 255).astype(np.uint8), 5) / np.float32(255)
    _, up, _ = head_frame(landmarks, codes.shape)
    likely = ((hair > 0.4) & (person > 0.3)).astype(np.uint8)
    _, labels = cv2.connectedComponents(likely, connectivity=8)
    reaches = np.zeros(labels.max() + 1, bool)
    reaches[labels[(up > BESIDE) & (likely > 0)]] = True
    reaches[0] = False
    kept = cv2.dilate(reaches[labels].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    hair = np.where(kept, hair, 0)
    shares[CLOTH] += np.maximum(shares[HAIR] - hair, 0)
    shares[HAIR] = hair
    return shares
