"""Rasterisation of 3D Gaussians: one signature, three implementations.

`method="cpu"` uses numba kernels, `method="cuda"` uses gsplat. `method="reference"` is slow and computes in float64;
the tests compare the other two with it. All follow Kerbl et al. 2023, "3D Gaussian Splatting for Real-Time Radiance
Field Rendering": EWA projection (Zwicker et al. 2001), alpha = min(0.99, opacity · exp(-½ dᵀ Σ⁻¹ d)), and front-to-back
blending.

The package may import `contract`, `setup`, `media` and `compute`.
"""

from __future__ import annotations

from torch import Tensor

from .types import CameraView, Gaussians, Implementation, RasterOutput

__all__ = ["CameraView", "Gaussians", "Implementation", "RasterOutput", "rasterize"]


def rasterize(
    gaussians: Gaussians,
    camera: CameraView,
    *,
    features: Tensor | None = None,
    method: Implementation = "cpu",
    screen_offsets: Tensor | None = None,
    with_depth: bool = True,
) -> RasterOutput:
    """Draw Gaussians front to back by camera z, ties by index. Differentiable in everything but the camera.

    A Gaussian is not drawn and gets no gradient when one of its numbers is not finite, its camera z is below 0.01 or
    its opacity is below 1/255.

    Args:
        gaussians: N Gaussians.
        camera: the camera and the size of the image.
        features: (N, C) values to draw, any C; None for the Gaussians' colours.
        method: the implementation. Results differ only by rounding ("cuda": see `gsplat.py`).
        screen_offsets: (N, 2) pixels, added to the projected centres; its gradient is the screen-space gradient.
        with_depth: whether to draw depth too.

    Returns:
        The image, in float32 (float64 for "reference").

    Raises:
        UserError: ``"no_cuda"`` or ``"no_gsplat"``, for `method="cuda"` on a machine without it.
        ValueError: a shape is wrong, or a camera tensor requires a gradient.
    """
    features = gaussians.colors if features is None else features
    _check_shapes(gaussians, camera, features, screen_offsets)
    offsets = gaussians.means.new_zeros(len(gaussians.means), 2) if screen_offsets is None else screen_offsets
    # Each implementation is imported only when it is used: numba and gsplat both take long to import.
    if method == "cpu":
        from .cpu import rasterize_cpu as draw
    elif method == "reference":
        from .reference import rasterize_reference as draw
    elif method == "cuda":
        from .gsplat import rasterize_gsplat as draw
    else:
        raise ValueError(f"unknown method {method!r}")
    return draw(gaussians, features, offsets, camera, with_depth)


def _check_shapes(gaussians: Gaussians, camera: CameraView, features: Tensor, screen_offsets: Tensor | None) -> None:
    """Raise ValueError for mistakes that only the calling code can make."""
    count = len(gaussians.means)
    expected = {
        "means": (gaussians.means, (count, 3)),
        "quats": (gaussians.quats, (count, 4)),
        "scales": (gaussians.scales, (count, 3)),
        "opacities": (gaussians.opacities, (count,)),
        "view": (camera.view, (4, 4)),
        "intrinsics": (camera.intrinsics, (3, 3)),
    }
    if screen_offsets is not None:
        expected["screen_offsets"] = (screen_offsets, (count, 2))
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")
    if features.ndim != 2 or features.shape[0] != count:
        raise ValueError(f"features has shape {tuple(features.shape)}, expected ({count}, C)")
    if camera.view.requires_grad or camera.intrinsics.requires_grad:
        raise ValueError("the camera has no gradient: move the Gaussians instead")
    if camera.width < 1 or camera.height < 1:
        raise ValueError(f"the image is empty: {camera.width}×{camera.height}")
