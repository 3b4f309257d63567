"""Structural similarity (Wang et al., IEEE TIP 13(4), 2004) as a loss.

In torch it took most of a training step's time, so on the CPU kernels compute it together with its gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..contract.arrays import F32
from .kernels import kernel, parallel_for

C1 = np.float32(0.01**2)  # (K₁ L)² and (K₂ L)² of the paper, for values in 0–1
C2 = np.float32(0.03**2)
# Pixels of the uniform window's side, used only where it fits. Larger compares coarser structure. 7 as in scikit-image.
WINDOW_SIZE = 7
WINDOW_MARGIN = WINDOW_SIZE // 2
WINDOW_AREA = np.float32(WINDOW_SIZE * WINDOW_SIZE)
STRIP_ROWS = 16  # rows that one thread computes at a time. Not tuned.


def weighted_ssim(image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of structural similarity over pixels and colour channels, a scalar.

    Args:
        image: (H, W, 3) in 0–1, at least `WINDOW_SIZE` pixels on each side; only this argument gets a gradient.
        target: (H, W, 3) in 0–1.
        weight: (H, W) ≥ 0.
    """
    if image.device.type == "cpu":
        value: Tensor = _WeightedSsim.apply(image, target, weight)  # type: ignore[no-untyped-call]
        return value
    inner = weight[WINDOW_MARGIN:-WINDOW_MARGIN, WINDOW_MARGIN:-WINDOW_MARGIN]
    return (ssim_map(image, target) * inner).sum() / (inner.sum() + 1e-6)


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity (H − 6, W − 6) of two images (H, W, C) in 0–1, mean over channels."""
    moments = torch.stack([a, b, a * a, b * b, a * b]).permute(0, 3, 1, 2)
    mean_a, mean_b, aa, bb, ab = functional.avg_pool2d(moments, WINDOW_SIZE, 1)
    var_a, var_b, both = aa - mean_a * mean_a, bb - mean_b * mean_b, ab - mean_a * mean_b
    value = ((2 * mean_a * mean_b + C1) * (2 * both + C2)) / (
        (mean_a * mean_a + mean_b * mean_b + C1) * (var_a + var_b + C2)
    )
    mean: Tensor = value.mean(0)
    return mean


class _WeightedSsim(torch.autograd.Function):
    """The weighted mean and its gradient by the kernels below."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        a, b = (np.ascontiguousarray(x.detach().numpy().transpose(2, 0, 1), np.float32) for x in (image, target))
        inner = np.ascontiguousarray(
            weight.detach().numpy()[WINDOW_MARGIN:-WINDOW_MARGIN, WINDOW_MARGIN:-WINDOW_MARGIN], np.float32
        )
        window_weights = inner / np.float32(len(a) * (inner.sum() + 1e-6))
        height, width = inner.shape
        sums = np.zeros((len(a), -(-height // STRIP_ROWS)))
        # padded with zeros, so that every pixel lies in 7 × 7 windows
        moment_gradients = np.zeros(
            (len(a), 3, height + 2 * (WINDOW_SIZE - 1), width + 2 * (WINDOW_SIZE - 1)), np.float32
        )

        def accumulate_strip(index: int) -> None:
            channel, strip = index % len(a), index // len(a)
            sums[channel, strip] = _accumulate_ssim(
                a[channel], b[channel], window_weights, moment_gradients[channel], strip * STRIP_ROWS
            )

        parallel_for(accumulate_strip, sums.size)
        ctx.a, ctx.b, ctx.moment_gradients = a, b, moment_gradients
        return torch.tensor(sums.sum(), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        a, b, scale = ctx.a, ctx.b, float(gradients[0])
        result = np.empty_like(a)

        def accumulate_strip(index: int) -> None:
            channel, strip = index % len(a), index // len(a)
            _accumulate_ssim_gradient(
                a[channel], b[channel], ctx.moment_gradients[channel], scale, strip * STRIP_ROWS, result[channel]
            )

        parallel_for(accumulate_strip, len(a) * -(-a.shape[1] // STRIP_ROWS))
        return torch.from_numpy(result).permute(1, 2, 0), None, None


@kernel
def _accumulate_ssim(a: F32, b: F32, window_weights: F32, moment_gradients: F32, first_row: int) -> float:
    """Sum the weighted similarity over `STRIP_ROWS` rows of windows.

    Args:
        a: (H, W) image.
        b: (H, W) target.
        window_weights: (H − 6, W − 6) weight of each window.
        moment_gradients: (3, H + 6, W + 6) gradients of the sum by E[a], E[a²] and E[ab] of each window, offset by the
            window's size; written.
        first_row: first row of windows.
    """
    height, width = window_weights.shape
    columns = np.empty((5, a.shape[1]), np.float32)
    moments = np.empty((5, width), np.float32)
    total = 0.0
    edge = WINDOW_SIZE - 1
    for y in range(first_row, min(first_row + STRIP_ROWS, height)):
        columns[:] = 0
        for j in range(y, y + WINDOW_SIZE):
            for x in range(a.shape[1]):
                p, q = a[j, x], b[j, x]
                columns[0, x] += p
                columns[1, x] += q
                columns[2, x] += p * p
                columns[3, x] += q * q
                columns[4, x] += p * q
        moments[:] = 0
        for k in range(5):
            for i in range(WINDOW_SIZE):
                for x in range(width):
                    moments[k, x] += columns[k, x + i]
        for x in range(width):
            m, n = moments[0, x] / WINDOW_AREA, moments[1, x] / WINDOW_AREA
            variance = moments[2, x] / WINDOW_AREA - m * m + moments[3, x] / WINDOW_AREA - n * n
            over_1, over_2 = np.float32(2) * m * n + C1, np.float32(2) * (moments[4, x] / WINDOW_AREA - m * n) + C2
            under_1, under_2 = m * m + n * n + C1, variance + C2
            value = over_1 * over_2 / (under_1 * under_2)
            weight = window_weights[y, x]
            total += weight * value
            scale = np.float32(2) * weight / (WINDOW_AREA * under_1 * under_2)
            moment_gradients[0, y + edge, x + edge] = scale * (n * (over_2 - over_1) - value * m * (under_2 - under_1))
            moment_gradients[1, y + edge, x + edge] = -scale * value * under_1
            moment_gradients[2, y + edge, x + edge] = scale * over_1
    return total


@kernel
def _accumulate_ssim_gradient(
    a: F32, b: F32, moment_gradients: F32, scale: float, first_row: int, gradient: F32
) -> None:
    """Compute `STRIP_ROWS` rows of the gradient: each pixel sums over the windows that it lies in.

    Args:
        a: (H, W) image.
        b: (H, W) target.
        moment_gradients: (3, H + 6, W + 6) see `_accumulate_ssim`.
        scale: gradient of the loss by the sum.
        first_row: first row of pixels.
        gradient: (H, W) gradient by `a`; written.
    """
    height, width = a.shape
    columns = np.empty((3, moment_gradients.shape[2]), np.float32)
    for y in range(first_row, min(first_row + STRIP_ROWS, height)):
        columns[:] = 0
        for k in range(3):
            for j in range(y, y + WINDOW_SIZE):
                for x in range(moment_gradients.shape[2]):
                    columns[k, x] += moment_gradients[k, j, x]
        for x in range(width):
            mean = square = product = np.float32(0)
            for i in range(WINDOW_SIZE):
                mean += columns[0, x + i]
                square += columns[1, x + i]
                product += columns[2, x + i]
            gradient[y, x] = np.float32(scale) * (mean + a[y, x] * square + b[y, x] * product)
