"""gsplat behind the signature of `rasterize`, compared with the float64 reference; skipped without a GPU."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Tensor

from backend.rasterizer import CameraView, Gaussians, Implementation, rasterize

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    pytest.mark.skipif(importlib.util.find_spec("gsplat") is None, reason="needs gsplat"),
]

# gsplat's thresholds differ (see backend/rasterizer/gsplat.py), so it agrees less closely than the CPU kernels.
FORWARD_ERROR = 2e-3
GRADIENT_ERROR = 2e-2


def images_and_gradients(
    gaussians: Gaussians, camera: CameraView, method: Implementation
) -> tuple[list[Tensor], list[Tensor]]:
    """The images, and the gradients of the sum of their squares, in float64 on the CPU."""
    inputs = Gaussians(*(tensor.clone().requires_grad_() for tensor in gaussians))
    offsets = torch.zeros(len(gaussians.means), 2, requires_grad=True)
    images = rasterize(inputs, camera, method=method, screen_offsets=offsets)
    loss = torch.stack([image.double().cpu().square().sum() for image in images]).sum()
    gradients = torch.autograd.grad(loss, (*inputs, offsets))
    return [image.detach().cpu().double() for image in images], [gradient.double() for gradient in gradients]


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_gsplat_agrees_with_the_reference(channels: int) -> None:
    generator = torch.Generator().manual_seed(channels)
    count = 100
    gaussians = Gaussians(
        torch.rand(count, 3, generator=generator) - 0.5,
        torch.randn(count, 4, generator=generator),
        0.05 * torch.exp(0.5 * torch.randn(count, 3, generator=generator)),
        0.05 + 0.85 * torch.rand(count, generator=generator),
        torch.rand(count, channels, generator=generator),
    )
    view = torch.eye(4)
    view[2, 3] = 1.5
    camera = CameraView(view, torch.tensor([[50.0, 0, 25], [0, 50, 18], [0, 0, 1]]), 50, 37)
    expected_images, expected_gradients = images_and_gradients(gaussians, camera, "reference")
    images, gradients = images_and_gradients(gaussians, camera, "cuda")
    for image, expected in zip(images, expected_images, strict=True):
        assert (image - expected).norm() <= FORWARD_ERROR * expected.norm()
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        assert (gradient - expected).norm() <= GRADIENT_ERROR * expected.norm()


def test_gsplat_draws_no_gaussians_as_an_empty_image() -> None:
    nothing = Gaussians(*(torch.zeros(0, *shape) for shape in ((3,), (4,), (3,), (), (3,))))
    output = rasterize(nothing, CameraView(torch.eye(4), torch.eye(3), 8, 6), method="cuda")
    assert output.features.shape == (6, 8, 3)
    assert float(output.alpha.max()) == 0
