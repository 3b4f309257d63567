"""What the footage hardly shows stays as it was seeded.

Adam takes full steps along gradients however small, so Gaussians behind lips and jaw would wander off and take on any
colour: specks, as soon as a mouth opens wider than the footage's. A pull that is weaker than the gradients of what is
seen, but stronger than those of what is not, keeps them; and none leaves the skin or the mouth it was seeded in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..portrait.labels import FACE, MOUTH
from ..portrait.model import Portrait

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
