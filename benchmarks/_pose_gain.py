"""What steadied poses are worth: the same short training on them and on unsteadied ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from backend.contract.actor_folder import ActorFolder
from backend.contract.geometry import FLIP, quaternion_from_matrix
from backend.contract.progress import Reporter
from backend.dataset.clip import Clip
from backend.dataset.frame_store import FrameStore
from backend.dataset.landmark_colors import vertex_colours
from backend.evaluation.evaluate import draw
from backend.evaluation.metrics import psnr, weighted_mse
from backend.portrait.initialization import seed_portrait
from backend.tracking.face.blendshape_fit import solve_expression
from backend.tracking.storage import write_tracking
from backend.tracking.tracker import Track, continuous
from backend.training.config import PRESETS
from backend.training.pose_refinement import tracked_pose
from backend.training.trainer import train

from ._pose_agreement import F64, unsteadied
from ._preparation import Prepared

PRESET = replace(PRESETS["draft"], warm_up=100, cycles=1, cycle=150, joint=250)  # half a minute
SEED = 0


def gain_db(prepared: Prepared, place: Path) -> dict[str, float]:
    """Portrait PSNR of the held-out frames, driven by their own tracking, after training on either poses.

    Unsteadied is what landmarks alone give: head poses of single frames, channels fitted to them, a torso at rest.
    Frames, mattes, seed, preset and steps are the same.
    """
    size = min(PRESET.size, prepared.size)
    folder, scale = smaller(prepared, place, size), size / prepared.size
    landmarks = prepared.landmarks * scale
    lens = prepared.track.intrinsics * np.array([[scale], [scale], [1.0]])
    steady = held_out_psnr(folder, replace(prepared.track, intrinsics=lens), landmarks)
    rough = held_out_psnr(folder, unsteadied_track(landmarks, lens), landmarks)
    return {"psnr_db": steady, "psnr_unsteadied_db": rough, "training_gain_db": steady - rough}


def smaller(prepared: Prepared, place: Path, size: int) -> ActorFolder:
    """The actor's frames, mattes and plate at another size, without tracking."""
    info = prepared.folder.info
    folder, store = ActorFolder.create(place, replace(info, size=size)), FrameStore(prepared.folder)
    made = FrameStore(folder)
    made.make_folders()
    for t in range(info.frame_count):
        made.write_frame(t, cv2.resize(store.frame(t, keep=False), (size, size), interpolation=cv2.INTER_AREA))
        made.write_matte(t, cv2.resize(store.matte(t), (size, size), interpolation=cv2.INTER_AREA))
    plate = cv2.imread(str(prepared.folder.file("plate.png")), cv2.IMREAD_UNCHANGED)
    assert plate is not None
    cv2.imwrite(str(folder.file("plate.png")), cv2.resize(plate, (size, size), interpolation=cv2.INTER_AREA))
    return folder


def unsteadied_track(landmarks: F64, intrinsics: F64) -> Track:
    """A track from each frame's landmarks (T, 478, 3) alone."""
    poses, mean, lens = unsteadied(landmarks, intrinsics)
    face = solve_expression(landmarks[:, :, :2], mean, poses.rotation, poses.translation, lens)
    rest, count = np.median(poses.translation, 0), len(landmarks)
    view = np.eye(4)
    view[:3, :3], view[:3, 3] = FLIP, rest
    return Track(
        intrinsics=lens, view=view,
        head_rotation=continuous(quaternion_from_matrix(FLIP @ poses.rotation)),
        head_translation=(poses.translation - rest) @ FLIP,
        torso_rotation=np.tile([1.0, 0, 0, 0], (count, 1)), torso_translation=np.zeros((count, 3)),
        channels=face.channels, rig=face.rig, reprojection=np.zeros(count),
    )  # fmt: skip


def held_out_psnr(folder: ActorFolder, track: Track, landmarks: F64) -> float:
    """Trains on these poses and measures the portrait in the frames that were held out."""
    write_tracking(folder, track, landmarks)
    torch.manual_seed(SEED)
    clip = Clip(folder, torch.device("cpu"))
    colours = vertex_colours(landmarks, clip.store)
    portrait = seed_portrait(track, landmarks[:, :, :2], colours, clip.store, PRESET.initial, SEED)
    train(folder, clip, portrait, PRESET, SEED, Reporter())
    values = []
    with torch.no_grad():
        for row in range(clip.train_count, clip.count):
            shown = draw(clip, portrait, tracked_pose(clip.poses, row), row)
            values.append(psnr(weighted_mse(shown.picture, shown.target, shown.person)))
    return float(np.mean(values))
