"""The rigid and cloth parts of the synthetic actor: eyeballs, teeth, tongue, ears, sweater; at rest, head space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from ..contract.arrays import F64
from .cage import EYE_RADIUS, Cage
from .landmarks import UPPER_LIP_MIDDLE
from .mesh_part import MeshPart, grid_faces

# Grids: vertices down and around each part. Enough that no facets show at 1024 pixels.
EYEBALL_GRID = (36, 48)
TEETH_GRID = (101, 9)  # across and down
TONGUE_GRID = (16, 24)
EAR_GRID = (20, 64)
CLOTHES_GRID = (60, 120)

EYEBALL_EXTENT = np.radians(105)  # from the pupil backwards; the rest lies in the head
TEETH_PER_ROW = 10
TEETH_ARCH_WIDTH = 0.0235  # metres from the middle to the last tooth
TEETH_ARCH_ANGLE = 1.25  # radians of the sine that spreads the teeth; larger crowds the last ones
TEETH_ARCH_DEPTH = 0.026  # metres that the last tooth lies behind the first
LOWER_ARCH_WIDTH_RATIO = 0.93  # of the lower arch to the upper one
LOWER_ARCH_DEPTH_RATIO = 1.05

# The ear's outline in millimetres: backwards, upwards from the ear's canal.
EAR_OUTLINE = (
    (-1, 12), (1, 22), (7, 29), (15, 32), (23, 29), (28, 21), (28, 10), (25, -2), (19, -13), (13, -22), (8, -29),
    (2, -31), (-2, -26), (-3, -17), (-3, -6), (-2, 3),
)  # fmt: skip
EAR_MIDDLE = (9.0, 1.0)  # millimetres; the rings of the ear's grid shrink to this point
EAR_ORIGIN = (0.0728, -0.012, -0.067)  # metres, of the left ear's canal
EAR_FLARE = np.radians(22)  # by which the ear's rear stands off the head
EAR_TILT = 0.12  # radians by which the ear's top leans backwards


class EarBump(NamedTuple):
    """A Gaussian height on the ear in millimetres: height, centre, radii; backwards and upwards as in EAR_OUTLINE."""

    height: float
    x: float
    y: float
    x_radius: float
    y_radius: float


CONCHA = EarBump(-6.5, 6.5, -2, 6.5, 9.5)
TRAGUS = EarBump(3.5, -0.5, -5, 3.0, 4.0)
LOBE = EarBump(1.6, 5, -23, 7, 7)

COLLAR_CENTER = np.array([0.0, -0.152, -0.082])  # metres
COLLAR_SHARE = 0.12  # of the sweater's rows that form the ribbed collar


def build_eyeball(center: F64) -> MeshPart:
    """Build the front of an eyeball as rings around its z axis; its uv follow the gaze in every frame."""
    rows, columns = EYEBALL_GRID
    angle = np.linspace(0, EYEBALL_EXTENT, rows)[:, None]
    turn = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    direction = np.stack(np.broadcast_arrays(np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)))
    direction = direction.reshape(3, -1).T
    faces = grid_faces(rows, columns, is_closed=True)
    return MeshPart(center + EYE_RADIUS * direction, faces, np.zeros((len(direction), 2)))


def lip_center(cage: Cage) -> F64:
    """(3,) the middle of the closed lips."""
    return np.asarray(cage.vertices[UPPER_LIP_MIDDLE])


def build_teeth(cage: Cage, *, is_upper: bool) -> MeshPart:
    """Build a row of teeth on a parabolic arch, with gums; u runs over the teeth, v from the gum to the edge."""
    middle = lip_center(cage)
    rows, columns = TEETH_GRID
    u, v = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    across = (u - 0.5) * 2
    x = TEETH_ARCH_WIDTH * np.sin(across * TEETH_ARCH_ANGLE) / np.sin(TEETH_ARCH_ANGLE)
    arch = TEETH_ARCH_DEPTH * across**2
    tooth = np.abs(np.sin(np.pi * (u * TEETH_PER_ROW)))  # 0 between two teeth, 1 in the middle of one
    bulge = 0.0011 * tooth**0.5 + 0.0012 * np.sin(np.pi * np.clip(v, 0, 1))
    edge = 0.0007 * (1 - tooth**0.3) * (v > 0.85)
    if is_upper:
        y = middle[1] + 0.0115 - v * 0.0135 + edge + 0.0012 * across**2
        z = middle[2] - 0.0062 - arch + bulge
    else:
        y = middle[1] - 0.0135 + v * 0.0115 - edge - 0.0006 * across**2
        z = middle[2] - 0.0088 - arch * LOWER_ARCH_DEPTH_RATIO + bulge
    points = np.stack([x * (1.0 if is_upper else LOWER_ARCH_WIDTH_RATIO), y, z], -1).reshape(-1, 3)
    return MeshPart(points, grid_faces(rows, columns), np.stack([u, v], -1).reshape(-1, 2))


def build_tongue(cage: Cage) -> MeshPart:
    """Build a tongue that lies behind the lower teeth: an ellipsoid of rings from the tip backwards."""
    rows, columns = TONGUE_GRID
    along, around = np.meshgrid(
        np.linspace(0, 1, rows), np.linspace(0, 2 * np.pi, columns, endpoint=False), indexing="ij"
    )
    radius = np.sqrt(1 - (1 - along) ** 2)
    is_groove = (np.abs(np.cos(around)) < 0.25) * (np.sin(around) > 0)  # along the middle of the back
    x = 0.0175 * radius * np.cos(around)
    y = 0.0065 * radius * np.sin(around) - 0.0018 * radius * is_groove
    z = -0.036 * along + 0.002 * radius * np.sin(around)
    points = np.stack([x, y - 0.0125 + 0.003 * along, z - 0.0145], -1).reshape(-1, 3) + lip_center(cage)
    uv = np.stack([around / (2 * np.pi), along], -1).reshape(-1, 2)
    return MeshPart(points, grid_faces(rows, columns, is_closed=True), uv)


def build_ear(is_left: bool) -> MeshPart:
    """Build an outer ear: a sheet inside an outline, raised by helix, antihelix, concha, tragus and lobe."""
    rings, columns = EAR_GRID
    closed = np.array([*EAR_OUTLINE, EAR_OUTLINE[0]], float)
    outline = CubicSpline(np.linspace(0, 1, len(closed)), closed, bc_type="periodic")(np.arange(columns) / columns)
    middle = np.array(EAR_MIDDLE)
    radius = np.linspace(0, 1, rings)[:, None, None]
    flat = (middle + radius * (outline - middle)).reshape(-1, 2)
    rim_distance = np.repeat(np.linspace(0, 1, rings), columns)
    angle = np.tile(np.arange(columns) / columns, rings)
    height = _ear_height(flat, rim_distance, angle)
    side = 1.0 if is_left else -1.0
    backward = np.array([side * np.sin(EAR_FLARE), 0.0, -np.cos(EAR_FLARE)])
    upward = np.array([0.0, np.cos(EAR_TILT), -np.sin(EAR_TILT)])
    outward = np.array([side * np.cos(EAR_FLARE), 0.0, np.sin(EAR_FLARE)])
    origin = EAR_ORIGIN * np.array([side, 1, 1])
    a, b = flat.T
    points = origin + (a[:, None] * backward + b[:, None] * upward + height[:, None] * outward) / 1000
    uv = np.stack([(a + 5) / 36, (34 - b) / 68], -1)
    faces = grid_faces(rings, columns, is_closed=True)
    return MeshPart(points, faces[:, ::-1] if is_left else faces, uv)


def _ear_height(flat: F64, rim_distance: F64, angle: F64) -> F64:
    """(N,) millimetres that the ear stands out at points (N, 2) of its sheet.

    Args:
        flat: (N, 2) millimetres backwards and upwards.
        rim_distance: (N,) 0 at the middle, 1 at the outline.
        angle: (N,) position along the outline, 0–1.
    """
    a, b = flat.T

    def bump_height(bump: EarBump) -> F64:
        falloff = np.exp(-(((a - bump.x) / bump.x_radius) ** 2) - ((b - bump.y) / bump.y_radius) ** 2)
        return np.asarray(bump.height * falloff)

    back = np.clip(np.sin(np.pi * np.clip((angle - 0.02) / 0.60, 0, 1)), 0, 1) ** 0.5  # where the helix runs
    helix = 4.2 * back * np.exp(-(((rim_distance - 0.90) / 0.085) ** 2))
    antihelix = 3.0 * np.exp(-(((rim_distance - 0.58) / 0.12) ** 2)) * back * (b > -16)
    bumps = 3.0 + 0.10 * a + helix + antihelix + bump_height(CONCHA) + bump_height(TRAGUS) + bump_height(LOBE)
    return np.asarray(bumps - 5.0 * rim_distance**14)


def build_clothes() -> MeshPart:
    """Build a crew-neck sweater: collar, shoulders and chest, as rings from inside the collar outwards and down."""
    rows, columns = CLOTHES_GRID
    turn = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]  # 0 to the left, π/2 to the front
    s = np.linspace(0, 1, rows)[:, None]
    side, front = np.cos(turn), np.sin(turn)

    collar = np.clip(s / COLLAR_SHARE, 0, 1)
    spread = np.clip((s - COLLAR_SHARE) / (1 - COLLAR_SHARE), 0, 1)  # 0 at the collar, 1 at the lower edge
    roll = 0.0040 * np.sin(np.pi * collar) * (s < COLLAR_SHARE)  # the collar rolls outwards
    shoulder = np.clip(spread * 1.9, 0, 1)  # 1 where the shoulders end
    across = 0.058 + 0.006 * collar + roll + 0.116 * (1 - (1 - shoulder) ** 2.0) ** 0.9
    across = across + 0.018 * np.clip(spread * 1.9 - 1, 0, 1)
    depth = 0.058 + 0.004 * collar + roll + 0.052 * np.clip(spread * 1.8, 0, 1) ** 0.7
    rise = 0.012 * np.sin(np.pi * np.clip(collar, 0, 1)) - 0.004 * (1 - collar)
    side_drop = 0.040 * shoulder**1.4 + 0.22 * np.clip(spread * 1.9 - 0.92, 0, 2) ** 1.25
    front_drop = 0.235 * spread**0.95
    side_share = np.abs(side) ** 1.7
    power = 1.0 - 0.28 * np.clip(spread * 2, 0, 1)  # below 1 the ring becomes a rounded rectangle
    x = across * np.sign(side) * np.abs(side) ** power
    z = depth * np.sign(front) * np.abs(front) ** power
    y = rise - side_share * side_drop - (1 - side_share) * front_drop
    y = y - 0.026 * np.clip(front, 0, 1) * (1 - 0.6 * spread)
    y = y + 0.016 * np.clip(-front, 0, 1)
    z = z + 0.020 * np.clip(front, 0, 1) * spread - 0.012 * spread
    points = COLLAR_CENTER + np.stack(np.broadcast_arrays(x, y, z), -1).reshape(-1, 3)
    uv = np.stack(np.broadcast_arrays(turn / (2 * np.pi), s), -1).reshape(-1, 2)
    return MeshPart(points, grid_faces(rows, columns, is_closed=True)[:, ::-1], uv)
