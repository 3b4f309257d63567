"""How much better a portrait becomes by refined poses: the same short training on them and on per-frame poses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from backend.contract.actor_folder import ActorFolder
from backend.contract.arrays import F64
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
from backend.tracking.tracker import TrackingResult, actor_view
from backend.training.config import PRESETS
from backend.training.pose_refinement import pose_from_tables
from backend.training.trainer import train_portrait

from ._pose_agreement import fit_poses_per_frame
from ._preparation import PreparedClip

PRESET = replace(PRESETS["draft"], warm_up_steps=100, cycle_count=1, cycle_steps=150, joint_steps=250)  # half a minute
SEED = 0


def measure_pose_gain(prepared: PreparedClip, resized_folder: Path) -> dict[str, float]:
    """Portrait PSNR of the held-out frames, driven by their tracking, after training on refined and per-frame poses.

    Per-frame poses are what landmarks alone give: head poses of single frames, channels fitted to them, a torso at
    rest. Frames, mattes, seed, preset and steps are the same.

    Args:
        prepared: an actor up to its report.
        resized_folder: a new folder for the actor at the preset's crop size.
    """
    size = min(PRESET.crop_size, prepared.size)
    folder, scale = write_resized_actor(prepared, resized_folder, size), size / prepared.size
    landmarks = prepared.landmarks * scale
    intrinsics = prepared.track.intrinsics * np.array([[scale], [scale], [1.0]])
    refined = measure_held_out_psnr(folder, replace(prepared.track, intrinsics=intrinsics), landmarks)
    rough = measure_held_out_psnr(folder, track_per_frame(landmarks, intrinsics), landmarks)
    return {"psnr_db": refined, "psnr_unsteadied_db": rough, "training_gain_db": refined - rough}


def write_resized_actor(prepared: PreparedClip, target: Path, size: int) -> ActorFolder:
    """Write the actor's frames, mattes and plate at another size, without tracking.

    Args:
        prepared: an actor up to its report.
        target: a new folder.
        size: of the crops, pixels.
    """
    info = prepared.folder.info
    folder, source_store = ActorFolder.create(target, replace(info, size=size)), FrameStore(prepared.folder)
    target_store = FrameStore(folder)
    target_store.make_folders()
    for t in range(info.frame_count):
        frame, matte = source_store.read_frame(t, use_cache=False), source_store.read_matte(t)
        target_store.write_frame(t, cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA))
        target_store.write_matte(t, cv2.resize(matte, (size, size), interpolation=cv2.INTER_AREA))
    plate = cv2.imread(str(prepared.folder.file_path("plate.png")), cv2.IMREAD_UNCHANGED)
    assert plate is not None
    cv2.imwrite(str(folder.file_path("plate.png")), cv2.resize(plate, (size, size), interpolation=cv2.INTER_AREA))
    return folder


def track_per_frame(landmarks: F64, intrinsics: F64) -> TrackingResult:
    """Track from the landmarks of each frame alone.

    Args:
        landmarks: (T, 478, 3) pixels.
        intrinsics: (3, 3), of which only the principal point is used.
    """
    poses, mean_mesh, usual_intrinsics = fit_poses_per_frame(landmarks, intrinsics)
    face = fit_expression(landmarks[:, :, :2], mean_mesh, poses.rotation, poses.translation, usual_intrinsics)
    rest, count = np.median(poses.translation, 0), len(landmarks)
    return TrackingResult(
        intrinsics=usual_intrinsics,
        view=actor_view(rest),
        head_rotation=align_quaternion_signs(quaternion_from_matrix(FLIP_YZ @ poses.rotation)),
        head_translation=(poses.translation - rest) @ FLIP_YZ,
        torso_rotation=np.tile([1.0, 0, 0, 0], (count, 1)),
        torso_translation=np.zeros((count, 3)),
        channels=face.channels,
        rig=face.rig,
        reprojection=np.zeros(count),
    )


def measure_held_out_psnr(folder: ActorFolder, tracking: TrackingResult, landmarks: F64) -> float:
    """Train on these poses and return the mean portrait PSNR of the held-out frames.

    Args:
        folder: of the actor; its tracking is overwritten.
        tracking: of T frames.
        landmarks: (T, 478, ≥2) pixels of the crop.
    """
    write_tracking(folder, tracking, landmarks)
    torch.manual_seed(SEED)
    clip = Clip(folder, torch.device("cpu"))
    colors = median_vertex_colors(landmarks, clip.store)
    portrait = portrait_from_track(tracking, landmarks[:, :, :2], colors, clip.store, PRESET.initial, SEED)
    train_portrait(folder, clip, portrait, PRESET, SEED, Reporter())
    values = []
    with torch.no_grad():
        for t in range(clip.train_frame_count, clip.frame_count):
            comparison = render_comparison(clip, portrait, pose_from_tables(clip.poses, t), t)
            values.append(psnr(weighted_mse(comparison.image, comparison.target, comparison.person_alpha)))
    return float(np.mean(values))
