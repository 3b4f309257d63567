"""Conversions between the backend's spaces and Blender's, one function each way.

Actor space: x to the actor's left, y up, z to the front; cameras look along +z with y down (OpenCV).
Blender: z up, the actor faces −y, x to the actor's left; cameras look along −z with y up. Both are right-handed and
metric, so the armature's space is actor space turned by 90° about x, and poses differ only by that change of basis.

Arrays are float64; quaternions are wxyz.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..contract import geometry

Array = NDArray[np.float64]

# The columns are actor space's x, y and z axes in the armature's space.
ACTOR_TO_BLENDER = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
BLENDER_TO_ACTOR = ACTOR_TO_BLENDER.T
CAMERA_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV camera axes ↔ Blender camera axes; its own inverse


def to_blender(vectors: ArrayLike) -> Array:
    """Convert (…, 3) points or offsets from actor space to armature space."""
    return np.asarray(vectors, np.float64) @ ACTOR_TO_BLENDER[:3, :3].T


def to_actor(vectors: ArrayLike) -> Array:
    """Convert (…, 3) points or offsets from armature space to actor space."""
    return np.asarray(vectors, np.float64) @ BLENDER_TO_ACTOR[:3, :3].T


def rotation_to_blender(quaternions: ArrayLike) -> Array:
    """Convert (…, 4) rotations from actor space to armature space."""
    q = np.asarray(quaternions, np.float64)
    return np.concatenate([q[..., :1], to_blender(q[..., 1:])], axis=-1)


def rotation_to_actor(quaternions: ArrayLike) -> Array:
    """Convert (…, 4) rotations from armature space to actor space."""
    q = np.asarray(quaternions, np.float64)
    return np.concatenate([q[..., :1], to_actor(q[..., 1:])], axis=-1)


def camera_to_blender(world_to_camera: ArrayLike, armature: ArrayLike) -> Array:
    """Return the matrix_world of a camera object for an OpenCV camera.

    Args:
        world_to_camera: (4, 4) actor space → OpenCV camera; its 3×3 part may carry a scale.
        armature: (4, 4) the armature's matrix_world.

    Returns:
        (4, 4) matrix without scale.
    """
    placed = np.asarray(armature, np.float64) @ ACTOR_TO_BLENDER
    return remove_scale(placed @ np.linalg.inv(np.asarray(world_to_camera, np.float64)) @ CAMERA_FLIP)


def camera_to_actor(matrix_world: ArrayLike, armature: ArrayLike) -> Array:
    """Return the matrix from actor space to an OpenCV camera for a camera object.

    Args:
        matrix_world: (4, 4) of the camera object; its scale is ignored, as Blender does.
        armature: (4, 4) the armature's matrix_world; its scale is kept.

    Returns:
        (4, 4) actor space → OpenCV camera.
    """
    camera = remove_scale(np.asarray(matrix_world, np.float64))
    return CAMERA_FLIP @ np.linalg.inv(camera) @ np.asarray(armature, np.float64) @ ACTOR_TO_BLENDER


def remove_scale(matrix: Array) -> Array:
    """Return a (4, 4) matrix with axes of unit length."""
    result = matrix.copy()
    result[:3, :3] /= np.linalg.norm(matrix[:3, :3], axis=0)
    return result


def rotate(quaternions: Array, vectors: ArrayLike) -> Array:
    """Rotate (…, 3) vectors by (…, 4) unit quaternions: v + 2 u × (u × v + w v) with q = (w, u)."""
    u, w = quaternions[..., 1:], quaternions[..., :1]
    v = np.broadcast_to(np.asarray(vectors, np.float64), u.shape)
    return v + 2 * np.cross(u, np.cross(u, v) + w * v)


def conjugate(quaternions: Array) -> Array:
    """Return the inverse of (…, 4) unit quaternions."""
    return quaternions * np.array([1.0, -1.0, -1.0, -1.0])


def bone_euler_angles(quaternions: Array) -> Array:
    """Return (T, 3) Euler angles about x, y, z in radians of (T, 4) rotations, for Blender's order ZXY.

    z turns first and y last, so the middle angle, which must stay within ±90°, is the nod. Angles continue beyond half
    a turn without a jump.
    """
    angles = np.radians(geometry.yaw_pitch_roll_degrees(geometry.matrix_from_quaternion(quaternions)))
    return np.unwrap(angles[:, [1, 0, 2]], axis=0)


def bone_basis(
    rotation: Array, translation: Array, parent_rotation: Array, parent_translation: Array, rest: Array
) -> tuple[Array, Array]:
    """Return the keys of a pose bone that move the actor's rest points by a given pose.

    Δ is the transform of rest points in armature space (Δ = pose matrix · rest matrix⁻¹) and R the rest matrix. In
    Blender's hierarchy basis = R⁻¹ Δ_parent⁻¹ Δ R.

    Args:
        rotation: (T, 4) rotation of the bone's Δ.
        translation: (T, 3) translation of the bone's Δ.
        parent_rotation: (T, 4) rotation of the parent's Δ.
        parent_translation: (T, 3) translation of the parent's Δ.
        rest: (4, 4) the bone's rest matrix R (`Bone.matrix_local`).

    Returns:
        (T, 3) rotation_euler as of `bone_euler_angles`, and (T, 3) location.
    """
    rest_rotation, head = geometry.quaternion_from_matrix(rest[:3, :3]), rest[:3, 3]
    undo = conjugate(parent_rotation)
    relative = geometry.quaternion_product(undo, rotation)
    offset = rotate(undo, translation - parent_translation)
    turn = np.broadcast_to(rest_rotation, relative.shape)
    basis = geometry.quaternion_product(geometry.quaternion_product(conjugate(turn), relative), turn)
    return bone_euler_angles(basis), rotate(conjugate(turn), rotate(relative, head) + offset - head)


def bone_delta(poses: Array, rest: Array) -> tuple[Array, Array]:
    """Return the transform of rest points by a posed bone: Δ = pose matrix · rest matrix⁻¹ without the bone's scale.

    Args:
        poses: (T, 4, 4) `PoseBone.matrix`.
        rest: (4, 4) `Bone.matrix_local`.

    Returns:
        (T, 4) rotation and (T, 3) translation in armature space; they move the bone's head exactly.
    """
    turns = poses[:, :3, :3] / np.linalg.norm(poses[:, :3, :3], axis=1, keepdims=True)
    rotation = geometry.quaternion_from_matrix(turns @ rest[:3, :3].T)
    return geometry.align_quaternion_signs(rotation), poses[:, :3, 3] - rotate(rotation, rest[:3, 3])
