"""The kernels that blend Gaussians inside tiles, forward and backward. A row of a tile is one vector.

In the row at height dy from its centre a Gaussian is one-dimensional: alpha = exp(peak(dy) + curvature · t²), where t
is the distance from the Gaussian's centre in this row, which moves by `shear` pixels from row to row. In this
conditional form nothing cancels in float32 however thin the Gaussian is, unlike in the usual a dx² + 2 b dx dy + c dy².

A tile is processed in a buffer that fits the first-level cache and holds a few vectors for each row.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..compute.kernels import kernel
from ..compute.simd import (
    LANES,
    accumulate_scaled,
    any_at_least,
    broadcast,
    broadcast_each,
    dot_vectors,
    lane_indices,
    load,
    multiply_add,
    select_if_at_least,
    store,
    store_lane_sums,
    zero_vectors,
)
from .constants import MAX_ALPHA, MIN_ALPHA, MIN_TRANSMITTANCE
from .cpu_bin import (
    CURVATURE,
    CURVATURE_Y,
    EXPONENT_SCALE,
    PEAK_EXPONENT,
    ROW_RANGE_BASE,
    SHEAR,
    SPLAT_COLUMNS,
)
from .cpu_project import MOMENT_COUNT, TILE_HEIGHT, TILE_WIDTH, Array, X, Y

assert LANES == TILE_WIDTH
LIVE_ROW_CHECK_INTERVAL = 8  # list entries between two searches for finished rows; smaller stops earlier. Not tuned.

F32 = np.float32
I64: Any = np.int64
_ZERO, _ONE, _HALF = F32(0), F32(1), F32(0.5)
_MAX_ALPHA, _MIN_TRANSMITTANCE = F32(MAX_ALPHA), F32(MIN_TRANSMITTANCE)
_MIN_EXPONENT = F32(math.log(MIN_ALPHA) / EXPONENT_SCALE)  # alpha ends where its scaled exponent falls below this
_MIN_EXP_INPUT = F32(-0.7)  # just below _MIN_EXPONENT for opacity 1
# exp(x) on [-0.7, 0] to 4e-8: the Chebyshev interpolant's coefficients, lowest power first.
_EXP_COEFFICIENTS = tuple(
    F32(c)
    for c in np.polynomial.Chebyshev.interpolate(np.exp, 5, [float(_MIN_EXP_INPUT), 0.0])  # type: ignore[no-untyped-call]
    .convert(kind=np.polynomial.Polynomial)
    .coef
)
_E0, _E1, _E2, _E3, _E4, _E5 = _EXP_COEFFICIENTS


@kernel
def exp_8x(x: Any) -> Any:
    """exp(8 x) for a vector in [-0.7, 0]: a polynomial for exp(x), squared three times. Relative error below 1e-6.

    Below -0.7, where alpha is zero, the result is meaningless but never NaN.
    """
    square = x * x
    y = ((x * _E5 + _E4) * square + (x * _E3 + _E2)) * square + (x * _E1 + _E0)
    y = y * y
    y = y * y
    return y * y


@kernel
def _find_live_rows(tile: Array, stride: int, first: int, end: int) -> tuple[int, int]:
    """Narrow the rows first … end to those between the first and the last row with an unfinished pixel."""
    limit = broadcast(_MIN_TRANSMITTANCE)
    while first < end and not any_at_least(load(tile, first * stride), limit):
        first += 1
    while end > first and not any_at_least(load(tile, (end - 1) * stride), limit):
        end -= 1
    return first, end


@kernel
def _load_plane_into_tile(
    tile: Array, tile_offset: int, stride: int, values: Array, start: int, steps: Array, columns: int, rows: int
) -> None:
    """Load a vector for each row of the tile from a plane with any strides; zeros outside the image."""
    if steps[1] == 1 and columns >= LANES:
        for row in range(min(rows, TILE_HEIGHT)):
            store(tile, tile_offset + row * stride, load(values, start + row * steps[0]))
    else:
        for row in range(min(rows, TILE_HEIGHT)):
            for k in range(LANES):
                value = values[start + row * steps[0] + k * steps[1]] if k < columns else _ZERO
                tile[tile_offset + row * stride + k] = value
    for row in range(rows, TILE_HEIGHT):
        store(tile, tile_offset + row * stride, broadcast(_ZERO))


def moment_row_size(channels: int) -> int:
    """Return the number of columns of `moments`: whole vectors."""
    return -(-(MOMENT_COUNT + channels) // LANES) * LANES


class TileKernels(NamedTuple):
    """The two passes, compiled for one number of channels."""

    forward: Any
    backward: Any


@lru_cache
def compile_tile_kernels(channels: int) -> TileKernels:
    """Return kernels compiled for exactly this number of channels; depth counts as one."""

    @kernel
    def forward(
        first_tile: int,
        last_tile: int,
        tiles_x: int,
        starts: Array,
        list_ranks: Array,
        list_rows: Array,
        splats: Array,
        splat_size: int,
        frame: Array,
        plane: int,
    ) -> None:
        """Blend tiles into `frame`: a plane of `plane` numbers for alpha, then one for each channel, in whole tiles."""
        stride = (channels + 1) * LANES
        tile = np.empty(TILE_HEIGHT * stride, np.float32)
        frame_width = tiles_x * TILE_WIDTH
        one, zero = broadcast(_ONE), broadcast(_ZERO)
        min_exponent = broadcast(_MIN_EXPONENT)
        alpha_max, transmittance_min = broadcast(_MAX_ALPHA), broadcast(_MIN_TRANSMITTANCE)
        for t in range(first_tile, last_tile):
            left, top = (t % tiles_x) * TILE_WIDTH, (t // tiles_x) * TILE_HEIGHT
            for row in range(TILE_HEIGHT):
                store(tile, row * stride, one)
                for k in range(channels):
                    store(tile, row * stride + (k + 1) * LANES, zero)
            live_first, live_end = 0, TILE_HEIGHT
            for entry in range(starts[t], starts[t + 1]):
                if (entry - starts[t]) % LIVE_ROW_CHECK_INTERVAL == LIVE_ROW_CHECK_INTERVAL - 1:
                    live_first, live_end = _find_live_rows(tile, stride, live_first, live_end)
                    if live_first == live_end:
                        break
                first = max(live_first, list_rows[entry] // ROW_RANGE_BASE)
                end = min(live_end, list_rows[entry] % ROW_RANGE_BASE)
                if first >= end:
                    continue
                at = I64(list_ranks[entry]) * splat_size
                shear, curvature, curvature_y, peak = (
                    splats[at + SHEAR],
                    splats[at + CURVATURE],
                    splats[at + CURVATURE_Y],
                    splats[at + PEAK_EXPONENT],
                )
                dx = lane_indices() + (F32(left) + _HALF - splats[at + X])
                y = F32(top) + _HALF - splats[at + Y]
                features = broadcast_each(splats, at + SPLAT_COLUMNS, channels)
                for row in range(first, end):
                    dy = y + F32(row)
                    distance = dx + shear * dy
                    exponent = distance * distance * curvature + (peak + curvature_y * dy * dy)
                    transmittance = load(tile, row * stride)
                    alpha = exp_8x(exponent)
                    alpha = select_if_at_least(alpha, alpha_max, alpha_max, alpha)
                    alpha = select_if_at_least(exponent, min_exponent, alpha, zero)
                    weight = select_if_at_least(transmittance, transmittance_min, alpha, zero) * transmittance
                    store(tile, row * stride, transmittance - weight)
                    accumulate_scaled(tile, row * stride + LANES, weight, features)
            for row in range(TILE_HEIGHT):
                store(tile, row * stride, one - load(tile, row * stride))
            for k in range(channels + 1):
                for row in range(TILE_HEIGHT):
                    value = load(tile, row * stride + k * LANES)
                    store(frame, k * plane + (top + row) * frame_width + left, value)

    @kernel
    def backward(
        first_tile: int,
        last_tile: int,
        tiles_x: int,
        starts: Array,
        list_ranks: Array,
        list_rows: Array,
        splats: Array,
        splat_size: int,
        frame: Array,
        plane: int,
        width: int,
        height: int,
        d_alpha: Array,
        d_features: Array,
        d_depth: Array,
        steps: Array,
        moments: Array,
    ) -> None:
        """Compute the gradients of each list entry, as moments over its pixels of p = dL/d(log alpha).

        A row of `moments`: Σp, Σp·dy, Σp·dy², Σp·t, Σp·t·dy, Σp·t², then Σw·dL/dfeature per channel. d_alpha,
        d_features and d_depth are the image's gradients as flat arrays with any strides: `steps` (3, 3) holds the
        strides in y, x and channel of each. Without depth d_depth is empty.

        The walk is front to back, as in `forward`, so the transmittance has the same bits. The light behind an entry,
        Σ w·(f·dL/df), is the total, known from the image, minus the entries passed so far.
        """
        color_channels = channels - 1 if d_depth.shape[0] > 0 else channels
        stride = (channels + 2) * LANES
        size = -(-(MOMENT_COUNT + channels) // LANES) * LANES
        tile = np.empty(TILE_HEIGHT * stride, np.float32)
        frame_width = tiles_x * TILE_WIDTH
        one, zero = broadcast(_ONE), broadcast(_ZERO)
        min_exponent = broadcast(_MIN_EXPONENT)
        alpha_max, transmittance_min = broadcast(_MAX_ALPHA), broadcast(_MIN_TRANSMITTANCE)
        for t in range(first_tile, last_tile):
            left, top = (t % tiles_x) * TILE_WIDTH, (t // tiles_x) * TILE_HEIGHT
            inside = (width - left, height - top)
            start = top * steps[0, 0] + left * steps[0, 1]
            _load_plane_into_tile(tile, LANES, stride, d_alpha, start, steps[0], *inside)
            for k in range(color_channels):
                start = top * steps[1, 0] + left * steps[1, 1] + k * steps[1, 2]
                _load_plane_into_tile(tile, (k + 2) * LANES, stride, d_features, start, steps[1], *inside)
            if color_channels < channels:
                start = top * steps[2, 0] + left * steps[2, 1]
                _load_plane_into_tile(tile, (channels + 1) * LANES, stride, d_depth, start, steps[2], *inside)
            for row in range(TILE_HEIGHT):
                at, pixel = row * stride, (top + row) * frame_width + left
                behind = (load(frame, pixel) - one) * load(tile, at + LANES)
                for k in range(channels):
                    behind = behind + load(tile, at + (k + 2) * LANES) * load(frame, (k + 1) * plane + pixel)
                store(tile, at, one)
                store(tile, at + LANES, behind)
            live_first, live_end = 0, TILE_HEIGHT
            for entry in range(starts[t], starts[t + 1]):
                if (entry - starts[t]) % LIVE_ROW_CHECK_INTERVAL == LIVE_ROW_CHECK_INTERVAL - 1:
                    live_first, live_end = _find_live_rows(tile, stride, live_first, live_end)
                first = max(live_first, list_rows[entry] // ROW_RANGE_BASE)
                end = min(live_end, list_rows[entry] % ROW_RANGE_BASE)
                if first >= end:
                    moments[entry * size : (entry + 1) * size] = _ZERO
                    continue
                at = I64(list_ranks[entry]) * splat_size
                shear, curvature, curvature_y, peak = (
                    splats[at + SHEAR],
                    splats[at + CURVATURE],
                    splats[at + CURVATURE_Y],
                    splats[at + PEAK_EXPONENT],
                )
                dx = lane_indices() + (F32(left) + _HALF - splats[at + X])
                y = F32(top) + _HALF - splats[at + Y]
                features = broadcast_each(splats, at + SPLAT_COLUMNS, channels)
                d_colors = zero_vectors(channels)
                # Sums of p, of these sums, and of those: each p counts 1, k and k (k + 1) / 2 times, where k is the
                # number of rows from its row to `end`. Three additions per row, and all moments follow from them.
                sum1, sum2, sum3 = zero, zero, zero
                for row in range(first, end):
                    dy = y + F32(row)
                    distance = dx + shear * dy
                    exponent = distance * distance * curvature + (peak + curvature_y * dy * dy)
                    transmittance = load(tile, row * stride)
                    unsaturated = exp_8x(exponent)
                    alpha = select_if_at_least(unsaturated, alpha_max, alpha_max, unsaturated)
                    alpha = select_if_at_least(exponent, min_exponent, alpha, zero)
                    alpha = select_if_at_least(transmittance, transmittance_min, alpha, zero)
                    weight = alpha * transmittance
                    store(tile, row * stride, transmittance - weight)
                    d_colors = multiply_add(d_colors, weight, tile, row * stride + 2 * LANES)
                    towards = weight * dot_vectors(tile, row * stride + 2 * LANES, features)
                    behind = load(tile, row * stride + LANES) - towards
                    store(tile, row * stride + LANES, behind)
                    d_exponent = towards - alpha * behind / (one - alpha)
                    d_exponent = select_if_at_least(unsaturated, alpha_max, zero, d_exponent)
                    sum1 = sum1 + d_exponent
                    sum2 = sum2 + sum1
                    sum3 = sum3 + sum2
                k_squared = sum3 + sum3 - sum2
                y_end = y + F32(end)
                t_end = dx + shear * y_end
                by_y = sum1 * y_end - sum2
                by_ky = sum2 * y_end - k_squared
                by_t = sum1 * t_end - sum2 * shear
                by_kt = sum2 * t_end - k_squared * shear
                at_end = (by_y * y_end - by_ky, by_t, by_y * t_end - by_ky * shear, by_t * t_end - by_kt * shear)
                store_lane_sums(moments, entry * size, (sum1, by_y, *at_end, *d_colors))

    return TileKernels(forward, backward)
