"""A software rasteriser for the few hundred triangles of the face mesh."""

from __future__ import annotations

import numpy as np

from ...contract.arrays import F32, F64, I32

EDGE_TOLERANCE = 1e-6  # in barycentric coordinates, so that no pixel on a shared edge stays empty
MIN_AREA = 1e-9  # pixels²: thinner triangles are seen from the side and cover nothing


def rasterize_triangles(pixels: F64, triangles: I32, depth: F64, size: int) -> tuple[I32, F32]:
    """Find the nearest triangle at each pixel centre of a `size`² view.

    Args:
        pixels: (V, 2) vertices in the view.
        triangles: (F, 3).
        depth: (V,) larger is farther.
        size: of the view, pixels.

    Returns:
        Triangle (size, size), −1 where there is none, and its barycentric coordinates (size, size, 3).
    """
    face = np.full((size, size), -1, np.int32)
    weights = np.zeros((size, size, 3), np.float32)
    order = np.argsort(-depth[triangles].mean(1), kind="stable")  # far to near: the nearer one overwrites
    for f in order:
        a, b, c = pixels[triangles[f]]
        x0, y0 = np.floor(np.minimum(np.minimum(a, b), c) - 0.5).astype(int).clip(0)
        x1, y1 = np.ceil(np.maximum(np.maximum(a, b), c) + 0.5).astype(int).clip(None, size)
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if x1 <= x0 or y1 <= y0 or abs(area) < MIN_AREA:
            continue
        px, py = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
        v = ((px - a[0]) * (c[1] - a[1]) - (py - a[1]) * (c[0] - a[0])) / area
        w = ((b[0] - a[0]) * (py - a[1]) - (b[1] - a[1]) * (px - a[0])) / area
        inside = (v >= -EDGE_TOLERANCE) & (w >= -EDGE_TOLERANCE) & (v + w <= 1 + EDGE_TOLERANCE)
        block = (slice(y0, y1), slice(x0, x1))
        face[block][inside] = f
        weights[block][inside] = np.stack([1 - v - w, v, w], -1)[inside]
    return face, weights
