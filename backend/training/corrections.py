"""What training may correct in the tracking: a small turn, shift and channel change per training frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..channels import CHANNELS
from ..model.portrait import Pose
from ..model.transforms import quaternion_multiply, small_rotation

DECIMETRE = 0.1  # so that turns and shifts of the same visible size have parameters of the same size


class Corrections(nn.Module):
    """Per frame: head turn (radians) and shift (decimetres), the same for the torso, and channels."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.head = nn.Parameter(torch.zeros(frames, 6))
        self.torso = nn.Parameter(torch.zeros(frames, 6))
        self.channels = nn.Parameter(torch.zeros(frames, len(CHANNELS)))

    def apply_to(self, pose: Pose, row: int) -> Pose:
        """The tracked pose of frame `row`, corrected."""
        head, torso = self.head[row], self.torso[row]
        return Pose(
            quaternion_multiply(small_rotation(head[:3]), pose.head_rotation),
            pose.head_translation + head[3:] * DECIMETRE,
            quaternion_multiply(small_rotation(torso[:3]), pose.torso_rotation),
            pose.torso_translation + torso[3:] * DECIMETRE,
            (pose.channels + self.channels[row]).clamp(0, 1.2),
        )


def tracked_pose(poses: dict[str, Tensor], row: int) -> Pose:
    """Row `row` of tables of poses keyed by the fields of `Pose`."""
    return Pose(*(poses[name][row] for name in Pose._fields))
