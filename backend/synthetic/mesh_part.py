"""A textured surface of the synthetic actor, and what builds and joins such surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract.arrays import F64, I32


@dataclass
class MeshPart:
    """One surface at rest, head space.

    Attributes:
        vertices: (V, 3) metres.
        faces: (F, 3) vertex indices.
        uv: (V, 2) in 0–1 of the part's rectangle of the atlas, u to the right, v downwards.
    """

    vertices: F64
    faces: I32
    uv: F64


def join_parts(parts: list[MeshPart]) -> MeshPart:
    """Return several surfaces as one."""
    starts = np.cumsum([0, *(len(p.vertices) for p in parts[:-1])])
    faces = [p.faces + start for p, start in zip(parts, starts, strict=True)]
    return MeshPart(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate(faces).astype(np.int32),
        np.concatenate([p.uv for p in parts]),
    )


def grid_faces(rows: int, columns: int, *, is_closed: bool = False) -> I32:
    """Triangles of a grid of vertices in row order; `is_closed` joins the last column to the first."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if is_closed else columns - 1), indexing="ij")
    right = (column + 1) % columns
    a, b = row * columns + column, row * columns + right
    c, d = a + columns, b + columns
    faces = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])
    return np.asarray(faces.reshape(-1, 3), np.int32)


def strand_directions(part: MeshPart) -> F64:
    """(V, 3) unit directions on the surface along which v grows and u stays: the way a hair runs."""
    (p, q, r), (a, b, c) = (tuple(table[part.faces[:, i]] for i in range(3)) for table in (part.vertices, part.uv))
    du, dv = np.stack([b[:, 0] - a[:, 0], c[:, 0] - a[:, 0]]), np.stack([b[:, 1] - a[:, 1], c[:, 1] - a[:, 1]])
    determinant = du[0] * dv[1] - du[1] * dv[0]
    tangent = ((r - p) * du[0][:, None] - (q - p) * du[1][:, None]) * np.sign(determinant)[:, None]
    total = np.zeros_like(part.vertices)
    for corner in range(3):
        np.add.at(total, part.faces[:, corner], tangent)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12))
