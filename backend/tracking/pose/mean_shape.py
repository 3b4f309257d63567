"""The person's face shape in head space, from the landmark clouds of many frames."""

from __future__ import annotations

import numpy as np

from ...contract.arrays import F64, Floats
from ...contract.geometry import matrix_from_rotation_vector
from ..detection import topology as topo

CHIN_FOREHEAD_TILT = np.radians(
    9.0
)  # of MediaPipe's chin–forehead line in an upright head, as the sample actor's truth shows it
OUTER_EYE_DISTANCE = 0.09  # metres between the outer eye corners: what fixes the scale


def fit_similarity(source: Floats, target: Floats, weight: Floats) -> tuple[F64, F64, F64]:
    """Best scale, rotation, translation that carry source to target, per frame.

    Args:
        source: (T, P, 3). target: (P, 3). weight: (P,) ≥ 0.

    Returns:
        scale (T,), rotation (T, 3, 3), translation (T, 3): target ≈ scale · rotation · source + translation.
        Umeyama, IEEE PAMI 13(4), 1991, with weights.
    """
    w = weight / weight.sum()
    centre_s = np.einsum("p,tpc->tc", w, source)
    centre_t = w @ target
    s, t = source - centre_s[:, None], target - centre_t
    covariance = np.einsum("p,pi,tpj->tij", w, t, s)
    u, d, vt = np.linalg.svd(covariance)
    sign = np.ones_like(d)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (d * sign).sum(1) / np.einsum("p,tpc,tpc->t", w, s, s)
    return scale, rotation, centre_t - scale[:, None] * np.einsum("tij,tj->ti", rotation, centre_s)


def estimate_mean_shape(landmarks: Floats, iterations: int = 6) -> F64:
    """The person's mean mesh (478, 3), head space in metres, by generalised Procrustes over the rigid landmarks.

    Args:
        landmarks: (T, 478, 3) pixels, z in the same unit, towards the viewer negative (MediaPipe's convention).
    """
    cloud = np.asarray(landmarks, np.float64) * [1, -1, -1]
    rigid = topo.index_array(*topo.RIGID_LANDMARK_WEIGHTS)
    weight = np.array(list(topo.RIGID_LANDMARK_WEIGHTS.values()))
    frontal = np.argmin(np.abs(_nose_offset(cloud)))
    reference = cloud[frontal]
    for _ in range(iterations):
        scale, rotation, shift = fit_similarity(cloud[:, rigid], reference[rigid], weight)
        aligned = scale[:, None, None] * cloud @ np.swapaxes(rotation, 1, 2) + shift[:, None]
        reference = np.median(aligned, 0)
    return to_head_space(reference)


def to_head_space(mesh: Floats) -> F64:
    """A mesh (478, 3) with y up and z front in any pose, moved and scaled into head space.

    The sagittal plane is where left and right landmarks mirror; up leans by `LEAN` from the line that runs from the
    chin to the top of the forehead.
    """
    right, left = mesh[topo.EYE_OUTER_RIGHT], mesh[topo.EYE_OUTER_LEFT]
    across = np.stack([mesh[a] - mesh[b] for a, b in _MIRRORED_LANDMARKS]).sum(0)
    x = across / np.linalg.norm(across)
    up = mesh[topo.FOREHEAD] - mesh[topo.CHIN]
    y = up - (up @ x) * x
    y /= np.linalg.norm(y)
    axes = np.stack([x, y, np.cross(x, y)])
    scale = OUTER_EYE_DISTANCE / np.linalg.norm(left - right)
    return (
        (mesh - (left + right) / 2)
        @ (matrix_from_rotation_vector(np.array([CHIN_FOREHEAD_TILT, 0, 0])) @ axes).T
        * scale
    )


_MIRRORED_LANDMARKS = ((263, 33), (362, 133), (454, 234), (323, 93), (356, 127), (291, 61), (334, 105))  # left, right


def _nose_offset(landmarks: F64) -> F64:
    """(T,) 0 when the nose is midway between the outer eye corners."""
    left, right, nose = (landmarks[:, i, 0] for i in (topo.EYE_OUTER_LEFT, topo.EYE_OUTER_RIGHT, topo.NOSE_TIP))
    return (nose - (left + right) / 2) / np.maximum(np.abs(left - right), 1e-6)
