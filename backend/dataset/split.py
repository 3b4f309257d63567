"""Which frames of a clip train the model, and which are held out for its evaluation."""

from __future__ import annotations

import numpy as np

from ..contract.actor_folder import ActorInfo
from ..contract.arrays import I64


def first_held_out_frame(frame_count: int) -> int:
    """Return the index of the first held-out frame. The last eleventh of a clip never trains a model."""
    return max(1, frame_count * 10 // 11)


def usable_train_frames(info: ActorInfo, train_frame_count: int) -> I64:
    """Return the indices below `train_frame_count` that `info.excluded` does not name, or all if none would be left."""
    is_usable = np.ones(train_frame_count, bool)
    start = info.segments[0][0] if info.segments else 0
    for first, last, _ in info.excluded:
        is_usable[max(int(first) - start, 0) : max(int(last) + 1 - start, 0)] = False
    return np.flatnonzero(is_usable) if is_usable.any() else np.arange(train_frame_count)
