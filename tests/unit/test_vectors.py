"""The Vector pass of a portrait of two known Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.contract.arrays import F32
from backend.contract.channels import CHANNELS
from backend.portrait.model import Portrait, PortraitSize, Pose
from backend.rasterizer import CameraView
from backend.rendering.vectors import Moment, render_motion_vectors

WIDTH, HEIGHT = 48, 32


@pytest.fixture
def portrait() -> Portrait:
    """Two Gaussians: the upper follows the head, the lower the torso."""
    portrait = Portrait(PortraitSize(2, 0, 0))
    portrait.means.data = torch.tensor([[0.0, 0.05, 0], [0, -0.05, 0]])
    portrait.log_scales.data += float(np.log(0.015))
    portrait.opacity_logits.data += 6
    portrait.skin_logits.data = torch.tensor([20.0, -20.0])
    return portrait.eval()


def moment(head_x: float = 0.0, torso_y: float = 0.0, camera_x: float = 0.0, focal: float = 100.0) -> Moment:
    """Return a moment with displaced head, torso or camera."""
    rotation, zero = torch.tensor([1.0, 0, 0, 0]), torch.zeros(3)
    pose = Pose(rotation, zero + torch.tensor([head_x, 0, 0]), rotation, zero + torch.tensor([0, torso_y, 0]),
                torch.zeros(len(CHANNELS)))  # fmt: skip
    view = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    view[0, 3], view[2, 3] = -camera_x, 0.5
    intrinsics = torch.tensor([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]])
    return Moment(pose, CameraView(view, intrinsics, WIDTH, HEIGHT))


def sample_vectors(portrait: Portrait, *moments: Moment) -> tuple[F32, F32, F32]:
    """Return the vectors at the head's Gaussian, at the torso's and in an empty corner."""
    plane = render_motion_vectors(portrait, moments)
    assert plane.shape == (HEIGHT, WIDTH, 4)
    return plane[6, WIDTH // 2], plane[26, WIDTH // 2], plane[0, 0]


def test_vectors_are_the_motion_of_each_part_in_pixels(portrait: Portrait) -> None:
    """At a distance of 0.5 m and a focal length of 100 px, a centimetre is 2 px; y is up in the pass."""
    head, torso, empty = sample_vectors(portrait, moment(head_x=-0.01), moment(), moment(head_x=0.02, torso_y=0.01))
    assert head == pytest.approx([-2, 0, -4, 0], abs=0.05)
    assert torso == pytest.approx([0, 0, 0, -2], abs=0.05)
    assert not empty.any()


def test_vectors_include_camera_motion_and_zoom(portrait: Portrait) -> None:
    head, torso, _ = sample_vectors(portrait, moment(camera_x=-0.01), moment(), moment(focal=110))
    assert head[:2] == pytest.approx([2, 0], abs=0.05) and torso[:2] == pytest.approx([2, 0], abs=0.05)
    assert head[2:] == pytest.approx([0, -1], abs=0.1) and torso[2:] == pytest.approx([0, 1], abs=0.1)


def test_vectors_at_rest_are_zero(portrait: Portrait) -> None:
    assert not render_motion_vectors(portrait, [moment()] * 3).any()
