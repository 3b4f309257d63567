"""The eyes: the visible part of both eyeballs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...contract.arrays import F64
from ...contract.channels import CHANNEL_INDEX, CHANNELS
from ...tracking.detection import topology as topo
from ...tracking.face.blendshape_rig import BlendshapeRig
from ..labels import FACE
from ..seeds import Seeds

# Metres; the radius of a human eye is about 12 mm.
EYEBALL_RADIUS_METERS = 0.0125
# Metres from the iris beyond which the eyeball stays at the depth of its rim; just under its radius.
MAX_BULGE_DISTANCE_METERS = 0.0124
# Metres that the eyeball's front lies behind the mean of the lids. Larger lets closed lids cover it more safely, and
# makes the eye look sunken. Not tuned.
EYE_DEPTH_METERS = 0.0025
# Metres that the iris lies in front of the sclera, so that it is drawn over it. Not tuned.
IRIS_ADVANCE_METERS = 0.0006
# Metres that the eye continues behind the lids on each side, so that no gap opens when they move. Not tuned.
LID_MARGIN_METERS = 0.004
# Metres by which an eye draws back behind its closing lids, which are as thin as one Gaussian. Not tuned.
LID_CLEARANCE_METERS = 0.010
# The iris as a multiple of the tracked radius, so that no sclera shows inside its rim. Not tuned.
IRIS_RADIUS_SCALE = 1.05
# Standard deviation of a Gaussian as a share of the distance to its neighbours. Not tuned.
EYE_SIZE_PER_SPACING = 0.6
# Initial colour of the sclera: this gray, plus a share of the iris's colour for the light of the footage. Not tuned.
SCLERA_GRAY = 0.35
SCLERA_IRIS_SHARE = 0.4


class EyeColors(NamedTuple):
    """Initial colours (3,) in 0–1."""

    iris: F64
    sclera: F64

    @classmethod
    def from_landmarks(cls, colors: F64) -> EyeColors:
        """Derive them from the colours (478, 3) of the landmarks."""
        iris = colors[[topo.IRIS_LEFT[0], topo.IRIS_RIGHT[0]]].mean(0)
        return cls(iris, np.clip(SCLERA_GRAY + SCLERA_IRIS_SHARE * iris, 0, 1))


def seed_eyes(rig: BlendshapeRig, spacing: float, colors: EyeColors) -> Seeds:
    """Seed both eyes: a sclera that stays and an iris that follows the gaze.

    Args:
        rig: the tracked face.
        spacing: metres between neighbours.
        colors: the initial colours.
    """
    return Seeds.concatenate([part for side in ("Left", "Right") for part in _seed_eye(rig, spacing, colors, side)])


def _seed_eye(rig: BlendshapeRig, spacing: float, colors: EyeColors, side: str) -> list[Seeds]:
    eye = topo.EYES[side]
    center = rig.neutral[eye.iris[0]]
    lids = rig.neutral[[eye.inner_corner, *eye.upper_lid, eye.outer_corner, *eye.lower_lid]]
    low, high = lids.min(0), lids.max(0)
    x, y = np.meshgrid(
        np.arange(low[0] - LID_MARGIN_METERS, high[0] + LID_MARGIN_METERS, spacing),
        np.arange(low[1] - LID_MARGIN_METERS, high[1] + LID_MARGIN_METERS, spacing),
    )
    points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1)
    distance = np.linalg.norm(points[:, :2] - center[:2], axis=1)
    squared_height = EYEBALL_RADIUS_METERS**2 - np.minimum(distance, MAX_BULGE_DISTANCE_METERS) ** 2
    bulge = np.sqrt(np.maximum(squared_height, 0)) - EYEBALL_RADIUS_METERS
    points[:, 2] = lids[:, 2].mean() - EYE_DEPTH_METERS + bulge
    iris_radius = np.linalg.norm(rig.neutral[topo.index_array(*eye.iris[1:]), :2] - center[:2], axis=1).mean()
    is_iris = distance < iris_radius * IRIS_RADIUS_SCALE
    sclera, iris = points[~is_iris], points[is_iris]
    iris[:, 2] += IRIS_ADVANCE_METERS
    blink = _blink_prior(len(sclera), side)
    gaze = _blink_prior(len(iris), side)
    for name in (f"eyeLookDown{side}", f"eyeLookUp{side}", f"eyeLookIn{side}", f"eyeLookOut{side}"):
        gaze[CHANNEL_INDEX[name]] = rig.shapes[CHANNEL_INDEX[name], eye.iris[0]]
    return [
        Seeds.from_points(sclera, EYE_SIZE_PER_SPACING * spacing, colors.sclera, FACE, 1.0, blink),
        Seeds.from_points(iris, EYE_SIZE_PER_SPACING * spacing, colors.iris, FACE, 1.0, gaze),
    ]


def _blink_prior(count: int, side: str) -> F64:
    """Return the prior (52, count, 3) of an eye that only draws back behind its closing lids."""
    prior = np.zeros((len(CHANNELS), count, 3))
    prior[CHANNEL_INDEX[f"eyeBlink{side}"], :, 2] = -LID_CLEARANCE_METERS
    return prior
