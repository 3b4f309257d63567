"""Densification and pruning: Gaussians go where the picture is still wrong, within the preset's budget.

Each Gaussian is charged with the error of the pixels it colours, in proportion to its share of them (as in Rota Bulò et
al., "Revising densification in Gaussian splatting", 2024). Those that carry most are split in two along their longest
axis; those that have become transparent are taken out. What is only hidden (teeth, the neck behind the jaw) stays.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..compute.rotations import rotation_matrix
from ..dataset.clip import Clip
from ..portrait.model import Portrait
from .config import LossWeights
from .pose_refinement import PoseRefinement, pose_from_tables

MAX_SAMPLED_FRAMES = 24  # looked at for each decision
SPLIT_OFFSET_SCALE, SPLIT_SIZE_SCALE = (
    0.55,
    0.6,
)  # of the longest axis: how far the halves move out, and their own share of it
MIN_OPACITY = 0.01  # opacity under which a Gaussian colours nothing


@torch.no_grad()
def plan_densification(
    clip: Clip,
    portrait: Portrait,
    refinement: PoseRefinement,
    weights: LossWeights,
    max_gaussians: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Which Gaussians there shall be.

    Returns:
        source (N',): the Gaussian of now that each becomes; those that are split stand twice, the second time at the
        end. halves (H, 2): rows of `source` that are two halves of the same Gaussian.
    """
    error = accumulate_gaussian_errors(clip, portrait, refinement, weights, rng)
    source = torch.nonzero(torch.sigmoid(portrait.opacity_logits) > MIN_OPACITY).squeeze(1)
    count = min(max(max_gaussians - len(source), 0), len(source))
    worst = torch.topk(error[source], count).indices
    halves = torch.stack([worst, len(source) + torch.arange(count, device=source.device)], 1)
    return torch.cat([source, source[worst]]), halves


@torch.no_grad()
def split_gaussians(portrait: Portrait, split_pairs: Tensor) -> None:
    """Moves the two halves (H, 2) of each split Gaussian apart and makes them shorter."""
    first, second = split_pairs.unbind(1)
    longest = portrait.log_scales[first].argmax(1)
    axis = rotation_matrix(portrait.quats[first]).gather(2, longest[:, None, None].expand(-1, 3, 1)).squeeze(2)
    along = axis * (SPLIT_OFFSET_SCALE * portrait.log_scales[first].exp().gather(1, longest[:, None]))
    portrait.means[first] += along
    portrait.means[second] -= along
    for half in (first, second):
        portrait.log_scales[half, longest] += float(np.log(SPLIT_SIZE_SCALE))


def accumulate_gaussian_errors(
    clip: Clip, portrait: Portrait, refinement: PoseRefinement, weights: LossWeights, rng: np.random.Generator
) -> Tensor:
    """(N,) weighted error that each Gaussian carries, summed over some frames."""
    count = portrait.size.gaussians
    error = torch.zeros(count, device=clip.device)
    rows = clip.train_frame_indices
    for row in rng.choice(rows, min(MAX_SAMPLED_FRAMES, len(rows)), replace=False).tolist():
        sample = clip.load_training_frame(row, weights.pixels)
        moved = portrait.deform(refinement.refine_pose(pose_from_tables(clip.poses, row), row))
        rgb, alpha, _ = portrait.rasterize_features(moved, moved.colors, clip.camera, False)
        wrong = (rgb + (1 - alpha)[..., None] * sample.plate - sample.image).abs().mean(2) * sample.pixel_weight
        with torch.enable_grad():  # the gradient of a drawn feature is the Gaussian's share of each pixel
            share = torch.zeros(count, 1, device=clip.device, requires_grad=True)
            drawn, _, _ = portrait.rasterize_features(moved, share, clip.camera, False)
            (carried,) = torch.autograd.grad(drawn, share, wrong[..., None])
        error += carried[:, 0]
    return error
