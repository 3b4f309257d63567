"""Smooth interpolation of values over a mesh from a few of its vertices."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from ..contract.arrays import F64, I32
from .subdivision import build_adjacency

MEMBRANE_WEIGHT = 0.004  # against the thin plate's 1; larger swings less beyond the fixed vertices but creases at them
DAMPING = 1e-7  # keeps the system solvable where nothing is fixed; too small to be seen


def interpolate_thin_plate(faces: I32, vertex_count: int, fixed: I32, values: F64) -> F64:
    """Return the smoothest values over a mesh that equal `values` at the vertices `fixed`.

    They minimise the squared graph Laplacian (a thin plate, which leaves the fixed vertices without creases) plus a
    little of the squared differences along edges (a membrane, which overshoots less).

    Args:
        faces: (F, 3) triangles.
        vertex_count: V.
        fixed: (M,) vertices with known values.
        values: (M, C) these values.

    Returns:
        (V, C) values of all vertices.
    """
    links = build_adjacency(faces, vertex_count)
    valence = sparse.diags(links.sum(1).A1)
    laplacian = sparse.identity(vertex_count) - sparse.diags(1 / np.maximum(links.sum(1).A1, 1)) @ links
    energy = (
        laplacian.T @ laplacian + MEMBRANE_WEIGHT * (valence - links) + DAMPING * sparse.identity(vertex_count)
    ).tocsc()
    free = np.setdiff1d(np.arange(vertex_count), fixed)
    field = np.zeros((vertex_count, values.shape[1]))
    field[fixed] = values
    right_side = -energy[free][:, fixed] @ values
    field[free] = splu(energy[free][:, free]).solve(right_side)
    return field
