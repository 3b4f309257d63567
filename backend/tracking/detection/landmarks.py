"""Finding the face: MediaPipe's mesh in every frame; its face detector as the witness that it is a face at all, and its
hands, which may cover it, every few frames."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import topology as topo

F32 = NDArray[np.float32]
Picture = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # x, y, width, height in pixels

SCAN_SIDE = 720  # longest side of the picture given to MediaPipe: its face crop is 192 px anyway
SMALL_FACE = 0.4  # of `SCAN_SIDE`: a lower face in a larger picture is looked at through a window
STRAY = 0.15  # of `SCAN_SIDE` by which the face may leave the window's middle
THUMB = 32  # side of the grey thumbnails in which cuts are found
DETECT_EVERY = 5  # frames between two looks of the detector and the hands
HAND_VIEW, HAND_SIDE = 2.4, 360  # the part searched for hands: face heights, and pixels it is shrunk to
SHARP_SIDE, FACE_SHARE = 128, 0.9  # pixels of the square in which sharpness is measured, and its share of the face
TRACKER = "MediaPipe face mesh 0.10.21 (478 points with irises)"


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
    faces: list[F32]
    thumbs: Picture
    size: tuple[int, int]
    sharpness: F32 = field(default_factory=lambda: np.zeros(0, np.float32))
    hands: list[F32] = field(default_factory=list)
    hand_scores: list[F32] = field(default_factory=list)


def scan(
    frames: Iterable[tuple[int, float, Picture]], region: Box | None = None, size: tuple[int, int] | None = None
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
    with _mesh() as mesh, _detector() as detector, _palms() as palms, ThreadPoolExecutor(1) as witnesses:
        window: _Window | None = None
        pending: Future[_Look] | None = None
        for index, _, rgb in frames:
            if window is None:
                size = size or (rgb.shape[1], rgb.shape[0])
                scale = size[0] / rgb.shape[1]
                window = _Window(_inside(region, scale, rgb))
            points = window.landmarks(mesh, rgb)
            whole = _part(rgb, window.whole)
            if index % DETECT_EVERY == 0:
                if pending is not None:
                    looks.append(pending.result())
                if np.isnan(points[0, 0]) and window.is_large():
                    points = window.search(mesh, rgb, _detect(detector, rgb, window.whole))
                pending = witnesses.submit(_look, detector, palms, rgb, window.whole, points, scale)
            landmarks.append(points * np.float32(scale))
            sharpness.append(_sharpness(rgb, points))
            thumb = cv2.resize(whole, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
            thumbs.append(cv2.cvtColor(thumb, cv2.COLOR_RGB2GRAY))
        if pending is not None:
            looks.append(pending.result())
    return Scan(
        np.array(landmarks, np.float32).reshape(-1, topo.COUNT, 3),
        [look.faces for look in looks],
        np.array(thumbs, np.uint8).reshape(-1, THUMB, THUMB),
        size or (0, 0),
        np.array(sharpness, np.float32),
        [look.hands for look in looks],
        [look.scores for look in looks],
    )


def _mesh() -> Any:
    from mediapipe.python.solutions.face_mesh import FaceMesh

    return FaceMesh(max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.5, min_tracking_confidence=0.5)


def _detector() -> Any:
    from mediapipe.python.solutions.face_detection import FaceDetection

    # The full-range model does not take a cat for a person, which the mesh does.
    return FaceDetection(model_selection=1, min_detection_confidence=0.5)


def _palms() -> Any:
    from mediapipe.python.solutions.hands import Hands

    return Hands(static_image_mode=True, max_num_hands=2, model_complexity=0, min_detection_confidence=0.5)


class _Window:
    """Where the mesh looks: all of the picture, or in a large one a window around a small face, at full detail.

    Attributes:
        whole: the part of the picture that is searched at all.
    """

    def __init__(self, whole: Box) -> None:
        self.whole = self.box = whole

    def landmarks(self, mesh: Any, rgb: Picture) -> F32:
        """(478, 3) pixels of the picture, NaN where there is no face."""
        points = _landmarks(mesh, rgb, self.box)
        if np.isnan(points[0, 0]):
            if self.box != self.whole:
                self.box = self.whole  # the mesh must find the face anew, and once more in a new window
                points = _landmarks(mesh, rgb, self.box)
            return points
        aim = self._aim(points)
        if aim != self.box:
            moved = _landmarks(mesh, rgb, aim)
            if np.isnan(moved[0, 0]):  # the mesh looked where the face was before; now it searches
                moved = _landmarks(mesh, rgb, aim)
            if not np.isnan(moved[0, 0]):
                self.box, points = aim, moved
        return points

    def is_large(self) -> bool:
        """Whether the mesh sees the picture only shrunk."""
        return max(self.whole[2:]) > SCAN_SIDE

    def search(self, mesh: Any, rgb: Picture, faces: F32) -> F32:
        """Like `landmarks`, around the tallest of `faces` (K, 5): the detector sees smaller ones than the mesh does."""
        if len(faces):
            x, y, w, h = faces[int(np.argmax(faces[:, 3])), :4]
            aim = self._aim(np.array([[x, y, 0], [x + w, y + h, 0]], np.float32))
            points = _landmarks(mesh, rgb, aim)
            if not np.isnan(points[0, 0]):
                self.box = aim
                return points
        return np.full((topo.COUNT, 3), np.nan, np.float32)

    def _aim(self, points: F32) -> Box:
        """The window for a face seen at `points`: the present one as long as it serves."""
        x, y, width, height = self.whole
        if not self.is_large() or np.ptp(points[:, 1]) > SMALL_FACE * SCAN_SIDE:
            return self.whole
        middle = (points[:, :2].min(0) + points[:, :2].max(0)) / 2
        if self.box != self.whole:
            own = np.array([self.box[0] + self.box[2] / 2, self.box[1] + self.box[3] / 2])
            if np.abs(middle - own).max() < STRAY * SCAN_SIDE:
                return self.box
        w, h = min(width, SCAN_SIDE), min(height, SCAN_SIDE)
        left = int(np.clip(middle[0] - w / 2, x, x + width - w))
        top = int(np.clip(middle[1] - h / 2, y, y + height - h))
        return left, top, w, h


def _inside(region: Box | None, scale: float, rgb: Picture) -> Box:
    """A region in footage pixels as one of the picture's; all of the picture when None."""
    if region is None:
        return 0, 0, rgb.shape[1], rgb.shape[0]
    x, y, w, h = (int(v / scale) for v in region)
    return x, y, min(w, rgb.shape[1] - x), min(h, rgb.shape[0] - y)


def _part(rgb: Picture, box: Box, longest: int = SCAN_SIDE) -> Picture:
    """The box of a picture, shrunk to `longest`."""
    x, y, w, h = box
    part = rgb[y : y + h, x : x + w]
    scale = min(1.0, longest / max(w, h))
    if scale < 1:
        smaller = max(1, round(w * scale)), max(1, round(h * scale))
        part = cv2.resize(part, smaller, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return np.ascontiguousarray(part)


def _landmarks(mesh: Any, rgb: Picture, box: Box) -> F32:
    faces = mesh.process(_part(rgb, box)).multi_face_landmarks
    if not faces:
        return np.full((topo.COUNT, 3), np.nan, np.float32)
    x, y, w, h = box
    return np.array([(x + p.x * w, y + p.y * h, p.z * w) for p in faces[0].landmark], np.float32)


@dataclass
class _Look:
    """What the witnesses saw in one frame, in footage pixels: faces (K, 5), hands (N, 21, 2) and their scores (N,)."""

    faces: F32
    hands: F32
    scores: F32


def _look(detector: Any, palms: Any, rgb: Picture, whole: Box, points: F32, scale: float) -> _Look:
    faces = _detect(detector, rgb, whole)
    faces[:, :4] *= scale
    hands, scores = _hands(palms, rgb, points)
    return _Look(faces, hands * np.float32(scale), scores)


def _detect(detector: Any, rgb: Picture, box: Box) -> F32:
    x, y, w, h = box
    rows = []
    for found in detector.process(_part(rgb, box)).detections or []:
        b = found.location_data.relative_bounding_box
        rows.append((x + b.xmin * w, y + b.ymin * h, b.width * w, b.height * h, found.score[0]))
    return np.array(rows, np.float32).reshape(-1, 5)


def _hands(palms: Any, rgb: Picture, points: F32) -> tuple[F32, F32]:
    """Hands (K, 21, 2) near the face, and how clearly they are hands (K,)."""
    none = np.zeros((0, 21, 2), np.float32), np.zeros(0, np.float32)
    if np.isnan(points[0, 0]):
        return none
    box = _square(points, HAND_VIEW, rgb)
    if box is None:
        return none
    x, y, w, h = box
    seen = palms.process(_part(rgb, box, HAND_SIDE))
    if not seen.multi_hand_landmarks:
        return none
    hands = [[(x + p.x * w, y + p.y * h) for p in hand.landmark] for hand in seen.multi_hand_landmarks]
    scores = [hand.classification[0].score for hand in seen.multi_handedness]
    return np.array(hands, np.float32), np.array(scores, np.float32)


def _square(points: F32, share: float, rgb: Picture) -> Box | None:
    """The square of `share` face heights around the face, as far as it lies in the picture."""
    low, high = points[: topo.MESH, :2].min(0), points[: topo.MESH, :2].max(0)
    reach = share / 2 * float((high - low).max())
    x0, y0 = np.maximum((low + high) / 2 - reach, 0).astype(int)
    x1, y1 = np.minimum((low + high) / 2 + reach, rgb.shape[1::-1]).astype(int)
    return (int(x0), int(y0), int(x1 - x0), int(y1 - y0)) if min(x1 - x0, y1 - y0) > 8 else None


def _sharpness(rgb: Picture, points: F32) -> float:
    """Fine detail of the face: mean difference from its slightly blurred self, over the deviation of its brightness."""
    box = None if np.isnan(points[0, 0]) else _square(points, FACE_SHARE, rgb)
    if box is None:
        return float("nan")
    x, y, w, h = box
    face = cv2.resize(rgb[y : y + h, x : x + w], (SHARP_SIDE, SHARP_SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.0)).mean() / (grey.std() + 1.0))
