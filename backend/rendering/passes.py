"""The render passes of one frame as numpy arrays, and motion blur over several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..contract.arrays import F32, U8
from ..media.srgb import linear_from_srgb, srgb_from_linear

if TYPE_CHECKING:
    from torch import Tensor

    from ..portrait.model import RenderedFrame


EMPTY_DEPTH_METERS = 1e10  # depth of empty pixels, as Blender writes it
MIN_DEPTH_ALPHA = 1 / 1024  # alpha below which depth is empty; smaller keeps noisy depths of nearly empty pixels
MIN_COLOR_ALPHA = 1e-6  # lower limit of the alpha that colour is divided by; keeps the quotient finite
MATTE_NAMES = ("Head", "Hair", "Mouth", "Torso")


@dataclass
class Passes:
    """The passes of one frame.

    Attributes:
        color: (H, W, 3) display-referred sRGB 0–1, *not* multiplied by alpha; 0 in empty pixels.
        alpha: (H, W) coverage 0–1.
        depth: (H, W) metres along the camera's axis, `EMPTY_DEPTH_METERS` in empty pixels.
        mattes: (H, W) coverage 0–1 per name of `MATTE_NAMES`. "Head" contains face, hair and mouth; Head + Torso =
            alpha. Empty if the frame was rendered without mattes; then no pixel has a depth.
        vectors: (H, W, 4) pixels, see `vectors.py`; None without the Vector pass.
    """

    color: F32
    alpha: F32
    depth: F32
    mattes: dict[str, F32]
    vectors: F32 | None = None

    def composite_over(self, background: F32) -> U8:
        """Composite over a display-referred (H, W, 3) background in display values, as in training; (H, W, 3) uint8."""
        alpha: F32 = self.alpha[..., None]
        return quantize(self.color * alpha + background * (1 - alpha), 255).astype(np.uint8)

    def to_scene_linear(self) -> F32:
        """Return the (H, W, 4) scene-linear, premultiplied Rec.709 image."""
        return np.concatenate([linear_from_srgb(self.color) * self.alpha[..., None], self.alpha[..., None]], axis=-1)

    def expand_to_frame(self, width: int, height: int, left: int, top: int) -> Passes:
        """Return these passes as a part of a larger, otherwise empty frame."""

        def expand(plane: F32, empty_value: float = 0) -> F32:
            frame = np.full((height, width, *plane.shape[2:]), empty_value, np.float32)
            frame[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
            return frame

        return Passes(
            expand(self.color), expand(self.alpha), expand(self.depth, EMPTY_DEPTH_METERS),
            {name: expand(matte) for name, matte in self.mattes.items()},
            None if self.vectors is None else expand(self.vectors),
        )  # fmt: skip


class ShutterAccumulator:
    """Accumulates the moments of an open shutter.

    Premultiplied scene-linear colour, alpha and mattes are averaged. The depth is that of the nearest moment, so that a
    merge by depth keeps all of a blurred edge.
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._color_sum: F32 | None = None
        self._min_depth: F32
        self._matte_sums: dict[str, F32]

    def add_moment(self, passes: Passes, weight: float) -> None:
        """Add a moment; its weight is the number of identical moments that it stands for."""
        light = passes.to_scene_linear() * np.float32(weight)
        mattes = {name: matte * np.float32(weight) for name, matte in passes.mattes.items()}
        self._weight += weight
        if self._color_sum is None:
            self._color_sum, self._min_depth, self._matte_sums = light, passes.depth, mattes
            return
        self._color_sum += light
        self._min_depth = np.minimum(self._min_depth, passes.depth)
        for name, matte in mattes.items():
            self._matte_sums[name] += matte

    def average_passes(self) -> Passes:
        """Return the mean of all added moments."""
        assert self._color_sum is not None, "no moment was added"
        light = self._color_sum / np.float32(self._weight)
        alpha = np.ascontiguousarray(light[..., 3])
        color = srgb_from_linear(light[..., :3] / np.maximum(alpha, MIN_COLOR_ALPHA)[..., None])
        mattes = {name: matte / np.float32(self._weight) for name, matte in self._matte_sums.items()}
        return Passes(color, alpha, self._min_depth, mattes)


def passes_from_frame(frame: RenderedFrame) -> Passes:
    """Convert the premultiplied tensors of `Portrait.render` to passes."""
    import torch

    alpha = frame.alpha.clamp(0, 1)
    has_mattes = frame.mattes.shape[:2] == alpha.shape
    depth = torch.full_like(alpha, EMPTY_DEPTH_METERS)
    if has_mattes:
        depth = torch.where(alpha > MIN_DEPTH_ALPHA, frame.depth / alpha.clamp_min(MIN_DEPTH_ALPHA), EMPTY_DEPTH_METERS)
    face, hair, mouth, torso = frame.mattes.clamp(0, 1).unbind(-1)
    planes = ((face + hair + mouth).clamp(max=1), hair, mouth, torso)
    return Passes(
        color=_to_numpy(unpremultiply_color(frame)),
        alpha=_to_numpy(alpha),
        depth=_to_numpy(depth),
        mattes={name: _to_numpy(plane) for name, plane in zip(MATTE_NAMES, planes, strict=True)} if has_mattes else {},
    )


def unpremultiply_color(frame: RenderedFrame) -> Tensor:
    """Return the (H, W, 3) display sRGB 0–1 of a frame, divided by alpha; 0 in empty pixels."""
    return (frame.rgb / frame.alpha.clamp_min(MIN_COLOR_ALPHA)[..., None]).clamp(0, 1)


def preview_image(frame: RenderedFrame) -> U8:
    """Return (H, W, 4) uint8 display sRGB with straight alpha."""
    import torch

    rgba = torch.cat([unpremultiply_color(frame), frame.alpha.clamp(0, 1)[..., None]], -1)
    image: U8 = np.ascontiguousarray((rgba * 255 + 0.5).to(torch.uint8).cpu().numpy())
    return image


def _to_numpy(values: Tensor) -> F32:
    return np.ascontiguousarray(values.detach().float().cpu().numpy())


def quantize(values: F32, max_value: int) -> F32:
    """Round values 0–1 to whole numbers from 0 to `max_value`."""
    rounded: F32 = np.rint(np.clip(values, 0, 1) * np.float32(max_value))
    return rounded
