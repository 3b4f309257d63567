"""Rotations and projection in numpy: conversions are inverse and agree with torch."""

from __future__ import annotations

import numpy as np
import torch

from backend.compute import rotations
from backend.contract import geometry
from backend.contract.arrays import F64


def random_quaternions(count: int) -> F64:
    q = np.random.default_rng(0).normal(size=(count, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    return np.where(q[:, :1] < 0, -q, q).astype(np.float64)


def test_quaternion_and_matrix_conversions_are_inverse() -> None:
    q = random_quaternions(200)
    m = geometry.matrix_from_quaternion(q)
    assert np.allclose(m @ np.swapaxes(m, 1, 2), np.eye(3), atol=1e-12)
    assert np.allclose(geometry.quaternion_from_matrix(m), q, atol=1e-9)


def test_rotation_vector_rotates_by_its_length_about_its_direction() -> None:
    m = geometry.matrix_from_rotation_vector(np.array([0.0, np.radians(30), 0.0]))
    assert np.isclose(geometry.rotation_angle_degrees(m), 30)
    assert np.allclose(m @ [0, 0, 1], [0.5, 0, np.sqrt(3) / 2])
    assert np.allclose(geometry.yaw_pitch_roll_degrees(m), [30, 0, 0])


def test_projection_follows_the_pinhole_formula() -> None:
    k = np.array([[100.0, 0, 32], [0, 100, 24], [0, 0, 1]])
    pixel = geometry.project_points(np.array([[0.1, -0.2, 0.0]]), np.eye(3), np.array([0, 0, 2.0]), k)
    assert np.allclose(pixel, [[32 + 5, 24 - 10]])


def test_torch_and_numpy_rotations_agree() -> None:
    a, b = (torch.as_tensor(random_quaternions(50)[i:], dtype=torch.float64)[:40] for i in (0, 7))
    product = rotations.quaternion_multiply(a, b)
    expected = rotations.rotation_matrix(a) @ rotations.rotation_matrix(b)
    assert torch.allclose(rotations.rotation_matrix(product), expected, atol=1e-12)
    assert np.allclose(rotations.rotation_matrix(a).numpy(), geometry.matrix_from_quaternion(a.numpy()))


def test_small_rotation_quaternion_matches_its_rotation_vector() -> None:
    v = torch.tensor([0.01, -0.02, 0.015], dtype=torch.float64)
    q = rotations.quaternion_from_small_rotation(v)
    assert np.allclose(
        geometry.matrix_from_quaternion(q.numpy()), geometry.matrix_from_rotation_vector(v.numpy()), atol=5e-6
    )


def test_aligned_quaternions_are_the_same_rotations_and_neighbours_agree_in_sign() -> None:
    turn = np.linspace(0, 3, 30)[:, None] * [1.0, 0.5, -0.7]
    smooth = geometry.matrix_from_rotation_vector(turn)
    signs = np.where(np.random.default_rng(1).random(30) < 0.5, -1.0, 1.0)
    aligned = geometry.align_quaternion_signs(geometry.quaternion_from_matrix(smooth) * signs[:, None])
    assert np.allclose(geometry.matrix_from_quaternion(aligned), smooth)
    assert ((aligned[1:] * aligned[:-1]).sum(1) > 0).all()


def test_rotation_about_x_turns_y_towards_z() -> None:
    assert np.allclose(geometry.rotation_about_x(np.radians(90)) @ [0, 1, 0], [0, 0, 1])
