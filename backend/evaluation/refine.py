"""The refined drive: poses and channels of unseen frames, fitted to their pictures while the model stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..contract.progress import Reporter
from ..dataset.clip import Clip, PixelWeights
from ..portrait.model import Portrait
from ..training.config import Weights
from ..training.losses import picture_loss
from ..training.pose_refinement import Corrections, tracked_pose


@dataclass(frozen=True)
class Fit:
    """How a frame is fitted.

    Attributes:
        first: steps for the first frame; steps: for those that follow, which begin where the last one ended.
        pose, channels: Adam's learning rates (radians and decimetres; 0–1) at the start; they fall to a tenth.
        keep: what a squared change of a channel costs.
    """

    first: int = 60
    steps: int = 24
    pose: float = 2e-3
    channels: float = 1.5e-2
    keep: float = 0.02


def refined_poses(
    clip: Clip, portrait: Portrait, rows: list[int], reporter: Reporter, fit: Fit | None = None
) -> dict[str, Tensor]:
    """Tables of poses like `Clip.poses`, re-fitted in `rows`: what the model can show when nothing is lost in tracking.

    The model is not changed. Frames are fitted one after the other.
    """
    fit = fit or Fit()
    refined = {name: table.clone() for name, table in clip.poses.items()}
    for parameter in portrait.parameters():
        parameter.requires_grad_(False)
    last: Corrections | None = None
    for row in reporter.track(rows, "refine the held-out frames", len(rows)):
        last = _fit_frame(clip, portrait, row, last, fit)
        pose = last.apply_to(tracked_pose(clip.poses, row), 0)
        for name in pose._fields:
            refined[name][row] = getattr(pose, name).detach()
    for parameter in portrait.parameters():
        parameter.requires_grad_(True)
    return refined


def _fit_frame(clip: Clip, portrait: Portrait, row: int, last: Corrections | None, fit: Fit) -> Corrections:
    """What to add to the tracking of one frame."""
    now = Corrections(1).to(clip.device)
    if last is not None:
        now.load_state_dict(last.state_dict())
    sample, weights, tracked = clip.sample(row, PixelWeights()), Weights(), tracked_pose(clip.poses, row)
    optimiser = torch.optim.Adam(
        [{"params": [now.head, now.torso], "lr": fit.pose}, {"params": [now.channels], "lr": fit.channels}]
    )
    count = fit.steps if last is not None else fit.first
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.1 ** (1 / count))
    for _ in range(count):
        moved = portrait.move(now.apply_to(tracked, 0))
        rgb, alpha, _ = portrait.draw(moved, moved.colours, clip.view, clip.intrinsics, clip.size, clip.size, False)
        picture = rgb + (1 - alpha)[..., None] * sample.plate
        loss = picture_loss(picture, sample.picture, sample.weight, weights.ssim)
        loss = loss + fit.keep * now.channels.square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        decay.step()
    return now
