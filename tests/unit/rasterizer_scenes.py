"""Scenes of Gaussians for the tests of the rasterizer, and how their images are compared."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from backend.rasterizer import CameraView, Gaussians, Implementation, RasterOutput, rasterize

FORWARD_ERROR = 1e-4
GRADIENT_ERROR = 1e-3
INPUT_NAMES = ("means", "quats", "scales", "opacities", "features", "screen_offsets")
CPU_AND_REFERENCE: tuple[Implementation, ...] = ("cpu", "reference")


class Scene(NamedTuple):
    """The tensors that `rasterize` draws, in the order of INPUT_NAMES, and a camera."""

    inputs: tuple[Tensor, ...]
    camera: CameraView

    def tensor(self, name: str) -> Tensor:
        return self.inputs[INPUT_NAMES.index(name)]

    def replace(self, **tensors: Tensor) -> Scene:
        inputs = tuple(tensors.get(name, tensor) for name, tensor in zip(INPUT_NAMES, self.inputs, strict=True))
        return self._replace(inputs=inputs)

    def draw(self, method: Implementation = "cpu", with_depth: bool = True) -> RasterOutput:
        *gaussians, offsets = self.inputs
        return rasterize(
            Gaussians(*gaussians), self.camera, method=method, screen_offsets=offsets, with_depth=with_depth
        )

    def gradients(self, method: Implementation, with_depth: bool = True) -> tuple[RasterOutput, tuple[Tensor, ...]]:
        """The images, and the gradients of a random linear function of them."""
        inputs = tuple(tensor.detach().clone().requires_grad_() for tensor in self.inputs)
        output = self._replace(inputs=inputs).draw(method, with_depth)
        generator = torch.Generator().manual_seed(5)
        weights = [torch.randn(image.shape, generator=generator, dtype=torch.float64) for image in output]
        loss = torch.stack([(image * weight).sum() for image, weight in zip(output, weights, strict=True)]).sum()
        return output, torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)


def random_scene(
    seed: int,
    *,
    count: int = 150,
    channels: int = 3,
    image_size: tuple[int, int] = (50, 37),
    view_scale: float = 1.0,
    size: float = 0.05,
) -> Scene:
    """Anisotropic Gaussians (axes up to about 1 : 30) in a box before a turned camera; some reach beyond the image."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    rotation = torch.linalg.qr(normal(3, 3))[0]
    view = torch.eye(4)
    view[:3, :3] = rotation * torch.linalg.det(rotation).sign() * view_scale
    view[:3, 3] = torch.tensor([0.0, 0.0, 1.5 * view_scale])
    width, height = image_size
    intrinsics = torch.tensor([[width * 1.0, 0, width * 0.51], [0, width * 1.1, height * 0.48], [0, 0, 1]])
    inputs = (
        (uniform(count, 3) - 0.5) * torch.tensor([1.3, 1.1, 0.9]),
        normal(count, 4) * 2,
        size * torch.exp(normal(count, 3) * 0.8),
        uniform(count) * 0.97 + 0.02,
        uniform(count, channels),
        normal(count, 2) * 0.3,
    )
    return Scene(inputs, CameraView(view, intrinsics, width, height))


def axis_scene(means: list[list[float]], **columns: list[list[float]] | list[float]) -> Scene:
    """A few Gaussians before a camera at the origin that looks along z: 21 × 21 pixels, focal length 100 pixels."""
    count = len(means)
    defaults: dict[str, object] = {
        "quats": [[1.0, 0, 0, 0]] * count,
        "scales": [[0.02, 0.02, 0.02]] * count,
        "opacities": [0.5] * count,
        "features": [[1.0, 0.5, 0.25]] * count,
        "screen_offsets": [[0.0, 0.0]] * count,
    }
    values = {"means": means, **defaults, **columns}
    inputs = tuple(torch.tensor(values[name], dtype=torch.float32) for name in INPUT_NAMES)
    intrinsics = torch.tensor([[100.0, 0, 10.5], [0, 100.0, 10.5], [0, 0, 1]])
    return Scene(inputs, CameraView(torch.eye(4), intrinsics, 21, 21))


def relative_error(value: Tensor, expected: Tensor) -> float:
    value, expected = value.detach().double(), expected.detach().double()
    norm, difference = expected.norm(), (value - expected).norm()
    return float(difference / norm) if norm > 0 else float(difference)


def assert_agrees(scene: Scene, with_depth: bool = True) -> None:
    """Compare the images and the gradients of the CPU kernels with the reference's."""
    expected_output, expected_gradients = scene.gradients("reference", with_depth)
    output, gradients = scene.gradients("cpu", with_depth)
    for name, image, expected in zip(RasterOutput._fields, output, expected_output, strict=True):
        assert image.shape == expected.shape, name
        assert relative_error(image, expected) <= FORWARD_ERROR, name
    for name, gradient, expected in zip(INPUT_NAMES, gradients, expected_gradients, strict=True):
        assert torch.isfinite(gradient).all(), name
        assert relative_error(gradient, expected) <= GRADIENT_ERROR, name
