"""The Vector pass of a portrait whose every Gaussian is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from backend.contract.channels import CHANNELS
from backend.portrait.model import Portrait, PortraitSize, Pose
from backend.rasterizer import CameraView
from backend.rendering.vectors import Moment, render_motion_vectors

WIDTH, HEIGHT = 48, 32


@pytest.fixture
def portrait() -> Portrait:
    """Two blobs: one that follows the head, above, and one that follows the torso, below."""
    made = Portrait(PortraitSize(2, 0, 0))
    made.means.data = torch.tensor([[0.0, 0.05, 0], [0, -0.05, 0]])
    made.log_scales.data += float(np.log(0.015))
    made.opacity_logits.data += 6
    made.skin_logits.data = torch.tensor([20.0, -20.0])
    return made.eval()


def moment(head_x: float = 0.0, torso_y: float = 0.0, camera_x: float = 0.0, focal: float = 100.0) -> Moment:
    turn, none = torch.tensor([1.0, 0, 0, 0]), torch.zeros(3)
    pose = Pose(turn, none + torch.tensor([head_x, 0, 0]), turn, none + torch.tensor([0, torso_y, 0]),
                torch.zeros(len(CHANNELS)))  # fmt: skip
    view = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    view[0, 3], view[2, 3] = -camera_x, 0.5
    intrinsics = torch.tensor([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]])
    return Moment(pose, CameraView(view, intrinsics, WIDTH, HEIGHT))


def vectors(portrait: Portrait, *moments: Moment) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Those at the head's blob, at the torso's and in an empty corner."""
    plane = render_motion_vectors(portrait, moments)
    assert plane.shape == (HEIGHT, WIDTH, 4)
    return plane[6, WIDTH // 2], plane[26, WIDTH // 2], plane[0, 0]


def test_each_part_has_its_own_way(portrait: Portrait) -> None:
    """At 0.5 m and 100 px a centimetre is 2 px; y is up in the pass though the rows of the picture go down."""
    head, torso, empty = vectors(portrait, moment(head_x=-0.01), moment(), moment(head_x=0.02, torso_y=0.01))
    assert head == pytest.approx([-2, 0, -4, 0], abs=0.05)
    assert torso == pytest.approx([0, 0, 0, -2], abs=0.05)
    assert not empty.any()


def test_the_camera_counts(portrait: Portrait) -> None:
    head, torso, _ = vectors(portrait, moment(camera_x=-0.01), moment(), moment(focal=110))
    assert head[:2] == pytest.approx([2, 0], abs=0.05) and torso[:2] == pytest.approx([2, 0], abs=0.05)
    assert head[2:] == pytest.approx([0, -1], abs=0.1) and torso[2:] == pytest.approx([0, 1], abs=0.1)


def test_what_rests_has_no_way(portrait: Portrait) -> None:
    assert not render_motion_vectors(portrait, [moment()] * 3).any()
