"""Tracks one segment of footage: landmarks become a camera, head and torso poses, a rig and channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..contract.arrays import F32, F64, Image
from ..contract.geometry import FLIP_YZ, align_quaternion_signs, matrix_from_quaternion, quaternion_from_matrix
from ..contract.progress import Reporter
from .detection import topology as topo
from .face.blendshape_fit import fit_expression
from .face.blendshape_rig import BlendshapeRig
from .face.calibration import ensure_lids_meet
from .pose.head_template import HeadTemplate
from .pose.initial_pose import fit_poses
from .pose.mean_shape import (
    OUTER_EYE_DISTANCE,
    RIGID_LANDMARKS,
    RIGID_WEIGHTS,
    estimate_mean_shape,
    fit_similarity,
)
from .pose.poses import Poses
from .pose.template import refine_poses
from .pose.torso_template import TORSO_DEPTH_OFFSET, track_torso

# Usual focal length in heights of the face, as in a head-and-shoulders portrait. It is the centre of the focal prior.
FOCAL_PRIOR_FACE_HEIGHTS = 6.0
HEAD_REFINEMENT_ROUNDS = 3  # of bundle adjustment; more take time and change little
TRACKING_PASSES = 3  # each frame is tracked once for the head and twice for the torso


@dataclass
class TrackingResult:
    """What tracking finds in T frames. Poses are rest → actor space (see `performance`).

    Attributes:
        intrinsics: (3, 3) of the crop, pixels.
        view: (4, 4) actor space → camera.
        head_rotation: (T, 4) quaternions wxyz.
        head_translation: (T, 3) metres.
        torso_rotation: (T, 4) quaternions wxyz.
        torso_translation: (T, 3) metres.
        channels: (T, 52).
        rig: the person's blend-shape rig.
        reprojection: (T,) RMS error of the rigid landmarks in pixels of the crop.
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

    def head_to_camera_poses(self) -> Poses:
        """Return the poses from head space to the camera."""
        turn, shift = self.view[:3, :3], self.view[:3, 3]
        return Poses(turn @ matrix_from_quaternion(self.head_rotation), self.head_translation @ turn.T + shift)


def track_clip(
    landmarks: F64,
    read_frame: Callable[[int], Image],
    read_head_mask: Callable[[int], F32],
    read_torso_mask: Callable[[int], F32],
    principal_point: tuple[float, float],
    reporter: Reporter,
) -> TrackingResult:
    """Track a segment of T frames.

    Args:
        landmarks: (T, 478, 3) pixels of the crop, z in the same unit.
        read_frame: reads the crop (S, S, 3) of a frame.
        read_head_mask: reads the alpha (S, S) of a frame's head, hair included.
        read_torso_mask: reads the alpha (S, S) of a frame's torso.
        principal_point: in pixels of the crop.
        reporter: gets the progress.
    """
    pixels = landmarks[:, :, :2]
    progress = FrameProgress(reporter, TRACKING_PASSES * len(pixels))
    usual_focal = usual_focal_length(landmarks)
    intrinsics = pinhole_intrinsics(usual_focal, principal_point)
    mean_mesh = estimate_mean_shape(landmarks)
    rough = estimate_landmark_poses(pixels, mean_mesh, intrinsics)
    first = fit_expression(pixels, mean_mesh, rough.rotation, rough.translation, intrinsics)
    displacement = np.einsum("tk,kpc->tpc", first.channels, first.rig.shapes, optimize=True)
    template = HeadTemplate(first.rig.neutral, displacement, rough, intrinsics, read_head_mask)
    head = refine_poses(template, read_frame, rough, HEAD_REFINEMENT_ROUNDS, progress.advance, focal_prior=usual_focal)
    intrinsics = template.intrinsics
    neutral, head = align_to_head_space(template.neutral, first.rig.neutral, head)
    face = fit_expression(pixels, neutral, head.rotation, head.translation, intrinsics)

    rest = np.median(head.translation, 0)
    reference_frame = int(np.argmin(np.linalg.norm(head.translation - rest, axis=1)))
    torso_depth = rest[2] - TORSO_DEPTH_OFFSET
    torso = track_torso(
        read_frame, read_torso_mask, torso_depth, len(pixels), reference_frame, intrinsics, progress.advance
    )
    torso_shift = np.einsum("tij,j->ti", torso.rotation, rest) + torso.translation - rest
    return TrackingResult(
        intrinsics=intrinsics,
        view=actor_view(rest),
        head_rotation=align_quaternion_signs(quaternion_from_matrix(FLIP_YZ @ head.rotation)),
        head_translation=(head.translation - rest) @ FLIP_YZ,
        torso_rotation=align_quaternion_signs(quaternion_from_matrix(FLIP_YZ @ torso.rotation @ FLIP_YZ)),
        torso_translation=torso_shift @ FLIP_YZ,
        channels=face.channels,
        rig=ensure_lids_meet(face.rig),
        reprojection=reprojection_rms(face.residual, head, intrinsics),
    )


def usual_focal_length(landmarks: F64) -> float:
    """Focal length in pixels that a portrait with these landmarks (T, 478, ≥2) usually has."""
    return FOCAL_PRIOR_FACE_HEIGHTS * float(np.median(np.ptp(landmarks[:, :, 1], axis=1)))


def pinhole_intrinsics(focal: float, principal_point: tuple[float, float]) -> F64:
    """Intrinsics (3, 3) of a camera with square pixels."""
    return np.array([[focal, 0, principal_point[0]], [0, focal, principal_point[1]], [0, 0, 1]])


def actor_view(rest_position: F64) -> F64:
    """View (4, 4), actor space → camera, of a head that rests at `rest_position` (3,) in camera space."""
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = FLIP_YZ, rest_position
    return view


class FrameProgress:
    """Counts tracked frames and reports them."""

    def __init__(self, reporter: Reporter, total: int) -> None:
        self.reporter, self.total, self.done = reporter, total, 0
        reporter.progress("track the face", 0, total)

    def advance(self) -> None:
        """Report one more frame."""
        self.done = min(self.done + 1, self.total)
        self.reporter.progress("track the face", self.done, self.total)


def estimate_landmark_poses(pixels: F64, mean_mesh: F64, intrinsics: F64) -> Poses:
    """Return the head's poses from the rigid landmarks of each frame alone.

    Args:
        pixels: (T, 478, 2) landmarks.
        mean_mesh: (478, 3) metres, head space.
        intrinsics: (3, 3) pixels.
    """
    return fit_poses(pixels[:, RIGID_LANDMARKS], mean_mesh[RIGID_LANDMARKS], RIGID_WEIGHTS, intrinsics)[0]


def align_to_head_space(neutral: F64, reference: F64, head_poses: Poses) -> tuple[F64, Poses]:
    """Bring a mesh back into head space, and the poses with it, so that they show the same image.

    Images determine neither size nor axes of a body. Head space fixes both: outer eye corners `OUTER_EYE_DISTANCE`
    apart, axes as before the mesh was reshaped.

    Args:
        neutral: (478, 3) reshaped mesh, metres.
        reference: (478, 3) mesh before it was reshaped, head space.
        head_poses: of `neutral`.
    """
    _, turn, _ = fit_similarity(neutral[None, RIGID_LANDMARKS], reference[RIGID_LANDMARKS], RIGID_WEIGHTS)
    scale = OUTER_EYE_DISTANCE / np.linalg.norm(neutral[topo.EYE_OUTER_LEFT] - neutral[topo.EYE_OUTER_RIGHT])
    turned = scale * neutral @ turn[0].T
    shift = RIGID_WEIGHTS @ (reference[RIGID_LANDMARKS] - turned[RIGID_LANDMARKS]) / RIGID_WEIGHTS.sum()
    rotation = head_poses.rotation @ turn[0].T
    return turned + shift, Poses(rotation, scale * head_poses.translation - rotation @ shift)


def reprojection_rms(error: F64, head_poses: Poses, intrinsics: F64) -> F64:
    """RMS distance (T,) in pixels between rig and rigid landmarks.

    Args:
        error: (T, 478, 2) metres in head space, of all landmarks.
        head_poses: head → camera.
        intrinsics: (3, 3) pixels.
    """
    metres = np.sqrt((error[:, RIGID_LANDMARKS] ** 2).sum(-1).mean(1))
    pixels: F64 = metres * intrinsics[0, 0] / head_poses.translation[:, 2]
    return pixels
