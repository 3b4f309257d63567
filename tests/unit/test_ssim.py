"""Structural similarity: its value, and that the CPU's kernels match torch."""

from __future__ import annotations

import pytest
import torch

from backend.compute.ssim import WINDOW_SIZE, ssim_map, weighted_ssim


def test_similarity_of_equal_images_is_one() -> None:
    image = torch.rand(40, 40, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ssim_map(image, image), torch.ones(34, 34), atol=1e-5)
    assert weighted_ssim(image, image, torch.ones(40, 40)) == pytest.approx(1, abs=1e-5)


def test_similarity_falls_with_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(40, 40, 3, generator=generator)
    noisy = (image + 0.3 * torch.randn(40, 40, 3, generator=generator)).clamp(0, 1)
    assert weighted_ssim(noisy, image, torch.ones(40, 40)) < 0.9


@pytest.mark.parametrize("size", [(WINDOW_SIZE, WINDOW_SIZE), (WINDOW_SIZE, 40), (39, 33), (64, 80)])
def test_kernels_give_the_value_and_gradient_of_torch(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(*size, 3, generator=generator)
    image = (target + 0.2 * torch.randn(*size, 3, generator=generator)).requires_grad_()
    weight = torch.rand(*size, generator=generator)
    inner = weight[3:-3, 3:-3]
    expected = (ssim_map(image, target) * inner).sum() / inner.sum()
    value = weighted_ssim(image, target, weight)
    assert torch.allclose(value, expected, atol=1e-5)
    (expected_gradient,) = torch.autograd.grad(2 * expected, image)
    (gradient,) = torch.autograd.grad(2 * value, image)
    assert torch.allclose(gradient, expected_gradient, atol=1e-6)
