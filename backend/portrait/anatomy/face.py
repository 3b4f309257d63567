"""The face: Gaussians on the tracked mesh."""

from __future__ import annotations

import numpy as np

from ...contract.arrays import F64, I32
from ...tracking.detection import topology as topo
from ...tracking.face.blendshape_rig import BlendshapeRig
from ..labels import FACE
from ..seeds import SIZE_PER_SPACING, Seeds

# Additional density on lips and lids, as a multiple of the density on plain skin. Larger gives finer lips and lids and
# fewer Gaussians for the rest of the budget. Not tuned.
FINE_DENSITY = 2.5
# Lowest and highest growth of a Gaussian (logarithm) with the skin it lies on. Keeps a folded or torn triangle of the
# mesh from making a Gaussian vanish or cover the face. Not tuned.
LOG_GROWTH_RANGE = (-0.2, 1.0)


def seed_face_mesh(rig: BlendshapeRig, faces: I32, color: F64, spacing: float, rng: np.random.Generator) -> Seeds:
    """Seed the face mesh at random, denser around lips and eyes.

    Args:
        rig: the tracked face.
        faces: (F, 3) triangles of its mesh.
        color: (478, 3) colour of each vertex, 0–1.
        spacing: metres between neighbours on plain skin.
        rng: where the positions come from.
    """
    corners = rig.neutral[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    is_fine = np.zeros(topo.LANDMARK_COUNT)
    lids = (*topo.LID_UPPER_LEFT, *topo.LID_LOWER_LEFT, *topo.LID_UPPER_RIGHT, *topo.LID_LOWER_RIGHT)
    is_fine[topo.index_array(*topo.LIPS, *lids)] = 1.0
    density = 1 + FINE_DENSITY * is_fine[faces].mean(1)
    expected_count = area * density / spacing**2
    count = np.floor(expected_count + rng.random(len(faces))).astype(int)
    triangle = np.repeat(np.arange(len(faces)), count)
    barycentric = _random_barycentric(len(triangle), rng)
    vertices = faces[triangle]
    prior = np.einsum("nk,snkc->snc", barycentric, rig.shapes[:, vertices], optimize=True)
    size = SIZE_PER_SPACING * spacing / np.sqrt(density[triangle])
    points, tint = (np.einsum("nk,nkc->nc", barycentric, value[vertices]) for value in (rig.neutral, color))
    return Seeds.from_points(points, size, tint, FACE, 1.0, prior, skin_growth(rig, faces)[:, triangle])


def _random_barycentric(count: int, rng: np.random.Generator) -> F64:
    """Return barycentric coordinates (count, 3), uniform over a triangle."""
    u, v = rng.random(count), rng.random(count)
    is_outside = u + v > 1
    u[is_outside], v[is_outside] = 1 - u[is_outside], 1 - v[is_outside]
    return np.stack([1 - u - v, u, v], 1)


def skin_growth(rig: BlendshapeRig, faces: I32) -> F64:
    """Return how much each triangle grows at channel value 1: (52, F) logarithm of the ratio of lengths.

    Where skin stretches, its Gaussians have to cover more.
    """
    ratio = _areas(rig.neutral + rig.shapes, faces) / np.maximum(_areas(rig.neutral, faces), 1e-12)
    growth: F64 = np.clip(0.5 * np.log(np.maximum(ratio, 1e-6)), *LOG_GROWTH_RANGE)
    return growth


def _areas(vertices: F64, faces: I32) -> F64:
    """Return twice the areas (…, F) of triangles."""
    corners = vertices[..., faces, :]
    cross = np.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
    return np.asarray(np.linalg.norm(cross, axis=-1), np.float64)
