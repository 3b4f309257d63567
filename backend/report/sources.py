"""Compares two sources of the channels: the blendshape fit and the scores of a face landmarker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract.actor_folder import ActorFolder, damaged_file_error
from ..contract.channels import CHANNELS

SOURCES_FILE = "landmarker.npz"
MIN_STANDARD_DEVIATION = 1e-3  # of both curves; a smaller one has no meaningful correlation


@dataclass(frozen=True)
class ChannelAgreement:
    """The agreement of two curves of one channel.

    Attributes:
        name: the channel.
        correlation: Pearson's r, or None if a curve is constant.
        difference: mean absolute difference.
    """

    name: str
    correlation: float | None
    difference: float


def compare_sources(folder: ActorFolder) -> list[ChannelAgreement]:
    """Return the agreement of every channel, or nothing for an actor with a single source.

    Raises:
        UserError: the table of the second source is damaged.
    """
    if not folder.file_path(SOURCES_FILE).exists():
        return []
    table = folder.load_arrays(SOURCES_FILE, {"fitted": ("T", len(CHANNELS)), "scores": ("T", len(CHANNELS))})
    fitted, scores = (np.asarray(table[name], np.float64) for name in ("fitted", "scores"))
    if not len(fitted):
        raise damaged_file_error(folder.file_path(SOURCES_FILE))
    result = []
    for index, name in enumerate(CHANNELS):
        a, b = fitted[:, index], scores[:, index]
        varies = min(float(a.std()), float(b.std())) > MIN_STANDARD_DEVIATION
        correlation = float(np.corrcoef(a, b)[0, 1]) if varies else None
        result.append(ChannelAgreement(name, correlation, float(np.abs(a - b).mean())))
    return result
