"""Hair and ears: the part of the head beside the face mesh, on an ellipsoid around the skull."""

from __future__ import annotations

import cv2
import numpy as np

from ...contract.arrays import F64
from ...contract.geometry import matrix_from_quaternion
from ...dataset.frame_store import MATTE_HEAD, MATTE_PERSON, FrameStore
from ...tracking.detection import topology as topo
from ...tracking.tracker import TrackingResult
from ..labels import HAIR
from ..seeds import Seeds, seed_beside_mesh
from ..unprojection import meters_per_pixel, read_pixels, rest_space_rays, sample_pixel_grid

# Head space, metres, for 0.09 m between the outer eye corners: proportions of an adult's skull with hair. Not tuned.
SKULL_CENTER_METERS = np.array([0.0, 0.005, -0.085])
SKULL_RADII_METERS = np.array([0.085, 0.125, 0.095])
# Alpha of the person and of the head above which a pixel is seeded. Lower keeps thin strands and lets in background.
# Not tuned.
MIN_PERSON_ALPHA = 0.3
MIN_HEAD_ALPHA = 0.5


def seed_hair(track: TrackingResult, landmarks: F64, store: FrameStore, reference_index: int, spacing: float) -> Seeds:
    """Seed the pixels of one frame that belong to the head but not to the face mesh.

    Args:
        track: poses and camera.
        landmarks: (T, 478, 2) crop pixels.
        store: frames and mattes.
        reference_index: the frame.
        spacing: pixels between neighbours.
    """
    image, matte = store.read_frame(reference_index), store.read_matte(reference_index)
    outline = landmarks[reference_index][list(topo.FACE_OVAL)]
    face = np.zeros(matte.shape[:2], np.uint8)
    cv2.fillPoly(face, [np.rint(outline).astype(np.int32)], 1)
    face = cv2.erode(face, np.ones((3, 3), np.uint8))
    is_hair = (matte[..., MATTE_PERSON] > MIN_PERSON_ALPHA) & (matte[..., MATTE_HEAD] > MIN_HEAD_ALPHA) & (face == 0)
    pixels, size = sample_pixel_grid(is_hair, spacing)
    rotation = matrix_from_quaternion(track.head_rotation[reference_index])
    points = unproject_to_skull(track, pixels, rotation, track.head_translation[reference_index])
    color = read_pixels(image, pixels) / 255.0
    return seed_beside_mesh(points, size * meters_per_pixel(track), color, HAIR, 1.0, track.rig)


def unproject_to_skull(track: TrackingResult, pixels: F64, rotation: F64, translation: F64) -> F64:
    """Return the rest positions (P, 3) of pixels on the skull's ellipsoid; outside its outline, at its middle's depth.

    Args:
        track: the camera.
        pixels: (P, 2) crop pixels.
        rotation: (3, 3) the head's.
        translation: (3,) the head's, metres.
    """
    origin, direction = rest_space_rays(track, pixels, rotation, translation)
    o, d = (origin - SKULL_CENTER_METERS) / SKULL_RADII_METERS, direction / SKULL_RADII_METERS
    a, b, c = (d * d).sum(1), (d * o).sum(1), (o * o).sum(1) - 1  # a t² + 2 b t + c = 0 on the ellipsoid
    discriminant = b * b - a * c
    distance = np.where(discriminant > 0, (-b - np.sqrt(np.maximum(discriminant, 0))) / a, -b / a)
    points: F64 = origin + direction * distance[:, None]
    return points
