"""The portrait's tensors on disk: a seventh of their size in memory, and no visible difference.

Motion is stored in bytes, with a scale for each shape and component (x, y, z; red, green, blue; opacity): a step is a
254th of the range, for the jaw a tenth of a millimetre. Of the prior, of which a channel moves a seventh of the
Gaussians, only what is not zero is stored, and a bit for each that says where. What has a value for each Gaussian is
stored in half precision, except for its place.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..contract.channels import CHANNELS
from .branch import OFFSETS

STEPS = 127
HALF = ("quats", "log_scales", "opacity_logits", "colours", "skin_logits")
BASES = ("facial.basis", "oral.basis", "rigid.basis")
SCALE, WHERE = ".scale", "prior.where"


def pack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is written of a portrait's state."""
    packed = {name: value.half() if name in HALF else value for name, value in state.items()}
    prior = torch.cat([state["prior"].view(len(state["prior"]), -1, 3), state["growth"][..., None]], 2)
    del packed["growth"]
    packed |= _in_bytes("prior", prior)
    moves = (packed["prior"] != 0).any(2)
    packed["prior"] = packed["prior"][moves]
    packed[WHERE] = torch.from_numpy(np.packbits(moves.numpy(), axis=1))
    for name in BASES:
        packed |= _in_bytes(name, state[name].view(len(state[name]), -1, OFFSETS))
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state that `pack` was given, within a step.

    Raises:
        KeyError, RuntimeError, IndexError, ValueError: something is missing or does not fit.
    """
    state = {name: value.float() if name in HALF else value for name, value in packed.items()}
    for name in BASES:
        state[name] = _from_bytes(state, name).flatten(1)
    count = len(state["means"])
    if len(state[WHERE]) != len(CHANNELS) or state[WHERE].shape[1:] != (-(-count // 8),):
        raise ValueError(WHERE)
    moves = torch.from_numpy(np.unpackbits(state.pop(WHERE).numpy(), axis=1, count=count)).bool()
    prior = torch.zeros(len(moves), count, state["prior"].shape[1], dtype=torch.int8)
    prior[moves] = state["prior"]
    state["prior"] = prior
    prior = _from_bytes(state, "prior")
    state["prior"], state["growth"] = prior[..., :3].flatten(1), prior[..., 3]
    return state


def _in_bytes(name: str, values: Tensor) -> dict[str, Tensor]:
    """Values (K, N, C) as bytes, with a scale for each of (K, C)."""
    scale = values.abs().amax(1, keepdim=True) / STEPS if values.shape[1] else values.new_zeros(len(values), 1, 1)
    stored = (values / scale.clamp_min(1e-12)).round().clamp(-STEPS, STEPS).to(torch.int8)
    return {name: stored, name + SCALE: scale}


def _from_bytes(state: dict[str, Tensor], name: str) -> Tensor:
    stored, scale = state[name], state.pop(name + SCALE)
    if scale.shape != (len(stored), 1, stored.shape[2]) and stored.numel():
        raise ValueError(name)
    return stored.float() * scale
