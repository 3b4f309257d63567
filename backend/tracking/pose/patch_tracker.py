"""A textured surface seen from a fixed view: unwraps frames onto it and says where each of its patches really lies.

This is what steadies poses: landmarks of single frames tremble by about a pixel, the clip's mean texture does not.
Patches are followed by pyramidal Lucas–Kanade from the mean texture to the unwrapped frame and back.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from ...contract.arrays import F32, F64, I32, I64, Image, Mask

NODE_SPACING = 4  # pixels between the nodes at which the surface is projected; in between it is interpolated
PATCH_SIZE = 17  # side of the patches that are followed, pixels
MAX_DISPLACEMENT_PIXELS, PYRAMID_LEVELS = (
    4.0,
    1,
)  # pixels a patch is followed, and halvings of the picture in which it is looked for first
ROUND_TRIP_TOLERANCE_PIXELS = 0.4  # pixels by which forward and backward may disagree


class PatchTracker:
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
        self.sqrt_information = np.tile(np.eye(2), (len(x), 1, 1))
        self._texture: Image = np.zeros(weight.shape, np.uint8)
        self._normalization_window = 0

    @property
    def sample_weight(self) -> F64:
        """(S,) weights of the samples."""
        return self.weight[self.samples[:, 1], self.samples[:, 0]].astype(np.float64)

    def unwrap_frame(self, frame: Image, warp_map: F32) -> Image:
        """The frame seen through the surface's view; `where` (H, W, 2) gives the frame's pixel for each view pixel."""
        return cv2.remap(frame, warp_map - 0.5, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def learn_texture(
        self, unwrapped_frames: Iterable[Image], max_displacement: float = MAX_DISPLACEMENT_PIXELS
    ) -> Image:
        """Takes the mean of unwrapped frames as what is looked for: texture (H, W, 3).

        Args:
            farthest: pixels that patches will be followed; contrast is evened out over more than that.
        """
        total, count = np.zeros((*self.weight.shape, 3), np.float32), 0
        for picture in unwrapped_frames:
            total += picture
            count += 1
        texture = np.rint(total / count).astype(np.uint8)
        self._normalization_window = max(9, *(v // 8 for v in texture.shape[:2]), round(2 * max_displacement)) | 1
        self._texture = normalize_contrast(texture, self._normalization_window)
        self.sqrt_information = _sqrt_information(self._texture, self.samples)
        return texture

    def track_samples(
        self,
        frame: Image,
        warp_map: F32,
        max_displacement: float = MAX_DISPLACEMENT_PIXELS,
        pyramid_levels: int = PYRAMID_LEVELS,
    ) -> tuple[F32, F32]:
        """Where the samples of the surface are seen in the frame: pixels (S, 2), and trust (S,) 0–1."""
        seen = normalize_contrast(self.unwrap_frame(frame, warp_map), self._normalization_window)
        start = self.samples.astype(np.float32)[:, None]
        landed, found = _track_points(self._texture, seen, start, start, pyramid_levels)
        back, returned = _track_points(seen, self._texture, landed, start, pyramid_levels)
        error = np.linalg.norm(back - start, axis=-1)[:, 0]
        step = np.linalg.norm(landed - start, axis=-1)[:, 0]
        trust = (
            np.exp(-((error / ROUND_TRIP_TOLERANCE_PIXELS) ** 2) - (step / max_displacement) ** 4) * found * returned
        )
        pixels = cv2.remap(warp_map, landed[:, 0][None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        return pixels.astype(np.float32), trust.astype(np.float32)


def _track_points(
    source: Image, target: Image, points: F32, initial_points: F32, pyramid_levels: int
) -> tuple[F32, Mask]:
    """Where points (S, 1, 2) of `a` lie in `b`, searched from `start`, and whether they were found (S,)."""
    landed, found, _ = cv2.calcOpticalFlowPyrLK(
        source, target, points, initial_points.copy(), winSize=(PATCH_SIZE, PATCH_SIZE), maxLevel=pyramid_levels,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 12, 0.01), flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )  # fmt: skip
    return landed.astype(np.float32), found[:, 0] > 0


def _sqrt_information(gray: Image, samples: I64) -> F64:
    """(S, 2, 2) square roots of the patches' structure tensors, each eigenvalue against the noise that all have."""
    height, width = gray.shape
    found = cv2.cornerEigenValsAndVecs(gray.astype(np.float32) / 255, PATCH_SIZE, 3)
    x, y = samples[:, 0].clip(0, width - 1), samples[:, 1].clip(0, height - 1)
    values, vectors = found[y, x, :2].astype(np.float64), found[y, x, 2:].reshape(-1, 2, 2).astype(np.float64)
    usual = float(np.median(values[:, 1])) + 1e-9  # of the weaker direction
    share = np.sqrt(values / (values + 2 * usual))
    return np.einsum("sk,ski,skj->sij", share, vectors, vectors)


def normalize_contrast(image: Image, window: int) -> Image:
    """Grey with its contrast evened out over `side` pixels, so that a change of light is no motion."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(grey, (window, window))
    spread = np.sqrt(np.maximum(cv2.blur(grey * grey, (window, window)) - mean * mean, 4.0))
    return np.clip(128 + 48 * (grey - mean) / spread, 0, 255).astype(np.uint8)


def rasterize_triangles(pixels: F64, triangles: I32, depth: F64, size: int) -> tuple[I32, F32]:
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
