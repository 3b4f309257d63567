"""Neighbours learn alike, so that no Gaussian leaves the skin alone in expressions that the footage never showed."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..model.branch import OFFSETS, POSITION, Branch
from ..model.portrait import Portrait

NEIGHBOURS = 3


class Coherence:
    """Pairs of neighbours of the same label within the oral and the facial branch, found once in rest space."""

    def __init__(self, portrait: Portrait) -> None:
        self.pairs = [(branch, *_pairs(portrait, branch)) for branch in (portrait.oral, portrait.facial)]

    def strain(self) -> Tensor:
        """Mean squared difference, in centimetres², of what neighbours learned to move by, summed over shapes."""
        total = self.pairs[0][0].basis.new_zeros(())
        for branch, first, second in self.pairs:
            if len(first):
                moves = branch.basis.view(len(branch.basis), -1, OFFSETS)[..., POSITION]
                total = total + (moves[:, first] - moves[:, second]).square().sum((0, 2)).mean()
        return total


def _pairs(portrait: Portrait, branch: Branch) -> tuple[Tensor, Tensor]:
    """Rows of the branch's members that lie side by side."""
    means = portrait.means.detach()[branch.members].cpu().numpy()
    label = portrait.label[branch.members].cpu().numpy()
    first, second = [], []
    for kind in np.unique(label):
        rows = np.flatnonzero(label == kind)
        if len(rows) > NEIGHBOURS:
            _, near = cKDTree(means[rows]).query(means[rows], k=NEIGHBOURS + 1)
            first.append(np.repeat(rows, NEIGHBOURS))
            second.append(rows[near[:, 1:]].ravel())
    device = portrait.means.device
    none = [np.zeros(0, np.int64)]
    a, b = (torch.as_tensor(np.concatenate(rows or none), device=device) for rows in (first, second))
    return a, b
