"""The terms of the training loss."""

from __future__ import annotations

import torch
from torch import Tensor

from ..compute.ssim import weighted_ssim
from ..dataset.clip import Clip, TrainingFrame
from ..dataset.frame_store import MATTE_HEAD, MATTE_PERSON
from ..portrait.labels import TORSO
from ..portrait.model import Portrait
from ..rasterizer import Gaussians
from .config import LossWeights


def image_loss(image: Tensor, target: Tensor, weight: Tensor, ssim_weight: float) -> Tensor:
    """Weighted L1 plus `ssim` times the weighted structural dissimilarity.

    Args:
        picture, target: (H, W, 3) in 0–1. weight: (H, W) ≥ 0.
    """
    total = weight.sum() + 1e-6
    difference = ((image - target).abs().mean(2) * weight).sum() / total
    if ssim_weight <= 0:
        return difference
    return (1 - ssim_weight) * difference + ssim_weight * (1 - weighted_ssim(image, target, weight))


def separate_parts_loss(
    clip: Clip,
    portrait: Portrait,
    gaussians: Gaussians,
    training_frame: TrainingFrame,
    frame_index: int,
    weights: LossWeights,
) -> Tensor:
    """The loss without motion consistency, as an ablation: head and torso each over the footage without them."""
    is_torso = (portrait.label == TORSO).to(gaussians.colors.dtype)[:, None]
    features = torch.cat([gaussians.colors * (1 - is_torso), 1 - is_torso, gaussians.colors * is_torso, is_torso], 1)
    drawn, _, _ = portrait.rasterize_features(gaussians, features, clip.camera, False)
    matte = torch.from_numpy(clip.store.read_matte(frame_index)).to(drawn.device)
    head = matte[..., MATTE_PERSON] * matte[..., MATTE_HEAD]
    loss = drawn.new_zeros(())
    for ours, real in ((drawn[..., :4], head), (drawn[..., 4:], matte[..., MATTE_PERSON] - head)):
        under = training_frame.image * (1 - real[..., None]) + training_frame.plate * real[..., None]
        picture = ours[..., :3] + (1 - ours[..., 3:]) * under
        loss = loss + image_loss(picture, training_frame.image, training_frame.pixel_weight, weights.ssim)
        loss = loss + weights.alpha * (ours[..., 3] - real).abs().mean()
    return loss
