"""The terms of the training loss, and image measures they share."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..model.labels import TORSO
from ..model.portrait import Moved, Portrait
from .data import Box, Clip, Sample
from .frames import HEAD, PERSON
from .schedule import Weights

C1, C2 = 0.01**2, 0.03**2  # SSIM's constants for values in 0–1 (Wang et al. 2004)


class _BoxFilter(torch.autograd.Function):
    """Mean over a window, zeros beyond the border, of (H, W, C) on the CPU: OpenCV's running sums are many times faster
    than torch's pooling. The filter is symmetric, so it is its own adjoint."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, window: int) -> Tensor:
        ctx.window = window
        return _box(picture, window)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _box(gradients[0], ctx.window), None


def _box(picture: Tensor, window: int) -> Tensor:
    values = np.ascontiguousarray(picture.detach().numpy())
    return torch.from_numpy(cv2.boxFilter(values, -1, (window, window), borderType=cv2.BORDER_CONSTANT))


def window_mean(picture: Tensor, window: int) -> Tensor:
    """(H − window + 1, W − window + 1, C) means of a picture (H, W, C) over the windows that fit; `window` is odd."""
    if picture.device.type != "cpu":
        return functional.avg_pool2d(picture.permute(2, 0, 1)[None], window, 1)[0].permute(1, 2, 0)
    margin = window // 2
    filtered: Tensor = _BoxFilter.apply(picture, window)  # type: ignore[no-untyped-call]
    return filtered[margin:-margin, margin:-margin]


def ssim_map(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """(H', W') structural similarity of two pictures (H, W, C) in 0–1, mean over channels, uniform window.

    Wang et al., IEEE TIP 13(4), 2004. Only positions where the window fits: H' = H − window + 1.
    """
    moments = window_mean(torch.cat([a, b, a * a, b * b, a * b], 2), window)
    ma, mb, aa, bb, ab = torch.split(moments, a.shape[2], 2)
    va, vb, cov = aa - ma * ma, bb - mb * mb, ab - ma * mb
    value = ((2 * ma * mb + C1) * (2 * cov + C2)) / ((ma * ma + mb * mb + C1) * (va + vb + C2))
    return value.mean(2)


def picture_loss(picture: Tensor, target: Tensor, weight: Tensor, ssim: float) -> Tensor:
    """Weighted L1 plus `ssim` times the weighted structural dissimilarity.

    Args:
        picture, target: (H, W, 3) in 0–1. weight: (H, W) ≥ 0.
    """
    total = weight.sum() + 1e-6
    difference = ((picture - target).abs().mean(2) * weight).sum() / total
    if ssim <= 0:
        return difference
    margin = 3
    inner = weight[margin:-margin, margin:-margin]
    similar = (ssim_map(picture, target, 2 * margin + 1) * inner).sum() / (inner.sum() + 1e-6)
    return (1 - ssim) * difference + ssim * (1 - similar)


def apart_loss(
    clip: Clip, portrait: Portrait, moved: Moved, sample: Sample, row: int, box: Box | None, weights: Weights
) -> Tensor:
    """The loss without motion consistency, as an ablation: head and torso each over the footage without them."""
    height, width = sample.person.shape
    is_torso = (portrait.label == TORSO).to(moved.colours.dtype)[:, None]
    features = torch.cat([moved.colours * (1 - is_torso), 1 - is_torso, moved.colours * is_torso, is_torso], 1)
    drawn, _, _ = portrait.draw(moved, features, clip.view, clip.camera(box), width, height, False)
    x, y, w, h = box or (0, 0, clip.size, clip.size)
    matte = torch.from_numpy(clip.store.matte(row)[y : y + h, x : x + w]).to(drawn.device)
    head = matte[..., PERSON] * matte[..., HEAD]
    loss = drawn.new_zeros(())
    for ours, real in ((drawn[..., :4], head), (drawn[..., 4:], matte[..., PERSON] - head)):
        under = sample.picture * (1 - real[..., None]) + sample.plate * real[..., None]
        picture = ours[..., :3] + (1 - ours[..., 3:]) * under
        loss = loss + picture_loss(picture, sample.picture, sample.weight, weights.ssim)
        loss = loss + weights.alpha * (ours[..., 3] - real).abs().mean()
    return loss
