"""Exponential moving average of the model over the last steps, each of which follows its one frame too closely.

It gains 0.1 dB of held-out PSNR with tracked poses, measured at preset draft.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Steps before the end from which on the average is updated. By then nothing is split any more. Not tuned.
AVERAGING_STEPS = 1500
# The average starts at most this share of the training before its end, which matters for short presets.
MAX_AVERAGING_DIVISOR = 3
# Steps between two updates. More are cheaper; the average then rests on fewer states. Not tuned.
UPDATE_INTERVAL_STEPS = 5
# Share of the average that each update keeps: at 0.975 and 5 steps its memory is about 200 steps. Not tuned.
DECAY = 0.975


class ExponentialMovingAverage:
    """Running mean of a module's parameters, which replaces them after the last step.

    Attributes:
        averages: the mean so far by the parameter's name; empty before averaging begins.
    """

    def __init__(self, module: nn.Module, total_steps: int) -> None:
        self.module, self.total_steps = module, total_steps
        self.averages: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, steps_done: int) -> None:
        """Update the running mean. Call once after every optimizer step."""
        remaining_steps = self.total_steps - steps_done
        averaging_steps = min(AVERAGING_STEPS, self.total_steps // MAX_AVERAGING_DIVISOR)
        if remaining_steps > averaging_steps or remaining_steps % UPDATE_INTERVAL_STEPS:
            return
        for name, parameter in self.module.named_parameters():
            if name in self.averages:
                self.averages[name].lerp_(parameter, 1 - DECAY)
            else:
                self.averages[name] = parameter.detach().clone()
        if remaining_steps == 0:
            for name, parameter in self.module.named_parameters():
                parameter.copy_(self.averages[name])
