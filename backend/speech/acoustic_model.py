"""The acoustic model in models/en-us, as arrays: how likely a sound is under each state of a phone.

The all-phone decoding of its program, pocketsphinx, tells only the best sequence; speech animation learns better from
soft evidence, so the model's Gaussians are evaluated here. It is a phonetically tied mixture model (CMU Sphinx, en-
us): every phone has its own 128 Gaussians for each of three streams (cepstra, their first and their second
differences), shared by that phone's tied states ("senones") with different weights. File formats: s3file (means,
variances), bin_mdef and sendump.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ..contract.arrays import F32, I64, U8
from ..contract.errors import UserError

FOLDER = Path(__file__).parent / "models" / "en-us"
STREAMS, CEPSTRA, STATES = 3, 13, 3
VARIANCE_FLOOR = 1e-4  # pocketsphinx's default -varfloor
WEIGHT_STEP = 1024 * np.log(1.0001)  # nats per unit of a stored mixture weight: log base 1.0001, shifted by 10 bits
FRAMES_PER_CHUNK = 1000  # frames evaluated at once, so that memory does not grow with the length of the sound


@dataclass(frozen=True)
class AcousticModel:
    """P phones of `STATES` states.

    Attributes:
        phones: P names, ARPAbet; "SIL" is silence, "+NSN+" and "+SPN+" are noises such as breath.
        means, precisions: (P, 3, 128, 13).
        constants: (P, 3, 128) log normalisers of the Gaussians.
        weights: for each phone (3, 128, N) mixture weights of the N senones that occur inside a word.
        states: for each phone (N,) the state 0–2 that each of those senones belongs to.
    """

    phones: tuple[str, ...]
    means: F32
    precisions: F32
    constants: F32
    weights: tuple[F32, ...]
    states: tuple[I64, ...]

    def state_log_likelihoods(self, features: F32) -> F32:
        """Natural log likelihoods (T, P, 3) of features (T, 3, 13) under each state, averaged over its senones."""
        parts = [
            self._chunk_log_likelihoods(features[i : i + FRAMES_PER_CHUNK])
            for i in range(0, len(features), FRAMES_PER_CHUNK)
        ]
        return np.concatenate(parts)

    def _chunk_log_likelihoods(self, features: F32) -> F32:
        result = np.empty((len(features), len(self.phones), STATES), np.float32)
        for phone, (weights, states) in enumerate(zip(self.weights, self.states, strict=True)):
            score = np.zeros((len(features), weights.shape[2]), np.float32)
            for stream in range(STREAMS):
                x, precision = features[:, stream], self.precisions[phone, stream]
                density = self.constants[phone, stream] + x @ (precision * self.means[phone, stream]).T
                density -= 0.5 * (x**2) @ precision.T
                top = density.max(1, keepdims=True)
                score += np.log(np.exp(density - top) @ weights[stream] + 1e-30) + top
            for state in range(STATES):
                own = score[:, states == state]
                top = own.max(1, keepdims=True)
                result[:, phone, state] = np.log(np.exp(own - top).mean(1)) + top[:, 0]
        return result


@cache
def load_acoustic_model() -> AcousticModel:
    """The en-us model that lies beside this file.

    Raises:
        UserError: a file of the model is missing or damaged.
    """
    try:
        return _read_model(FOLDER)
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise UserError(
            "broken_backend", "The phone recogniser's model cannot be read.", "Install Portrait Actor again."
        ) from error


def _read_model(folder: Path) -> AcousticModel:
    means = _read_gaussians(folder / "means")
    precisions = 1 / np.maximum(_read_gaussians(folder / "variances"), VARIANCE_FLOOR)
    constants = 0.5 * (np.log(precisions / (2 * np.pi)) - precisions * means**2).sum(-1)
    phones, owner, state = _read_definition(folder / "mdef")
    weights = _read_mixture_weights(folder / "sendump")
    if len(means) != len(phones) or weights.shape != (STREAMS, means.shape[2], len(owner)):
        raise ValueError("the model's files do not fit together")
    inside = np.arange(len(owner)) >= STATES * len(phones)  # the first senones are the phones' own, out of context
    pick = [np.flatnonzero((owner == p) & (inside | ~(inside & (owner == p)).any())) for p in range(len(phones))]
    return AcousticModel(
        phones,
        means,
        precisions.astype(np.float32),
        constants.astype(np.float32),
        tuple(np.exp(-WEIGHT_STEP * weights[:, :, p].astype(np.float32)).astype(np.float32) for p in pick),
        tuple(state[p] for p in pick),
    )


def _read_gaussians(path: Path) -> F32:
    """(phones, streams, densities, values) of an s3file."""
    data = path.read_bytes()
    at = data.index(b"endhdr\n") + 7
    order, phones, streams, densities = struct.unpack_from("<I3i", data, at)
    lengths = struct.unpack_from(f"<{streams}i", data, at + 16)
    if order != 0x11223344 or lengths != (CEPSTRA,) * STREAMS:
        raise ValueError(f"{path.name} has another layout")
    values = np.frombuffer(data, "<f4", phones * streams * densities * CEPSTRA, at + 20 + 4 * streams)
    return values.reshape(phones, streams, densities, CEPSTRA)


def _read_definition(path: Path) -> tuple[tuple[str, ...], I64, I64]:
    """Phone names, and for every senone its phone and its state, from a binary mdef."""
    data = path.read_bytes()
    if data[:4] != b"BMDF":
        raise ValueError(f"{path.name} has another layout")
    at = 12 + struct.unpack_from("<i", data, 8)[0]
    phone_count, triphones, states, _, senones, _, sequences, _, tree, _ = struct.unpack_from("<10i", data, at)
    if states != STATES:
        raise ValueError(f"{path.name} has {states} states per phone")
    begin = at = at + 40
    names = []
    for _ in range(phone_count):
        end = data.index(b"\0", at)
        names.append(data[at:end].decode("ascii"))
        at = end + 1
    at = begin + (at - begin + 3) // 4 * 4 + 8 * tree
    entry = np.dtype([("sequence", "<i4"), ("transition", "<i4"), ("context", "u1", 4)])
    entries = np.frombuffer(data, entry, triphones, at)
    at += entry.itemsize * triphones + 4
    table = np.frombuffer(data, "<u2", sequences * STATES, at).reshape(sequences, STATES)[entries["sequence"]]
    base = np.where(np.arange(triphones) < phone_count, np.arange(triphones), entries["context"][:, 1])
    owner, state = np.zeros(senones, np.int64), np.zeros(senones, np.int64)
    for s in range(STATES):
        owner[table[:, s]], state[table[:, s]] = base, s
    return tuple(names), owner, state


def _read_mixture_weights(path: Path) -> U8:
    """(streams, densities, senones) quantised negative log weights of a sendump without clusters."""
    data = path.read_bytes()
    at = 0
    while (length := struct.unpack_from("<i", data, at)[0]) != 0:
        if data[at + 4 : at + 4 + length].startswith(b"cluster_count") and b"cluster_count 0" not in data[at : at + 24]:
            raise ValueError(f"{path.name} is clustered")
        at += 4 + length
    densities, senones = struct.unpack_from("<2i", data, at + 4)
    return np.frombuffer(data, np.uint8, STREAMS * densities * senones, at + 12).reshape(STREAMS, densities, senones)
