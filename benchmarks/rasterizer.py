"""How fast the CPU rasteriser is, against the reference and, where it is at hand, against a yardstick.

The yardstick is a Python file named by the environment variable PORTRAIT_ACTOR_YARDSTICK, with numba kernels `scene`,
`bin_to_tiles`, `forward` and `backward` over already projected Gaussians; it runs in the same process, in turns with
ours, on the same Gaussians. Times are the best of several runs. `*_vs_*` and `speedup_*` are ratios, above 1 is faster.
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

REPEATS = 15
COUNTS, SIDES = (5_000, 10_000, 20_000, 40_000, 80_000), (128, 256, 512, 1024)  # for how cost grows
COUNT, SIZE = 10_000, 256  # what training draws


def run() -> dict[str, float]:
    figures = {**_training_step_figures(3), **_training_step_figures(7), **_reference_figures(), **_scaling_figures()}
    yardstick = os.environ.get("PORTRAIT_ACTOR_YARDSTICK")
    if yardstick:
        module = _load_yardstick(Path(yardstick))
        for count, size, pixels in ((10_000, 128, 1.2), (20_000, 256, 1.5), (40_000, 512, 2.5)):
            figures |= _yardstick_figures(module, count, size, pixels)
    return figures


def _best_times_ms(*tasks: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Each task's shortest time in milliseconds; the tasks take turns, so that a busy machine is unfair to none."""
    shortest = [float("inf")] * len(tasks)
    for task in tasks:
        task()  # compiles
    for _ in range(repeats):
        for index, task in enumerate(tasks):
            time.sleep(0.02)  # until OpenMP's threads of the task before have stopped spinning
            start = time.perf_counter()
            task()
            shortest[index] = min(shortest[index], time.perf_counter() - start)
    return [1e3 * seconds for seconds in shortest]


def _random_head(
    count: int, size: int, channels: int, gaussian_width_pixels: float = 1.5
) -> tuple[Gaussians, CameraView]:
    """Random Gaussians on a head-like shell, about `pixels` px wide each, 0.9 m before the camera."""
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
    """`rasterize` as training calls it: projection, sorting, blending, torch, and all gradients."""
    gaussians, camera = _random_head(COUNT, SIZE, channels)
    inputs = Gaussians(*(tensor.requires_grad_() for tensor in gaussians))
    d_features = torch.randn(channels, SIZE, SIZE).permute(1, 2, 0)  # laid out as the features are
    d_alpha = torch.randn(SIZE, SIZE)

    def forward() -> object:
        with torch.no_grad():
            return rasterize(inputs, camera)

    def step() -> None:
        raster = rasterize(inputs, camera)
        torch.autograd.grad((raster.features, raster.alpha), inputs, (d_features, d_alpha))

    forward_ms, step_ms = _best_times_ms(forward, step)
    prefix = f"rasterizer.cpu.{SIZE}" + ("" if channels == 3 else f".{channels}_channels")
    return {
        f"{prefix}.forward_ms": forward_ms,
        f"{prefix}.backward_ms": step_ms - forward_ms,
        f"{prefix}.step_ms": step_ms,
    }


def _scaling_figures() -> dict[str, float]:
    """Forward and backward of the same head with more Gaussians, each smaller, and on more pixels; `*_exponent` is the
    slope of log time over log Gaussians or log pixels: 1 is linear."""
    figures: dict[str, float] = {}
    series = {
        "gaussians": [(count, count, SIZE, 1.5 * (20_000 / count) ** 0.5) for count in COUNTS],
        "pixels": [(side * side, 20_000, side, 1.5 * side / SIZE) for side in SIDES],
    }
    for name, cases in series.items():
        taken = []
        for amount, count, size, pixels in cases:
            gaussians, camera = _random_head(count, size, 3, pixels)
            inputs = Gaussians(*(tensor.requires_grad_() for tensor in gaussians))
            (best,) = _best_times_ms(partial(_run_forward_and_backward, inputs, camera), repeats=8)
            taken.append(best)
            figures[f"rasterizer.cpu.{name}.{amount}.step_ms"] = best
        slope = np.polyfit(np.log([case[0] for case in cases]), np.log(taken), 1)[0]
        figures[f"rasterizer.cpu.{name}_exponent"] = float(slope)
    return figures


def _run_forward_and_backward(inputs: Gaussians, camera: CameraView) -> None:
    raster = rasterize(inputs, camera)
    torch.autograd.grad(raster.features.sum() + raster.alpha.sum(), inputs)


def _reference_figures() -> dict[str, float]:
    """The reference takes milliseconds per Gaussian, so both draw 500, with gradients."""
    gaussians, camera = _random_head(500, SIZE, 3, gaussian_width_pixels=6)
    inputs = Gaussians(*(tensor.requires_grad_() for tensor in gaussians))

    def step(method: Implementation) -> None:
        raster = rasterize(inputs, camera, method=method)
        torch.autograd.grad(raster.features.sum() + raster.alpha.sum(), inputs)

    (ours,) = _best_times_ms(lambda: step("cpu"))
    (reference,) = _best_times_ms(lambda: step("reference"), repeats=1)
    return {f"rasterizer.cpu.{SIZE}.speedup_vs_reference": reference / ours}


def _load_yardstick(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("yardstick", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where numba looks for the module of a kernel that it has cached
    spec.loader.exec_module(module)
    return module


def _yardstick_figures(yardstick: Any, count: int, size: int, pixels: float) -> dict[str, float]:
    """Blending alone, and with what comes before (`speedup_vs_prototype`): sorting and binning, on our side projection
    too, which is fused with them; the yardstick's own Gaussians, which are projected already."""
    mean, conic, opacity, colour, radius, depth = yardstick.scene(count, size, pixels)
    tiles = -(-size // yardstick.TILE)

    def their_bins() -> Any:
        return yardstick.bin_to_tiles(np.argsort(depth, kind="stable"), mean, radius, tiles, tiles)

    def our_bins() -> Any:
        return cpu._bin_gaussians(scene, with_depth=False, for_backward=True)

    offsets, ids = their_bins()
    image, passed = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    d_image = np.random.default_rng(1).normal(size=image.shape).astype(np.float32)
    gradients = np.zeros((len(ids), 9), np.float32)
    theirs = (offsets, ids, mean, conic, opacity, colour, size, size, tiles, tiles)

    scene = _unproject_gaussians(mean, conic, opacity, colour, depth, size)
    bins = our_bins()
    frame = cpu._blend_tiles(scene, bins)
    d_features, d_alpha = torch.from_numpy(d_image), torch.zeros(size, size)

    binning, yardstick_binning, forward, yardstick_forward, backward, yardstick_backward = _best_times_ms(
        our_bins,
        their_bins,
        lambda: cpu._blend_tiles(scene, bins),
        lambda: yardstick.forward(*theirs, image, passed),
        lambda: cpu._accumulate_tile_moments(scene, bins, frame, d_features, d_alpha, None),
        lambda: yardstick.backward(*theirs, passed, d_image, np.zeros_like(passed), gradients),
    )
    difference = np.abs(frame[1:4, :size, :size].permute(1, 2, 0).numpy() - image).mean()
    if difference > 0.01:  # the yardstick ends a Gaussian at 3 standard deviations, so they differ a little
        raise ValueError(f"the yardstick draws something else: mean difference {difference:.3f}")
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
    """Flat Gaussians far before a long lens, which projects them to the given centres and inverse covariances."""
    far = 100.0
    a, b, c = conic.astype(np.float64).T
    determinant = a * c - b * b
    blur = 0.3
    covariance = np.stack([c / determinant - blur, -b / determinant, -b / determinant, a / determinant - blur], -1)
    variances, axes = np.linalg.eigh(covariance.reshape(-1, 2, 2))
    half_angle = 0.5 * np.arctan2(axes[:, 1, 0], axes[:, 0, 0])
    zero = np.zeros_like(half_angle)
    z = far + depth
    arrays = (
        np.column_stack([mean * (z / far)[:, None], z]),
        np.column_stack([np.cos(half_angle), zero, zero, np.sin(half_angle)]),
        np.column_stack([np.sqrt(np.maximum(variances, 0)) * (z / far)[:, None], zero]),
        opacity,
        color,
        np.zeros((len(mean), 2)),
    )
    intrinsics = torch.tensor([[far, 0, 0], [0, far, 0], [0, 0, 1]])
    camera = cpu._CameraArrays.from_view(CameraView(torch.eye(4), intrinsics, size, size))
    return cpu._RasterInputs(camera, *(np.ascontiguousarray(array, np.float32) for array in arrays))


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name:60s} {value:10.3f}")
