"""The reference implementation: float64, torch autograd, one Gaussian after the other over the whole image."""

from __future__ import annotations

import torch
from torch import Tensor

from ..compute.rotations import rotation_matrix
from .constants import (
    FRUSTUM_MARGIN,
    MAX_ALPHA,
    MAX_SCREEN_VARIANCE,
    MIN_ALPHA,
    MIN_TRANSMITTANCE,
    NEAR_PLANE_METERS,
    SCREEN_BLUR_VARIANCE,
)
from .types import CameraView, Gaussians, RasterOutput


def rasterize_reference(
    gaussians: Gaussians, features: Tensor, screen_offsets: Tensor, camera: CameraView, with_depth: bool
) -> RasterOutput:
    """Draw the Gaussians as `rasterize` defines it, in float64."""
    gaussians = Gaussians(*(tensor.double() for tensor in gaussians))
    features, screen_offsets = features.double(), screen_offsets.double()
    camera = camera._replace(view=camera.view.double(), intrinsics=camera.intrinsics.double())
    with torch.no_grad():
        visible = _visible_indices(gaussians, features, screen_offsets, camera)
    # Indexing first keeps numbers that are not finite out of the graph: 0 · ∞ in a gradient would be NaN.
    gaussians = Gaussians(*(tensor[visible] for tensor in gaussians))
    features = features[visible]
    centers, covariances, z = _project_gaussians(gaussians, screen_offsets[visible], camera)
    if with_depth:
        features = torch.cat([features, z[:, None]], dim=1)
    image, alpha = _blend(centers, torch.linalg.inv(covariances), z, gaussians.opacities, features, camera)
    if not with_depth:
        return RasterOutput(image, alpha, image.new_zeros(0, 0))
    return RasterOutput(image[..., :-1], alpha, image[..., -1])


def _blend(
    centers: Tensor, conics: Tensor, z: Tensor, opacities: Tensor, features: Tensor, camera: CameraView
) -> tuple[Tensor, Tensor]:
    """Blend projected Gaussians front to back: features (H, W, C) and alpha (H, W)."""
    height, width = camera.height, camera.width
    y, x = torch.arange(height).double()[:, None] + 0.5, torch.arange(width).double() + 0.5
    transmittance = torch.ones(height, width, dtype=torch.float64)
    image = torch.zeros(height, width, features.shape[1], dtype=torch.float64) + 0 * features.sum()  # has a gradient
    # Depths are compared in float32, as in the fast kernels: otherwise nearly equal ones would change their order.
    for i in torch.argsort(z.detach().float(), stable=True).tolist():
        dx, dy = x - centers[i, 0], y - centers[i, 1]
        power = -0.5 * (conics[i, 0, 0] * dx * dx + conics[i, 1, 1] * dy * dy) - conics[i, 0, 1] * dx * dy
        alpha = opacities[i] * torch.exp(power)
        is_drawn = (alpha >= MIN_ALPHA) & (transmittance >= MIN_TRANSMITTANCE)
        alpha = torch.where(is_drawn, alpha.clamp(max=MAX_ALPHA), 0.0)
        image = image + (alpha * transmittance)[..., None] * features[i]
        transmittance = transmittance * (1 - alpha)
    return image, 1 - transmittance


def _project_gaussians(
    gaussians: Gaussians, screen_offsets: Tensor, camera: CameraView
) -> tuple[Tensor, Tensor, Tensor]:
    """Project to centres (N, 2) px, covariances (N, 2, 2) px² and camera z (N,): Σ' = J A R S S Rᵀ Aᵀ Jᵀ + blur."""
    view, intrinsics, width, height = camera
    rotation_scale = rotation_matrix(gaussians.quats) * gaussians.scales[:, None, :]
    covariance = view[:3, :3] @ rotation_scale @ rotation_scale.mT @ view[:3, :3].mT
    x, y, z = (gaussians.means @ view[:3, :3].mT + view[:3, 3]).unbind(-1)
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    centers = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=-1) + screen_offsets

    # Far outside the image the linearised projection explodes; it is held at the image's edge plus a margin.
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
    return centers, projected, z


def _visible_indices(gaussians: Gaussians, features: Tensor, screen_offsets: Tensor, camera: CameraView) -> Tensor:
    """Return the indices of the Gaussians that can be drawn: finite, beyond the near plane, opaque enough."""
    centers, covariances, z = _project_gaussians(gaussians, screen_offsets, camera)
    variance = covariances.diagonal(dim1=-2, dim2=-1)
    is_finite = (
        torch.isfinite(features).all(-1)
        & torch.isfinite(gaussians.opacities)
        & (centers.square() <= MAX_SCREEN_VARIANCE).all(-1)
    )
    is_in_range = (z >= NEAR_PLANE_METERS) & (gaussians.opacities >= MIN_ALPHA)
    return torch.nonzero(is_in_range & (variance <= MAX_SCREEN_VARIANCE).all(-1) & is_finite)[:, 0]
