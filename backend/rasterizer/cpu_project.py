"""The kernels that project Gaussians to the screen, and their gradient, in float64 without matrices in memory.

Names: A is the view's 3×3 part, R the rotation, S the scales, B = A R S, J the Jacobian of the perspective, M = J B.
The projected covariance is M Mᵀ + blur, and its determinant is taken from M by Cauchy and Binet, so that it stays
accurate (and positive) for needles and discs, where xx·yy - xy² cancels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..compute.kernels import kernel
from .constants import (
    MAX_SCREEN_VARIANCE,
    MIN_ALPHA,
    MIN_QUATERNION_NORM,
    NEAR_PLANE_METERS,
    SCREEN_BLUR_VARIANCE,
)

TILE_WIDTH = 8  # pixels: one vector of `simd`
TILE_HEIGHT = 32  # pixels; taller tiles share more Gaussians per list but leave the first-level cache. Not tuned.
CULLED_DEPTH = np.float32(np.inf)  # depth of a Gaussian that is not drawn

LOG_MIN_ALPHA = math.log(MIN_ALPHA)

# Columns of `projected`
X, Y, XX, XY, YY, PRECISION, LOG_OPACITY, DEPTH = range(8)
PROJECTED_COLUMNS = 8
MOMENT_COUNT = 6  # columns of `moments` before the features, see `cpu_tiles`

F64: Any = np.float64  # in a kernel, float() would leave a float32 as it is
Array = Any  # a numpy array in Python, a numba array inside a kernel
Vec3 = tuple[float, float, float]
Mat3 = tuple[Vec3, Vec3, Vec3]


@kernel
def _rotation_rows(w: float, x: float, y: float, z: float) -> Mat3:
    """Return the rows of the rotation matrix of a unit quaternion: numba cannot call `contract.geometry`."""
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )


@kernel
def _normalize_quaternion(quats: Array, i: int) -> tuple[float, float, float, float, float]:
    """Return quaternion i divided by its length, and the divisor."""
    w, x, y, z = F64(quats[i, 0]), F64(quats[i, 1]), F64(quats[i, 2]), F64(quats[i, 3])
    length = max(math.sqrt(w * w + x * x + y * y + z * z), MIN_QUATERNION_NORM)
    return w / length, x / length, y / length, z / length, length


@kernel
def _row_times_matrix(row: Vec3, matrix: Mat3) -> Vec3:
    (a, b, c), (m0, m1, m2) = row, matrix
    return (
        a * m0[0] + b * m1[0] + c * m2[0],
        a * m0[1] + b * m1[1] + c * m2[1],
        a * m0[2] + b * m1[2] + c * m2[2],
    )


@kernel
def _dot(a: Vec3, b: Vec3) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
def _add_scaled(a: Vec3, scale: float, b: Vec3) -> Vec3:
    return a[0] + scale * b[0], a[1] + scale * b[1], a[2] + scale * b[2]


@kernel
def _scale(a: Vec3, scale: float) -> Vec3:
    return a[0] * scale, a[1] * scale, a[2] * scale


@kernel
def _view_rows(camera: Array) -> Mat3:
    """Return the rows of A."""
    return (
        (camera[0, 0], camera[0, 1], camera[0, 2]),
        (camera[1, 0], camera[1, 1], camera[1, 2]),
        (camera[2, 0], camera[2, 1], camera[2, 2]),
    )


@kernel
def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@kernel
def project_gaussians(
    first: int,
    last: int,
    means: Array,
    quats: Array,
    scales: Array,
    opacities: Array,
    features: Array,
    screen_offsets: Array,
    camera: Array,
    lens: Array,
    width: int,
    height: int,
    projected: Array,
    depths: Array,
    boxes: Array,
) -> None:
    """Project Gaussians first … last.

    Args:
        first: index of the first Gaussian.
        last: index after the last one.
        means: (N, 3) centres.
        quats: (N, 4) rotations.
        scales: (N, 3) standard deviations.
        opacities: (N,) opacities.
        features: (N, C) features; a Gaussian with a feature that is not finite is not drawn.
        screen_offsets: (N, 2) pixels.
        camera: (3, 4) the view.
        lens: (8,) fx, fy, cx, cy and the limits of x/z and y/z inside the Jacobian.
        width: width of the image, pixels.
        height: height of the image, pixels.
        projected: (N, 8) the columns named above; written.
        depths: (N,) camera z, or CULLED_DEPTH; written.
        boxes: (N, 4) first and last tile column, first and last tile row of the bounding box of alpha ≥ MIN_ALPHA;
            written.
    """
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    view = _view_rows(camera)
    for i in range(first, last):
        depths[i] = CULLED_DEPTH
        mean = (F64(means[i, 0]), F64(means[i, 1]), F64(means[i, 2]))
        x, y, z = (
            _dot(view[0], mean) + camera[0, 3],
            _dot(view[1], mean) + camera[1, 3],
            _dot(view[2], mean) + camera[2, 3],
        )
        opacity = F64(opacities[i])
        if not (z >= NEAR_PLANE_METERS and opacity >= MIN_ALPHA and opacity < np.inf):
            continue
        w, qx, qy, qz, _ = _normalize_quaternion(quats, i)
        rotation = _rotation_rows(w, qx, qy, qz)
        sx, sy, sz = F64(scales[i, 0]), F64(scales[i, 1]), F64(scales[i, 2])
        b0, b1, b2 = (
            _row_times_matrix(view[0], rotation),
            _row_times_matrix(view[1], rotation),
            _row_times_matrix(view[2], rotation),
        )
        m0 = _scale(_add_scaled(b0, -_clamp(x / z, lens[4], lens[5]), b2), fx / z)
        m1 = _scale(_add_scaled(b1, -_clamp(y / z, lens[6], lens[7]), b2), fy / z)
        m0, m1 = (m0[0] * sx, m0[1] * sy, m0[2] * sz), (m1[0] * sx, m1[1] * sy, m1[2] * sz)
        xx, xy, yy = _dot(m0, m0), _dot(m0, m1), _dot(m1, m1)
        minors = (m0[0] * m1[1] - m0[1] * m1[0], m0[0] * m1[2] - m0[2] * m1[0], m0[1] * m1[2] - m0[2] * m1[1])
        determinant = (
            _dot(minors, minors) + SCREEN_BLUR_VARIANCE * (xx + yy) + SCREEN_BLUR_VARIANCE * SCREEN_BLUR_VARIANCE
        )
        xx, yy = xx + SCREEN_BLUR_VARIANCE, yy + SCREEN_BLUR_VARIANCE
        px, py = fx * x / z + cx + screen_offsets[i, 0], fy * y / z + cy + screen_offsets[i, 1]
        if not (
            xx <= MAX_SCREEN_VARIANCE
            and yy <= MAX_SCREEN_VARIANCE
            and px * px <= MAX_SCREEN_VARIANCE
            and py * py <= MAX_SCREEN_VARIANCE
        ):
            continue
        if not _all_finite(features, i):
            continue
        log_opacity = math.log(opacity)
        squared_radius = 2 * (log_opacity - LOG_MIN_ALPHA)  # in standard deviations
        half_x, half_y = (
            _pad_half_width(math.sqrt(max(squared_radius * xx, 0.0))),
            _pad_half_width(math.sqrt(max(squared_radius * yy, 0.0))),
        )
        if px + half_x < 0 or px - half_x > width or py + half_y < 0 or py - half_y > height:
            continue
        boxes[i, 0] = int(max(px - half_x, 0.0)) // TILE_WIDTH
        boxes[i, 1] = int(min(px + half_x, width - 1.0)) // TILE_WIDTH
        boxes[i, 2] = int(max(py - half_y, 0.0)) // TILE_HEIGHT
        boxes[i, 3] = int(min(py + half_y, height - 1.0)) // TILE_HEIGHT
        projected[i, X], projected[i, Y] = px, py
        projected[i, XX], projected[i, XY], projected[i, YY] = xx, xy, yy
        projected[i, PRECISION], projected[i, LOG_OPACITY], projected[i, DEPTH] = yy / determinant, log_opacity, z
        depths[i] = z


@kernel
def _pad_half_width(half_width: float) -> float:
    """Widen a half width by more than float32 rounds; the tile kernels decide exactly, pixel by pixel."""
    return half_width * 1.0001 + 0.01


@kernel
def _all_finite(features: Array, i: int) -> bool:
    finite = True
    for k in range(features.shape[1]):
        finite = finite and np.isfinite(features[i, k])
    return finite


@kernel
def project_gaussians_backward(
    first: int,
    last: int,
    entry_spans: Array,
    entry_slots: Array,
    moments: Array,
    depth_column: int,
    projected: Array,
    means: Array,
    quats: Array,
    scales: Array,
    opacities: Array,
    camera: Array,
    lens: Array,
    d_means: Array,
    d_quats: Array,
    d_scales: Array,
    d_opacities: Array,
    d_features: Array,
    d_offsets: Array,
) -> None:
    """Compute the gradients of Gaussians first … last from their rows of `moments`.

    Args:
        first: index of the first Gaussian.
        last: index after the last one.
        entry_spans: (N, 2) see `cpu_bin.emit_tile_entries`.
        entry_slots: (entries,) rows of `moments`: Gaussian i's are entry_slots[entry_spans[i, 0] : entry_spans[i, 1]].
            They are always summed in this order, so the result does not depend on the threads.
        moments: (entries, columns) see `backward` in `cpu_tiles`.
        depth_column: column of depth in `moments`, or -1.
        projected: (N, 8) see `project_gaussians`.
        means: (N, 3) centres.
        quats: (N, 4) rotations.
        scales: (N, 3) standard deviations.
        opacities: (N,) opacities.
        camera: (3, 4) the view.
        lens: (8,) see `project_gaussians`.
        d_means: (N, 3) gradient; written.
        d_quats: (N, 4) gradient; written.
        d_scales: (N, 3) gradient; written.
        d_opacities: (N,) gradient; written.
        d_features: (N, C) gradient, zero at first; written.
        d_offsets: (N, 2) gradient of the screen offsets; written.
    """
    fx, fy = lens[0], lens[1]
    view = _view_rows(camera)
    for i in range(first, last):
        if entry_spans[i, 0] == entry_spans[i, 1]:
            continue
        m, m_y, m_yy, m_t, m_ty, m_tt, d_depth = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for entry in range(entry_spans[i, 0], entry_spans[i, 1]):
            slot = entry_slots[entry]
            m += moments[slot, 0]
            m_y += moments[slot, 1]
            m_yy += moments[slot, 2]
            m_t += moments[slot, 3]
            m_ty += moments[slot, 4]
            m_tt += moments[slot, 5]
            for k in range(d_features.shape[1]):
                d_features[i, k] += moments[slot, MOMENT_COUNT + k]
            if depth_column >= 0:
                d_depth += moments[slot, depth_column]
        d_opacities[i] = m / F64(opacities[i])

        # Back through the conditional form: precision 1 / (xx - xy²/yy) of a row, shear -xy/yy, and 1/yy.
        xy, yy = F64(projected[i, XY]), F64(projected[i, YY])
        precision, shear = F64(projected[i, PRECISION]), -xy / yy
        d_px, d_py = precision * m_t, precision * shear * m_t + m_y / yy
        d_offsets[i, 0], d_offsets[i, 1] = d_px, d_py
        d_xx = 0.5 * precision * precision * m_tt
        d_shear = -precision * m_ty
        d_xy = 2 * shear * d_xx - d_shear / yy
        d_yy = shear * shear * d_xx - shear * d_shear / yy + 0.5 * m_yy / (yy * yy)

        # Back through M Mᵀ and M's rows u (B₀ - x/z B₂) and v (B₁ - y/z B₂).
        mean = (F64(means[i, 0]), F64(means[i, 1]), F64(means[i, 2]))
        x, y, z = (
            _dot(view[0], mean) + camera[0, 3],
            _dot(view[1], mean) + camera[1, 3],
            _dot(view[2], mean) + camera[2, 3],
        )
        w, qx, qy, qz, length = _normalize_quaternion(quats, i)
        rotation = _rotation_rows(w, qx, qy, qz)
        scale = (F64(scales[i, 0]), F64(scales[i, 1]), F64(scales[i, 2]))
        b0 = _multiply_elements(_row_times_matrix(view[0], rotation), scale)
        b1 = _multiply_elements(_row_times_matrix(view[1], rotation), scale)
        b2 = _multiply_elements(_row_times_matrix(view[2], rotation), scale)
        slope_x, slope_y = _clamp(x / z, lens[4], lens[5]), _clamp(y / z, lens[6], lens[7])
        u, v = fx / z, fy / z
        n0, n1 = _add_scaled(b0, -slope_x, b2), _add_scaled(b1, -slope_y, b2)
        m0, m1 = _scale(n0, u), _scale(n1, v)
        d_m0 = _add_scaled(_scale(m0, 2 * d_xx), d_xy, m1)
        d_m1 = _add_scaled(_scale(m1, 2 * d_yy), d_xy, m0)
        d_b0, d_b1 = _scale(d_m0, u), _scale(d_m1, v)
        d_b2 = _add_scaled(_scale(d_b0, -slope_x), -slope_y, d_b1)
        d_x, d_y = u * d_px, v * d_py
        d_z = d_depth - (x * d_x + y * d_y + _dot(d_m0, m0) + _dot(d_m1, m1)) / z
        if lens[4] <= x / z <= lens[5]:
            d_slope = -_dot(d_b0, b2)
            d_x, d_z = d_x + d_slope / z, d_z - d_slope * x / (z * z)
        if lens[6] <= y / z <= lens[7]:
            d_slope = -_dot(d_b1, b2)
            d_y, d_z = d_y + d_slope / z, d_z - d_slope * y / (z * z)
        for k in range(3):
            d_means[i, k] = d_x * camera[0, k] + d_y * camera[1, k] + d_z * camera[2, k]

        # Back through B = A R S: rows of Aᵀ dB are the gradient of R S.
        d0 = _column_times_rows(view, 0, d_b0, d_b1, d_b2)
        d1 = _column_times_rows(view, 1, d_b0, d_b1, d_b2)
        d2 = _column_times_rows(view, 2, d_b0, d_b1, d_b2)
        for k in range(3):
            d_scales[i, k] = d0[k] * rotation[0][k] + d1[k] * rotation[1][k] + d2[k] * rotation[2][k]
        r0, r1, r2 = _multiply_elements(d0, scale), _multiply_elements(d1, scale), _multiply_elements(d2, scale)
        d_w = 2 * (qx * (r2[1] - r1[2]) + qy * (r0[2] - r2[0]) + qz * (r1[0] - r0[1]))
        d_qx = 2 * (qy * (r0[1] + r1[0]) + qz * (r0[2] + r2[0]) + w * (r2[1] - r1[2]) - 2 * qx * (r1[1] + r2[2]))
        d_qy = 2 * (qx * (r0[1] + r1[0]) + qz * (r1[2] + r2[1]) + w * (r0[2] - r2[0]) - 2 * qy * (r0[0] + r2[2]))
        d_qz = 2 * (qx * (r0[2] + r2[0]) + qy * (r1[2] + r2[1]) + w * (r1[0] - r0[1]) - 2 * qz * (r0[0] + r1[1]))
        along = w * d_w + qx * d_qx + qy * d_qy + qz * d_qz if length > MIN_QUATERNION_NORM else 0.0
        d_quats[i, 0], d_quats[i, 1] = (d_w - along * w) / length, (d_qx - along * qx) / length
        d_quats[i, 2], d_quats[i, 3] = (d_qy - along * qy) / length, (d_qz - along * qz) / length


@kernel
def _multiply_elements(a: Vec3, b: Vec3) -> Vec3:
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


@kernel
def _column_times_rows(matrix: Mat3, k: int, a: Vec3, b: Vec3, c: Vec3) -> Vec3:
    """Return column k of the matrix times the rows a, b, c."""
    return _add_scaled(_add_scaled(_scale(a, matrix[0][k]), matrix[1][k], b), matrix[2][k], c)
