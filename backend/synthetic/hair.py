"""The sample actor's hair: a side-parted bob of locks, tucked behind the ears, over a cap on the scalp."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from ..contract.arrays import F64
from .cage import skull_distance
from .parts import MeshPart, grid_faces, join_parts

SKULL_CENTER = np.array([0.0, 0.010, -0.066])  # inside the skull, metres
PARTING_X = 0.020  # metres to the actor's left
LOCK_SEGMENTS, LOCK_COLUMNS = 28, 5  # vertices along and across a lock

# Down to where the cap reaches (degrees from the crown) by the angle around the crown (0 in front, 180 behind).
_CAP_EXTENT = ((0, 30, 55, 80, 98, 120, 150, 180), (55, 57, 66, 76, 77, 106, 124, 128))


def scalp_distance(directions: F64) -> F64:
    """(N,) distance from `CENTRE` to the scalp along unit directions, metres."""
    near, far = np.zeros(len(directions)), np.full(len(directions), 0.25)
    for _ in range(20):
        middle = (near + far) / 2
        inside = skull_distance(SKULL_CENTER + directions * middle[:, None]) < 0
        near, far = np.where(inside, middle, near), np.where(inside, far, middle)
    return near


def _build_cap() -> MeshPart:
    """A close layer that hides the scalp between the locks."""
    rows, columns = 40, 96
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns, endpoint=False), indexing="ij")
    turn = 2 * np.pi * u
    reach = np.radians(np.interp(np.abs(np.degrees(turn - 2 * np.pi * (turn > np.pi))), *_CAP_EXTENT))
    tilt = v * reach
    direction = np.stack([np.sin(tilt) * np.sin(turn), np.cos(tilt), np.sin(tilt) * np.cos(turn)], -1).reshape(-1, 3)
    edge = np.clip((1 - v.ravel()) / 0.15, 0, 1)
    points = SKULL_CENTER + direction * (scalp_distance(direction) - 0.003 + 0.0055 * np.sqrt(edge))[:, None]
    strand = np.stack([(u * 7) % 1.0, 0.1 + 0.5 * v], -1).reshape(-1, 2)
    return MeshPart(points, grid_faces(rows, columns, is_closed=True), strand)


def _guide_curve(side: float, root: float, rng: np.random.Generator) -> F64:
    """(SEGMENTS, 3) a lock's middle line: from the parting over the side of the head to behind the ear and down.

    Args:
        side: 1 to the actor's left, −1 to the right. root: 0 at the front hairline, 1 at the crown's back.
    """
    lean = np.radians(np.interp(root, [0, 0.55, 1], [50, 5, -50]))
    top = np.array([PARTING_X, 0.0, 0.0]) + 0.105 * np.array([0, np.cos(lean), np.sin(lean)])
    back = np.clip((root - 0.35) / 0.65, 0, 1)
    turn = np.radians(np.interp(back, [0, 1], [8, 88]))  # of the lower way: from beside to behind
    swing = np.array([side * np.cos(turn), 0.0, -np.sin(turn)])

    def point(reach: float, height: float, forward: float = 0.0) -> F64:
        return np.asarray(swing * reach + [0, height, forward])

    brow = np.array([side * 0.045, 0.062 + 0.04 * root, 0.062 - 0.10 * root])
    temple = np.array([side * 0.068, 0.034 + 0.03 * root, 0.022 - 0.07 * root])
    way = [
        top,
        brow * (1 - back) + back * (point(0.045, 0.085)),
        temple * (1 - back) + back * (point(0.085, 0.045)),
        point(0.082, 0.006, -0.006 * (1 - back)),
        point(0.080, -0.050, -0.026 * (1 - back)),
        point(0.076, -0.100, -0.022 * (1 - back)),
        point(0.070, -0.138 + 0.006 * rng.standard_normal(), -0.014 * (1 - back)),
    ]
    knots = np.array([0, 0.16, 0.31, 0.50, 0.68, 0.84, 1.0])
    path = CubicSpline(knots, np.array(way) + rng.normal(0, 0.0012, (7, 3)))(np.linspace(0, 1, LOCK_SEGMENTS))
    return np.asarray(path)


def _hairline_curve(side: float, position: float, rng: np.random.Generator) -> F64:
    """(SEGMENTS, 3) the middle line of a lock that grows from the hairline; `place` 0 parting, 1 temple."""
    near = PARTING_X / 0.1 * side  # the locks of both sides part here
    turn = np.interp(position, [0, 0.15, 1], [np.arctan(near), np.arctan(near) + 0.12, np.radians(86)])
    tilt = np.radians(np.interp(np.degrees(abs(turn)), *_CAP_EXTENT) - 0.5)
    root = 0.1 * np.array([side * np.sin(tilt) * np.sin(turn), np.cos(tilt), np.sin(tilt) * np.cos(turn)])
    over = np.array([side * 0.070, 0.060, 0.020]) * (1 - position) + np.array([side * 0.080, 0.036, -0.012]) * position
    aside = root + 0.4 * (over - root) + (1 - position) * np.array([side * 0.008, 0.004, 0.0])
    way = [
        root,
        aside,
        over,
        [side * 0.083, 0.020, -0.018],
        [side * 0.081, -0.030, -0.036],
        [side * 0.077, -0.085, -0.036],
    ]
    path = CubicSpline([0, 0.14, 0.36, 0.6, 0.8, 1.0], np.array(way) + rng.normal(0, 0.001, (6, 3)))
    return np.asarray(path(np.linspace(0, 1, LOCK_SEGMENTS)))


def _lift_from_scalp(path: F64, lift: F64) -> F64:
    """The path at `lift` metres over the scalp where it touches the head; free below the ears."""
    distance = np.linalg.norm(path, axis=1)
    direction = path / distance[:, None]
    needed = scalp_distance(direction) + lift
    touching = np.clip((path[:, 1] + 0.075) / 0.05, 0, 1)
    radius = touching * needed + (1 - touching) * np.maximum(distance, needed)
    return np.asarray(SKULL_CENTER + direction * radius[:, None])


def _build_ribbon(path: F64, width: F64, height: F64, strand: float) -> MeshPart:
    """A strip along `path`, curved across like a lock; widths and heights in metres per segment."""
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    outward = path - SKULL_CENTER
    outward[:, 1] *= np.clip((path[:, 1] + 0.10) / 0.08, 0, 1)
    outward -= (outward * along).sum(1, keepdims=True) * along
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    beside = np.cross(along, outward)
    s = np.linspace(-1, 1, LOCK_COLUMNS)[None, :, None]
    points = (
        path[:, None]
        + s * width[:, None, None] * beside[:, None]
        + ((1 - s**2) - 0.35) * height[:, None, None] * outward[:, None]
    )
    u = strand + 0.035 * (s[..., 0] + 1) / 2 + np.zeros((len(path), 1))
    v = np.linspace(0, 1, len(path))[:, None] + np.zeros((1, LOCK_COLUMNS))
    return MeshPart(
        points.reshape(-1, 3), grid_faces(len(path), LOCK_COLUMNS)[:, ::-1], np.stack([u, v], -1).reshape(-1, 2)
    )


def _build_lock(guide: F64, layer: float, rng: np.random.Generator) -> MeshPart:
    """One lock along a middle line; `layer` 0–1 is how far out it lies."""
    t = np.linspace(0, 1, LOCK_SEGMENTS)
    lift = (0.0045 + 0.0075 * layer) * np.sin(np.pi * np.clip(t * 1.15 + 0.16, 0, 1)) ** 0.6 + rng.normal(0, 0.0007)
    path = _lift_from_scalp(guide, lift)
    path[:, 0] += np.sin(2 * np.pi * (1.6 * t + rng.random())) * 0.0035 * t**2
    path[:, 2] += np.cos(2 * np.pi * (1.3 * t + rng.random())) * 0.0021 * t**2
    thick = rng.uniform(0.85, 1.2)
    width = thick * np.interp(t, [0, 0.15, 0.6, 0.85, 1], [0.0050, 0.0080, 0.0095, 0.0085, 0.0022])
    height = thick * np.interp(t, [0, 0.2, 0.8, 1], [0.0012, 0.0030, 0.0030, 0.0006])
    return _build_ribbon(path, width, height, rng.uniform(0, 0.96))


def _build_fringe_lock(guide: F64, rng: np.random.Generator) -> MeshPart:
    """A lock that leaves the skin at the hairline, flat and narrow at its root."""
    t = np.linspace(0, 1, LOCK_SEGMENTS)
    path = _lift_from_scalp(
        guide, np.interp(t, [0, 0.07, 0.25, 1], [-0.0015, 0.0050, 0.0120, 0.0125]) + rng.normal(0, 0.0006)
    )
    width = np.interp(t, [0, 0.12, 0.5, 1], [0.0025, 0.0055, 0.0080, 0.0030])
    height = np.interp(t, [0, 0.2, 0.8, 1], [0.0004, 0.0022, 0.0028, 0.0006])
    return _build_ribbon(path, width, height, rng.uniform(0, 0.96))


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
    return _build_ribbon(path, np.full(LOCK_SEGMENTS, 0.0003), np.zeros(LOCK_SEGMENTS), rng.uniform(0, 0.96))


def build_hair(seed: int, has_loose_hairs: bool) -> MeshPart:
    """All of the hair; `strands` adds loose hairs around its outline."""
    rng = np.random.default_rng((seed, 8))
    pieces = [_build_cap()]
    for side in (-1.0, 1.0):
        for layer, count in ((0.0, 20), (0.5, 24), (1.0, 22)):
            for root in (np.arange(count) + 0.5) / count:
                start = float(np.clip(root + rng.normal(0, 0.012), 0, 1))
                pieces.append(_build_lock(_guide_curve(side, start, rng), layer, rng))
        pieces += [_build_fringe_lock(_hairline_curve(side, place, rng), rng) for place in np.linspace(0, 1, 34)]
    if has_loose_hairs:
        pieces += [_build_loose_hair(rng) for _ in range(160)]
    return join_parts(pieces)
