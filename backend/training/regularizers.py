"""Regularizers that keep learned motion plausible: near the seed, alike for neighbours, consistent at the neck."""

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

# Gradient per unit of distance from the seed, by parameter: larger keeps Gaussians nearer to their seed. Visible
# Gaussians' colours have gradients around 4e-6, hidden ones' under 1e-7, so the anchor only decides where no image
# does. The values of the other parameters (means in metres) are in proportion to their gradients.
ANCHOR_GRADIENTS = {"means": 5e-3, "log_scales": 1e-7, "opacity_logits": 2e-8, "colours": 6e-7}
# Metres that Gaussians inside the mouth may advance: more lets teeth come through the lips. Not tuned.
MAX_MOUTH_ADVANCE_METERS = 0.001
# Maximum distance in metres from the seed by label; other labels are free. Not tuned.
MAX_DISPLACEMENT_METERS = {FACE: 0.003, MOUTH: 0.004}
# Nearest members of the same label that a Gaussian's offsets are compared with: more smooth over a larger area.
OFFSET_NEIGHBORS = 3
# Nearest Gaussians in the image plane that one at the neck is compared with. Not tuned.
NECK_NEIGHBORS = 4
# Head weights between which a torso Gaussian belongs to the neck. Not tuned.
NECK_HEAD_WEIGHT_RANGE = (0.02, 0.98)
CENTIMETERS_PER_METER = 100
# Metres: keeps the limit's division finite at zero displacement.
MIN_DISPLACEMENT_METERS = 1e-9
# Metres added to each component of a distance, so that its gradient is finite where two Gaussians coincide.
DISTANCE_EPSILON_METERS = 1e-9
Z = 2


class SeedAnchor:
    """Weak gradient and hard limit that keep each Gaussian near its seed. The halves of a split one share the seed.

    Attributes:
        seed_parameters: the Gaussians' parameters when they were seeded, keyed as `ANCHOR_GRADIENTS`.
        max_displacement: (N, 1) metres, infinite for labels without a limit.
        anchor_mask: (N, 1) 1 for Gaussians with a limit, else 0.
    """

    def __init__(self, portrait: Portrait) -> None:
        self.portrait = portrait
        self.set_seeds({name: getattr(portrait, name).detach().clone() for name in ANCHOR_GRADIENTS})

    def set_seeds(self, seed_parameters: dict[str, Tensor]) -> None:
        """Set the seeds of the Gaussians that the portrait now has, keyed as `ANCHOR_GRADIENTS`."""
        self.seed_parameters = seed_parameters
        means, label = self.portrait.means, self.portrait.label
        self.max_displacement = torch.full_like(means[:, :1], torch.inf)
        for kind, limit in MAX_DISPLACEMENT_METERS.items():
            self.max_displacement[label == kind] = limit
        self.anchor_mask = self.max_displacement.isfinite().to(means.dtype)

    def add_gradient(self) -> None:
        """Add the anchor's gradient to those of the parameters that train."""
        for name, weight in ANCHOR_GRADIENTS.items():
            parameter = getattr(self.portrait, name)
            if parameter.grad is not None:
                displacement = parameter.detach() - self.seed_parameters[name]
                mask = self.anchor_mask.view(-1, *[1] * (displacement.dim() - 1))
                parameter.grad.add_(displacement * mask, alpha=weight)

    @torch.no_grad()
    def limit_displacement(self) -> None:
        """Project the means back to within their label's maximum distance from the seed."""
        means, seeds = self.portrait.means, self.seed_parameters["means"]
        displacement = means - seeds
        is_mouth = self.portrait.label == MOUTH
        displacement[is_mouth, Z] = displacement[is_mouth, Z].clamp(max=MAX_MOUTH_ADVANCE_METERS)
        distance = displacement.norm(dim=1, keepdim=True).clamp_min(MIN_DISPLACEMENT_METERS)
        means.copy_(seeds + displacement * (self.max_displacement / distance).clamp(max=1))

    def reindex_gaussians(self, source_indices: Tensor) -> None:
        """Follow `Portrait.reindex_gaussians`: row i becomes the seed of Gaussian `source_indices[i]`."""
        self.set_seeds({name: table[source_indices] for name, table in self.seed_parameters.items()})


class NeighborGraph(NamedTuple):
    """Neighbours of a branch's members in compressed rows; each pair occurs twice.

    Attributes:
        starts: (M + 1,) int64; the neighbours of member i are `neighbors[starts[i]:starts[i + 1]]`.
        neighbors: (2 P,) int64.
        members: (2 P,) int64, the member i of each entry.
    """

    starts: Tensor
    neighbors: Tensor
    members: Tensor


class OffsetRegularizer:
    """Penalty on the branches' offsets: their mean magnitude, and the difference between neighbours of a label.

    Neighbours are found once, in rest space, within the oral and the facial branch.
    """

    def __init__(self, portrait: Portrait, weights: LossWeights) -> None:
        self.weights = weights
        empty = torch.zeros(0, dtype=torch.int64, device=portrait.means.device)
        no_neighbors = NeighborGraph(empty.new_zeros(len(portrait.rigid.members) + 1), empty, empty)
        self.branch_graphs = [
            (branch, _find_neighbors(portrait, branch)) for branch in (portrait.oral, portrait.facial)
        ]
        self.branch_graphs.append((portrait.rigid, no_neighbors))

    def loss(self) -> Tensor:
        """Return the weighted penalty.

        Returns:
            () `weights.offset_magnitude` times the mean absolute offset, plus `weights.offset_coherence` times the
            neighbours' mean squared difference of position (centimetres², summed over shapes).
        """
        total = self.branch_graphs[0][0].basis.new_zeros(())
        for branch, graph in self.branch_graphs:
            total = total + self.weights.offset_magnitude / len(self.branch_graphs) * branch.basis.abs().mean()
            if len(graph.neighbors):
                positions = branch.basis.view(len(branch.basis), -1, OFFSET_COMPONENTS)[..., POSITION]
                difference = positions[:, graph.members] - positions[:, graph.neighbors]
                total = total + self.weights.offset_coherence * difference.square().sum((0, 2)).mean()
        return total

    def add_gradient(self) -> None:
        """Add the penalty's gradient to those of the bases that train.

        A kernel does this on the CPU: autograd took longer than rasterization, mostly for moving memory.
        """
        trained = [(b.basis, graph) for b, graph in self.branch_graphs if b.basis.requires_grad and b.basis.numel()]
        if not trained:
            return
        if trained[0][0].device.type != "cpu":
            self.loss().backward()  # type: ignore[no-untyped-call]
            return
        for basis, graph in trained:
            if basis.grad is None:
                basis.grad = torch.zeros_like(basis)
            self._add_branch_gradient(basis.detach(), basis.grad, graph)

    def _add_branch_gradient(self, basis: Tensor, gradient: Tensor, graph: NeighborGraph) -> None:
        values, gradients = basis.numpy(), gradient.numpy()
        starts, neighbors = graph.starts.numpy(), graph.neighbors.numpy()
        magnitude = self.weights.offset_magnitude / len(self.branch_graphs) / basis.numel()
        coherence = self.weights.offset_coherence * 4 / max(len(neighbors), 1)  # each pair counts at both its ends
        parallel_for(
            lambda k: _accumulate_gradient(values[k], starts, neighbors, magnitude, coherence, gradients[k]),
            len(values),
        )


@kernel
def _accumulate_gradient(
    values: F32,
    starts: I64,
    neighbors: I64,
    magnitude_weight: float,
    coherence_weight: float,
    gradient: F32,
) -> None:
    """Add the gradient of one shape (M · 7): against each offset, and towards the neighbours' positions."""
    magnitude, coherence = np.float32(magnitude_weight), np.float32(coherence_weight)
    for n in range(len(values)):
        gradient[n] += magnitude * np.sign(values[n])
    for i in range(len(starts) - 1):
        x, y, z = values[OFFSET_COMPONENTS * i], values[OFFSET_COMPONENTS * i + 1], values[OFFSET_COMPONENTS * i + 2]
        dx = dy = dz = np.float32(0)
        for n in range(starts[i], starts[i + 1]):
            j = OFFSET_COMPONENTS * neighbors[n]
            dx += x - values[j]
            dy += y - values[j + 1]
            dz += z - values[j + 2]
        gradient[OFFSET_COMPONENTS * i] += coherence * dx
        gradient[OFFSET_COMPONENTS * i + 1] += coherence * dy
        gradient[OFFSET_COMPONENTS * i + 2] += coherence * dz


def _find_neighbors(portrait: Portrait, branch: Branch) -> NeighborGraph:
    """Return the nearest members of the same label of each member of a branch, and the reverse pairs."""
    means = portrait.means.detach()[branch.members].cpu().numpy()
    label = portrait.label[branch.members].cpu().numpy()
    first, second = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for kind in np.unique(label):
        rows = np.flatnonzero(label == kind)
        if len(rows) > OFFSET_NEIGHBORS:
            _, nearest = cKDTree(means[rows]).query(means[rows], k=OFFSET_NEIGHBORS + 1)
            first.append(np.repeat(rows, OFFSET_NEIGHBORS))
            second.append(rows[nearest[:, 1:]].ravel())
    members, neighbors = np.concatenate(first + second), np.concatenate(second + first)
    order = np.argsort(members, kind="stable")
    starts = np.searchsorted(members[order], np.arange(len(means) + 1))
    device = portrait.means.device
    return NeighborGraph(*(torch.as_tensor(x, device=device) for x in (starts, neighbors[order], members[order])))


class NeckConsistency:
    """Penalty on changing distances between neighbours at the neck, whose pairs are found once in rest space.

    Attributes:
        first_indices: (P,) Gaussians at the neck.
        second_indices: (P,) a neighbour of each.
    """

    def __init__(self, portrait: Portrait) -> None:
        means = portrait.means.detach().cpu().numpy()
        head_weight = torch.sigmoid(portrait.skin_logits.detach()).cpu().numpy()
        is_torso = portrait.label.cpu().numpy() == TORSO
        low, high = NECK_HEAD_WEIGHT_RANGE
        neck = np.nonzero(is_torso & (head_weight > low) & (head_weight < high))[0]
        if len(neck) == 0:
            self.first_indices = self.second_indices = torch.zeros(0, dtype=torch.long)
            return
        # only x and y: head and neck lie at different depths where they touch in the image
        _, nearest = cKDTree(means[:, :2]).query(means[neck, :2], k=NECK_NEIGHBORS + 1)
        device = portrait.means.device
        self.first_indices = torch.as_tensor(np.repeat(neck, NECK_NEIGHBORS), device=device)
        self.second_indices = torch.as_tensor(nearest[:, 1:].ravel(), device=device)

    def loss(self, rest_means: Tensor, posed_means: Tensor) -> Tensor:
        """Return the mean squared change of the neighbours' distances in centimetres².

        Args:
            rest_means: (N, 3) rest positions, metres.
            posed_means: (N, 3) positions in the frame, metres.
        """
        if len(self.first_indices) == 0:
            return posed_means.new_zeros(())
        rest = (rest_means[self.first_indices] - rest_means[self.second_indices]).norm(dim=1)
        posed = (posed_means[self.first_indices] - posed_means[self.second_indices] + DISTANCE_EPSILON_METERS).norm(
            dim=1
        )
        change: Tensor = (posed - rest) * CENTIMETERS_PER_METER
        return change.square().mean()
