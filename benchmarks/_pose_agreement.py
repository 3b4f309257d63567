"""How far recovered poses agree with landmarks and picture where there is no truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from backend.tracking.pose.initial_pose.bundle_adjustment import Poses
from backend.tracking.pose.initial_pose.head_template import HeadSheet
from backend.tracking.pose.initial_pose.mean_shape import mean_shape
from backend.tracking.pose.initial_pose.patch_tracker import even_grey
from numpy.typing import NDArray

from backend.contract.geometry import project
from backend.tracking.channel_report import head_to_camera
from backend.tracking.detection import topology as topo
from backend.tracking.face.blendshape_fit import rig_landmarks, unpose
from backend.tracking.face.calibration import network_bias
from backend.tracking.tracker import FACE_HEIGHTS_PER_FOCAL, Track, pinhole, rough_poses

F64 = NDArray[np.float64]
Picture = NDArray[np.uint8]
Grey = NDArray[np.float32]
PAIRS = 100  # pairs of successive frames that are unwrapped
FLOW_BLUR = 6.0  # pixels: what moves skin as a whole, not its grain


def unsteadied(landmarks: F64, intrinsics: F64) -> tuple[Poses, F64, F64]:
    """What a pose of each frame's own landmarks (T, 478, 3) gives: poses, the mean mesh (478, 3) and a usual lens.

    Args:
        intrinsics: only the principal point of it is used.
    """
    focal = FACE_HEIGHTS_PER_FOCAL * float(np.median(np.ptp(landmarks[:, :, 1], axis=1)))
    lens, mean = pinhole(focal, (intrinsics[0, 2], intrinsics[1, 2])), mean_shape(landmarks)
    return rough_poses(landmarks[:, :, :2], mean, lens), mean, lens


def landmark_errors(track: Track, landmarks: F64, size: int) -> dict[str, float]:
    """RMS distances in pixels of a 512² crop between landmarks (T, 478, ≥2) and the mesh of pose and channels.

    `plain` compares as they stand. In the others what the landmark network adds because of turn, lids and jaw
    (`calibrate.network_bias`, fitted on the same frames) is taken out.
    """
    poses, scale, pixels = Poses(*head_to_camera(track)), 512 / size, landmarks[:, :, :2]
    points = track.rig.neutral + np.einsum("tk,kpc->tpc", track.channels, track.rig.shapes, optimize=True)
    plain = pixels - project(points, poses.rotation, poses.translation, track.intrinsics)
    seen, slope = unpose(pixels, track.rig.neutral[:, 2], poses.rotation, poses.translation, track.intrinsics)
    metres = seen - rig_landmarks(track.rig, track.channels, slope)
    metres = metres - network_bias(metres, poses.rotation, track.channels, track.rig.neutral)
    unbiased = metres * (track.intrinsics[0, 0] / poses.translation[:, 2])[:, None, None]
    rigid, lips = topo.indices(*topo.RIGID), topo.indices(*topo.LIPS)
    return {
        "reprojection_rms_px": scale * rms(track.reprojection),
        "reprojection_plain_rms_px": scale * rms(plain[:, rigid]) * 2**0.5,
        "mesh_rms_px": scale * rms(unbiased) * 2**0.5,
        "mesh_plain_rms_px": scale * rms(plain) * 2**0.5,
        "lips_rms_px": scale * rms(unbiased[:, lips]) * 2**0.5,
        "lips_plain_rms_px": scale * rms(plain[:, lips]) * 2**0.5,
    }


def rms(values: NDArray[np.floating[Any]]) -> float:
    """Root of the mean square."""
    return float(np.sqrt((values**2).mean()))


def photometric(track: Track, landmarks: F64, frame: Callable[[int], Picture]) -> dict[str, float]:
    """What the rigid face, unwrapped by steadied poses, differs less than unwrapped by `unsteadied` ones, in percent.

    `photometric`: mean absolute difference of the frames from their mean texture, in grey with evened contrast,
    weighted by how rigid each place is. `shake`: the same between successive frames. Both hold what no pose can mend:
    compression, light, wrinkles. `floor` is what is left of the first when steadied frames are laid over their mean by
    dense optical flow instead; `photometric_above_floor` is the percentage without it, the share that a warp can mend.
    """
    poses, mean, lens = unsteadied(landmarks, track.intrinsics)
    steady = _differences(track.rig.neutral, Poses(*head_to_camera(track)), track.intrinsics, frame)
    rough = _differences(mean, poses, lens, frame)
    return {
        "photometric_less_percent": 100 * (1 - steady.apart / rough.apart),
        "photometric_above_floor_less_percent": 100
        * (1 - (steady.apart - steady.floor) / max(rough.apart - steady.floor, 1e-6)),
        "shake_less_percent": 100 * (1 - steady.shake / rough.shake),
        "photometric_grey": steady.apart, "photometric_unsteadied_grey": rough.apart,
        "photometric_floor_grey": steady.floor,
    }  # fmt: skip


@dataclass
class _Differences:
    """Grey levels by which unwrapped frames lie off their mean, as they stand and after flow, and off the next one."""

    apart: float
    floor: float
    shake: float


def _differences(neutral: F64, poses: Poses, lens: F64, frame: Callable[[int], Picture]) -> _Differences:
    count = len(poses.rotation)
    still = np.broadcast_to(np.zeros(1), (count, *neutral.shape))  # the pose alone moves it
    nothing = np.zeros(frame(0).shape[:2], np.float32)
    sheet = HeadSheet(neutral, still, poses, lens, lambda _: nothing)
    starts = np.unique(np.linspace(0, count - 2, PAIRS).astype(int))
    side = max(9, *(v // 8 for v in nothing.shape)) | 1
    shown = [
        [even_grey(sheet.surface.unwrap(frame(t), sheet.where(t, poses)), side) for t in (int(s), int(s) + 1)]
        for s in starts
    ]
    mean = np.mean(shown, (0, 1), dtype=np.float32)
    weight = sheet.surface.weight / sheet.surface.weight.sum()

    def usual(difference: list[Grey]) -> float:
        return float((np.abs(np.stack(difference)).mean(0) * weight).sum())

    return _Differences(
        apart=usual([g - mean for pair in shown for g in pair]),
        floor=usual([_laid_over(pair[0], mean) - mean for pair in shown]),
        shake=usual([b.astype(np.float32) - a for a, b in shown]),
    )


def _laid_over(grey: Picture, mean: Grey) -> Grey:
    """The picture (H, W) warped onto `mean` by dense optical flow, smoothed."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(np.rint(mean).astype(np.uint8), grey, None)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
    at = np.stack([x, y], -1) + cv2.GaussianBlur(flow, (0, 0), FLOW_BLUR)
    return cv2.remap(grey.astype(np.float32), at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
