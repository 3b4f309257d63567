"""Blending of a rendered lower face into the original footage: where it is shown, and how its colours are matched.

The matte covers what another line moves: mouth, jaw and chin, both as they are in the footage and as they are rendered,
because a jaw that closes uncovers neck. It fades in the cheeks, under the nose and on the neck, where skin is smooth.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..contract.arrays import F32, F64, Floats
from ..matting.resampling import push_pull
from ..tracking.detection import topology as topo

# The outline of the matte as landmarks: the jaw from ear to ear, and back over the cheeks and under the nose.
JAW_LANDMARKS = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
CHEEK_LANDMARKS = (425, 327, 2, 98, 205)

# Lengths in shares of the face's height. None is tuned.
# How far the matte reaches beyond the chin: more covers a wider opening of the jaw, but also more of the collar.
CHIN_EXTENSION_SHARE = 0.13
# Width over which the matte fades: wider hides the seam better, but shows less of the rendered mouth.
FEATHER_SHARE = 0.09
# Standard deviation of the blur that separates light from texture: smaller also matches the original's texture.
COLOR_BLUR_SHARE = 0.06

# Maximum correction of a display value 0–1: a larger difference is not light but another surface. Not tuned.
MAX_COLOR_OFFSET = 0.2
# Share of the previous frame's correction that is kept: larger flickers less, but follows changing light later.
TEMPORAL_SMOOTHING = 0.8
# The face's height is at least this many pixels, so that blurs have a width.
MIN_FACE_HEIGHT_PIXELS = 8.0
# Below this sum of weights nothing of the seam is visible, and colours stay as they are.
MIN_TOTAL_WEIGHT = 1
# Factor that makes the weight m (1 − m) of a matte m reach 1 at the middle of the seam.
SEAM_WEIGHT_SCALE = 4
# Keeps quotients finite.
EPSILON = 1e-6

# OpenCV's polygons: coordinates are integers with this many fractional bits.
SUBPIXEL_BITS = 3
MASK_MAX = 255
# Width in pixels by which the mask is continued beyond the image.
BORDER_PIXELS = 2
DISTANCE_MASK_SIZE = 5


def face_height(landmarks: Floats) -> float:
    """Return the distance in pixels from forehead to chin of landmarks (478, ≥2)."""
    height = np.linalg.norm(landmarks[topo.FOREHEAD, :2] - landmarks[topo.CHIN, :2])
    return max(MIN_FACE_HEIGHT_PIXELS, float(height))


def lower_face_matte(faces: list[Floats], shape: tuple[int, int]) -> F32:
    """Return a soft matte (H, W) in 0–1 over the union of the lower faces.

    Args:
        faces: landmarks (478, ≥2) in pixels of each face. The first decides the width of the feather.
        shape: height and width of the image.
    """
    mask = np.zeros(shape, np.uint8)
    for face in faces:
        polygon = np.rint(_lower_face_outline(face) * 2**SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(mask, [polygon], MASK_MAX, cv2.LINE_AA, SUBPIXEL_BITS)
    # pixels beyond the image count as face: where a chin leaves the image, there is no seam
    b = BORDER_PIXELS
    extended = cv2.copyMakeBorder(mask, b, b, b, b, cv2.BORDER_REPLICATE)
    inside = (extended > MASK_MAX // 2).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, DISTANCE_MASK_SIZE)[b:-b, b:-b]
    ramp = np.clip(distance / (FEATHER_SHARE * face_height(faces[0])), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)  # smoothstep


def _lower_face_outline(landmarks: Floats) -> F64:
    """Return the polygon (N, 2) around the lower face, extended past the chin, and less and less towards the ears."""
    points = np.asarray(landmarks, np.float64)[:, :2]
    jaw, mouth_center = points[list(JAW_LANDMARKS)], points[[topo.MOUTH_LEFT, topo.MOUTH_RIGHT]].mean(0)
    outward = jaw - mouth_center
    length = np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), EPSILON)
    profile = np.sin(np.linspace(0, np.pi, len(JAW_LANDMARKS)))[:, None]
    extension = profile * CHIN_EXTENSION_SHARE * face_height(landmarks)
    return np.concatenate([jaw + outward / length * extension, points[list(CHEEK_LANDMARKS)]])


class ColorMatch:
    """Offset of the rendered colours to the original's: equal at the seam, smooth inside, and stable over time."""

    def __init__(self) -> None:
        self._previous_offset: F32 | None = None

    def __call__(self, rendered: F32, original: F32, matte: F32, confidence: F32, face_height_pixels: float) -> F32:
        """Return the rendered image (H, W, 3), display values 0–1, with the original's colours at the seam.

        Args:
            rendered: (H, W, 3) display values 0–1.
            original: (H, W, 3) display values 0–1.
            matte: (H, W) of `lower_face_matte`.
            confidence: (H, W) 0–1 where both images show the person.
            face_height_pixels: height of the face.
        """
        weight = (SEAM_WEIGHT_SCALE * matte * (1 - matte) * confidence).astype(np.float32)
        if weight.sum() < MIN_TOTAL_WEIGHT:
            return rendered
        sigma = COLOR_BLUR_SHARE * face_height_pixels
        difference = np.clip(original - rendered, -MAX_COLOR_OFFSET, MAX_COLOR_OFFSET) * weight[..., None]
        blurred_weight = cv2.GaussianBlur(weight, (0, 0), sigma)
        blurred = cv2.GaussianBlur(difference, (0, 0), sigma) / np.maximum(blurred_weight, EPSILON)[..., None]
        offset = push_pull(blurred.astype(np.float32), weight)
        offset = cv2.GaussianBlur(offset, (0, 0), sigma).astype(np.float32)
        if self._previous_offset is not None:
            offset = TEMPORAL_SMOOTHING * self._previous_offset + np.float32(1 - TEMPORAL_SMOOTHING) * offset
        self._previous_offset = offset
        return np.asarray(np.clip(rendered + offset, 0, 1), np.float32)
