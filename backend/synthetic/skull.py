"""Cranium, jaw and neck of the synthetic head as a signed distance, after average adult proportions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..contract.arrays import F64


class Capsule(NamedTuple):
    """A rounded cone between two points.

    Attributes:
        start: (3,) metres.
        end: (3,) metres.
        start_radius: metres.
        end_radius: metres.
    """

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    start_radius: float
    end_radius: float


# The solids, head space, metres; proportions chosen by eye. Jaw and ramus are given for the left half.
CRANIUM_CENTER = (0, 0.022, -0.068)
CRANIUM_RADII = (0.0755, 0.090, 0.092)
JAW = Capsule((0.0, -0.094, -0.012), (0.046, -0.072, -0.062), 0.022, 0.013)
RAMUS = Capsule((0.053, -0.016, -0.060), (0.0455, -0.068, -0.058), 0.0145, 0.0135)
NECK = Capsule((0, -0.05, -0.085), (0, -0.26, -0.092), 0.050, 0.056)
FILLET_RADIUS = 0.011  # metres, of the transitions between the solids; larger is softer

PROJECTION_STEPS = 4  # Newton steps to the surface; enough for a tenth of a millimetre
GRADIENT_STEP = 1e-4  # metres, of the forward differences
MAX_SCALP_DISTANCE = 0.25  # metres, outside the head from every point inside it
BISECTION_STEPS = 20  # leave 0.25 m / 2²⁰, less than a micrometre


def _smooth_union(distances: F64, radius: float) -> F64:
    """Smooth minimum over the first axis: a union of solids with fillets of about `radius` metres."""
    return np.asarray(-radius * np.log(np.exp(-distances / radius).sum(0)))


def _capsule_distance(points: F64, capsule: Capsule) -> F64:
    """(N,) signed distance from a capsule, metres."""
    a, b = np.array(capsule.start), np.array(capsule.end)
    t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
    radius = capsule.start_radius + t * (capsule.end_radius - capsule.start_radius)
    return np.asarray(np.linalg.norm(points - a - t[:, None] * (b - a), axis=1) - radius)


def skull_distance(points: F64) -> F64:
    """(N,) approximate signed distance in metres of points (N, 3) from head and neck without the face."""
    radii = np.array(CRANIUM_RADII)
    scaled = (points - np.array(CRANIUM_CENTER)) / radii
    cranium = (np.linalg.norm(scaled, axis=1) - 1) * np.linalg.norm(scaled, axis=1)
    cranium = cranium / np.maximum(np.linalg.norm(scaled / radii, axis=1), 1e-6)
    folded = np.abs(points) * [1, 0, 0] + points * [0, 1, 1]  # both halves of the jaw lie on the left now
    jaw, ramus = _capsule_distance(folded, JAW), _capsule_distance(folded, RAMUS)
    return _smooth_union(np.stack([cranium, jaw, ramus, _capsule_distance(points, NECK)]), FILLET_RADIUS)


def project_to_skull(points: F64) -> F64:
    """Move points (N, 3) onto the surface of `skull_distance`."""
    for _ in range(PROJECTION_STEPS):
        value = skull_distance(points)
        gradient = np.stack([skull_distance(points + GRADIENT_STEP * axis) - value for axis in np.eye(3)], 1)
        gradient = gradient / GRADIENT_STEP
        points = points - gradient * (value / np.maximum((gradient**2).sum(1), 1e-6))[:, None]
    return points


def scalp_distance(origin: F64, directions: F64) -> F64:
    """(N,) metres from `origin` (3,) inside the skull to its surface along unit directions (N, 3)."""
    near, far = np.zeros(len(directions)), np.full(len(directions), MAX_SCALP_DISTANCE)
    for _ in range(BISECTION_STEPS):
        middle = (near + far) / 2
        is_inside = skull_distance(origin + directions * middle[:, None]) < 0
        near, far = np.where(is_inside, middle, near), np.where(is_inside, far, middle)
    return near
