"""From landmarks and head poses to channels: a bounded, temporally regularised fit of the blend-shape rig.

Landmarks are carried back into head space along their viewing rays, where the rig is linear in the channels:
``xy = neutral + Σ w_k (shape_k.xy − slope · shape_k.z)``; `slope` is what depth does along the ray.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...compute.kernels import kernel
from ...contract.arrays import F64
from ...contract.channels import CHANNEL_INDEX, CHANNELS, FACIAL_CHANNELS
from ..detection import topology as topo
from .blendshape_rig import UNMEASURABLE_CHANNELS, BlendshapeRig, build_rig
from .calibration import estimate_landmark_bias, normalize_blinks, set_iris_depth, synchronize_gaze

FRAMES_PER_BLOCK = 32  # frames whose equations are set up at a time
# Of two channels that could explain an opening, the one that speech uses more: times the pull towards 0.
CHANNEL_SPARSITY = {
    "mouthFunnel": 3.0, "mouthShrugUpper": 8.0, "mouthShrugLower": 4.0, "mouthRollLower": 4.0, "mouthRollUpper": 4.0,
    "mouthStretch": 2.0, "mouthDimple": 3.0, "mouthFrown": 2.0, "mouthUpperUp": 2.0, "mouthClose": 2.0,
    "mouthSmile": 0.7, "mouthPucker": 0.3, "jawOpen": 0.3, "browInnerUp": 0.5,
    "noseSneer": 6.0, "cheekSquint": 2.0, "eyeSquint": 2.0,  # an open mouth and a smile draw at nose and cheeks too
}  # fmt: skip


@dataclass
class ChannelFitOptions:
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
    fast_smoothness: float = 0.02
    personalization_rounds: int = 2
    shape_stiffness: float = 60.0


def unproject_landmarks(pixels: F64, depth: F64, rotation: F64, translation: F64, intrinsics: F64) -> tuple[F64, F64]:
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


def estimate_neutral_mesh(xy: F64, mean_mesh: F64) -> F64:
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
    neutral = mean_mesh.copy()
    neutral[:, :2] = np.median(xy[chosen], 0)
    # irises rest in the middle of where they are over the clip
    irises = topo.index_array(*topo.IRIS_RIGHT, *topo.IRIS_LEFT)
    neutral[irises, :2] = np.median(xy[:, irises], 0)
    return neutral


def landmark_weights() -> F64:
    """(478,) what each landmark counts for: lips and lids most, the sliding outline of the face least."""
    weight = np.full(topo.LANDMARK_COUNT, 0.5)
    weight[topo.index_array(*topo.FACE_OVAL)] = 0.1
    weight[topo.index_array(*topo.BROW_LEFT, *topo.BROW_RIGHT)] = 2.0
    weight[topo.index_array(*topo.LIPS)] = 3.0
    lids = (*topo.LID_UPPER_LEFT, *topo.LID_LOWER_LEFT, *topo.LID_UPPER_RIGHT, *topo.LID_LOWER_RIGHT)
    weight[topo.index_array(*lids)] = 4.0
    weight[topo.index_array(*topo.IRIS_LEFT, *topo.IRIS_RIGHT)] = 4.0
    weight[topo.index_array(topo.IRIS_LEFT[0], topo.IRIS_RIGHT[0])] = 8.0
    return weight


def fit_channels(xy: F64, slope: F64, rig: BlendshapeRig, options: ChannelFitOptions) -> F64:
    """(T, 52) channels in 0–1 that explain the landmarks best, over the whole clip at once.

    Args:
        xy, slope: (T, 478, 2) from `unpose` with the rig's neutral depth.
    """
    count = len(xy)
    weight = np.repeat(landmark_weights(), 2)
    active = np.array([i for i, n in enumerate(CHANNELS) if n not in UNMEASURABLE_CHANNELS])
    across = rig.shapes[active, :, :2].reshape(len(active), -1)  # x and y of a landmark together
    depth = np.repeat(rig.shapes[active, :, 2], 2, axis=1)
    residual = (xy - rig.neutral[:, :2]).reshape(count, -1)
    normal = np.empty((count, len(active), len(active)))
    right = np.empty((count, len(active)))
    for first in range(0, count, FRAMES_PER_BLOCK):
        block = slice(first, min(first + FRAMES_PER_BLOCK, count))
        basis = across - slope[block].reshape(-1, 1, across.shape[1]) * depth
        weighted = basis * weight
        normal[block] = weighted @ basis.transpose(0, 2, 1)
        right[block] = (weighted @ residual[block, :, None])[..., 0]
    scale = normal[0].diagonal().mean()
    slow = np.array([options.smoothness if _is_slow_channel(CHANNELS[i]) else options.fast_smoothness for i in active])
    solved = np.zeros((count, len(active)))
    diagonal = normal.diagonal(axis1=1, axis2=2).mean(0)
    _run_coordinate_descent(
        normal,
        right,
        slow * diagonal,
        options.sparsity * scale * np.array([CHANNEL_SPARSITY.get(_strip_side(CHANNELS[i]), 1.0) for i in active]),
        solved,
        40,
    )
    channels = np.zeros((count, len(CHANNELS)))
    channels[:, active] = solved
    return channels


def _strip_side(name: str) -> str:
    """The channel's name without its side."""
    return name.removesuffix("Left").removesuffix("Right")


def _is_slow_channel(name: str) -> bool:
    return name in FACIAL_CHANNELS and not name.startswith(("eyeBlink", "eyeLook"))


@kernel(exact=True)
def _run_coordinate_descent(normal: F64, rhs: F64, smoothness: F64, sparsity: F64, channels: F64, sweeps: int) -> None:
    """Coordinate descent on ½wᵀNw − rᵀw + sparse·w + ½smooth·|w_t − w_{t±1}|², 0 ≤ w ≤ 1, forward and back in time."""
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
    """The rig with this person's own way of moving: neutral and shapes that lower the residual, held near anatomy.

    A shape only changes where it already moves the mesh, so that lips stay lips and each side keeps to itself.
    """
    usage = np.concatenate([np.ones((len(channels), 1)), channels], 1)
    residual = xy - project_rig(rig, channels, slope)
    size = np.linalg.norm(rig.shapes, axis=-1)  # (52, P)
    reach = size / np.maximum(size.max(1, keepdims=True), 1e-9)
    gram = usage.T @ usage
    cross = np.einsum("tk,tpc->kpc", usage, residual, optimize=True)
    stiff = options.shape_stiffness / np.maximum(
        np.concatenate([np.ones((1, topo.LANDMARK_COUNT)), reach]), 1e-3
    )  # (53, P)
    systems = gram + stiff.T[:, :, None] * np.eye(len(gram))
    delta = np.linalg.solve(systems, cross.transpose(1, 0, 2))  # (P, 53, 2)
    shapes, neutral = rig.shapes.copy(), rig.neutral.copy()
    neutral[:, :2] += delta[:, 0]
    shapes[:, :, :2] += delta[:, 1:].transpose(1, 0, 2) * (reach > 1e-3)[..., None]
    return BlendshapeRig(neutral, shapes)


@dataclass
class ExpressionFit:
    """What `solve_expression` finds.

    Attributes:
        channels: (T, 52). rig: the person's.
        error: (T, 478, 2) metres in head space by which the landmarks lie off the rig, the network's bias taken out.
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
    """Channels and the person's rig, from landmarks (T, 478, 2) and head → camera poses.

    Args:
        mean: (478, 3) the person's mesh, which gives the depth.
    """
    options = options or ChannelFitOptions()
    mean_mesh = set_iris_depth(mean_mesh)
    seen, slope = unproject_landmarks(pixels, mean_mesh[:, 2], rotation, translation, intrinsics)
    rig = build_rig(estimate_neutral_mesh(seen, mean_mesh))
    channels, xy = fit_channels(seen, slope, rig, options), seen
    for _ in range(options.personalization_rounds):
        xy = seen - estimate_landmark_bias(seen - project_rig(rig, channels, slope), rotation, channels, rig.neutral)
        rig = normalize_blinks(personalize_rig(xy, slope, channels, rig, options), channels)
        channels = fit_channels(xy, slope, rig, options)
    error = xy - project_rig(rig, channels, slope)
    return ExpressionFit(synchronize_gaze(channels), rig, error)


def project_rig(rig: BlendshapeRig, channels: F64, slope: F64) -> F64:
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
        for name, i in CHANNEL_INDEX.items()
        if name not in UNMEASURABLE_CHANNELS and high[i] - low[i] > 0.02
    }
