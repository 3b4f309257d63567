"""From landmarks and head poses to channels: a bounded, temporally regularised fit of the blend-shape rig.

Landmarks are carried back into head space along their viewing rays, where the rig is linear in the channels:
``xy = neutral + Σ w_k (shape_k.xy − slope · shape_k.z)``; `slope` is what depth does along the ray.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ...contract.channels import CHANNELS, FACIAL, INDEX
from ..detection import topology as topo
from .blendshape_rig import UNMEASURABLE, Rig, build_rig
from .calibration import network_bias, with_eyes_together, with_full_blinks, with_irises_in_place

F64 = NDArray[np.float64]


BLOCK = 32  # frames whose equations are set up at a time
# Of two channels that could explain an opening, the one that speech uses more: times the pull towards 0.
RARE = {
    "mouthFunnel": 3.0, "mouthShrugUpper": 8.0, "mouthShrugLower": 4.0, "mouthRollLower": 4.0, "mouthRollUpper": 4.0,
    "mouthStretch": 2.0, "mouthDimple": 3.0, "mouthFrown": 2.0, "mouthUpperUp": 2.0, "mouthClose": 2.0,
    "mouthSmile": 0.7, "mouthPucker": 0.3, "jawOpen": 0.3, "browInnerUp": 0.5,
    "noseSneer": 6.0, "cheekSquint": 2.0, "eyeSquint": 2.0,  # an open mouth and a smile draw at nose and cheeks too
}  # fmt: skip


@dataclass
class FitOptions:
    """How channels are fitted.

    Attributes:
        sparsity: pull of every channel towards 0, relative to the data: of two explanations the smaller one wins.
        smoothness: pull towards the neighbouring frames for slow channels (brows, cheeks); lips and lids get `quick`.
        quick: the same pull for lips and lids, which really jump between frames.
        rounds: personalisation rounds.
        stiffness: pull of the person's shapes towards the anatomical ones, per metre² against landmark noise.
    """

    sparsity: float = 0.004
    smoothness: float = 0.3
    quick: float = 0.02
    rounds: int = 2
    stiffness: float = 60.0


def unpose(pixels: F64, depth: F64, rotation: F64, translation: F64, intrinsics: F64) -> tuple[F64, F64]:
    """Landmarks carried back into head space.

    Args:
        pixels: (T, P, 2). depth: (P,) or (T, P) head-space z of each landmark, metres. rotation (T, 3, 3) and
        translation (T, 3): head → camera.

    Returns:
        xy (T, P, 2) metres in head space at that depth, and slope (T, P, 2): d(xy)/dz along the viewing ray.
    """
    f = np.array([intrinsics[0, 0], intrinsics[1, 1]])
    ray = np.concatenate([(pixels - intrinsics[:2, 2]) / f, np.ones((*pixels.shape[:2], 1))], -1)
    direction = ray @ rotation  # rotationᵀ · ray
    origin = -np.einsum("tij,ti->tj", rotation, translation)
    slope = direction[..., :2] / direction[..., 2:]
    along = np.broadcast_to(depth, pixels.shape[:2]) - origin[:, None, 2]
    return origin[:, None, :2] + slope * along[..., None], slope


def neutral_mesh(xy: F64, mean: F64) -> F64:
    """The person at rest (478, 3): lips together, eyes open, from the frames that show it best.

    Args:
        xy: (T, 478, 2) landmarks in head space. mean: (478, 3) mean mesh, which gives the depth.
    """
    opening = np.linalg.norm(xy[:, 13] - xy[:, 14], axis=-1)
    width = np.linalg.norm(xy[:, topo.MOUTH_LEFT] - xy[:, topo.MOUTH_RIGHT], axis=-1)
    eyes = sum(xy[:, a, 1] - xy[:, b, 1] for a, b in ((159, 145), (386, 374)))
    calm = np.abs(width - np.median(width)) / np.median(width) + 4 * opening / np.median(width)
    calm += 2 * np.maximum(0, np.median(eyes) - eyes) / np.median(eyes)
    chosen = np.argsort(calm, kind="stable")[: max(5, len(xy) // 12)]
    neutral = mean.copy()
    neutral[:, :2] = np.median(xy[chosen], 0)
    # irises rest in the middle of where they are over the clip
    irises = topo.indices(*topo.IRIS_RIGHT, *topo.IRIS_LEFT)
    neutral[irises, :2] = np.median(xy[:, irises], 0)
    return neutral


def landmark_weights() -> F64:
    """(478,) what each landmark counts for: lips and lids most, the sliding outline of the face least."""
    weight = np.full(topo.COUNT, 0.5)
    weight[topo.indices(*topo.FACE_OVAL)] = 0.1
    weight[topo.indices(*topo.BROW_LEFT, *topo.BROW_RIGHT)] = 2.0
    weight[topo.indices(*topo.LIPS)] = 3.0
    lids = (*topo.LID_UPPER_LEFT, *topo.LID_LOWER_LEFT, *topo.LID_UPPER_RIGHT, *topo.LID_LOWER_RIGHT)
    weight[topo.indices(*lids)] = 4.0
    weight[topo.indices(*topo.IRIS_LEFT, *topo.IRIS_RIGHT)] = 4.0
    weight[topo.indices(topo.IRIS_LEFT[0], topo.IRIS_RIGHT[0])] = 8.0
    return weight


def fit_channels(xy: F64, slope: F64, rig: Rig, options: FitOptions) -> F64:
    """(T, 52) channels in 0–1 that explain the landmarks best, over the whole clip at once.

    Args:
        xy, slope: (T, 478, 2) from `unpose` with the rig's neutral depth.
    """
    count = len(xy)
    weight = np.repeat(landmark_weights(), 2)
    active = np.array([i for i, n in enumerate(CHANNELS) if n not in UNMEASURABLE])
    across = rig.shapes[active, :, :2].reshape(len(active), -1)  # x and y of a landmark together
    depth = np.repeat(rig.shapes[active, :, 2], 2, axis=1)
    residual = (xy - rig.neutral[:, :2]).reshape(count, -1)
    normal = np.empty((count, len(active), len(active)))
    right = np.empty((count, len(active)))
    for first in range(0, count, BLOCK):
        block = slice(first, min(first + BLOCK, count))
        basis = across - slope[block].reshape(-1, 1, across.shape[1]) * depth
        weighted = basis * weight
        normal[block] = weighted @ basis.transpose(0, 2, 1)
        right[block] = (weighted @ residual[block, :, None])[..., 0]
    scale = normal[0].diagonal().mean()
    slow = np.array([options.smoothness if _is_slow(CHANNELS[i]) else options.quick for i in active])
    solved = np.zeros((count, len(active)))
    diagonal = normal.diagonal(axis1=1, axis2=2).mean(0)
    _descend(
        normal,
        right,
        slow * diagonal,
        options.sparsity * scale * np.array([RARE.get(_family(CHANNELS[i]), 1.0) for i in active]),
        solved,
        40,
    )
    channels = np.zeros((count, len(CHANNELS)))
    channels[:, active] = solved
    return channels


def _family(name: str) -> str:
    """The channel's name without its side."""
    return name.removesuffix("Left").removesuffix("Right")


def _is_slow(name: str) -> bool:
    return name in FACIAL and not name.startswith(("eyeBlink", "eyeLook"))


@numba.njit(cache=True)
def _descend(normal: F64, right: F64, smooth: F64, sparse: F64, w: F64, sweeps: int) -> None:
    """Coordinate descent on ½wᵀNw − rᵀw + sparse·w + ½smooth·|w_t − w_{t±1}|², 0 ≤ w ≤ 1, forward and back in time."""
    count, size = w.shape
    for sweep in range(sweeps):
        for step in range(count):
            t = step if sweep % 2 == 0 else count - 1 - step
            for k in range(size):
                pull, stiffness = right[t, k] - sparse[k], normal[t, k, k] + 1e-12
                for j in range(size):
                    if j != k:
                        pull -= normal[t, k, j] * w[t, j]
                for s in (t - 1, t + 1):
                    if 0 <= s < count:
                        pull += smooth[k] * w[s, k]
                        stiffness += smooth[k]
                w[t, k] = min(1.0, max(0.0, pull / stiffness))


def personalise(xy: F64, slope: F64, channels: F64, rig: Rig, options: FitOptions) -> Rig:
    """The rig with this person's own way of moving: neutral and shapes that lower the residual, held near anatomy.

    A shape only changes where it already moves the mesh, so that lips stay lips and each side keeps to itself.
    """
    usage = np.concatenate([np.ones((len(channels), 1)), channels], 1)
    residual = xy - rig_landmarks(rig, channels, slope)
    size = np.linalg.norm(rig.shapes, axis=-1)  # (52, P)
    reach = size / np.maximum(size.max(1, keepdims=True), 1e-9)
    gram = usage.T @ usage
    cross = np.einsum("tk,tpc->kpc", usage, residual, optimize=True)
    stiff = options.stiffness / np.maximum(np.concatenate([np.ones((1, topo.COUNT)), reach]), 1e-3)  # (53, P)
    systems = gram + stiff.T[:, :, None] * np.eye(len(gram))
    delta = np.linalg.solve(systems, cross.transpose(1, 0, 2))  # (P, 53, 2)
    shapes, neutral = rig.shapes.copy(), rig.neutral.copy()
    neutral[:, :2] += delta[:, 0]
    shapes[:, :, :2] += delta[:, 1:].transpose(1, 0, 2) * (reach > 1e-3)[..., None]
    return Rig(neutral, shapes)


@dataclass
class Expression:
    """What `solve_expression` finds.

    Attributes:
        channels: (T, 52). rig: the person's.
        error: (T, 478, 2) metres in head space by which the landmarks lie off the rig, the network's bias taken out.
    """

    channels: F64
    rig: Rig
    error: F64


def solve_expression(
    pixels: F64, mean: F64, rotation: F64, translation: F64, intrinsics: F64, options: FitOptions | None = None
) -> Expression:
    """Channels and the person's rig, from landmarks (T, 478, 2) and head → camera poses.

    Args:
        mean: (478, 3) the person's mesh, which gives the depth.
    """
    options = options or FitOptions()
    mean = with_irises_in_place(mean)
    seen, slope = unpose(pixels, mean[:, 2], rotation, translation, intrinsics)
    rig = build_rig(neutral_mesh(seen, mean))
    channels, xy = fit_channels(seen, slope, rig, options), seen
    for _ in range(options.rounds):
        xy = seen - network_bias(seen - rig_landmarks(rig, channels, slope), rotation, channels, rig.neutral)
        rig = with_full_blinks(personalise(xy, slope, channels, rig, options), channels)
        channels = fit_channels(xy, slope, rig, options)
    error = xy - rig_landmarks(rig, channels, slope)
    return Expression(with_eyes_together(channels), rig, error)


def rig_landmarks(rig: Rig, channels: F64, slope: F64) -> F64:
    """(T, 478, 2) where the rig has the landmarks, in the sense of `unpose`."""
    flat = np.einsum("tk,kpc->tpc", channels, rig.shapes[:, :, :2], optimize=True)
    depth = np.einsum("tk,kp->tp", channels, rig.shapes[:, :, 2], optimize=True)
    result: F64 = rig.neutral[:, :2] + flat - slope * depth[..., None]
    return result


def channel_ranges(channels: F64) -> dict[str, list[float]]:
    """Measured [low, high] (2nd and 98th percentile) of every channel that the footage really moves."""
    low, high = np.percentile(channels, [2, 98], axis=0)
    return {
        name: [round(float(low[i]), 4), round(float(high[i]), 4)]
        for name, i in INDEX.items()
        if name not in UNMEASURABLE and high[i] - low[i] > 0.02
    }
