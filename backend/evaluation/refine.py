"""The refined drive: poses and channels of unseen frames, fitted to their pictures while the model stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..contract.progress import Reporter
from ..dataset.clip import Clip, PixelWeights
from ..portrait.model import Portrait
from ..training.config import LossWeights
from ..training.losses import image_loss
from ..training.pose_refinement import PoseRefinement, pose_from_tables


@dataclass(frozen=True)
class PoseFitOptions:
    """How a frame is fitted.

    Attributes:
        first: steps for the first frame; steps: for those that follow, which begin where the last one ended.
        pose, channels: Adam's learning rates (radians and decimetres; 0–1) at the start; they fall to a tenth.
        keep: what a squared change of a channel costs.
    """

    first_frame_steps: int = 60
    next_frame_steps: int = 24
    pose_rate: float = 2e-3
    channel_rate: float = 1.5e-2
    channel_penalty: float = 0.02


def fit_held_out_poses(
    clip: Clip, portrait: Portrait, frame_indices: list[int], reporter: Reporter, options: PoseFitOptions | None = None
) -> dict[str, Tensor]:
    """Tables of poses like `Clip.poses`, re-fitted in `rows`: what the model can show when nothing is lost in tracking.

    The model is not changed. Frames are fitted one after the other.
    """
    options = options or PoseFitOptions()
    refined = {name: table.clone() for name, table in clip.poses.items()}
    for parameter in portrait.parameters():
        parameter.requires_grad_(False)
    last: PoseRefinement | None = None
    for row in reporter.report_items(frame_indices, "refine the held-out frames", len(frame_indices)):
        last = _fit_frame(clip, portrait, row, last, options)
        pose = last.refine_pose(pose_from_tables(clip.poses, row), 0)
        for name in pose._fields:
            refined[name][row] = getattr(pose, name).detach()
    for parameter in portrait.parameters():
        parameter.requires_grad_(True)
    return refined


def _fit_frame(
    clip: Clip, portrait: Portrait, frame_index: int, previous: PoseRefinement | None, options: PoseFitOptions
) -> PoseRefinement:
    """What to add to the tracking of one frame."""
    now = PoseRefinement(1).to(clip.device)
    if previous is not None:
        now.load_state_dict(previous.state_dict())
    sample, weights, tracked = (
        clip.load_training_frame(frame_index, PixelWeights()),
        LossWeights(),
        pose_from_tables(clip.poses, frame_index),
    )
    optimiser = torch.optim.Adam(
        [
            {"params": [now.head, now.torso], "lr": options.pose_rate},
            {"params": [now.channels], "lr": options.channel_rate},
        ]
    )
    count = options.next_frame_steps if previous is not None else options.first_frame_steps
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.1 ** (1 / count))
    for _ in range(count):
        moved = portrait.deform(now.refine_pose(tracked, 0))
        rgb, alpha, _ = portrait.rasterize_features(moved, moved.colors, clip.camera, False)
        picture = rgb + (1 - alpha)[..., None] * sample.plate
        loss = image_loss(picture, sample.image, sample.pixel_weight, weights.ssim)
        loss = loss + options.channel_penalty * now.channels.square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        decay.step()
    return now
