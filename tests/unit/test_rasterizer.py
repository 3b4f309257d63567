"""The CPU kernels compared with the float64 reference: images, gradients, edge cases, determinism."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterizer_scenes import (
    CPU_AND_REFERENCE,
    FORWARD_ERROR,
    GRADIENT_ERROR,
    INPUT_NAMES,
    Scene,
    assert_agrees,
    axis_scene,
    random_scene,
    relative_error,
)
from torch import Tensor

from backend.contract.errors import UserError
from backend.rasterizer import Gaussians, RasterOutput, rasterize


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("channels", [1, 3, 7])
@pytest.mark.parametrize(("image_size", "view_scale"), [((50, 37), 1.0), ((33, 70), 2.5), ((64, 32), 0.4)])
def test_cpu_agrees_with_the_reference(
    seed: int, channels: int, image_size: tuple[int, int], view_scale: float
) -> None:
    scene = random_scene(seed, channels=channels, image_size=image_size, view_scale=view_scale)
    assert float(scene.draw("reference").alpha.mean()) > 0.3
    assert_agrees(scene)


def test_cpu_agrees_with_the_reference_without_depth() -> None:
    scene = random_scene(7)
    assert_agrees(scene, with_depth=False)


def test_without_depth_the_features_stay_the_same() -> None:
    scene = random_scene(7)
    output = scene.draw(with_depth=False)
    assert output.depth.shape == (0, 0)
    assert torch.allclose(output.features, scene.draw().features, atol=1e-6)


def test_cpu_agrees_where_many_opaque_gaussians_hide_each_other() -> None:
    """More than one part in every stage, and pixels that are finished long before the end of the list."""
    scene = random_scene(1, count=2500, image_size=(24, 40), size=0.03)
    scene.tensor("opacities").fill_(0.95)
    assert_agrees(scene)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_cpu_agrees_where_the_jacobian_is_clamped(axis: int, side: float) -> None:
    """Large Gaussians centred far outside the image (its edge is at 0.105) that reach into it."""
    means = [[0.0, 0.0, 1.0], [0.0, 0.0, 1.2]]
    means[0][axis], means[1][axis] = side * 0.5, side * 0.13
    scene = axis_scene(means, scales=[[0.2, 0.3, 0.25]] * 2, quats=[[1.0, 0.4, -0.3, 0.2]] * 2)
    assert float(scene.draw().alpha.max()) > 0.1
    assert_agrees(scene)


def test_cpu_agrees_on_needles_and_discs() -> None:
    """Axes of 1 : 10,000, where a determinant from float32 covariances would be noise."""
    scene = random_scene(3, count=60, size=0.1)
    scene.tensor("scales")[:30, 1:] *= 1e-4
    scene.tensor("scales")[30:, 0] *= 1e-4
    assert_agrees(scene)


def test_one_gaussian_follows_the_formula() -> None:
    """At distance d pixels alpha = opacity · exp(-d² / 2(σ² + 0.3)), until it falls below 1/255."""
    output = axis_scene([[0.0, 0.0, 2.0]], opacities=[0.8], scales=[[0.04, 0.04, 0.0]]).draw()
    variance = (100 * 0.04 / 2) ** 2 + 0.3
    for x in range(21):
        for y in range(21):
            alpha = 0.8 * math.exp(-((x - 10) ** 2 + (y - 10) ** 2) / (2 * variance))
            assert output.alpha[y, x] == pytest.approx(alpha if alpha >= 1 / 255 else 0.0, abs=1e-6)
    assert torch.allclose(output.features, output.alpha[..., None] * torch.tensor([1.0, 0.5, 0.25]), atol=1e-6)
    assert torch.allclose(output.depth, output.alpha * 2.0, atol=1e-6)


def test_alpha_saturates_at_0_99() -> None:
    output = axis_scene([[0.0, 0.0, 1.0]], opacities=[1.0], scales=[[1.0, 1.0, 1.0]]).draw()
    assert output.alpha.max() == pytest.approx(0.99, abs=1e-6)


@pytest.mark.parametrize(("depths", "front"), [((1.0, 2.0), 0), ((2.0, 1.0), 1), ((1.0, 1.0), 0)])
def test_nearer_gaussian_covers_farther_one_and_ties_go_by_index(depths: tuple[float, float], front: int) -> None:
    features = [[1.0, 0.0], [0.0, 1.0]]
    scene = axis_scene([[0.0, 0.0, z] for z in depths], features=features, opacities=[0.9, 0.9])
    center = scene.draw().features[10, 10]
    assert center[front] == pytest.approx(0.9, abs=1e-5)
    assert center[1 - front] == pytest.approx(0.09, abs=1e-5)


@pytest.mark.parametrize("z", [-1.0, 0.0, 0.0099])
def test_gaussian_behind_the_near_plane_is_not_drawn_and_gets_no_gradient(z: float) -> None:
    output, gradients = axis_scene([[0.0, 0.0, z]]).gradients("cpu")
    assert output.alpha.max() == 0
    assert output.features.abs().max() == 0
    assert all(gradient.abs().max() == 0 for gradient in gradients)


def test_gaussian_just_beyond_the_near_plane_is_drawn() -> None:
    assert axis_scene([[0.0, 0.0, 0.0101]]).draw().alpha.max() > 0


@pytest.mark.parametrize("name", INPUT_NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_number_removes_only_its_gaussian(name: str, value: float) -> None:
    scene = axis_scene([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]])
    expected = axis_scene([[0.0, 0.0, 1.0]]).draw()
    scene.tensor(name)[1] = value
    for method in CPU_AND_REFERENCE:
        output, gradients = scene.gradients(method)
        assert torch.allclose(output.features.float(), expected.features, atol=1e-6)
        assert all(torch.isfinite(gradient).all() and (gradient[1] == 0).all() for gradient in gradients)


def test_no_gaussians_give_an_empty_image() -> None:
    empty = random_scene(0, count=0, image_size=(17, 9))
    output, gradients = empty.gradients("cpu")
    assert output.features.shape == (9, 17, 3)
    assert output.alpha.max() == 0
    assert [tuple(gradient.shape) for gradient in gradients] == [tuple(tensor.shape) for tensor in empty.inputs]


def test_gaussians_outside_the_image_get_no_gradient() -> None:
    output, gradients = axis_scene([[9.0, 0.0, 1.0], [0.0, -9.0, 1.0]]).gradients("cpu")
    assert output.alpha.max() == 0
    assert all(gradient.abs().max() == 0 for gradient in gradients)


def test_screen_offsets_move_the_image() -> None:
    before = axis_scene([[0.0, 0.0, 1.0]]).draw().alpha
    after = axis_scene([[0.0, 0.0, 1.0]], screen_offsets=[[3.0, -2.0]]).draw().alpha
    assert torch.allclose(after, before.roll((-2, 3), (0, 1)), atol=1e-6)
    assert not torch.allclose(after, before, atol=1e-2)


def test_features_replace_the_colors() -> None:
    scene = random_scene(2)
    *gaussians, _ = scene.inputs
    features = torch.rand(len(gaussians[0]), 5, generator=torch.Generator().manual_seed(0))
    drawn = rasterize(Gaussians(*gaussians), scene.camera, features=features)
    expected = rasterize(Gaussians(*gaussians)._replace(colors=features), scene.camera)
    assert torch.equal(drawn.features, expected.features)


numbers = st.floats(-3, 3, width=32)
sizes = st.sampled_from([0.0, 1e-20, 1e-5, 0.01, 0.3, 4.0])
degenerate_gaussians = st.tuples(
    st.tuples(numbers, numbers, st.sampled_from([-1.0, 0.0, 0.01, 0.02, 0.7, 1.0, 3.0])),
    st.one_of(st.just((0.0, 0.0, 0.0, 0.0)), st.tuples(numbers, numbers, numbers, numbers)),
    st.tuples(sizes, sizes, sizes),
    st.sampled_from([0.0, 0.003, 0.1, 0.6, 1.0]),
    st.tuples(numbers, numbers),
    st.tuples(numbers, numbers),
)


def scene_from_rows(rows: list[tuple[object, ...]]) -> Scene:
    columns = cast(list[list[list[float]]], [list(column) for column in zip(*rows, strict=True)])
    means, *rest = columns
    return axis_scene(means, **dict(zip(INPUT_NAMES[1:], rest, strict=True)))


@settings(max_examples=60, deadline=None)
@given(st.lists(degenerate_gaussians, min_size=1, max_size=4))
def test_degenerate_gaussians_agree_with_the_reference(rows: list[tuple[object, ...]]) -> None:
    scene = scene_from_rows(rows)
    expected, _ = scene.gradients("reference")
    output, gradients = scene.gradients("cpu")
    assert relative_error(output.alpha, expected.alpha) <= FORWARD_ERROR
    assert (output.features - expected.features).abs().max() <= 1e-4 * (1 + expected.features.abs().max())
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(degenerate_gaussians, min_size=1, max_size=4),
    st.sampled_from([0.0, 1e-30, 1e-6, 1e6, 1e15, 1e30]),
    st.sampled_from(INPUT_NAMES),
)
def test_extreme_scale_of_one_input_gives_finite_images(
    rows: list[tuple[object, ...]], factor: float, name: str
) -> None:
    scene = scene_from_rows(rows)
    scene.tensor(name).mul_(factor)
    output, gradients = scene.gradients("cpu")
    assert output.alpha.min() >= 0 and output.alpha.max() <= 1
    assert torch.isfinite(output.alpha).all()
    if name != "features":
        assert torch.isfinite(output.features).all() and torch.isfinite(output.depth).all()
    assert not any(torch.isnan(gradient).any() for gradient in gradients)


def test_every_thread_count_gives_the_same_bits() -> None:
    scene = random_scene(4, count=6000, image_size=(100, 80))
    thread_count = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 2):
            torch.set_num_threads(count)
            results.append(scene.gradients("cpu"))
    finally:
        torch.set_num_threads(thread_count)
    (expected, expected_gradients), *others = results
    assert expected.alpha.max() > 0.9
    for output, gradients in others:
        assert all(torch.equal(a, b) for a, b in zip(output, expected, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(gradients, expected_gradients, strict=True))


def test_concurrent_calls_give_the_same_bits() -> None:
    scenes = [random_scene(seed, count=3000, image_size=(64, 64)) for seed in range(4)]
    expected = [scene.draw() for scene in scenes]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(Scene.draw, scenes * 3))
    for index, output in enumerate(outputs):
        assert torch.equal(output.features, expected[index % 4].features)


def test_image_with_gradients_has_the_same_bits() -> None:
    scene = random_scene(5)
    output, _ = scene.gradients("cpu")
    assert all(torch.equal(a, b) for a, b in zip(scene.draw(), output, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_do_not_depend_on_the_memory_layout(channels: int) -> None:
    scene = random_scene(6, channels=channels)
    width, height = scene.camera.width, scene.camera.height
    generator = torch.Generator().manual_seed(0)
    interleaved = torch.randn(height, width, channels, generator=generator)
    planar = interleaved.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    padded = torch.randn(height + 3, 2 * width, channels + 2, generator=generator)
    padded[2:-1, ::2, 1:-1] = interleaved
    results = []
    for layout in (interleaved, planar, padded[2:-1, ::2, 1:-1]):
        means = scene.tensor("means").clone().requires_grad_()
        results.append(torch.autograd.grad(scene.replace(means=means).draw().features, means, layout)[0])
    assert results[0].abs().max() > 0
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("output_name", RasterOutput._fields)
def test_gradient_of_one_output_agrees_with_the_reference(output_name: str) -> None:
    """The gradient of a sum is a constant whose strides are zero."""
    scene = random_scene(8)
    results = []
    for method in CPU_AND_REFERENCE:
        inputs = tuple(tensor.clone().requires_grad_() for tensor in scene.inputs)
        image: Tensor = getattr(scene._replace(inputs=inputs).draw(method), output_name)
        results.append(torch.autograd.grad(image.sum(), inputs, allow_unused=True, materialize_grads=True))
    for name, gradient, expected in zip(INPUT_NAMES, *results, strict=True):
        assert relative_error(gradient, expected) <= GRADIENT_ERROR, name


@pytest.mark.parametrize("name", ["quats", "scales", "opacities", "features", "screen_offsets"])
def test_wrong_number_of_rows_is_refused_by_name(name: str) -> None:
    scene = random_scene(0, count=4)
    with pytest.raises(ValueError, match=name):
        scene.replace(**{name: scene.tensor(name)[:3]}).draw()


def test_quaternions_of_three_numbers_are_refused() -> None:
    scene = random_scene(0, count=4)
    with pytest.raises(ValueError, match="quats"):
        scene.replace(quats=scene.tensor("quats")[:, :3]).draw()


def test_empty_image_is_refused() -> None:
    scene = random_scene(0, count=4)
    with pytest.raises(ValueError, match="image is empty"):
        scene._replace(camera=scene.camera._replace(width=0)).draw()


def test_camera_that_requires_a_gradient_is_refused() -> None:
    scene = random_scene(0, count=4)
    view = scene.camera.view.clone().requires_grad_()
    with pytest.raises(ValueError, match="camera has no gradient"):
        scene._replace(camera=scene.camera._replace(view=view)).draw()


def test_change_in_place_before_backward_raises() -> None:
    scene = random_scene(0, count=4)
    opacities = scene.tensor("opacities").clone().requires_grad_()
    output = scene.replace(opacities=opacities).draw()
    with torch.no_grad():
        opacities.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(output.alpha.sum())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu_is_refused_with_a_remedy() -> None:
    with pytest.raises(UserError) as refusal:
        random_scene(0, count=4).draw("cuda")
    assert refusal.value.code == "no_cuda"
    assert refusal.value.remedy
