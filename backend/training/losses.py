"""The terms of the training loss, and image measures they share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

C1, C2 = 0.01**2, 0.03**2  # SSIM's constants for values in 0–1 (Wang et al. 2004)


def ssim_map(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """(H', W') structural similarity of two pictures (H, W, C) in 0–1, mean over channels, uniform window.

    Wang et al., IEEE TIP 13(4), 2004. Only positions where the window fits: H' = H − window + 1.
    """
    count = a.shape[2]
    stacked = torch.cat([a, b, a * a, b * b, a * b], 2).permute(2, 0, 1)[None]
    mean = functional.avg_pool2d(stacked, window, 1)[0]
    ma, mb, aa, bb, ab = torch.split(mean, count, 0)
    va, vb, cov = aa - ma * ma, bb - mb * mb, ab - ma * mb
    value = ((2 * ma * mb + C1) * (2 * cov + C2)) / ((ma * ma + mb * mb + C1) * (va + vb + C2))
    return value.mean(0)


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
