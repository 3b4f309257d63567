"""The colour of the face at each landmark, measured on the crops."""

from __future__ import annotations

import cv2
import numpy as np

from ..contract.arrays import F64
from .frame_store import FrameStore

# Frames that are sampled evenly over the clip: more take longer and change the median little. Not tuned.
MAX_SAMPLED_FRAMES = 60


def median_vertex_colors(landmarks: F64, store: FrameStore) -> F64:
    """Return the median colour (478, 3) in 0–1 of each landmark over the sampled frames.

    Args:
        landmarks: (T, 478, ≥2) crop pixels.
        store: the crops.
    """
    frame_count = len(landmarks)
    frame_indices = np.unique(np.linspace(0, frame_count - 1, min(frame_count, MAX_SAMPLED_FRAMES)).astype(int))
    samples = []
    for index in frame_indices.tolist():
        points = np.ascontiguousarray(landmarks[index, None, :, :2].astype(np.float32)) - 0.5
        frame = store.read_frame(index)
        samples.append(cv2.remap(frame, points, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0])
    colors: F64 = np.median(np.stack(samples).astype(np.float64), 0) / 255
    return colors
