"""What training may correct in the tracking: a small turn, shift and channel change per training frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..compute.rotations import quaternion_from_small_rotation, quaternion_multiply
from ..contract.channels import CHANNELS
from ..portrait.model import Pose

CORRECTION_NAMES = ("head", "torso", "channels")
METERS_PER_DECIMETER = 0.1  # so that turns and shifts of the same visible size have parameters of the same size
NEIGHBOR_FRAMES, NEIGHBOR_DECAY = (
    3,
    0.6,
)  # frames to either side that learn from a frame too, each by this share of the one before
POWER_DECAY = 0.99  # of the mean squared gradients


class PoseRefinement(nn.Module):
    """Per frame: head turn (radians) and shift (decimetres), the same for the torso, and channels."""

    visits: Tensor

    def __init__(self, frame_count: int) -> None:
        super().__init__()
        self.head = nn.Parameter(torch.zeros(frame_count, 6))
        self.torso = nn.Parameter(torch.zeros(frame_count, 6))
        self.channels = nn.Parameter(torch.zeros(frame_count, len(CHANNELS)))
        for name in CORRECTION_NAMES:
            self.register_buffer(f"{name}_power", torch.zeros(getattr(self, name).shape[1]))
        self.register_buffer("visits", torch.zeros(()))

    @torch.no_grad()
    def update_frame(self, frame_index: int, learning_rates: dict[str, float]) -> None:
        """Steps frame `row` against its gradients, which one backward pass left, and forgets them.

        A frame is seen a few times only, so what Adam would remember of it is noise: a step is as long as the frame's
        gradient against the mean square of all frames' gradients. Errors of tracking change slowly (it is smoothed),
        so neighbouring frames follow.

        Args:
            rates: for each of `TABLES`, the step at a usual gradient.
        """
        if self.head.grad is None:  # a step on poses as they were tracked
            return
        self.visits += 1
        for name in CORRECTION_NAMES:
            table, power = getattr(self, name), getattr(self, f"{name}_power")
            slope = table.grad[frame_index]
            power.mul_(POWER_DECAY).add_((1 - POWER_DECAY) * slope.square())
            usual = (power / (1 - POWER_DECAY**self.visits)).sqrt() + 1e-12
            for apart in range(-NEIGHBOR_FRAMES, NEIGHBOR_FRAMES + 1):
                if 0 <= frame_index + apart < len(table):
                    table[frame_index + apart] -= learning_rates[name] * NEIGHBOR_DECAY ** abs(apart) * slope / usual
            table.grad = None

    def refine_pose(self, pose: Pose, frame_index: int) -> Pose:
        """The tracked pose of frame `row`, corrected."""
        head, torso = self.head[frame_index], self.torso[frame_index]
        return Pose(
            quaternion_multiply(quaternion_from_small_rotation(head[:3]), pose.head_rotation),
            pose.head_translation + head[3:] * METERS_PER_DECIMETER,
            quaternion_multiply(quaternion_from_small_rotation(torso[:3]), pose.torso_rotation),
            pose.torso_translation + torso[3:] * METERS_PER_DECIMETER,
            (pose.channels + self.channels[frame_index]).clamp(0, 1.2),
        )


def pose_from_tables(poses: dict[str, Tensor], frame_index: int) -> Pose:
    """Row `row` of tables of poses keyed by the fields of `Pose`."""
    return Pose(*(poses[name][frame_index] for name in Pose._fields))
