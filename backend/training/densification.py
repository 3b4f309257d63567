"""Densification and pruning: Gaussians are added where the image is still wrong, up to the preset's maximum.

Each Gaussian is charged with the error of the pixels that it colours, in proportion to its share of them (as in Rota
Bulò et al., "Revising densification in Gaussian splatting", 2024). Those with the largest error are split in two along
their longest axis. Transparent ones are removed; those that are only occluded (teeth, the neck behind the jaw) stay.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..compute.rotations import rotation_matrix
from ..dataset.clip import Clip
from ..portrait.model import Portrait
from .config import LossWeights
from .pose_refinement import PoseRefinement, pose_from_tables

# Frames over which errors are summed for each decision: more take longer and select more evenly. Not tuned.
MAX_SAMPLED_FRAMES = 24
# Distance that each half moves along the longest axis, in standard deviations of that axis: larger leaves a gap between
# the halves, smaller lets them cover each other. Not tuned.
SPLIT_OFFSET_SCALE = 0.55
# Standard deviation of the halves along that axis, relative to the whole Gaussian's. Not tuned.
SPLIT_SIZE_SCALE = 0.6
# Opacity 0–1 below which a Gaussian is removed: it colours hardly anything. Not tuned.
MIN_OPACITY = 0.01


@torch.no_grad()
def plan_densification(
    clip: Clip,
    portrait: Portrait,
    refinement: PoseRefinement,
    weights: LossWeights,
    max_gaussians: int,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Decide which Gaussians to keep, split and remove.

    Args:
        clip: the frames.
        portrait: the model; it is not changed.
        refinement: corrections of the training frames' poses.
        weights: loss weights, of which the pixels' are used.
        max_gaussians: maximum number of Gaussians afterwards.
        rng: selects the frames.

    Returns:
        source_indices: (N',) the present index of each new Gaussian; a split one occurs twice, the second time at the
            end.
        split_pairs: (H, 2) new indices of the two halves of each split Gaussian.
    """
    error = accumulate_gaussian_errors(clip, portrait, refinement, weights, rng)
    kept = torch.nonzero(torch.sigmoid(portrait.opacity_logits) > MIN_OPACITY).squeeze(1)
    split_count = min(max(max_gaussians - len(kept), 0), len(kept))
    worst = torch.topk(error[kept], split_count).indices
    split_pairs = torch.stack([worst, len(kept) + torch.arange(split_count, device=kept.device)], 1)
    return torch.cat([kept, kept[worst]]), split_pairs


@torch.no_grad()
def split_gaussians(portrait: Portrait, split_pairs: Tensor) -> None:
    """Move the halves (H, 2) of each split Gaussian apart along its longest axis, and shorten them."""
    first, second = split_pairs.unbind(1)
    longest = portrait.log_scales[first].argmax(1)
    axis = rotation_matrix(portrait.quats[first]).gather(2, longest[:, None, None].expand(-1, 3, 1)).squeeze(2)
    offset = axis * (SPLIT_OFFSET_SCALE * portrait.log_scales[first].exp().gather(1, longest[:, None]))
    portrait.means[first] += offset
    portrait.means[second] -= offset
    for half in (first, second):
        portrait.log_scales[half, longest] += math.log(SPLIT_SIZE_SCALE)


def accumulate_gaussian_errors(
    clip: Clip, portrait: Portrait, refinement: PoseRefinement, weights: LossWeights, rng: np.random.Generator
) -> Tensor:
    """Return the weighted image error (N,) of each Gaussian, summed over randomly selected training frames."""
    count = portrait.size.gaussians
    total = torch.zeros(count, device=clip.device)
    usable = clip.train_frame_indices
    for frame_index in rng.choice(usable, min(MAX_SAMPLED_FRAMES, len(usable)), replace=False).tolist():
        frame = clip.load_training_frame(frame_index, weights.pixels)
        pose = refinement.refine_pose(pose_from_tables(clip.poses, frame_index), frame_index)
        gaussians = portrait.deform(pose)
        rgb, alpha, _ = portrait.rasterize_features(gaussians, gaussians.colors, clip.camera, False)
        image_error = (frame.composite_over_plate(rgb, alpha) - frame.image).abs().mean(2) * frame.pixel_weight
        with torch.enable_grad():  # the gradient of a rasterized feature is the Gaussian's share of each pixel
            feature = torch.zeros(count, 1, device=clip.device, requires_grad=True)
            drawn, _, _ = portrait.rasterize_features(gaussians, feature, clip.camera, False)
            (gaussian_error,) = torch.autograd.grad(drawn, feature, image_error[..., None])
        total += gaussian_error[:, 0]
    return total
