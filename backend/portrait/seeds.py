"""The seeds: Gaussians as they are before training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract.arrays import F64, I64
from ..contract.channels import CHANNELS
from ..tracking.detection import topology as topo
from ..tracking.face.blendshape_rig import BlendshapeRig

# Metres over which skin beside the face mesh (neck, temples) still follows the mesh. Larger moves more of the neck and
# hair with the jaw. Not tuned.
MESH_FALLOFF_METERS = 0.014
# Standard deviation of a Gaussian as a share of the distance to its neighbours. Larger covers more densely and blurs.
# Not tuned.
SIZE_PER_SPACING = 0.62


@dataclass
class Seeds:
    """N Gaussians before training, all isotropic.

    Attributes:
        means: (N, 3) rest space, metres.
        size: (N,) standard deviation, metres.
        color: (N, 3) 0–1.
        label: (N,) see `labels`.
        head_weight: (N,) share that follows the head, 0–1.
        prior: (52, N, 3) offsets at channel value 1, metres.
        growth: (52, N) increase of the logarithm of the size at channel value 1.
    """

    means: F64
    size: F64
    color: F64
    label: I64
    head_weight: F64
    prior: F64
    growth: F64

    @classmethod
    def from_points(
        cls,
        means: F64,
        size: float | F64,
        color: F64,
        label: int,
        head_weight: float | F64,
        prior: F64,
        growth: F64 | None = None,
    ) -> Seeds:
        """Return the seeds of one part; scalars are repeated, and without `growth` it is zero."""
        n = len(means)
        return cls(
            means, np.broadcast_to(size, n).astype(float), np.broadcast_to(color, (n, 3)).astype(float),
            np.full(n, label), np.broadcast_to(head_weight, n).astype(float), prior,
            np.zeros((len(CHANNELS), n)) if growth is None else growth,
        )  # fmt: skip

    @classmethod
    def concatenate(cls, parts: list[Seeds]) -> Seeds:
        """Return all parts as one, in their order."""
        per_gaussian = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("means", "size", "color", "label", "head_weight")
        }
        per_channel = {name: np.concatenate([getattr(part, name) for part in parts], 1) for name in ("prior", "growth")}
        return cls(**per_gaussian, **per_channel)


def seed_beside_mesh(
    points: F64, size: F64 | float, color: F64, label: int, head_weight: F64 | float, rig: BlendshapeRig
) -> Seeds:
    """Seed hair, ears, neck or torso: points that follow the nearest vertex of the face's outline, less with distance.

    Args:
        points: (N, 3) rest space, metres.
        size: (N,) or one standard deviation, metres.
        color: (N, 3) 0–1.
        label: the part.
        head_weight: (N,) or one share that follows the head.
        rig: the tracked face.
    """
    outline = topo.index_array(*topo.FACE_OVAL)
    difference = points[:, None, :2] - rig.neutral[outline][None, :, :2]
    distance = np.linalg.norm(difference, axis=-1)
    nearest = distance.argmin(1)
    share = np.exp(-((distance.min(1) / MESH_FALLOFF_METERS) ** 2))
    prior = rig.shapes[:, outline[nearest]] * share[None, :, None]
    return Seeds.from_points(points, size, color, label, head_weight, prior)
