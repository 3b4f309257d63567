"""The Vector pass: how far each pixel's part of the actor moves between frames, as Blender's renderers write it.

X and Y are the displacement from a point's position in this frame to that in the previous one, Z and W from its
position in the next frame to that in this one; pixels, x to the right, y up.
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


MIN_PROJECTION_DEPTH = 1e-3  # metres; nearer points, and those behind the camera, are projected from this depth
Y_UP_SIGNS = (1, -1, 1, -1)  # image y is down


class Moment(NamedTuple):
    """The actor's pose and the camera at one time."""

    pose: Pose
    camera: CameraView


@torch.no_grad()
def render_motion_vectors(portrait: Portrait, moments: Sequence[Moment]) -> F32:
    """Render the (H, W, 4) Vector pass in pixels; 0 in empty pixels.

    Args:
        portrait: the actor's model.
        moments: those of the previous, this and the next frame.
    """
    previous, current, following = (_project_centers(portrait, moment) for moment in moments)
    displacements = torch.cat([previous - current, current - following], 1) * current.new_tensor(Y_UP_SIGNS)
    gaussians = portrait.deform(moments[1].pose)
    vectors, alpha, _ = portrait.rasterize_features(gaussians, displacements, moments[1].camera, with_depth=False)
    vectors = torch.where(alpha[..., None] > MIN_DEPTH_ALPHA, vectors / alpha.clamp_min(MIN_DEPTH_ALPHA)[..., None], 0)
    plane: F32 = vectors.float().cpu().numpy()
    return plane


def _project_centers(portrait: Portrait, moment: Moment) -> Tensor:
    """Return the pixels (N, 2) of the Gaussians' centres."""
    view = moment.camera.view
    points = portrait.deform(moment.pose).means @ view[:3, :3].T + view[:3, 3]
    pixels = points @ moment.camera.intrinsics.T
    return pixels[:, :2] / pixels[:, 2:].clamp_min(MIN_PROJECTION_DEPTH)
