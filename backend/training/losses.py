"""The terms of the training loss that compare a frame with the footage."""

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

MIN_TOTAL_WEIGHT = 1e-6  # keeps the weighted mean finite where no pixel has weight


def image_loss(image: Tensor, target: Tensor, weight: Tensor, ssim_weight: float) -> Tensor:
    """Return weighted L1 and structural dissimilarity, mixed as in 3D Gaussian splatting (Kerbl et al., 2023, eq. 7).

    Args:
        image: (H, W, 3) in 0–1.
        target: (H, W, 3) in 0–1.
        weight: (H, W) of each pixel, ≥ 0.
        ssim_weight: share 0–1 of the dissimilarity; L1 has the rest.
    """
    l1 = ((image - target).abs().mean(2) * weight).sum() / (weight.sum() + MIN_TOTAL_WEIGHT)
    if ssim_weight <= 0:
        return l1
    return (1 - ssim_weight) * l1 + ssim_weight * (1 - weighted_ssim(image, target, weight))


def separate_parts_loss(
    clip: Clip,
    portrait: Portrait,
    gaussians: Gaussians,
    frame: TrainingFrame,
    frame_index: int,
    weights: LossWeights,
) -> Tensor:
    """Return the loss of an ablation without motion consistency.

    Head and torso are each composited over the footage, in which the plate replaces that part.

    Args:
        clip: the frames.
        portrait: the model.
        gaussians: its Gaussians in the frame's pose.
        frame: the frame.
        frame_index: its index in the clip.
        weights: weights of the terms.
    """
    is_torso = (portrait.label == TORSO).to(gaussians.colors.dtype)[:, None]
    features = torch.cat([gaussians.colors * (1 - is_torso), 1 - is_torso, gaussians.colors * is_torso, is_torso], 1)
    drawn, _, _ = portrait.rasterize_features(gaussians, features, clip.camera, False)
    matte = torch.from_numpy(clip.store.read_matte(frame_index)).to(drawn.device)
    head_alpha = matte[..., MATTE_PERSON] * matte[..., MATTE_HEAD]
    loss = drawn.new_zeros(())
    for part, part_alpha in ((drawn[..., :4], head_alpha), (drawn[..., 4:], matte[..., MATTE_PERSON] - head_alpha)):
        background = frame.image * (1 - part_alpha[..., None]) + frame.plate * part_alpha[..., None]
        image = part[..., :3] + (1 - part[..., 3:]) * background
        loss = loss + image_loss(image, frame.image, frame.pixel_weight, weights.ssim)
        loss = loss + weights.alpha * (part[..., 3] - part_alpha).abs().mean()
    return loss
