"""What training may correct in the tracking: a small turn, shift and channel change per training frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..compute.rotations import quaternion_multiply, small_rotation
from ..contract.channels import CHANNELS
from ..portrait.model import Pose

TABLES = ("head", "torso", "channels")
DECIMETRE = 0.1  # so that turns and shifts of the same visible size have parameters of the same size
REACH, FADE = 3, 0.6  # frames to either side that learn from a frame too, each by this share of the one before
MEMORY = 0.99  # of the mean squared gradients


class Corrections(nn.Module):
    """Per frame: head turn (radians) and shift (decimetres), the same for the torso, and channels."""

    visits: Tensor

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.head = nn.Parameter(torch.zeros(frames, 6))
        self.torso = nn.Parameter(torch.zeros(frames, 6))
        self.channels = nn.Parameter(torch.zeros(frames, len(CHANNELS)))
        for name in TABLES:
            self.register_buffer(f"{name}_power", torch.zeros(getattr(self, name).shape[1]))
        self.register_buffer("visits", torch.zeros(()))

    @torch.no_grad()
    def learn(self, row: int, rates: dict[str, float]) -> None:
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
        for name in TABLES:
            table, power = getattr(self, name), getattr(self, f"{name}_power")
            slope = table.grad[row]
            power.mul_(MEMORY).add_((1 - MEMORY) * slope.square())
            usual = (power / (1 - MEMORY**self.visits)).sqrt() + 1e-12
            for apart in range(-REACH, REACH + 1):
                if 0 <= row + apart < len(table):
                    table[row + apart] -= rates[name] * FADE ** abs(apart) * slope / usual
            table.grad = None

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
