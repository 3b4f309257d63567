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
from .branch import OFFSET_COMPONENTS

QUANTIZATION_STEPS = 127
HALF_PRECISION_TENSORS = ("quats", "log_scales", "opacity_logits", "colours", "skin_logits")
QUANTIZED_BASES = ("facial.basis", "oral.basis", "rigid.basis")
SCALE_SUFFIX, PRIOR_MASK_KEY = ".scale", "prior.where"


def pack_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is written of a portrait's state."""
    packed = {name: value.half() if name in HALF_PRECISION_TENSORS else value for name, value in state.items()}
    prior = torch.cat([state["prior"].view(len(state["prior"]), -1, 3), state["growth"][..., None]], 2)
    del packed["growth"]
    packed |= _quantize("prior", prior)
    moves = (packed["prior"] != 0).any(2)
    packed["prior"] = packed["prior"][moves]
    packed[PRIOR_MASK_KEY] = torch.from_numpy(np.packbits(moves.numpy(), axis=1))
    for name in QUANTIZED_BASES:
        packed |= _quantize(name, state[name].view(len(state[name]), -1, OFFSET_COMPONENTS))
    return packed


def unpack_state(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state that `pack` was given, within a step.

    Raises:
        KeyError, RuntimeError, IndexError, ValueError: something is missing or does not fit.
    """
    state = {name: value.float() if name in HALF_PRECISION_TENSORS else value for name, value in packed.items()}
    for name in QUANTIZED_BASES:
        state[name] = _dequantize(state, name).flatten(1)
    count = len(state["means"])
    if len(state[PRIOR_MASK_KEY]) != len(CHANNELS) or state[PRIOR_MASK_KEY].shape[1:] != (-(-count // 8),):
        raise ValueError(PRIOR_MASK_KEY)
    moves = torch.from_numpy(np.unpackbits(state.pop(PRIOR_MASK_KEY).numpy(), axis=1, count=count)).bool()
    prior = torch.zeros(len(moves), count, state["prior"].shape[1], dtype=torch.int8)
    prior[moves] = state["prior"]
    state["prior"] = prior
    prior = _dequantize(state, "prior")
    state["prior"], state["growth"] = prior[..., :3].flatten(1), prior[..., 3]
    return state


def _quantize(name: str, values: Tensor) -> dict[str, Tensor]:
    """Values (K, N, C) as bytes, with a scale for each of (K, C)."""
    scale = (
        values.abs().amax(1, keepdim=True) / QUANTIZATION_STEPS
        if values.shape[1]
        else values.new_zeros(len(values), 1, 1)
    )
    stored = (values / scale.clamp_min(1e-12)).round().clamp(-QUANTIZATION_STEPS, QUANTIZATION_STEPS).to(torch.int8)
    return {name: stored, name + SCALE_SUFFIX: scale}


def _dequantize(state: dict[str, Tensor], name: str) -> Tensor:
    stored, scale = state[name], state.pop(name + SCALE_SUFFIX)
    if scale.shape != (len(stored), 1, stored.shape[2]) and stored.numel():
        raise ValueError(name)
    return stored.float() * scale
