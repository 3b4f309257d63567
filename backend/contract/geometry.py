"""Rotations and projections in numpy, batched over leading axes. Quaternions are wxyz; matrices act on columns."""

from __future__ import annotations

import numpy as np

from .arrays import F64, Floats

# From the axes of head and actor space (x to the actor's left, y up, z front) to those of an upright camera (x right,
# y down, z forward), and back.
FLIP_YZ = np.diag([1.0, -1.0, -1.0])


def matrix_from_quaternion(q: Floats) -> F64:
    """Rotation matrices (..., 3, 3) from quaternions (..., 4) of any length above zero."""
    q = np.asarray(q, np.float64)
    return matrix_from_unit_quaternion(q / np.linalg.norm(q, axis=-1, keepdims=True))


def matrix_from_unit_quaternion(q: Floats) -> F64:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4) of length 1, which is not checked."""
    w, x, y, z = np.moveaxis(np.asarray(q, np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def quaternion_from_matrix(m: Floats) -> F64:
    """Unit quaternions (..., 4) with w ≥ 0 from rotation matrices (..., 3, 3).

    They are the eigenvectors of the largest eigenvalues of Bar-Itzhack's matrix (J. Guidance 23(6), 2000), which needs
    no branches.
    """
    m = np.asarray(m, np.float64)
    xx, xy, xz, yx, yy, yz, zx, zy, zz = (m[..., i, j] for i in range(3) for j in range(3))
    k = np.empty((*m.shape[:-2], 4, 4))
    k[..., 0, 0] = xx + yy + zz
    k[..., 0, 1] = k[..., 1, 0] = zy - yz
    k[..., 0, 2] = k[..., 2, 0] = xz - zx
    k[..., 0, 3] = k[..., 3, 0] = yx - xy
    k[..., 1, 1] = xx - yy - zz
    k[..., 1, 2] = k[..., 2, 1] = xy + yx
    k[..., 1, 3] = k[..., 3, 1] = xz + zx
    k[..., 2, 2] = yy - xx - zz
    k[..., 2, 3] = k[..., 3, 2] = yz + zy
    k[..., 3, 3] = zz - xx - yy
    q: F64 = np.linalg.eigh(k)[1][..., -1]
    return np.where(q[..., :1] < 0, -q, q)


def align_quaternion_signs(quaternions: Floats) -> F64:
    """The same rotations (T, 4), with signs chosen so that neighbours interpolate along the short way."""
    signs = np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0)
    return np.asarray(quaternions * np.r_[1.0, np.cumprod(signs)][:, None], np.float64)


def rotation_about_x(angle: float) -> F64:
    """Rotation matrix (3, 3) about the x axis, in radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])


def matrix_from_rotation_vector(v: Floats) -> F64:
    """Rotation matrices (..., 3, 3) from rotation vectors (..., 3) in radians (Rodrigues)."""
    v = np.asarray(v, np.float64)
    angle = np.linalg.norm(v, axis=-1, keepdims=True)
    half = angle / 2
    scale = np.where(angle > 1e-9, np.sin(half) / np.maximum(angle, 1e-12), 0.5)
    return matrix_from_quaternion(np.concatenate([np.cos(half), v * scale], -1))


def rotation_vector_from_matrix(m: Floats) -> F64:
    """Rotation vectors (..., 3) in radians, no longer than π, from rotation matrices (..., 3, 3)."""
    q = quaternion_from_matrix(m)
    half = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    scale = np.where(half > 1e-9, 2 * np.arctan2(half, q[..., :1]) / np.maximum(half, 1e-12), 2.0)
    vector: F64 = q[..., 1:] * scale
    return vector


def quaternion_from_yaw_pitch_roll(yaw: Floats, pitch: Floats, roll: Floats) -> F64:
    """Unit quaternions (T, 4) from angles (T,) in radians; `yaw_pitch_roll_degrees` is the inverse.

    Args:
        yaw: about y, to the actor's left; applied last.
        pitch: about x, downwards.
        roll: about z; applied first.
    """

    def axis_quaternion(angle: Floats, axis: int) -> F64:
        q = np.zeros((len(angle), 4))
        q[:, 0], q[:, 1 + axis] = np.cos(angle / 2), np.sin(angle / 2)
        return q

    return quaternion_product(
        quaternion_product(axis_quaternion(yaw, 1), axis_quaternion(pitch, 0)), axis_quaternion(roll, 2)
    )


def quaternion_product(a: Floats, b: Floats) -> F64:
    """Hamilton product (..., 4) of quaternions: the rotation b followed by a."""
    w = a[..., :1] * b[..., :1] - (a[..., 1:] * b[..., 1:]).sum(-1, keepdims=True)
    v = a[..., :1] * b[..., 1:] + b[..., :1] * a[..., 1:] + np.cross(a[..., 1:], b[..., 1:])
    return np.concatenate([w, v], -1)


def rotation_angle_degrees(m: Floats) -> F64:
    """Angles (...) in degrees from rotation matrices (..., 3, 3)."""
    trace = np.trace(m, axis1=-2, axis2=-1)
    angle: F64 = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
    return angle


def yaw_pitch_roll_degrees(m: Floats) -> F64:
    """Yaw to the actor's left, pitch down and roll (..., 3) in degrees from actor-space rotations (..., 3, 3)."""
    yaw = np.arctan2(m[..., 0, 2], m[..., 2, 2])
    pitch = -np.arcsin(np.clip(m[..., 1, 2], -1, 1))
    roll = np.arctan2(m[..., 1, 0], m[..., 1, 1])
    angles: F64 = np.degrees(np.stack([yaw, pitch, roll], -1))
    return angles


def intrinsics_matrix(fx: float, fy: float, cx: float, cy: float) -> F64:
    """Camera matrix (3, 3) of focal lengths and principal point in pixels."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)


def project_points(points: Floats, rotation: Floats, translation: Floats, intrinsics: Floats) -> F64:
    """Pixels (..., P, 2) of points (..., P, 3) in a camera.

    Args:
        points: in any space.
        rotation: (..., 3, 3), from that space to the camera.
        translation: (..., 3), likewise.
        intrinsics: (3, 3) in pixels.
    """
    camera = points @ np.swapaxes(rotation, -1, -2) + translation[..., None, :]
    xy = camera[..., :2] / camera[..., 2:]
    pixels: F64 = xy * [intrinsics[0, 0], intrinsics[1, 1]] + intrinsics[:2, 2]
    return pixels
