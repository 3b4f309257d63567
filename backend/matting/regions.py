"""Where a person's pixels belong: head or torso, and the inside of the mouth, from landmarks and the person's alpha."""

from __future__ import annotations

import cv2
import numpy as np

from ..contract.arrays import F32, Floats
from ..tracking.detection import topology as topo

LIP_INSET = 0.006  # of the face's height: how far on the lip the landmarks of its inner edge lie
CLOSED_MOUTH_GAP, OPEN_MOUTH_GAP = (
    0.010,
    0.020,
)  # of the face's height: gaps between the lips' inner landmarks of a closed, an open mouth
JAW_LANDMARKS = (
    127,
    234,
    93,
    132,
    58,
    172,
    136,
    150,
    149,
    176,
    148,
    152,
    377,
    400,
    378,
    379,
    365,
    397,
    288,
    361,
    323,
    454,
    356,
)


def head_mask(landmarks: Floats, image_shape: tuple[int, int]) -> F32:
    """(H, W) 1 where a person's pixel is head (face, hair, ears), 0 where it is neck or torso; soft at the jaw.

    Args:
        landmarks: (478, ≥2) pixels. shape: height and width of the picture.
    """
    jaw = np.asarray(landmarks, np.float32)[topo.index_array(*JAW_LANDMARKS), :2]
    height, width = image_shape
    size = np.linalg.norm(landmarks[topo.FOREHEAD, :2] - landmarks[topo.CHIN, :2])
    # left and right of the jaw the border runs outwards from the jaw's corner, level with the mouth
    right, left = jaw[4], jaw[-5]
    across = (left - right) / max(float(np.linalg.norm(left - right)), 1e-6)
    polygon = np.concatenate([[right - across * 4 * size], jaw[4:-4], [left + across * 4 * size]])
    up = np.array([across[1], -across[0]]) * 6 * size
    polygon = np.concatenate([polygon, [polygon[-1] + up, polygon[0] + up]])
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(polygon * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)
    return cv2.GaussianBlur(mask, (0, 0), max(0.5, float(size) / 120)).astype(np.float32) * np.float32(1 / 255)


def mouth_mask(landmarks: Floats, image_shape: tuple[int, int]) -> F32:
    """(H, W) coverage of the opening between the lips; 0 while they are shut.

    The landmarks of the lips' inner edges lie on the lips, a little outside the opening, and stay a hair apart on
    closed lips: each pair is drawn together by `LIP_EDGE`, and an opening below `SHUT` is none.
    """
    points = np.asarray(landmarks, np.float32)[:, :2]
    face = max(float(np.linalg.norm(points[topo.FOREHEAD] - points[topo.CHIN])), 1e-6)
    upper, lower = points[list(topo.LIP_INNER_UPPER)], points[list(topo.LIP_INNER_LOWER)]
    gap = np.linalg.norm(lower - upper, axis=1, keepdims=True) / face
    opened = float(np.clip((gap.max() - CLOSED_MOUTH_GAP) / (OPEN_MOUTH_GAP - CLOSED_MOUTH_GAP), 0, 1))
    if opened == 0:
        return np.zeros(image_shape, np.float32)
    inwards = (lower - upper) * np.minimum(LIP_INSET / np.maximum(gap, 1e-6), 0.5)
    right, left = points[[topo.INNER_LIP_RING[0]]], points[[topo.INNER_LIP_RING[len(upper) + 1]]]
    ring = np.concatenate([right, upper + inwards, left, (lower - inwards)[::-1]])
    mask = np.zeros(
        (image_shape[0] * 2, image_shape[1] * 2), np.uint8
    )  # twice the size, then averaged: a thin mouth stays soft
    cv2.fillPoly(mask, [np.rint(ring * 2 * 8).astype(np.int32)], 255, cv2.LINE_AA, 3)
    return cv2.resize(mask, (image_shape[1], image_shape[0]), interpolation=cv2.INTER_AREA).astype(np.float32) * (
        opened / 255
    )
