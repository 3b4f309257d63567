"""A textured surface seen from a fixed view: unwraps frames onto it and says, by optical flow, where it really lies.

This is what steadies poses: landmarks of single frames tremble by about a pixel, the clip's mean texture does not.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
Picture = NDArray[np.uint8]
LEAST_SIDE = 32  # pixels of a picture given to the optical flow


class Surface:
    """Points of a surface on the pixel grid of one view.

    Attributes:
        weight: (H, W) how rigid and reliable the surface is at each pixel; 0 where there is none.
        samples: (S, 2) integer x, y of the pixels where poses are fitted.
    """

    def __init__(self, weight: F32, spacing: int) -> None:
        self.weight = weight
        offset = spacing // 2
        grid = np.zeros_like(weight, bool)
        grid[offset::spacing, offset::spacing] = True
        y, x = np.nonzero(grid & (weight > 0.05))
        self.samples = np.stack([x, y], 1)
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    @property
    def sample_weight(self) -> F64:
        """(S,) weights of the samples."""
        return self.weight[self.samples[:, 1], self.samples[:, 0]].astype(np.float64)

    def unwrap(self, frame: Picture, where: F32) -> Picture:
        """The frame seen through the surface's view; `where` (H, W, 2) gives the frame's pixel for each view pixel."""
        return cv2.remap(frame, where - 0.5, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def mean_texture(self, count: int, frame: Callable[[int], Picture], where: Callable[[int], F32]) -> Picture:
        """The mean (H, W, 3) of up to 120 unwrapped frames spread over the clip."""
        total = np.zeros((*self.weight.shape, 3), np.float64)
        chosen = np.unique(np.linspace(0, count - 1, min(count, 120)).astype(int))
        for t in chosen:
            total += self.unwrap(frame(int(t)), where(int(t)))
        return np.rint(total / len(chosen)).astype(np.uint8)

    def observe(self, texture: Picture, frame: Picture, where: F32) -> tuple[F64, F64]:
        """Where the samples of the surface are seen in the frame.

        Returns:
            pixels (S, 2) in the frame, and confidence (S,) 0–1 from the flow's forward–backward agreement.
        """
        seen = self.unwrap(frame, where)
        a, b = _grey(texture, self.weight), _grey(seen, self.weight)
        forward, backward = self._motion(a, b), self._motion(b, a)
        x, y = self.samples[:, 0], self.samples[:, 1]
        step = forward[y, x]
        landed = self.samples.astype(np.float32) + step
        back = _look(backward, landed)
        error = np.linalg.norm(step + back, axis=1)
        pixels = _look(where, landed)
        return pixels.astype(np.float64), np.exp(-((error / 0.5) ** 2)).astype(np.float64)

    def _motion(self, a: Picture, b: Picture) -> F32:
        """(H, W, 2) optical flow from `a` to `b`. Narrow pictures are padded: OpenCV's flow crashes below 16 pixels."""
        height, width = a.shape
        below, beside = max(0, LEAST_SIDE - height), max(0, LEAST_SIDE - width)
        a, b = (cv2.copyMakeBorder(p, 0, below, 0, beside, cv2.BORDER_REPLICATE) for p in (a, b))
        return self._flow.calc(a, b, None)[:height, :width]


def _grey(picture: Picture, weight: F32) -> Picture:
    """Grey with local contrast evened out, so that a change of light is no motion."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    sigma = max(picture.shape) / 16
    mean = cv2.GaussianBlur(grey, (0, 0), sigma)
    spread = np.sqrt(np.maximum(cv2.GaussianBlur((grey - mean) ** 2, (0, 0), sigma), 4.0))
    even = 128 + 48 * (grey - mean) / spread
    return np.clip(even * np.where(weight > 0, 1, 0.999), 0, 255).astype(np.uint8)


def _look(field: F32, at: F32) -> F32:
    """The field (H, W, 2) at positions (S, 2), bilinear."""
    at = np.ascontiguousarray(at[None], np.float32)
    return cv2.remap(field, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]


def rasterise(pixels: F64, triangles: NDArray[np.int32], depth: F64, size: int) -> tuple[NDArray[np.int32], F32]:
    """Which triangle covers each pixel centre of a `size`² view, nearest first, and its barycentric coordinates.

    Args:
        pixels: (V, 2). triangles: (F, 3). depth: (V,) larger is farther.

    Returns:
        face (H, W), −1 where there is none, and weights (H, W, 3).
    """
    face = np.full((size, size), -1, np.int32)
    weights = np.zeros((size, size, 3), np.float32)
    order = np.argsort(-depth[triangles].mean(1), kind="stable")  # far to near: the nearer one overwrites
    for f in order:
        a, b, c = pixels[triangles[f]]
        x0, y0 = np.floor(np.minimum(np.minimum(a, b), c) - 0.5).astype(int).clip(0)
        x1, y1 = np.ceil(np.maximum(np.maximum(a, b), c) + 0.5).astype(int).clip(None, size)
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if x1 <= x0 or y1 <= y0 or abs(area) < 1e-9:
            continue
        px, py = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
        v = ((px - a[0]) * (c[1] - a[1]) - (py - a[1]) * (c[0] - a[0])) / area
        w = ((b[0] - a[0]) * (py - a[1]) - (b[1] - a[1]) * (px - a[0])) / area
        inside = (v >= -1e-6) & (w >= -1e-6) & (v + w <= 1 + 1e-6)
        block = (slice(y0, y1), slice(x0, x1))
        face[block][inside] = f
        weights[block][inside] = np.stack([1 - v - w, v, w], -1)[inside]
    return face, weights
