"""The implementation for NVIDIA GPUs: gsplat 1.5's kernels, in the order in which `gsplat.rasterization` calls them.

That function cannot add an offset to the projected centres, which is how densification reads the screen-space gradient
here, so its steps, gsplat's public functions, are called one by one.

gsplat differs a little from the other implementations: alpha saturates at 0.999 instead of 0.99, a pixel is finished
before, not after, the Gaussian that takes its transmittance below 1e-4, and gradients are summed with atomics, so
their last bits change from run to run. It does not skip numbers that are not finite: pass finite ones.
"""

from __future__ import annotations

import contextlib
import sys

import torch
from torch import Tensor

from ..setup.device import no_cuda_error, no_gsplat_error
from .constants import NEAR_PLANE_METERS, SCREEN_BLUR_VARIANCE
from .types import CameraView, Gaussians, RasterOutput

TILE_SIZE_PIXELS = 16  # side of a tile, pixels: gsplat's default


def require_cuda() -> None:
    """Raise an error when this implementation cannot run here.

    Raises:
        UserError: ``"no_cuda"`` without an NVIDIA GPU that torch can use, ``"no_gsplat"`` without gsplat or the CUDA
            toolkit it is compiled with at its first use.
    """
    if not torch.cuda.is_available():
        raise no_cuda_error()
    try:
        # gsplat announces its compilation on standard output, which belongs to the protocol.
        with contextlib.redirect_stdout(sys.stderr):
            from gsplat.cuda import _backend
    except ImportError:
        raise no_gsplat_error() from None
    if getattr(_backend, "_C", None) is None:
        raise no_gsplat_error()


def rasterize_gsplat(
    gaussians: Gaussians, features: Tensor, screen_offsets: Tensor, camera: CameraView, with_depth: bool
) -> RasterOutput:
    """Draw the Gaussians as `rasterize` defines it, in float32 on the GPU.

    Raises:
        UserError: see `require_cuda`.
    """
    require_cuda()
    import gsplat

    device = gaussians.means.device if gaussians.means.is_cuda else torch.device("cuda")
    gaussians = Gaussians(*(tensor.to(device, torch.float32) for tensor in gaussians))
    features, screen_offsets = features.to(device, torch.float32), screen_offsets.to(device, torch.float32)
    view, intrinsics = (matrix.to(device, torch.float32)[None] for matrix in (camera.view, camera.intrinsics))
    width, height = camera.width, camera.height
    if len(gaussians.means) == 0:
        return _empty_output(gaussians, features, camera, with_depth)
    radii, centers, z, conics, _ = gsplat.fully_fused_projection(
        gaussians.means,
        None,
        gaussians.quats,
        gaussians.scales,
        view,
        intrinsics,
        width,
        height,
        eps2d=SCREEN_BLUR_VARIANCE,
        near_plane=NEAR_PLANE_METERS,
        packed=False,
        opacities=gaussians.opacities,
    )
    centers = centers + screen_offsets
    tiles_x, tiles_y = -(-width // TILE_SIZE_PIXELS), -(-height // TILE_SIZE_PIXELS)
    _, tile_ids, gaussian_ids = gsplat.isect_tiles(centers, radii, z, TILE_SIZE_PIXELS, tiles_x, tiles_y)
    tile_starts = gsplat.isect_offset_encode(tile_ids, 1, tiles_x, tiles_y)
    channels = torch.cat([features, z[0, :, None]], dim=-1) if with_depth else features
    image, alpha = gsplat.rasterize_to_pixels(
        centers,
        conics,
        channels[None],
        gaussians.opacities[None],
        width,
        height,
        TILE_SIZE_PIXELS,
        tile_starts,
        gaussian_ids,
    )
    depth = image[0, ..., -1] if with_depth else image.new_zeros(0, 0)
    return RasterOutput(image[0, ..., : features.shape[1]], alpha[0, ..., 0], depth)


def _empty_output(gaussians: Gaussians, features: Tensor, camera: CameraView, with_depth: bool) -> RasterOutput:
    """Return the image of no Gaussians, still part of the graph so that backward works."""
    zero = gaussians.means.sum() + features.sum()
    image = zero.expand(camera.height, camera.width)
    depth = image if with_depth else zero.new_zeros(0, 0)
    return RasterOutput(zero.expand(camera.height, camera.width, features.shape[1]), image, depth)
