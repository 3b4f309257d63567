"""The motion consistency constraint: head and torso move as one body where they meet.

Neighbouring Gaussians around the neck, whichever part they belong to, must keep their distance from one another in
every pose; where they drift apart a gap opens, where they run into each other the head cuts into the collar.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..portrait.labels import TORSO
from ..portrait.model import Portrait

NEIGHBOURS = 4
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
        _, near = cKDTree(means[:, :2]).query(means[neck, :2], k=NEIGHBOURS + 1)
        first = np.repeat(neck, NEIGHBOURS)
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
