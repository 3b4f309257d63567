"""Branches: reduced Gaussian blend shapes.

A branch turns its controls into K weights, by a matrix and, for some branches, a small network. Each weight scales a
learned offset of position, colour and opacity for every member of the branch. All offsets are zero before training, and
the weights are zero at rest, so rest is always the neutral face.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

OFFSET_COMPONENTS = 7  # position 3 (centimetres), colour 3, opacity logit 1
POSITION = slice(0, 3)
COLOR = slice(3, 6)
OPACITY = slice(6, 7)
# Share of frames, at either end of a control's range, that count as errors of tracking. Larger narrows the range in
# which the branches react. Not tuned.
OUTLIER_QUANTILE = 0.005
UNBOUNDED_CONTROL = 1e6  # limit of a control before training, beyond any value


class Branch(nn.Module):
    """Controls (C,) → offsets (M, 7) of the M Gaussians listed in `members`.

    Args:
        control_count: C, number of inputs.
        shape_count: K, number of learned offsets.
        hidden_size: width of the network; 0 for none.
        members: (M,) indices of Gaussians.
        strength: (M,) 0–1, how strongly the branch moves each member; it fades out towards the edge of its region.
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
        """Limit the controls to the range of `controls` (T, C); beyond it only the prior moves."""
        self.low = torch.quantile(controls, OUTLIER_QUANTILE, 0).clamp(max=0)
        self.high = torch.quantile(controls, 1 - OUTLIER_QUANTILE, 0).clamp(min=0)

    def reindex_members(self, source_indices: Tensor, gaussian_count: int) -> Callable[[Tensor], Tensor]:
        """Replace the members after a new selection of Gaussians.

        Args:
            source_indices: (N',) the old index of each new Gaussian.
            gaussian_count: number of Gaussians before.

        Returns:
            A function that makes the same change to the basis, or to an optimiser's tensor of its shape.
        """
        old_row = torch.full((gaussian_count,), -1, device=source_indices.device)
        old_row[self.members] = torch.arange(len(self.members), device=source_indices.device)
        rows = old_row[source_indices]
        self.members = torch.nonzero(rows >= 0).squeeze(1)
        rows = rows[self.members]
        self.strength = self.strength[rows]
        return lambda value: value.view(len(value), -1, OFFSET_COMPONENTS)[:, rows].reshape(len(value), -1)

    def shape_weights(self, controls: Tensor) -> Tensor:
        """Return the weights (K,), exactly zero when all controls are zero."""
        controls = controls.clamp(self.low, self.high)
        result: Tensor = self.linear(controls)
        if len(self.network):
            result = result + self.network(controls) - self.network(torch.zeros_like(controls))
        return result

    def forward(self, controls: Tensor) -> Tensor:
        """Return the offsets (M, 7); positions in rest space, centimetres."""
        offsets = self.shape_weights(controls) @ self.basis
        return offsets.view(-1, OFFSET_COMPONENTS) * self.strength[:, None]
