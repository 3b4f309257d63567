"""Loop subdivision of a triangle mesh as one sparse matrix, so that a cage moved per frame gives a smooth surface.

Formulas: C. Loop, "Smooth Subdivision Surfaces Based on Triangles", University of Utah, 1987; boundaries are
cubic B-splines.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..contract.arrays import F64, I32, I64


def find_edges(faces: I32) -> tuple[I32, I32, I32]:
    """The undirected edges of a mesh.

    Returns:
        (E, 2) vertex pairs, (F, 3) edge of each face's sides ab, bc, ca, and (E,) how many faces share the edge.
    """
    sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, which, counts = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    return edges.astype(np.int32), which.reshape(-1, 3).astype(np.int32), counts.astype(np.int32)


def build_adjacency(faces: I32, vertex_count: int) -> sparse.csr_matrix:
    """(count, count) matrix with 1 where two vertices share an edge."""
    edges, _, _ = find_edges(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    return sparse.csr_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(vertex_count, vertex_count))


def subdivide_once(faces: I32, vertex_count: int, creases: I32) -> tuple[sparse.csr_matrix, I32, I32]:
    """One subdivision of a mesh with `count` vertices and (C, 2) creased edges, which follow the boundaries' rule.

    Returns:
        (fine, coarse) weights, the (4F, 3) fine faces, and the (2C, 2) fine creases. The first `count` fine vertices
        are the coarse ones, moved; then comes one vertex for each edge.
    """
    edges, sides, shared = find_edges(faces)
    rows: list[I64] = []
    columns: list[I64] = []
    weights: list[F64] = []

    def add_weights(row: I32, column: I32, weight: F64 | float) -> None:
        rows.append(row.astype(np.int64))
        columns.append(column.astype(np.int64))
        weights.append(np.broadcast_to(np.asarray(weight, np.float64), row.shape))

    key = edges[:, 0].astype(np.int64) * vertex_count + edges[:, 1]
    sharp = np.sort(creases, axis=1).astype(np.int64)
    creased = np.searchsorted(key, sharp[:, 0] * vertex_count + sharp[:, 1])
    inner = shared == 2
    inner[creased] = False
    for end in range(2):
        add_weights(vertex_count + np.arange(len(edges), dtype=np.int32), edges[:, end], np.where(inner, 3 / 8, 1 / 2))
    for corner, side in ((2, 0), (0, 1), (1, 2)):  # the corner opposite each side
        edge = sides[:, side]
        keep = inner[edge]
        add_weights((vertex_count + edge[keep]).astype(np.int32), faces[keep, corner], 1 / 8)

    rim = edges[~inner]
    on_rim = np.zeros(vertex_count, bool)
    on_rim[rim.ravel()] = True
    valence = np.bincount(edges.ravel(), minlength=vertex_count)
    beta = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))
    vertex = np.arange(vertex_count, dtype=np.int32)
    add_weights(vertex, vertex, np.where(on_rim, 3 / 4, 1 - valence * beta))
    for end in range(2):
        here, there = edges[:, end], edges[:, 1 - end]
        free = ~on_rim[here]
        add_weights(here[free], there[free], beta[here[free]])
        add_weights(rim[:, end], rim[:, 1 - end], 1 / 8)

    shape = (vertex_count + len(edges), vertex_count)
    matrix = sparse.csr_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    ab, bc, ca = (vertex_count + sides).T
    a, b, c = faces.T
    fine = np.stack([np.stack(t, 1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))], 1)
    middles = vertex_count + creased
    halves = np.concatenate([np.stack([sharp[:, end], middles], 1) for end in (0, 1)])
    return matrix, fine.reshape(-1, 3).astype(np.int32), halves.astype(np.int32)


def subdivide(faces: I32, vertex_count: int, levels: int, creases: I32) -> tuple[sparse.csr_matrix, I32, I32]:
    """`levels` Loop steps with (C, 2) creased edges: the (fine, coarse) weights, the fine faces, and the
    coarse face that each fine face lies in."""
    matrix = sparse.identity(vertex_count, format="csr")
    parent = np.arange(len(faces), dtype=np.int32)
    for _ in range(levels):
        step, faces, creases = subdivide_once(faces, matrix.shape[0], creases)
        matrix = (step @ matrix).tocsr()
        parent = np.repeat(parent, 4)
    return matrix, faces, parent
