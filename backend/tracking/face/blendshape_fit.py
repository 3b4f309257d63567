"""From landmarks and head poses to channels: a bounded, temporally regularised fit of the blend-shape rig.

Landmarks are carried back into head space along their viewing rays, where the rig is linear in the channels w:
``xy = neutral.xy + Σ w_k (shape_k.xy − slope · shape_k.z)`` with slope = d(xy)/dz along the ray.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compute.kernels import kernel
from ...contract.arrays import F64, I64
from ...contract.channels import CHANNEL_INDEX, CHANNELS, FACIAL_CHANNELS
from ..detection import topology as topo
from .blendshape_rig import UNMEASURABLE_CHANNELS, BlendshapeRig, build_rig
from .calibration import estimate_landmark_bias, normalize_blinks, set_iris_depth, synchronize_gaze

FRAMES_PER_BLOCK = 32  # frames whose equations are set up at a time; more only cost memory
DESCENT_SWEEPS = 40  # sweeps of coordinate descent over all frames; not tuned

# Factors on `ChannelFitOptions.sparsity`. Where two channels could explain the same motion, the one that speech uses
# more gets the smaller factor. That of noseSneer lowered the worst leak from mouth to face on the train clips from 0.18
# to 0.07; the others are not tuned.
CHANNEL_SPARSITY = {
    "mouthFunnel": 3.0, "mouthShrugUpper": 8.0, "mouthShrugLower": 4.0, "mouthRollLower": 4.0, "mouthRollUpper": 4.0,
    "mouthStretch": 2.0, "mouthDimple": 3.0, "mouthFrown": 2.0, "mouthUpperUp": 2.0, "mouthClose": 2.0,
    "mouthSmile": 0.7, "mouthPucker": 0.3, "jawOpen": 0.3, "browInnerUp": 0.5,
    "noseSneer": 6.0, "cheekSquint": 2.0, "eyeSquint": 2.0,  # an open mouth and a smile move nose and cheeks too
}  # fmt: skip

# Weight of each landmark in the fit; a later row overrides an earlier one. The outline of the face slides over the
# skin, lips and lids carry most of the expression. Not tuned.
DEFAULT_LANDMARK_WEIGHT = 0.5
LANDMARK_WEIGHTS: tuple[tuple[tuple[int, ...], float], ...] = (
    (topo.FACE_OVAL, 0.1),
    (topo.BROW_LEFT + topo.BROW_RIGHT, 2.0),
    (topo.LIPS, 3.0),
    (topo.LID_UPPER_LEFT + topo.LID_LOWER_LEFT + topo.LID_UPPER_RIGHT + topo.LID_LOWER_RIGHT, 4.0),
    (topo.IRIS_LEFT + topo.IRIS_RIGHT, 4.0),
    ((topo.IRIS_LEFT[0], topo.IRIS_RIGHT[0]), 8.0),  # centres
)

# A frame's distance from rest: |mouth width − median| + 4 · mouth opening, both over the median width, + 2 · how much
# the eyes are closed. The neutral mesh is the median of the calmest frames. Not tuned.
CALM_OPENING_WEIGHT = 4.0
CALM_LID_WEIGHT = 2.0
CALM_FRAMES_DIVISOR = 12  # one frame in so many is calm; fewer are noisier, more mix in expressions
MIN_CALM_FRAMES = 5

# Share of a shape's largest offset below which personalisation leaves a landmark alone: lips stay lips.
MIN_SHAPE_REACH = 1e-3

RANGE_PERCENTILES = (2, 98)  # of a channel over the clip: single frames are noise
MIN_CHANNEL_RANGE = 0.02  # channels that move less are not listed as measured


@dataclass
class ChannelFitOptions:
    """Options of the channel fit. Pulls are relative to the data..

    Attributes:
        sparsity: pull of every channel towards 0: the smaller of two explanations wins. Larger mutes channels.
        smoothness: pull towards neighbouring frames for slow channels (brows, cheeks). Larger lags.
        fast_smoothness: the same for lips and lids, which do jump between frames.
        personalization_rounds: how often rig and channels are fitted in turn.
        shape_stiffness: pull of the person's shapes towards the anatomical ones. Larger keeps more of the anatomy.
    """

    sparsity: float = 0.004
    smoothness: float = 0.3
    fast_smoothness: float = 0.02
    personalization_rounds: int = 2
    shape_stiffness: float = 60.0


def unproject_landmarks(pixels: F64, depth: F64, rotation: F64, translation: F64, intrinsics: F64) -> tuple[F64, F64]:
    """Carry landmarks back into head space along their viewing rays.

    Args:
        pixels: (T, P, 2).
        depth: (P,) or (T, P) head-space z of each landmark, metres.
        rotation: (T, 3, 3) head → camera.
        translation: (T, 3) head → camera, metres.
        intrinsics: (3, 3).

    Returns:
        xy: (T, P, 2) metres of head space at that depth.
        slope: (T, P, 2) d(xy)/dz along the viewing ray.
    """
    focal = np.array([intrinsics[0, 0], intrinsics[1, 1]])
    ray = np.concatenate([(pixels - intrinsics[:2, 2]) / focal, np.ones((*pixels.shape[:2], 1))], -1)
    direction = ray @ rotation  # rotationᵀ · ray
    origin = -np.einsum("tij,ti->tj", rotation, translation)
    slope = direction[..., :2] / direction[..., 2:]
    distance = np.broadcast_to(depth, pixels.shape[:2]) - origin[:, None, 2]
    return origin[:, None, :2] + slope * distance[..., None], slope


def estimate_neutral_mesh(xy: F64, mean_mesh: F64) -> F64:
    """Return the person at rest (478, 3), lips together and eyes open, from the calmest frames.

    Args:
        xy: (T, 478, 2) landmarks in head space.
        mean_mesh: (478, 3) mean mesh, which gives the depth.
    """
    opening = np.linalg.norm(xy[:, topo.LIP_INNER_UPPER_MIDDLE] - xy[:, topo.LIP_INNER_LOWER_MIDDLE], axis=-1)
    width = np.linalg.norm(xy[:, topo.MOUTH_LEFT] - xy[:, topo.MOUTH_RIGHT], axis=-1)
    lids = (eye.lid_middles for eye in topo.EYES.values())
    eyes = sum(xy[:, upper, 1] - xy[:, lower, 1] for upper, lower in lids)
    unrest = np.abs(width - np.median(width)) / np.median(width) + CALM_OPENING_WEIGHT * opening / np.median(width)
    unrest += CALM_LID_WEIGHT * np.maximum(0, np.median(eyes) - eyes) / np.median(eyes)
    calm = np.argsort(unrest, kind="stable")[: max(MIN_CALM_FRAMES, len(xy) // CALM_FRAMES_DIVISOR)]
    neutral = mean_mesh.copy()
    neutral[:, :2] = np.median(xy[calm], 0)
    # Irises rest in the middle of their positions over the whole clip.
    irises = topo.index_array(*topo.IRIS_RIGHT, *topo.IRIS_LEFT)
    neutral[irises, :2] = np.median(xy[:, irises], 0)
    return neutral


def landmark_weights() -> F64:
    """Return (478,) weights of the landmarks in the fit."""
    weight = np.full(topo.LANDMARK_COUNT, DEFAULT_LANDMARK_WEIGHT)
    for landmarks, value in LANDMARK_WEIGHTS:
        weight[topo.index_array(*landmarks)] = value
    return weight


def fit_channels(xy: F64, slope: F64, rig: BlendshapeRig, options: ChannelFitOptions) -> F64:
    """Return (T, 52) channels in 0–1 that explain the landmarks best, over the whole clip at once.

    Args:
        xy: (T, 478, 2) from `unproject_landmarks` with the rig's neutral depth.
        slope: (T, 478, 2) from the same.
        rig: the rig.
        options: pulls of the fit.
    """
    active = np.array([i for i, name in enumerate(CHANNELS) if name not in UNMEASURABLE_CHANNELS])
    normal, rhs = _assemble_normal_equations(xy, slope, rig, active)
    is_slow = [_is_slow_channel(CHANNELS[i]) for i in active]
    smoothness = np.where(is_slow, options.smoothness, options.fast_smoothness)
    factors = np.array([CHANNEL_SPARSITY.get(_strip_side(CHANNELS[i]), 1.0) for i in active])
    sparsity = options.sparsity * normal[0].diagonal().mean() * factors
    solution = np.zeros((len(xy), len(active)))
    stiffness = normal.diagonal(axis1=1, axis2=2).mean(0)
    _run_coordinate_descent(normal, rhs, smoothness * stiffness, sparsity, solution, DESCENT_SWEEPS)
    channels = np.zeros((len(xy), len(CHANNELS)))
    channels[:, active] = solution
    return channels


def _assemble_normal_equations(xy: F64, slope: F64, rig: BlendshapeRig, active: I64) -> tuple[F64, F64]:
    """Return each frame's normal matrix (T, K, K) and right-hand side (T, K) for the active channels (K,)."""
    count = len(xy)
    weight = np.repeat(landmark_weights(), 2)
    across = rig.shapes[active, :, :2].reshape(len(active), -1)  # x and y of a landmark side by side
    depth = np.repeat(rig.shapes[active, :, 2], 2, axis=1)
    residual = (xy - rig.neutral[:, :2]).reshape(count, -1)
    normal = np.empty((count, len(active), len(active)))
    rhs = np.empty((count, len(active)))
    for first in range(0, count, FRAMES_PER_BLOCK):
        block = slice(first, min(first + FRAMES_PER_BLOCK, count))
        basis = across - slope[block].reshape(-1, 1, across.shape[1]) * depth
        weighted = basis * weight
        normal[block] = weighted @ basis.transpose(0, 2, 1)
        rhs[block] = (weighted @ residual[block, :, None])[..., 0]
    return normal, rhs


def _strip_side(name: str) -> str:
    """Return the channel's name without its side."""
    return name.removesuffix("Left").removesuffix("Right")


def _is_slow_channel(name: str) -> bool:
    return name in FACIAL_CHANNELS and not name.startswith(("eyeBlink", "eyeLook"))


@kernel(exact=True)
def _run_coordinate_descent(normal: F64, rhs: F64, smoothness: F64, sparsity: F64, channels: F64, sweeps: int) -> None:
    """Minimise ½wᵀNw − rᵀw + sparsity·w + ½smoothness·|w_t − w_{t±1}|² for 0 ≤ w ≤ 1, forward and back in time.

    Args:
        normal: (T, K, K) N of each frame.
        rhs: (T, K) r of each frame.
        smoothness: (K,).
        sparsity: (K,).
        channels: (T, K) start; changed in place.
        sweeps: passes over all frames.
    """
    count, size = channels.shape
    for sweep in range(sweeps):
        for step in range(count):
            t = step if sweep % 2 == 0 else count - 1 - step
            for k in range(size):
                pull, stiffness = rhs[t, k] - sparsity[k], normal[t, k, k] + 1e-12
                for j in range(size):
                    if j != k:
                        pull -= normal[t, k, j] * channels[t, j]
                for s in (t - 1, t + 1):
                    if 0 <= s < count:
                        pull += smoothness[k] * channels[s, k]
                        stiffness += smoothness[k]
                channels[t, k] = min(1.0, max(0.0, pull / stiffness))


def personalize_rig(
    xy: F64, slope: F64, channels: F64, rig: BlendshapeRig, options: ChannelFitOptions
) -> BlendshapeRig:
    """Return the rig with the neutral mesh and shapes of this person: they lower the residual and stay near anatomy.

    A shape changes only where it already moves the mesh, so that each side keeps to itself.

    Args:
        xy: (T, 478, 2) landmarks in head space.
        slope: (T, 478, 2) from `unproject_landmarks`.
        channels: (T, 52).
        rig: the rig to start from.
        options: `shape_stiffness` counts.
    """
    usage = np.concatenate([np.ones((len(channels), 1)), channels], 1)  # the neutral mesh is always in use
    residual = xy - project_rig(rig, channels, slope)
    magnitude = np.linalg.norm(rig.shapes, axis=-1)  # (52, P)
    reach = magnitude / np.maximum(magnitude.max(1, keepdims=True), 1e-9)
    gram = usage.T @ usage
    cross = np.einsum("tk,tpc->kpc", usage, residual, optimize=True)
    neutral_reach = np.ones((1, topo.LANDMARK_COUNT))
    stiffness = options.shape_stiffness / np.maximum(np.concatenate([neutral_reach, reach]), MIN_SHAPE_REACH)  # (53, P)
    systems = gram + stiffness.T[:, :, None] * np.eye(len(gram))
    delta = np.linalg.solve(systems, cross.transpose(1, 0, 2))  # (P, 53, 2)
    shapes, neutral = rig.shapes.copy(), rig.neutral.copy()
    neutral[:, :2] += delta[:, 0]
    shapes[:, :, :2] += delta[:, 1:].transpose(1, 0, 2) * (reach > MIN_SHAPE_REACH)[..., None]
    return BlendshapeRig(neutral, shapes)


@dataclass
class ExpressionFit:
    """The result of `fit_expression`.

    Attributes:
        channels: (T, 52) in 0–1.
        rig: the person's rig.
        residual: (T, 478, 2) metres of head space between landmarks, without the network's bias, and the rig.
    """

    channels: F64
    rig: BlendshapeRig
    residual: F64


def fit_expression(
    pixels: F64,
    mean_mesh: F64,
    rotation: F64,
    translation: F64,
    intrinsics: F64,
    options: ChannelFitOptions | None = None,
) -> ExpressionFit:
    """Fit channels and the person's rig to landmarks and head poses.

    Args:
        pixels: (T, 478, 2) landmarks.
        mean_mesh: (478, 3) the person's mesh, which gives the depth.
        rotation: (T, 3, 3) head → camera.
        translation: (T, 3) head → camera, metres.
        intrinsics: (3, 3).
        options: of the fit; the defaults by default.
    """
    options = options or ChannelFitOptions()
    mean_mesh = set_iris_depth(mean_mesh)
    measured, slope = unproject_landmarks(pixels, mean_mesh[:, 2], rotation, translation, intrinsics)
    rig = build_rig(estimate_neutral_mesh(measured, mean_mesh))
    channels, xy = fit_channels(measured, slope, rig, options), measured
    for _ in range(options.personalization_rounds):
        residual = measured - project_rig(rig, channels, slope)
        xy = measured - estimate_landmark_bias(residual, rotation, channels, rig.neutral)
        rig = normalize_blinks(personalize_rig(xy, slope, channels, rig, options), channels)
        channels = fit_channels(xy, slope, rig, options)
    return ExpressionFit(synchronize_gaze(channels), rig, xy - project_rig(rig, channels, slope))


def project_rig(rig: BlendshapeRig, channels: F64, slope: F64) -> F64:
    """Return (T, 478, 2) the rig's landmarks in head space at the neutral depth, comparable to `unproject_landmarks`.

    Args:
        rig: the rig.
        channels: (T, 52).
        slope: (T, 478, 2) from `unproject_landmarks`.
    """
    offset = np.einsum("tk,kpc->tpc", channels, rig.shapes[:, :, :2], optimize=True)
    depth = np.einsum("tk,kp->tp", channels, rig.shapes[:, :, 2], optimize=True)
    result: F64 = rig.neutral[:, :2] + offset - slope * depth[..., None]
    return result


def channel_ranges(channels: F64) -> dict[str, list[float]]:
    """Return the measured [low, high] of every channel that the footage really moves.

    Args:
        channels: (T, 52).
    """
    low, high = np.percentile(channels, RANGE_PERCENTILES, axis=0)
    return {
        name: [round(float(low[i]), 4), round(float(high[i]), 4)]
        for name, i in CHANNEL_INDEX.items()
        if name not in UNMEASURABLE_CHANNELS and high[i] - low[i] > MIN_CHANNEL_RANGE
    }
