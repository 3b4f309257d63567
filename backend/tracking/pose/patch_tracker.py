"""A textured surface seen from a fixed view: unwraps frames onto it and says where each of its patches really lies.

This is what steadies poses: landmarks of single frames tremble by about a pixel, the clip's mean texture does not.
Patches are followed by pyramidal Lucas–Kanade from the mean texture to the unwrapped frame and back.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
Picture = NDArray[np.uint8]

CELL = 4  # pixels between the nodes at which the surface is projected; in between it is interpolated
PATCH = 17  # side of the patches that are followed, pixels
FARTHEST, LEVELS = 4.0, 1  # pixels a patch is followed, and halvings of the picture in which it is looked for first
ROUND_TRIP = 0.4  # pixels by which forward and backward may disagree


class Surface:
    """Points of a surface on the pixel grid of one view.

    Attributes:
        weight: (H, W) how rigid and reliable the surface is at each pixel; 0 where there is none.
        samples: (S, 2) integer x, y of the pixels that are followed.
        sharpness: (S, 2, 2) square root of what the texture tells about a shift of each sample, 0–1: an edge tells
            of shifts across it only.
    """

    def __init__(self, weight: F32, spacing: int) -> None:
        self.weight = weight
        offset = spacing // 2
        grid = np.zeros_like(weight, bool)
        grid[offset::spacing, offset::spacing] = True
        y, x = np.nonzero(grid & (weight > 0.05))
        self.samples = np.stack([x, y], 1)
        self.sharpness = np.tile(np.eye(2), (len(x), 1, 1))
        self._texture: Picture = np.zeros(weight.shape, np.uint8)
        self._side = 0

    @property
    def sample_weight(self) -> F64:
        """(S,) weights of the samples."""
        return self.weight[self.samples[:, 1], self.samples[:, 0]].astype(np.float64)

    def unwrap(self, frame: Picture, where: F32) -> Picture:
        """The frame seen through the surface's view; `where` (H, W, 2) gives the frame's pixel for each view pixel."""
        return cv2.remap(frame, where - 0.5, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def learn_texture(self, unwrapped: Iterable[Picture], farthest: float = FARTHEST) -> Picture:
        """Takes the mean of unwrapped frames as what is looked for: texture (H, W, 3).

        Args:
            farthest: pixels that patches will be followed; contrast is evened out over more than that.
        """
        total, count = np.zeros((*self.weight.shape, 3), np.float32), 0
        for picture in unwrapped:
            total += picture
            count += 1
        texture = np.rint(total / count).astype(np.uint8)
        self._side = max(9, *(v // 8 for v in texture.shape[:2]), round(2 * farthest)) | 1
        self._texture = even_grey(texture, self._side)
        self.sharpness = _sharpness(self._texture, self.samples)
        return texture

    def observe(self, frame: Picture, where: F32, farthest: float = FARTHEST, levels: int = LEVELS) -> tuple[F32, F32]:
        """Where the samples of the surface are seen in the frame: pixels (S, 2), and trust (S,) 0–1."""
        seen = even_grey(self.unwrap(frame, where), self._side)
        start = self.samples.astype(np.float32)[:, None]
        landed, found = _follow(self._texture, seen, start, start, levels)
        back, returned = _follow(seen, self._texture, landed, start, levels)
        error = np.linalg.norm(back - start, axis=-1)[:, 0]
        step = np.linalg.norm(landed - start, axis=-1)[:, 0]
        trust = np.exp(-((error / ROUND_TRIP) ** 2) - (step / farthest) ** 4) * found * returned
        pixels = cv2.remap(where, landed[:, 0][None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        return pixels.astype(np.float32), trust.astype(np.float32)


def _follow(a: Picture, b: Picture, points: F32, start: F32, levels: int) -> tuple[F32, NDArray[np.bool_]]:
    """Where points (S, 1, 2) of `a` lie in `b`, searched from `start`, and whether they were found (S,)."""
    landed, found, _ = cv2.calcOpticalFlowPyrLK(
        a, b, points, start.copy(), winSize=(PATCH, PATCH), maxLevel=levels,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 12, 0.01), flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )  # fmt: skip
    return landed.astype(np.float32), found[:, 0] > 0


def _sharpness(grey: Picture, samples: NDArray[np.int64]) -> F64:
    """(S, 2, 2) square roots of the patches' structure tensors, each eigenvalue against the noise that all have."""
    height, width = grey.shape
    found = cv2.cornerEigenValsAndVecs(grey.astype(np.float32) / 255, PATCH, 3)
    x, y = samples[:, 0].clip(0, width - 1), samples[:, 1].clip(0, height - 1)
    values, vectors = found[y, x, :2].astype(np.float64), found[y, x, 2:].reshape(-1, 2, 2).astype(np.float64)
    usual = float(np.median(values[:, 1])) + 1e-9  # of the weaker direction
    share = np.sqrt(values / (values + 2 * usual))
    return np.einsum("sk,ski,skj->sij", share, vectors, vectors)


def even_grey(picture: Picture, side: int) -> Picture:
    """Grey with its contrast evened out over `side` pixels, so that a change of light is no motion."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(grey, (side, side))
    spread = np.sqrt(np.maximum(cv2.blur(grey * grey, (side, side)) - mean * mean, 4.0))
    return np.clip(128 + 48 * (grey - mean) / spread, 0, 255).astype(np.uint8)


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
