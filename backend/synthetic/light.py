"""Soft light with soft shadows: precomputed radiance transfer in second-order spherical harmonics.

Formulas: R. Ramamoorthi and P. Hanrahan, "An Efficient Representation for Irradiance Environment Maps", SIGGRAPH 2001;
P.-P. Sloan et al., "Precomputed Radiance Transfer", SIGGRAPH 2002.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from ..contract.arrays import F32, F64, I32
from .raster import find_visible_triangles, vertex_normals

SH_CONSTANT = 0.282095  # the spherical harmonic of band 0
COSINE_BANDS = np.array([1.0] + [2 / 3] * 3 + [1 / 4] * 5)  # the clamped cosine's factor per band, divided by π


class Light(NamedTuple):
    """A distant light; spherical harmonics of this order make it soft.

    Attributes:
        direction: towards the light, of any length (x to the actor's left, y up, z to the camera).
        color: linear RGB.
    """

    direction: tuple[float, float, float]
    color: tuple[float, float, float]


LIGHTS = (
    Light((-0.50, 0.72, 0.72), (1.12, 1.06, 0.98)),  # key: from the camera's left, warm
    Light((0.85, 0.15, 0.50), (0.22, 0.26, 0.31)),  # fill: from the right, cool
    Light((0.45, 0.55, -0.70), (0.34, 0.36, 0.40)),  # rim: from behind
)
AMBIENT = (0.27, 0.27, 0.29)  # linear RGB from everywhere

DIRECTION_COUNT = 80  # directions in which occlusion is sampled; more shade more evenly and bake longer
DEPTH_MAP_SIZE = 320  # pixels of the square depth map of each direction
DEPTH_MAP_MARGIN = 1.02  # of the body's radius, so that it lies inside the map
VIEW_DISTANCE = 20.0  # metres from which the maps are drawn: as good as parallel
SHADOW_BIAS = 0.006  # metres in front of a vertex that do not shade it; less lets surfaces shade themselves
SHADOW_SOFTNESS = 0.003  # metres over which a shadow fades
SCATTER_SHARE = 0.5  # of a vertex's light that it exchanges with its neighbours in a step


def spherical_harmonics(directions: F64) -> F64:
    """(N, 9) real spherical harmonics of bands 0–2 at unit vectors (N, 3)."""
    x, y, z = directions.T
    one = np.full_like(x, SH_CONSTANT)
    return np.stack(
        [one, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1),
         1.092548 * x * z, 0.546274 * (x * x - y * y)], 1)  # fmt: skip


def environment_coefficients(rotation: F64) -> F64:
    """(9, 3) the lights as seen by a body turned by `rotation` (3, 3), body → actor space."""
    total = np.zeros((9, 3))
    total[0] = np.array(AMBIENT) / SH_CONSTANT
    for lamp in LIGHTS:
        direction = np.array(lamp.direction) / np.linalg.norm(lamp.direction)
        total += np.pi * spherical_harmonics((rotation.T @ direction)[None]).T * np.array(lamp.color)
    return total


def irradiance(normals: F64, environment: F64) -> F64:
    """(N, 3) unshadowed light on surfaces with these unit normals; 1 where a white surface looks white."""
    return np.asarray((spherical_harmonics(normals) * COSINE_BANDS) @ environment)


def bake_light_transfer(vertices: F32, faces: I32) -> F32:
    """(V, 9) how each vertex of a mesh at rest gathers light, occluded by the whole mesh.

    A vertex sees a direction when nothing stands before it in a depth map drawn from there.
    """
    normals = vertex_normals(vertices, faces).astype(np.float64)
    center = (vertices.max(0) + vertices.min(0)) / 2
    directions = _sphere_directions(DIRECTION_COUNT)
    transfer = np.zeros((len(vertices), 9))
    for direction, values in zip(directions, spherical_harmonics(directions), strict=True):
        cosine = np.clip(normals @ direction, 0, None)
        visibility = _visibility(vertices - center, faces, direction)
        transfer += (cosine * visibility)[:, None] * values
    return (transfer * 4 / DIRECTION_COUNT).astype(np.float32)


def _sphere_directions(count: int) -> F64:
    """(count, 3) unit vectors spread evenly over the sphere: a Fibonacci spiral."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    turn = np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(turn), height, radius * np.sin(turn)], 1)


def _visibility(body: F32, faces: I32, direction: F64) -> F64:
    """(V,) 1 where a vertex of a mesh around the origin sees `direction` (3,), 0 where the mesh itself hides it."""
    size = DEPTH_MAP_SIZE
    radius = float(np.linalg.norm(body, axis=1).max()) * DEPTH_MAP_MARGIN
    right = np.cross([0, 1, 0] if abs(direction[1]) < 0.9 else [1, 0, 0], direction)
    right /= np.linalg.norm(right)
    up = np.cross(direction, right)
    x, y = (body @ right / radius + 1) * size / 2, (body @ up / radius + 1) * size / 2
    screen = np.stack([x, y, VIEW_DISTANCE - body @ direction], 1).astype(np.float64)
    _, inverse_depth = find_visible_triangles(screen, faces, size, size)
    column = np.clip(screen[:, 0].astype(np.int32), 0, size - 1)
    row = np.clip(screen[:, 1].astype(np.int32), 0, size - 1)
    nearest = 1 / np.maximum(inverse_depth[row, column].astype(np.float64), 1e-9)
    return np.asarray(np.clip((nearest - screen[:, 2] + SHADOW_BIAS) / SHADOW_SOFTNESS, 0, 1))


def scatter_light(values: F32, neighbors: sparse.csr_matrix, steps: int) -> F32:
    """Spread values per vertex (V, C) to the neighbours `steps` times: light that scatters under the skin.

    Args:
        values: (V, C).
        neighbors: (V, V) averages over the neighbours of each vertex.
        steps: more spread wider.
    """
    for _ in range(steps):
        values = ((1 - SCATTER_SHARE) * values + SCATTER_SHARE * (neighbors @ values)).astype(np.float32)
    return values
