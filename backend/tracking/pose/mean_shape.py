"""The person's face shape in head space, from the landmark clouds of many frames."""

from __future__ import annotations

import numpy as np

from ...contract.arrays import F64, Floats
from ...contract.geometry import matrix_from_rotation_vector
from ..detection import topology as topo

# Tilt of MediaPipe's chin–forehead line in an upright head, radians. Larger lets the head look up more at rest. Taken
# from the sample actor's ground truth.
CHIN_FOREHEAD_TILT = np.radians(9.0)
OUTER_EYE_DISTANCE = 0.09  # metres between the outer eye corners: a convention that fixes the scale of head space
RIGID_LANDMARKS = topo.index_array(*topo.RIGID_LANDMARK_WEIGHTS)
RIGID_WEIGHTS = np.array(list(topo.RIGID_LANDMARK_WEIGHTS.values()))
# Landmarks (left, right) that mirror each other: corners of the eyes, sides of the face, mouth corners, brows.
_MIRRORED_LANDMARKS = ((263, 33), (362, 133), (454, 234), (323, 93), (356, 127), (291, 61), (334, 105))


def fit_similarity(source: Floats, target: Floats, weight: Floats) -> tuple[F64, F64, F64]:
    """Fit the similarity that carries source to target in each frame (Umeyama, IEEE PAMI 13(4), 1991, weighted).

    Args:
        source: (T, P, 3).
        target: (P, 3).
        weight: (P,) ≥ 0.

    Returns:
        scale (T,), rotation (T, 3, 3), translation (T, 3): target ≈ scale · rotation · source + translation.
    """
    w = weight / weight.sum()
    source_center = np.einsum("p,tpc->tc", w, source)
    target_center = w @ target
    s, t = source - source_center[:, None], target - target_center
    covariance = np.einsum("p,pi,tpj->tij", w, t, s)
    u, d, vt = np.linalg.svd(covariance)
    sign = np.ones_like(d)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (d * sign).sum(1) / np.einsum("p,tpc,tpc->t", w, s, s)
    return scale, rotation, target_center - scale[:, None] * np.einsum("tij,tj->ti", rotation, source_center)


def estimate_mean_shape(landmarks: Floats, iterations: int = 6) -> F64:
    """Return the person's mean mesh (478, 3) in head space, metres: generalised Procrustes over the rigid landmarks.

    Args:
        landmarks: (T, 478, 3) pixels, z in the same unit and negative towards the viewer (MediaPipe's convention).
        iterations: of aligning all frames to their median.
    """
    cloud = np.asarray(landmarks, np.float64) * [1, -1, -1]
    most_frontal = np.argmin(np.abs(_nose_offset(cloud)))
    reference = cloud[most_frontal]
    for _ in range(iterations):
        scale, rotation, shift = fit_similarity(cloud[:, RIGID_LANDMARKS], reference[RIGID_LANDMARKS], RIGID_WEIGHTS)
        aligned = scale[:, None, None] * cloud @ np.swapaxes(rotation, 1, 2) + shift[:, None]
        reference = np.median(aligned, 0)
    return to_head_space(reference)


def to_head_space(mesh: Floats) -> F64:
    """Move and scale a mesh (478, 3), y up and z front in any pose, into head space.

    The sagittal plane is where left and right landmarks mirror. Up leans by `CHIN_FOREHEAD_TILT` from the line that
    runs from the chin to the top of the forehead.
    """
    right, left = mesh[topo.EYE_OUTER_RIGHT], mesh[topo.EYE_OUTER_LEFT]
    across = np.stack([mesh[a] - mesh[b] for a, b in _MIRRORED_LANDMARKS]).sum(0)
    x = across / np.linalg.norm(across)
    up = mesh[topo.FOREHEAD] - mesh[topo.CHIN]
    y = up - (up @ x) * x
    y /= np.linalg.norm(y)
    axes = np.stack([x, y, np.cross(x, y)])
    scale = OUTER_EYE_DISTANCE / np.linalg.norm(left - right)
    tilt = matrix_from_rotation_vector(np.array([CHIN_FOREHEAD_TILT, 0, 0]))
    moved: F64 = (mesh - (left + right) / 2) @ (tilt @ axes).T * scale
    return moved


def _nose_offset(landmarks: F64) -> F64:
    """Offset (T,) of the nose from the middle between the outer eye corners, in distances of these."""
    left, right, nose = (landmarks[:, i, 0] for i in (topo.EYE_OUTER_LEFT, topo.EYE_OUTER_RIGHT, topo.NOSE_TIP))
    offset: F64 = (nose - (left + right) / 2) / np.maximum(np.abs(left - right), 1e-6)
    return offset
