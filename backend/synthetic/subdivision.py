"""Loop subdivision of a triangle mesh as one sparse matrix, so that a cage moved per frame gives a smooth surface.

Formulas: C. Loop, "Smooth Subdivision Surfaces Based on Triangles", University of Utah, 1987; boundaries are
cubic B-splines.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..contract.arrays import F64, I32, I64, Mask


def find_edges(faces: I32) -> tuple[I32, I32, I32]:
    """Find the undirected edges of a mesh.

    Returns:
        (E, 2) vertex pairs, (F, 3) edge of each face's sides ab, bc, ca, and (E,) how many faces share the edge.
    """
    sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, edge_index, counts = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    return edges.astype(np.int32), edge_index.reshape(-1, 3).astype(np.int32), counts.astype(np.int32)


def build_adjacency(faces: I32, vertex_count: int) -> sparse.csr_matrix:
    """Build the (V, V) matrix with 1 where two vertices share an edge."""
    edges, _, _ = find_edges(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    return sparse.csr_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(vertex_count, vertex_count))


class _WeightTriplets:
    """Collects the rows, columns and weights of a sparse matrix."""

    def __init__(self) -> None:
        self._rows: list[I64] = []
        self._columns: list[I64] = []
        self._weights: list[F64] = []

    def add(self, row: I32, column: I32, weight: F64 | float) -> None:
        self._rows.append(row.astype(np.int64))
        self._columns.append(column.astype(np.int64))
        self._weights.append(np.broadcast_to(np.asarray(weight, np.float64), row.shape))

    def to_matrix(self, shape: tuple[int, int]) -> sparse.csr_matrix:
        """Sum the triplets to a matrix of this shape."""
        places = np.concatenate(self._rows), np.concatenate(self._columns)
        return sparse.csr_matrix((np.concatenate(self._weights), places), shape=shape)


def subdivide_once(faces: I32, vertex_count: int, creases: I32) -> tuple[sparse.csr_matrix, I32, I32]:
    """Subdivide a mesh once.

    Args:
        faces: (F, 3) coarse triangles.
        vertex_count: V, coarse vertices.
        creases: (C, 2) creased edges, which follow the rule of boundaries.

    Returns:
        (fine, coarse) weights, the (4F, 3) fine faces, and the (2C, 2) fine creases. The first V fine vertices are the
        coarse ones, moved; one vertex for each edge follows.
    """
    edges, sides, face_counts = find_edges(faces)
    keys = edges[:, 0].astype(np.int64) * vertex_count + edges[:, 1]
    sharp = np.sort(creases, axis=1).astype(np.int64)
    creased = np.searchsorted(keys, sharp[:, 0] * vertex_count + sharp[:, 1])
    is_smooth = face_counts == 2
    is_smooth[creased] = False

    triplets = _WeightTriplets()
    _add_edge_vertices(triplets, faces, edges, sides, is_smooth, vertex_count)
    _add_moved_vertices(triplets, edges, is_smooth, vertex_count)
    matrix = triplets.to_matrix((vertex_count + len(edges), vertex_count))
    ab, bc, ca = (vertex_count + sides).T
    a, b, c = faces.T
    fine = np.stack([np.stack(t, 1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))], 1)
    middles = vertex_count + creased
    halves = np.concatenate([np.stack([sharp[:, end], middles], 1) for end in (0, 1)])
    return matrix, fine.reshape(-1, 3).astype(np.int32), halves.astype(np.int32)


def _add_edge_vertices(
    triplets: _WeightTriplets, faces: I32, edges: I32, sides: I32, is_smooth: Mask, vertex_count: int
) -> None:
    """Add the weights of the new vertices, one on each edge."""
    for end in range(2):
        new = vertex_count + np.arange(len(edges), dtype=np.int32)
        triplets.add(new, edges[:, end], np.where(is_smooth, 3 / 8, 1 / 2))
    for corner, side in ((2, 0), (0, 1), (1, 2)):  # the corner opposite each side
        edge = sides[:, side]
        keep = is_smooth[edge]
        triplets.add((vertex_count + edge[keep]).astype(np.int32), faces[keep, corner], 1 / 8)


def _add_moved_vertices(triplets: _WeightTriplets, edges: I32, is_smooth: Mask, vertex_count: int) -> None:
    """Add the weights of the coarse vertices, which move towards their neighbours."""
    rim = edges[~is_smooth]
    is_on_rim = np.zeros(vertex_count, bool)
    is_on_rim[rim.ravel()] = True
    valence = np.bincount(edges.ravel(), minlength=vertex_count)
    beta = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))
    vertex = np.arange(vertex_count, dtype=np.int32)
    triplets.add(vertex, vertex, np.where(is_on_rim, 3 / 4, 1 - valence * beta))
    for end in range(2):
        here, there = edges[:, end], edges[:, 1 - end]
        free = ~is_on_rim[here]
        triplets.add(here[free], there[free], beta[here[free]])
        triplets.add(rim[:, end], rim[:, 1 - end], 1 / 8)


def subdivide(faces: I32, vertex_count: int, levels: int, creases: I32) -> tuple[sparse.csr_matrix, I32, I32]:
    """Subdivide a mesh `levels` times; arguments as in `subdivide_once`.

    Returns:
        (fine, coarse) weights, the fine faces, and the coarse face that each fine face lies in.
    """
    matrix = sparse.identity(vertex_count, format="csr")
    parent = np.arange(len(faces), dtype=np.int32)
    for _ in range(levels):
        step, faces, creases = subdivide_once(faces, matrix.shape[0], creases)
        matrix = (step @ matrix).tocsr()
        parent = np.repeat(parent, 4)
    return matrix, faces, parent
