"""The control cage of the synthetic head: a face with the tracker's 468 landmarks as vertices, closed to a head.

Vertices 0–467 are MediaPipe's landmarks, so every landmark of the rendered head is known exactly. `face.csv` holds
their rest positions: an average face, found by showing the tracker's network first a drawing and then renderings of
this head from many sides; eyes and lips were finished by hand. No person was measured.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from ..contract.arrays import F64, I32
from ..tracking.detection.topology import FACE_OVAL
from .landmarks import EYES, LIPS_INNER, Opening, closed_loop
from .skull import project_to_skull
from .thin_plate import interpolate_thin_plate

FACE_FILE = Path(__file__).with_name("face.csv")

EYE_RADIUS = 0.0122  # metres; an adult's eyeball
LID_GAP = 0.0006  # metres from the eyeball to the lids at rest; less lets the ball show through
LID_RIM_DEPTH = 0.0004  # metres that the lid rim lies inside the eyeball, so that no gap shows
LID_RIM_SETBACK = 0.0012  # metres that the rim lies at least behind the lid's edge: the lid's thickness
NECK_PIVOT = np.array([0.0, -0.075, -0.075])  # metres; where the head turns on the neck

# The rings of the mouth bag, from the lips inwards: metres behind the lips, metres up and down, share of the lips' x.
MOUTH_BAG_RINGS = ((0.003, 0.0008, 1.0), (0.008, 0.005, 1.0), (0.022, 0.013, 0.95), (0.045, 0.010, 0.7))

NECK_RING_COUNT = 22  # rings from the face oval to the collar; more make finer triangles
RELAXATION_STEPS = 160  # of the rings on the skull; fewer leave folds behind the ears
PROJECTION_INTERVAL = 4  # relaxation steps between two projections onto the skull
FINAL_PROJECTIONS = 9  # the last steps are all projected, so that the rings end on the surface
SMOOTHED_NECK_RINGS = 4  # rings behind the face oval that are smoothed together with it


@dataclass(frozen=True)
class Cage:
    """The cage at rest in head space.

    Attributes:
        vertices: (V, 3) metres.
        faces: (F, 3) vertex indices, counter-clockwise from outside.
        lid_rims: per eye (right, left) the (16,) indices of the lid rim, in the order of the eye's closed loop.
        mouth_bag: (rings, 20) indices of the mouth's lining, from the lips inwards; columns: upper edge, then lower.
        neck_rings: (rings, 36) indices from the face oval down to the collar; columns in the order of `FACE_OVAL`.
        eye_centers: (2, 3) centres of the eyeballs, right and left, metres.
        mirror_index: (V,) the vertex at the mirrored position.
    """

    vertices: F64
    faces: I32
    lid_rims: tuple[I32, I32]
    mouth_bag: I32
    neck_rings: I32
    eye_centers: F64
    mirror_index: I32


def build_cage() -> Cage:
    """Build the cage from `face.csv` and the proportions above."""
    face = np.loadtxt(FACE_FILE, delimiter=",") / 1000
    builder = _CageBuilder(face)
    eye_centers = np.stack([_eye_center(face, opening) for opening in EYES])
    right_rim, left_rim = (builder.add_lid_rim(*eye) for eye in zip(EYES, eye_centers, strict=True))
    upper, lower = (face[list(edge)] for edge in LIPS_INNER)
    face[list(LIPS_INNER[0])] = face[list(LIPS_INNER[1])] = (upper + lower) / 2  # the lips are closed at rest
    mouth_bag = builder.add_mouth_bag()
    neck_rings = builder.add_neck_rings()
    vertices, faces = builder.join()
    mirror_index = _find_mirror_vertices(vertices)
    vertices = _smooth_face_seam(vertices, faces, neck_rings)
    vertices = (vertices + vertices[mirror_index] * [-1, 1, 1]) / 2
    return Cage(vertices, faces, (right_rim, left_rim), mouth_bag, neck_rings, eye_centers, mirror_index)


class _CageBuilder:
    """Extends the landmark mesh by rings of vertices.

    `face` (468, 3) is kept, not copied: the lips are closed while the cage is being built.
    """

    def __init__(self, face: F64) -> None:
        self._face = face
        self._points = [face]
        self._faces = [build_landmark_faces()]

    def join(self) -> tuple[F64, I32]:
        """Return all vertices (V, 3) and triangles (F, 3) so far."""
        return np.concatenate(self._points), np.concatenate(self._faces)

    def add_lid_rim(self, opening: Opening, eye_center: F64) -> I32:
        """Add the ring behind an eye's lids and return its indices."""
        loop = np.array(closed_loop(opening), np.int32)
        outward = self._face[loop] - eye_center
        rim = eye_center + outward / np.linalg.norm(outward, axis=1, keepdims=True) * (EYE_RADIUS - LID_RIM_DEPTH)
        rim[:, 2] = np.minimum(rim[:, 2], self._face[loop][:, 2] - LID_RIM_SETBACK)
        return self._add_ring(loop, rim, loop)

    def add_mouth_bag(self) -> I32:
        """Add the mouth's lining and return the indices of its rings, (5, 20) with the lips first."""
        loop = np.array(closed_loop(LIPS_INNER), np.int32)
        up = np.array([0.0] + [1.0] * 9 + [0.0] + [-1.0] * 9)
        x = self._face[loop, 0]
        rings = [loop]
        for depth, spread, width in MOUTH_BAG_RINGS:
            ring = self._face[loop] + np.stack([x * (width - 1), up * spread, np.full(20, -depth)], 1)
            rings.append(self._add_ring(rings[-1], ring, loop))
        return np.stack(rings)

    def add_neck_rings(self) -> I32:
        """Add cranium and neck and return the indices of their rings, (23, 36) with the face oval first."""
        oval = np.array(FACE_OVAL, np.int32)
        rings = [oval]
        for ring in _build_neck_rings(self._face):
            rings.append(self._add_ring(rings[-1], ring, oval))
        return np.stack(rings)

    def _add_ring(self, outer: I32, points: F64, loop: I32) -> I32:
        """Add a ring at `points` inside the ring `outer`; `loop` are the landmarks whose x decides the diagonals."""
        count = sum(len(p) for p in self._points)
        ring = np.arange(count, count + len(points), dtype=np.int32)
        self._points.append(points)
        self._faces.append(_build_band_faces(outer[::-1], ring[::-1], self._face[loop[::-1], 0]))
        return ring


def build_landmark_faces() -> I32:
    """(852, 3) triangles of the tracker's landmark mesh, eyes and mouth open, counter-clockwise seen from the front."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    neighbors: dict[int, set[int]] = defaultdict(set)
    for a, b in FACEMESH_TESSELATION:
        neighbors[a].add(b)
        neighbors[b].add(a)
    cycles = sorted({tuple(sorted((a, b, c))) for a, b in FACEMESH_TESSELATION for c in neighbors[a] & neighbors[b]})
    cycles_at_edge: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, cycle in enumerate(cycles):
        for edge in combinations(cycle, 2):
            cycles_at_edge[edge].append(index)
    # Three triangles around a vertex also form an outer cycle that is no face: three cycles share each of its edges.
    faces = {
        i for i, cycle in enumerate(cycles) if any(len(cycles_at_edge[edge]) < 3 for edge in combinations(cycle, 2))
    }
    wound = {cycles.index((0, 11, 37)): (0, 37, 11)}  # one face of known winding, from which the others follow
    queue = list(wound)
    while queue:
        face = wound[queue.pop()]
        for a, b in zip(face, (*face[1:], face[0]), strict=True):
            for index in cycles_at_edge[min(a, b), max(a, b)]:
                if index in faces and index not in wound:
                    (c,) = set(cycles[index]) - {a, b}
                    wound[index] = (b, a, c)
                    queue.append(index)
    return np.array([wound[i] for i in sorted(wound)], np.int32)


def _build_band_faces(outer: I32, inner: I32, outer_x: F64) -> I32:
    """Triangles between two closed loops of n vertices, the outer one counter-clockwise seen from outside.

    The diagonals lean the other way where `outer_x` (n,) is positive, so that the mesh is symmetric.
    """
    a, b = outer, np.roll(outer, -1)
    c, d = inner, np.roll(inner, -1)
    right_side = np.concatenate([np.stack([a, c, d], 1), np.stack([a, d, b], 1)])
    left_side = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    is_left = np.tile(outer_x + np.roll(outer_x, -1) > 0, 2)
    return np.asarray(np.where(is_left[:, None], left_side, right_side), np.int32)


def _build_neck_rings(face: F64) -> F64:
    """(NECK_RING_COUNT, 36, 3) rings from the face oval over the cranium and under the jaw down to the collar.

    Each column starts as a quadratic Bézier curve that leaves the oval outwards; then the rings relax on the skull.
    """
    start = face[list(FACE_OVAL)]
    angle = np.arange(len(FACE_OVAL)) * (2 * np.pi / len(FACE_OVAL))  # 0 at the forehead, π at the chin
    front = -np.cos(angle)
    end = np.stack([np.sin(angle) * 0.054, -0.215 - 0.012 * front, -0.090 + 0.054 * front], 1)
    outward = np.stack([np.sin(angle), 0.15 - 0.75 * front, -0.45 + 0.35 * front], 1)
    middle = np.array([0, 0.0, -0.068]) + 0.12 * outward / np.linalg.norm(outward, axis=1, keepdims=True)
    t = np.linspace(0, 1, NECK_RING_COUNT + 1)[:, None, None]
    rings = (1 - t) ** 2 * start + 2 * t * (1 - t) * (2 * middle - (start + end) / 2) + t**2 * end
    for step in range(RELAXATION_STEPS):
        inner = rings[1:-1]
        average = (rings[:-2] + rings[2:]) / 2 * 0.6 + (np.roll(inner, 1, 1) + np.roll(inner, -1, 1)) / 2 * 0.4
        is_last = step >= RELAXATION_STEPS - FINAL_PROJECTIONS
        if step % PROJECTION_INTERVAL == PROJECTION_INTERVAL - 1 or is_last:
            average = project_to_skull(average.reshape(-1, 3)).reshape(average.shape)
        rings[1:-1] = average
    return np.asarray(rings[1:], np.float64)


def _eye_center(face: F64, opening: Opening) -> F64:
    """(3,) the eyeball's centre: behind the middle of the opening, as deep as lets the lids lie on the ball."""
    loop = face[closed_loop(opening)]
    lids = face[[*opening[0][2:-2], *opening[1][2:-2]]]
    center = np.array([loop[:, 0].mean(), loop[:, 1].mean(), 0.0])
    distance = np.hypot(*(lids - center)[:, :2].T)
    center[2] = np.median(lids[:, 2] - np.sqrt(np.maximum((EYE_RADIUS + LID_GAP) ** 2 - distance**2, 0)))
    return center


def _smooth_face_seam(vertices: F64, faces: I32, neck_rings: I32) -> F64:
    """Smooth the seam between face and cranium: temples, edges of the cheeks, first neck rings."""
    sides = np.r_[3:13, 24:34]  # columns of the oval without forehead and chin
    free = np.concatenate([neck_rings[0][sides], neck_rings[1 : 1 + SMOOTHED_NECK_RINGS].ravel()])
    fixed = np.setdiff1d(np.arange(len(vertices)), free)
    return interpolate_thin_plate(faces, len(vertices), fixed.astype(np.int32), vertices[fixed])


def _find_mirror_vertices(vertices: F64) -> I32:
    """(V,) index of the vertex at the mirrored position."""
    from scipy.spatial import cKDTree

    shifted = vertices.copy()
    for edge, shift in ((LIPS_INNER[0], 0.001), (LIPS_INNER[1], -0.001)):  # the closed lips' edges coincide
        shifted[list(edge[1:-1]), 1] += shift
    index = cKDTree(shifted).query(shifted * [-1, 1, 1])[1]
    return np.asarray(index, np.int32)
