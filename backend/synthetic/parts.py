"""The parts of the sample actor beside the skin: eyeballs, teeth, tongue, ears, clothes: rest, head space, metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract.arrays import F64, I32
from .cage import EYE_RADIUS, LIPS_INNER, Cage

COLLAR_CENTER = np.array([0.0, -0.152, -0.082])


@dataclass
class MeshPart:
    """One surface.

    Attributes:
        vertices: (V, 3) metres. faces: (F, 3).
        uv: (V, 2) in 0–1 of the part's rectangle of the atlas, u to the right, v downwards.
    """

    vertices: F64
    faces: I32
    uv: F64


def join_parts(parts: list[MeshPart]) -> MeshPart:
    """Several surfaces as one."""
    starts = np.cumsum([0, *(len(p.vertices) for p in parts[:-1])])
    faces = [p.faces + start for p, start in zip(parts, starts, strict=True)]
    return MeshPart(
        np.concatenate([p.vertices for p in parts]),
        np.concatenate(faces).astype(np.int32),
        np.concatenate([p.uv for p in parts]),
    )


def strand_directions(part: MeshPart) -> F64:
    """(V, 3) unit directions on the surface along which v grows and u stays: the way a hair runs."""
    (p, q, r), (a, b, c) = (tuple(table[part.faces[:, i]] for i in range(3)) for table in (part.vertices, part.uv))
    du, dv = np.stack([b[:, 0] - a[:, 0], c[:, 0] - a[:, 0]]), np.stack([b[:, 1] - a[:, 1], c[:, 1] - a[:, 1]])
    determinant = du[0] * dv[1] - du[1] * dv[0]
    along = ((r - p) * du[0][:, None] - (q - p) * du[1][:, None]) * np.sign(determinant)[:, None]
    out = np.zeros_like(part.vertices)
    for corner in range(3):
        np.add.at(out, part.faces[:, corner], along)
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12))


def grid_faces(rows: int, columns: int, *, is_closed: bool = False) -> I32:
    """Triangles of a grid of vertices in row order; `closed` joins the last column to the first."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if is_closed else columns - 1), indexing="ij")
    right = (column + 1) % columns
    a, b = row * columns + column, row * columns + right
    c, d = a + columns, b + columns
    faces = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])
    return np.asarray(faces.reshape(-1, 3), np.int32)


def build_eyeball(center: F64) -> MeshPart:
    """The front of an eyeball as rings around its z axis; its uv are set per frame by the gaze."""
    angle = np.linspace(0, np.radians(105), 36)[:, None]
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)[None]
    direction = np.stack(np.broadcast_arrays(np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)))
    direction = direction.reshape(3, -1).T
    return MeshPart(center + EYE_RADIUS * direction, grid_faces(36, 48, is_closed=True), np.zeros((len(direction), 2)))


def lip_center(cage: Cage) -> F64:
    """(3,) the middle of the closed lips."""
    return np.asarray(cage.vertices[LIPS_INNER[0][5]])


def build_teeth(cage: Cage, *, is_upper: bool) -> MeshPart:
    """One row of teeth on a parabolic arch, with gums; u runs over ten teeth, v from the gum to the cutting edge."""
    middle = lip_center(cage)
    u, v = np.meshgrid(np.linspace(0, 1, 101), np.linspace(0, 1, 9), indexing="ij")
    across = (u - 0.5) * 2
    x = 0.0235 * np.sin(across * 1.25) / np.sin(1.25)
    arch = 0.026 * across**2
    tooth = np.abs(np.sin(np.pi * (u * 10)))
    bulge = 0.0011 * tooth**0.5 + 0.0012 * np.sin(np.pi * np.clip(v, 0, 1))
    edge = 0.0007 * (1 - tooth**0.3) * (v > 0.85)
    if is_upper:
        y = middle[1] + 0.0115 - v * 0.0135 + edge + 0.0012 * across**2
        z = middle[2] - 0.0062 - arch + bulge
    else:
        y = middle[1] - 0.0135 + v * 0.0115 - edge - 0.0006 * across**2
        z = middle[2] - 0.0088 - arch * 1.05 + bulge
    points = np.stack([x * (1.0 if is_upper else 0.93), y, z], -1).reshape(-1, 3)
    return MeshPart(points, grid_faces(101, 9), np.stack([u, v], -1).reshape(-1, 2))


def build_tongue(cage: Cage) -> MeshPart:
    """A tongue lying behind the lower teeth."""
    middle = lip_center(cage)
    along, around = np.meshgrid(np.linspace(0, 1, 16), np.linspace(0, 2 * np.pi, 24, endpoint=False), indexing="ij")
    radius = np.sqrt(1 - (1 - along * 1.0) ** 2)
    x = 0.0175 * radius * np.cos(around)
    y = 0.0065 * radius * np.sin(around) - 0.0018 * radius * (np.abs(np.cos(around)) < 0.25) * (np.sin(around) > 0)
    z = -0.036 * along + 0.002 * radius * np.sin(around)
    points = np.stack([x, y - 0.0125 + 0.003 * along, z - 0.0145], -1).reshape(-1, 3) + middle
    uv = np.stack([around / (2 * np.pi), along], -1).reshape(-1, 2)
    return MeshPart(points, grid_faces(16, 24, is_closed=True), uv)


_EAR_OUTLINE = np.array(
    [(-1, 12), (1, 22), (7, 29), (15, 32), (23, 29), (28, 21), (28, 10), (25, -2), (19, -13), (13, -22), (8, -29),
     (2, -31), (-2, -26), (-3, -17), (-3, -6), (-2, 3)], float)  # fmt: skip


def build_ear(is_left: bool) -> MeshPart:
    """An outer ear: a sheet over an outline, with helix, antihelix, concha, tragus and lobe as heights."""
    from scipy.interpolate import CubicSpline

    closed = np.vstack([_EAR_OUTLINE, _EAR_OUTLINE[:1]])
    rings, columns = 20, 64
    outline = CubicSpline(np.linspace(0, 1, len(closed)), closed, bc_type="periodic")(np.arange(columns) / columns)
    middle = np.array([9.0, 1.0])
    radius = np.linspace(0, 1, rings)[:, None, None]
    flat = (middle + radius * (outline - middle)).reshape(-1, 2)
    a, b = flat.T
    rho = np.repeat(np.linspace(0, 1, rings), columns)
    angle = np.tile(np.arange(columns) / columns, rings)

    def bump(x: float, y: float, sx: float, sy: float) -> F64:
        return np.asarray(np.exp(-(((a - x) / sx) ** 2) - ((b - y) / sy) ** 2))

    back = np.clip(np.sin(np.pi * np.clip((angle - 0.02) / 0.60, 0, 1)), 0, 1) ** 0.5  # where the helix runs
    helix = 4.2 * back * np.exp(-(((rho - 0.90) / 0.085) ** 2))
    antihelix = 3.0 * np.exp(-(((rho - 0.58) / 0.12) ** 2)) * back * (b > -16)
    concha = -6.5 * bump(6.5, -2, 6.5, 9.5)
    tragus = 3.5 * bump(-0.5, -5, 3.0, 4.0)
    lobe = 1.6 * bump(5, -23, 7, 7)
    height = 3.0 + 0.10 * a + helix + antihelix + concha + tragus + lobe - 5.0 * rho**14
    side = 1.0 if is_left else -1.0
    flare = np.radians(22)
    backward = np.array([side * np.sin(flare), 0.0, -np.cos(flare)])
    upward = np.array([0.0, np.cos(0.12), -np.sin(0.12)])
    outward = np.array([side * np.cos(flare), 0.0, np.sin(flare)])
    origin = np.array([side * 0.0728, -0.012, -0.067])
    points = origin + (a[:, None] * backward + b[:, None] * upward + height[:, None] * outward) / 1000
    uv = np.stack([(a + 5) / 36, (34 - b) / 68], -1)
    faces = grid_faces(rings, columns, is_closed=True)
    return MeshPart(points, faces[:, ::-1] if is_left else faces, uv)


def build_clothes() -> MeshPart:
    """A crew-neck sweater: neck ring, shoulders and chest, as rows from inside the collar outwards and down."""
    columns, rows = 120, 60
    turn = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]  # 0 to the left, π/2 to the front
    s = np.linspace(0, 1, rows)[:, None]
    side, front = np.cos(turn), np.sin(turn)

    collar = np.clip(s / 0.12, 0, 1)  # the ribbed ring rolls out of the inside
    spread = np.clip((s - 0.12) / 0.88, 0, 1)
    ring = 0.0040 * np.sin(np.pi * collar) * (s < 0.12)
    across = 0.058 + 0.006 * collar + ring + 0.116 * (1 - (1 - np.clip(spread * 1.9, 0, 1)) ** 2.0) ** 0.9
    across = across + 0.018 * np.clip(spread * 1.9 - 1, 0, 1)
    deep = 0.058 + 0.004 * collar + ring + 0.052 * np.clip(spread * 1.8, 0, 1) ** 0.7
    rise = 0.012 * np.sin(np.pi * np.clip(collar, 0, 1)) - 0.004 * (1 - collar)
    drop_side = 0.040 * np.clip(spread * 1.9, 0, 1) ** 1.4 + 0.22 * np.clip(spread * 1.9 - 0.92, 0, 2) ** 1.25
    drop_front = 0.235 * spread**0.95
    share = np.abs(side) ** 1.7
    power = 1.0 - 0.28 * np.clip(spread * 2, 0, 1)  # towards a rounded rectangle
    x = across * np.sign(side) * np.abs(side) ** power
    z = deep * np.sign(front) * np.abs(front) ** power
    y = rise - share * drop_side - (1 - share) * drop_front - 0.026 * np.clip(front, 0, 1) * (1 - 0.6 * spread)
    y = y + 0.016 * np.clip(-front, 0, 1)
    z = z + 0.020 * np.clip(front, 0, 1) * spread - 0.012 * spread
    points = COLLAR_CENTER + np.stack(np.broadcast_arrays(x, y, z), -1).reshape(-1, 3)
    uv = np.stack(np.broadcast_arrays(turn / (2 * np.pi), s), -1).reshape(-1, 2)
    return MeshPart(points, grid_faces(rows, columns, is_closed=True)[:, ::-1], uv)
