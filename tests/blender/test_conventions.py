"""Actor space ↔ Blender: round trips, and agreement with Blender's own mathematics."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
import pytest
import small_actor
from addon_modules import AddonModules
from mathutils import Matrix, Quaternion

RANDOM = np.random.default_rng(1)
QUATERNIONS = RANDOM.normal(size=(50, 4))
QUATERNIONS /= np.linalg.norm(QUATERNIONS, axis=1, keepdims=True)
POINTS = RANDOM.normal(size=(50, 3))


def same_turn(a: Any, b: Any) -> bool:
    return bool(np.abs(np.abs(np.sum(a * b, -1)) - 1).max() < 1e-6)


def test_axes(addon: AddonModules) -> None:
    conv = addon.conventions
    assert np.allclose(conv.to_blender([0, 0, 1]), [0, -1, 0]), "the actor faces −y"
    assert np.allclose(conv.to_blender([0, 1, 0]), [0, 0, 1]), "up is z"
    assert np.allclose(conv.to_blender([1, 0, 0]), [1, 0, 0]), "the actor's left is x"
    assert np.isclose(np.linalg.det(conv.ACTOR_TO_BLENDER), 1)


def test_points_and_rotations_round_trip_and_commute(addon: AddonModules) -> None:
    conv = addon.conventions
    assert np.allclose(conv.to_actor(conv.to_blender(POINTS)), POINTS)
    assert np.allclose(conv.rotation_to_actor(conv.rotation_to_blender(QUATERNIONS)), QUATERNIONS)
    turned_then_moved_over = conv.to_blender(conv.rotate(QUATERNIONS, POINTS))
    moved_over_then_turned = conv.rotate(conv.rotation_to_blender(QUATERNIONS), conv.to_blender(POINTS))
    assert np.allclose(turned_then_moved_over, moved_over_then_turned)


def test_quaternions_agree_with_blender(addon: AddonModules) -> None:
    conv = addon.conventions
    other = np.roll(QUATERNIONS, 1, axis=0)
    for q, p, v, product, turned in zip(
        QUATERNIONS,
        other,
        POINTS,
        addon.contract.geometry.quaternion_product(QUATERNIONS, other),
        conv.rotate(QUATERNIONS, POINTS),
        strict=True,
    ):
        assert np.allclose(np.array(Quaternion(q) @ Quaternion(p)), product, atol=1e-6)
        assert np.allclose(Matrix.Rotation(0, 3, "X") @ (Quaternion(q) @ bpy_vector(v)), turned, atol=1e-5)
    matrices = np.array([Quaternion(q).to_matrix() for q in QUATERNIONS])
    assert same_turn(addon.contract.geometry.quaternion_from_matrix(matrices), QUATERNIONS)
    half_turns = np.array([np.diag(d) for d in ([1.0, -1, -1], [-1.0, 1, -1], [-1.0, -1, 1])])
    assert same_turn(addon.contract.geometry.quaternion_from_matrix(half_turns), np.eye(4)[1:])


def bpy_vector(values: Any) -> Any:
    from mathutils import Vector

    return Vector(values)


def test_continuous_keeps_rotations_and_takes_the_short_way(addon: AddonModules) -> None:
    track = small_actor.quaternion_from_rotation_vector(*(np.linspace(0, 3, 30) * k for k in (1, 0.5, -0.7)))
    broken = track * np.where(RANDOM.random(30) < 0.5, -1, 1)[:, None]
    mended = addon.contract.geometry.align_quaternion_signs(broken)
    assert same_turn(mended, track)
    assert np.all(np.sum(mended[1:] * mended[:-1], -1) > 0)


@pytest.mark.parametrize("seed", range(3))
def test_cameras_round_trip(addon: AddonModules, seed: Any) -> None:
    conv = addon.conventions
    random = np.random.default_rng(seed)
    view, armature = np.eye(4), np.eye(4)
    view[:3, :3] = np.array(Quaternion(random.normal(size=4).tolist()).normalized().to_matrix())
    armature[:3, :3] = 2.5 * np.array(Quaternion(random.normal(size=4).tolist()).normalized().to_matrix())
    view[:3, 3], armature[:3, 3] = random.normal(size=3), random.normal(size=3)
    back = conv.camera_to_actor(conv.camera_to_blender(view, armature), armature)
    assert np.allclose(back, 2.5 * np.vstack([view[:3], [0, 0, 0, 0.4]]), atol=1e-6), (
        "only the armature's scale is added"
    )


def test_bone_basis_is_what_blender_computes(addon: AddonModules) -> None:
    """Poses set through the basis come back as Blender's own pose matrices say, head on top of torso."""
    conv, rig = addon.conventions, addon.rig
    scene = bpy.context.scene
    armature = rig.create_armature("rig", scene.collection, bpy.context.view_layer)
    torso, head = (small_actor.quaternion_from_rotation_vector(*RANDOM.normal(size=(3, 8))) for _ in range(2))
    torso_shift, head_shift = RANDOM.normal(size=(2, 8, 3))
    rest = {b.name: np.array(b.matrix_local) for b in armature.data.bones}
    still = np.tile([1.0, 0, 0, 0], (8, 1)), np.zeros((8, 3))
    keyed = {
        rig.TORSO: conv.bone_basis(torso, torso_shift, *still, rest[rig.TORSO]),
        rig.HEAD: conv.bone_basis(head, head_shift, torso, torso_shift, rest[rig.HEAD]),
    }
    for row in range(8):
        for bone, (turn, shift) in keyed.items():
            armature.pose.bones[bone].rotation_euler = turn[row]
            armature.pose.bones[bone].location = shift[row]
        bpy.context.view_layer.update()
        for bone, turn, shift in ((rig.TORSO, torso, torso_shift), (rig.HEAD, head, head_shift)):
            pose = np.array(armature.pose.bones[bone].matrix)[None]
            found_turn, found_shift = conv.bone_delta(pose, rest[bone])
            assert same_turn(found_turn, turn[row : row + 1])
            assert np.allclose(found_shift, shift[row], atol=1e-5)


def test_a_scaled_bone_keeps_its_place(addon: AddonModules) -> None:
    """The backend's poses are rigid: a scaled head is read as if it were not scaled, and does not jump."""
    conv = addon.conventions
    rest, pose = np.eye(4), np.eye(4)
    rest[:3, 3] = pose[:3, 3] = 1, 2, 3
    pose[:3, :3] *= 1.5
    turn, shift = conv.bone_delta(pose[None], rest)
    assert np.allclose(turn, [1, 0, 0, 0]) and np.allclose(shift, 0)
