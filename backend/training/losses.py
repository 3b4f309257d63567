"""The terms of the training loss."""

from __future__ import annotations

import torch
from torch import Tensor

from ..compute.ssim import similarity
from ..dataset.clip import Clip, Sample
from ..dataset.frame_store import HEAD, PERSON
from ..portrait.labels import TORSO
from ..portrait.model import Moved, Portrait
from .config import Weights


def picture_loss(picture: Tensor, target: Tensor, weight: Tensor, ssim: float) -> Tensor:
    """Weighted L1 plus `ssim` times the weighted structural dissimilarity.

    Args:
        picture, target: (H, W, 3) in 0–1. weight: (H, W) ≥ 0.
    """
    total = weight.sum() + 1e-6
    difference = ((picture - target).abs().mean(2) * weight).sum() / total
    if ssim <= 0:
        return difference
    return (1 - ssim) * difference + ssim * (1 - similarity(picture, target, weight))


def apart_loss(clip: Clip, portrait: Portrait, moved: Moved, sample: Sample, row: int, weights: Weights) -> Tensor:
    """The loss without motion consistency, as an ablation: head and torso each over the footage without them."""
    is_torso = (portrait.label == TORSO).to(moved.colours.dtype)[:, None]
    features = torch.cat([moved.colours * (1 - is_torso), 1 - is_torso, moved.colours * is_torso, is_torso], 1)
    drawn, _, _ = portrait.draw(moved, features, clip.view, clip.intrinsics, clip.size, clip.size, False)
    matte = torch.from_numpy(clip.store.matte(row)).to(drawn.device)
    head = matte[..., PERSON] * matte[..., HEAD]
    loss = drawn.new_zeros(())
    for ours, real in ((drawn[..., :4], head), (drawn[..., 4:], matte[..., PERSON] - head)):
        under = sample.picture * (1 - real[..., None]) + sample.plate * real[..., None]
        picture = ours[..., :3] + (1 - ours[..., 3:]) * under
        loss = loss + picture_loss(picture, sample.picture, sample.weight, weights.ssim)
        loss = loss + weights.alpha * (ours[..., 3] - real).abs().mean()
    return loss
