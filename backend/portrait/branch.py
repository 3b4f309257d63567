"""A motion branch: reduced Gaussian blend shapes. Controls become K weights, by a matrix and where it pays a small
network; each weight scales a learned offset of every Gaussian's position, colour and opacity in the branch's region.

The branch starts as the identity (all offsets zero) and its weights vanish at rest, so rest is always the neutral face.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

OFFSET_COMPONENTS = 7  # position 3 (centimetres), colour 3, opacity logit 1
OUTLIER_QUANTILE = 0.005  # share of frames whose controls are taken for errors of tracking, at either end
UNBOUNDED_CONTROL = 1e6
POSITION, COLOR, OPACITY = slice(0, 3), slice(3, 6), slice(6, 7)


class Branch(nn.Module):
    """Controls (C,) → offsets (M, 7) of the M Gaussians listed in `members`.

    Args:
        controls: C, how many inputs. shapes: K. hidden: width of the network; 0 for none.
        members: (M,) indices of Gaussians.
        strength: (M,) 0–1, how far the branch reaches each of them; it fades out towards the region's edge.
    """

    members: Tensor
    strength: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self, control_count: int, shape_count: int, hidden_size: int, members: Tensor, strength: Tensor
    ) -> None:
        super().__init__()
        self.register_buffer("members", members)
        self.register_buffer("strength", strength)
        self.register_buffer("low", torch.full((control_count,), -UNBOUNDED_CONTROL))
        self.register_buffer("high", torch.full((control_count,), UNBOUNDED_CONTROL))
        layers = (
            [nn.Linear(control_count, hidden_size), nn.Tanh(), nn.Linear(hidden_size, shape_count)]
            if hidden_size
            else []
        )
        self.network = nn.Sequential(*layers)
        self.linear = nn.Linear(control_count, shape_count, bias=False)
        self.basis = nn.Parameter(torch.zeros(shape_count, len(members) * OFFSET_COMPONENTS))

    def fit_control_range(self, controls: Tensor) -> None:
        """Remembers what training shows: controls (T, C). Nothing was learned beyond; there the prior goes on alone."""
        self.low = torch.quantile(controls, OUTLIER_QUANTILE, 0).clamp(max=0)
        self.high = torch.quantile(controls, 1 - OUTLIER_QUANTILE, 0).clamp(min=0)

    def reindex_members(self, source_indices: Tensor, gaussian_count: int) -> Callable[[Tensor], Tensor]:
        """Follows a new choice `source` (N',) out of `count` Gaussians; returns what does so to the basis' tensors."""
        place = torch.full((gaussian_count,), -1, device=source_indices.device)
        place[self.members] = torch.arange(len(self.members), device=source_indices.device)
        rows = place[source_indices]
        self.members = torch.nonzero(rows >= 0).squeeze(1)
        rows = rows[self.members]
        self.strength = self.strength[rows]
        return lambda value: value.view(len(value), -1, OFFSET_COMPONENTS)[:, rows].reshape(len(value), -1)

    def shape_weights(self, controls: Tensor) -> Tensor:
        """(K,) weights, exactly zero when all controls are zero."""
        controls = controls.clamp(self.low, self.high)
        result: Tensor = self.linear(controls)
        if len(self.network):
            result = result + self.network(controls) - self.network(torch.zeros_like(controls))
        return result

    def forward(self, controls: Tensor) -> Tensor:
        """(M, 7) offsets; positions in centimetres of the member's own space."""
        offsets = self.shape_weights(controls) @ self.basis
        return offsets.view(-1, OFFSET_COMPONENTS) * self.strength[:, None]
