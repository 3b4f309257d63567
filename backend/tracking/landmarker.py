"""Channels from a face landmarker that the user provides (MediaPipe's `face_landmarker.task`).

Its blend-shape scores have ARKit's names. They replace the channels that Portrait Actor fits; the rig's shapes are then
fitted again, so that the mesh driven by the scores lies on the landmarks.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.arrays import F64, U8, Mask
from ..contract.channels import CHANNEL_INDEX, CHANNELS
from ..contract.errors import UserError
from ..contract.safe_io import read_bytes
from .face.blendshape_fit import ChannelFitOptions, personalize_rig, unproject_landmarks
from .face.blendshape_rig import build_rig
from .tracker import TrackingResult

BLENDSHAPE_MODEL_FILE = "face_blendshapes.tflite"  # the part of the bundle that gives the scores
REMEDY = "Choose MediaPipe's face_landmarker.task, or leave the choice empty."
MAX_FILE_BYTES = 64 * 2**20  # MediaPipe's file has 4 MiB
MIN_FOUND_SHARE = 0.5  # of the frames in which the landmarker must find the face; below, interpolation would guess most
FIT_ROUNDS = 3  # of fitting the rig's shapes to the scores
# Pull of the fitted shapes to the anatomical ones, softer than for fitted channels: a score does not move exactly what
# the anatomical shape moves. Smaller overfits the clip. Not tuned.
SHAPE_STIFFNESS = 5.0


@dataclass(frozen=True)
class BlendshapeScores:
    """A landmarker's scores of T frames.

    Attributes:
        values: (T, 52) 0–1, columns in the order of `CHANNELS`; interpolated where no face was found.
        is_found: (T,) whether a face was found.
    """

    values: F64
    is_found: Mask


@dataclass(frozen=True)
class LandmarkerFile:
    """A checked landmarker file.

    Attributes:
        name: of the file, without its folder.
        data: its bytes.
        sha256: hexadecimal digest of `data`.
    """

    name: str
    data: bytes
    sha256: str


def open_landmarker(path: Path) -> LandmarkerFile:
    """Read and check a landmarker file.

    Raises:
        UserError: the file is missing, cannot be read, or is not a landmarker with blend shapes.
    """
    try:
        data = read_bytes(path, MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise UserError("missing_file", f"There is no face landmarker at {path}.", REMEDY) from error
    except OSError as error:
        raise UserError("unreadable_file", f"{path} cannot be read ({error.strerror or error}).", REMEDY) from error
    except ValueError as error:
        problem = f"{path.name} is larger than 64 MiB, too large for a face landmarker."
        raise UserError("bad_landmarker", problem, REMEDY) from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            parts = set(bundle.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UserError("bad_landmarker", f"{path.name} is not a face landmarker.", REMEDY) from error
    if BLENDSHAPE_MODEL_FILE not in parts:
        raise UserError("bad_landmarker", f"{path.name} contains no blend shape model.", REMEDY)
    return LandmarkerFile(path.name, data, hashlib.sha256(data).hexdigest())


def score_frames(landmarker: LandmarkerFile, frames: Iterable[U8], fps: float) -> BlendshapeScores:
    """Return the landmarker's scores of successive frames.

    Args:
        landmarker: the checked file.
        frames: (H, W, 3) RGB each.
        fps: frames per second.

    Raises:
        UserError: the file is damaged inside, or the landmarker finds the face in less than half of the frames.
    """
    from mediapipe import Image, ImageFormat

    rows, found = [], []
    with _open_task(landmarker) as task:
        for index, rgb in enumerate(frames):
            image = Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(rgb))
            faces = task.detect_for_video(image, round(index * 1000 / fps)).face_blendshapes
            rows.append(_channels_from_categories(faces[0]) if faces else np.zeros(len(CHANNELS)))
            found.append(bool(faces))
    is_found = np.array(found, bool)
    if not len(is_found) or is_found.mean() < MIN_FOUND_SHARE:
        count = int(is_found.sum())
        raise UserError(
            "landmarker_blind",
            f"The face landmarker {landmarker.name} found the face in only {count} of {len(is_found)} frames.",
            "Leave the choice empty: Portrait Actor then measures the channels itself.",
        )
    return BlendshapeScores(_interpolate_missing(np.stack(rows), is_found), is_found)


def apply_scores(tracking: TrackingResult, pixels: F64, scores: F64) -> TrackingResult:
    """Return the tracking with scores for channels, and the rig's neutral face and shapes fitted to them.

    Args:
        tracking: of T frames.
        pixels: (T, 478, 2) landmarks in the crop.
        scores: (T, 52) 0–1.
    """
    poses = tracking.head_to_camera_poses()
    xy, slope = unproject_landmarks(
        pixels, tracking.rig.neutral[:, 2], poses.rotation, poses.translation, tracking.intrinsics
    )
    rig = build_rig(tracking.rig.neutral)
    for _ in range(FIT_ROUNDS):
        rig = personalize_rig(xy, slope, scores, rig, ChannelFitOptions(shape_stiffness=SHAPE_STIFFNESS))
    return replace(tracking, channels=scores, rig=rig)


def _open_task(landmarker: LandmarkerFile) -> Any:
    """Load the model into MediaPipe."""
    from mediapipe.tasks.python.core.base_options import BaseOptions
    from mediapipe.tasks.python.vision.core.vision_task_running_mode import VisionTaskRunningMode
    from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarker, FaceLandmarkerOptions

    options = FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=landmarker.data),
        running_mode=VisionTaskRunningMode.VIDEO,
        output_face_blendshapes=True,
    )
    try:
        return FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        raise UserError("bad_landmarker", f"The face landmarker {landmarker.name} cannot be loaded.", REMEDY) from error


def _channels_from_categories(categories: Iterable[Any]) -> F64:
    """Channels (52,) by name; `_neutral` is no channel, and a channel that the landmarker does not know stays 0."""
    row = np.zeros(len(CHANNELS))
    for category in categories:
        if category.category_name in CHANNEL_INDEX:
            row[CHANNEL_INDEX[category.category_name]] = min(1.0, max(0.0, float(category.score)))
    return row


def _interpolate_missing(values: F64, is_found: Mask) -> F64:
    """Values (T, 52), interpolated linearly in frames without a face."""
    if is_found.all():
        return values
    frames = np.arange(len(values))
    return np.stack([np.interp(frames, frames[is_found], column[is_found]) for column in values.T], 1)
