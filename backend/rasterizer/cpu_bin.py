"""Which Gaussian meets which tile, in which rows, in which order."""

from __future__ import annotations

import math

import numpy as np

from backend.compute.kernels import kernel
from backend.rasterizer.cpu_project import (
    CULLED_DEPTH,
    DEPTH,
    F64,
    LOG_MIN_ALPHA,
    LOG_OPACITY,
    PRECISION,
    TILE_HEIGHT,
    TILE_WIDTH,
    XX,
    XY,
    YY,
    Array,
    X,
    Y,
)

# Columns of `splats`, which the tile kernels read; features (and depth) follow. The exponent of alpha is divided by
# EXPONENT_SCALE: see `cpu_tiles.exponential`.
SHEAR, CURVATURE, CURVATURE_Y, PEAK_EXPONENT = 2, 3, 4, 5
SPLAT_COLUMNS = 6
EXPONENT_SCALE = 8
ROW_RANGE_BASE = 64  # a tile's first and end row are packed as first · ROWS_BASE + end


_RADIX_BITS, _RADIX_MASK = np.uint32(11), np.uint32(2047)
_CULLED_KEY = np.float32(CULLED_DEPTH).view(np.uint32)


@kernel
def sort_by_depth(depth_bits: Array) -> Array:
    """Indices of the drawn Gaussians, nearest first, equal depths by index: radix sort, 11 bits at a time.

    keys (N,) are the depths' bits as uint32: those of positive numbers sort as the numbers do.
    """
    count = 0
    order = np.empty(depth_bits.shape[0], np.int32)
    histogram = np.zeros((3, 2048), np.int32)
    for i in range(depth_bits.shape[0]):
        key = depth_bits[i]
        if key != _CULLED_KEY:
            order[count] = i
            count += 1
            histogram[0, key & _RADIX_MASK] += 1
            histogram[1, (key >> _RADIX_BITS) & _RADIX_MASK] += 1
            histogram[2, key >> (2 * _RADIX_BITS)] += 1
    order = order[:count]
    spare = np.empty(count, np.int32)
    for digit in range(3):
        start = 0
        for value in range(2048):
            size = histogram[digit, value]
            histogram[digit, value] = start
            start += size
        for k in range(count):
            value = (depth_bits[order[k]] >> np.uint32(digit * 11)) & _RADIX_MASK
            spare[histogram[digit, value]] = order[k]
            histogram[digit, value] += 1
        order, spare = spare, order
    return order


@kernel
def bound_entry_offsets(order: Array, boxes: Array, part_limits: Array, entry_offsets: Array) -> None:
    """Split the ranks among parts: room[p] is an upper bound of where part p's entries begin, for p = 0 … parts.

    limits (parts + 1) are the first ranks of the parts.
    """
    total = 0
    for part in range(part_limits.shape[0] - 1):
        entry_offsets[part] = total
        for rank in range(part_limits[part], part_limits[part + 1]):
            i = order[rank]
            total += (boxes[i, 1] - boxes[i, 0] + 1) * (boxes[i, 3] - boxes[i, 2] + 1)
    entry_offsets[part_limits.shape[0] - 1] = total


@kernel
def emit_tile_entries(
    part: int,
    part_limits: Array,
    entry_offsets: Array,
    order: Array,
    boxes: Array,
    projected: Array,
    features: Array,
    with_depth: bool,
    height: int,
    tiles_x: int,
    splats: Array,
    entry_spans: Array,
    entry_tiles: Array,
    entry_row_ranges: Array,
    tile_counts: Array,
) -> None:
    """One part's Gaussians by depth: `splats`, and an entry for each tile that the ellipse alpha ≥ ALPHA_MIN meets.

    spans (N, 2) are each Gaussian's entries; counts (parts, tiles) is raised by the entries of each tile.
    """
    entry = entry_offsets[part]
    channels = features.shape[1]
    for rank in range(part_limits[part], part_limits[part + 1]):
        i = order[rank]
        px, py = F64(projected[i, X]), F64(projected[i, Y])
        xx, xy, yy = F64(projected[i, XX]), F64(projected[i, XY]), F64(projected[i, YY])
        precision, log_opacity = F64(projected[i, PRECISION]), F64(projected[i, LOG_OPACITY])
        lean = -xy / yy
        splats[rank, X], splats[rank, Y], splats[rank, SHEAR] = px, py, lean
        splats[rank, CURVATURE] = -0.5 / EXPONENT_SCALE * precision
        splats[rank, CURVATURE_Y] = -0.5 / EXPONENT_SCALE / yy
        splats[rank, PEAK_EXPONENT] = log_opacity / EXPONENT_SCALE
        for k in range(channels):
            splats[rank, SPLAT_COLUMNS + k] = features[i, k]
        if with_depth:
            splats[rank, SPLAT_COLUMNS + channels] = projected[i, DEPTH]

        # The ellipse's lowest and highest point inside a column of tiles: its tips, or where it crosses an edge.
        reach = max(2 * (log_opacity - LOG_MIN_ALPHA), 0.0)
        tip_y = math.sqrt(reach * yy)
        tip_x = -lean * tip_y
        slope, thickness, per_xx = xy / xx, yy / (precision * xx), 1 / xx
        entry_spans[i, 0] = entry
        for column in range(boxes[i, 0], boxes[i, 1] + 1):
            left = column * TILE_WIDTH + 0.5 - px
            right = left + (TILE_WIDTH - 1)
            at = min(max(tip_x, left), right)
            bottom = slope * at + math.sqrt(max((reach - at * at * per_xx) * thickness, 0.0))
            at = min(max(-tip_x, left), right)
            top = slope * at - math.sqrt(max((reach - at * at * per_xx) * thickness, 0.0))
            margin = 0.01 + 1e-4 * (bottom - top)
            first_row = math.ceil(max(py + top - margin - 0.5, 0.0))
            last_row = math.floor(min(py + bottom + margin - 0.5, height - 1.0))
            if first_row > last_row:
                continue
            for tile_row in range(first_row // TILE_HEIGHT, last_row // TILE_HEIGHT + 1):
                tile = tile_row * tiles_x + column
                first = max(first_row - tile_row * TILE_HEIGHT, 0)
                end = min(last_row + 1 - tile_row * TILE_HEIGHT, TILE_HEIGHT)
                entry_tiles[entry] = tile
                entry_row_ranges[entry] = first * ROW_RANGE_BASE + end
                tile_counts[part, tile] += 1
                entry += 1
        entry_spans[i, 1] = entry


@kernel
def compute_tile_starts(tile_counts: Array, starts: Array) -> None:
    """Where each tile's list starts (tiles + 1,); counts becomes where each part writes into it."""
    position = 0
    for tile in range(tile_counts.shape[1]):
        starts[tile] = position
        for part in range(tile_counts.shape[0]):
            size = tile_counts[part, tile]
            tile_counts[part, tile] = position
            position += size
    starts[tile_counts.shape[1]] = position


@kernel
def fill_tile_lists(
    part: int,
    part_limits: Array,
    order: Array,
    entry_spans: Array,
    entry_tiles: Array,
    entry_row_ranges: Array,
    cursors: Array,
    list_ranks: Array,
    list_row_ranges: Array,
    entry_slots: Array,
) -> None:
    """Deal one part's entries to the tiles' lists, nearest first; slots (entries,) says where each went, unless it is
    empty."""
    for rank in range(part_limits[part], part_limits[part + 1]):
        i = order[rank]
        for entry in range(entry_spans[i, 0], entry_spans[i, 1]):
            tile = entry_tiles[entry]
            slot = cursors[part, tile]
            cursors[part, tile] = slot + 1
            list_ranks[slot] = rank
            list_row_ranges[slot] = entry_row_ranges[entry]
            if entry_slots.shape[0] > 0:
                entry_slots[entry] = slot
