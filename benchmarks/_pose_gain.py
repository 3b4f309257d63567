"""What steadied poses are worth: the same short training on them and on unsteadied ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from backend.contract.actor_folder import ActorFolder
from backend.contract.geometry import FLIP_YZ, align_quaternion_signs, quaternion_from_matrix
from backend.contract.progress import Reporter
from backend.dataset.clip import Clip
from backend.dataset.frame_store import FrameStore
from backend.dataset.landmark_colors import median_vertex_colors
from backend.evaluation.evaluate import render_comparison
from backend.evaluation.metrics import psnr, weighted_mse
from backend.portrait.initialization import portrait_from_track
from backend.tracking.face.blendshape_fit import fit_expression
from backend.tracking.storage import write_tracking
from backend.tracking.tracker import TrackingResult
from backend.training.config import PRESETS
from backend.training.pose_refinement import pose_from_tables
from backend.training.trainer import train_portrait

from ._pose_agreement import F64, fit_poses_per_frame
from ._preparation import PreparedClip

PRESET = replace(PRESETS["draft"], warm_up_steps=100, cycle_count=1, cycle_steps=150, joint_steps=250)  # half a minute
SEED = 0


def measure_pose_gain(prepared: PreparedClip, resized_folder: Path) -> dict[str, float]:
    """Portrait PSNR of the held-out frames, driven by their own tracking, after training on either poses.

    Unsteadied is what landmarks alone give: head poses of single frames, channels fitted to them, a torso at rest.
    Frames, mattes, seed, preset and steps are the same.
    """
    size = min(PRESET.crop_size, prepared.size)
    folder, scale = write_resized_actor(prepared, resized_folder, size), size / prepared.size
    landmarks = prepared.landmarks * scale
    lens = prepared.track.intrinsics * np.array([[scale], [scale], [1.0]])
    steady = measure_held_out_psnr(folder, replace(prepared.track, intrinsics=lens), landmarks)
    rough = measure_held_out_psnr(folder, fit_track_per_frame(landmarks, lens), landmarks)
    return {"psnr_db": steady, "psnr_unsteadied_db": rough, "training_gain_db": steady - rough}


def write_resized_actor(prepared: PreparedClip, target: Path, size: int) -> ActorFolder:
    """The actor's frames, mattes and plate at another size, without tracking."""
    info = prepared.folder.info
    folder, store = ActorFolder.create(target, replace(info, size=size)), FrameStore(prepared.folder)
    made = FrameStore(folder)
    made.make_folders()
    for t in range(info.frame_count):
        made.write_frame(
            t, cv2.resize(store.read_frame(t, use_cache=False), (size, size), interpolation=cv2.INTER_AREA)
        )
        made.write_matte(t, cv2.resize(store.read_matte(t), (size, size), interpolation=cv2.INTER_AREA))
    plate = cv2.imread(str(prepared.folder.file_path("plate.png")), cv2.IMREAD_UNCHANGED)
    assert plate is not None
    cv2.imwrite(str(folder.file_path("plate.png")), cv2.resize(plate, (size, size), interpolation=cv2.INTER_AREA))
    return folder


def fit_track_per_frame(landmarks: F64, intrinsics: F64) -> TrackingResult:
    """A track from each frame's landmarks (T, 478, 3) alone."""
    poses, mean, lens = fit_poses_per_frame(landmarks, intrinsics)
    face = fit_expression(landmarks[:, :, :2], mean, poses.rotation, poses.translation, lens)
    rest, count = np.median(poses.translation, 0), len(landmarks)
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = FLIP_YZ, rest
    return TrackingResult(
        intrinsics=lens, view=view,
        head_rotation=align_quaternion_signs(quaternion_from_matrix(FLIP_YZ @ poses.rotation)),
        head_translation=(poses.translation - rest) @ FLIP_YZ,
        torso_rotation=np.tile([1.0, 0, 0, 0], (count, 1)), torso_translation=np.zeros((count, 3)),
        channels=face.channels, rig=face.rig, reprojection=np.zeros(count),
    )  # fmt: skip


def measure_held_out_psnr(folder: ActorFolder, track: TrackingResult, landmarks: F64) -> float:
    """Trains on these poses and measures the portrait in the frames that were held out."""
    write_tracking(folder, track, landmarks)
    torch.manual_seed(SEED)
    clip = Clip(folder, torch.device("cpu"))
    colours = median_vertex_colors(landmarks, clip.store)
    portrait = portrait_from_track(track, landmarks[:, :, :2], colours, clip.store, PRESET.initial, SEED)
    train_portrait(folder, clip, portrait, PRESET, SEED, Reporter())
    values = []
    with torch.no_grad():
        for row in range(clip.train_frame_count, clip.frame_count):
            shown = render_comparison(clip, portrait, pose_from_tables(clip.poses, row), row)
            values.append(psnr(weighted_mse(shown.image, shown.target, shown.person_alpha)))
    return float(np.mean(values))
