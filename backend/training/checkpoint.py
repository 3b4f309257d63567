"""The checkpoint of a training run: one safetensors file with everything that training needs to continue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..contract.actor_folder import ActorFolder

CHECKPOINT_PATH = Path("checkpoints", "training.safetensors")

# Prefixes of the tensors' names in the file.
PORTRAIT_PREFIX = "portrait."
REFINEMENT_PREFIX = "corrections."
SEEDS_PREFIX = "home."
AVERAGES_PREFIX = "average."
MOMENTS_PREFIX = "adam."

# Ends of the sentence that tells the user why training starts from the beginning.
OTHER_INPUTS = "the checkpoint belongs to other footage or settings."
DAMAGED = "the checkpoint is damaged."
OTHER_MODEL = "the checkpoint does not fit this model."


class UnusableCheckpointError(Exception):
    """Training cannot continue from a checkpoint. The message is one of the sentences of this module."""


@dataclass
class Checkpoint:
    """The state of a training run between two steps.

    Attributes:
        input_fingerprint: hash of the inputs that are trained on.
        step: number of finished steps.
        portrait_size: fields of the portrait's `PortraitSize`.
        portrait: state of the portrait.
        refinement: state of the pose refinement.
        seeds: seed parameters of the seed anchor.
        averages: moving averages of the portrait's parameters; empty before averaging begins.
        moments: state of Adam by the parameter's index and the name of the moment.
    """

    input_fingerprint: str
    step: int
    portrait_size: dict[str, int]
    portrait: dict[str, Tensor]
    refinement: dict[str, Tensor]
    seeds: dict[str, Tensor]
    averages: dict[str, Tensor]
    moments: dict[int, dict[str, Tensor]]


def write_checkpoint(folder: ActorFolder, checkpoint: Checkpoint) -> None:
    """Write the checkpoint into an actor folder.

    Raises:
        UserError: it cannot be written.
    """
    tensors = {
        f"{prefix}{name}": value
        for prefix, state in (
            (PORTRAIT_PREFIX, checkpoint.portrait),
            (REFINEMENT_PREFIX, checkpoint.refinement),
            (SEEDS_PREFIX, checkpoint.seeds),
            (AVERAGES_PREFIX, checkpoint.averages),
        )
        for name, value in state.items()
    }
    for index, moments in checkpoint.moments.items():
        tensors |= {f"{MOMENTS_PREFIX}{index}.{name}": value for name, value in moments.items()}
    metadata = {
        "inputs": checkpoint.input_fingerprint,
        "step": str(checkpoint.step),
        "size": json.dumps(checkpoint.portrait_size),
    }
    data = save({name: value.detach().contiguous().cpu() for name, value in tensors.items()}, metadata=metadata)
    folder.make_folder(CHECKPOINT_PATH.parent.name)
    with folder.write_atomically(str(CHECKPOINT_PATH)) as temporary:
        temporary.write_bytes(data)


def read_checkpoint(path: Path, input_fingerprint: str) -> Checkpoint | None:
    """Return the checkpoint of a file, or None if there is no file.

    Raises:
        UnusableCheckpointError: it is damaged, or belongs to other inputs.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            if metadata["inputs"] != input_fingerprint:
                raise UnusableCheckpointError(OTHER_INPUTS)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no dict)
        portrait_size = json.loads(metadata["size"])
        if not isinstance(portrait_size, dict):
            raise ValueError("size")
        return Checkpoint(
            input_fingerprint,
            int(metadata["step"]),
            portrait_size,
            _strip_prefix(tensors, PORTRAIT_PREFIX),
            _strip_prefix(tensors, REFINEMENT_PREFIX),
            _strip_prefix(tensors, SEEDS_PREFIX),
            _strip_prefix(tensors, AVERAGES_PREFIX),
            _group_moments(_strip_prefix(tensors, MOMENTS_PREFIX)),
        )
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise UnusableCheckpointError(DAMAGED) from error


def _strip_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _group_moments(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return moments by the parameter's index from names such as "3.exp_avg".

    Raises:
        ValueError: a name has another form.
    """
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".")
        moments.setdefault(int(index), {})[name] = value
    return moments
