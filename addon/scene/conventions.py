"""Between the backend's spaces and Blender's, one function each way.

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

# Columns: where actor space's x, y, z axes lie in the armature's space.
ACTOR_TO_BLENDER = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
BLENDER_TO_ACTOR = ACTOR_TO_BLENDER.T
CAMERA_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV camera axes ↔ Blender camera axes; its own inverse


def to_blender(vectors: ArrayLike) -> Array:
    """(…, 3) points or offsets of actor space → armature space."""
    return np.asarray(vectors, np.float64) @ ACTOR_TO_BLENDER[:3, :3].T


def to_actor(vectors: ArrayLike) -> Array:
    """(…, 3) points or offsets of armature space → actor space."""
    return np.asarray(vectors, np.float64) @ BLENDER_TO_ACTOR[:3, :3].T


def rotation_to_blender(quaternions: ArrayLike) -> Array:
    """(…, 4) rotations of actor space → the same rotations in armature space."""
    q = np.asarray(quaternions, np.float64)
    return np.concatenate([q[..., :1], to_blender(q[..., 1:])], axis=-1)


def rotation_to_actor(quaternions: ArrayLike) -> Array:
    """(…, 4) rotations of armature space → the same rotations in actor space."""
    q = np.asarray(quaternions, np.float64)
    return np.concatenate([q[..., :1], to_actor(q[..., 1:])], axis=-1)


def camera_to_blender(world_to_camera: ArrayLike, armature: ArrayLike) -> Array:
    """The camera object's matrix_world that stands where an OpenCV camera stands.

    Args:
        world_to_camera: (4, 4) actor space → OpenCV camera; its 3×3 part may carry a scale.
        armature: (4, 4) the armature's matrix_world.

    Returns:
        (4, 4) without scale.
    """
    placed = np.asarray(armature, np.float64) @ ACTOR_TO_BLENDER
    return remove_scale(placed @ np.linalg.inv(np.asarray(world_to_camera, np.float64)) @ CAMERA_FLIP)


def camera_to_actor(matrix_world: ArrayLike, armature: ArrayLike) -> Array:
    """(4, 4) actor space → OpenCV camera; carries the armature's scale, if it has one.

    Args:
        matrix_world: (4, 4) of the camera object; Blender ignores its scale, and so does this.
        armature: (4, 4) the armature's matrix_world.
    """
    camera = remove_scale(np.asarray(matrix_world, np.float64))
    return CAMERA_FLIP @ np.linalg.inv(camera) @ np.asarray(armature, np.float64) @ ACTOR_TO_BLENDER


def remove_scale(matrix: Array) -> Array:
    """(4, 4) with axes of unit length."""
    result = matrix.copy()
    result[:3, :3] /= np.linalg.norm(matrix[:3, :3], axis=0)
    return result


def rotate(quaternions: Array, vectors: ArrayLike) -> Array:
    """(…, 3) vectors turned by (…, 4) unit quaternions: v + 2 u × (u × v + w v)."""
    u, w = quaternions[..., 1:], quaternions[..., :1]
    v = np.broadcast_to(np.asarray(vectors, np.float64), u.shape)
    return v + 2 * np.cross(u, np.cross(u, v) + w * v)


def conjugate(quaternions: Array) -> Array:
    """(…, 4) inverse of unit quaternions."""
    return quaternions * np.array([1.0, -1.0, -1.0, -1.0])


def bone_euler_angles(quaternions: Array) -> Array:
    """(T, 3) Euler angles about x, y, z in radians of (T, 4) rotations, for Blender's order ZXY: z turns first, y last.

    So the angle in the middle, which may not pass ±90°, is the nod; angles go on beyond a half turn without a jump.
    """
    angles = np.radians(geometry.yaw_pitch_roll_degrees(geometry.matrix_from_quaternion(quaternions)))
    return np.unwrap(angles[:, [1, 0, 2]], axis=0)


def bone_basis(
    rotation: Array, translation: Array, parent_rotation: Array, parent_translation: Array, rest: Array
) -> tuple[Array, Array]:
    """What to key on a pose bone so that it moves rest points by a pose, given how its parent moves them.

    With Δ the pose that moves rest points of armature space (Δ = pose matrix · rest matrix⁻¹) and R the rest matrix,
    Blender's hierarchy gives basis = R⁻¹ Δ_parent⁻¹ Δ R.

    Args:
        rotation, translation: (T, 4), (T, 3) Δ of the bone in armature space.
        parent_rotation, parent_translation: (T, 4), (T, 3) Δ of the parent bone.
        rest: (4, 4) the bone's rest matrix (`Bone.matrix_local`), R.

    Returns:
        (T, 3) rotation_euler as `bone_turns` has it, and (T, 3) location.
    """
    rest_rotation, head = geometry.quaternion_from_matrix(rest[:3, :3]), rest[:3, 3]
    undo = conjugate(parent_rotation)
    relative = geometry.quaternion_product(undo, rotation)
    offset = rotate(undo, translation - parent_translation)
    turn = np.broadcast_to(rest_rotation, relative.shape)
    basis = geometry.quaternion_product(geometry.quaternion_product(conjugate(turn), relative), turn)
    return bone_euler_angles(basis), rotate(conjugate(turn), rotate(relative, head) + offset - head)


def bone_delta(poses: Array, rest: Array) -> tuple[Array, Array]:
    """How posed bones move rest points: Δ = pose matrix · rest matrix⁻¹, any scale of the bone left out.

    Args:
        poses: (T, 4, 4) `PoseBone.matrix`.
        rest: (4, 4) `Bone.matrix_local`.

    Returns:
        (T, 4) rotation and (T, 3) translation in armature space; the bone's own head keeps its place exactly.
    """
    turns = poses[:, :3, :3] / np.linalg.norm(poses[:, :3, :3], axis=1, keepdims=True)
    rotation = geometry.quaternion_from_matrix(turns @ rest[:3, :3].T)
    return geometry.align_quaternion_signs(rotation), poses[:, :3, 3] - rotate(rotation, rest[:3, 3])
