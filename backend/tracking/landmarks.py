"""Finding the face: MediaPipe's mesh in every frame, its face detector as the witness that it is a face at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import topology as topo

SCAN_SIDE = 720  # longest side of the picture given to MediaPipe: its face crop is 192 px anyway
THUMB = 32  # side of the grey thumbnails in which cuts are found
DETECT_EVERY = 5  # frames between two runs of the detector
TRACKER = "MediaPipe face mesh 0.10.21 (478 points with irises)"


@dataclass
class Scan:
    """What one pass over the footage found; T frames.

    Attributes:
        landmarks: (T, 478, 3) float32 pixels of the footage frame, NaN where no face was found.
        faces: for every `DETECT_EVERY`-th frame the boxes (K, 5) x, y, width, height in pixels, and the score 0–1.
        thumbs: (T, 32, 32) uint8 grey.
        size: (width, height) of the footage frame.
    """

    landmarks: NDArray[np.float32]
    faces: list[NDArray[np.float32]]
    thumbs: NDArray[np.uint8]
    size: tuple[int, int]


def scan(
    frames: Iterable[tuple[int, float, NDArray[np.uint8]]], region: tuple[int, int, int, int] | None = None
) -> Scan:
    """Looks at every frame once.

    Args:
        frames: (index, time in s, rgb (H, W, 3)).
        region: x, y, width, height of the only part to search, when the person chose one of several faces.
    """
    landmarks, faces, thumbs = [], [], []
    size = (0, 0)
    with _mesh() as mesh, _detector() as detector:
        for index, _, rgb in frames:
            size = (rgb.shape[1], rgb.shape[0])
            small, to_pixels = _shrink(rgb, region)
            if index % DETECT_EVERY == 0:
                faces.append(_detect(detector, small, to_pixels))
            landmarks.append(_landmarks(mesh, small, to_pixels))
            grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
            thumbs.append(cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA))
    return Scan(
        np.array(landmarks, np.float32).reshape(-1, topo.COUNT, 3),
        faces,
        np.array(thumbs, np.uint8).reshape(-1, THUMB, THUMB),
        size,
    )


def _mesh() -> Any:
    from mediapipe.python.solutions.face_mesh import FaceMesh

    return FaceMesh(max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.5, min_tracking_confidence=0.5)


def _detector() -> Any:
    from mediapipe.python.solutions.face_detection import FaceDetection

    # The full-range model does not take a cat for a person, which the mesh does.
    return FaceDetection(model_selection=1, min_detection_confidence=0.5)


@dataclass
class _ToPixels:
    """From the 0–1 coordinates of the searched picture to pixels of the footage."""

    x: float
    y: float
    width: float
    height: float


def _shrink(rgb: NDArray[np.uint8], region: tuple[int, int, int, int] | None) -> tuple[NDArray[np.uint8], _ToPixels]:
    x, y, w, h = region or (0, 0, rgb.shape[1], rgb.shape[0])
    part = rgb[y : y + h, x : x + w]
    scale = min(1.0, SCAN_SIDE / max(w, h))
    if scale < 1:
        part = cv2.resize(part, (round(w * scale), round(h * scale)), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(part), _ToPixels(x, y, w, h)


def _landmarks(mesh: Any, small: NDArray[np.uint8], to: _ToPixels) -> NDArray[np.float32]:
    faces = mesh.process(small).multi_face_landmarks
    if not faces:
        return np.full((topo.COUNT, 3), np.nan, np.float32)
    points = [(to.x + p.x * to.width, to.y + p.y * to.height, p.z * to.width) for p in faces[0].landmark]
    return np.array(points, np.float32)


def _detect(detector: Any, small: NDArray[np.uint8], to: _ToPixels) -> NDArray[np.float32]:
    rows = []
    for found in detector.process(small).detections or []:
        box = found.location_data.relative_bounding_box
        rows.append(
            (
                to.x + box.xmin * to.width,
                to.y + box.ymin * to.height,
                box.width * to.width,
                box.height * to.height,
                found.score[0],
            )
        )
    return np.array(rows, np.float32).reshape(-1, 5)
