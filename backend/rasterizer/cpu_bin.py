"""Which Gaussian meets which tile, in which rows, in which order."""

from __future__ import annotations

import math

import numpy as np

from backend.rasterizer.compiled import kernel
from backend.rasterizer.constants import ALPHA_MIN
from backend.rasterizer.cpu_project import (
    DEPTH,
    LOG_OPACITY,
    NOT_DRAWN,
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
LEAN, CURVE, CURVE_Y, PEAK = 2, 3, 4, 5
SPLAT = 6
EXPONENT_SCALE = 8
ROWS_BASE = 64  # a tile's first and end row are packed as first · ROWS_BASE + end


@kernel
def depth_order(keys: Array) -> Array:
    """Indices of the drawn Gaussians by rising key, equal keys by rising index: radix sort, 11 bits at a time."""
    count = 0
    for i in range(keys.shape[0]):
        if keys[i] != NOT_DRAWN:
            count += 1
    order = np.empty(count, np.int32)
    spare = np.empty(count, np.int32)
    histogram = np.zeros((3, 2048), np.int32)
    position = 0
    for i in range(keys.shape[0]):
        key = np.int64(keys[i])
        if keys[i] != NOT_DRAWN:
            order[position] = i
            position += 1
            histogram[0, key & 2047] += 1
            histogram[1, (key >> 11) & 2047] += 1
            histogram[2, key >> 22] += 1
    for digit in range(3):
        start = 0
        for value in range(2048):
            size = histogram[digit, value]
            histogram[digit, value] = start
            start += size
        for k in range(count):
            value = (np.int64(keys[order[k]]) >> (11 * digit)) & 2047
            spare[histogram[digit, value]] = order[k]
            histogram[digit, value] += 1
        order, spare = spare, order
    return order


@kernel
def capacity(order: Array, boxes: Array, limits: Array, room: Array) -> None:
    """Split the ranks among parts: room[p] is an upper bound of where part p's entries begin, for p = 0 … parts.

    limits (parts + 1) are the first ranks of the parts.
    """
    total = 0
    for part in range(limits.shape[0] - 1):
        room[part] = total
        for rank in range(limits[part], limits[part + 1]):
            box = boxes[order[rank]]
            total += (box[1] - box[0] + 1) * (box[3] - box[2] + 1)
    room[limits.shape[0] - 1] = total


@kernel
def enter(
    part: int,
    limits: Array,
    room: Array,
    order: Array,
    boxes: Array,
    projected: Array,
    features: Array,
    with_depth: bool,
    height: int,
    tiles_x: int,
    splats: Array,
    spans: Array,
    entry_tiles: Array,
    entry_rows: Array,
    counts: Array,
) -> None:
    """One part's Gaussians by depth: their `splats`, and an entry for each tile that the ellipse alpha ≥ ALPHA_MIN meets.

    spans (ranks, 2) are each rank's entries; counts (parts, tiles) is raised by the entries of each tile.
    """
    entry = room[part]
    channels = features.shape[1]
    for rank in range(limits[part], limits[part + 1]):
        i = order[rank]
        row = projected[i]
        px, py = np.float64(row[X]), np.float64(row[Y])
        xx, xy, yy = np.float64(row[XX]), np.float64(row[XY]), np.float64(row[YY])
        precision, log_opacity = np.float64(row[PRECISION]), np.float64(row[LOG_OPACITY])
        lean = -xy / yy
        splat = splats[rank]
        splat[X], splat[Y], splat[LEAN] = px, py, lean
        splat[CURVE] = -0.5 / EXPONENT_SCALE * precision
        splat[CURVE_Y] = -0.5 / EXPONENT_SCALE / yy
        splat[PEAK] = log_opacity / EXPONENT_SCALE
        for k in range(channels):
            splat[SPLAT + k] = features[i, k]
        if with_depth:
            splat[SPLAT + channels] = row[DEPTH]

        # The ellipse's lowest and highest point inside a column of tiles: where it leans there, or at the column's edge.
        reach = max(2 * (log_opacity - math.log(ALPHA_MIN)), 0.0)
        tip_y = math.sqrt(reach * yy)
        tip_x = -lean * tip_y
        slope, thickness = xy / xx, yy / (precision * xx)
        spans[rank, 0] = entry
        for column in range(boxes[i, 0], boxes[i, 1] + 1):
            left = column * TILE_WIDTH + 0.5 - px
            right = left + (TILE_WIDTH - 1)
            at = min(max(tip_x, left), right)
            bottom = slope * at + math.sqrt(max((reach - at * at / xx) * thickness, 0.0))
            at = min(max(-tip_x, left), right)
            top = slope * at - math.sqrt(max((reach - at * at / xx) * thickness, 0.0))
            margin = 0.01 + 1e-4 * (bottom - top)
            first_row = int(math.ceil(max(py + top - margin - 0.5, 0.0)))
            last_row = int(math.floor(min(py + bottom + margin - 0.5, height - 1.0)))
            if first_row > last_row:
                continue
            for tile_row in range(first_row // TILE_HEIGHT, last_row // TILE_HEIGHT + 1):
                tile = tile_row * tiles_x + column
                first = max(first_row - tile_row * TILE_HEIGHT, 0)
                end = min(last_row + 1 - tile_row * TILE_HEIGHT, TILE_HEIGHT)
                entry_tiles[entry] = tile
                entry_rows[entry] = first * ROWS_BASE + end
                counts[part, tile] += 1
                entry += 1
        spans[rank, 1] = entry


@kernel
def tile_starts(counts: Array, starts: Array) -> None:
    """Where each tile's list starts (tiles + 1,); counts becomes where each part writes into it."""
    position = 0
    for tile in range(counts.shape[1]):
        starts[tile] = position
        for part in range(counts.shape[0]):
            size = counts[part, tile]
            counts[part, tile] = position
            position += size
    starts[counts.shape[1]] = position


@kernel
def fill_lists(
    part: int,
    limits: Array,
    spans: Array,
    entry_tiles: Array,
    entry_rows: Array,
    cursors: Array,
    list_ranks: Array,
    list_rows: Array,
    slots: Array,
) -> None:
    """Deal one part's entries to the tiles' lists, nearest first; slots (entries,) says where each went, unless it is
    empty."""
    for rank in range(limits[part], limits[part + 1]):
        for entry in range(spans[rank, 0], spans[rank, 1]):
            tile = entry_tiles[entry]
            slot = cursors[part, tile]
            cursors[part, tile] = slot + 1
            list_ranks[slot] = rank
            list_rows[slot] = entry_rows[entry]
            if slots.shape[0] > 0:
                slots[entry] = slot
