"""The sample actor's hair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cage import Cage, skull_distance
from .parts import Part, grid_faces

F64 = NDArray[np.float64]

CENTRE = np.array([0.0, 0.010, -0.066])


def _surface(direction: F64) -> F64:
    """(N,) distance from `CENTRE` to the scalp along unit directions, metres."""
    near, far = np.zeros(len(direction)), np.full(len(direction), 0.25)
    for _ in range(24):
        middle = (near + far) / 2
        inside = skull_distance(CENTRE + direction * middle[:, None]) < 0
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return near


def hair(cage: Cage, seed: int, strands: bool) -> Part:
    """Hair as a cap over the scalp."""
    rows, columns = 60, 120
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns, endpoint=False), indexing="ij")
    turn = 2 * np.pi * u
    reach = np.radians(62 + 68 * (1 - np.cos(turn)) / 2)  # from the crown: short in front, long at the back
    tilt = v * reach
    direction = np.stack([np.sin(tilt) * np.sin(turn), np.cos(tilt), np.sin(tilt) * np.cos(turn)], -1).reshape(-1, 3)
    edge = np.clip((1 - v.ravel()) / 0.25, 0, 1)
    radius = _surface(direction) + 0.016 * np.sqrt(edge) - 0.004
    return Part(
        CENTRE + direction * radius[:, None],
        grid_faces(rows, columns, closed=True),
        np.stack([u, v], -1).reshape(-1, 2),
    )
