"""Where the Gaussians begin: on the tracked face, the hair, the mouth's interior, the eyes and the torso."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator

from ..contract.channels import CHANNELS, INDEX
from ..contract.geometry import matrix_from_vector
from ..tracking.detection import topology as topo
from ..tracking.face.blendshape_rig import JAW_ANGLE, JAW_HINGE, Rig
from .labels import FACE, HAIR, MOUTH
from .model import ORAL_COUNT, Portrait, PortraitSize

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
FOLLOW = 0.014  # metres over which skin beside the mesh (neck, temples) still follows the mesh
GROWTH = (-0.2, 1.0)  # of the logarithm of a Gaussian's size, with the skin that it lies on
LID_CLEARANCE = 0.010  # metres by which an eye draws back behind its closing lids, which are as thin as one Gaussian
TEETH_DEPTH, THROAT_DEPTH, GULLET_DEPTH = 0.010, 0.030, 0.036  # metres behind the lips


@dataclass
class Seeds:
    """N Gaussians before training: means (N, 3) rest space; size (N,) metres; colour (N, 3); label (N,);
    skin (N,) share that follows the head; prior (52, N, 3) offsets at channel value 1, metres; growth (52, N) what is
    then added to the logarithm of the size."""

    means: F64
    size: F64
    colour: F64
    label: NDArray[np.int64]
    skin: F64
    prior: F64
    growth: F64

    @classmethod
    def of(
        cls,
        means: F64,
        size: float | F64,
        colour: F64,
        label: int,
        skin: float | F64,
        prior: F64,
        growth: F64 | None = None,
    ) -> Seeds:
        """Seeds of one part; scalars are repeated, and without `growth` sizes stay."""
        n = len(means)
        return cls(
            means, np.broadcast_to(size, n).astype(float), np.broadcast_to(colour, (n, 3)).astype(float),
            np.full(n, label), np.broadcast_to(skin, n).astype(float), prior,
            np.zeros((len(CHANNELS), n)) if growth is None else growth,
        )  # fmt: skip

    @classmethod
    def join(cls, parts: list[Seeds]) -> Seeds:
        """All parts as one."""
        joined = {
            k: np.concatenate([getattr(p, k) for p in parts]) for k in ("means", "size", "colour", "label", "skin")
        }
        over_channels = {k: np.concatenate([getattr(p, k) for p in parts], 1) for k in ("prior", "growth")}
        return cls(**joined, **over_channels)


def mesh_seeds(rig: Rig, faces: NDArray[np.int32], colour: F64, spacing: float, rng: np.random.Generator) -> Seeds:
    """Gaussians on the face mesh, denser around lips and eyes.

    Args:
        colour: (468, 3) colour of each vertex, 0–1. spacing: metres between neighbours on plain skin.
    """
    corners = rig.neutral[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    fine = np.zeros(topo.COUNT)
    lids = (*topo.LID_UPPER_LEFT, *topo.LID_LOWER_LEFT, *topo.LID_UPPER_RIGHT, *topo.LID_LOWER_RIGHT)
    fine[topo.indices(*topo.LIPS, *lids)] = 1.0
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
    points, tint = (np.einsum("nk,nkc->nc", bary, value[at]) for value in (rig.neutral, colour))
    return Seeds.of(points, size, tint, FACE, 1.0, prior, skin_growth(rig, faces)[:, chosen])


def skin_growth(rig: Rig, faces: NDArray[np.int32]) -> F64:
    """(52, F) how much longer and wider each triangle gets at channel value 1, logarithm: where skin stretches, its
    Gaussians have to cover more than they did."""

    def area(vertices: F64) -> F64:
        corners = vertices[..., faces, :]
        cross = np.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
        return np.linalg.norm(cross, axis=-1)

    ratio = area(rig.neutral + rig.shapes) / np.maximum(area(rig.neutral), 1e-12)
    return np.clip(0.5 * np.log(np.maximum(ratio, 1e-6)), *GROWTH)


def eye_seeds(rig: Rig, spacing: float, colour_at: dict[str, F64]) -> Seeds:
    """The visible part of both eyeballs: sclera that stays, an iris that follows the gaze."""
    parts = []
    for side in ("Left", "Right"):
        eye = topo.EYES[side]
        iris = eye.iris
        ring = rig.neutral[[eye.inner, *eye.upper_lid, eye.outer, *eye.lower_lid]]
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
        radius = np.linalg.norm(rig.neutral[topo.indices(*iris[1:]), :2] - centre[:2], axis=1).mean()
        inside = distance < radius * 1.05
        parts.append(_eyeball(points[~inside], spacing, colour_at["sclera"], None, side))
        points[inside, 2] += 0.0006  # the iris lies on the sclera
        parts.append(_eyeball(points[inside], spacing, colour_at["iris"], rig, side))
    return Seeds.join(parts)


def _eyeball(points: F64, spacing: float, colour: F64, rig: Rig | None, side: str) -> Seeds:
    prior = np.zeros((len(CHANNELS), len(points), 3))
    prior[INDEX[f"eyeBlink{side}"], :, 2] = -LID_CLEARANCE
    if rig is not None:
        iris = topo.EYES[side].iris
        for name in (f"eyeLookDown{side}", f"eyeLookUp{side}", f"eyeLookIn{side}", f"eyeLookOut{side}"):
            prior[INDEX[name]] = rig.shapes[INDEX[name], iris[0]]
    return Seeds.of(points, 0.6 * spacing, colour, FACE, 1.0, prior)


def mouth_seeds(rig: Rig, spacing: float) -> Seeds:
    """Upper teeth that stay with the skull, lower teeth and tongue that go with the jaw, and the dark behind them."""
    left, right = rig.neutral[topo.MOUTH_LEFT], rig.neutral[topo.MOUTH_RIGHT]
    centre = (left + right) / 2
    half = float(np.linalg.norm(left - right)) / 2
    line = float(rig.neutral[[13, 14], 1].mean())
    front = float(rig.neutral[[13, 14], 2].mean())

    # beside and below the lips the skin lies farther back than they do
    skin = LinearNDInterpolator(rig.neutral[: topo.MESH, :2], rig.neutral[: topo.MESH, 2])

    def sheet(bottom: float, top: float, behind: float, wide: float, step: float) -> F64:
        x, y = np.meshgrid(np.arange(-wide * half, wide * half, step), np.arange(line + bottom, line + top, step))
        curve = 0.9 * (x / half) ** 2 * 0.012  # the dental arch
        at = np.stack([x.ravel() + centre[0], y.ravel()], 1)
        deep = np.minimum((front - behind - curve).ravel(), skin(at) - behind)
        return np.column_stack([at, deep])

    upper = sheet(-0.003, 0.010, TEETH_DEPTH, 0.9, spacing)
    lower = sheet(-0.012, 0.003, TEETH_DEPTH + 0.002, 0.9, spacing)
    throat = sheet(-0.022, 0.012, THROAT_DEPTH, 0.95, spacing * 1.8)
    gullet = sheet(-0.026, 0.012, GULLET_DEPTH, 0.9, spacing * 3)  # should training wear holes into the throat
    teeth, tongue, dark = np.array([0.45, 0.38, 0.34]), np.array([0.40, 0.22, 0.20]), np.array([0.12, 0.05, 0.05])
    return Seeds.join(
        [
            Seeds.of(upper, 0.6 * spacing, teeth, MOUTH, 1.0, _jaw_swing(upper, 0.0)),
            Seeds.of(lower, 0.6 * spacing, tongue, MOUTH, 1.0, _jaw_swing(lower, 1.0)),
            Seeds.of(throat, 1.1 * spacing, dark, MOUTH, 1.0, _jaw_swing(throat, 0.5)),
            Seeds.of(gullet, 2.2 * spacing, dark, MOUTH, 1.0, _jaw_swing(gullet, 0.5)),
        ]
    )


def _jaw_swing(points: F64, share: float) -> F64:
    """(52, N, 3) of points that take a share of the jaw's swing."""
    hinge = np.asarray(JAW_HINGE)
    prior = np.zeros((len(CHANNELS), len(points), 3))
    turn = matrix_from_vector(np.array([JAW_ANGLE, 0, 0]))
    prior[INDEX["jawOpen"]] = share * ((points - hinge) @ turn.T + hinge - points)
    prior[INDEX["jawLeft"], :, 0] = 0.01 * share
    prior[INDEX["jawRight"], :, 0] = -0.01 * share
    return prior


def beside_mesh_seeds(points: F64, size: F64 | float, colour: F64, label: int, skin: F64 | float, rig: Rig) -> Seeds:
    """Hair, ears, neck and torso: points that follow the nearest face vertex the less the farther they are from it."""
    outline = topo.indices(*topo.FACE_OVAL)
    difference = points[:, None, :2] - rig.neutral[outline][None, :, :2]
    distance = np.linalg.norm(difference, axis=-1)
    nearest = distance.argmin(1)
    share = np.exp(-((distance.min(1) / FOLLOW) ** 2))
    prior = rig.shapes[:, outline[nearest]] * share[None, :, None]
    return Seeds.of(points, size, colour, label, skin, prior)


def build_portrait(seeds: Seeds, rig: Rig, *, facial: int = 20, oral: int = 16, rigid: int = 8) -> Portrait:
    """A portrait whose Gaussians are the seeds and whose branches are the identity."""
    reach_oral, reach_facial = branch_reach(seeds, rig)
    oral_members, facial_members = np.nonzero(reach_oral > 0.02)[0], np.nonzero(reach_facial > 0.02)[0]
    size = PortraitSize(len(seeds.means), len(facial_members), len(oral_members), facial, oral, rigid)
    portrait = Portrait(size)
    with torch.no_grad():
        portrait.means.copy_(_tensor(seeds.means))
        portrait.log_scales.copy_(_tensor(np.log(seeds.size))[:, None].expand(-1, 3))
        portrait.opacity_logits.fill_(2.0)
        portrait.colours.copy_(_tensor(seeds.colour))
        share = np.clip(seeds.skin, 1e-3, 1 - 1e-3)
        portrait.skin_logits.copy_(_tensor(np.log(share / (1 - share))))
        portrait.prior.copy_(_tensor(seeds.prior.reshape(len(CHANNELS), -1)))
        portrait.growth.copy_(_tensor(seeds.growth))
        portrait.label.copy_(torch.as_tensor(seeds.label, dtype=torch.uint8))
        portrait.oral.members.copy_(torch.as_tensor(oral_members))
        portrait.oral.strength.copy_(_tensor(reach_oral[oral_members]))
        portrait.facial.members.copy_(torch.as_tensor(facial_members))
        portrait.facial.strength.copy_(_tensor(reach_facial[facial_members]))
    return portrait


def _tensor(array: F64) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32)


def branch_reach(seeds: Seeds, rig: Rig) -> tuple[F64, F64]:
    """(N,) how far the oral and the facial branch reach each Gaussian.

    The oral one has the mouth and the jaw, the facial one eyes, brows and nose; they overlap only in the cheeks.
    """
    y = seeds.means[:, 1]
    nose = rig.neutral[2, 1]  # below the nose's tip
    eyes = rig.neutral[topo.EYE_OUTER_LEFT, 1]
    head = np.isin(seeds.label, (FACE, MOUTH))
    swing = np.linalg.norm(seeds.prior[:ORAL_COUNT], axis=-1).max(0)
    moves = np.clip(swing / 0.002, 0, 1)
    below = np.clip((eyes - 0.012 - y) / 0.02, 0, 1)
    oral = np.where(head, np.maximum(below, 0), moves * below)
    above = np.clip((y - nose) / 0.015, 0, 1)
    facial = np.where(seeds.label == FACE, above, 0.0)
    near = (seeds.label == HAIR) & (np.linalg.norm(seeds.prior[ORAL_COUNT:], axis=-1).max(0) > 0.0005)
    facial = np.where(near, above, facial)
    return oral, facial
