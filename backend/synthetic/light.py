"""Soft light with soft shadows: precomputed radiance transfer in second-order spherical harmonics.

Formulas: R. Ramamoorthi and P. Hanrahan, "An Efficient Representation for Irradiance Environment Maps", SIGGRAPH 2001;
P.-P. Sloan et al., "Precomputed Radiance Transfer", SIGGRAPH 2002.
"""

from __future__ import annotations

import numpy as np

from ..contract.arrays import F32, F64, I32
from .raster import find_visible_triangles, vertex_normals

_COSINE_BANDS = np.array([1.0] + [2 / 3] * 3 + [1 / 4] * 5)  # the clamped cosine's factor per band, divided by π

# Direction towards the light (x to the actor's left, y up, z to the camera), colour, softness is SH's own.
LIGHTS = (
    ((-0.50, 0.72, 0.72), (1.12, 1.06, 0.98)),  # key: from the camera's left, warm
    ((0.85, 0.15, 0.50), (0.22, 0.26, 0.31)),  # fill: from the right, cool
    ((0.45, 0.55, -0.70), (0.34, 0.36, 0.40)),  # rim: from behind
)
AMBIENT = (0.27, 0.27, 0.29)


def spherical_harmonics(directions: F64) -> F64:
    """(N, 9) real spherical harmonics of bands 0–2 at unit vectors (N, 3)."""
    x, y, z = directions.T
    one = np.full_like(x, 0.282095)
    return np.stack(
        [one, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1),
         1.092548 * x * z, 0.546274 * (x * x - y * y)], 1)  # fmt: skip


def environment_coefficients(rotation: F64) -> F64:
    """(9, 3) the lights as seen by a body turned by `rotation` (3, 3), body → actor space."""
    total = np.zeros((9, 3))
    total[0] = np.array(AMBIENT) / 0.282095
    for direction, colour in LIGHTS:
        towards = np.array(direction) / np.linalg.norm(direction)
        total += np.pi * spherical_harmonics((rotation.T @ towards)[None]).T * np.array(colour)
    return total


def irradiance(normals: F64, environment: F64) -> F64:
    """(N, 3) unshadowed light on surfaces with these unit normals; 1 = a white surface looks white."""
    return np.asarray((spherical_harmonics(normals) * _COSINE_BANDS) @ environment)


def bake_light_transfer(vertices: F32, faces: I32, *, directions: int = 80, size: int = 320) -> F32:
    """(V, 9) how each vertex gathers light at rest, occluded by the whole body.

    A vertex sees a direction when nothing stands before it in a depth map drawn from there.
    """
    normals = vertex_normals(vertices, faces).astype(np.float64)
    index = np.arange(directions) + 0.5
    height = 1 - 2 * index / directions
    turn = np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - height**2)
    sky = np.stack([ring * np.cos(turn), height, ring * np.sin(turn)], 1)
    centre = (vertices.max(0) + vertices.min(0)) / 2
    reach = float(np.linalg.norm(vertices - centre, axis=1).max()) * 1.02
    transfer = np.zeros((len(vertices), 9))
    basis = spherical_harmonics(sky)
    for towards, values in zip(sky, basis, strict=True):
        cosine = np.clip(normals @ towards, 0, None)
        right = np.cross([0, 1, 0] if abs(towards[1]) < 0.9 else [1, 0, 0], towards)
        right /= np.linalg.norm(right)
        up = np.cross(towards, right)
        body = vertices - centre
        far = 20.0  # metres: as good as parallel
        screen = np.stack(
            [(body @ right / reach + 1) * size / 2, (body @ up / reach + 1) * size / 2, far - body @ towards], 1
        ).astype(np.float64)
        _, nearness = find_visible_triangles(screen, faces, size, size)
        x = np.clip(screen[:, 0].astype(np.int32), 0, size - 1)
        y = np.clip(screen[:, 1].astype(np.int32), 0, size - 1)
        first = 1 / np.maximum(nearness[y, x].astype(np.float64), 1e-9)
        seen = np.clip((first - screen[:, 2] + 0.006) / 0.003, 0, 1)
        transfer += (cosine * seen)[:, None] * values
    return (transfer * 4 / directions).astype(np.float32)


def scatter_light(values: F32, adjacency: object, steps: int) -> F32:
    """Values per vertex, spread to the neighbours `steps` times: light that scatters under the skin."""
    for _ in range(steps):
        values = (0.5 * values + 0.5 * (adjacency @ values)).astype(np.float32)  # type: ignore[operator]
    return values
