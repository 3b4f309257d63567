"""The parameter objects of the rasteriser: Gaussians, a camera, and what it sees."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..contract.camera import CameraPath

Implementation = Literal["cpu", "cuda", "reference"]


class Gaussians(NamedTuple):
    """3D Gaussians in world space.

    Attributes:
        means: (N, 3) centres, world units (metres).
        quats: (N, 4) rotations wxyz, of any length.
        scales: (N, 3) standard deviations along the rotated axes, world units. Zero is allowed.
        opacities: (N,) in 0–1.
        colors: (N, 3) display-referred sRGB. `rasterize` accepts any number of channels.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor


class CameraView(NamedTuple):
    """A camera at one moment, and the size of its image.

    Attributes:
        view: (4, 4) world → OpenCV camera. Its 3×3 part may carry a scale; depth is then in scaled units.
        intrinsics: (3, 3) in pixels, no skew; pixel centres lie at +0.5.
        width: width of the image, pixels.
        height: height of the image, pixels.
    """

    view: Tensor
    intrinsics: Tensor
    width: int
    height: int

    @classmethod
    def from_path(cls, path: CameraPath, frame_number: int, device: torch.device) -> CameraView:
        """Return the camera of a path at a frame number, in float32 on `device`.

        Raises:
            UserError: the camera moves and has no entry for that frame.
        """
        view, intrinsics = (
            torch.as_tensor(np.asarray(matrix, np.float32)).to(device) for matrix in path.matrices_at(frame_number)
        )
        return cls(view, intrinsics, path.width, path.height)


class RasterOutput(NamedTuple):
    """An image of Gaussians, premultiplied. The tensors may be views with any strides.

    Attributes:
        features: (H, W, C) Σ w·f with w = alpha · transmittance.
        alpha: (H, W) in 0–1: Σ w.
        depth: (H, W) Σ w·z with the camera's z; (0, 0) without depth.
    """

    features: Tensor
    alpha: Tensor
    depth: Tensor
