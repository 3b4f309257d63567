"""The regression from what is heard to what the mouth does, small enough to learn from twenty seconds.

Two learners that err differently are averaged: kernel ridge regression with a Gaussian kernel (closed form), and an
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


@dataclass(frozen=True)
class NetworkOptions:
    """How the regression learns.

    Attributes:
        components: principal components of the windows that are kept.
        kernel_width: the kernel falls to 1/e at the median squared distance of the examples divided by this.
        ridge: added to the kernel's diagonal (the kernel is 1 at distance 0).
        supports: examples that the kernel keeps at most (its cost grows with their cube).
        members, hidden: networks in the ensemble and units of their two hidden layers.
        steps, batch: optimiser steps and examples of each.
        rate, decay, drop: AdamW's peak learning rate and weight decay; share of hidden units dropped in training.
        noise: standard deviation of the noise on the inputs in training, in deviations of the inputs.
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
    """The learned regression; arrays only, so that it is saved and loaded as they are.

    Attributes:
        arrays: "centre" (D,), "basis" (D, K) windows → components; "supports" (N, K), "kernel" (N, O) and "width" (1,)
            of the kernel; "w0" (E, K, H), "b0", "w1" (E, H, H), "b1", "w2" (E, H, O), "b2", "skip" (E, K, O) of the
            ensemble; "mean" and "deviation" (O,) of the outputs.
    """

    arrays: dict[str, F32] = field(default_factory=dict)

    def __call__(self, windows: F32) -> F32:
        """Outputs (T, O) for windows (T, D)."""
        a = self.arrays
        x = (windows - a["centre"]) @ a["basis"]
        result: F32 = (
            0.5 * (self.predict_kernel(x) + self.predict_ensemble(x)).astype(np.float32) * a["deviation"] + a["mean"]
        )
        return result

    def predict_kernel(self, components: F32) -> F32:
        """Standardised outputs (T, O) of the kernel regression for components (T, K)."""
        a = self.arrays
        result: F32 = np.exp(-cdist(components, a["supports"], "sqeuclidean") * a["width"][0]) @ a["kernel"]
        return result

    def predict_ensemble(self, components: F32) -> F32:
        """Standardised outputs (T, O) of the networks' mean for components (T, K)."""
        layers = {k: torch.from_numpy(self.arrays[k]) for k in LAYER_NAMES}
        with torch.no_grad():
            result: F32 = forward_ensemble(layers, torch.from_numpy(components)[None], lambda h: h).mean(0).numpy()
        return result


FOLD_GAP_FRAMES = 8  # frames between a block and what it is predicted from: neighbours share their context
LAYER_NAMES = ("w0", "b0", "w1", "b1", "w2", "b2", "skip")


def forward_ensemble(
    layers: dict[str, Tensor], components: Tensor, apply_dropout: Callable[[Tensor], Tensor]
) -> Tensor:
    """(E, T, O) outputs of all members for components (E or 1, T, K)."""
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
    """Learns targets (N, O) from windows (N, D).

    Args:
        seed: same seed, same network.
        report: is told how many of all steps are done.
    """
    o = options or NetworkOptions()
    mean, deviation = targets.mean(0), targets.std(0)
    deviation = np.where(deviation > 1e-4, deviation, 0).astype(np.float32)  # a channel that never moves stays still
    y = ((targets - mean) / np.where(deviation > 0, deviation, 1)).astype(np.float32) * (deviation > 0)
    centre, basis = _fit_pca(windows, o.components)
    x = ((windows - centre) @ basis).astype(np.float32)
    arrays = {"centre": centre, "basis": basis, "mean": mean.astype(np.float32), "deviation": deviation}
    arrays |= _fit_kernel_ridge(x, y, o)
    arrays |= _fit_ensemble(x, y, seed, o, on_progress)
    return SpeechNetwork(arrays)


def predict_out_of_fold(windows: F32, targets: F32, options: NetworkOptions | None = None, fold_count: int = 4) -> F32:
    """What the kernel regression says (N, O) for frames of blocks that it did not learn from."""
    o = options or NetworkOptions()
    result = np.empty_like(targets)
    for block in np.array_split(np.arange(len(windows)), fold_count):
        near = np.arange(max(0, block[0] - FOLD_GAP_FRAMES), min(len(windows), block[-1] + 1 + FOLD_GAP_FRAMES))
        others = np.delete(np.arange(len(windows)), near)
        mean = targets[others].mean(0)
        centre, basis = _fit_pca(windows[others], o.components)
        arrays = {"centre": centre, "basis": basis}
        arrays |= _fit_kernel_ridge((windows[others] - centre) @ basis, targets[others] - mean, o)
        result[block] = SpeechNetwork(arrays).predict_kernel((windows[block] - centre) @ basis) + mean
    return result


def predict_ridge_baseline(windows: F32, targets: F32, test_windows: F32, ridge: float = 1.0) -> F32:
    """Ridge regression, the yardstick: learned from windows (N, D) and targets (N, O), said for `others` (T, D)."""
    mean, spread, middle = windows.mean(0), windows.std(0) + 1e-6, targets.mean(0)
    x = ((windows - mean) / spread).astype(np.float64)
    gram = x @ x.T
    gram += ridge * np.trace(gram) / len(x) * np.eye(len(x))
    weights = x.T @ np.linalg.solve(gram, (targets - middle).astype(np.float64))
    result: F32 = (((test_windows - mean) / spread) @ weights + middle).astype(np.float32)
    return result


def _fit_pca(windows: F32, component_count: int) -> tuple[F32, F32]:
    """Centre (D,) and basis (D, K), scaled so that the first component deviates by 3."""
    centre = windows.mean(0)
    around = (windows - centre).astype(np.float64)
    covariance = around.T @ around / len(around)
    values, vectors = np.linalg.eigh(covariance)
    keep = min(component_count, len(windows) - 1, windows.shape[1])
    basis = vectors[:, ::-1][:, :keep]
    # an eigenvector's sign is arbitrary: fixed, so that the same data gives the same network everywhere
    basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(keep)])
    return centre.astype(np.float32), (basis * (3 / np.sqrt(values[-1] + 1e-12))).astype(np.float32)


def _fit_kernel_ridge(x: F32, y: F32, options: NetworkOptions) -> dict[str, F32]:
    stride = -(-len(x) // options.max_supports)
    x, y = x[::stride], y[::stride]
    distance = cdist(x, x, "sqeuclidean")
    width = options.kernel_width / max(float(np.median(distance)), 1e-6)
    kernel = np.linalg.solve(np.exp(-distance * width) + options.ridge * np.eye(len(x)), y.astype(np.float64))
    return {"supports": x, "kernel": kernel.astype(np.float32), "width": np.array([width], np.float32)}


def _fit_ensemble(
    x: F32, y: F32, seed: int, options: NetworkOptions, on_progress: Callable[[int, int], None]
) -> dict[str, F32]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def drop(h: Tensor) -> Tensor:
        return h * (torch.rand(h.shape, generator=generator) > options.dropout) / (1 - options.dropout)

    e, k, h, out = options.ensemble_size, x.shape[1], options.hidden_size, y.shape[1]
    layers = {
        "w0": normal(e, k, h) / k**0.5, "b0": torch.zeros(e, 1, h),
        "w1": normal(e, h, h) / h**0.5, "b1": torch.zeros(e, 1, h),
        "w2": normal(e, h, out) * (0.3 / h**0.5), "b2": torch.zeros(e, 1, out),
        "skip": torch.zeros(e, k, out),
    }  # fmt: skip
    for tensor in layers.values():
        tensor.requires_grad_()
    inputs, outputs = torch.from_numpy(x), torch.from_numpy(y)
    noise = options.input_noise * float(inputs.std())
    with single_torch_thread():  # the matrices are so small that a second thread only waits
        optimiser = torch.optim.AdamW(layers.values(), options.learning_rate, weight_decay=options.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.learning_rate, options.steps)
        for step in range(options.steps):
            rows = torch.randint(0, len(inputs), (e, options.batch), generator=generator)
            seen = inputs[rows] + noise * normal(e, options.batch, k)
            loss = ((forward_ensemble(layers, seen, drop) - outputs[rows]) ** 2).mean() * e
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            on_progress(step + 1, options.steps)
    return {name: tensor.detach().numpy().copy() for name, tensor in layers.items()}


@contextmanager
def single_torch_thread() -> Iterator[None]:
    """torch on one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
