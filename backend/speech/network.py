"""The regression from context windows of the audio to oral channels, small enough to learn from twenty seconds.

Two regressions that err differently are averaged: kernel ridge regression with a Gaussian kernel (closed form), and an
ensemble of small time-delay networks (A. Waibel et al., "Phoneme recognition using time-delay neural networks", IEEE
Trans. ASSP 37(3), 1989) that all train in one batched matrix product. Both see the principal components of the windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.nn.functional import gelu

from ..contract.arrays import F32

FOLD_GAP_FRAMES = 8  # left out around a block that is predicted from the others: neighbours share their context
STILL_DEVIATION = 1e-4  # standard deviation of a channel below which it is predicted as still
FIRST_COMPONENT_DEVIATION = 3  # to which the principal components are scaled
OUTPUT_WEIGHT_SCALE = 0.3  # of the ensemble's initial output layer: it starts near zero. Not tuned
LAYER_NAMES = ("w0", "b0", "w1", "b1", "w2", "b2", "skip")


@dataclass(frozen=True)
class NetworkOptions:
    """How the regression learns. The defaults were not tuned per actor.

    Attributes:
        components: principal components of the windows that are kept.
        kernel_width: the kernel falls to 1/e at the median squared distance of the examples divided by this.
        ridge: added to the kernel's diagonal (the kernel is 1 at distance 0).
        max_supports: examples that the kernel keeps at most; its cost grows with their cube.
        ensemble_size: networks in the ensemble.
        hidden_size: units of each of their two hidden layers.
        steps: optimiser steps.
        batch: examples per step and network.
        learning_rate: AdamW's peak learning rate.
        weight_decay: AdamW's weight decay.
        dropout: share of hidden units dropped in training.
        input_noise: standard deviation of the noise on the inputs in training, in deviations of the inputs.
    """

    components: int = 128
    kernel_width: float = 0.5
    ridge: float = 0.3
    max_supports: int = 3000
    ensemble_size: int = 6
    hidden_size: int = 64
    steps: int = 300
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    dropout: float = 0.3
    input_noise: float = 0.15


@dataclass
class SpeechNetwork:
    """The learned regression: D inputs, K components, N supports, E networks of H units, O outputs.

    Attributes:
        arrays: "centre" (D,) and "basis" (D, K): windows → components.
            "supports" (N, K), "kernel" (N, O) and "width" (1,) of the kernel regression.
            "w0" (E, K, H), "b0" (E, 1, H), "w1" (E, H, H), "b1" (E, 1, H), "w2" (E, H, O), "b2" (E, 1, O) and "skip"
            (E, K, O) of the ensemble.
            "mean" and "deviation" (O,) of the outputs.
    """

    arrays: dict[str, F32] = field(default_factory=dict)

    def __call__(self, windows: F32) -> F32:
        """Outputs (T, O) for windows (T, D)."""
        a = self.arrays
        components = (windows - a["centre"]) @ a["basis"]
        total = (self.predict_kernel(components) + self.predict_ensemble(components)).astype(np.float32)
        result: F32 = 0.5 * total * a["deviation"] + a["mean"]
        return result

    def predict_kernel(self, components: F32) -> F32:
        """Standardised outputs (T, O) of the kernel regression for components (T, K)."""
        a = self.arrays
        result: F32 = np.exp(-cdist(components, a["supports"], "sqeuclidean") * a["width"][0]) @ a["kernel"]
        return result

    def predict_ensemble(self, components: F32) -> F32:
        """Standardised outputs (T, O) of the ensemble's mean for components (T, K)."""
        layers = {name: torch.from_numpy(self.arrays[name]) for name in LAYER_NAMES}
        with torch.no_grad():
            outputs = forward_ensemble(layers, torch.from_numpy(components)[None], lambda hidden: hidden)
        result: F32 = outputs.mean(0).numpy()
        return result


def forward_ensemble(
    layers: dict[str, Tensor], components: Tensor, apply_dropout: Callable[[Tensor], Tensor]
) -> Tensor:
    """(E, T, O) outputs of all networks for components (E or 1, T, K)."""
    hidden = gelu(components @ layers["w0"] + layers["b0"])
    hidden = hidden + gelu(apply_dropout(hidden) @ layers["w1"] + layers["b1"])
    return apply_dropout(hidden) @ layers["w2"] + layers["b2"] + components @ layers["skip"]


def fit_network(
    windows: F32,
    targets: F32,
    seed: int = 0,
    options: NetworkOptions | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SpeechNetwork:
    """Learn targets from windows.

    Args:
        windows: (N, D) context windows.
        targets: (N, O) channels.
        seed: the same seed gives the same network.
        options: how it learns.
        on_progress: receives the steps that are done, and all steps.
    """
    options = options or NetworkOptions()
    mean, deviation = targets.mean(0), targets.std(0)
    deviation = np.where(deviation > STILL_DEVIATION, deviation, 0).astype(np.float32)
    y = ((targets - mean) / np.where(deviation > 0, deviation, 1)).astype(np.float32) * (deviation > 0)
    centre, basis = _fit_pca(windows, options.components)
    x = ((windows - centre) @ basis).astype(np.float32)
    arrays = {"centre": centre, "basis": basis, "mean": mean.astype(np.float32), "deviation": deviation}
    arrays |= _fit_kernel_ridge(x, y, options)
    arrays |= _fit_ensemble(x, y, seed, options, on_progress)
    return SpeechNetwork(arrays)


def predict_out_of_fold(windows: F32, targets: F32, options: NetworkOptions | None = None, fold_count: int = 4) -> F32:
    """Return the kernel regression's outputs (N, O) for each block of frames, learned from the other blocks.

    Args:
        windows: (N, D) context windows.
        targets: (N, O) channels.
        options: how it learns.
        fold_count: blocks.
    """
    options = options or NetworkOptions()
    result = np.empty_like(targets)
    for block in np.array_split(np.arange(len(windows)), fold_count):
        nearby = np.arange(max(0, block[0] - FOLD_GAP_FRAMES), min(len(windows), block[-1] + 1 + FOLD_GAP_FRAMES))
        others = np.delete(np.arange(len(windows)), nearby)
        mean = targets[others].mean(0)
        centre, basis = _fit_pca(windows[others], options.components)
        arrays = {"centre": centre, "basis": basis}
        arrays |= _fit_kernel_ridge((windows[others] - centre) @ basis, targets[others] - mean, options)
        result[block] = SpeechNetwork(arrays).predict_kernel((windows[block] - centre) @ basis) + mean
    return result


def predict_ridge_baseline(windows: F32, targets: F32, test_windows: F32, ridge: float = 1.0) -> F32:
    """Return outputs (T, O) of ridge regression, the baseline.

    Args:
        windows: (N, D) to learn from.
        targets: (N, O) to learn.
        test_windows: (T, D) to predict for.
        ridge: penalty, in mean squares of the inputs.
    """
    mean, deviation, target_mean = windows.mean(0), windows.std(0) + 1e-6, targets.mean(0)
    x = ((windows - mean) / deviation).astype(np.float64)
    gram = x @ x.T
    gram += ridge * np.trace(gram) / len(x) * np.eye(len(x))
    weights = x.T @ np.linalg.solve(gram, (targets - target_mean).astype(np.float64))
    result: F32 = (((test_windows - mean) / deviation) @ weights + target_mean).astype(np.float32)
    return result


def _fit_pca(windows: F32, component_count: int) -> tuple[F32, F32]:
    """Centre (D,) and basis (D, K), scaled so that the first component deviates by `FIRST_COMPONENT_DEVIATION`."""
    centre = windows.mean(0)
    centred = (windows - centre).astype(np.float64)
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    count = min(component_count, len(windows) - 1, windows.shape[1])
    basis = vectors[:, ::-1][:, :count]
    # An eigenvector's sign is arbitrary; this one is the same on every machine.
    basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(count)])
    scale = FIRST_COMPONENT_DEVIATION / np.sqrt(variances[-1] + 1e-12)
    return centre.astype(np.float32), (basis * scale).astype(np.float32)


def _fit_kernel_ridge(x: F32, y: F32, options: NetworkOptions) -> dict[str, F32]:
    """Solve kernel ridge regression from x (N, K) to y (N, O): the "supports", "kernel" and "width" arrays."""
    stride = -(-len(x) // options.max_supports)
    x, y = x[::stride], y[::stride]
    distance = cdist(x, x, "sqeuclidean")
    width = options.kernel_width / max(float(np.median(distance)), 1e-6)
    kernel = np.linalg.solve(np.exp(-distance * width) + options.ridge * np.eye(len(x)), y.astype(np.float64))
    return {"supports": x, "kernel": kernel.astype(np.float32), "width": np.array([width], np.float32)}


def _fit_ensemble(
    x: F32, y: F32, seed: int, options: NetworkOptions, on_progress: Callable[[int, int], None]
) -> dict[str, F32]:
    """Train the networks from x (N, K) to y (N, O): the arrays named in `LAYER_NAMES`.

    All networks train in one batched matrix product, each on examples, noise and dropout of its own.
    """
    generator = torch.Generator().manual_seed(seed)

    def drop_units(hidden: Tensor) -> Tensor:
        return hidden * (torch.rand(hidden.shape, generator=generator) > options.dropout) / (1 - options.dropout)

    layers = _initial_layers(x.shape[1], y.shape[1], options, generator)
    inputs, outputs = torch.from_numpy(x), torch.from_numpy(y)
    noise = options.input_noise * float(inputs.std())
    with single_torch_thread():  # The matrices are so small that a second thread only waits.
        optimizer = torch.optim.AdamW(layers.values(), options.learning_rate, weight_decay=options.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, options.steps)
        for step in range(options.steps):
            shape = (options.ensemble_size, options.batch)
            examples = torch.randint(0, len(inputs), shape, generator=generator)
            noisy_inputs = inputs[examples] + noise * torch.randn(*shape, x.shape[1], generator=generator)
            error = forward_ensemble(layers, noisy_inputs, drop_units) - outputs[examples]
            loss = (error**2).mean() * options.ensemble_size
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            on_progress(step + 1, options.steps)
    return {name: tensor.detach().numpy().copy() for name, tensor in layers.items()}


def _initial_layers(
    input_size: int, output_size: int, options: NetworkOptions, generator: torch.Generator
) -> dict[str, Tensor]:
    """Random weights that keep the variance of their inputs, zero biases, and a zero skip layer."""
    e, k, h, out = options.ensemble_size, input_size, options.hidden_size, output_size

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    layers = {
        "w0": normal(e, k, h) / k**0.5, "b0": torch.zeros(e, 1, h),
        "w1": normal(e, h, h) / h**0.5, "b1": torch.zeros(e, 1, h),
        "w2": normal(e, h, out) * (OUTPUT_WEIGHT_SCALE / h**0.5), "b2": torch.zeros(e, 1, out),
        "skip": torch.zeros(e, k, out),
    }  # fmt: skip
    for tensor in layers.values():
        tensor.requires_grad_()
    return layers


@contextmanager
def single_torch_thread() -> Iterator[None]:
    """Run torch on one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
