"""The CPU kernels against the float64 reference: pictures, gradients, edge cases, determinism."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backend.contract.errors import UserError
from backend.rasterizer import CameraView, Gaussians, Implementation, RasterOutput, rasterize

FORWARD_ERROR, GRADIENT_ERROR = 1e-4, 1e-3
NAMES = ("means", "quats", "scales", "opacities", "features", "screen_offsets")


class Scene(NamedTuple):
    gaussians: tuple[Tensor, ...]  # in the order of NAMES
    camera: CameraView

    def draw(self, method: Implementation = "cpu", with_depth: bool = True) -> RasterOutput:
        *gaussians, offsets = self.gaussians
        return rasterize(
            Gaussians(*gaussians),
            self.camera,
            method=method,
            screen_offsets=offsets,
            with_depth=with_depth,
        )

    def gradients(self, method: Implementation, with_depth: bool = True) -> tuple[RasterOutput, tuple[Tensor, ...]]:
        """The picture, and the gradients of a random linear function of it."""
        inputs = tuple(tensor.detach().clone().requires_grad_() for tensor in self.gaussians)
        raster = self._replace(gaussians=inputs).draw(method, with_depth)
        random = torch.Generator().manual_seed(5)
        weights = [torch.randn(image.shape, generator=random, dtype=torch.float64) for image in raster]
        loss = sum((image.double() * weight).sum() for image, weight in zip(raster, weights, strict=True))
        return raster, torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)


def random_scene(
    seed: int,
    count: int = 150,
    channels: int = 3,
    width: int = 50,
    height: int = 37,
    view_scale: float = 1.0,
    size: float = 0.05,
) -> Scene:
    """Anisotropic Gaussians (axes up to about 1 : 30) in a box seen by a turned camera; some reach past the frame."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=random)

    turn = torch.linalg.qr(normal(3, 3))[0]
    view = torch.eye(4)
    view[:3, :3] = turn * torch.linalg.det(turn).sign() * view_scale
    view[:3, 3] = torch.tensor([0.0, 0.0, 1.5 * view_scale])
    intrinsics = torch.tensor([[width * 1.0, 0, width * 0.51], [0, width * 1.1, height * 0.48], [0, 0, 1]])
    gaussians = (
        (uniform(count, 3) - 0.5) * torch.tensor([1.3, 1.1, 0.9]),
        normal(count, 4) * 2,
        size * torch.exp(normal(count, 3) * 0.8),
        uniform(count) * 0.97 + 0.02,
        uniform(count, channels),
        normal(count, 2) * 0.3,
    )
    return Scene(gaussians, CameraView(view, intrinsics, width, height))


def axis_scene(means: list[list[float]], **columns: list[list[float]] | list[float]) -> Scene:
    """Few Gaussians before a camera at the origin that looks along z, 21 × 21 px, focal length 100 px."""
    count = len(means)
    defaults: dict[str, object] = {
        "quats": [[1.0, 0, 0, 0]] * count,
        "scales": [[0.02, 0.02, 0.02]] * count,
        "opacities": [0.5] * count,
        "features": [[1.0, 0.5, 0.25]] * count,
        "screen_offsets": [[0.0, 0.0]] * count,
    }
    values = {"means": means, **defaults, **columns}
    gaussians = tuple(torch.tensor(values[name], dtype=torch.float32) for name in NAMES)
    intrinsics = torch.tensor([[100.0, 0, 10.5], [0, 100.0, 10.5], [0, 0, 1]])
    return Scene(gaussians, CameraView(torch.eye(4), intrinsics, 21, 21))


def relative_error(value: Tensor, truth: Tensor) -> float:
    value, truth = value.detach().double(), truth.detach().double()
    scale, difference = truth.norm(), (value - truth).norm()
    return float(difference / scale) if scale > 0 else float(difference)


def assert_agrees(scene: Scene, with_depth: bool = True) -> None:
    """The CPU kernels draw what the reference draws, and pass the gradients that it passes."""
    truth, true_gradients = scene.gradients("reference", with_depth)
    raster, gradients = scene.gradients("cpu", with_depth)
    for name, image, expected in zip(RasterOutput._fields, raster, truth, strict=True):
        assert image.shape == expected.shape, name
        assert relative_error(image, expected) <= FORWARD_ERROR, name
    for name, gradient, expected in zip(NAMES, gradients, true_gradients, strict=True):
        assert torch.isfinite(gradient).all(), name
        assert relative_error(gradient, expected) <= GRADIENT_ERROR, name


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize(("width", "height", "view_scale"), [(50, 37, 1.0), (33, 70, 2.5), (64, 32, 0.4)])
def test_agrees_with_the_reference(seed: int, channels: int, width: int, height: int, view_scale: float) -> None:
    scene = random_scene(seed, channels=channels, width=width, height=height, view_scale=view_scale)
    assert float(scene.draw("reference").alpha.mean()) > 0.3
    assert_agrees(scene)


def test_agrees_without_depth() -> None:
    scene = random_scene(7)
    assert_agrees(scene, with_depth=False)
    assert scene.draw(with_depth=False).depth.shape == (0, 0)
    assert torch.allclose(scene.draw(with_depth=False).features, scene.draw().features, atol=1e-6)


def test_agrees_where_many_opaque_gaussians_hide_each_other() -> None:
    """More than one part in every stage, and pixels that are finished long before the list's end."""
    scene = random_scene(1, count=2500, width=24, height=40, size=0.03)
    scene.gaussians[3].fill_(0.95)
    assert_agrees(scene)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_agrees_where_the_jacobian_is_clamped(axis: int, side: float) -> None:
    """Large Gaussians centred far outside the frame (at 0.105), yet reaching into it."""
    means = [[0.0, 0.0, 1.0], [0.0, 0.0, 1.2]]
    means[0][axis], means[1][axis] = side * 0.5, side * 0.13
    scene = axis_scene(means, scales=[[0.2, 0.3, 0.25]] * 2, quats=[[1.0, 0.4, -0.3, 0.2]] * 2)
    assert float(scene.draw().alpha.max()) > 0.1
    assert_agrees(scene)


def test_agrees_on_needles_and_discs() -> None:
    """Axes of 1 : 10,000, where a determinant from float32 covariances would be noise."""
    scene = random_scene(3, count=60, size=0.1)
    scene.gaussians[2][:30, 1:] *= 1e-4
    scene.gaussians[2][30:, 0] *= 1e-4
    assert_agrees(scene)


def test_one_gaussian_is_the_formula() -> None:
    """At distance d px alpha = opacity · exp(-d² / 2(σ² + 0.3)), until it falls below 1/255."""
    raster = axis_scene([[0.0, 0.0, 2.0]], opacities=[0.8], scales=[[0.04, 0.04, 0.0]]).draw()
    variance = (100 * 0.04 / 2) ** 2 + 0.3
    for x in range(21):
        for y in range(21):
            alpha = 0.8 * math.exp(-((x - 10) ** 2 + (y - 10) ** 2) / (2 * variance))
            assert raster.alpha[y, x] == pytest.approx(alpha if alpha >= 1 / 255 else 0.0, abs=1e-6)
    assert torch.allclose(raster.features, raster.alpha[..., None] * torch.tensor([1.0, 0.5, 0.25]), atol=1e-6)
    assert torch.allclose(raster.depth, raster.alpha * 2.0, atol=1e-6)


def test_alpha_saturates_below_one() -> None:
    raster = axis_scene([[0.0, 0.0, 1.0]], opacities=[1.0], scales=[[1.0, 1.0, 1.0]]).draw()
    assert raster.alpha.max() == pytest.approx(0.99, abs=1e-6)


@pytest.mark.parametrize(("depths", "first"), [((1.0, 2.0), 0), ((2.0, 1.0), 1), ((1.0, 1.0), 0)])
def test_nearer_is_drawn_over_farther_and_ties_go_by_index(depths: tuple[float, float], first: int) -> None:
    colours = [[1.0, 0.0], [0.0, 1.0]]
    scene = axis_scene([[0.0, 0.0, z] for z in depths], features=colours, opacities=[0.9, 0.9])
    centre = scene.draw().features[10, 10]
    assert centre[first] == pytest.approx(0.9, abs=1e-5)
    assert centre[1 - first] == pytest.approx(0.09, abs=1e-5)


@pytest.mark.parametrize("z", [-1.0, 0.0, 0.0099])
def test_nothing_behind_the_near_plane_is_drawn(z: float) -> None:
    scene = axis_scene([[0.0, 0.0, z]])
    raster, gradients = scene.gradients("cpu")
    assert raster.alpha.max() == 0 and raster.features.abs().max() == 0
    assert all(gradient.abs().max() == 0 for gradient in gradients)
    assert axis_scene([[0.0, 0.0, 0.0101]]).draw().alpha.max() > 0


@pytest.mark.parametrize("name", ["means", "quats", "scales", "opacities", "features", "screen_offsets"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_removes_its_gaussian_only(name: str, value: float) -> None:
    scene = axis_scene([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]])
    alone = axis_scene([[0.0, 0.0, 1.0]]).draw()
    scene.gaussians[NAMES.index(name)][1] = value
    for method in ("cpu", "reference"):
        raster, gradients = scene.gradients(method)
        assert torch.allclose(raster.features.float(), alone.features, atol=1e-6)
        assert all(torch.isfinite(gradient).all() and (gradient[1] == 0).all() for gradient in gradients)


def test_no_gaussians_and_none_in_the_frame_draw_nothing() -> None:
    empty = random_scene(0, count=0, width=17, height=9)
    raster, gradients = empty.gradients("cpu")
    assert raster.features.shape == (9, 17, 3) and raster.alpha.max() == 0
    assert [tuple(gradient.shape) for gradient in gradients] == [tuple(t.shape) for t in empty.gaussians]
    outside, gradients = axis_scene([[9.0, 0.0, 1.0], [0.0, -9.0, 1.0]]).gradients("cpu")
    assert outside.alpha.max() == 0 and all(gradient.abs().max() == 0 for gradient in gradients)


def test_screen_offsets_move_the_picture() -> None:
    still = axis_scene([[0.0, 0.0, 1.0]]).draw().alpha
    moved = axis_scene([[0.0, 0.0, 1.0]], screen_offsets=[[3.0, -2.0]]).draw().alpha
    assert torch.allclose(moved, still.roll((-2, 3), (0, 1)), atol=1e-6)
    assert not torch.allclose(moved, still, atol=1e-2)


numbers = st.floats(-3, 3, width=32)
sizes = st.sampled_from([0.0, 1e-20, 1e-5, 0.01, 0.3, 4.0])
gaussian = st.tuples(
    st.tuples(numbers, numbers, st.sampled_from([-1.0, 0.0, 0.01, 0.02, 0.7, 1.0, 3.0])),
    st.one_of(st.just((0.0, 0.0, 0.0, 0.0)), st.tuples(numbers, numbers, numbers, numbers)),
    st.tuples(sizes, sizes, sizes),
    st.sampled_from([0.0, 0.003, 0.1, 0.6, 1.0]),
    st.tuples(numbers, numbers),
    st.tuples(numbers, numbers),
)


def listed(gaussians: list[tuple[object, ...]]) -> Scene:
    columns = [list(column) for column in zip(*gaussians, strict=True)]
    means, *rest = columns
    return axis_scene(means, **dict(zip(NAMES[1:], rest, strict=True)))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.lists(gaussian, min_size=1, max_size=4))
def test_degenerate_gaussians_agree_with_the_reference(gaussians: list[tuple[object, ...]]) -> None:
    scene = listed(gaussians)
    truth, _ = scene.gradients("reference")
    raster, gradients = scene.gradients("cpu")
    assert relative_error(raster.alpha, truth.alpha) <= FORWARD_ERROR
    assert (raster.features - truth.features).abs().max() <= 1e-4 * (1 + truth.features.abs().max())
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(gaussian, min_size=1, max_size=4),
    st.sampled_from([0.0, 1e-30, 1e-6, 1e6, 1e15, 1e30]),
    st.sampled_from(NAMES),
)
def test_no_input_makes_a_number_that_is_not_finite(
    gaussians: list[tuple[object, ...]], factor: float, name: str
) -> None:
    """Also with one kind of parameter scaled out of all proportion."""
    scene = listed(gaussians)
    scene.gaussians[NAMES.index(name)].mul_(factor)
    raster, gradients = scene.gradients("cpu")
    assert raster.alpha.min() >= 0 and raster.alpha.max() <= 1
    assert torch.isfinite(raster.alpha).all()
    if name != "features":
        assert torch.isfinite(raster.features).all() and torch.isfinite(raster.depth).all()
    assert not any(torch.isnan(gradient).any() for gradient in gradients)


def test_every_run_and_every_thread_count_gives_the_same_bits() -> None:
    scene = random_scene(4, count=6000, width=100, height=80)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 2):
            torch.set_num_threads(count)
            results.append(scene.gradients("cpu"))
    finally:
        torch.set_num_threads(threads)
    (first, first_gradients), *others = results
    assert first.alpha.max() > 0.9
    for raster, gradients in others:
        assert all(torch.equal(a, b) for a, b in zip(raster, first, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(gradients, first_gradients, strict=True))


def test_concurrent_callers_do_not_disturb_each_other() -> None:
    scenes = [random_scene(seed, count=3000, width=64, height=64) for seed in range(4)]
    alone = [scene.draw() for scene in scenes]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(Scene.draw, scenes * 3))
    for index, raster in enumerate(together):
        assert torch.equal(raster.features, alone[index % 4].features)


def test_the_picture_is_the_same_without_gradients() -> None:
    scene = random_scene(5)
    raster, _ = scene.gradients("cpu")
    assert all(torch.equal(a, b) for a, b in zip(scene.draw(), raster, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_of_any_memory_layout_count_the_same(channels: int) -> None:
    scene = random_scene(6, channels=channels)
    random = torch.Generator().manual_seed(0)
    interleaved = torch.randn(scene.camera.height, scene.camera.width, channels, generator=random)
    planar = interleaved.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    padded = torch.randn(scene.camera.height + 3, 2 * scene.camera.width, channels + 2, generator=random)
    padded[2:-1, ::2, 1:-1] = interleaved
    results = []
    for layout in (interleaved, planar, padded[2:-1, ::2, 1:-1]):
        means = scene.gaussians[0].clone().requires_grad_()
        features = scene._replace(gaussians=(means, *scene.gaussians[1:])).draw().features
        results.append(torch.autograd.grad(features, means, layout)[0])
    assert results[0].abs().max() > 0
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.parametrize("output", RasterOutput._fields)
def test_each_output_has_its_own_gradient(output: str) -> None:
    """Also one of constant ones, as `sum` gives, whose strides are zero."""
    scene = random_scene(8)
    gradients = []
    for method in ("reference", "cpu"):
        inputs = tuple(tensor.clone().requires_grad_() for tensor in scene.gaussians)
        image = getattr(scene._replace(gaussians=inputs).draw(method), output)
        gradients.append(torch.autograd.grad(image.sum(), inputs, allow_unused=True, materialize_grads=True))
    for name, truth, gradient in zip(NAMES, *gradients, strict=True):
        assert relative_error(gradient, truth) <= GRADIENT_ERROR, name


def test_wrong_arguments_are_refused() -> None:
    scene = random_scene(0, count=4)
    means, quats, scales, opacities, features, offsets = scene.gaussians
    gaussians, camera = Gaussians(means, quats, scales, opacities, features), scene.camera
    with pytest.raises(ValueError, match="quats"):
        rasterize(gaussians._replace(quats=quats[:, :3]), camera)
    with pytest.raises(ValueError, match="features"):
        rasterize(gaussians, camera, features=features[:3])
    with pytest.raises(ValueError, match="screen_offsets"):
        rasterize(gaussians, camera, screen_offsets=offsets[:2])
    with pytest.raises(ValueError, match="image is empty"):
        rasterize(gaussians, camera._replace(width=0))
    with pytest.raises(ValueError, match="camera has no gradient"):
        rasterize(gaussians, camera._replace(view=camera.view.clone().requires_grad_()))


def test_a_change_in_place_before_backward_is_noticed() -> None:
    scene = random_scene(0, count=4)
    opacities = scene.gaussians[3].clone().requires_grad_()
    raster = scene._replace(gaussians=(*scene.gaussians[:3], opacities, *scene.gaussians[4:])).draw()
    with torch.no_grad():
        opacities.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        raster.alpha.sum().backward()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_refused_in_one_sentence() -> None:
    with pytest.raises(UserError) as failure:
        random_scene(0, count=4).draw("cuda")
    assert failure.value.code == "no_cuda" and failure.value.remedy
