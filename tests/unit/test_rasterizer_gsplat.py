"""gsplat behind the same signature, against the float64 reference. Skipped by name where there is no GPU."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from backend.rasterizer import CameraView, Gaussians, Implementation, rasterize

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    pytest.mark.skipif(importlib.util.find_spec("gsplat") is None, reason="needs gsplat"),
]

# gsplat's thresholds differ (see backend/rasterizer/gsplat.py), so it agrees to less than the CPU kernels do.
FORWARD_ERROR, GRADIENT_ERROR = 2e-3, 2e-2


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_gsplat_agrees_with_the_reference(channels: int) -> None:
    random = torch.Generator().manual_seed(channels)
    count, width, height = 100, 50, 37
    gaussians = (
        torch.rand(count, 3, generator=random) - 0.5,
        torch.randn(count, 4, generator=random),
        0.05 * torch.exp(0.5 * torch.randn(count, 3, generator=random)),
        0.05 + 0.85 * torch.rand(count, generator=random),
        torch.rand(count, channels, generator=random),
        torch.zeros(count, 2),
    )
    view = torch.eye(4)
    view[2, 3] = 1.5
    intrinsics = torch.tensor([[50.0, 0, 25], [0, 50, 18], [0, 0, 1]])
    camera = CameraView(view, intrinsics, width, height)
    results = []
    methods: tuple[Implementation, ...] = ("reference", "cuda")
    for method in methods:
        *inputs, offsets = (tensor.clone().requires_grad_() for tensor in gaussians)
        raster = rasterize(Gaussians(*inputs), camera, method=method, screen_offsets=offsets)
        loss = sum((image.double().cpu() ** 2).sum() for image in raster)
        gradients = torch.autograd.grad(loss, (*inputs, offsets))
        results.append(([image.detach().cpu().double() for image in raster], [g.double() for g in gradients]))
    (truth, true_gradients), (images, gradients) = results
    for image, expected in zip(images, truth, strict=True):
        assert (image - expected).norm() <= FORWARD_ERROR * expected.norm()
    for gradient, expected in zip(gradients, true_gradients, strict=True):
        assert (gradient - expected).norm() <= GRADIENT_ERROR * expected.norm()


def test_gsplat_draws_an_empty_scene() -> None:
    nothing = Gaussians(*(torch.zeros(0, *shape) for shape in ((3,), (4,), (3,), (), (3,))))
    raster = rasterize(nothing, CameraView(torch.eye(4), torch.eye(3), 8, 6), method="cuda")
    assert raster.features.shape == (6, 8, 3) and float(raster.alpha.max()) == 0
