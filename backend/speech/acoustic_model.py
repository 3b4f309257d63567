"""The acoustic model in models/en-us: how likely a sound is under each state of a phone.

The decoder of its program, pocketsphinx, gives only the best sequence of phones. Speech animation learns better from
probabilities, so the model's Gaussians are evaluated here. It is a phonetically tied mixture model (CMU Sphinx, en-us):
every phone has its own 128 Gaussians for each of three streams (cepstra, their first and their second differences),
shared by that phone's tied states ("senones") with different weights. File formats: s3file (means, variances), bin_mdef
and sendump.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ..contract.arrays import F32, I64, U8
from ..contract.errors import UserError

MODEL_FOLDER = Path(__file__).parent / "models" / "en-us"
STREAMS = 3  # cepstra, first and second differences
CEPSTRA = 13  # coefficients per stream
STATES = 3  # per phone
VARIANCE_FLOOR = 1e-4  # pocketsphinx's default for -varfloor
WEIGHT_STEP = 1024 * np.log(1.0001)  # nats per unit of a stored mixture weight: log base 1.0001, shifted by 10 bits
MIN_DENSITY = 1e-30  # keeps the logarithm finite where no Gaussian fits
FRAMES_PER_CHUNK = 1000  # frames evaluated at once: bounds memory

S3FILE_HEADER_END = b"endhdr\n"
S3FILE_BYTE_ORDER = 0x11223344  # of a little-endian file
MDEF_MAGIC = b"BMDF"
MDEF_ENTRY = np.dtype([("sequence", "<i4"), ("transition", "<i4"), ("context", "u1", 4)])  # one triphone


@dataclass(frozen=True)
class AcousticModel:
    """P phones of `STATES` states.

    Attributes:
        phones: P names, ARPAbet; "SIL" is silence, "+NSN+" and "+SPN+" are noises such as breath.
        means: (P, 3, 128, 13) of the Gaussians.
        precisions: (P, 3, 128, 13) inverse variances.
        constants: (P, 3, 128) logarithms of the Gaussians' factors.
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
        chunks = [
            self._chunk_log_likelihoods(features[i : i + FRAMES_PER_CHUNK])
            for i in range(0, len(features), FRAMES_PER_CHUNK)
        ]
        return np.concatenate(chunks)

    def _chunk_log_likelihoods(self, features: F32) -> F32:
        result = np.empty((len(features), len(self.phones), STATES), np.float32)
        for phone, states in enumerate(self.states):
            scores = self._senone_log_likelihoods(features, phone)
            for state in range(STATES):
                state_scores = scores[:, states == state]
                peak = state_scores.max(1, keepdims=True)
                result[:, phone, state] = np.log(np.exp(state_scores - peak).mean(1)) + peak[:, 0]
        return result

    def _senone_log_likelihoods(self, features: F32, phone: int) -> F32:
        """(T, N) log likelihoods under the senones of a phone."""
        weights = self.weights[phone]
        scores = np.zeros((len(features), weights.shape[2]), np.float32)
        for stream in range(STREAMS):
            x, precision = features[:, stream], self.precisions[phone, stream]
            density = self.constants[phone, stream] + x @ (precision * self.means[phone, stream]).T
            density -= 0.5 * (x**2) @ precision.T
            peak = density.max(1, keepdims=True)
            scores += np.log(np.exp(density - peak) @ weights[stream] + MIN_DENSITY) + peak
        return scores


@cache
def load_acoustic_model() -> AcousticModel:
    """Return the en-us model.

    Raises:
        UserError: ``broken_backend``: a file of the model is missing or damaged.
    """
    try:
        return _read_model(MODEL_FOLDER)
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise UserError(
            "broken_backend", "The phone recogniser's model cannot be read.", "Install Portrait Actor again."
        ) from error


def _read_model(folder: Path) -> AcousticModel:
    """Read the model's four files."""
    means = _read_gaussians(folder / "means")
    precisions = 1 / np.maximum(_read_gaussians(folder / "variances"), VARIANCE_FLOOR)
    constants = 0.5 * (np.log(precisions / (2 * np.pi)) - precisions * means**2).sum(-1)
    phones, phone_of_senone, state_of_senone = _read_definition(folder / "mdef")
    weights = _read_mixture_weights(folder / "sendump")
    if len(means) != len(phones) or weights.shape != (STREAMS, means.shape[2], len(phone_of_senone)):
        raise ValueError("the model's files do not fit together")
    senones = _senones_inside_words(phone_of_senone, len(phones))
    return AcousticModel(
        phones,
        means,
        precisions.astype(np.float32),
        constants.astype(np.float32),
        tuple(np.exp(-WEIGHT_STEP * weights[:, :, s].astype(np.float32)).astype(np.float32) for s in senones),
        tuple(state_of_senone[s] for s in senones),
    )


def _senones_inside_words(phone_of_senone: I64, phone_count: int) -> list[I64]:
    """Each phone's senones in the context of other phones; its senones without context where it has no others."""
    has_context = np.arange(len(phone_of_senone)) >= STATES * phone_count  # the first senones are those without
    result = []
    for phone in range(phone_count):
        is_own = phone_of_senone == phone
        result.append(np.flatnonzero(is_own & (has_context | ~(has_context & is_own).any())))
    return result


def _read_gaussians(path: Path) -> F32:
    """(phones, streams, densities, values) of an s3file."""
    data = path.read_bytes()
    at = data.index(S3FILE_HEADER_END) + len(S3FILE_HEADER_END)
    byte_order, phones, streams, densities = struct.unpack_from("<I3i", data, at)
    lengths = struct.unpack_from(f"<{streams}i", data, at + 16)
    if byte_order != S3FILE_BYTE_ORDER or lengths != (CEPSTRA,) * STREAMS:
        raise ValueError(f"{path.name} has another layout")
    values = np.frombuffer(data, "<f4", phones * streams * densities * CEPSTRA, at + 20 + 4 * streams)
    return values.reshape(phones, streams, densities, CEPSTRA)


def _read_definition(path: Path) -> tuple[tuple[str, ...], I64, I64]:
    """Phone names, and for every senone its phone and its state, from a binary mdef."""
    data = path.read_bytes()
    if data[:4] != MDEF_MAGIC:
        raise ValueError(f"{path.name} has another layout")
    at = 12 + struct.unpack_from("<i", data, 8)[0]
    phone_count, triphones, states, _, senones, _, sequences, _, tree_nodes, _ = struct.unpack_from("<10i", data, at)
    if states != STATES:
        raise ValueError(f"{path.name} has {states} states per phone")
    names_start = at = at + 40
    names = []
    for _ in range(phone_count):
        end = data.index(b"\0", at)
        names.append(data[at:end].decode("ascii"))
        at = end + 1
    at = names_start + (at - names_start + 3) // 4 * 4 + 8 * tree_nodes
    entries = np.frombuffer(data, MDEF_ENTRY, triphones, at)
    at += MDEF_ENTRY.itemsize * triphones + 4
    table = np.frombuffer(data, "<u2", sequences * STATES, at).reshape(sequences, STATES)[entries["sequence"]]
    # The first entries are the phones without context; a triphone's second context number is its phone.
    phones = np.where(np.arange(triphones) < phone_count, np.arange(triphones), entries["context"][:, 1])
    phone_of_senone, state_of_senone = np.zeros(senones, np.int64), np.zeros(senones, np.int64)
    for state in range(STATES):
        phone_of_senone[table[:, state]], state_of_senone[table[:, state]] = phones, state
    return tuple(names), phone_of_senone, state_of_senone


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
