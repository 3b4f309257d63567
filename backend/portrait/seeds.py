"""Where the Gaussians begin: on the tracked face, the hair, the mouth's interior, the eyes and the torso."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import LinearNDInterpolator

from ..contract.arrays import F64, I32, I64
from ..contract.channels import CHANNEL_INDEX, CHANNELS
from ..contract.geometry import matrix_from_rotation_vector
from ..tracking.detection import topology as topo
from ..tracking.face.blendshape_rig import JAW_OPEN_ANGLE, BlendshapeRig
from ..tracking.face.blendshape_tables import JAW_HINGE
from .labels import FACE, HAIR, MOUTH
from .model import ORAL_CHANNEL_COUNT, Portrait, PortraitSize

MESH_FALLOFF_METERS = 0.014  # metres over which skin beside the mesh (neck, temples) still follows the mesh
LOG_GROWTH_RANGE = (-0.2, 1.0)  # of the logarithm of a Gaussian's size, with the skin that it lies on
LID_CLEARANCE_METERS = (
    0.010  # metres by which an eye draws back behind its closing lids, which are as thin as one Gaussian
)
TEETH_DEPTH_METERS, THROAT_DEPTH_METERS, GULLET_DEPTH_METERS = 0.010, 0.030, 0.036  # metres behind the lips


@dataclass
class Seeds:
    """N Gaussians before training: means (N, 3) rest space; size (N,) metres; colour (N, 3); label (N,);
    skin (N,) share that follows the head; prior (52, N, 3) offsets at channel value 1, metres; growth (52, N) what is
    then added to the logarithm of the size."""

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
        """Seeds of one part; scalars are repeated, and without `growth` sizes stay."""
        n = len(means)
        return cls(
            means, np.broadcast_to(size, n).astype(float), np.broadcast_to(color, (n, 3)).astype(float),
            np.full(n, label), np.broadcast_to(head_weight, n).astype(float), prior,
            np.zeros((len(CHANNELS), n)) if growth is None else growth,
        )  # fmt: skip

    @classmethod
    def concatenate(cls, parts: list[Seeds]) -> Seeds:
        """All parts as one."""
        joined = {
            k: np.concatenate([getattr(p, k) for p in parts])
            for k in ("means", "size", "color", "label", "head_weight")
        }
        over_channels = {k: np.concatenate([getattr(p, k) for p in parts], 1) for k in ("prior", "growth")}
        return cls(**joined, **over_channels)


def seed_face_mesh(rig: BlendshapeRig, faces: I32, color: F64, spacing: float, rng: np.random.Generator) -> Seeds:
    """Gaussians on the face mesh, denser around lips and eyes.

    Args:
        colour: (468, 3) colour of each vertex, 0–1. spacing: metres between neighbours on plain skin.
    """
    corners = rig.neutral[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    fine = np.zeros(topo.LANDMARK_COUNT)
    lids = (*topo.LID_UPPER_LEFT, *topo.LID_LOWER_LEFT, *topo.LID_UPPER_RIGHT, *topo.LID_LOWER_RIGHT)
    fine[topo.index_array(*topo.LIPS, *lids)] = 1.0
    density = 1 + 2.5 * fine[faces].mean(1)
    expected = area * density / spacing**2
    count = np.floor(expected + rng.random(len(faces))).astype(int)
    chosen = np.repeat(np.arange(len(faces)), count)
    u, v = rng.random(len(chosen)), rng.random(len(chosen))
    fold = u + v > 1
    u[fold], v[fold] = 1 - u[fold], 1 - v[fold]
    bary = np.stack([1 - u - v, u, v], 1)
    at = faces[chosen]
    prior = np.einsum("nk,snkc->snc", bary, rig.shapes[:, at], optimize=True)
    size = 0.62 * spacing / np.sqrt(density[chosen])
    points, tint = (np.einsum("nk,nkc->nc", bary, value[at]) for value in (rig.neutral, color))
    return Seeds.from_points(points, size, tint, FACE, 1.0, prior, skin_growth(rig, faces)[:, chosen])


def skin_growth(rig: BlendshapeRig, faces: I32) -> F64:
    """(52, F) how much longer and wider each triangle gets at channel value 1, logarithm: where skin stretches, its
    Gaussians have to cover more than they did."""

    def area(vertices: F64) -> F64:
        corners = vertices[..., faces, :]
        cross = np.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
        return np.linalg.norm(cross, axis=-1)

    ratio = area(rig.neutral + rig.shapes) / np.maximum(area(rig.neutral), 1e-12)
    return np.clip(0.5 * np.log(np.maximum(ratio, 1e-6)), *LOG_GROWTH_RANGE)


def seed_eyes(rig: BlendshapeRig, spacing: float, color_by_part: dict[str, F64]) -> Seeds:
    """The visible part of both eyeballs: sclera that stays, an iris that follows the gaze."""
    parts = []
    for side in ("Left", "Right"):
        eye = topo.EYES[side]
        iris = eye.iris
        ring = rig.neutral[[eye.inner_corner, *eye.upper_lid, eye.outer_corner, *eye.lower_lid]]
        centre = rig.neutral[iris[0]]
        low, high = ring.min(0), ring.max(0)
        grow = 0.004
        x, y = np.meshgrid(
            np.arange(low[0] - grow, high[0] + grow, spacing), np.arange(low[1] - grow, high[1] + grow, spacing)
        )
        points = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1)
        distance = np.linalg.norm(points[:, :2] - centre[:2], axis=1)
        bulge = np.sqrt(np.maximum(0.0125**2 - np.minimum(distance, 0.0124) ** 2, 0)) - 0.0125
        points[:, 2] = ring[:, 2].mean() - 0.0025 + bulge
        radius = np.linalg.norm(rig.neutral[topo.index_array(*iris[1:]), :2] - centre[:2], axis=1).mean()
        inside = distance < radius * 1.05
        parts.append(_seed_eyeball(points[~inside], spacing, color_by_part["sclera"], None, side))
        points[inside, 2] += 0.0006  # the iris lies on the sclera
        parts.append(_seed_eyeball(points[inside], spacing, color_by_part["iris"], rig, side))
    return Seeds.concatenate(parts)


def _seed_eyeball(points: F64, spacing: float, color: F64, rig: BlendshapeRig | None, side: str) -> Seeds:
    prior = np.zeros((len(CHANNELS), len(points), 3))
    prior[CHANNEL_INDEX[f"eyeBlink{side}"], :, 2] = -LID_CLEARANCE_METERS
    if rig is not None:
        iris = topo.EYES[side].iris
        for name in (f"eyeLookDown{side}", f"eyeLookUp{side}", f"eyeLookIn{side}", f"eyeLookOut{side}"):
            prior[CHANNEL_INDEX[name]] = rig.shapes[CHANNEL_INDEX[name], iris[0]]
    return Seeds.from_points(points, 0.6 * spacing, color, FACE, 1.0, prior)


def seed_mouth(rig: BlendshapeRig, spacing: float) -> Seeds:
    """Upper teeth that stay with the skull, lower teeth and tongue that go with the jaw, and the dark behind them."""
    left, right = rig.neutral[topo.MOUTH_LEFT], rig.neutral[topo.MOUTH_RIGHT]
    centre = (left + right) / 2
    half = float(np.linalg.norm(left - right)) / 2
    line = float(rig.neutral[[13, 14], 1].mean())
    front = float(rig.neutral[[13, 14], 2].mean())

    # beside and below the lips the skin lies farther back than they do
    skin = LinearNDInterpolator(rig.neutral[: topo.MESH_VERTEX_COUNT, :2], rig.neutral[: topo.MESH_VERTEX_COUNT, 2])

    def sheet(bottom: float, top: float, behind: float, wide: float, step: float) -> F64:
        x, y = np.meshgrid(np.arange(-wide * half, wide * half, step), np.arange(line + bottom, line + top, step))
        curve = 0.9 * (x / half) ** 2 * 0.012  # the dental arch
        at = np.stack([x.ravel() + centre[0], y.ravel()], 1)
        deep = np.minimum((front - behind - curve).ravel(), skin(at) - behind)
        return np.column_stack([at, deep])

    upper = sheet(-0.003, 0.010, TEETH_DEPTH_METERS, 0.9, spacing)
    lower = sheet(-0.012, 0.003, TEETH_DEPTH_METERS + 0.002, 0.9, spacing)
    throat = sheet(-0.022, 0.012, THROAT_DEPTH_METERS, 0.95, spacing * 1.8)
    gullet = sheet(-0.026, 0.012, GULLET_DEPTH_METERS, 0.9, spacing * 3)  # should training wear holes into the throat
    teeth, tongue, dark = np.array([0.45, 0.38, 0.34]), np.array([0.40, 0.22, 0.20]), np.array([0.12, 0.05, 0.05])
    return Seeds.concatenate(
        [
            Seeds.from_points(upper, 0.6 * spacing, teeth, MOUTH, 1.0, _jaw_prior(upper, 0.0)),
            Seeds.from_points(lower, 0.6 * spacing, tongue, MOUTH, 1.0, _jaw_prior(lower, 1.0)),
            Seeds.from_points(throat, 1.1 * spacing, dark, MOUTH, 1.0, _jaw_prior(throat, 0.5)),
            Seeds.from_points(gullet, 2.2 * spacing, dark, MOUTH, 1.0, _jaw_prior(gullet, 0.5)),
        ]
    )


def _jaw_prior(points: F64, jaw_share: float) -> F64:
    """(52, N, 3) of points that take a share of the jaw's swing."""
    hinge = np.asarray(JAW_HINGE)
    prior = np.zeros((len(CHANNELS), len(points), 3))
    turn = matrix_from_rotation_vector(np.array([JAW_OPEN_ANGLE, 0, 0]))
    prior[CHANNEL_INDEX["jawOpen"]] = jaw_share * ((points - hinge) @ turn.T + hinge - points)
    prior[CHANNEL_INDEX["jawLeft"], :, 0] = 0.01 * jaw_share
    prior[CHANNEL_INDEX["jawRight"], :, 0] = -0.01 * jaw_share
    return prior


def seed_beside_mesh(
    points: F64, size: F64 | float, color: F64, label: int, head_weight: F64 | float, rig: BlendshapeRig
) -> Seeds:
    """Hair, ears, neck and torso: points that follow the nearest face vertex the less the farther they are from it."""
    outline = topo.index_array(*topo.FACE_OVAL)
    difference = points[:, None, :2] - rig.neutral[outline][None, :, :2]
    distance = np.linalg.norm(difference, axis=-1)
    nearest = distance.argmin(1)
    share = np.exp(-((distance.min(1) / MESH_FALLOFF_METERS) ** 2))
    prior = rig.shapes[:, outline[nearest]] * share[None, :, None]
    return Seeds.from_points(points, size, color, label, head_weight, prior)


def portrait_from_seeds(
    seeds: Seeds, rig: BlendshapeRig, *, facial_shapes: int = 20, oral_shapes: int = 16, rigid_shapes: int = 8
) -> Portrait:
    """A portrait whose Gaussians are the seeds and whose branches are the identity."""
    reach_oral, reach_facial = branch_strengths(seeds, rig)
    oral_members, facial_members = np.nonzero(reach_oral > 0.02)[0], np.nonzero(reach_facial > 0.02)[0]
    size = PortraitSize(
        len(seeds.means), len(facial_members), len(oral_members), facial_shapes, oral_shapes, rigid_shapes
    )
    portrait = Portrait(size)
    with torch.no_grad():
        portrait.means.copy_(_to_tensor(seeds.means))
        portrait.log_scales.copy_(_to_tensor(np.log(seeds.size))[:, None].expand(-1, 3))
        portrait.opacity_logits.fill_(2.0)
        portrait.colours.copy_(_to_tensor(seeds.color))
        share = np.clip(seeds.head_weight, 1e-3, 1 - 1e-3)
        portrait.skin_logits.copy_(_to_tensor(np.log(share / (1 - share))))
        portrait.prior.copy_(_to_tensor(seeds.prior.reshape(len(CHANNELS), -1)))
        portrait.growth.copy_(_to_tensor(seeds.growth))
        portrait.label.copy_(torch.as_tensor(seeds.label, dtype=torch.uint8))
        portrait.oral.members.copy_(torch.as_tensor(oral_members))
        portrait.oral.strength.copy_(_to_tensor(reach_oral[oral_members]))
        portrait.facial.members.copy_(torch.as_tensor(facial_members))
        portrait.facial.strength.copy_(_to_tensor(reach_facial[facial_members]))
    return portrait


def _to_tensor(array: F64) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32)


def branch_strengths(seeds: Seeds, rig: BlendshapeRig) -> tuple[F64, F64]:
    """(N,) how far the oral and the facial branch reach each Gaussian.

    The oral one has the mouth and the jaw, the facial one eyes, brows and nose; they overlap only in the cheeks.
    """
    y = seeds.means[:, 1]
    nose = rig.neutral[2, 1]  # below the nose's tip
    eyes = rig.neutral[topo.EYE_OUTER_LEFT, 1]
    head = np.isin(seeds.label, (FACE, MOUTH))
    swing = np.linalg.norm(seeds.prior[:ORAL_CHANNEL_COUNT], axis=-1).max(0)
    moves = np.clip(swing / 0.002, 0, 1)
    below = np.clip((eyes - 0.012 - y) / 0.02, 0, 1)
    oral = np.where(head, np.maximum(below, 0), moves * below)
    above = np.clip((y - nose) / 0.015, 0, 1)
    facial = np.where(seeds.label == FACE, above, 0.0)
    near = (seeds.label == HAIR) & (np.linalg.norm(seeds.prior[ORAL_CHANNEL_COUNT:], axis=-1).max(0) > 0.0005)
    facial = np.where(near, above, facial)
    return oral, facial
