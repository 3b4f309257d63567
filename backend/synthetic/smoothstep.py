"""The eased transition that shapes and motion of the synthetic head share."""

from __future__ import annotations

import numpy as np

from ..contract.arrays import F64


def smoothstep(t: F64 | float) -> F64:
    """The cubic that rises from 0 at t = 0 to 1 at t = 1 with level ends (Perlin's smoothstep); clamped outside."""
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
