"""The average of the model over the last steps of training: single steps disagree about what they see of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SPAN = 1500  # steps before the end in which the average is taken; nothing is split any more by then
EVERY = 5  # steps between two looks
KEPT = 0.975  # of the average at each look


class Average:
    """A running mean of a module's parameters that takes their place at the end.

    Attributes:
        tables: (…) the mean so far by the parameter's name; empty before it begins.
    """

    def __init__(self, module: nn.Module, steps: int) -> None:
        self.module, self.steps = module, steps
        self.tables: dict[str, Tensor] = {}

    @torch.no_grad()
    def look(self, done: int) -> None:
        """To be called when `done` steps are done."""
        left = self.steps - done
        if left > min(SPAN, self.steps // 3) or left % EVERY:
            return
        for name, parameter in self.module.named_parameters():
            if name in self.tables:
                self.tables[name].lerp_(parameter, 1 - KEPT)
            else:
                self.tables[name] = parameter.detach().clone()
        if left == 0:
            for name, parameter in self.module.named_parameters():
                parameter.copy_(self.tables[name])
