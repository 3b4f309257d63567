"""The speed of the CPU rasteriser, compared with the reference and, if one is given, with a yardstick.

The yardstick is a Python file named by the environment variable PORTRAIT_ACTOR_YARDSTICK, with numba kernels `scene`,
`bin_to_tiles`, `forward` and `backward` over already projected Gaussians. It runs in the same process on the same
Gaussians, in turns with the rasteriser. Times are the best of several runs. `*_vs_*` and `speedup_*` are ratios; above
1 the rasteriser is faster.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from backend.rasterizer import CameraView, Gaussians, Implementation, cpu, rasterize
from backend.rasterizer.constants import SCREEN_BLUR_VARIANCE

REPEATS = 15
COUNT = 10_000  # Gaussians and pixels of a side in a training step
SIZE = 256
SCALING_COUNTS = (5_000, 10_000, 20_000, 40_000, 80_000)
SCALING_SIDES = (128, 256, 512, 1024)
YARDSTICK_SCENES = (
    (10_000, 128, 1.2),
    (20_000, 256, 1.5),
    (40_000, 512, 2.5),
)  # Gaussians, side, their width in pixels
OPENMP_SPIN_SECONDS = 0.02  # until OpenMP's threads of the previous task have stopped spinning
MAX_YARDSTICK_DIFFERENCE = (
    0.01  # mean; the yardstick ends a Gaussian at 3 standard deviations, so images differ a little
)


def run() -> dict[str, float]:
    """Return all figures by name, in milliseconds or as ratios."""
    figures = {**_training_step_figures(3), **_training_step_figures(7), **_reference_figures(), **_scaling_figures()}
    yardstick = os.environ.get("PORTRAIT_ACTOR_YARDSTICK")
    if yardstick:
        module = _load_yardstick(Path(yardstick))
        for scene in YARDSTICK_SCENES:
            figures |= _yardstick_figures(module, *scene)
    return figures


def _best_times_ms(*tasks: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Return each task's shortest time in milliseconds; tasks take turns, so that other load affects all alike."""
    shortest = [float("inf")] * len(tasks)
    for task in tasks:
        task()  # compiles
    for _ in range(repeats):
        for index, task in enumerate(tasks):
            time.sleep(OPENMP_SPIN_SECONDS)
            start = time.perf_counter()
            task()
            shortest[index] = min(shortest[index], time.perf_counter() - start)
    return [1e3 * seconds for seconds in shortest]


def _random_head(
    count: int, size: int, channels: int, gaussian_width_pixels: float = 1.5
) -> tuple[Gaussians, CameraView]:
    """Return random Gaussians on a head-like shell, 0.9 m before the camera."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    arrays = (
        directions * [0.1, 0.13, 0.1],
        random.normal(size=(count, 4)),
        0.3 * gaussian_width_pixels / size * np.exp(0.4 * random.normal(size=(count, 3))),
        random.uniform(0.2, 1, count),
        random.uniform(0, 1, (count, channels)),
    )
    view = torch.eye(4)
    view[2, 3] = 0.9
    intrinsics = torch.tensor([[3.0 * size, 0, size / 2], [0, 3.0 * size, size / 2], [0, 0, 1]])
    gaussians = Gaussians(*(torch.tensor(array, dtype=torch.float32) for array in arrays))
    return gaussians, CameraView(view, intrinsics, size, size)


def _training_step_figures(channels: int) -> dict[str, float]:
    """Measure `rasterize` as training calls it: projection, sorting, blending, torch, and all gradients."""
    gaussians, camera = _random_head(COUNT, SIZE, channels)
    inputs = Gaussians(*(tensor.requires_grad_() for tensor in gaussians))
    d_features = torch.randn(channels, SIZE, SIZE).permute(1, 2, 0)  # the memory layout of the features
    d_alpha = torch.randn(SIZE, SIZE)

    def forward() -> object:
        with torch.no_grad():
            return rasterize(inputs, camera)

    def step() -> None:
        output = rasterize(inputs, camera)
        torch.autograd.grad((output.features, output.alpha), inputs, (d_features, d_alpha))

    forward_ms, step_ms = _best_times_ms(forward, step)
    prefix = f"rasterizer.cpu.{SIZE}" + ("" if channels == 3 else f".{channels}_channels")
    return {
        f"{prefix}.forward_ms": forward_ms,
        f"{prefix}.backward_ms": step_ms - forward_ms,
        f"{prefix}.step_ms": step_ms,
    }


def _scaling_figures() -> dict[str, float]:
    """Measure forward and backward of the same head with more Gaussians, each smaller, and with more pixels.

    `*_exponent` is the slope of log time over log Gaussians or log pixels: 1 is linear.
    """
    figures: dict[str, float] = {}
    series = {
        "gaussians": [(count, count, SIZE, 1.5 * (20_000 / count) ** 0.5) for count in SCALING_COUNTS],
        "pixels": [(side * side, 20_000, side, 1.5 * side / SIZE) for side in SCALING_SIDES],
    }
    for name, cases in series.items():
        times = []
        for amount, count, size, pixels in cases:
            gaussians, camera = _random_head(count, size, 3, pixels)
            inputs = Gaussians(*(tensor.requires_grad_() for tensor in gaussians))
            (best,) = _best_times_ms(partial(_run_forward_and_backward, inputs, camera), repeats=8)
            times.append(best)
            figures[f"rasterizer.cpu.{name}.{amount}.step_ms"] = best
        slope = np.polyfit(np.log([case[0] for case in cases]), np.log(times), 1)[0]
        figures[f"rasterizer.cpu.{name}_exponent"] = float(slope)
    return figures


def _run_forward_and_backward(inputs: Gaussians, camera: CameraView) -> None:
    output = rasterize(inputs, camera)
    torch.autograd.grad(output.features.sum() + output.alpha.sum(), inputs)


def _reference_figures() -> dict[str, float]:
    """Compare with the reference on 500 Gaussians, because it takes milliseconds for each."""
    gaussians, camera = _random_head(500, SIZE, 3, gaussian_width_pixels=6)
    inputs = Gaussians(*(tensor.requires_grad_() for tensor in gaussians))

    def step(method: Implementation) -> None:
        output = rasterize(inputs, camera, method=method)
        torch.autograd.grad(output.features.sum() + output.alpha.sum(), inputs)

    (cpu_ms,) = _best_times_ms(lambda: step("cpu"))
    (reference_ms,) = _best_times_ms(lambda: step("reference"), repeats=1)
    return {f"rasterizer.cpu.{SIZE}.speedup_vs_reference": reference_ms / cpu_ms}


def _load_yardstick(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("yardstick", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # numba looks here for the module of a cached kernel
    spec.loader.exec_module(module)
    return module


def _yardstick_figures(yardstick: Any, count: int, size: int, pixels: float) -> dict[str, float]:
    """Compare blending alone, and together with sorting and binning (`speedup_vs_prototype`).

    The rasteriser's binning includes projection; the yardstick's Gaussians are projected already.
    """
    mean, conic, opacity, color, radius, depth = yardstick.scene(count, size, pixels)
    tiles = -(-size // yardstick.TILE)

    def bin_with_yardstick() -> Any:
        return yardstick.bin_to_tiles(np.argsort(depth, kind="stable"), mean, radius, tiles, tiles)

    def bin_with_rasterizer() -> Any:
        return cpu._bin_gaussians(inputs, with_depth=False, for_backward=True)

    offsets, ids = bin_with_yardstick()
    image, transmittance = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    d_image = np.random.default_rng(1).normal(size=image.shape).astype(np.float32)
    gradients = np.zeros((len(ids), 9), np.float32)
    arguments = (offsets, ids, mean, conic, opacity, color, size, size, tiles, tiles)

    inputs = _unproject_gaussians(mean, conic, opacity, color, depth, size)
    bins = bin_with_rasterizer()
    planes = cpu._blend_tiles(inputs, bins)
    d_features, d_alpha = torch.from_numpy(d_image), torch.zeros(size, size)

    binning, yardstick_binning, forward, yardstick_forward, backward, yardstick_backward = _best_times_ms(
        bin_with_rasterizer,
        bin_with_yardstick,
        lambda: cpu._blend_tiles(inputs, bins),
        lambda: yardstick.forward(*arguments, image, transmittance),
        lambda: cpu._accumulate_tile_moments(inputs, bins, planes, d_features, d_alpha, None),
        lambda: yardstick.backward(*arguments, transmittance, d_image, np.zeros_like(transmittance), gradients),
    )
    difference = np.abs(planes[1:4, :size, :size].permute(1, 2, 0).numpy() - image).mean()
    if difference > MAX_YARDSTICK_DIFFERENCE:
        raise ValueError(f"the yardstick draws another image: mean difference {difference:.3f}")
    prefix = f"rasterizer.cpu.{size}"
    return {
        f"{prefix}.blend_forward_ms": forward,
        f"{prefix}.blend_backward_ms": backward,
        f"{prefix}.prototype_forward_ms": yardstick_forward,
        f"{prefix}.prototype_backward_ms": yardstick_backward,
        f"{prefix}.forward_vs_prototype": yardstick_forward / forward,
        f"{prefix}.backward_vs_prototype": yardstick_backward / backward,
        f"{prefix}.speedup_vs_prototype": (yardstick_binning + yardstick_forward + yardstick_backward)
        / (binning + forward + backward),
    }


def _unproject_gaussians(mean: Any, conic: Any, opacity: Any, color: Any, depth: Any, size: int) -> cpu._RasterInputs:
    """Return flat Gaussians far before a long lens that projects to the given centres and inverse covariances."""
    distance = 100.0
    a, b, c = conic.astype(np.float64).T
    determinant = a * c - b * b
    covariance = np.stack([c / determinant, -b / determinant, -b / determinant, a / determinant], -1)
    covariance -= [SCREEN_BLUR_VARIANCE, 0, 0, SCREEN_BLUR_VARIANCE]
    variances, axes = np.linalg.eigh(covariance.reshape(-1, 2, 2))
    half_angle = 0.5 * np.arctan2(axes[:, 1, 0], axes[:, 0, 0])
    zero = np.zeros_like(half_angle)
    z = distance + depth
    arrays = (
        np.column_stack([mean * (z / distance)[:, None], z]),
        np.column_stack([np.cos(half_angle), zero, zero, np.sin(half_angle)]),
        np.column_stack([np.sqrt(np.maximum(variances, 0)) * (z / distance)[:, None], zero]),
        opacity,
        color,
        np.zeros((len(mean), 2)),
    )
    intrinsics = torch.tensor([[distance, 0, 0], [0, distance, 0], [0, 0, 1]])
    camera = cpu._CameraArrays.from_view(CameraView(torch.eye(4), intrinsics, size, size))
    return cpu._RasterInputs(camera, *(np.ascontiguousarray(array, np.float32) for array in arrays))


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name:60s} {value:10.3f}")
