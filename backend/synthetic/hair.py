"""The synthetic actor's hair: a side-parted bob of locks, tucked behind the ears, over a cap on the scalp.

A lock is a ribbon along a guide curve. Guide curves are splines through control points in head space, metres.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from ..contract.arrays import F64
from .mesh_part import MeshPart, grid_faces, join_parts
from .skull import scalp_distance

SKULL_CENTER = np.array([0.0, 0.010, -0.066])  # metres; a point inside the skull from which hair is lifted outwards
PARTING_X = 0.020  # metres to the actor's left
CAP_GRID = (40, 96)  # vertices down and around the cap
LOCK_SEGMENTS = 28  # vertices along a lock
LOCK_COLUMNS = 5  # vertices across a lock
LOCK_UV_WIDTH = 0.035  # of the hair texture's width that a lock shows
MAX_LOCK_U = 0.96  # so that a lock's texture stays inside the rectangle

LOCK_LAYERS = ((0.0, 20), (0.5, 24), (1.0, 22))  # per side: how far out (0–1) and how many locks
FRINGE_LOCK_COUNT = 34  # per side, along the hairline
LOOSE_HAIR_COUNT = 160  # of difficult clips
LOOSE_HAIR_RADIUS = 0.0003  # metres; a hair is thinner, but would be too thin to be seen

# Where the cap ends: angle around the crown (degrees, 0 in front, 180 behind), angle down from the crown (degrees).
HAIRLINE = ((0, 30, 55, 80, 98, 120, 150, 180), (55, 57, 66, 76, 77, 106, 124, 128))

# Where a lock's guide curve passes on its way down (0–1 of its length), and by root position (0 front, 1 back): the
# tilt of the root backwards from the crown, and the turn of the lower points from beside the head to behind it.
GUIDE_KNOTS = (0, 0.16, 0.31, 0.50, 0.68, 0.84, 1.0)
ROOT_TILT = ((0, 0.55, 1), (50, 5, -50))  # root position, degrees
BACK_TURN = ((0, 1), (8, 88))  # how far back the root is, degrees
ROOT_RADIUS = 0.105  # metres from the origin to the root
# Points of the lower guide on the turned plane: metres outwards, metres up, metres forwards for the front locks.
GUIDE_DESCENT = ((0.082, 0.006, -0.006), (0.080, -0.050, -0.026), (0.076, -0.100, -0.022), (0.070, -0.138, -0.014))
GUIDE_END_JITTER = 0.006  # metres, deviation of the lower ends' height
GUIDE_JITTER = 0.0012  # metres, deviation of every control point

# The same for a lock of the fringe, which grows from the hairline; x is for the left side.
FRINGE_KNOTS = (0, 0.14, 0.36, 0.6, 0.8, 1.0)
FRINGE_OVER_PARTING = (0.070, 0.060, 0.020)  # where the lock nearest to the parting turns down
FRINGE_OVER_TEMPLE = (0.080, 0.036, -0.012)  # where the lock at the temple does
FRINGE_DESCENT = ((0.083, 0.020, -0.018), (0.081, -0.030, -0.036), (0.077, -0.085, -0.036))
FRINGE_JITTER = 0.001  # metres, deviation of every control point

# Profiles along a lock: position (0 root, 1 end), metres.
LOCK_WIDTH = ((0, 0.15, 0.6, 0.85, 1), (0.0050, 0.0080, 0.0095, 0.0085, 0.0022))
LOCK_HEIGHT = ((0, 0.2, 0.8, 1), (0.0012, 0.0030, 0.0030, 0.0006))
FRINGE_WIDTH = ((0, 0.12, 0.5, 1), (0.0025, 0.0055, 0.0080, 0.0030))
FRINGE_HEIGHT = ((0, 0.2, 0.8, 1), (0.0004, 0.0022, 0.0028, 0.0006))
FRINGE_LIFT = ((0, 0.07, 0.25, 1), (-0.0015, 0.0050, 0.0120, 0.0125))  # over the scalp: out of the skin at the root


def build_hair(seed: int, has_loose_hairs: bool) -> MeshPart:
    """Build all of the hair; `has_loose_hairs` adds single hairs around its outline."""
    rng = np.random.default_rng((seed, 8))
    pieces = [_build_cap()]
    for side in (-1.0, 1.0):
        for layer, count in LOCK_LAYERS:
            for position in (np.arange(count) + 0.5) / count:
                root = float(np.clip(position + rng.normal(0, 0.012), 0, 1))
                pieces.append(_build_lock(_guide_curve(side, root, rng), layer, rng))
        for position in np.linspace(0, 1, FRINGE_LOCK_COUNT):
            pieces.append(_build_fringe_lock(_fringe_curve(side, position, rng), rng))
    if has_loose_hairs:
        pieces += [_build_loose_hair(rng) for _ in range(LOOSE_HAIR_COUNT)]
    return join_parts(pieces)


def _build_cap() -> MeshPart:
    """A close layer that hides the scalp between the locks."""
    rows, columns = CAP_GRID
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns, endpoint=False), indexing="ij")
    turn = 2 * np.pi * u
    extent = np.radians(np.interp(np.abs(np.degrees(turn - 2 * np.pi * (turn > np.pi))), *HAIRLINE))
    tilt = v * extent
    direction = np.stack([np.sin(tilt) * np.sin(turn), np.cos(tilt), np.sin(tilt) * np.cos(turn)], -1).reshape(-1, 3)
    edge = np.clip((1 - v.ravel()) / 0.15, 0, 1)  # the cap sinks into the skin at its edge
    radius = scalp_distance(SKULL_CENTER, direction) - 0.003 + 0.0055 * np.sqrt(edge)
    points = SKULL_CENTER + direction * radius[:, None]
    uv = np.stack([(u * 7) % 1.0, 0.1 + 0.5 * v], -1).reshape(-1, 2)
    return MeshPart(points, grid_faces(rows, columns, is_closed=True), uv)


def _guide_curve(side: float, root: float, rng: np.random.Generator) -> F64:
    """(LOCK_SEGMENTS, 3) a lock's guide curve from the parting over the side of the head to behind the ear and down.

    Args:
        side: 1 to the actor's left, −1 to the right.
        root: position of the root along the parting, 0 at the front hairline, 1 at the crown's back.
        rng: source of the jitter.
    """
    tilt = np.radians(np.interp(root, *ROOT_TILT))
    top = np.array([PARTING_X, 0.0, 0.0]) + ROOT_RADIUS * np.array([0, np.cos(tilt), np.sin(tilt)])
    back = np.clip((root - 0.35) / 0.65, 0, 1)
    front = 1 - back
    turn = np.radians(np.interp(back, *BACK_TURN))
    outward = np.array([side * np.cos(turn), 0.0, -np.sin(turn)])

    def lower_point(distance: float, height: float, forward: float = 0.0) -> F64:
        return np.asarray(outward * distance + [0, height, forward])

    brow = np.array([side * 0.045, 0.062 + 0.04 * root, 0.062 - 0.10 * root])
    temple = np.array([side * 0.068, 0.034 + 0.03 * root, 0.022 - 0.07 * root])
    *descent, end = GUIDE_DESCENT
    points = [
        top,
        brow * front + back * lower_point(0.045, 0.085),
        temple * front + back * lower_point(0.085, 0.045),
        *(lower_point(distance, height, forward * front) for distance, height, forward in descent),
        lower_point(end[0], end[1] + GUIDE_END_JITTER * rng.standard_normal(), end[2] * front),
    ]
    jittered = np.array(points) + rng.normal(0, GUIDE_JITTER, (len(points), 3))
    return np.asarray(CubicSpline(GUIDE_KNOTS, jittered)(np.linspace(0, 1, LOCK_SEGMENTS)))


def _fringe_curve(side: float, position: float, rng: np.random.Generator) -> F64:
    """(LOCK_SEGMENTS, 3) the guide curve of a lock that grows from the hairline.

    Args:
        side: 1 to the actor's left, −1 to the right.
        position: along the hairline, 0 at the parting, 1 at the temple.
        rng: source of the jitter.
    """
    mirror = np.array([side, 1, 1])
    parting = PARTING_X / 0.1 * side
    turn = np.interp(position, [0, 0.15, 1], [np.arctan(parting), np.arctan(parting) + 0.12, np.radians(86)])
    tilt = np.radians(np.interp(np.degrees(abs(turn)), *HAIRLINE) - 0.5)
    root = 0.1 * np.array([side * np.sin(tilt) * np.sin(turn), np.cos(tilt), np.sin(tilt) * np.cos(turn)])
    over = mirror * FRINGE_OVER_PARTING * (1 - position) + mirror * FRINGE_OVER_TEMPLE * position
    beside = root + 0.4 * (over - root) + (1 - position) * np.array([side * 0.008, 0.004, 0.0])
    points = [root, beside, over, *(mirror * point for point in FRINGE_DESCENT)]
    jittered = np.array(points) + rng.normal(0, FRINGE_JITTER, (len(points), 3))
    return np.asarray(CubicSpline(FRINGE_KNOTS, jittered)(np.linspace(0, 1, LOCK_SEGMENTS)))


def _lift_from_scalp(path: F64, lift: F64) -> F64:
    """Return the path at `lift` metres over the scalp where it touches the head, and unchanged below the ears."""
    distance = np.linalg.norm(path, axis=1)
    direction = path / distance[:, None]
    lifted = scalp_distance(SKULL_CENTER, direction) + lift
    touching = np.clip((path[:, 1] + 0.075) / 0.05, 0, 1)
    radius = touching * lifted + (1 - touching) * np.maximum(distance, lifted)
    return np.asarray(SKULL_CENTER + direction * radius[:, None])


def _build_ribbon(path: F64, width: F64, height: F64, texture_u: float) -> MeshPart:
    """Build a strip along `path` (N, 3), arched across like a lock.

    Args:
        path: (N, 3) metres.
        width: (N,) metres from the middle to either edge.
        height: (N,) metres of the arch.
        texture_u: left edge of the lock's share of the hair texture, 0–1.
    """
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    outward = path - SKULL_CENTER
    outward[:, 1] *= np.clip((path[:, 1] + 0.10) / 0.08, 0, 1)  # hanging hair faces sideways
    outward -= (outward * along).sum(1, keepdims=True) * along
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    beside = np.cross(along, outward)
    s = np.linspace(-1, 1, LOCK_COLUMNS)[None, :, None]
    points = (
        path[:, None]
        + s * width[:, None, None] * beside[:, None]
        + ((1 - s**2) - 0.35) * height[:, None, None] * outward[:, None]
    )
    u = texture_u + LOCK_UV_WIDTH * (s[..., 0] + 1) / 2 + np.zeros((len(path), 1))
    v = np.linspace(0, 1, len(path))[:, None] + np.zeros((1, LOCK_COLUMNS))
    faces = grid_faces(len(path), LOCK_COLUMNS)[:, ::-1]
    return MeshPart(points.reshape(-1, 3), faces, np.stack([u, v], -1).reshape(-1, 2))


def _build_lock(guide: F64, layer: float, rng: np.random.Generator) -> MeshPart:
    """One lock along a guide curve; `layer` 0–1 is how far out it lies."""
    t = np.linspace(0, 1, LOCK_SEGMENTS)
    lift = (0.0045 + 0.0075 * layer) * np.sin(np.pi * np.clip(t * 1.15 + 0.16, 0, 1)) ** 0.6 + rng.normal(0, 0.0007)
    path = _lift_from_scalp(guide, lift)
    path[:, 0] += np.sin(2 * np.pi * (1.6 * t + rng.random())) * 0.0035 * t**2
    path[:, 2] += np.cos(2 * np.pi * (1.3 * t + rng.random())) * 0.0021 * t**2
    thickness = rng.uniform(0.85, 1.2)
    width, height = (thickness * np.interp(t, *profile) for profile in (LOCK_WIDTH, LOCK_HEIGHT))
    return _build_ribbon(path, width, height, rng.uniform(0, MAX_LOCK_U))


def _build_fringe_lock(guide: F64, rng: np.random.Generator) -> MeshPart:
    """A lock that leaves the skin at the hairline, flat and narrow at its root."""
    t = np.linspace(0, 1, LOCK_SEGMENTS)
    path = _lift_from_scalp(guide, np.interp(t, *FRINGE_LIFT) + rng.normal(0, 0.0006))
    width, height = (np.interp(t, *profile) for profile in (FRINGE_WIDTH, FRINGE_HEIGHT))
    return _build_ribbon(path, width, height, rng.uniform(0, MAX_LOCK_U))


def _build_loose_hair(rng: np.random.Generator) -> MeshPart:
    """A single hair that has left its lock."""
    side, root = float(rng.choice([-1.0, 1.0])), rng.random()
    path = _lift_from_scalp(_guide_curve(side, root, rng), np.full(LOCK_SEGMENTS, rng.uniform(0.008, 0.014)))
    t = np.linspace(0, 1, LOCK_SEGMENTS)[:, None]
    bend = rng.normal(0, 0.006, (3, 1, 3))
    path = (
        path
        + t * (path - SKULL_CENTER) * rng.uniform(0.0, 0.13)
        + bend[0] * np.sin(np.pi * t)
        + bend[1] * np.sin(7 * t) * t
    )
    radius = np.full(LOCK_SEGMENTS, LOOSE_HAIR_RADIUS)
    return _build_ribbon(path, radius, np.zeros(LOCK_SEGMENTS), rng.uniform(0, MAX_LOCK_U))
