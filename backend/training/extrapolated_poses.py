"""Head poses beyond the footage, and whether the actor is opaque there: motion consistency that no frame shows."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..contract.arrays import F32, Mask
from ..dataset.clip import Clip
from ..portrait.model import Pose

# How far poses are extrapolated, relative to the footage: larger covers more edits of the animator, but its poses
# resemble the footage less. Not tuned.
EXTRAPOLATION_FACTOR = 1.5
# Weights of a rotation (per radian) and a translation (per metre) in the distance by which frames are ranked: 0.1 m
# counts as much as 1 rad. Not tuned.
ROTATION_WEIGHT_PER_RADIAN = 1.0
TRANSLATION_WEIGHT_PER_METER = 10.0
# `farthest_poses` takes its poses evenly from the farthest frames, one part in this many of all frames.
FARTHEST_SHARE_DIVISOR = 4
# Alpha from which a pixel counts as opaque: less shows the background through.
MIN_SOLID_ALPHA = 0.95
# Alpha that training aims at; above `MIN_SOLID_ALPHA`, so that what falls a little short is still opaque.
TARGET_ALPHA = 0.99
# Alpha from which a pixel lies inside the silhouette.
MIN_SILHOUETTE_ALPHA = 0.5
# The silhouette's rim, this part of the image's side wide, may be soft: hair, wool, moving edges.
RIM_DIVISOR = 48


class PoseExtrapolator:
    """The training frames' poses, with the head rotated and moved against the torso farther than in the footage."""

    def __init__(self, clip: Clip) -> None:
        frame_indices = torch.as_tensor(clip.train_frame_indices)
        self._device = clip.device
        self._pose_tables = {name: values[frame_indices].cpu().double().numpy() for name, values in clip.poses.items()}
        head, self._torso_rotations = (
            Rotation.from_quat(self._pose_tables[f"{part}_rotation"], scalar_first=True) for part in ("head", "torso")
        )
        rotation = self._torso_rotations.inv() * head
        difference = self._pose_tables["head_translation"] - self._pose_tables["torso_translation"]
        shift = self._torso_rotations.inv().apply(difference)
        self._reference_shift = np.median(shift, 0)
        self._reference_rotation = rotation[int(np.argmin((rotation * rotation.mean().inv()).magnitude()))]
        self._rotation_offsets = (rotation * self._reference_rotation.inv()).as_rotvec()
        self._shift_offsets = shift - self._reference_shift
        angles, lengths = (np.linalg.norm(o, axis=1) for o in (self._rotation_offsets, self._shift_offsets))
        distances = ROTATION_WEIGHT_PER_RADIAN * angles + TRANSLATION_WEIGHT_PER_METER * lengths
        self._farthest_first = np.argsort(-distances)

    def farthest_poses(self, count: int) -> list[Pose]:
        """Return at most `count` poses, those of the farthest quarter of the frames times `EXTRAPOLATION_FACTOR`."""
        stride = max(1, len(self._farthest_first) // (FARTHEST_SHARE_DIVISOR * count))
        return [self._extrapolate_pose(i, EXTRAPOLATION_FACTOR) for i in self._farthest_first[::stride][:count]]

    def sample_pose(self, rng: np.random.Generator) -> Pose:
        """Return a random pose: a frame of the farther half, times 1 to `EXTRAPOLATION_FACTOR`."""
        i = int(self._farthest_first[rng.integers(max(1, len(self._farthest_first) // 2))])
        return self._extrapolate_pose(i, float(rng.uniform(1, EXTRAPOLATION_FACTOR)))

    def _extrapolate_pose(self, row: int, factor: float) -> Pose:
        """Return the pose of a row of the tables, its head `factor` times as far from the reference."""
        tables, torso = self._pose_tables, self._torso_rotations[row]
        head = torso * Rotation.from_rotvec(factor * self._rotation_offsets[row]) * self._reference_rotation
        shift = torso.apply(self._reference_shift + factor * self._shift_offsets[row])
        values = (
            head.as_quat(scalar_first=True),
            shift + tables["torso_translation"][row],
            tables["torso_rotation"][row],
            tables["torso_translation"][row],
            tables["channels"][row],
        )
        return Pose(*(torch.as_tensor(value, dtype=torch.float32, device=self._device) for value in values))


def interior_mask(alpha: F32) -> Mask:
    """Return the pixels (S, S) that should be opaque: inside the outline of alpha (S, S), away from its rim."""
    silhouette = (alpha > MIN_SILHOUETTE_ALPHA).astype(np.uint8)
    padded = cv2.copyMakeBorder(silhouette, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    outside = 2
    cv2.floodFill(padded, None, (0, 0), outside)
    inside = (padded[1:-1, 1:-1] != outside).astype(np.uint8)
    extended = cv2.copyMakeBorder(inside, 0, 1, 0, 0, cv2.BORDER_REPLICATE)  # the lower edge of the image is no outline
    rim = max(1, len(alpha) // RIM_DIVISOR)
    return np.asarray(cv2.erode(extended, np.ones((2 * rim + 1, 2 * rim + 1)))[:-1] > 0)


def count_hole_pixels(alpha: F32) -> int:
    """Return the number of pixels of alpha (S, S) inside its outline that are not opaque."""
    return int(((alpha < MIN_SOLID_ALPHA) & interior_mask(alpha)).sum())


def hole_loss(alpha: Tensor) -> Tensor:
    """Return how far alpha (S, S) falls short of `TARGET_ALPHA` inside its outline, as a mean over the image."""
    interior = torch.from_numpy(interior_mask(alpha.detach().cpu().numpy())).to(alpha.device)
    return ((TARGET_ALPHA - alpha).clamp_min(0) * interior).mean()
