"""The color of the face at each landmark, measured on the crops."""

from __future__ import annotations

import cv2
import numpy as np

from ..contract.arrays import F64
from .frame_store import FrameStore


def median_vertex_colors(landmarks: F64, store: FrameStore) -> F64:
    """(478, 3) median colour of each landmark over up to 60 frames, 0–1."""
    chosen = np.unique(np.linspace(0, len(landmarks) - 1, min(len(landmarks), 60)).astype(int))
    seen = []
    for t in chosen:
        at = np.ascontiguousarray(landmarks[t, None, :, :2].astype(np.float32)) - 0.5
        seen.append(cv2.remap(store.read_frame(int(t)), at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0])
    return np.median(np.stack(seen).astype(np.float64), 0) / 255
