"""How far recovered poses agree with landmarks and picture where there is no truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from backend.contract.arrays import F32, F64, Floats, Image
from backend.contract.geometry import project_points
from backend.tracking.channel_report import head_to_camera_poses
from backend.tracking.detection import topology as topo
from backend.tracking.face.blendshape_fit import project_rig, unproject_landmarks
from backend.tracking.face.calibration import estimate_landmark_bias
from backend.tracking.pose.bundle_adjustment import Poses
from backend.tracking.pose.head_template import HeadTemplate
from backend.tracking.pose.mean_shape import estimate_mean_shape
from backend.tracking.pose.patch_tracker import normalize_contrast
from backend.tracking.tracker import (
    FOCAL_PRIOR_FACE_HEIGHTS,
    TrackingResult,
    estimate_landmark_poses,
    pinhole_intrinsics,
)

FRAME_PAIRS = 100  # pairs of successive frames that are unwrapped
FLOW_BLUR_PIXELS = 6.0  # pixels: what moves skin as a whole, not its grain


def fit_poses_per_frame(landmarks: F64, intrinsics: F64) -> tuple[Poses, F64, F64]:
    """What a pose of each frame's own landmarks (T, 478, 3) gives: poses, the mean mesh (478, 3) and a usual lens.

    Args:
        intrinsics: only the principal point of it is used.
    """
    focal = FOCAL_PRIOR_FACE_HEIGHTS * float(np.median(np.ptp(landmarks[:, :, 1], axis=1)))
    lens, mean = pinhole_intrinsics(focal, (intrinsics[0, 2], intrinsics[1, 2])), estimate_mean_shape(landmarks)
    return estimate_landmark_poses(landmarks[:, :, :2], mean, lens), mean, lens


def landmark_errors(track: TrackingResult, landmarks: F64, size: int) -> dict[str, float]:
    """RMS distances in pixels of a 512² crop between landmarks (T, 478, ≥2) and the mesh of pose and channels.

    `plain` compares as they stand. In the others what the landmark network adds because of turn, lids and jaw
    (`calibrate.network_bias`, fitted on the same frames) is taken out.
    """
    poses, scale, pixels = Poses(*head_to_camera_poses(track)), 512 / size, landmarks[:, :, :2]
    points = track.rig.neutral + np.einsum("tk,kpc->tpc", track.channels, track.rig.shapes, optimize=True)
    plain = pixels - project_points(points, poses.rotation, poses.translation, track.intrinsics)
    seen, slope = unproject_landmarks(
        pixels, track.rig.neutral[:, 2], poses.rotation, poses.translation, track.intrinsics
    )
    metres = seen - project_rig(track.rig, track.channels, slope)
    metres = metres - estimate_landmark_bias(metres, poses.rotation, track.channels, track.rig.neutral)
    unbiased = metres * (track.intrinsics[0, 0] / poses.translation[:, 2])[:, None, None]
    rigid, lips = topo.index_array(*topo.RIGID_LANDMARK_WEIGHTS), topo.index_array(*topo.LIPS)
    return {
        "reprojection_rms_px": scale * rms(track.reprojection),
        "reprojection_plain_rms_px": scale * rms(plain[:, rigid]) * 2**0.5,
        "mesh_rms_px": scale * rms(unbiased) * 2**0.5,
        "mesh_plain_rms_px": scale * rms(plain) * 2**0.5,
        "lips_rms_px": scale * rms(unbiased[:, lips]) * 2**0.5,
        "lips_plain_rms_px": scale * rms(plain[:, lips]) * 2**0.5,
    }


def rms(values: Floats) -> float:
    """Root of the mean square."""
    return float(np.sqrt((values**2).mean()))


def photometric_gains(track: TrackingResult, landmarks: F64, frame: Callable[[int], Image]) -> dict[str, float]:
    """What the rigid face, unwrapped by steadied poses, differs less than unwrapped by `unsteadied` ones, in percent.

    `photometric`: mean absolute difference of the frames from their mean texture, in grey with evened contrast,
    weighted by how rigid each place is. `shake`: the same between successive frames. Both hold what no pose can mend:
    compression, light, wrinkles. `floor` is what is left of the first when steadied frames are laid over their mean by
    dense optical flow instead; `photometric_above_floor` is the percentage without it, the share that a warp can mend.
    """
    poses, mean, lens = fit_poses_per_frame(landmarks, track.intrinsics)
    steady = _photometric_errors(track.rig.neutral, Poses(*head_to_camera_poses(track)), track.intrinsics, frame)
    rough = _photometric_errors(mean, poses, lens, frame)
    return {
        "photometric_less_percent": 100 * (1 - steady.from_mean / rough.from_mean),
        "photometric_above_floor_less_percent": 100
        * (1 - (steady.from_mean - steady.after_flow) / max(rough.from_mean - steady.after_flow, 1e-6)),
        "shake_less_percent": 100 * (1 - steady.from_next_frame / rough.from_next_frame),
        "photometric_grey": steady.from_mean, "photometric_unsteadied_grey": rough.from_mean,
        "photometric_floor_grey": steady.after_flow,
    }  # fmt: skip


@dataclass
class _PhotometricErrors:
    """Grey levels by which unwrapped frames lie off their mean, as they stand and after flow, and off the next one."""

    from_mean: float
    after_flow: float
    from_next_frame: float


def _photometric_errors(neutral: F64, poses: Poses, lens: F64, frame: Callable[[int], Image]) -> _PhotometricErrors:
    count = len(poses.rotation)
    still = np.broadcast_to(np.zeros(1), (count, *neutral.shape))  # the pose alone moves it
    nothing = np.zeros(frame(0).shape[:2], np.float32)
    sheet = HeadTemplate(neutral, still, poses, lens, lambda _: nothing)
    starts = np.unique(np.linspace(0, count - 2, FRAME_PAIRS).astype(int))
    side = max(9, *(v // 8 for v in nothing.shape)) | 1
    shown = [
        [
            normalize_contrast(sheet.patch_tracker.unwrap_frame(frame(t), sheet.compute_warp_map(t, poses)), side)
            for t in (int(s), int(s) + 1)
        ]
        for s in starts
    ]
    mean = np.mean(shown, (0, 1), dtype=np.float32)
    weight = sheet.patch_tracker.weight / sheet.patch_tracker.weight.sum()

    def usual(difference: list[F32]) -> float:
        return float((np.abs(np.stack(difference)).mean(0) * weight).sum())

    return _PhotometricErrors(
        from_mean=usual([g - mean for pair in shown for g in pair]),
        after_flow=usual([_align_by_flow(pair[0], mean) - mean for pair in shown]),
        from_next_frame=usual([b.astype(np.float32) - a for a, b in shown]),
    )


def _align_by_flow(gray: Image, mean: F32) -> F32:
    """The picture (H, W) warped onto `mean` by dense optical flow, smoothed."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(np.rint(mean).astype(np.uint8), gray, None)
    y, x = np.mgrid[: gray.shape[0], : gray.shape[1]].astype(np.float32)
    at = np.stack([x, y], -1) + cv2.GaussianBlur(flow, (0, 0), FLOW_BLUR_PIXELS)
    return cv2.remap(gray.astype(np.float32), at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
