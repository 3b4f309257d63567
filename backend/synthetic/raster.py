"""A small triangle rasterizer on the CPU: z-buffer, supersampling, one atlas texture, light interpolated per vertex.

It draws the synthetic actor only. `find_visible_triangles` finds the nearest triangle of every subsample, then
`shade_pixels` looks up texture and light there and averages the subsamples into pixels. Both work on rows in parallel,
and each subsample is written by one thread alone, so the image does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from ..compute.kernels import kernel
from ..contract.arrays import F32, I32, U8

BAND_COUNT = 32  # bands of rows that are worked on in parallel; more than the cores of usual machines
MIN_TRIANGLE_AREA = 1e-12  # squared subsamples; a smaller triangle covers nothing


@kernel(exact=True, parallel=True)
def _row_ranges(screen: F32, faces: I32, height: int, width: int) -> I32:
    """(F, 2) first and last row of subsamples that each triangle could cover; first > last where it covers none."""
    rows = np.empty((len(faces), 2), np.int32)
    for f in prange(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        first = np.ceil(min(screen[a, 1], screen[b, 1], screen[c, 1]) - 0.5)
        last = np.floor(max(screen[a, 1], screen[b, 1], screen[c, 1]) - 0.5)
        left = np.ceil(min(screen[a, 0], screen[b, 0], screen[c, 0]) - 0.5)
        right = np.floor(max(screen[a, 0], screen[b, 0], screen[c, 0]) - 0.5)
        if left > right or right < 0 or left >= width:
            rows[f, 0], rows[f, 1] = 1, 0
        else:
            rows[f, 0], rows[f, 1] = max(first, 0), min(last, height - 1)
    return rows


@kernel(exact=True, parallel=True)
def find_visible_triangles(screen: F32, faces: I32, height: int, width: int) -> tuple[I32, F32]:
    """Find the nearest triangle at every subsample.

    Args:
        screen: (V, 3) x, y in subsamples (centres at +0.5) and camera depth z > 0 in metres.
        faces: (F, 3) vertex indices; both sides are drawn.
        height: of the supersampled image.
        width: of the supersampled image.

    Returns:
        (H, W) triangle index, −1 where there is none; (H, W) inverse depth in 1/metres, 0 where there is none.
    """
    ids = np.full((height, width), -1, np.int32)
    inverse_depth = np.zeros((height, width), np.float32)
    rows = _row_ranges(screen, faces, height, width)
    for band in prange(BAND_COUNT):
        top, bottom = band * height // BAND_COUNT, (band + 1) * height // BAND_COUNT
        for f in range(len(faces)):
            first, last = max(top, rows[f, 0]), min(bottom - 1, rows[f, 1])
            if first > last:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, bx, by, cx, cy = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            if abs(area) < MIN_TRIANGLE_AREA:
                continue
            left = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
            right = min(width - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
            inverse = 1.0 / area
            az = 1.0 / screen[a, 2]
            bz, cz = 1.0 / screen[b, 2] - az, 1.0 / screen[c, 2] - az
            # Weights of b and c at the left end of the first row, and their steps along x and y.
            bx_step, by_step = (cy - ay) * inverse, (ax - cx) * inverse
            cx_step, cy_step = (ay - by) * inverse, (bx - ax) * inverse
            px, py = left + 0.5 - ax, first + 0.5 - ay
            b_row, c_row = px * bx_step + py * by_step, px * cx_step + py * cy_step
            nearness_step = bx_step * bz + cx_step * cz  # inverse depth is linear on the screen
            for y in range(first, last + 1):
                wb, wc = b_row, c_row
                nearness = az + wb * bz + wc * cz
                for x in range(left, right + 1):
                    if wb >= 0.0 and wc >= 0.0 and wb + wc <= 1.0 and nearness > inverse_depth[y, x]:
                        inverse_depth[y, x] = nearness
                        ids[y, x] = f
                    wb += bx_step
                    wc += cx_step
                    nearness += nearness_step
                b_row += by_step
                c_row += cy_step
    return ids, inverse_depth


@kernel(exact=True, inline="always")
def _sample_texture(atlas: U8, srgb_to_linear: F32, u: float, v: float, out: F32) -> None:
    """Bilinear look-up in linear light; u, v in texels."""
    u, v = u - 0.5, v - 0.5
    x, y = int(np.floor(u)), int(np.floor(v))
    fx, fy = u - x, v - y
    x0, y0 = min(max(x, 0), atlas.shape[1] - 1), min(max(y, 0), atlas.shape[0] - 1)
    x1, y1 = min(max(x + 1, 0), atlas.shape[1] - 1), min(max(y + 1, 0), atlas.shape[0] - 1)
    for k in range(3):
        upper = srgb_to_linear[atlas[y0, x0, k]] * (1 - fx) + srgb_to_linear[atlas[y0, x1, k]] * fx
        lower = srgb_to_linear[atlas[y1, x0, k]] * (1 - fx) + srgb_to_linear[atlas[y1, x1, k]] * fx
        out[k] = upper * (1 - fy) + lower * fy


@kernel(exact=True, parallel=True)
def shade_pixels(
    triangle_ids: I32,
    inverse_depth: F32,
    screen: F32,
    faces: I32,
    uv: F32,
    irradiance: F32,
    specular: F32,
    atlas: U8,
    srgb_to_linear: F32,
    plate: F32,
    regions: U8,
    region_count: int,
    subsamples: int,
) -> tuple[F32, F32, F32]:
    """Shade the visible triangles and average the subsamples into pixels.

    Args:
        triangle_ids: (H·subsamples, W·subsamples) from `find_visible_triangles`.
        inverse_depth: the same.
        screen: (V, 3) as there.
        faces: (F, 3) as there.
        uv: (V, 2) texels of the atlas.
        irradiance: (V, 3) linear light that multiplies the texture.
        specular: (V,) linear highlight on top of it.
        atlas: (Y, X, 3) display sRGB.
        srgb_to_linear: (256,) linear light of the sRGB codes.
        plate: (H, W, 3) linear background.
        regions: (F,) region of each triangle, less than `region_count`.
        region_count: R.
        subsamples: subsamples per pixel and axis.

    Returns:
        (H, W, 3) linear image; (R, H, W) coverage 0–1 of each region; (H, W) depth times coverage, metres.
    """
    height, width = plate.shape[0], plate.shape[1]
    image = np.empty((height, width, 3), np.float32)
    mattes = np.zeros((region_count, height, width), np.float32)
    depth = np.zeros((height, width), np.float32)
    part = np.float32(1.0 / (subsamples * subsamples))
    for y in prange(height):
        texel = np.empty(3, np.float32)
        for x in range(width):
            empty = 0
            r = g = b = np.float32(0.0)
            for sy in range(y * subsamples, (y + 1) * subsamples):
                for sx in range(x * subsamples, (x + 1) * subsamples):
                    f = triangle_ids[sy, sx]
                    if f < 0:
                        empty += 1
                        continue
                    i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                    ax, ay = screen[i, 0], screen[i, 1]
                    ex, ey = screen[j, 0] - ax, screen[j, 1] - ay
                    gx, gy = screen[k, 0] - ax, screen[k, 1] - ay
                    px, py = sx + 0.5 - ax, sy + 0.5 - ay
                    inverse = 1.0 / (ex * gy - ey * gx)
                    wj = (px * gy - py * gx) * inverse
                    wk = (ex * py - ey * px) * inverse
                    wi = 1.0 - wj - wk
                    _sample_texture(
                        atlas, srgb_to_linear,
                        wi * uv[i, 0] + wj * uv[j, 0] + wk * uv[k, 0],
                        wi * uv[i, 1] + wj * uv[j, 1] + wk * uv[k, 1],
                        texel,
                    )  # fmt: skip
                    shine = wi * specular[i] + wj * specular[j] + wk * specular[k]
                    r += texel[0] * (wi * irradiance[i, 0] + wj * irradiance[j, 0] + wk * irradiance[k, 0]) + shine
                    g += texel[1] * (wi * irradiance[i, 1] + wj * irradiance[j, 1] + wk * irradiance[k, 1]) + shine
                    b += texel[2] * (wi * irradiance[i, 2] + wj * irradiance[j, 2] + wk * irradiance[k, 2]) + shine
                    mattes[regions[f], y, x] += part
                    depth[y, x] += part / inverse_depth[sy, sx]
            rest = empty * part
            image[y, x, 0] = r * part + rest * plate[y, x, 0]
            image[y, x, 1] = g * part + rest * plate[y, x, 1]
            image[y, x, 2] = b * part + rest * plate[y, x, 2]
    return image, mattes, depth


@kernel(exact=True)
def vertex_normals(vertices: F32, faces: I32) -> F32:
    """(V, 3) unit normals: sum of the area-weighted normals of the faces around each vertex."""
    normals = np.zeros_like(vertices)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ex, ey, ez = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        gx, gy, gz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = ey * gz - ez * gy, ez * gx - ex * gz, ex * gy - ey * gx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(len(normals)):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        if length > 0:
            normals[v] /= length
    return normals
