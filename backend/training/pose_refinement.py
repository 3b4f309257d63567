"""Refinement of the tracking during training: a small rotation, translation and channel correction per frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..compute.rotations import quaternion_from_small_rotation, quaternion_multiply
from ..contract.channels import CHANNELS
from ..portrait.model import Pose

CORRECTION_NAMES = ("head", "torso", "channels")
# Unit of the translations: rotations (radians) and translations of the same visible size then have parameters of the
# same size, and one learning rate serves both.
METERS_PER_DECIMETER = 0.1
# Frames to either side that follow a frame's step: more smooth the corrections over time. Not tuned.
NEIGHBOR_FRAMES = 3
# Share of the step that is passed on from frame to frame: smaller keeps corrections more local. Not tuned.
NEIGHBOR_DECAY = 0.6
# Share of the mean squared gradient that each step keeps: larger averages over more frames. Not tuned.
POWER_DECAY = 0.99
# Upper limit of a refined channel: above 1, a frame can exceed the largest tracked expression. Not tuned.
MAX_REFINED_CHANNEL = 1.2
# Keeps the normalized step finite where a parameter has never had a gradient.
MIN_GRADIENT_SCALE = 1e-12


class PoseRefinement(nn.Module):
    """Corrections per frame.

    Attributes:
        head: (T, 6) rotation in radians and translation in decimetres of the head.
        torso: (T, 6) the same of the torso.
        channels: (T, 52) differences of the channels.
        visits: () number of steps so far.
    """

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
        """Step one frame against its gradients of the last backward pass, and clear them.

        A frame is seen a few times only, so Adam's moments of it would be noise. A step is as long as the frame's
        gradient relative to the root mean square of all frames' gradients. Tracking errors change slowly (tracking is
        smoothed), so neighbouring frames follow.

        Args:
            frame_index: the frame.
            learning_rates: for each of `CORRECTION_NAMES`, the step at a usual gradient.
        """
        if self.head.grad is None:  # the step used the tracked pose
            return
        self.visits += 1
        for name in CORRECTION_NAMES:
            table, power = getattr(self, name), getattr(self, f"{name}_power")
            gradient = table.grad[frame_index]
            power.mul_(POWER_DECAY).add_((1 - POWER_DECAY) * gradient.square())
            usual = (power / (1 - POWER_DECAY**self.visits)).sqrt() + MIN_GRADIENT_SCALE
            for distance in range(-NEIGHBOR_FRAMES, NEIGHBOR_FRAMES + 1):
                if 0 <= frame_index + distance < len(table):
                    step = learning_rates[name] * NEIGHBOR_DECAY ** abs(distance)
                    table[frame_index + distance] -= step * gradient / usual
            table.grad = None

    def refine_pose(self, pose: Pose, frame_index: int) -> Pose:
        """Return the tracked pose of a frame with its corrections."""
        head, torso = self.head[frame_index], self.torso[frame_index]
        return Pose(
            quaternion_multiply(quaternion_from_small_rotation(head[:3]), pose.head_rotation),
            pose.head_translation + head[3:] * METERS_PER_DECIMETER,
            quaternion_multiply(quaternion_from_small_rotation(torso[:3]), pose.torso_rotation),
            pose.torso_translation + torso[3:] * METERS_PER_DECIMETER,
            (pose.channels + self.channels[frame_index]).clamp(0, MAX_REFINED_CHANNEL),
        )


def pose_from_tables(poses: dict[str, Tensor], frame_index: int) -> Pose:
    """Return one frame of pose tables that are keyed by the fields of `Pose`."""
    return Pose(*(poses[name][frame_index] for name in Pose._fields))
