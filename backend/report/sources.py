"""Two sources of the channels beside each other: the own fit, and the scores of a face landmarker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract.actor_folder import ActorFolder, damaged_file_error
from ..contract.channels import CHANNELS

SOURCES_FILE = "landmarker.npz"


@dataclass(frozen=True)
class ChannelAgreement:
    """How two curves of one channel agree: Pearson's r (None where one does not move), mean absolute difference."""

    name: str
    correlation: float | None
    difference: float


def compare_sources(folder: ActorFolder) -> list[ChannelAgreement]:
    """The agreement of every channel; empty for an actor that has one source only.

    Raises:
        UserError: the table of the second source is damaged.
    """
    if not folder.file_path(SOURCES_FILE).exists():
        return []
    table = folder.load_arrays(SOURCES_FILE, {"fitted": ("T", len(CHANNELS)), "scores": ("T", len(CHANNELS))})
    ours, theirs = (np.asarray(table[name], np.float64) for name in ("fitted", "scores"))
    if not len(ours):
        raise damaged_file_error(folder.file_path(SOURCES_FILE))
    result = []
    for index, name in enumerate(CHANNELS):
        a, b = ours[:, index], theirs[:, index]
        moves = min(float(a.std()), float(b.std())) > 1e-3
        correlation = float(np.corrcoef(a, b)[0, 1]) if moves else None
        result.append(ChannelAgreement(name, correlation, float(np.abs(a - b).mean())))
    return result
