"""Structural similarity: what it is, and that the CPU's kernels compute it and its gradient."""

from __future__ import annotations

import pytest
import torch

from backend.compute.ssim import WINDOW_SIZE, ssim_map, weighted_ssim


def test_it_is_one_for_equal_pictures_and_falls_with_noise() -> None:
    picture = torch.rand(40, 40, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ssim_map(picture, picture), torch.ones(34, 34), atol=1e-5)
    noisy = (picture + 0.3 * torch.randn(40, 40, 3)).clamp(0, 1)
    assert weighted_ssim(picture, picture, torch.ones(40, 40)) == pytest.approx(1, abs=1e-5)
    assert weighted_ssim(noisy, picture, torch.ones(40, 40)) < 0.9


@pytest.mark.parametrize("size", [(WINDOW_SIZE, WINDOW_SIZE), (WINDOW_SIZE, 40), (39, 33), (64, 80)])
def test_the_kernels_and_their_gradient_are_autograd_s(size: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(1)
    target = torch.rand(*size, 3, generator=random)
    picture = (target + 0.2 * torch.randn(*size, 3, generator=random)).requires_grad_()
    weight = torch.rand(*size, generator=random)
    inner = weight[3:-3, 3:-3]
    plain = (ssim_map(picture, target) * inner).sum() / inner.sum()
    ours = weighted_ssim(picture, target, weight)
    assert torch.allclose(ours, plain, atol=1e-5)
    (expected,) = torch.autograd.grad(2 * plain, picture)
    (found,) = torch.autograd.grad(2 * ours, picture)
    assert torch.allclose(found, expected, atol=1e-6)
