"""The rasteriser for NVIDIA GPUs: gsplat 1.5's kernels, in the order in which `gsplat.rasterization` calls them.

That function itself has no way to add an offset to the projected centres, which is how the screen-space gradient for
densification is read here; its steps are gsplat's public functions, so they are called one by one.

gsplat differs a little from the other implementations: alpha saturates at 0.999 instead of 0.99, a pixel is finished
before, not after, the Gaussian that takes its transmittance below 1e-4, and its gradients are summed with atomics, so
their last bits change from run to run. It does not skip numbers that are not finite: give it finite ones.
"""

from __future__ import annotations

import contextlib
import sys

import torch
from torch import Tensor

from backend.contract.errors import UserError
from backend.rasterizer.constants import NEAR_PLANE_METERS, SCREEN_BLUR_VARIANCE

TILE_SIZE_PIXELS = 16  # px, gsplat's default


def require_cuda() -> None:
    """Raise what is missing for this module to work.

    Raises:
        UserError: ``"no_cuda"`` without an NVIDIA GPU that torch can use, ``"no_gsplat"`` without gsplat or the CUDA
            toolkit it is compiled with at its first use.
    """
    if not torch.cuda.is_available():
        raise UserError(
            "no_cuda",
            "No NVIDIA GPU is available to this installation of PyTorch.",
            "Choose the device cpu, or install a driver and a CUDA build of PyTorch.",
        )
    try:
        # gsplat announces its compilation on standard output, which belongs to the protocol.
        with contextlib.redirect_stdout(sys.stderr):
            from gsplat.cuda._backend import _C
    except ImportError:
        _C = None
    if _C is None:
        raise UserError(
            "no_gsplat",
            "The GPU rasteriser gsplat is not installed, or could not be compiled.",
            "Install gsplat and the CUDA toolkit, or choose the device cpu.",
        )


def rasterize_cuda(
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
    """Features (H, W, C), alpha (H, W) and depth (H, W) or (0, 0), as `rasterize` defines them, float32 on the GPU.

    Raises:
        UserError: see `require_cuda`.
    """
    require_cuda()
    import gsplat

    device = means.device if means.is_cuda else torch.device("cuda")
    gaussians = (means, quats, scales, opacities, features, screen_offsets)
    means, quats, scales, opacities, features, screen_offsets = (
        tensor.to(device, torch.float32) for tensor in gaussians
    )
    cameras = view.to(device, torch.float32)[None], intrinsics.to(device, torch.float32)[None]
    if means.shape[0] == 0:
        nothing = means.sum() + features.sum()  # zero, yet part of the graph, so that backward works
        image = nothing.expand(height, width, features.shape[1])
        return (
            image,
            nothing.expand(height, width),
            nothing.expand(height, width) if with_depth else means.new_zeros(0, 0),
        )

    radii, centres, z, conics, _ = gsplat.fully_fused_projection(
        means,
        None,
        quats,
        scales,
        *cameras,
        width,
        height,
        eps2d=SCREEN_BLUR_VARIANCE,
        near_plane=NEAR_PLANE_METERS,
        packed=False,
        opacities=opacities,
    )
    centres = centres + screen_offsets
    tiles_x, tiles_y = -(-width // TILE_SIZE_PIXELS), -(-height // TILE_SIZE_PIXELS)
    _, ids, order = gsplat.isect_tiles(centres, radii, z, TILE_SIZE_PIXELS, tiles_x, tiles_y)
    starts = gsplat.isect_offset_encode(ids, 1, tiles_x, tiles_y)
    colours = torch.cat([features, z[0, :, None]], dim=-1) if with_depth else features
    image, alpha = gsplat.rasterize_to_pixels(
        centres, conics, colours[None], opacities[None], width, height, TILE_SIZE_PIXELS, starts, order
    )
    depth = image[0, ..., -1] if with_depth else image.new_zeros(0, 0)
    return image[0, ..., : features.shape[1]], alpha[0, ..., 0], depth
