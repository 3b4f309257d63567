"""Blending inside tiles, forward and backward. A tile's row is one vector: nothing here loops over pixels.

On a row at height dy from its centre a Gaussian is one-dimensional: alpha = exp(peak(dy) + curve · t²), where t is the
distance from the row's own centre, which leans by `lean` px from row to row. In this conditional form (against the usual
a dx² + 2 b dx dy + c dy²) nothing cancels in float32, however thin the Gaussian.

A tile is worked on in a buffer that fits the first-level cache: for each of its rows some vectors, one under the other.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from backend.rasterizer.compiled import kernel
from backend.rasterizer.constants import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN
from backend.rasterizer.cpu_bin import CURVE, CURVE_Y, EXPONENT_SCALE, LEAN, PEAK, ROWS_BASE, SPLAT
from backend.rasterizer.cpu_project import TILE_HEIGHT, TILE_WIDTH, Array, X, Y
from backend.rasterizer.simd import (
    LANES,
    add_scaled_to,
    dot,
    full,
    lanes,
    load,
    plus_scaled,
    spread,
    store,
    store_totals,
    total,
    where_at_least,
    zeros,
)

assert LANES == TILE_WIDTH
MOMENTS = 6  # columns of `moments` before the features
CHECK_EVERY = 8  # list entries between two looks at which rows still let light through

F = np.float32
_ZERO, _ONE, _HALF = F(0), F(1), F(0.5)
_ALPHA_MAX, _TRANSMITTANCE_MIN = F(ALPHA_MAX), F(TRANSMITTANCE_MIN)
_CUT = F(math.log(ALPHA_MIN) / EXPONENT_SCALE)  # alpha ends where its scaled exponent falls below this
_LOWEST = F(-0.7)
# exp(x) on [-0.7, 0] to 4e-8: the Chebyshev interpolant's coefficients, lowest power first.
_EXP = tuple(
    F(c)
    for c in np.polynomial.Chebyshev.interpolate(np.exp, 5, [float(_LOWEST), 0.0])
    .convert(kind=np.polynomial.Polynomial)
    .coef
)
_E0, _E1, _E2, _E3, _E4, _E5 = _EXP


@kernel
def exponential(x: Any) -> Any:
    """exp(8 x) for a vector in [-0.7, 0]: a polynomial for exp(x), squared three times. Relative error below 1e-6."""
    y = ((((x * _E5 + _E4) * x + _E3) * x + _E2) * x + _E1) * x + _E0
    y = y * y
    y = y * y
    return y * y


@kernel
def _live_rows(tile: Array, stride: int, first: int, end: int) -> tuple[int, int]:
    """The first and end row, within first … end, that have a pixel which is not finished."""
    one, zero, limit = full(_ONE), full(_ZERO), full(_TRANSMITTANCE_MIN)
    while first < end and total(where_at_least(load(tile, first * stride), limit, one, zero)) == _ZERO:
        first += 1
    while end > first and total(where_at_least(load(tile, (end - 1) * stride), limit, one, zero)) == _ZERO:
        end -= 1
    return first, end


class TileKernels(NamedTuple):
    """The two passes for one number of channels."""

    forward: Any
    backward: Any


@lru_cache
def tile_kernels(channels: int) -> TileKernels:
    """Kernels that blend `channels` features, compiled for exactly that number (depth counts as one)."""

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
        """Draw tiles into frame: transmittance, then the channels, each a plane of `plane` numbers, rows of whole tiles."""
        stride = (channels + 1) * LANES
        tile = np.empty(TILE_HEIGHT * stride, np.float32)
        frame_width = tiles_x * TILE_WIDTH
        one, zero = full(_ONE), full(_ZERO)
        cut, lowest = full(_CUT), full(_LOWEST)
        alpha_max, transmittance_min = full(_ALPHA_MAX), full(_TRANSMITTANCE_MIN)
        for t in range(first_tile, last_tile):
            left, top = (t % tiles_x) * TILE_WIDTH, (t // tiles_x) * TILE_HEIGHT
            for row in range(TILE_HEIGHT):
                store(tile, row * stride, one)
                for k in range(channels):
                    store(tile, row * stride + (k + 1) * LANES, zero)
            live_first, live_end = 0, TILE_HEIGHT
            for entry in range(starts[t], starts[t + 1]):
                if (entry - starts[t]) % CHECK_EVERY == CHECK_EVERY - 1:
                    live_first, live_end = _live_rows(tile, stride, live_first, live_end)
                    if live_first == live_end:
                        break
                first = max(live_first, list_rows[entry] // ROWS_BASE)
                end = min(live_end, list_rows[entry] % ROWS_BASE)
                if first >= end:
                    continue
                at = np.int64(list_ranks[entry]) * splat_size
                lean, curve, curve_y, peak = splats[at + LEAN], splats[at + CURVE], splats[at + CURVE_Y], splats[at + PEAK]
                dx = lanes() + (F(left) + _HALF - splats[at + X])
                y = F(top) + _HALF - splats[at + Y]
                colours = spread(splats, at + SPLAT, channels)
                for row in range(first, end):
                    dy = y + F(row)
                    distance = dx + lean * dy
                    exponent = distance * distance * curve + (peak + curve_y * dy * dy)
                    transmittance = load(tile, row * stride)
                    alpha = exponential(where_at_least(exponent, lowest, exponent, lowest))
                    alpha = where_at_least(alpha, alpha_max, alpha_max, alpha)
                    alpha = where_at_least(exponent, cut, alpha, zero)
                    weight = where_at_least(transmittance, transmittance_min, alpha, zero) * transmittance
                    store(tile, row * stride, transmittance - weight)
                    add_scaled_to(tile, row * stride + LANES, weight, colours)
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
        d_frame: Array,
        plane: int,
        moments: Array,
    ) -> None:
        """Gradients of each list entry, as moments over its pixels of p = dL/d(log alpha).

        Row of `moments`: Σp, Σp·dy, Σp·dy², Σp·t, Σp·t·dy, Σp·t², then Σw·dL/dfeature per channel. `d_frame` is laid out
        like `frame`, its first plane being dL/d(alpha of the frame).

        It walks front to back as forward does, so the transmittance is the same bits; what lies behind an entry,
        Σ w·(f·dL/df), is the whole sum, known from the frame, less what was passed.
        """
        stride = (channels + 2) * LANES
        size = MOMENTS + channels
        tile = np.empty(TILE_HEIGHT * stride, np.float32)
        frame_width = tiles_x * TILE_WIDTH
        one, zero = full(_ONE), full(_ZERO)
        cut, lowest = full(_CUT), full(_LOWEST)
        alpha_max, transmittance_min = full(_ALPHA_MAX), full(_TRANSMITTANCE_MIN)
        for t in range(first_tile, last_tile):
            left, top = (t % tiles_x) * TILE_WIDTH, (t // tiles_x) * TILE_HEIGHT
            for row in range(TILE_HEIGHT):
                pixel = (top + row) * frame_width + left
                behind = zero - load(frame, pixel) * load(d_frame, pixel)
                for k in range(channels):
                    d_feature = load(d_frame, (k + 1) * plane + pixel)
                    store(tile, row * stride + (k + 2) * LANES, d_feature)
                    behind = behind + d_feature * load(frame, (k + 1) * plane + pixel)
                store(tile, row * stride, one)
                store(tile, row * stride + LANES, behind)
            live_first, live_end = 0, TILE_HEIGHT
            for entry in range(starts[t], starts[t + 1]):
                if (entry - starts[t]) % CHECK_EVERY == CHECK_EVERY - 1:
                    live_first, live_end = _live_rows(tile, stride, live_first, live_end)
                first = max(live_first, list_rows[entry] // ROWS_BASE)
                end = min(live_end, list_rows[entry] % ROWS_BASE)
                if first >= end:
                    for k in range(size):
                        moments[entry * size + k] = _ZERO
                    continue
                at = np.int64(list_ranks[entry]) * splat_size
                lean, curve, curve_y, peak = splats[at + LEAN], splats[at + CURVE], splats[at + CURVE_Y], splats[at + PEAK]
                dx = lanes() + (F(left) + _HALF - splats[at + X])
                y = F(top) + _HALF - splats[at + Y]
                colours = spread(splats, at + SPLAT, channels)
                d_colours = zeros(channels)
                p, p_y, p_yy, p_t, p_ty, p_tt = zero, zero, zero, zero, zero, zero
                for row in range(first, end):
                    dy = y + F(row)
                    distance = dx + lean * dy
                    exponent = distance * distance * curve + (peak + curve_y * dy * dy)
                    transmittance = load(tile, row * stride)
                    unsaturated = exponential(where_at_least(exponent, lowest, exponent, lowest))
                    alpha = where_at_least(unsaturated, alpha_max, alpha_max, unsaturated)
                    alpha = where_at_least(exponent, cut, alpha, zero)
                    alpha = where_at_least(transmittance, transmittance_min, alpha, zero)
                    weight = alpha * transmittance
                    store(tile, row * stride, transmittance - weight)
                    d_colours = plus_scaled(d_colours, weight, tile, row * stride + 2 * LANES)
                    towards = dot(tile, row * stride + 2 * LANES, colours)
                    behind = load(tile, row * stride + LANES) - weight * towards
                    store(tile, row * stride + LANES, behind)
                    d_exponent = weight * towards - alpha * behind / (one - alpha)
                    d_exponent = where_at_least(unsaturated, alpha_max, zero, d_exponent)
                    p = p + d_exponent
                    p_y = p_y + d_exponent * dy
                    p_yy = p_yy + d_exponent * (dy * dy)
                    d_distance = d_exponent * distance
                    p_t = p_t + d_distance
                    p_ty = p_ty + d_distance * dy
                    p_tt = p_tt + d_distance * distance
                store_totals(moments, entry * size, (p, p_y, p_yy, p_t, p_ty, p_tt))
                store_totals(moments, entry * size + MOMENTS, d_colours)

    return TileKernels(forward, backward)
