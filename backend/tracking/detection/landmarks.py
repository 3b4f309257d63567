"""One pass over the footage: MediaPipe's face mesh in every frame, its face and hand detectors every few frames.

The face detector confirms that the mesh lies on a human face; hands may cover the face.
"""

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

# Longest side in pixels of an image given to MediaPipe. Larger costs time and gains nothing for a face that fills the
# image: the mesh crops the face to 192 px.
MAX_SCAN_SIDE = 720
# A face lower than this share of `MAX_SCAN_SIDE` in a larger image is searched in a window at full detail. Not tuned.
SMALL_FACE_SHARE = 0.4
# Share of `MAX_SCAN_SIDE` by which the face may leave the middle of the window before the window moves. Every move
# makes the mesh search the face again. Not tuned.
MAX_CENTER_DRIFT = 0.15
THUMBNAIL_SIDE = 32  # pixels of the gray thumbnails in which cuts are found
# Frames between two runs of the face and hand detectors. Fewer cost time; more miss quick hands. Not tuned.
DETECTION_INTERVAL = 5
HAND_SEARCH_FACE_HEIGHTS = 2.4  # side in face heights of the square that is searched for hands
HAND_SEARCH_SIDE = 360  # pixels to which that square is shrunk
MIN_SQUARE_SIDE = 8  # pixels; a square around the face that is cut down further by the image's edge is not used
SHARPNESS_SIDE = 128  # pixels of the square in which sharpness is measured, so that faces of any size compare
SHARPNESS_FACE_SHARE = 0.9  # side of that square in face heights: skin without the background
TRACKER_NAME = "MediaPipe face mesh 0.10.21 (478 points with irises)"


@dataclass
class Scan:
    """The result of one pass over T frames of footage. Detections are of every `DETECTION_INTERVAL`-th frame.

    Attributes:
        landmarks: (T, 478, 3) float32 pixels of the footage frame, NaN where no face was found.
        face_boxes: per detection (K, 5): x, y, width, height in pixels, and the score 0–1.
        thumbnails: (T, 32, 32) uint8 gray.
        frame_size: (width, height) of the footage frame in pixels.
        sharpness: (T,) fine detail of the face relative to its contrast, at a fixed size; NaN without a face.
        hands: per detection the joints (K, 21, 2) in pixels of the hands near the face.
        hand_scores: per detection the confidence (K,) 0–1 of each of those hands.
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
    """Find landmarks, faces, hands, sharpness and thumbnails in all frames.

    Args:
        frames: (index, time in s, rgb (H, W, 3)); the images may be smaller than the footage.
        region: the only part to search, in footage pixels, when the user chose one of several faces.
        frame_size: width and height of the footage in pixels; by default those of the images.
    """
    # The detectors keep no state between frames, so running them in another thread changes no result.
    with (
        _open_face_mesh() as mesh,
        _open_face_detector() as face_detector,
        _open_hand_detector() as hand_detector,
        ThreadPoolExecutor(1) as detector_thread,
    ):
        scanner = _Scanner(mesh, _Detectors(face_detector, hand_detector), detector_thread, region, frame_size)
        for index, _, rgb in frames:
            scanner.add_frame(index, rgb)
        return scanner.finish()


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


class _Scanner:
    """Collects the results of one pass, frame by frame. Region and frame size are those of `scan_frames`."""

    def __init__(
        self,
        face_mesh: Any,
        detectors: _Detectors,
        detector_thread: ThreadPoolExecutor,
        region: Box | None,
        frame_size: tuple[int, int] | None,
    ) -> None:
        self._window: _SearchWindow | None = None  # set by the first frame
        self._face_mesh = face_mesh
        self._detectors = detectors
        self._detector_thread = detector_thread
        self._region = region
        self._frame_size = frame_size
        self._scale = 1.0  # from pixels of the images to those of the footage
        self._landmarks: list[F32] = []
        self._thumbnails: list[Image] = []
        self._sharpness: list[float] = []
        self._detections: list[_Detections] = []
        self._pending: Future[_Detections] | None = None

    def add_frame(self, index: int, rgb: Image) -> None:
        """Scan the next frame."""
        window = self._window or self._open_window(rgb)
        search_area = window.search_area
        points = window.detect_landmarks(rgb)
        if index % DETECTION_INTERVAL == 0:
            self._wait_for_detections()
            if np.isnan(points[0, 0]) and window.is_downscaled():
                points = window.search_near_faces(rgb, self._detectors.detect_faces(rgb, search_area))
            self._pending = self._detector_thread.submit(self._detectors.detect, rgb, search_area, points, self._scale)
        self._landmarks.append(points * np.float32(self._scale))
        self._sharpness.append(_face_sharpness(rgb, points))
        self._thumbnails.append(_make_thumbnail(rgb, search_area))

    def finish(self) -> Scan:
        """Return the results of all frames."""
        self._wait_for_detections()
        return Scan(
            np.array(self._landmarks, np.float32).reshape(-1, topo.LANDMARK_COUNT, 3),
            [detections.face_boxes for detections in self._detections],
            np.array(self._thumbnails, np.uint8).reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE),
            self._frame_size or (0, 0),
            np.array(self._sharpness, np.float32),
            [detections.hands for detections in self._detections],
            [detections.hand_scores for detections in self._detections],
        )

    def _open_window(self, rgb: Image) -> _SearchWindow:
        """Set up the search from the first image, which shows how images and footage relate."""
        self._frame_size = self._frame_size or (rgb.shape[1], rgb.shape[0])
        self._scale = self._frame_size[0] / rgb.shape[1]
        self._window = _SearchWindow(self._face_mesh, _region_in_image(self._region, self._scale, rgb))
        return self._window

    def _wait_for_detections(self) -> None:
        if self._pending is not None:
            self._detections.append(self._pending.result())
            self._pending = None


class _SearchWindow:
    """The part of the image that the mesh searches: all of it, or a window at full detail around a small face.

    Attributes:
        search_area: the part of the image that is searched at all.
        box: the part that is searched now.
    """

    def __init__(self, face_mesh: Any, search_area: Box) -> None:
        self._face_mesh = face_mesh
        self.search_area = self.box = search_area

    def detect_landmarks(self, rgb: Image) -> F32:
        """Return (478, 3) landmarks in pixels of the image, NaN where there is no face."""
        points = self._run_mesh(rgb, self.box)
        if np.isnan(points[0, 0]):
            if self.box != self.search_area:  # the face left the window
                self.box = self.search_area
                points = self._run_mesh(rgb, self.box)
            return points
        target = self._choose_box(points)
        if target != self.box:
            refined = self._run_mesh(rgb, target)
            if np.isnan(refined[0, 0]):  # the mesh tracked from the old place; the second run searches all of the box
                refined = self._run_mesh(rgb, target)
            if not np.isnan(refined[0, 0]):
                self.box, points = target, refined
        return points

    def is_downscaled(self) -> bool:
        """Return whether the search area is shrunk before the mesh sees it."""
        return max(self.search_area[2:]) > MAX_SCAN_SIDE

    def search_near_faces(self, rgb: Image, face_boxes: F32) -> F32:
        """Return landmarks like `detect_landmarks`, found around the tallest of the detected faces (K, 5).

        The face detector finds smaller faces than the mesh does.
        """
        if len(face_boxes):
            x, y, w, h = face_boxes[int(np.argmax(face_boxes[:, 3])), :4]
            target = self._choose_box(np.array([[x, y, 0], [x + w, y + h, 0]], np.float32))
            points = self._run_mesh(rgb, target)
            if not np.isnan(points[0, 0]):
                self.box = target
                return points
        return _no_landmarks()

    def _choose_box(self, points: F32) -> Box:
        """Return the window for a face at `points`; the current window unless the face has left its middle."""
        x, y, width, height = self.search_area
        if not self.is_downscaled() or np.ptp(points[:, 1]) > SMALL_FACE_SHARE * MAX_SCAN_SIDE:
            return self.search_area
        face_center = (points[:, :2].min(0) + points[:, :2].max(0)) / 2
        if self.box != self.search_area:
            box_center = np.array([self.box[0] + self.box[2] / 2, self.box[1] + self.box[3] / 2])
            if np.abs(face_center - box_center).max() < MAX_CENTER_DRIFT * MAX_SCAN_SIDE:
                return self.box
        w, h = min(width, MAX_SCAN_SIDE), min(height, MAX_SCAN_SIDE)
        left = int(np.clip(face_center[0] - w / 2, x, x + width - w))
        top = int(np.clip(face_center[1] - h / 2, y, y + height - h))
        return left, top, w, h

    def _run_mesh(self, rgb: Image, box: Box) -> F32:
        faces = self._face_mesh.process(_crop_and_shrink(rgb, box)).multi_face_landmarks
        if not faces:
            return _no_landmarks()
        x, y, w, h = box
        return np.array([(x + p.x * w, y + p.y * h, p.z * w) for p in faces[0].landmark], np.float32)


def _no_landmarks() -> F32:
    return np.full((topo.LANDMARK_COUNT, 3), np.nan, np.float32)


@dataclass
class _Detections:
    """Detections in one frame, in footage pixels: faces (K, 5), hands (N, 21, 2) and their scores (N,)."""

    face_boxes: F32
    hands: F32
    hand_scores: F32


@dataclass
class _Detectors:
    """MediaPipe's face and hand detectors."""

    face_detector: Any
    hand_detector: Any

    def detect(self, rgb: Image, search_area: Box, points: F32, scale: float) -> _Detections:
        """Find faces in the search area and hands near the landmarks `points`; `scale` leads to footage pixels."""
        faces = self.detect_faces(rgb, search_area)
        faces[:, :4] *= scale
        hands, scores = self._detect_hands(rgb, points)
        return _Detections(faces, hands * np.float32(scale), scores)

    def detect_faces(self, rgb: Image, box: Box) -> F32:
        """Return the faces (K, 5) in a box of the image: x, y, width, height in pixels of the image, and the score."""
        x, y, w, h = box
        rows = []
        for detection in self.face_detector.process(_crop_and_shrink(rgb, box)).detections or []:
            bounds = detection.location_data.relative_bounding_box
            rows.append(
                (x + bounds.xmin * w, y + bounds.ymin * h, bounds.width * w, bounds.height * h, detection.score[0])
            )
        return np.array(rows, np.float32).reshape(-1, 5)

    def _detect_hands(self, rgb: Image, points: F32) -> tuple[F32, F32]:
        """Return the hands (K, 21, 2) near the face and their scores (K,)."""
        box = _face_square(points, HAND_SEARCH_FACE_HEIGHTS, rgb)
        results: Any = self.hand_detector.process(_crop_and_shrink(rgb, box, HAND_SEARCH_SIDE)) if box else None
        if box is None or not results.multi_hand_landmarks:
            return np.zeros((0, 21, 2), np.float32), np.zeros(0, np.float32)
        x, y, w, h = box
        hands = [[(x + p.x * w, y + p.y * h) for p in hand.landmark] for hand in results.multi_hand_landmarks]
        scores = [hand.classification[0].score for hand in results.multi_handedness]
        return np.array(hands, np.float32), np.array(scores, np.float32)


def _region_in_image(region: Box | None, scale: float, rgb: Image) -> Box:
    """Return a region in footage pixels as a box of the image; the whole image for None."""
    if region is None:
        return 0, 0, rgb.shape[1], rgb.shape[0]
    x, y, w, h = (int(v / scale) for v in region)
    return x, y, min(w, rgb.shape[1] - x), min(h, rgb.shape[0] - y)


def _crop_and_shrink(rgb: Image, box: Box, max_side: int = MAX_SCAN_SIDE) -> Image:
    """Return the box of an image, shrunk until no side is longer than `max_side`."""
    x, y, w, h = box
    part = rgb[y : y + h, x : x + w]
    scale = min(1.0, max_side / max(w, h))
    if scale < 1:
        smaller = max(1, round(w * scale)), max(1, round(h * scale))
        part = cv2.resize(part, smaller, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return np.ascontiguousarray(part)


def _make_thumbnail(rgb: Image, box: Box) -> Image:
    """Return the box of an image as a small gray square."""
    small = cv2.resize(_crop_and_shrink(rgb, box), (THUMBNAIL_SIDE, THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def _face_square(points: F32, face_heights: float, rgb: Image) -> Box | None:
    """Return the square around the face, `face_heights` wide, cut to the image; None without a face."""
    if np.isnan(points[0, 0]):
        return None
    low, high = points[: topo.MESH_VERTEX_COUNT, :2].min(0), points[: topo.MESH_VERTEX_COUNT, :2].max(0)
    half_side = face_heights / 2 * float((high - low).max())
    x0, y0 = np.maximum((low + high) / 2 - half_side, 0).astype(int)
    x1, y1 = np.minimum((low + high) / 2 + half_side, rgb.shape[1::-1]).astype(int)
    return (int(x0), int(y0), int(x1 - x0), int(y1 - y0)) if min(x1 - x0, y1 - y0) > MIN_SQUARE_SIDE else None


def _face_sharpness(rgb: Image, points: F32) -> float:
    """Return the mean difference of the face from its slightly blurred copy over its contrast; NaN without a face."""
    box = _face_square(points, SHARPNESS_FACE_SHARE, rgb)
    if box is None:
        return float("nan")
    x, y, w, h = box
    face = cv2.resize(rgb[y : y + h, x : x + w], (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(gray - cv2.GaussianBlur(gray, (0, 0), 1.0)).mean() / (gray.std() + 1.0))
