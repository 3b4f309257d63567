"""The rasteriser to check by reading: float64, torch autograd, one Gaussian after the other over the whole frame."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from backend.compute.rotations import rotation_matrix
from backend.rasterizer.constants import (
    FRUSTUM_MARGIN,
    MAX_ALPHA,
    MAX_SCREEN_VARIANCE,
    MIN_ALPHA,
    MIN_TRANSMITTANCE,
    NEAR_PLANE_METERS,
    SCREEN_BLUR_VARIANCE,
)


class _CameraTensors(NamedTuple):
    view: Tensor  # (4, 4)
    intrinsics: Tensor  # (3, 3)
    width: int
    height: int


def rasterize_reference(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    features: Tensor,
    screen_offsets: Tensor,
    view: Tensor,
    intrinsics: Tensor,
    width: int,
    height: int,
    with_depth: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Features (H, W, C), alpha (H, W) and depth (H, W) or (0, 0), as `rasterize` defines them, in float64."""
    gaussians = [tensor.double() for tensor in (means, quats, scales, opacities, features, screen_offsets)]
    camera = _CameraTensors(view.double(), intrinsics.double(), width, height)
    with torch.no_grad():
        drawn = _visible_indices(gaussians, camera)
    # Indexing first keeps numbers that are not finite out of the graph: 0 · ∞ in a gradient would be NaN.
    means, quats, scales, opacities, features, screen_offsets = (tensor[drawn] for tensor in gaussians)
    centre, covariance, z = _project_gaussians(means, quats, scales, screen_offsets, camera)
    conic = torch.linalg.inv(covariance)
    if with_depth:
        features = torch.cat([features, z[:, None]], dim=1)

    y, x = torch.arange(height).double()[:, None] + 0.5, torch.arange(width).double() + 0.5
    transmittance = torch.ones(height, width, dtype=torch.float64)
    image = torch.zeros(height, width, features.shape[1], dtype=torch.float64) + 0 * features.sum()  # has a gradient
    # Depths are compared in float32, as in the fast kernels: else nearly equal ones would be drawn in another order.
    for i in torch.argsort(z.detach().float(), stable=True).tolist():
        dx, dy = x - centre[i, 0], y - centre[i, 1]
        power = -0.5 * (conic[i, 0, 0] * dx * dx + conic[i, 1, 1] * dy * dy) - conic[i, 0, 1] * dx * dy
        alpha = opacities[i] * torch.exp(power)
        seen = (alpha >= MIN_ALPHA) & (transmittance >= MIN_TRANSMITTANCE)
        alpha = torch.where(seen, alpha.clamp(max=MAX_ALPHA), 0.0)
        image = image + (alpha * transmittance)[..., None] * features[i]
        transmittance = transmittance * (1 - alpha)
    if not with_depth:
        return image, 1 - transmittance, image.new_zeros(0, 0)
    return image[..., :-1], 1 - transmittance, image[..., -1]


def _project_gaussians(
    means: Tensor, quats: Tensor, scales: Tensor, screen_offsets: Tensor, camera: _CameraTensors
) -> tuple[Tensor, Tensor, Tensor]:
    """Centres (N, 2) px, covariances (N, 2, 2) px² and camera z (N,): Σ' = J A R S S Rᵀ Aᵀ Jᵀ + blur."""
    view, intrinsics, width, height = camera
    rotation_scale = rotation_matrix(quats) * scales[:, None, :]
    covariance = view[:3, :3] @ rotation_scale @ rotation_scale.mT @ view[:3, :3].mT
    x, y, z = (means @ view[:3, :3].mT + view[:3, 3]).unbind(-1)
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    centre = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=-1) + screen_offsets

    # Far outside the frame the linearised projection explodes; it is taken at the frame's edge plus a margin instead.
    margin_x, margin_y = FRUSTUM_MARGIN * 0.5 * width / fx, FRUSTUM_MARGIN * 0.5 * height / fy
    slope_x = torch.clamp(x / z, -cx / fx - margin_x, (width - cx) / fx + margin_x)
    slope_y = torch.clamp(y / z, -cy / fy - margin_y, (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [
            torch.stack([fx / z, zero, -fx * slope_x / z], dim=-1),
            torch.stack([zero, fy / z, -fy * slope_y / z], dim=-1),
        ],
        dim=-2,
    )
    projected = jacobian @ covariance @ jacobian.mT + SCREEN_BLUR_VARIANCE * torch.eye(2, dtype=torch.float64)
    return centre, projected, z


def _visible_indices(gaussians: list[Tensor], camera: _CameraTensors) -> Tensor:
    """Indices of the Gaussians that can be drawn at all: finite, in front of the near plane, not too faint."""
    means, quats, scales, opacities, features, offsets = gaussians
    centre, covariance, z = _project_gaussians(means, quats, scales, offsets, camera)
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    finite = (
        torch.isfinite(features).all(-1) & torch.isfinite(opacities) & (centre.square() <= MAX_SCREEN_VARIANCE).all(-1)
    )
    return torch.nonzero(
        (z >= NEAR_PLANE_METERS) & (opacities >= MIN_ALPHA) & (variance <= MAX_SCREEN_VARIANCE).all(-1) & finite
    )[:, 0]
