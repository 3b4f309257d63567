"""Regions of the person from landmarks: head or torso, and the interior of the mouth."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ..contract.arrays import F32, Floats
from ..tracking.detection import topology as topo

# Lengths are shares of the face's height, from forehead to chin.
LIP_INSET = 0.006  # how far on the lip the landmarks of its inner edge lie
CLOSED_MOUTH_GAP = 0.010  # widest gap between the inner landmarks of closed lips
OPEN_MOUTH_GAP = 0.020  # gap from which the mouth is surely open; between the two the mask fades in
HEAD_SIDE_REACH = 4  # how far the border of the head runs sideways from the jaw: beyond any hair
HEAD_TOP_REACH = 6  # how far the region of the head reaches up from that border
JAW_SOFTNESS_DIVISOR = 120  # the face's height over this is the deviation of the blur of the border at the jaw
MIN_JAW_SOFTNESS_PIXELS = 0.5

SUBPIXEL_BITS = 3  # fractional bits of the coordinates of polygons
SUBPIXELS = 1 << SUBPIXEL_BITS
MOUTH_OVERSAMPLING = 2  # the mouth's polygon is drawn at this scale and averaged: a thin mouth stays soft


def head_mask(landmarks: Floats, image_shape: tuple[int, int]) -> F32:
    """Return (H, W) 1 where a person's pixel is head (face, hair, ears), 0 where it is neck or torso; soft at the jaw.

    Left and right of the jaw the border runs outwards from the jaw's corners.

    Args:
        landmarks: (478, ≥2) pixels.
        image_shape: height and width of the image.
    """
    jaw = np.asarray(landmarks, np.float32)[topo.index_array(*topo.JAW_LINE), :2]
    height = _face_height(landmarks)
    right, left = jaw[0], jaw[-1]
    across = (left - right) / max(float(np.linalg.norm(left - right)), 1e-6)
    border = np.concatenate([
        [right - across * HEAD_SIDE_REACH * height], jaw, [left + across * HEAD_SIDE_REACH * height]
    ])  # fmt: skip
    up = np.array([across[1], -across[0]]) * HEAD_TOP_REACH * height
    polygon = np.concatenate([border, [border[-1] + up, border[0] + up]])
    mask = np.zeros(image_shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(polygon * SUBPIXELS).astype(np.int32)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    softness = max(MIN_JAW_SOFTNESS_PIXELS, float(height) / JAW_SOFTNESS_DIVISOR)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), softness), np.float32) * np.float32(1 / 255)


def mouth_mask(landmarks: Floats, image_shape: tuple[int, int]) -> F32:
    """Return (H, W) coverage 0–1 of the opening between the lips; 0 while they are shut.

    The landmarks of the lips' inner edges lie on the lips, a little outside the opening, and stay slightly apart on
    closed lips: each pair is drawn together by `LIP_INSET`, and a gap below `CLOSED_MOUTH_GAP` is no opening.

    Args:
        landmarks: (478, ≥2) pixels.
        image_shape: height and width of the image.
    """
    points = np.asarray(landmarks, np.float32)[:, :2]
    upper, lower = points[list(topo.LIP_INNER_UPPER)], points[list(topo.LIP_INNER_LOWER)]
    gap = np.linalg.norm(lower - upper, axis=1, keepdims=True) / max(float(_face_height(points)), 1e-6)
    openness = float(np.clip((gap.max() - CLOSED_MOUTH_GAP) / (OPEN_MOUTH_GAP - CLOSED_MOUTH_GAP), 0, 1))
    if openness == 0:
        return np.zeros(image_shape, np.float32)
    inset = (lower - upper) * np.minimum(LIP_INSET / np.maximum(gap, 1e-6), 0.5)
    right, left = points[[topo.MOUTH_INNER_RIGHT]], points[[topo.MOUTH_INNER_LEFT]]
    ring = np.concatenate([right, upper + inset, left, (lower - inset)[::-1]])
    mask = np.zeros((image_shape[0] * MOUTH_OVERSAMPLING, image_shape[1] * MOUTH_OVERSAMPLING), np.uint8)
    polygon = np.rint(ring * MOUTH_OVERSAMPLING * SUBPIXELS).astype(np.int32)
    cv2.fillPoly(mask, [polygon], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    coverage = cv2.resize(mask, (image_shape[1], image_shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(coverage, np.float32) * np.float32(openness / 255)


def _face_height(landmarks: Floats) -> np.floating[Any]:
    """Return the distance from forehead to chin in pixels."""
    return np.linalg.norm(landmarks[topo.FOREHEAD, :2] - landmarks[topo.CHIN, :2])
