"""A motion branch: reduced Gaussian blend shapes. A small network turns controls into K weights; each weight scales a
learned offset of every Gaussian's position, colour and opacity in the branch's region.

The branch starts as the identity (all offsets zero) and its weights vanish at rest, so rest is always the neutral face.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

OFFSETS = 7  # position 3 (centimetres), colour 3, opacity logit 1
POSITION, COLOUR, OPACITY = slice(0, 3), slice(3, 6), slice(6, 7)


class Branch(nn.Module):
    """Controls (C,) → offsets (M, 7) of the M Gaussians listed in `members`.

    Args:
        controls: C, how many inputs. shapes: K. hidden: width of the network. members: (M,) indices of Gaussians.
        strength: (M,) 0–1, how far the branch reaches each of them; it fades out towards the region's edge.
    """

    members: Tensor
    strength: Tensor

    def __init__(self, controls: int, shapes: int, hidden: int, members: Tensor, strength: Tensor) -> None:
        super().__init__()
        self.register_buffer("members", members)
        self.register_buffer("strength", strength)
        self.network = nn.Sequential(nn.Linear(controls, hidden), nn.Tanh(), nn.Linear(hidden, shapes))
        self.linear = nn.Linear(controls, shapes, bias=False)
        self.basis = nn.Parameter(torch.zeros(shapes, len(members) * OFFSETS))

    def weights(self, controls: Tensor) -> Tensor:
        """(K,) weights, exactly zero when all controls are zero."""
        rest: Tensor = self.network(torch.zeros_like(controls))
        result: Tensor = self.network(controls) - rest + self.linear(controls)
        return result

    def forward(self, controls: Tensor) -> Tensor:
        """(M, 7) offsets; positions in centimetres of the member's own space."""
        offsets = self.weights(controls) @ self.basis
        return offsets.view(-1, OFFSETS) * self.strength[:, None]
