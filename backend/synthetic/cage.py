"""The control cage of the sample head: a face with the tracker's 468 landmarks as vertices, closed to a head with neck.

Vertices 0–467 are MediaPipe's landmarks, so every landmark of the rendered head is known exactly. `face.csv` holds
their rest positions in head space, in millimetres: an average face, found by letting the tracker's network look at a
drawing and then, from many sides, at renderings of this head; eyes and lips were finished by hand. No person was
measured. Cranium and neck follow average adult proportions.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from ..contract.arrays import F64, I32
from .subdivision import build_adjacency

LANDMARK_COUNT = 468
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
# Each opening as its upper and its lower edge, both from the actor's right corner to the left one.
EYE_RIGHT = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133))
EYE_LEFT = ((362, 398, 384, 385, 386, 387, 388, 466, 263), (362, 382, 381, 380, 374, 373, 390, 249, 263))
LIPS_INNER = ((78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308), (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308))
LIPS_OUTER = ((61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291), (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291))

EYE_RADIUS = 0.0122  # metres
NECK_RING_COUNT = 22
MEMBRANE_WEIGHT = 0.004  # of `smooth_field`
NECK_PIVOT = np.array([0.0, -0.075, -0.075])  # where the head turns on the neck


@dataclass(frozen=True)
class Cage:
    """The cage at rest, head space, metres.

    Attributes:
        vertices: (V, 3). faces: (F, 3) counter-clockwise from outside.
        lids: per eye (right, left) the (16,) indices of the lid rim's inner ring.
        bag: (rings, 20) indices of the mouth's lining, from the lips inwards; columns: upper edge, then lower edge.
        neck: (rows, 36) indices from the face oval down to the collar; columns in the order of `OVAL`.
        eyes: (2, 3) centres of the eyeballs, right and left.
        mirror: (V,) the vertex on the other side.
    """

    vertices: F64
    faces: I32
    lid_rims: tuple[I32, I32]
    mouth_bag: I32
    neck_rings: I32
    eye_centers: F64
    mirror_index: I32


def closed_loop(opening: tuple[tuple[int, ...], tuple[int, ...]]) -> list[int]:
    """The closed loop of an opening: upper edge left to right, lower edge back; corners once."""
    upper, lower = opening
    return [*upper, *lower[-2:0:-1]]


def build_landmark_faces() -> I32:
    """(852, 3) triangles of the tracker's landmark mesh, eyes and mouth open, counter-clockwise seen from the front."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    neighbours: dict[int, set[int]] = defaultdict(set)
    for a, b in FACEMESH_TESSELATION:
        neighbours[a].add(b)
        neighbours[b].add(a)
    rings = sorted({tuple(sorted((a, b, c))) for a, b in FACEMESH_TESSELATION for c in neighbours[a] & neighbours[b]})
    sharing: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, ring in enumerate(rings):
        for side in combinations(ring, 2):
            sharing[side].append(index)
    # Three triangles around one vertex also form an outer ring, which is no face: all its sides are shared by three.
    real = {i for i, ring in enumerate(rings) if any(len(sharing[side]) < 3 for side in combinations(ring, 2))}
    turned = {rings.index((0, 11, 37)): (0, 37, 11)}
    queue = list(turned)
    while queue:
        ring = turned[queue.pop()]
        for a, b in zip(ring, (*ring[1:], ring[0]), strict=True):
            for index in sharing[min(a, b), max(a, b)]:
                if index in real and index not in turned:
                    (c,) = set(rings[index]) - {a, b}
                    turned[index] = (b, a, c)
                    queue.append(index)
    return np.array([turned[i] for i in sorted(turned)], np.int32)


def _build_band_faces(outer: I32, inner: I32, outer_x: F64) -> I32:
    """Triangles between two closed loops of as many vertices, outer loop counter-clockwise seen from outside.

    Args:
        across: (n,) x of the outer loop; the diagonals lean the other way on the other side, so that the mesh is
            symmetric.
    """
    a, b = outer, np.roll(outer, -1)
    c, d = inner, np.roll(inner, -1)
    leaning = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    other = np.concatenate([np.stack([a, c, d], 1), np.stack([a, d, b], 1)])
    left = np.tile(outer_x + np.roll(outer_x, -1) > 0, 2)
    return np.asarray(np.where(left[:, None], leaning, other), np.int32)


def _smooth_union(distances: F64, radius: float) -> F64:
    """Smooth minimum over the first axis: a union of solids with fillets of about `radius` metres."""
    return np.asarray(-radius * np.log(np.exp(-distances / radius).sum(0)))


def _capsule_distance(points: F64, start: tuple[float, ...], end: tuple[float, ...], r0: float, r1: float) -> F64:
    a, b = np.array(start), np.array(end)
    t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    return np.asarray(np.linalg.norm(points - a - t[:, None] * (b - a), axis=1) - (r0 + t * (r1 - r0)))


def skull_distance(points: F64) -> F64:
    """(N,) about the signed distance in metres from head and neck without face: average adult proportions."""
    centre, radii = np.array([0, 0.022, -0.068]), np.array([0.0755, 0.090, 0.092])
    scaled = (points - centre) / radii
    skull = (np.linalg.norm(scaled, axis=1) - 1) * np.linalg.norm(scaled, axis=1)
    skull = skull / np.maximum(np.linalg.norm(scaled / radii, axis=1), 1e-6)
    side = np.abs(points) * [1, 0, 0] + points * [0, 1, 1]  # both halves of the jaw at once
    jaw = _capsule_distance(side, (0.0, -0.094, -0.012), (0.046, -0.072, -0.062), 0.022, 0.013)
    ramus = _capsule_distance(side, (0.053, -0.016, -0.060), (0.0455, -0.068, -0.058), 0.0145, 0.0135)
    neck = _capsule_distance(points, (0, -0.05, -0.085), (0, -0.26, -0.092), 0.050, 0.056)
    return _smooth_union(np.stack([skull, jaw, ramus, neck]), 0.011)


def _project_to_skull(points: F64) -> F64:
    """The points moved onto the surface of `skull_distance`."""
    step = 1e-4
    for _ in range(4):
        value = skull_distance(points)
        gradient = np.stack([skull_distance(points + step * axis) - value for axis in np.eye(3)], 1) / step
        points = points - gradient * (value / np.maximum((gradient**2).sum(1), 1e-6))[:, None]
    return points


def _build_neck_rings(face: F64) -> F64:
    """(NECK_ROWS, 36, 3) rows from the face oval over the cranium, and under the jaw, down to the collar."""
    start = face[list(FACE_OVAL)]
    along = np.arange(len(FACE_OVAL)) * (2 * np.pi / len(FACE_OVAL))  # 0 at the forehead, π at the chin
    front = -np.cos(along)
    end = np.stack([np.sin(along) * 0.054, -0.215 - 0.012 * front, -0.090 + 0.054 * front], 1)
    way = np.stack([np.sin(along), 0.15 - 0.75 * front, -0.45 + 0.35 * front], 1)
    way = np.array([0, 0.0, -0.068]) + 0.12 * way / np.linalg.norm(way, axis=1, keepdims=True)
    t = np.linspace(0, 1, NECK_RING_COUNT + 1)[:, None, None]
    rows = (1 - t) ** 2 * start + 2 * t * (1 - t) * (2 * way - (start + end) / 2) + t**2 * end
    for step in range(160):  # relax on the surface: even spacing, no folds
        middle = rows[1:-1]
        average = (rows[:-2] + rows[2:]) / 2 * 0.6 + (np.roll(middle, 1, 1) + np.roll(middle, -1, 1)) / 2 * 0.4
        if step % 4 == 3 or step > 150:
            average = _project_to_skull(average.reshape(-1, 3)).reshape(average.shape)
        rows[1:-1] = average
    return np.asarray(rows[1:], np.float64)


def interpolate_thin_plate(faces: I32, vertex_count: int, fixed: I32, values: F64) -> F64:
    """The smoothest values over a mesh that agree with `values` (M, C) at the vertices `fixed` (M,).

    It minimises the squared graph Laplacian (a thin plate), so it leaves the fixed vertices without creases, and a
    little of the squared differences along edges (a membrane), so it swings less beyond them.
    """
    links = build_adjacency(faces, vertex_count)
    valence = sparse.diags(links.sum(1).A1)
    laplacian = sparse.identity(vertex_count) - sparse.diags(1 / np.maximum(links.sum(1).A1, 1)) @ links
    energy = (
        laplacian.T @ laplacian + MEMBRANE_WEIGHT * (valence - links) + 1e-7 * sparse.identity(vertex_count)
    ).tocsc()
    free = np.setdiff1d(np.arange(vertex_count), fixed)
    out = np.zeros((vertex_count, values.shape[1]))
    out[fixed] = values
    right = -energy[free][:, fixed] @ values
    out[free] = splu(energy[free][:, free]).solve(right)
    return out


def _eye_center(face: F64, opening: tuple[tuple[int, ...], tuple[int, ...]]) -> F64:
    """The eyeball's centre: behind the middle of the opening, so far that the lids lie on the ball."""
    loop = face[closed_loop(opening)]
    lids = face[[*opening[0][2:-2], *opening[1][2:-2]]]
    centre = np.array([loop[:, 0].mean(), loop[:, 1].mean(), 0.0])
    across = np.hypot(*(lids - centre)[:, :2].T)
    centre[2] = np.median(lids[:, 2] - np.sqrt(np.maximum((EYE_RADIUS + 0.0006) ** 2 - across**2, 0)))
    return centre


def build_cage() -> Cage:
    """The cage, from `face.csv` and the proportions above."""
    face = np.loadtxt(Path(__file__).with_name("face.csv"), delimiter=",") / 1000
    faces = [build_landmark_faces()]
    points = [face]
    count = LANDMARK_COUNT

    def add_vertices(rows: F64) -> I32:
        nonlocal count
        points.append(rows)
        count += len(rows)
        return np.arange(count - len(rows), count, dtype=np.int32)

    eyes = np.stack([_eye_center(face, EYE_RIGHT), _eye_center(face, EYE_LEFT)])
    lids = []
    for opening, centre in zip((EYE_RIGHT, EYE_LEFT), eyes, strict=True):
        loop = np.array(closed_loop(opening), np.int32)
        outward = face[loop] - centre
        rim = centre + outward / np.linalg.norm(outward, axis=1, keepdims=True) * (EYE_RADIUS - 0.0004)
        rim[:, 2] = np.minimum(rim[:, 2], face[loop][:, 2] - 0.0012)
        lids.append(add_vertices(rim))
        faces.append(_build_band_faces(loop[::-1], lids[-1][::-1], face[loop[::-1], 0]))

    upper, lower = (face[list(edge)] for edge in LIPS_INNER)
    face[list(LIPS_INNER[0])] = face[list(LIPS_INNER[1])] = (upper + lower) / 2  # closed at rest
    loop = np.array(closed_loop(LIPS_INNER), np.int32)
    up = np.array([0.0] + [1.0] * 9 + [0.0] + [-1.0] * 9)
    width = face[loop, 0]
    bag = [loop]
    for back, spread, narrow in ((0.003, 0.0008, 1.0), (0.008, 0.005, 1.0), (0.022, 0.013, 0.95), (0.045, 0.010, 0.7)):
        ring = face[loop] + np.stack([width * (narrow - 1), up * spread, np.full(20, -back)], 1)
        bag.append(add_vertices(ring))
        faces.append(_build_band_faces(bag[-2][::-1], bag[-1][::-1], face[loop[::-1], 0]))

    neck = [np.array(FACE_OVAL, np.int32)]
    for row in _build_neck_rings(face):
        neck.append(add_vertices(row))
        faces.append(_build_band_faces(neck[-2][::-1], neck[-1][::-1], face[list(FACE_OVAL[::-1]), 0]))
    vertices, triangles = np.concatenate(points), np.concatenate(faces)
    mirror = _find_mirror_vertices(vertices)
    vertices = _smooth_face_seam(vertices, triangles, np.stack(neck))
    vertices = (vertices + vertices[mirror] * [-1, 1, 1]) / 2
    return Cage(vertices, triangles, (lids[0], lids[1]), np.stack(bag), np.stack(neck), eyes, mirror)


def _smooth_face_seam(vertices: F64, faces: I32, neck: I32) -> F64:
    """Smooths the seam between the face and the cranium: temples, cheeks' edges and the first rows go with the flow."""
    sides = np.r_[3:13, 24:34]  # of the oval, all but the forehead and the chin
    free = np.concatenate([neck[0][sides], neck[1:5].ravel()])
    fixed = np.setdiff1d(np.arange(len(vertices)), free)
    return interpolate_thin_plate(faces, len(vertices), fixed.astype(np.int32), vertices[fixed])


def _find_mirror_vertices(vertices: F64) -> I32:
    """(V,) index of the vertex at the mirrored position; the lips' two edges are told apart by their order."""
    from scipy.spatial import cKDTree

    tagged = vertices.copy()
    for edge, shift in ((LIPS_INNER[0], 0.001), (LIPS_INNER[1], -0.001)):
        tagged[list(edge[1:-1]), 1] += shift
    index = cKDTree(tagged).query(tagged * [-1, 1, 1])[1]
    return np.asarray(index, np.int32)
