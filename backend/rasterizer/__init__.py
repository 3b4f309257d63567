"""Drawing 3D Gaussians: one signature, three implementations.

`method="cpu"` are numba kernels, `method="cuda"` is gsplat, `method="reference"` is slow, obvious and in float64: the
others are tested against it.

The package may import `contract`, `setup`, `media` and `compute`.
 All follow Kerbl et al. 2023, "3D Gaussian Splatting for Real-Time Radiance Field
Rendering": EWA projection (Zwicker et al. 2001), alpha = min(0.99, opacity · exp(-½ dᵀ Σ⁻¹ d)), front-to-back blending.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

Implementation = Literal["cpu", "cuda", "reference"]


class RasterOutput(NamedTuple):
    """What the camera sees. The tensors may be views with any strides."""

    features: Tensor  # (H, W, C) premultiplied: Σ w·f with w = alpha · transmittance
    alpha: Tensor  # (H, W) in 0–1: Σ w
    depth: Tensor  # (H, W) premultiplied camera z: Σ w·z; (0, 0) when it was not asked for


def rasterize(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    features: Tensor,
    view: Tensor,
    intrinsics: Tensor,
    width: int,
    height: int,
    *,
    method: Implementation = "cpu",
    screen_offsets: Tensor | None = None,
    with_depth: bool = True,
) -> RasterOutput:
    """Draw Gaussians, front to back by camera z (ties by index). Differentiable in all but the camera.

    Args:
        means: (N, 3) centres, world units (metres).
        quats: (N, 4) rotations wxyz, of any length.
        scales: (N, 3) standard deviations along the rotated axes, world units. Zero is allowed.
        opacities: (N,) in 0–1.
        features: (N, C), any C; colour is C = 3.
        view: (4, 4) world → OpenCV camera. Its 3×3 part may carry a scale; depth is then in scaled units.
        intrinsics: (3, 3) in pixels, no skew; pixel centres lie at +0.5.
        width: of the frame, px.
        height: of the frame, px.
        method: which implementation draws. Results differ only by rounding ("cuda": see `cuda.py`).
        screen_offsets: (N, 2) px, added to the projected centres; its gradient is the screen-space one.
        with_depth: whether to sum depth as well.

    Returns:
        The frame, float32 (float64 for "reference"). A Gaussian with a number that is not finite, nearer than 0.01 or
        of opacity below 1/255 is not drawn and gets no gradient.

    Raises:
        UserError: ``"no_cuda"`` or ``"no_gsplat"``, for `method="cuda"` on a machine without it.
        ValueError: a shape is wrong, or a camera tensor requires a gradient.
    """
    _check_shapes(means, quats, scales, opacities, features, view, intrinsics, screen_offsets)
    if width < 1 or height < 1:
        raise ValueError(f"the frame is empty: {width}×{height}")
    offsets = means.new_zeros(means.shape[0], 2) if screen_offsets is None else screen_offsets
    gaussians = (means, quats, scales, opacities, features, offsets)
    # The implementations are imported when they are chosen: numba and gsplat both take long to import.
    if method == "cpu":
        from backend.rasterizer.cpu import rasterize_cpu as draw
    elif method == "reference":
        from backend.rasterizer.reference import rasterize_reference as draw
    elif method == "cuda":
        from backend.rasterizer.gsplat import rasterize_cuda as draw
    else:
        raise ValueError(f"unknown method {method!r}")
    return RasterOutput(*draw(*gaussians, view, intrinsics, width, height, with_depth))


def _check_shapes(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    features: Tensor,
    view: Tensor,
    intrinsics: Tensor,
    screen_offsets: Tensor | None,
) -> None:
    """Raise ValueError for what only a mistake in the calling code can cause."""
    count = means.shape[0]
    expected = {
        "means": (means, (count, 3)),
        "quats": (quats, (count, 4)),
        "scales": (scales, (count, 3)),
        "opacities": (opacities, (count,)),
        "view": (view, (4, 4)),
        "intrinsics": (intrinsics, (3, 3)),
    }
    if screen_offsets is not None:
        expected["screen_offsets"] = (screen_offsets, (count, 2))
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")
    if features.ndim != 2 or features.shape[0] != count:
        raise ValueError(f"features has shape {tuple(features.shape)}, expected ({count}, C)")
    if view.requires_grad or intrinsics.requires_grad:
        raise ValueError("the camera has no gradient: move the Gaussians instead")


__all__ = ["Implementation", "RasterOutput", "rasterize"]
