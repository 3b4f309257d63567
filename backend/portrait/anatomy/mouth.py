"""The mouth's interior: teeth, tongue and the dark behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.interpolate import LinearNDInterpolator

from ...contract.arrays import F64
from ...contract.channels import CHANNEL_INDEX, CHANNELS
from ...contract.geometry import matrix_from_rotation_vector
from ...tracking.detection import topology as topo
from ...tracking.face.blendshape_rig import JAW_OPEN_ANGLE, BlendshapeRig
from ...tracking.face.blendshape_tables import JAW_HINGE
from ..labels import MOUTH
from ..seeds import Seeds

TEETH_COLOR = (0.45, 0.38, 0.34)  # teeth in the shade of the lips
TONGUE_COLOR = (0.40, 0.22, 0.20)
THROAT_COLOR = (0.12, 0.05, 0.05)
# Metres that an arch as wide as the mouth recedes from its middle to its ends, and the share of it that the sheets
# bend. Larger moves the molars back. Not tuned.
DENTAL_ARCH_DEPTH_METERS = 0.012
DENTAL_ARCH_SHARE = 0.9
# Metres that the jaw moves sideways at jawLeft or jawRight 1. Not tuned.
JAW_SHIFT_METERS = 0.01


class MouthPart(NamedTuple):
    """A curved sheet of Gaussians behind the lips.

    Attributes:
        bottom: its lower edge, metres above the line between the lips.
        top: its upper edge, metres above that line.
        depth: metres behind the lips.
        half_width: as a multiple of half the mouth's width.
        spacing: distance of neighbours, as a multiple of `spacing`.
        size: standard deviation, as a multiple of `spacing`.
        color: (3,) 0–1.
        jaw_share: how much of the jaw's motion it follows.
    """

    bottom: float
    top: float
    depth: float
    half_width: float
    spacing: float
    size: float
    color: tuple[float, float, float]
    jaw_share: float


# From the anatomy of an adult with 0.09 m between the outer eye corners; not tuned. The gullet closes holes that
# training may wear into the throat.
MOUTH_PARTS = (
    #         bottom    top  depth  half_width spacing size  color         jaw_share
    MouthPart(-0.003, 0.010, 0.010, 0.9,       1.0,    0.6,  TEETH_COLOR,  0.0),  # upper teeth
    MouthPart(-0.012, 0.003, 0.012, 0.9,       1.0,    0.6,  TONGUE_COLOR, 1.0),  # lower teeth and tongue
    MouthPart(-0.022, 0.012, 0.030, 0.95,      1.8,    1.1,  THROAT_COLOR, 0.5),  # throat
    MouthPart(-0.026, 0.012, 0.036, 0.9,       3.0,    2.2,  THROAT_COLOR, 0.5),  # gullet
)  # fmt: skip


def seed_mouth(rig: BlendshapeRig, spacing: float) -> Seeds:
    """Seed upper teeth that stay with the skull, lower teeth and tongue that follow the jaw, and the throat.

    Args:
        rig: the tracked face.
        spacing: metres between neighbours on the teeth.
    """
    # beside and below the lips the skin lies farther back than the lips do
    mesh = rig.neutral[: topo.MESH_VERTEX_COUNT]
    skin_depth = LinearNDInterpolator(mesh[:, :2], mesh[:, 2])
    parts = []
    for part in MOUTH_PARTS:
        points = _curved_grid(rig, part, spacing, skin_depth)
        prior = _jaw_prior(points, part.jaw_share)
        parts.append(Seeds.from_points(points, part.size * spacing, np.array(part.color), MOUTH, 1.0, prior))
    return Seeds.concatenate(parts)


def _curved_grid(rig: BlendshapeRig, part: MouthPart, spacing: float, skin_depth: Callable[[F64], F64]) -> F64:
    """Return the points (N, 3) of a part, curved like the dental arch and always behind the skin."""
    left, right = rig.neutral[topo.MOUTH_LEFT], rig.neutral[topo.MOUTH_RIGHT]
    center = (left + right) / 2
    half_mouth = float(np.linalg.norm(left - right)) / 2
    lips = rig.neutral[[topo.LIP_INNER_UPPER_MIDDLE, topo.LIP_INNER_LOWER_MIDDLE]]
    lip_height, lip_depth = float(lips[:, 1].mean()), float(lips[:, 2].mean())
    step = spacing * part.spacing
    x, y = np.meshgrid(
        np.arange(-part.half_width * half_mouth, part.half_width * half_mouth, step),
        np.arange(lip_height + part.bottom, lip_height + part.top, step),
    )
    arch = DENTAL_ARCH_SHARE * (x / half_mouth) ** 2 * DENTAL_ARCH_DEPTH_METERS
    xy = np.stack([x.ravel() + center[0], y.ravel()], 1)
    z = np.minimum((lip_depth - part.depth - arch).ravel(), skin_depth(xy) - part.depth)
    return np.column_stack([xy, z])


def _jaw_prior(points: F64, jaw_share: float) -> F64:
    """Return the prior (52, N, 3) of points that follow a share of the jaw's motion."""
    hinge = np.asarray(JAW_HINGE)
    prior = np.zeros((len(CHANNELS), len(points), 3))
    rotation = matrix_from_rotation_vector(np.array([JAW_OPEN_ANGLE, 0, 0]))
    prior[CHANNEL_INDEX["jawOpen"]] = jaw_share * ((points - hinge) @ rotation.T + hinge - points)
    prior[CHANNEL_INDEX["jawLeft"], :, 0] = JAW_SHIFT_METERS * jaw_share
    prior[CHANNEL_INDEX["jawRight"], :, 0] = -JAW_SHIFT_METERS * jaw_share
    return prior
