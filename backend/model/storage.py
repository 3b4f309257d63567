"""The portrait's tensors on disk: a quarter of their size in memory, and no visible difference.

Motion is stored in bytes, with a scale for each shape and component (x, y, z; red, green, blue; opacity): a step is a
254th of the range, for the jaw a tenth of a millimetre. The prior is stored only for the Gaussians that it moves.
What has a value for each Gaussian is stored in half precision, except for its place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .branch import OFFSETS

STEPS = 127
HALF = ("quats", "log_scales", "opacity_logits", "colours", "skin_logits")
BASES = ("facial.basis", "oral.basis", "rigid.basis")
SCALE, MEMBERS = ".scale", "prior.members"


def pack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is written of a portrait's state."""
    packed = {name: value.half() if name in HALF else value for name, value in state.items()}
    prior = torch.cat([state["prior"].view(len(state["prior"]), -1, 3), state["growth"][..., None]], 2)
    del packed["growth"]
    packed[MEMBERS] = torch.nonzero(prior.abs().amax((0, 2)) > 0).squeeze(1).int()
    packed |= _in_bytes("prior", prior[:, packed[MEMBERS].long()])
    for name in BASES:
        packed |= _in_bytes(name, state[name].view(len(state[name]), -1, OFFSETS))
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state that `pack` was given, within a step.

    Raises:
        KeyError, RuntimeError, IndexError: something is missing or does not fit.
    """
    state = {name: value.float() if name in HALF else value for name, value in packed.items()}
    for name in BASES:
        state[name] = _from_bytes(state, name).flatten(1)
    moved, members = _from_bytes(state, "prior"), state.pop(MEMBERS).long()
    prior = torch.zeros(len(moved), len(state["means"]), moved.shape[2])
    prior[:, members] = moved
    state["prior"], state["growth"] = prior[..., :3].flatten(1), prior[..., 3]
    return state


def _in_bytes(name: str, values: Tensor) -> dict[str, Tensor]:
    """Values (K, N, C) as bytes, with a scale for each of (K, C)."""
    scale = values.abs().amax(1, keepdim=True) / STEPS if values.shape[1] else values.new_zeros(len(values), 1, 1)
    stored = (values / scale.clamp_min(1e-12)).round().clamp(-STEPS, STEPS).to(torch.int8)
    return {name: stored, name + SCALE: scale}


def _from_bytes(state: dict[str, Tensor], name: str) -> Tensor:
    return state[name].float() * state.pop(name + SCALE)
