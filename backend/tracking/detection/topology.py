"""Names for MediaPipe's 478 face landmarks, and the triangles of its face mesh.

"Left" is the actor's left. Indices are those of MediaPipe's face mesh with irises.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ...contract.arrays import I32, I64, Floats

LANDMARK_COUNT = 478
MESH_VERTEX_COUNT = 468  # the mesh without the irises

CHIN = 152
FOREHEAD = 10
NOSE_TIP = 4
NOSE_BASE = 2  # where the septum meets the lip
NOSE_MIDDLE = 5
NOSE_WING_RIGHT, NOSE_WING_LEFT = 98, 327
EYE_OUTER_RIGHT, EYE_OUTER_LEFT = 33, 263
EYE_INNER_RIGHT, EYE_INNER_LEFT = 133, 362
MOUTH_RIGHT, MOUTH_LEFT = 61, 291  # outer corners
MOUTH_INNER_RIGHT, MOUTH_INNER_LEFT = 78, 308
LIP_INNER_UPPER_MIDDLE, LIP_INNER_LOWER_MIDDLE = 13, 14

# Each lid from the outer to the inner corner, corners left out.
LID_UPPER_RIGHT = (246, 161, 160, 159, 158, 157, 173)
LID_LOWER_RIGHT = (7, 163, 144, 145, 153, 154, 155)
LID_UPPER_LEFT = (466, 388, 387, 386, 385, 384, 398)
LID_LOWER_LEFT = (249, 390, 373, 374, 380, 381, 382)
# Each brow from outer to inner: the upper row, then the lower row.
BROW_RIGHT = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55)
BROW_LEFT = (300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
# The centre of each iris, then four points of its edge.
IRIS_RIGHT = (468, 469, 470, 471, 472)
IRIS_LEFT = (473, 474, 475, 476, 477)

# Rows of the lips from the right of the actor to the left, corners left out; the two middle groups hold two rows each.
LIP_INNER_UPPER = (191, 80, 81, 82, 13, 312, 311, 310, 415)
LIP_INNER_LOWER = (95, 88, 178, 87, 14, 317, 402, 318, 324)
LIP_OUTER_UPPER = (185, 40, 39, 37, 0, 267, 269, 270, 409)
LIP_OUTER_LOWER = (146, 91, 181, 84, 17, 314, 405, 321, 375)
LIP_MIDDLE_UPPER = (184, 74, 73, 72, 11, 302, 303, 304, 408, 183, 42, 41, 38, 12, 268, 271, 272, 407)
LIP_MIDDLE_LOWER = (77, 90, 180, 85, 16, 315, 404, 320, 307, 96, 89, 179, 86, 15, 316, 403, 319, 325)
LIP_CORNER_RIGHT = (61, 76, 62, 78)
LIP_CORNER_LEFT = (291, 306, 292, 308)
LIPS = (
    *LIP_INNER_UPPER, *LIP_INNER_LOWER, *LIP_OUTER_UPPER, *LIP_OUTER_LOWER, *LIP_MIDDLE_UPPER, *LIP_MIDDLE_LOWER,
    *LIP_CORNER_RIGHT, *LIP_CORNER_LEFT,
)  # fmt: skip
INNER_LIP_RING = (MOUTH_INNER_RIGHT, *LIP_INNER_UPPER, MOUTH_INNER_LEFT, *reversed(LIP_INNER_LOWER))

# Landmarks that the skull carries: bridge and tip of the nose, eye corners, middle of the forehead, temples. Those that
# skin or the sliding of the mesh moves a little weigh less than 1.
RIGID_LANDMARK_WEIGHTS: dict[int, float] = {
    **dict.fromkeys((168, 6, 197, 195, 5, 122, 351, 193, 417, 196, 419, 3, 248, 188, 412, 174, 399), 1.0),
    **dict.fromkeys((33, 133, 362, 263, 130, 359, 243, 463), 1.0),
    **dict.fromkeys((4, 1, 45, 275, 51, 281, 236, 456, 134, 363), 0.6),
    **dict.fromkeys((127, 356, 34, 264, 143, 372, 116, 345, 111, 340, 234, 454, 93, 323), 0.35),
    **dict.fromkeys((10, 109, 338, 67, 297, 151, 108, 337, 69, 299, 103, 332), 0.3),
}

FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
JAW_LINE = FACE_OVAL[25:10:-1]  # lower part of the oval, from the right corner of the jaw over the chin to the left

# Corners of eye, temple, cheek and mouth: from side to side their line shows the turn of the head.
SIDE_LEFT = (EYE_OUTER_LEFT, 356, 323, MOUTH_LEFT)
SIDE_RIGHT = (EYE_OUTER_RIGHT, 127, 93, MOUTH_RIGHT)

# A point inside the head in metres of head space, behind the nose: normals of the mesh point away from it.
HEAD_CENTER = (0.0, -0.03, -0.08)


@dataclass(frozen=True)
class EyeLandmarks:
    """Landmarks of one eye.

    Attributes:
        upper_lid: from the outer to the inner corner, corners left out.
        lower_lid: the same for the lower lid.
        iris: its centre, then four points of its edge.
        inner_corner: the corner at the nose.
        outer_corner: the corner at the temple.
    """

    upper_lid: tuple[int, ...]
    lower_lid: tuple[int, ...]
    iris: tuple[int, ...]
    inner_corner: int
    outer_corner: int

    @property
    def lid_middles(self) -> tuple[int, int]:
        """The middle landmarks of the upper and the lower lid."""
        return self.upper_lid[3], self.lower_lid[3]


EYES: dict[str, EyeLandmarks] = {
    "Left": EyeLandmarks(LID_UPPER_LEFT, LID_LOWER_LEFT, IRIS_LEFT, EYE_INNER_LEFT, EYE_OUTER_LEFT),
    "Right": EyeLandmarks(LID_UPPER_RIGHT, LID_LOWER_RIGHT, IRIS_RIGHT, EYE_INNER_RIGHT, EYE_OUTER_RIGHT),
}


def index_array(*landmarks: int) -> I64:
    """Return the landmark numbers as an index array."""
    return np.array(landmarks, np.int64)


@cache
def mesh_edges() -> frozenset[tuple[int, int]]:
    """Return the undirected edges (a < b) of the face mesh."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_TESSELATION

    return frozenset((min(a, b), max(a, b)) for a, b in FACEMESH_TESSELATION)


def mesh_triangles(neutral: Floats) -> I32:
    """Return the (F, 3) triangles of the mesh, wound counter-clockwise seen from outside.

    MediaPipe ships the edges only. In a face mesh every cycle of three edges is a triangle.

    Args:
        neutral: (≥468, 3) mesh in head space, which decides the winding.
    """
    neighbors: dict[int, set[int]] = {}
    for a, b in mesh_edges():
        neighbors.setdefault(a, set()).add(b)
        neighbors.setdefault(b, set()).add(a)
    cycles = {(a, b, c) for a, b in mesh_edges() for c in neighbors[a] & neighbors[b] if b < c}
    triangles = np.array(sorted(cycles), np.int32)
    corners = np.asarray(neutral, np.float64)[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = corners.mean(1) - HEAD_CENTER
    is_inside_out = (normal * outward).sum(1) < 0
    triangles[is_inside_out] = triangles[is_inside_out][:, [0, 2, 1]]
    return triangles
