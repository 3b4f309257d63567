"""The whole of tracking for one chosen stretch: landmarks → camera, head and torso poses, rig and channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..contract.arrays import F32, F64, Image
from ..contract.geometry import FLIP_YZ, align_quaternion_signs, quaternion_from_matrix
from ..contract.progress import Reporter
from .detection import topology as topo
from .face.blendshape_fit import fit_expression
from .face.blendshape_rig import BlendshapeRig
from .face.calibration import ensure_lids_meet
from .pose.bundle_adjustment import Poses
from .pose.head_template import HeadTemplate
from .pose.initial_pose import fit_poses
from .pose.mean_shape import OUTER_EYE_DISTANCE, estimate_mean_shape, fit_similarity
from .pose.template import refine_poses
from .pose.torso_template import TORSO_DEPTH_OFFSET as TORSO_DEPTH
from .pose.torso_template import track_torso

FOCAL_PRIOR_FACE_HEIGHTS = 6.0  # a head and shoulders portrait: the lens is about six face heights away
HEAD_REFINEMENT_ROUNDS = 3


@dataclass
class TrackingResult:
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
    rig: BlendshapeRig
    reprojection: F64


def track_clip(
    landmarks: F64,
    read_frame: Callable[[int], Image],
    read_head_mask: Callable[[int], F32],
    read_torso_mask: Callable[[int], F32],
    crop_size: int,
    principal_point: tuple[float, float],
    reporter: Reporter,
) -> TrackingResult:
    """Tracks the stretch.

    Args:
        landmarks: (T, 478, 3) pixels of the crop, z in the same unit.
        frame: reads the crop (size, size, 3) of a frame. head_mask, torso_mask: read the alpha (size, size)
            of its head, hair included, and of its torso.
        centre: principal point in crop pixels.
    """
    pixels = landmarks[:, :, :2]
    count = len(pixels)
    tick = FrameProgress(reporter, 3 * count)  # each frame is followed once for the head and twice for the torso
    usual = FOCAL_PRIOR_FACE_HEIGHTS * float(np.median(np.ptp(pixels[:, :, 1], axis=1)))
    intrinsics = pinhole_intrinsics(usual, principal_point)
    mean = estimate_mean_shape(landmarks)
    rough = estimate_landmark_poses(pixels, mean, intrinsics)
    first = fit_expression(pixels, mean, rough.rotation, rough.translation, intrinsics)
    displacement = np.einsum("tk,kpc->tpc", first.channels, first.rig.shapes, optimize=True)
    sheet = HeadTemplate(first.rig.neutral, displacement, rough, intrinsics, read_head_mask)
    head = refine_poses(sheet, read_frame, rough, HEAD_REFINEMENT_ROUNDS, tick, focal_prior=usual)
    intrinsics = sheet.intrinsics
    neutral, head = align_to_head_space(sheet.neutral, first.rig.neutral, head)
    face = fit_expression(pixels, neutral, head.rotation, head.translation, intrinsics)

    rest = np.median(head.translation, 0)
    reference = int(np.argmin(np.linalg.norm(head.translation - rest, axis=1)))
    torso = track_torso(read_frame, read_torso_mask, rest[2] - TORSO_DEPTH, count, reference, intrinsics, tick)
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = FLIP_YZ, rest
    moved = np.einsum("tij,j->ti", torso.rotation, rest) + torso.translation - rest
    return TrackingResult(
        intrinsics=intrinsics,
        view=view,
        head_rotation=align_quaternion_signs(quaternion_from_matrix(FLIP_YZ @ head.rotation)),
        head_translation=(head.translation - rest) @ FLIP_YZ,
        torso_rotation=align_quaternion_signs(quaternion_from_matrix(FLIP_YZ @ torso.rotation @ FLIP_YZ)),
        torso_translation=moved @ FLIP_YZ,
        channels=face.channels,
        rig=ensure_lids_meet(face.rig),
        reprojection=reprojection_rms(face.residual, head, intrinsics),
    )


def pinhole_intrinsics(focal: float, principal_point: tuple[float, float]) -> F64:
    """(3, 3) of a camera with square pixels."""
    return np.array([[focal, 0, principal_point[0]], [0, focal, principal_point[1]], [0, 0, 1]])


class FrameProgress:
    """Counts calls as the progress of tracking."""

    def __init__(self, reporter: Reporter, total: int) -> None:
        self.reporter, self.total, self.done = reporter, total, 0
        reporter.progress("track the face", 0, total)

    def __call__(self) -> None:
        self.done = min(self.done + 1, self.total)
        self.reporter.progress("track the face", self.done, self.total)


def estimate_landmark_poses(pixels: F64, mean_mesh: F64, intrinsics: F64) -> Poses:
    """Head poses from each frame's rigid landmarks alone."""
    rigid = topo.index_array(*topo.RIGID_LANDMARK_WEIGHTS)
    weight = np.array(list(topo.RIGID_LANDMARK_WEIGHTS.values()))
    rotation, translation, _ = fit_poses(pixels[:, rigid], mean_mesh[rigid], weight, intrinsics)
    return Poses(rotation, translation)


def align_to_head_space(neutral: F64, reference: F64, head_poses: Poses) -> tuple[F64, Poses]:
    """The mesh (478, 3) laid over the one `before` it was reshaped, eye corners `OUTER_EYE_DISTANCE` apart, and poses
    that show it as before: neither size nor axes of a body can be seen, they are what head space says."""
    rigid = topo.index_array(*topo.RIGID_LANDMARK_WEIGHTS)
    weight = np.array(list(topo.RIGID_LANDMARK_WEIGHTS.values()))
    _, turn, _ = fit_similarity(neutral[None, rigid], reference[rigid], weight)
    scale = OUTER_EYE_DISTANCE / np.linalg.norm(neutral[topo.EYE_OUTER_LEFT] - neutral[topo.EYE_OUTER_RIGHT])
    turned = scale * neutral @ turn[0].T
    shift = weight @ (reference[rigid] - turned[rigid]) / weight.sum()
    rotation = head_poses.rotation @ turn[0].T
    return turned + shift, Poses(rotation, scale * head_poses.translation - rotation @ shift)


def reprojection_rms(error: F64, head_poses: Poses, intrinsics: F64) -> F64:
    """(T,) RMS in pixels of the rigid landmarks' distances (T, 478, 2), metres of head space, from the rig."""
    rigid = topo.index_array(*topo.RIGID_LANDMARK_WEIGHTS)
    metres = np.sqrt((error[:, rigid] ** 2).sum(-1).mean(1))
    return metres * intrinsics[0, 0] / head_poses.translation[:, 2]
