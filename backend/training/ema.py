"""The average of the model over the last steps of training: single steps disagree about what they see of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

AVERAGING_STEPS = 1500  # steps before the end in which the average is taken; nothing is split any more by then
UPDATE_INTERVAL_STEPS = 5  # steps between two looks
DECAY = 0.975  # of the average at each look


class ExponentialMovingAverage:
    """A running mean of a module's parameters that takes their place at the end.

    Attributes:
        tables: (…) the mean so far by the parameter's name; empty before it begins.
    """

    def __init__(self, module: nn.Module, total_steps: int) -> None:
        self.module, self.total_steps = module, total_steps
        self.averages: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, steps_done: int) -> None:
        """To be called when `done` steps are done."""
        left = self.total_steps - steps_done
        if left > min(AVERAGING_STEPS, self.total_steps // 3) or left % UPDATE_INTERVAL_STEPS:
            return
        for name, parameter in self.module.named_parameters():
            if name in self.averages:
                self.averages[name].lerp_(parameter, 1 - DECAY)
            else:
                self.averages[name] = parameter.detach().clone()
        if left == 0:
            for name, parameter in self.module.named_parameters():
                parameter.copy_(self.averages[name])
