"""The portrait's tensors on disk: a seventh of their size in memory, without a visible difference.

Motion is stored in bytes, with a scale for each shape and component (x, y, z; red, green, blue; opacity): one step is a
254th of the range, for the jaw a tenth of a millimetre. A channel moves about a seventh of the Gaussians, so of the
prior only the values that are not zero are stored, with a mask of one bit for each Gaussian. Values of single Gaussians
are stored in half precision, except for their positions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..contract.channels import CHANNELS
from .branch import OFFSET_COMPONENTS

QUANTIZATION_STEPS = 127  # on either side of zero: the range of int8
HALF_PRECISION_TENSORS = ("quats", "log_scales", "opacity_logits", "colours", "skin_logits")
QUANTIZED_BASES = ("facial.basis", "oral.basis", "rigid.basis")
SCALE_SUFFIX = ".scale"
PRIOR_MASK_KEY = "prior.where"


def pack_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors to write for a portrait's state dict."""
    packed = {name: value.half() if name in HALF_PRECISION_TENSORS else value for name, value in state.items()}
    prior = torch.cat([state["prior"].view(len(state["prior"]), -1, 3), state["growth"][..., None]], 2)
    del packed["growth"]
    packed |= _quantize("prior", prior)
    is_moved = (packed["prior"] != 0).any(2)
    packed["prior"] = packed["prior"][is_moved]
    packed[PRIOR_MASK_KEY] = torch.from_numpy(np.packbits(is_moved.numpy(), axis=1))
    for name in QUANTIZED_BASES:
        packed |= _quantize(name, state[name].view(len(state[name]), -1, OFFSET_COMPONENTS))
    return packed


def unpack_state(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict that `pack_state` packed, within a step.

    Raises:
        KeyError: a tensor is missing.
        ValueError: shapes do not fit together.
        RuntimeError: torch refuses a shape.
        IndexError: the mask does not fit the prior.
    """
    state = {name: value.float() if name in HALF_PRECISION_TENSORS else value for name, value in packed.items()}
    for name in QUANTIZED_BASES:
        state[name] = _dequantize(state, name).flatten(1)
    count = len(state["means"])
    if len(state[PRIOR_MASK_KEY]) != len(CHANNELS) or state[PRIOR_MASK_KEY].shape[1:] != (-(-count // 8),):
        raise ValueError(PRIOR_MASK_KEY)
    is_moved = torch.from_numpy(np.unpackbits(state.pop(PRIOR_MASK_KEY).numpy(), axis=1, count=count)).bool()
    prior = torch.zeros(len(is_moved), count, state["prior"].shape[1], dtype=torch.int8)
    prior[is_moved] = state["prior"]
    state["prior"] = prior
    prior = _dequantize(state, "prior")
    state["prior"], state["growth"] = prior[..., :3].flatten(1), prior[..., 3]
    return state


def _quantize(name: str, values: Tensor) -> dict[str, Tensor]:
    """Return values (K, N, C) as bytes, with a scale for each of (K, C)."""
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
