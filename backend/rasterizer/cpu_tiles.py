"""Blending inside tiles, forward and backward. A tile's row is one vector: nothing here loops over pixels.

On a row at height dy from its centre a Gaussian is one-dimensional: alpha = exp(peak(dy) + curve · t²), where t is the
distance from the row's own centre, which leans by `lean` px from row to row. In this conditional form (against the
usual a dx² + 2 b dx dy + c dy²) nothing cancels in float32, however thin the Gaussian.

A tile is worked on in a buffer that fits the first-level cache: for each of its rows some vectors, one under the other.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from backend.compute.kernels import kernel
from backend.compute.simd import (
    LANES,
    add_scaled_to,
    any_at_least,
    dot,
    full,
    lanes,
    load,
    plus_scaled,
    spread,
    store,
    store_totals,
    where_at_least,
    zeros,
)
from backend.rasterizer.constants import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN
from backend.rasterizer.cpu_bin import CURVE, CURVE_Y, EXPONENT_SCALE, LEAN, PEAK, ROWS_BASE, SPLAT
from backend.rasterizer.cpu_project import MOMENTS, TILE_HEIGHT, TILE_WIDTH, Array, X, Y

assert LANES == TILE_WIDTH
CHECK_EVERY = 8  # list entries between two looks at which rows still let light through

F = np.float32
I64: Any = np.int64
_ZERO, _ONE, _HALF = F(0), F(1), F(0.5)
_ALPHA_MAX, _TRANSMITTANCE_MIN = F(ALPHA_MAX), F(TRANSMITTANCE_MIN)
_CUT = F(math.log(ALPHA_MIN) / EXPONENT_SCALE)  # alpha ends where its scaled exponent falls below this
_LOWEST = F(-0.7)
# exp(x) on [-0.7, 0] to 4e-8: the Chebyshev interpolant's coefficients, lowest power first.
_EXP = tuple(
    F(c)
    for c in np.polynomial.Chebyshev.interpolate(np.exp, 5, [float(_LOWEST), 0.0])  # type: ignore[no-untyped-call]
    .convert(kind=np.polynomial.Polynomial)
    .coef
)
_E0, _E1, _E2, _E3, _E4, _E5 = _EXP


@kernel
def exponential(x: Any) -> Any:
    """exp(8 x) for a vector in [-0.7, 0]: a polynomial for exp(x), squared three times. Relative error below 1e-6.

    Below -0.7, where alpha has ended, the result means nothing, but is never NaN.
    """
    square = x * x
    y = ((x * _E5 + _E4) * square + (x * _E3 + _E2)) * square + (x * _E1 + _E0)
    y = y * y
    y = y * y
    return y * y


@kernel
def _live_rows(tile: Array, stride: int, first: int, end: int) -> tuple[int, int]:
    """The first and end row, within first … end, that have a pixel which is not finished."""
    limit = full(_TRANSMITTANCE_MIN)
    while first < end and not any_at_least(load(tile, first * stride), limit):
        first += 1
    while end > first and not any_at_least(load(tile, (end - 1) * stride), limit):
        end -= 1
    return first, end


@kernel
def _gather(
    tile: Array, at: int, stride: int, values: Array, start: int, steps: Array, columns: int, rows: int
) -> None:
    """One vector of each of the tile's rows from a plane with any strides; zeros outside the frame."""
    if steps[1] == 1 and columns >= LANES:
        for row in range(min(rows, TILE_HEIGHT)):
            store(tile, at + row * stride, load(values, start + row * steps[0]))
    else:
        for row in range(min(rows, TILE_HEIGHT)):
            for k in range(LANES):
                value = values[start + row * steps[0] + k * steps[1]] if k < columns else _ZERO
                tile[at + row * stride + k] = value
    for row in range(rows, TILE_HEIGHT):
        store(tile, at + row * stride, full(_ZERO))


def moment_columns(channels: int) -> int:
    """Columns of `moments`: whole vectors."""
    return -(-(MOMENTS + channels) // LANES) * LANES


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
        """Draw tiles into frame: alpha, then the channels, each a plane of `plane` numbers, rows of whole tiles."""
        stride = (channels + 1) * LANES
        tile = np.empty(TILE_HEIGHT * stride, np.float32)
        frame_width = tiles_x * TILE_WIDTH
        one, zero = full(_ONE), full(_ZERO)
        cut = full(_CUT)
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
                at = I64(list_ranks[entry]) * splat_size
                lean, curve, curve_y, peak = (
                    splats[at + LEAN],
                    splats[at + CURVE],
                    splats[at + CURVE_Y],
                    splats[at + PEAK],
                )
                dx = lanes() + (F(left) + _HALF - splats[at + X])
                y = F(top) + _HALF - splats[at + Y]
                colours = spread(splats, at + SPLAT, channels)
                for row in range(first, end):
                    dy = y + F(row)
                    distance = dx + lean * dy
                    exponent = distance * distance * curve + (peak + curve_y * dy * dy)
                    transmittance = load(tile, row * stride)
                    alpha = exponential(exponent)
                    alpha = where_at_least(alpha, alpha_max, alpha_max, alpha)
                    alpha = where_at_least(exponent, cut, alpha, zero)
                    weight = where_at_least(transmittance, transmittance_min, alpha, zero) * transmittance
                    store(tile, row * stride, transmittance - weight)
                    add_scaled_to(tile, row * stride + LANES, weight, colours)
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
        """Gradients of each list entry, as moments over its pixels of p = dL/d(log alpha).

        Row of `moments`: Σp, Σp·dy, Σp·dy², Σp·t, Σp·t·dy, Σp·t², then Σw·dL/dfeature per channel. d_alpha, d_features
        and d_depth are the frame's gradients with any strides: flat arrays, and in steps (3, 3) how far apart in them
        neighbours in y, x and channel are. Without depth d_depth is empty.

        It walks front to back as forward does, so the transmittance is the same bits; what lies behind an entry,
        Σ w·(f·dL/df), is the whole sum, known from the frame, less what was passed.
        """
        colour_channels = channels - 1 if d_depth.shape[0] > 0 else channels
        stride = (channels + 2) * LANES
        size = -(-(MOMENTS + channels) // LANES) * LANES
        tile = np.empty(TILE_HEIGHT * stride, np.float32)
        frame_width = tiles_x * TILE_WIDTH
        one, zero = full(_ONE), full(_ZERO)
        cut = full(_CUT)
        alpha_max, transmittance_min = full(_ALPHA_MAX), full(_TRANSMITTANCE_MIN)
        for t in range(first_tile, last_tile):
            left, top = (t % tiles_x) * TILE_WIDTH, (t // tiles_x) * TILE_HEIGHT
            inside = (width - left, height - top)
            start = top * steps[0, 0] + left * steps[0, 1]
            _gather(tile, LANES, stride, d_alpha, start, steps[0], *inside)
            for k in range(colour_channels):
                start = top * steps[1, 0] + left * steps[1, 1] + k * steps[1, 2]
                _gather(tile, (k + 2) * LANES, stride, d_features, start, steps[1], *inside)
            if colour_channels < channels:
                start = top * steps[2, 0] + left * steps[2, 1]
                _gather(tile, (channels + 1) * LANES, stride, d_depth, start, steps[2], *inside)
            for row in range(TILE_HEIGHT):
                at, pixel = row * stride, (top + row) * frame_width + left
                behind = (load(frame, pixel) - one) * load(tile, at + LANES)
                for k in range(channels):
                    behind = behind + load(tile, at + (k + 2) * LANES) * load(frame, (k + 1) * plane + pixel)
                store(tile, at, one)
                store(tile, at + LANES, behind)
            live_first, live_end = 0, TILE_HEIGHT
            for entry in range(starts[t], starts[t + 1]):
                if (entry - starts[t]) % CHECK_EVERY == CHECK_EVERY - 1:
                    live_first, live_end = _live_rows(tile, stride, live_first, live_end)
                first = max(live_first, list_rows[entry] // ROWS_BASE)
                end = min(live_end, list_rows[entry] % ROWS_BASE)
                if first >= end:
                    moments[entry * size : (entry + 1) * size] = _ZERO
                    continue
                at = I64(list_ranks[entry]) * splat_size
                lean, curve, curve_y, peak = (
                    splats[at + LEAN],
                    splats[at + CURVE],
                    splats[at + CURVE_Y],
                    splats[at + PEAK],
                )
                dx = lanes() + (F(left) + _HALF - splats[at + X])
                y = F(top) + _HALF - splats[at + Y]
                colours = spread(splats, at + SPLAT, channels)
                d_colours = zeros(channels)
                # Sums of p, of these sums, and of those: each p is counted 1, k and k (k + 1) / 2 times, where k is how
                # many rows its row lies before `end`. Three additions per row, and all moments follow from them.
                sum1, sum2, sum3 = zero, zero, zero
                for row in range(first, end):
                    dy = y + F(row)
                    distance = dx + lean * dy
                    exponent = distance * distance * curve + (peak + curve_y * dy * dy)
                    transmittance = load(tile, row * stride)
                    unsaturated = exponential(exponent)
                    alpha = where_at_least(unsaturated, alpha_max, alpha_max, unsaturated)
                    alpha = where_at_least(exponent, cut, alpha, zero)
                    alpha = where_at_least(transmittance, transmittance_min, alpha, zero)
                    weight = alpha * transmittance
                    store(tile, row * stride, transmittance - weight)
                    d_colours = plus_scaled(d_colours, weight, tile, row * stride + 2 * LANES)
                    towards = weight * dot(tile, row * stride + 2 * LANES, colours)
                    behind = load(tile, row * stride + LANES) - towards
                    store(tile, row * stride + LANES, behind)
                    d_exponent = towards - alpha * behind / (one - alpha)
                    d_exponent = where_at_least(unsaturated, alpha_max, zero, d_exponent)
                    sum1 = sum1 + d_exponent
                    sum2 = sum2 + sum1
                    sum3 = sum3 + sum2
                k_squared = sum3 + sum3 - sum2
                y_end = y + F(end)
                t_end = dx + lean * y_end
                by_y = sum1 * y_end - sum2
                by_ky = sum2 * y_end - k_squared
                by_t = sum1 * t_end - sum2 * lean
                by_kt = sum2 * t_end - k_squared * lean
                at_end = (by_y * y_end - by_ky, by_t, by_y * t_end - by_ky * lean, by_t * t_end - by_kt * lean)
                store_totals(moments, entry * size, (sum1, by_y, *at_end, *d_colours))

    return TileKernels(forward, backward)
