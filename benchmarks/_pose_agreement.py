"""How well recovered poses agree with landmarks and images, for clips without ground truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from backend.contract.arrays import F32, F64, Floats, Image
from backend.contract.geometry import project_points
from backend.tracking.detection import topology as topo
from backend.tracking.face.blendshape_fit import project_rig, unproject_landmarks
from backend.tracking.face.calibration import estimate_landmark_bias
from backend.tracking.pose.head_template import HeadTemplate
from backend.tracking.pose.mean_shape import RIGID_LANDMARKS, estimate_mean_shape
from backend.tracking.pose.patch_tracker import normalize_contrast
from backend.tracking.pose.poses import Poses, spread_frames
from backend.tracking.tracker import (
    TrackingResult,
    estimate_landmark_poses,
    pinhole_intrinsics,
    usual_focal_length,
)

REFERENCE_SIZE = 512  # pixels of the crop to which distances are scaled
FRAME_PAIRS = 100  # pairs of successive frames that are unwrapped
FLOW_BLUR_PIXELS = 6.0  # of the optical flow, which then follows the skin as a whole and not its grain


def fit_poses_per_frame(landmarks: F64, intrinsics: F64) -> tuple[Poses, F64, F64]:
    """Fit a pose to the landmarks of each frame alone.

    Args:
        landmarks: (T, 478, 3) pixels.
        intrinsics: (3, 3), of which only the principal point is used.

    Returns:
        Poses head → camera, the mean mesh (478, 3) and intrinsics (3, 3) with a usual focal length.
    """
    principal_point = (intrinsics[0, 2], intrinsics[1, 2])
    usual_intrinsics = pinhole_intrinsics(usual_focal_length(landmarks), principal_point)
    mean_mesh = estimate_mean_shape(landmarks)
    poses = estimate_landmark_poses(landmarks[:, :, :2], mean_mesh, usual_intrinsics)
    return poses, mean_mesh, usual_intrinsics


def landmark_errors(tracking: TrackingResult, landmarks: F64, size: int) -> dict[str, float]:
    """RMS distances between landmarks and the mesh of pose and channels, in pixels of a 512² crop.

    `plain` compares them as they are. From the others the bias is removed that the landmark network adds with turn,
    lids and jaw (`calibration.estimate_landmark_bias`, fitted to the same frames).

    Args:
        tracking: of T frames.
        landmarks: (T, 478, ≥2) pixels of the crop.
        size: of the crop, pixels.
    """
    poses, scale, pixels = tracking.head_to_camera_poses(), REFERENCE_SIZE / size, landmarks[:, :, :2]
    rig, intrinsics = tracking.rig, tracking.intrinsics
    points = rig.neutral + np.einsum("tk,kpc->tpc", tracking.channels, rig.shapes, optimize=True)
    plain = pixels - project_points(points, poses.rotation, poses.translation, intrinsics)
    seen, slope = unproject_landmarks(pixels, rig.neutral[:, 2], poses.rotation, poses.translation, intrinsics)
    metres = seen - project_rig(rig, tracking.channels, slope)
    metres = metres - estimate_landmark_bias(metres, poses.rotation, tracking.channels, rig.neutral)
    unbiased = metres * (intrinsics[0, 0] / poses.translation[:, 2])[:, None, None]
    lips = topo.index_array(*topo.LIPS)
    return {
        "reprojection_rms_px": scale * rms(tracking.reprojection),
        "reprojection_plain_rms_px": scale * rms(plain[:, RIGID_LANDMARKS]) * 2**0.5,
        "mesh_rms_px": scale * rms(unbiased) * 2**0.5,
        "mesh_plain_rms_px": scale * rms(plain) * 2**0.5,
        "lips_rms_px": scale * rms(unbiased[:, lips]) * 2**0.5,
        "lips_plain_rms_px": scale * rms(plain[:, lips]) * 2**0.5,
    }


def rms(values: Floats) -> float:
    """Root of the mean square."""
    return float(np.sqrt((values**2).mean()))


def photometric_gains(tracking: TrackingResult, landmarks: F64, read_frame: Callable[[int], Image]) -> dict[str, float]:
    """Percentages by which the rigid face, unwrapped by refined poses, differs less than by per-frame poses.

    `photometric`: mean absolute difference of the frames from their mean texture, in gray with normalised contrast,
    weighted by the rigidity of each pixel. `shake`: the same between successive frames. Both contain what no pose can
    correct: compression, light, wrinkles. `floor` is what remains of the first when refined frames are laid over their
    mean by dense optical flow instead; `photometric_above_floor` is the percentage without it, the share that a warp
    can correct.

    Args:
        tracking: of T frames.
        landmarks: (T, 478, 3) pixels of the crop.
        read_frame: reads the crop of a frame.
    """
    poses, mean_mesh, usual_intrinsics = fit_poses_per_frame(landmarks, tracking.intrinsics)
    refined_poses = tracking.head_to_camera_poses()
    refined = _photometric_errors(tracking.rig.neutral, refined_poses, tracking.intrinsics, read_frame)
    rough = _photometric_errors(mean_mesh, poses, usual_intrinsics, read_frame)
    above_floor = (refined.from_mean - refined.after_flow) / max(rough.from_mean - refined.after_flow, 1e-6)
    return {
        "photometric_less_percent": 100 * (1 - refined.from_mean / rough.from_mean),
        "photometric_above_floor_less_percent": 100 * (1 - above_floor),
        "shake_less_percent": 100 * (1 - refined.from_next_frame / rough.from_next_frame),
        "photometric_grey": refined.from_mean,
        "photometric_unsteadied_grey": rough.from_mean,
        "photometric_floor_grey": refined.after_flow,
    }


@dataclass
class _PhotometricErrors:
    """Mean absolute differences of unwrapped frames, gray levels.

    Attributes:
        from_mean: from their mean.
        after_flow: from their mean, after each is laid over it by optical flow.
        from_next_frame: from the next frame.
    """

    from_mean: float
    after_flow: float
    from_next_frame: float


def _photometric_errors(
    neutral: F64, poses: Poses, intrinsics: F64, read_frame: Callable[[int], Image]
) -> _PhotometricErrors:
    count = len(poses.rotation)
    no_displacement = np.broadcast_to(np.zeros(1), (count, *neutral.shape))  # the pose alone moves the mesh
    no_mask = np.zeros(read_frame(0).shape[:2], np.float32)
    template = HeadTemplate(neutral, no_displacement, poses, intrinsics, lambda _: no_mask)
    window = max(9, *(v // 8 for v in no_mask.shape)) | 1

    def unwrap(t: int) -> Image:
        unwrapped = template.patch_tracker.unwrap_frame(read_frame(t), template.compute_warp_map(t, poses))
        return normalize_contrast(unwrapped, window)

    pairs = [[unwrap(int(start)), unwrap(int(start) + 1)] for start in spread_frames(count - 1, FRAME_PAIRS)]
    mean = np.mean(pairs, (0, 1), dtype=np.float32)
    weight = template.patch_tracker.weight / template.patch_tracker.weight.sum()

    def weighted_mean(differences: list[F32]) -> float:
        return float((np.abs(np.stack(differences)).mean(0) * weight).sum())

    return _PhotometricErrors(
        from_mean=weighted_mean([image - mean for pair in pairs for image in pair]),
        after_flow=weighted_mean([_align_by_flow(pair[0], mean) - mean for pair in pairs]),
        from_next_frame=weighted_mean([b.astype(np.float32) - a for a, b in pairs]),
    )


def _align_by_flow(gray: Image, mean: F32) -> F32:
    """The image (H, W) warped onto `mean` by smoothed dense optical flow."""
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = estimator.calc(np.rint(mean).astype(np.uint8), gray, None)
    y, x = np.mgrid[: gray.shape[0], : gray.shape[1]].astype(np.float32)
    source = np.stack([x, y], -1) + cv2.GaussianBlur(flow, (0, 0), FLOW_BLUR_PIXELS)
    aligned: F32 = cv2.remap(gray.astype(np.float32), source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return aligned
