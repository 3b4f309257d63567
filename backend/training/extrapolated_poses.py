"""Head poses beyond the footage, and whether the actor is solid there: the motion consistency that no frame shows."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..contract.arrays import F32, Mask
from ..dataset.clip import Clip
from ..portrait.model import Pose

EXTRAPOLATION_FACTOR = 1.5
RADIAN_WEIGHT, METER_WEIGHT = 1.0, 10.0  # what a turn and a shift count for in "farthest"
MIN_SOLID_ALPHA = 0.95
TARGET_ALPHA = 0.99  # alpha that training asks for, so that what it misses is solid still
RIM_DIVISOR = 48  # the silhouette's rim, a 48th of the picture's side wide, may be soft: hair, wool, moving edges


class PoseExtrapolator:
    """The training frames' poses with the head turned and shifted against the torso further than it was."""

    def __init__(self, clip: Clip) -> None:
        rows = torch.as_tensor(clip.train_frame_indices)
        self._device = clip.device
        self._pose_tables = {name: values[rows].cpu().double().numpy() for name, values in clip.poses.items()}
        head, self._torso_rotations = (
            Rotation.from_quat(self._pose_tables[f"{k}_rotation"], scalar_first=True) for k in ("head", "torso")
        )
        turn = self._torso_rotations.inv() * head
        apart = self._pose_tables["head_translation"] - self._pose_tables["torso_translation"]
        shift = self._torso_rotations.inv().apply(apart)
        self._reference_shift = np.median(shift, 0)
        self._reference_rotation = turn[int(np.argmin((turn * turn.mean().inv()).magnitude()))]
        self._rotation_offsets, self._shift_offsets = (
            (turn * self._reference_rotation.inv()).as_rotvec(),
            shift - self._reference_shift,
        )
        distance = RADIAN_WEIGHT * np.linalg.norm(self._rotation_offsets, axis=1) + METER_WEIGHT * np.linalg.norm(
            self._shift_offsets, axis=1
        )
        self._farthest_first = np.argsort(-distance)

    def farthest_poses(self, count: int) -> list[Pose]:
        """At most `count` poses, `FACTOR` times as far out as those of the farthest quarter of the frames."""
        return [
            self._extrapolate_pose(i, EXTRAPOLATION_FACTOR)
            for i in self._farthest_first[:: max(1, len(self._farthest_first) // (4 * count))][:count]
        ]

    def sample_pose(self, rng: np.random.Generator) -> Pose:
        """A random one: some frame of the farther half, up to `FACTOR` times as far out."""
        i = int(self._farthest_first[rng.integers(max(1, len(self._farthest_first) // 2))])
        return self._extrapolate_pose(i, float(rng.uniform(1, EXTRAPOLATION_FACTOR)))

    def _extrapolate_pose(self, frame_index: int, factor: float) -> Pose:
        table, torso = self._pose_tables, self._torso_rotations[frame_index]
        head = torso * Rotation.from_rotvec(factor * self._rotation_offsets[frame_index]) * self._reference_rotation
        moved = (
            torso.apply(self._reference_shift + factor * self._shift_offsets[frame_index])
            + table["torso_translation"][frame_index]
        )
        values = (
            head.as_quat(scalar_first=True),
            moved,
            table["torso_rotation"][frame_index],
            table["torso_translation"][frame_index],
            table["channels"][frame_index],
        )
        return Pose(*(torch.as_tensor(v, dtype=torch.float32, device=self._device) for v in values))


def interior_mask(alpha: F32) -> Mask:
    """Where an alpha (S, S) ought to be solid: (S, S) within the outline, away from its rim."""
    padded = cv2.copyMakeBorder((alpha > 0.5).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    cv2.floodFill(padded, None, (0, 0), 2)
    within = (padded[1:-1, 1:-1] != 2).astype(np.uint8)
    below = cv2.copyMakeBorder(within, 0, 1, 0, 0, cv2.BORDER_REPLICATE)  # the picture's lower edge is no outline
    reach = max(1, len(alpha) // RIM_DIVISOR)
    return np.asarray(cv2.erode(below, np.ones((2 * reach + 1, 2 * reach + 1)))[:-1] > 0)


def count_hole_pixels(alpha: F32) -> int:
    """Pixels of alpha (S, S) that are not solid although they lie inside the outline."""
    return int(((alpha < MIN_SOLID_ALPHA) & interior_mask(alpha)).sum())


def hole_loss(alpha: Tensor) -> Tensor:
    """How far alpha (S, S) is from solid inside its own outline, mean over the picture."""
    within = torch.from_numpy(interior_mask(alpha.detach().cpu().numpy())).to(alpha.device)
    return ((TARGET_ALPHA - alpha).clamp_min(0) * within).mean()
