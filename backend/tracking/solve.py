"""The whole of tracking for one chosen stretch: landmarks → camera, head and torso poses, rig and channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import FLIP, quaternion_from_matrix
from ..progress import Reporter
from . import topology as topo
from .expression import solve_expression
from .pose import fit_pose, refine_points
from .rig import Rig
from .shape import mean_shape
from .stabilise import ROUNDS, TORSO_DEPTH, steady_head, torso_pose
from .surface import F32, F64, Picture

FACE_HEIGHTS_PER_FOCAL = 6.0  # a head and shoulders portrait: the lens is about six face heights away
FOCAL_CANDIDATES = (3.0, 4.0, 5.0, 6.0, 7.5, 9.5, 12.0)
FOCAL_PRIOR = 0.02  # how much the residual must improve, per octave², to leave the usual lens


@dataclass
class Track:
    """Everything tracking knows of T frames. Poses are rest → actor space (see `performance`).

    Attributes:
        intrinsics: (3, 3) of the crop in pixels. view: (4, 4) actor space → camera.
        head_rotation, torso_rotation: (T, 4) wxyz; head_translation, torso_translation: (T, 3) metres.
        channels: (T, 52). rig: the person's blend-shape rig.
        reprojection: (T,) RMS of the rigid landmarks in crop pixels.
    """

    intrinsics: F64
    view: F64
    head_rotation: F64
    head_translation: F64
    torso_rotation: F64
    torso_translation: F64
    channels: F64
    rig: Rig
    reprojection: F64


def rough_yaw(landmarks: NDArray[np.floating[Any]]) -> F64:
    """(T,) degrees the head is turned, from single frames alone; NaN where there is no face.

    The mesh's own depth gives the turn: the line through the outer eye corners and the cheeks, seen from above.
    """
    left = landmarks[:, [263, 356, 323, 291]].mean(1)
    right = landmarks[:, [33, 127, 93, 61]].mean(1)
    across = left - right
    return np.degrees(np.arctan2(across[:, 2], across[:, 0])).astype(np.float64)


def solve(
    landmarks: F64,
    frame: Callable[[int], Picture],
    torso_mask: Callable[[int], F32],
    size: int,
    centre: tuple[float, float],
    reporter: Reporter,
) -> Track:
    """Tracks the stretch.

    Args:
        landmarks: (T, 478, 3) pixels of the crop, z in the same unit.
        frame: reads the crop (size, size, 3) of a frame. torso_mask: reads its torso alpha (size, size).
        centre: principal point in crop pixels.
    """
    pixels = landmarks[:, :, :2]
    tick = Ticker(reporter, 2 * ROUNDS * len(pixels))
    mean = mean_shape(landmarks)
    focal = choose_focal(pixels, mean, centre)
    intrinsics = pinhole(focal, centre)
    mean, rotation, translation, error = bundle(pixels, mean, intrinsics)
    channels, rig = solve_expression(pixels, mean, rotation, translation, intrinsics)
    vertices = rig.neutral + np.einsum("tk,kpc->tpc", channels, rig.shapes, optimize=True)
    rotation, translation = steady_head(frame, vertices, rig.neutral, rotation, translation, intrinsics, tick)
    channels, rig = solve_expression(pixels, rig.neutral, rotation, translation, intrinsics)

    rest = np.median(translation, 0)
    reference = int(np.argmin(np.linalg.norm(translation - rest, axis=1)))
    torso_rotation, torso_shift = torso_pose(
        frame, torso_mask, rest[2] - TORSO_DEPTH, len(pixels), reference, intrinsics, tick
    )
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = FLIP, rest
    moved = np.einsum("tij,j->ti", torso_rotation, rest) + torso_shift - rest
    return Track(
        intrinsics=intrinsics,
        view=view,
        head_rotation=continuous(quaternion_from_matrix(FLIP @ rotation)),
        head_translation=(translation - rest) @ FLIP,
        torso_rotation=continuous(quaternion_from_matrix(FLIP @ torso_rotation @ FLIP)),
        torso_translation=moved @ FLIP,
        channels=channels,
        rig=rig,
        reprojection=error,
    )


def pinhole(focal: float, centre: tuple[float, float]) -> F64:
    """(3, 3) of a camera with square pixels."""
    return np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]])


class Ticker:
    """Counts calls as the progress of tracking."""

    def __init__(self, reporter: Reporter, total: int) -> None:
        self.reporter, self.total, self.done = reporter, total, 0
        reporter.progress("track the face", 0, total)

    def __call__(self) -> None:
        self.done = min(self.done + 1, self.total)
        self.reporter.progress("track the face", self.done, self.total)


def choose_focal(pixels: F64, mean: F64, centre: tuple[float, float]) -> float:
    """The clip's focal length in pixels: the one whose poses fit best, the usual one when the clip cannot tell.

    A head that hardly turns fits every lens; the pull to the usual lens then decides.
    """
    some = np.unique(np.linspace(0, len(pixels) - 1, 100).astype(int))
    height = float(np.median(np.ptp(pixels[:, :, 1], axis=1)))
    best, chosen = np.inf, FACE_HEIGHTS_PER_FOCAL * height
    for candidate in FOCAL_CANDIDATES:
        focal = candidate * height
        intrinsics = pinhole(focal, centre)
        error = bundle(pixels[some], mean, intrinsics, rounds=2)[3]
        octaves = np.log2(candidate / FACE_HEIGHTS_PER_FOCAL)
        cost = np.sqrt((error**2).mean()) * (1 + FOCAL_PRIOR * octaves**2)
        if cost < best:
            best, chosen = cost, focal
    return chosen


def bundle(pixels: F64, mean: F64, intrinsics: F64, rounds: int = 2) -> tuple[F64, F64, F64, F64]:
    """Poses and rigid points that explain all frames together: mean (478, 3) with its rigid points refined,
    rotation (T, 3, 3), translation (T, 3), RMS residual (T,) in pixels."""
    rigid = topo.indices(*topo.RIGID)
    weight = np.array(list(topo.RIGID.values()))
    mean = mean.copy()
    rotation, translation, error = fit_pose(pixels[:, rigid], mean[rigid], weight, intrinsics)
    for _ in range(rounds):
        mean[rigid] = refine_points(pixels[:, rigid], mean[rigid], rotation, translation, intrinsics)
        start = (rotation, translation)
        rotation, translation, error = fit_pose(pixels[:, rigid], mean[rigid], weight, intrinsics, start, iterations=5)
    return mean, rotation, translation, error


def continuous(quaternions: F64) -> F64:
    """The same rotations with signs that never flip between frames, so that they can be interpolated as curves."""
    flips = np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0)
    return quaternions * np.r_[1.0, np.cumprod(flips)][:, None]
