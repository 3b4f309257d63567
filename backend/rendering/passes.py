"""What one rendered frame holds for the compositor, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

    from ..portrait.model import Frame

Plane = NDArray[np.float32]

FAR = 1e10  # metres where there is nothing, as Blender writes it
VISIBLE = 1 / 1024  # alpha below which a depth is not trusted
TINY = 1e-6  # alpha below which there is no colour; keeps the division finite
MATTES = ("Head", "Hair", "Mouth", "Torso")


@dataclass
class Passes:
    """One frame.

    Attributes:
        color: (H, W, 3) display-referred sRGB 0–1, *not* multiplied by alpha; 0 where there is nothing.
        alpha: (H, W) coverage 0–1.
        depth: (H, W) metres along the camera's axis, `FAR` where there is nothing.
        mattes: (H, W) coverage 0–1 per name of `MATTES`. "Head" holds face, hair and mouth; Head + Torso = alpha.
            Empty when the frame was drawn without them; then the depth is `FAR` everywhere.
        vectors: (H, W, 4) see `vectors.py`; None when they were not asked for.
    """

    color: Plane
    alpha: Plane
    depth: Plane
    mattes: dict[str, Plane]
    vectors: Plane | None = None

    def over(self, background: Plane) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 of the actor over a display-referred background, mixed as in training: in display values."""
        cover: Plane = self.alpha[..., None]
        return whole_numbers(self.color * cover + background * (1 - cover), 255).astype(np.uint8)

    def linear(self) -> Plane:
        """(H, W, 4) scene-linear Rec.709, premultiplied."""
        return np.concatenate([srgb_to_linear(self.color) * self.alpha[..., None], self.alpha[..., None]], axis=-1)

    def placed(self, width: int, height: int, left: int, top: int) -> Passes:
        """These passes as a part of a larger, otherwise empty picture."""

        def place(plane: Plane, empty: float = 0) -> Plane:
            whole = np.full((height, width, *plane.shape[2:]), empty, np.float32)
            whole[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
            return whole

        return Passes(
            place(self.color), place(self.alpha), place(self.depth, FAR),
            {name: place(matte) for name, matte in self.mattes.items()},
            None if self.vectors is None else place(self.vectors),
        )  # fmt: skip


class Exposure:
    """What the open shutter gathers: premultiplied scene-linear colour, alpha and mattes are averaged, the depth is
    that of the nearest moment, so that a merge by depth keeps all of a blurred edge."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._light: Plane | None = None
        self._depth: Plane
        self._mattes: dict[str, Plane]

    def add(self, passes: Passes, weight: float) -> None:
        """Gathers one moment."""
        light = passes.linear() * np.float32(weight)
        mattes = {name: matte * np.float32(weight) for name, matte in passes.mattes.items()}
        self._weight += weight
        if self._light is None:
            self._light, self._depth, self._mattes = light, passes.depth, mattes
            return
        self._light += light
        self._depth = np.minimum(self._depth, passes.depth)
        for name, matte in mattes.items():
            self._mattes[name] += matte

    def passes(self) -> Passes:
        """The mean over all that was gathered."""
        assert self._light is not None, "nothing was gathered"
        light = self._light / np.float32(self._weight)
        alpha = np.ascontiguousarray(light[..., 3])
        color = linear_to_srgb((light[..., :3] / np.maximum(alpha, TINY)[..., None]).clip(0, 1))
        mattes = {name: matte / np.float32(self._weight) for name, matte in self._mattes.items()}
        return Passes(color, alpha, self._depth, mattes)


def passes_of(frame: Frame) -> Passes:
    """The passes of what `Portrait.render` gives: everything there is premultiplied and in torch."""
    import torch

    alpha = frame.alpha.clamp(0, 1)
    drawn = frame.mattes.shape[:2] == alpha.shape
    depth = torch.full_like(alpha, FAR)
    if drawn:
        depth = torch.where(alpha > VISIBLE, frame.depth / alpha.clamp_min(VISIBLE), FAR)
    face, hair, mouth, torso = frame.mattes.clamp(0, 1).unbind(-1)
    planes = ((face + hair + mouth).clamp(max=1), hair, mouth, torso)
    return Passes(
        color=_array(straight(frame)),
        alpha=_array(alpha),
        depth=_array(depth),
        mattes={name: _array(plane) for name, plane in zip(MATTES, planes, strict=True)} if drawn else {},
    )


def straight(frame: Frame) -> Tensor:
    """(H, W, 3) display sRGB 0–1 of a frame, freed from its alpha; 0 where there is nothing."""
    return (frame.rgb / frame.alpha.clamp_min(TINY)[..., None]).clamp(0, 1)


def preview_bytes(frame: Frame) -> NDArray[np.uint8]:
    """(H, W, 4) uint8 display sRGB with straight alpha."""
    import torch

    rgba = torch.cat([straight(frame), frame.alpha.clamp(0, 1)[..., None]], -1)
    picture: NDArray[np.uint8] = np.ascontiguousarray((rgba * 255 + 0.5).to(torch.uint8).cpu().numpy())
    return picture


def _array(values: Tensor) -> Plane:
    return np.ascontiguousarray(values.detach().float().cpu().numpy())


def srgb_to_linear(display: Plane) -> Plane:
    """IEC 61966-2-1: display values 0–1 to light, same primaries."""
    low = display <= 0.04045
    return np.where(low, display / 12.92, ((display + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(light: Plane) -> Plane:
    """The inverse of `srgb_to_linear`."""
    low = light <= 0.0031308
    return np.where(low, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055).astype(np.float32)


def whole_numbers(values: Plane, top: int) -> Plane:
    """Values 0–1 as whole numbers from 0 to `top`."""
    rounded: Plane = np.rint(np.clip(values, 0, 1) * np.float32(top))
    return rounded
