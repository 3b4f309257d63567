"""Keeps learned motion plausible: near the seed, alike for neighbours, and consistent between head and torso."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from ..compute.kernels import kernel, share
from ..portrait.branch import OFFSETS, POSITION, Branch
from ..portrait.labels import FACE, MOUTH, TORSO
from ..portrait.model import Portrait
from .config import Weights

# Gradient per unit of distance from home. Seen Gaussians' colours have gradients around 4e-6, hidden ones' under 1e-7;
# the others' (means in metres) stand to one another as these do.
PULL = {"means": 5e-3, "log_scales": 1e-7, "opacity_logits": 2e-8, "colours": 6e-7}
FORWARD = 0.001  # metres that the mouth's interior may come towards the skin before it
REACH = {FACE: 0.003, MOUTH: 0.004}  # metres from home at most


class Home:
    """Where each Gaussian was seeded; the halves of a split one share it."""

    def __init__(self, portrait: Portrait) -> None:
        self.portrait = portrait
        self.take({name: getattr(portrait, name).detach().clone() for name in PULL})

    def take(self, tables: dict[str, Tensor]) -> None:
        """The homes of the Gaussians that the portrait has now, keyed as `PULL`."""
        self.tables = tables
        means, label = self.portrait.means, self.portrait.label
        self.reach = torch.full_like(means[:, :1], torch.inf)
        for kind, most in REACH.items():
            self.reach[label == kind] = most
        self.pulled = self.reach.isfinite().to(means.dtype)

    def add_gradient(self) -> None:
        """Adds the pull to the gradients of the parameters that learn."""
        for name, weight in PULL.items():
            parameter = getattr(self.portrait, name)
            if parameter.grad is not None:
                away = parameter.detach() - self.tables[name]
                parameter.grad.add_(away * self.pulled.view(-1, *[1] * (away.dim() - 1)), alpha=weight)

    @torch.no_grad()
    def fetch(self) -> None:
        """Moves back what has gone too far."""
        means, home = self.portrait.means, self.tables["means"]
        away = means - home
        forward = self.portrait.label == MOUTH
        away[forward, 2] = away[forward, 2].clamp(max=FORWARD)
        length = away.norm(dim=1, keepdim=True).clamp_min(1e-9)
        means.copy_(home + away * (self.reach / length).clamp(max=1))

    def reselect(self, source: Tensor) -> None:
        """Follows `Portrait.reselect`."""
        self.take({name: table[source] for name, table in self.tables.items()})


NEIGHBOURS = 3


class Neighbours(NamedTuple):
    """Who lies beside whom: those of member i are `others[starts[i]:starts[i + 1]]`; each pair stands in it twice."""

    starts: Tensor  # (M + 1,) int64
    others: Tensor  # (2 P,) int64
    members: Tensor  # (2 P,) int64, the i of each


class Restraint:
    """Of the branches' offsets: the mean of their size, and how much neighbours of the same label differ.

    Neighbours are found once, in rest space, within the oral and the facial branch.
    """

    def __init__(self, portrait: Portrait, weights: Weights) -> None:
        self.weights = weights
        none = torch.zeros(0, dtype=torch.int64, device=portrait.means.device)
        alone = Neighbours(none.new_zeros(len(portrait.rigid.members) + 1), none, none)
        self.parts = [(branch, _neighbours(portrait, branch)) for branch in (portrait.oral, portrait.facial)]
        self.parts.append((portrait.rigid, alone))

    def cost(self) -> Tensor:
        """() `weights.motion` times the mean absolute offset, plus `weights.coherence` times the neighbours' mean
        squared difference of position (centimetres², summed over shapes)."""
        total = self.parts[0][0].basis.new_zeros(())
        for branch, near in self.parts:
            total = total + self.weights.motion / len(self.parts) * branch.basis.abs().mean()
            if len(near.others):
                moves = branch.basis.view(len(branch.basis), -1, OFFSETS)[..., POSITION]
                apart = (moves[:, near.members] - moves[:, near.others]).square().sum((0, 2)).mean()
                total = total + self.weights.coherence * apart
        return total

    def add_gradient(self) -> None:
        """Adds the cost's gradient to those of the bases that learn.

        On the CPU by a kernel: through autograd this took more time than drawing, most of it for moving memory.
        """
        learning = [(b.basis, near) for b, near in self.parts if b.basis.requires_grad and b.basis.numel()]
        if not learning:
            return
        if learning[0][0].device.type != "cpu":
            self.cost().backward()  # type: ignore[no-untyped-call]
            return
        for basis, near in learning:
            if basis.grad is None:
                basis.grad = torch.zeros_like(basis)
            self._pull_all(basis.detach(), basis.grad, near)

    def _pull_all(self, basis: Tensor, gradient: Tensor, near: Neighbours) -> None:
        values, slopes = basis.numpy(), gradient.numpy()
        starts, others = near.starts.numpy(), near.others.numpy()
        size = self.weights.motion / len(self.parts) / basis.numel()
        differ = self.weights.coherence * 4 / max(len(others), 1)  # each pair counts at both its ends
        share(lambda k: _pull(values[k], starts, others, size, differ, slopes[k]), len(values))


@kernel
def _pull(
    values: NDArray[np.float32],
    starts: NDArray[np.int64],
    others: NDArray[np.int64],
    size: float,
    differ: float,
    slope: NDArray[np.float32],
) -> None:
    """Adds to the slope of one shape (M · 7): `size` against each offset, `differ` towards neighbours' positions."""
    pull, towards = np.float32(size), np.float32(differ)
    for n in range(len(values)):
        slope[n] += pull * np.sign(values[n])
    for i in range(len(starts) - 1):
        x, y, z = values[OFFSETS * i], values[OFFSETS * i + 1], values[OFFSETS * i + 2]
        a = b = c = np.float32(0)
        for n in range(starts[i], starts[i + 1]):
            j = OFFSETS * others[n]
            a += x - values[j]
            b += y - values[j + 1]
            c += z - values[j + 2]
        slope[OFFSETS * i] += towards * a
        slope[OFFSETS * i + 1] += towards * b
        slope[OFFSETS * i + 2] += towards * c


def _neighbours(portrait: Portrait, branch: Branch) -> Neighbours:
    """Which rows of the branch's members lie side by side."""
    means = portrait.means.detach()[branch.members].cpu().numpy()
    label = portrait.label[branch.members].cpu().numpy()
    first, second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for kind in np.unique(label):
        rows = np.flatnonzero(label == kind)
        if len(rows) > NEIGHBOURS:
            _, near = cKDTree(means[rows]).query(means[rows], k=NEIGHBOURS + 1)
            first.append(np.repeat(rows, NEIGHBOURS))
            second.append(rows[near[:, 1:]].ravel())
    members, others = np.concatenate(first + second), np.concatenate(second + first)
    order = np.argsort(members, kind="stable")
    starts = np.searchsorted(members[order], np.arange(len(means) + 1))
    device = portrait.means.device
    return Neighbours(*(torch.as_tensor(x, device=device) for x in (starts, others[order], members[order])))


NECK_NEIGHBORS = 4
BAND = (0.02, 0.98)  # skinning shares between which a Gaussian counts as neck


class NeckPairs:
    """Pairs of neighbours at the neck, found once in rest space."""

    def __init__(self, portrait: Portrait) -> None:
        means = portrait.means.detach().cpu().numpy()
        share = torch.sigmoid(portrait.skin_logits.detach()).cpu().numpy()
        torso = portrait.label.cpu().numpy() == TORSO
        neck = np.nonzero(torso & (share > BAND[0]) & (share < BAND[1]))[0]
        if len(neck) == 0:
            self.first = self.second = torch.zeros(0, dtype=torch.long)
            return
        # neighbours across the picture: head and neck lie at different depths where they touch
        _, near = cKDTree(means[:, :2]).query(means[neck, :2], k=NECK_NEIGHBORS + 1)
        first = np.repeat(neck, NECK_NEIGHBORS)
        second = near[:, 1:].ravel()
        device = portrait.means.device
        self.first, self.second = torch.as_tensor(first, device=device), torch.as_tensor(second, device=device)

    def strain(self, rest: Tensor, moved: Tensor) -> Tensor:
        """Mean squared change, in centimetres², of the neighbours' distances.

        Args:
            rest: (N, 3) rest positions. moved: (N, 3) positions in the frame, metres.
        """
        if len(self.first) == 0:
            return moved.new_zeros(())
        before = (rest[self.first] - rest[self.second]).norm(dim=1)
        after = (moved[self.first] - moved[self.second] + 1e-9).norm(dim=1)
        return ((after - before) * 100).square().mean()
