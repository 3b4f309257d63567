"""Finding the face: MediaPipe's mesh in every frame; its face detector as the witness that it is a face at all, and its
hands, which may cover it, every few frames."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from ...contract.arrays import F32, Image
from . import topology as topo

Box = tuple[int, int, int, int]  # x, y, width, height in pixels

MAX_SCAN_SIDE = 720  # longest side of the picture given to MediaPipe: its face crop is 192 px anyway
SMALL_FACE_SHARE = 0.4  # of `SCAN_SIDE`: a lower face in a larger picture is looked at through a window
MAX_CENTER_DRIFT = 0.15  # of `SCAN_SIDE` by which the face may leave the window's middle
THUMBNAIL_SIDE = 32  # side of the grey thumbnails in which cuts are found
DETECTION_INTERVAL = 5  # frames between two looks of the detector and the hands
HAND_SEARCH_FACE_HEIGHTS, HAND_SEARCH_SIDE = (
    2.4,
    360,
)  # the part searched for hands: face heights, and pixels it is shrunk to
SHARPNESS_SIDE, SHARPNESS_FACE_SHARE = (
    128,
    0.9,
)  # pixels of the square in which sharpness is measured, and its share of the face
TRACKER_NAME = "MediaPipe face mesh 0.10.21 (478 points with irises)"


@dataclass
class Scan:
    """What one pass over the footage found; T frames.

    Attributes:
        landmarks: (T, 478, 3) float32 pixels of the footage frame, NaN where no face was found.
        faces: for every `DETECT_EVERY`-th frame the boxes (K, 5) x, y, width, height in pixels, and the score 0–1.
        thumbs: (T, 32, 32) uint8 grey.
        size: (width, height) of the footage frame.
        sharpness: (T,) fine detail of the face against its contrast, at a fixed size; NaN where there is no face.
        hands: for every `DETECT_EVERY`-th frame the hands (K, 21, 2) near the face, pixels.
        hand_scores: for each of those hands how clearly it is one, 0–1.
    """

    landmarks: F32
    face_boxes: list[F32]
    thumbnails: Image
    frame_size: tuple[int, int]
    sharpness: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    hands: list[F32] = field(default_factory=list)
    hand_scores: list[F32] = field(default_factory=list)


def scan_frames(
    frames: Iterable[tuple[int, float, Image]], region: Box | None = None, frame_size: tuple[int, int] | None = None
) -> Scan:
    """Looks at every frame once.

    Args:
        frames: (index, time in s, rgb (H, W, 3)), which may be smaller than the footage.
        region: the only part to search, in footage pixels, when the person chose one of several faces.
        size: width and height of the footage; by default that of the frames.
    """
    landmarks, thumbs, sharpness, looks = [], [], [], []
    scale = 1.0
    # The witnesses keep nothing from one look to the next, so a thread of their own changes no result.
    with (
        _open_face_mesh() as mesh,
        _open_face_detector() as detector,
        _open_hand_detector() as palms,
        ThreadPoolExecutor(1) as witnesses,
    ):
        window: _SearchWindow | None = None
        pending: Future[_Detections] | None = None
        for index, _, rgb in frames:
            if window is None:
                frame_size = frame_size or (rgb.shape[1], rgb.shape[0])
                scale = frame_size[0] / rgb.shape[1]
                window = _SearchWindow(_region_in_image(region, scale, rgb))
            points = window.detect_landmarks(mesh, rgb)
            whole = _crop_and_shrink(rgb, window.search_area)
            if index % DETECTION_INTERVAL == 0:
                if pending is not None:
                    looks.append(pending.result())
                if np.isnan(points[0, 0]) and window.is_downscaled():
                    points = window.search_near_faces(mesh, rgb, _detect_faces(detector, rgb, window.search_area))
                pending = witnesses.submit(
                    _detect_faces_and_hands, detector, palms, rgb, window.search_area, points, scale
                )
            landmarks.append(points * np.float32(scale))
            sharpness.append(_face_sharpness(rgb, points))
            thumb = cv2.resize(whole, (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
            thumbs.append(cv2.cvtColor(thumb, cv2.COLOR_RGB2GRAY))
        if pending is not None:
            looks.append(pending.result())
    return Scan(
        np.array(landmarks, np.float32).reshape(-1, topo.LANDMARK_COUNT, 3),
        [look.face_boxes for look in looks],
        np.array(thumbs, np.uint8).reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE),
        frame_size or (0, 0),
        np.array(sharpness, np.float32),
        [look.hands for look in looks],
        [look.hand_scores for look in looks],
    )


def _open_face_mesh() -> Any:
    from mediapipe.python.solutions.face_mesh import FaceMesh

    return FaceMesh(max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.5, min_tracking_confidence=0.5)


def _open_face_detector() -> Any:
    from mediapipe.python.solutions.face_detection import FaceDetection

    # The full-range model does not take a cat for a person, which the mesh does.
    return FaceDetection(model_selection=1, min_detection_confidence=0.5)


def _open_hand_detector() -> Any:
    from mediapipe.python.solutions.hands import Hands

    return Hands(static_image_mode=True, max_num_hands=2, model_complexity=0, min_detection_confidence=0.5)


class _SearchWindow:
    """Where the mesh looks: all of the picture, or in a large one a window around a small face, at full detail.

    Attributes:
        whole: the part of the picture that is searched at all.
    """

    def __init__(self, search_area: Box) -> None:
        self.search_area = self.box = search_area

    def detect_landmarks(self, face_mesh: Any, rgb: Image) -> F32:
        """(478, 3) pixels of the picture, NaN where there is no face."""
        points = _detect_landmarks(face_mesh, rgb, self.box)
        if np.isnan(points[0, 0]):
            if self.box != self.search_area:
                self.box = self.search_area  # the mesh must find the face anew, and once more in a new window
                points = _detect_landmarks(face_mesh, rgb, self.box)
            return points
        aim = self._choose_box(points)
        if aim != self.box:
            moved = _detect_landmarks(face_mesh, rgb, aim)
            if np.isnan(moved[0, 0]):  # the mesh looked where the face was before; now it searches
                moved = _detect_landmarks(face_mesh, rgb, aim)
            if not np.isnan(moved[0, 0]):
                self.box, points = aim, moved
        return points

    def is_downscaled(self) -> bool:
        """Whether the mesh sees the picture only shrunk."""
        return max(self.search_area[2:]) > MAX_SCAN_SIDE

    def search_near_faces(self, face_mesh: Any, rgb: Image, face_boxes: F32) -> F32:
        """Like `landmarks`, around the tallest of `faces` (K, 5): the detector sees smaller ones than the mesh does."""
        if len(face_boxes):
            x, y, w, h = face_boxes[int(np.argmax(face_boxes[:, 3])), :4]
            aim = self._choose_box(np.array([[x, y, 0], [x + w, y + h, 0]], np.float32))
            points = _detect_landmarks(face_mesh, rgb, aim)
            if not np.isnan(points[0, 0]):
                self.box = aim
                return points
        return np.full((topo.LANDMARK_COUNT, 3), np.nan, np.float32)

    def _choose_box(self, points: F32) -> Box:
        """The window for a face seen at `points`: the present one as long as it serves."""
        x, y, width, height = self.search_area
        if not self.is_downscaled() or np.ptp(points[:, 1]) > SMALL_FACE_SHARE * MAX_SCAN_SIDE:
            return self.search_area
        middle = (points[:, :2].min(0) + points[:, :2].max(0)) / 2
        if self.box != self.search_area:
            own = np.array([self.box[0] + self.box[2] / 2, self.box[1] + self.box[3] / 2])
            if np.abs(middle - own).max() < MAX_CENTER_DRIFT * MAX_SCAN_SIDE:
                return self.box
        w, h = min(width, MAX_SCAN_SIDE), min(height, MAX_SCAN_SIDE)
        left = int(np.clip(middle[0] - w / 2, x, x + width - w))
        top = int(np.clip(middle[1] - h / 2, y, y + height - h))
        return left, top, w, h


def _region_in_image(region: Box | None, scale: float, rgb: Image) -> Box:
    """A region in footage pixels as one of the picture's; all of the picture when None."""
    if region is None:
        return 0, 0, rgb.shape[1], rgb.shape[0]
    x, y, w, h = (int(v / scale) for v in region)
    return x, y, min(w, rgb.shape[1] - x), min(h, rgb.shape[0] - y)


def _crop_and_shrink(rgb: Image, box: Box, max_side: int = MAX_SCAN_SIDE) -> Image:
    """The box of a picture, shrunk to `longest`."""
    x, y, w, h = box
    part = rgb[y : y + h, x : x + w]
    scale = min(1.0, max_side / max(w, h))
    if scale < 1:
        smaller = max(1, round(w * scale)), max(1, round(h * scale))
        part = cv2.resize(part, smaller, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return np.ascontiguousarray(part)


def _detect_landmarks(face_mesh: Any, rgb: Image, box: Box) -> F32:
    faces = face_mesh.process(_crop_and_shrink(rgb, box)).multi_face_landmarks
    if not faces:
        return np.full((topo.LANDMARK_COUNT, 3), np.nan, np.float32)
    x, y, w, h = box
    return np.array([(x + p.x * w, y + p.y * h, p.z * w) for p in faces[0].landmark], np.float32)


@dataclass
class _Detections:
    """What the witnesses saw in one frame, in footage pixels: faces (K, 5), hands (N, 21, 2) and their scores (N,)."""

    face_boxes: F32
    hands: F32
    hand_scores: F32


def _detect_faces_and_hands(
    face_detector: Any, hand_detector: Any, rgb: Image, search_area: Box, points: F32, scale: float
) -> _Detections:
    faces = _detect_faces(face_detector, rgb, search_area)
    faces[:, :4] *= scale
    hands, scores = _detect_hands(hand_detector, rgb, points)
    return _Detections(faces, hands * np.float32(scale), scores)


def _detect_faces(face_detector: Any, rgb: Image, box: Box) -> F32:
    x, y, w, h = box
    rows = []
    for found in face_detector.process(_crop_and_shrink(rgb, box)).detections or []:
        b = found.location_data.relative_bounding_box
        rows.append((x + b.xmin * w, y + b.ymin * h, b.width * w, b.height * h, found.score[0]))
    return np.array(rows, np.float32).reshape(-1, 5)


def _detect_hands(hand_detector: Any, rgb: Image, points: F32) -> tuple[F32, F32]:
    """Hands (K, 21, 2) near the face, and how clearly they are hands (K,)."""
    none = np.zeros((0, 21, 2), np.float32), np.zeros(0, np.float32)
    if np.isnan(points[0, 0]):
        return none
    box = _face_square(points, HAND_SEARCH_FACE_HEIGHTS, rgb)
    if box is None:
        return none
    x, y, w, h = box
    seen = hand_detector.process(_crop_and_shrink(rgb, box, HAND_SEARCH_SIDE))
    if not seen.multi_hand_landmarks:
        return none
    hands = [[(x + p.x * w, y + p.y * h) for p in hand.landmark] for hand in seen.multi_hand_landmarks]
    scores = [hand.classification[0].score for hand in seen.multi_handedness]
    return np.array(hands, np.float32), np.array(scores, np.float32)


def _face_square(points: F32, face_heights: float, rgb: Image) -> Box | None:
    """The square of `share` face heights around the face, as far as it lies in the picture."""
    low, high = points[: topo.MESH_VERTEX_COUNT, :2].min(0), points[: topo.MESH_VERTEX_COUNT, :2].max(0)
    reach = face_heights / 2 * float((high - low).max())
    x0, y0 = np.maximum((low + high) / 2 - reach, 0).astype(int)
    x1, y1 = np.minimum((low + high) / 2 + reach, rgb.shape[1::-1]).astype(int)
    return (int(x0), int(y0), int(x1 - x0), int(y1 - y0)) if min(x1 - x0, y1 - y0) > 8 else None


def _face_sharpness(rgb: Image, points: F32) -> float:
    """Fine detail of the face: mean difference from its slightly blurred self, over the deviation of its brightness."""
    box = None if np.isnan(points[0, 0]) else _face_square(points, SHARPNESS_FACE_SHARE, rgb)
    if box is None:
        return float("nan")
    x, y, w, h = box
    face = cv2.resize(rgb[y : y + h, x : x + w], (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.0)).mean() / (grey.std() + 1.0))
