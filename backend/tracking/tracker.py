"""The whole of tracking for one chosen stretch: landmarks → camera, head and torso poses, rig and channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..contract.geometry import FLIP, quaternion_from_matrix
from ..contract.progress import Reporter
from .detection import topology as topo
from .face.blendshape_fit import solve_expression
from .face.blendshape_rig import Rig
from .face.calibration import with_closed_lids
from .pose.bundle_adjustment import Poses
from .pose.head_template import HeadSheet
from .pose.initial_pose import fit_pose
from .pose.mean_shape import OUTER_EYE_DISTANCE, mean_shape, similarity
from .pose.patch_tracker import F32, F64, Picture
from .pose.template import steady
from .pose.torso_template import DEPTH as TORSO_DEPTH
from .pose.torso_template import torso_poses

FACE_HEIGHTS_PER_FOCAL = 6.0  # a head and shoulders portrait: the lens is about six face heights away
HEAD_ROUNDS = 3


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


def solve(
    landmarks: F64,
    frame: Callable[[int], Picture],
    head_mask: Callable[[int], F32],
    torso_mask: Callable[[int], F32],
    size: int,
    centre: tuple[float, float],
    reporter: Reporter,
) -> Track:
    """Tracks the stretch.

    Args:
        landmarks: (T, 478, 3) pixels of the crop, z in the same unit.
        frame: reads the crop (size, size, 3) of a frame. head_mask, torso_mask: read the alpha (size, size)
            of its head, hair included, and of its torso.
        centre: principal point in crop pixels.
    """
    pixels = landmarks[:, :, :2]
    count = len(pixels)
    tick = Ticker(reporter, 3 * count)  # each frame is followed once for the head and twice for the torso
    usual = FACE_HEIGHTS_PER_FOCAL * float(np.median(np.ptp(pixels[:, :, 1], axis=1)))
    intrinsics = pinhole(usual, centre)
    mean = mean_shape(landmarks)
    rough = rough_poses(pixels, mean, intrinsics)
    first = solve_expression(pixels, mean, rough.rotation, rough.translation, intrinsics)
    displacement = np.einsum("tk,kpc->tpc", first.channels, first.rig.shapes, optimize=True)
    sheet = HeadSheet(first.rig.neutral, displacement, rough, intrinsics, head_mask)
    head = steady(sheet, frame, rough, HEAD_ROUNDS, tick, usual_focal=usual)
    intrinsics = sheet.intrinsics
    neutral, head = in_head_space(sheet.neutral, first.rig.neutral, head)
    face = solve_expression(pixels, neutral, head.rotation, head.translation, intrinsics)

    rest = np.median(head.translation, 0)
    reference = int(np.argmin(np.linalg.norm(head.translation - rest, axis=1)))
    torso = torso_poses(frame, torso_mask, rest[2] - TORSO_DEPTH, count, reference, intrinsics, tick)
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = FLIP, rest
    moved = np.einsum("tij,j->ti", torso.rotation, rest) + torso.translation - rest
    return Track(
        intrinsics=intrinsics,
        view=view,
        head_rotation=continuous(quaternion_from_matrix(FLIP @ head.rotation)),
        head_translation=(head.translation - rest) @ FLIP,
        torso_rotation=continuous(quaternion_from_matrix(FLIP @ torso.rotation @ FLIP)),
        torso_translation=moved @ FLIP,
        channels=face.channels,
        rig=with_closed_lids(face.rig),
        reprojection=reprojection(face.error, head, intrinsics),
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


def rough_poses(pixels: F64, mean: F64, intrinsics: F64) -> Poses:
    """Head poses from each frame's rigid landmarks alone."""
    rigid = topo.indices(*topo.RIGID)
    weight = np.array(list(topo.RIGID.values()))
    rotation, translation, _ = fit_pose(pixels[:, rigid], mean[rigid], weight, intrinsics)
    return Poses(rotation, translation)


def in_head_space(neutral: F64, before: F64, head: Poses) -> tuple[F64, Poses]:
    """The mesh (478, 3) laid over the one `before` it was reshaped, eye corners `OUTER_EYE_DISTANCE` apart, and poses
    that show it as before: neither size nor axes of a body can be seen, they are what head space says."""
    rigid = topo.indices(*topo.RIGID)
    weight = np.array(list(topo.RIGID.values()))
    _, turn, _ = similarity(neutral[None, rigid], before[rigid], weight)
    scale = OUTER_EYE_DISTANCE / np.linalg.norm(neutral[topo.EYE_OUTER_LEFT] - neutral[topo.EYE_OUTER_RIGHT])
    turned = scale * neutral @ turn[0].T
    shift = weight @ (before[rigid] - turned[rigid]) / weight.sum()
    rotation = head.rotation @ turn[0].T
    return turned + shift, Poses(rotation, scale * head.translation - rotation @ shift)


def reprojection(error: F64, head: Poses, intrinsics: F64) -> F64:
    """(T,) RMS in pixels of the rigid landmarks' distances (T, 478, 2), metres of head space, from the rig."""
    rigid = topo.indices(*topo.RIGID)
    metres = np.sqrt((error[:, rigid] ** 2).sum(-1).mean(1))
    return metres * intrinsics[0, 0] / head.translation[:, 2]


def continuous(quaternions: F64) -> F64:
    """The same rotations with signs that never flip between frames, so that they can be interpolated as curves."""
    flips = np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0)
    return quaternions * np.r_[1.0, np.cumprod(flips)][:, None]
