"""How far every pixel's part of the actor moves between frames: the Vector pass, as Blender's own renderers write it.

X and Y hold the way from a point's place in this frame to its place in the previous one, Z and W the way from its place
in the next frame to its place in this one; pixels, x to the right, y up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..contract.arrays import F32
from .passes import MIN_DEPTH_ALPHA

if TYPE_CHECKING:
    from ..portrait.model import Portrait, Pose
    from ..rasterizer import CameraView


class Moment(NamedTuple):
    """The actor and the camera at one time."""

    pose: Pose
    camera: CameraView


@torch.no_grad()
def render_motion_vectors(portrait: Portrait, moments: Sequence[Moment]) -> F32:
    """(H, W, 4) pixels; 0 where there is nothing.

    Args:
        moments: the previous frame's, this frame's and the next one's.
    """
    before, now, after = (_project_centers(portrait, moment) for moment in moments)
    ways = torch.cat([before - now, now - after], 1) * now.new_tensor([1, -1, 1, -1])
    moved = portrait.deform(moments[1].pose)
    drawn, alpha, _ = portrait.rasterize_features(moved, ways, moments[1].camera, False)
    drawn = torch.where(alpha[..., None] > MIN_DEPTH_ALPHA, drawn / alpha.clamp_min(MIN_DEPTH_ALPHA)[..., None], 0)
    plane: F32 = drawn.float().cpu().numpy()
    return plane


def _project_centers(portrait: Portrait, moment: Moment) -> Tensor:
    """(N, 2) where the Gaussians' centres lie in the picture; what is behind the camera counts as just before it."""
    view = moment.camera.view
    points = portrait.deform(moment.pose).means @ view[:3, :3].T + view[:3, 3]
    pixels = points @ moment.camera.intrinsics.T
    return pixels[:, :2] / pixels[:, 2:].clamp_min(1e-3)
