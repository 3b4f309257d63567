"""The kernels that sort Gaussians by depth and list which tiles, and which rows of them, each one meets.

The *rank* of a Gaussian is its place by depth. A *part* is the range of ranks that one task handles. An *entry* is a
Gaussian in the list of a tile.
"""

from __future__ import annotations

import math

import numpy as np

from ..compute.kernels import kernel
from .cpu_project import (
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

# Columns of `splats`, which the tile kernels read, after X and Y: the conditional form described in `cpu_tiles`.
# Features (and depth) follow. The exponent of alpha is divided by EXPONENT_SCALE, as `cpu_tiles.exp_8x` expects.
SHEAR, CURVATURE, CURVATURE_Y, PEAK_EXPONENT = 2, 3, 4, 5
SPLAT_COLUMNS = 6
EXPONENT_SCALE = 8
ROW_RANGE_BASE = 64  # a tile's first and end row are packed as first · ROW_RANGE_BASE + end; above TILE_HEIGHT

_RADIX_BITS = np.uint32(11)  # bits sorted at a time: 3 passes over 32 bits, with histograms that fit the cache
_RADIX_MASK = np.uint32(2047)  # 2 ** 11 - 1
_CULLED_KEY = np.float32(CULLED_DEPTH).view(np.uint32)


@kernel
def sort_by_depth(depth_bits: Array) -> Array:
    """Return the indices of the drawn Gaussians, nearest first, equal depths by index: a radix sort.

    Args:
        depth_bits: (N,) the bits of the float32 depths as uint32; those of positive numbers sort as the numbers do.
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
    """Compute where each part's entries begin in arrays that have space for every tile of every bounding box.

    Args:
        order: (ranks,) indices by depth.
        boxes: (N, 4) see `project_gaussians`.
        part_limits: (parts + 1,) first rank of each part, and the number of ranks.
        entry_offsets: (parts + 1,) the result.
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
    """Write one part's splats, and an entry for each tile that the ellipse alpha ≥ MIN_ALPHA meets.

    Args:
        part: index of the part.
        part_limits: (parts + 1,) see `bound_entry_offsets`.
        entry_offsets: (parts + 1,) see `bound_entry_offsets`.
        order: (ranks,) indices by depth.
        boxes: (N, 4) see `project_gaussians`.
        projected: (N, 8) see `project_gaussians`.
        features: (N, C) features.
        with_depth: whether a splat has a column for depth.
        height: height of the image, pixels.
        tiles_x: tiles in a row of the image.
        splats: (ranks, columns) the splats; written.
        entry_spans: (N, 2) each Gaussian's range of entries; written.
        entry_tiles: the tile of each entry; written.
        entry_row_ranges: the rows of that tile, packed; written.
        tile_counts: (parts, tiles) increased by the number of entries in each tile.
    """
    entry = entry_offsets[part]
    channels = features.shape[1]
    for rank in range(part_limits[part], part_limits[part + 1]):
        i = order[rank]
        px, py = F64(projected[i, X]), F64(projected[i, Y])
        xx, xy, yy = F64(projected[i, XX]), F64(projected[i, XY]), F64(projected[i, YY])
        precision, log_opacity = F64(projected[i, PRECISION]), F64(projected[i, LOG_OPACITY])
        shear = -xy / yy
        splats[rank, X], splats[rank, Y], splats[rank, SHEAR] = px, py, shear
        splats[rank, CURVATURE] = -0.5 / EXPONENT_SCALE * precision
        splats[rank, CURVATURE_Y] = -0.5 / EXPONENT_SCALE / yy
        splats[rank, PEAK_EXPONENT] = log_opacity / EXPONENT_SCALE
        for k in range(channels):
            splats[rank, SPLAT_COLUMNS + k] = features[i, k]
        if with_depth:
            splats[rank, SPLAT_COLUMNS + channels] = projected[i, DEPTH]

        # The ellipse's lowest and highest point inside a column of tiles: its tips, or where it crosses an edge.
        squared_radius = max(2 * (log_opacity - LOG_MIN_ALPHA), 0.0)  # in standard deviations
        tip_y = math.sqrt(squared_radius * yy)
        tip_x = -shear * tip_y
        slope, thickness, per_xx = xy / xx, yy / (precision * xx), 1 / xx
        entry_spans[i, 0] = entry
        for column in range(boxes[i, 0], boxes[i, 1] + 1):
            left = column * TILE_WIDTH + 0.5 - px
            right = left + (TILE_WIDTH - 1)
            x = min(max(tip_x, left), right)
            bottom = slope * x + math.sqrt(max((squared_radius - x * x * per_xx) * thickness, 0.0))
            x = min(max(-tip_x, left), right)
            top = slope * x - math.sqrt(max((squared_radius - x * x * per_xx) * thickness, 0.0))
            margin = 0.01 + 1e-4 * (bottom - top)  # more than float32 rounds
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
    """Compute where each tile's list starts (tiles + 1,); `tile_counts` becomes where each part writes into it."""
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
    """Copy one part's entries to the tiles' lists, nearest first.

    Args:
        part: index of the part.
        part_limits: (parts + 1,) see `bound_entry_offsets`.
        order: (ranks,) indices by depth.
        entry_spans: (N, 2) see `emit_tile_entries`.
        entry_tiles: (entries,) see `emit_tile_entries`.
        entry_row_ranges: (entries,) see `emit_tile_entries`.
        cursors: (parts, tiles) where the part writes next into each list; advanced.
        list_ranks: (entries,) the rank of each entry's Gaussian; written.
        list_row_ranges: (entries,) its rows, packed; written.
        entry_slots: (entries,) the position of each entry in the lists; written unless it is empty.
    """
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
