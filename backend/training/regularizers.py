"""Keeps learned motion plausible: near the seed, alike for neighbours, and consistent between head and torso."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..compute.kernels import kernel, parallel_for
from ..contract.arrays import F32, I64
from ..portrait.branch import OFFSET_COMPONENTS, POSITION, Branch
from ..portrait.labels import FACE, MOUTH, TORSO
from ..portrait.model import Portrait
from .config import LossWeights

# Gradient per unit of distance from home. Seen Gaussians' colours have gradients around 4e-6, hidden ones' under 1e-7;
# the others' (means in metres) stand to one another as these do.
ANCHOR_GRADIENTS = {"means": 5e-3, "log_scales": 1e-7, "opacity_logits": 2e-8, "colours": 6e-7}
MAX_MOUTH_ADVANCE_METERS = 0.001  # metres that the mouth's interior may come towards the skin before it
MAX_DISPLACEMENT_METERS = {FACE: 0.003, MOUTH: 0.004}  # metres from home at most


class SeedAnchor:
    """Where each Gaussian was seeded; the halves of a split one share it."""

    def __init__(self, portrait: Portrait) -> None:
        self.portrait = portrait
        self.set_seeds({name: getattr(portrait, name).detach().clone() for name in ANCHOR_GRADIENTS})

    def set_seeds(self, seed_parameters: dict[str, Tensor]) -> None:
        """The homes of the Gaussians that the portrait has now, keyed as `PULL`."""
        self.seed_parameters = seed_parameters
        means, label = self.portrait.means, self.portrait.label
        self.max_displacement = torch.full_like(means[:, :1], torch.inf)
        for kind, most in MAX_DISPLACEMENT_METERS.items():
            self.max_displacement[label == kind] = most
        self.anchor_mask = self.max_displacement.isfinite().to(means.dtype)

    def add_gradient(self) -> None:
        """Adds the pull to the gradients of the parameters that learn."""
        for name, weight in ANCHOR_GRADIENTS.items():
            parameter = getattr(self.portrait, name)
            if parameter.grad is not None:
                away = parameter.detach() - self.seed_parameters[name]
                parameter.grad.add_(away * self.anchor_mask.view(-1, *[1] * (away.dim() - 1)), alpha=weight)

    @torch.no_grad()
    def limit_displacement(self) -> None:
        """Moves back what has gone too far."""
        means, home = self.portrait.means, self.seed_parameters["means"]
        away = means - home
        forward = self.portrait.label == MOUTH
        away[forward, 2] = away[forward, 2].clamp(max=MAX_MOUTH_ADVANCE_METERS)
        length = away.norm(dim=1, keepdim=True).clamp_min(1e-9)
        means.copy_(home + away * (self.max_displacement / length).clamp(max=1))

    def reindex_gaussians(self, source_indices: Tensor) -> None:
        """Follows `Portrait.reselect`."""
        self.set_seeds({name: table[source_indices] for name, table in self.seed_parameters.items()})


NEIGHBOR_COUNT = 3


class NeighborGraph(NamedTuple):
    """Who lies beside whom: those of member i are `others[starts[i]:starts[i + 1]]`; each pair stands in it twice."""

    starts: Tensor  # (M + 1,) int64
    neighbors: Tensor  # (2 P,) int64
    members: Tensor  # (2 P,) int64, the i of each


class OffsetRegularizer:
    """Of the branches' offsets: the mean of their size, and how much neighbours of the same label differ.

    Neighbours are found once, in rest space, within the oral and the facial branch.
    """

    def __init__(self, portrait: Portrait, weights: LossWeights) -> None:
        self.weights = weights
        none = torch.zeros(0, dtype=torch.int64, device=portrait.means.device)
        alone = NeighborGraph(none.new_zeros(len(portrait.rigid.members) + 1), none, none)
        self.branch_graphs = [
            (branch, _find_neighbors(portrait, branch)) for branch in (portrait.oral, portrait.facial)
        ]
        self.branch_graphs.append((portrait.rigid, alone))

    def loss(self) -> Tensor:
        """() `weights.motion` times the mean absolute offset, plus `weights.coherence` times the neighbours' mean
        squared difference of position (centimetres², summed over shapes)."""
        total = self.branch_graphs[0][0].basis.new_zeros(())
        for branch, near in self.branch_graphs:
            total = total + self.weights.offset_magnitude / len(self.branch_graphs) * branch.basis.abs().mean()
            if len(near.neighbors):
                moves = branch.basis.view(len(branch.basis), -1, OFFSET_COMPONENTS)[..., POSITION]
                apart = (moves[:, near.members] - moves[:, near.neighbors]).square().sum((0, 2)).mean()
                total = total + self.weights.offset_coherence * apart
        return total

    def add_gradient(self) -> None:
        """Adds the cost's gradient to those of the bases that learn.

        On the CPU by a kernel: through autograd this took more time than drawing, most of it for moving memory.
        """
        learning = [(b.basis, near) for b, near in self.branch_graphs if b.basis.requires_grad and b.basis.numel()]
        if not learning:
            return
        if learning[0][0].device.type != "cpu":
            self.loss().backward()  # type: ignore[no-untyped-call]
            return
        for basis, near in learning:
            if basis.grad is None:
                basis.grad = torch.zeros_like(basis)
            self._add_branch_gradient(basis.detach(), basis.grad, near)

    def _add_branch_gradient(self, basis: Tensor, gradient: Tensor, graph: NeighborGraph) -> None:
        values, slopes = basis.numpy(), gradient.numpy()
        starts, others = graph.starts.numpy(), graph.neighbors.numpy()
        size = self.weights.offset_magnitude / len(self.branch_graphs) / basis.numel()
        differ = self.weights.offset_coherence * 4 / max(len(others), 1)  # each pair counts at both its ends
        parallel_for(lambda k: _accumulate_gradient(values[k], starts, others, size, differ, slopes[k]), len(values))


@kernel
def _accumulate_gradient(
    values: F32,
    starts: I64,
    neighbors: I64,
    magnitude_weight: float,
    coherence_weight: float,
    gradient: F32,
) -> None:
    """Adds to the slope of one shape (M · 7): `size` against each offset, `differ` towards neighbours' positions."""
    pull, towards = np.float32(magnitude_weight), np.float32(coherence_weight)
    for n in range(len(values)):
        gradient[n] += pull * np.sign(values[n])
    for i in range(len(starts) - 1):
        x, y, z = values[OFFSET_COMPONENTS * i], values[OFFSET_COMPONENTS * i + 1], values[OFFSET_COMPONENTS * i + 2]
        a = b = c = np.float32(0)
        for n in range(starts[i], starts[i + 1]):
            j = OFFSET_COMPONENTS * neighbors[n]
            a += x - values[j]
            b += y - values[j + 1]
            c += z - values[j + 2]
        gradient[OFFSET_COMPONENTS * i] += towards * a
        gradient[OFFSET_COMPONENTS * i + 1] += towards * b
        gradient[OFFSET_COMPONENTS * i + 2] += towards * c


def _find_neighbors(portrait: Portrait, branch: Branch) -> NeighborGraph:
    """Which rows of the branch's members lie side by side."""
    means = portrait.means.detach()[branch.members].cpu().numpy()
    label = portrait.label[branch.members].cpu().numpy()
    first, second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for kind in np.unique(label):
        rows = np.flatnonzero(label == kind)
        if len(rows) > NEIGHBOR_COUNT:
            _, near = cKDTree(means[rows]).query(means[rows], k=NEIGHBOR_COUNT + 1)
            first.append(np.repeat(rows, NEIGHBOR_COUNT))
            second.append(rows[near[:, 1:]].ravel())
    members, others = np.concatenate(first + second), np.concatenate(second + first)
    order = np.argsort(members, kind="stable")
    starts = np.searchsorted(members[order], np.arange(len(means) + 1))
    device = portrait.means.device
    return NeighborGraph(*(torch.as_tensor(x, device=device) for x in (starts, others[order], members[order])))


NECK_NEIGHBORS = 4
NECK_HEAD_WEIGHT_RANGE = (0.02, 0.98)  # skinning shares between which a Gaussian counts as neck


class NeckConsistency:
    """Pairs of neighbours at the neck, found once in rest space."""

    def __init__(self, portrait: Portrait) -> None:
        means = portrait.means.detach().cpu().numpy()
        share = torch.sigmoid(portrait.skin_logits.detach()).cpu().numpy()
        torso = portrait.label.cpu().numpy() == TORSO
        neck = np.nonzero(torso & (share > NECK_HEAD_WEIGHT_RANGE[0]) & (share < NECK_HEAD_WEIGHT_RANGE[1]))[0]
        if len(neck) == 0:
            self.first_indices = self.second_indices = torch.zeros(0, dtype=torch.long)
            return
        # neighbours across the picture: head and neck lie at different depths where they touch
        _, near = cKDTree(means[:, :2]).query(means[neck, :2], k=NECK_NEIGHBORS + 1)
        first = np.repeat(neck, NECK_NEIGHBORS)
        second = near[:, 1:].ravel()
        device = portrait.means.device
        self.first_indices, self.second_indices = (
            torch.as_tensor(first, device=device),
            torch.as_tensor(second, device=device),
        )

    def loss(self, rest_means: Tensor, posed_means: Tensor) -> Tensor:
        """Mean squared change, in centimetres², of the neighbours' distances.

        Args:
            rest: (N, 3) rest positions. moved: (N, 3) positions in the frame, metres.
        """
        if len(self.first_indices) == 0:
            return posed_means.new_zeros(())
        before = (rest_means[self.first_indices] - rest_means[self.second_indices]).norm(dim=1)
        after = (posed_means[self.first_indices] - posed_means[self.second_indices] + 1e-9).norm(dim=1)
        return ((after - before) * 100).square().mean()
