"""Where the new mouth gives way to the original picture, and the colours that both have there.

The matte holds what another line moves: mouth, jaw and chin, as they are in the footage and as they are drawn, for a
jaw that closes uncovers neck. It fades in the cheeks, under the nose and on the neck, where skin is smooth.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..contract.arrays import F32, F64, Floats
from ..matting.resampling import push_pull
from ..tracking.detection import topology as topo

# The jaw from ear to ear, and the way back over cheeks and under the nose.
JAW_LANDMARKS = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)
CHEEK_LANDMARKS = (425, 327, 2, 98, 205)
# Shares of the face's height.
CHIN_EXTENSION_SHARE = 0.13  # how far the matte reaches beyond the chin
FEATHER_SHARE = 0.09  # over which it fades
COLOR_BLUR_SHARE = 0.06  # standard deviation below which differences of colour are texture, not light
MAX_COLOR_OFFSET = 0.2  # of a display value 0–1: the most by which colours are moved
TEMPORAL_SMOOTHING = 0.8  # of the colours' correction of the frame before that is kept: light changes slowly


def face_height(landmarks: Floats) -> float:
    """Pixels from forehead to chin of landmarks (478, ≥2)."""
    return max(8.0, float(np.linalg.norm(landmarks[topo.FOREHEAD, :2] - landmarks[topo.CHIN, :2])))


def lower_face_matte(landmark_sets: list[Floats], shape: tuple[int, int]) -> F32:
    """(H, W) soft matte 0–1 over the lower face wherever one of some faces has it.

    Args:
        faces: landmarks (478, ≥2) in pixels. shape: height and width of the picture.
    """
    mask = np.zeros(shape, np.uint8)
    for face in landmark_sets:
        cv2.fillPoly(mask, [np.rint(_lower_face_outline(face) * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)
    # pixels beyond the picture count as face: a chin that leaves it has no seam there
    far = cv2.copyMakeBorder(mask, 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    inside = cv2.distanceTransform((far > 127).astype(np.uint8), cv2.DIST_L2, 5)[2:-2, 2:-2]
    share = np.clip(inside / (FEATHER_SHARE * face_height(landmark_sets[0])), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def _lower_face_outline(landmarks: Floats) -> F64:
    """(N, 2) the polygon around the lower face; it reaches past the chin, less and less towards the ears."""
    points = np.asarray(landmarks, np.float64)[:, :2]
    jaw, middle = points[list(JAW_LANDMARKS)], points[[topo.MOUTH_LEFT, topo.MOUTH_RIGHT]].mean(0)
    away = jaw - middle
    length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    reach = np.sin(np.linspace(0, np.pi, len(JAW_LANDMARKS)))[:, None] * CHIN_EXTENSION_SHARE * face_height(landmarks)
    return np.concatenate([jaw + away / length * reach, points[list(CHEEK_LANDMARKS)]])


class ColorMatch:
    """Moves the drawn colours to the original's where both are seen: at the seam, smoothly inwards, steady in time."""

    def __init__(self) -> None:
        self._previous_offset: F32 | None = None

    def __call__(self, rendered: F32, original: F32, matte: F32, confidence: F32, face_height_pixels: float) -> F32:
        """The drawn picture (H, W, 3), display 0–1, with the original's colours at the seam.

        Args:
            matte: (H, W) of `lower_face`. sure: (H, W) 0–1 where both show the person.
            height: of the face, pixels.
        """
        weight = (4 * matte * (1 - matte) * confidence).astype(np.float32)
        if weight.sum() < 1:
            return rendered
        sigma = COLOR_BLUR_SHARE * face_height_pixels
        seam = np.clip(original - rendered, -MAX_COLOR_OFFSET, MAX_COLOR_OFFSET) * weight[..., None]
        spread = cv2.GaussianBlur(weight, (0, 0), sigma)
        low = cv2.GaussianBlur(seam, (0, 0), sigma) / np.maximum(spread, 1e-6)[..., None]
        offset = push_pull(low.astype(np.float32), weight)
        offset = cv2.GaussianBlur(offset, (0, 0), sigma).astype(np.float32)
        if self._previous_offset is not None:
            offset = TEMPORAL_SMOOTHING * self._previous_offset + np.float32(1 - TEMPORAL_SMOOTHING) * offset
        self._previous_offset = offset
        return np.clip(rendered + offset, 0, 1)
