"""The implementation for CPUs: numba kernels behind a torch autograd function.

Forward: project → sort by depth → list the Gaussians of each tile → blend; backward in reverse. Each stage is split
into tasks whose results do not depend on one another, so the same input gives the same bits on any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..compute.kernels import parallel_for
from . import cpu_bin, cpu_project
from .constants import FRUSTUM_MARGIN
from .cpu_project import MOMENT_COUNT, TILE_HEIGHT, TILE_WIDTH, Array
from .cpu_tiles import compile_tile_kernels, moment_row_size
from .types import CameraView, Gaussians, RasterOutput

# Gaussians that one task handles. Fewer balance the threads better but cost more hand-overs. Not tuned.
GAUSSIANS_PER_TASK = 2048
# Tasks into which the tiles are split: more than there are cores, so that a fast thread can take another. Not tuned.
TILE_TASK_COUNT = 16


def rasterize_cpu(
    gaussians: Gaussians, features: Tensor, screen_offsets: Tensor, camera: CameraView, with_depth: bool
) -> RasterOutput:
    """Draw the Gaussians as `rasterize` defines it, in float32."""
    camera_arrays = _CameraArrays.from_view(camera)
    means, quats, scales, opacities, _ = gaussians
    tensors = [tensor.float().contiguous() for tensor in (means, quats, scales, opacities, features, screen_offsets)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return RasterOutput(*_Rasterize.apply(*tensors, camera_arrays, with_depth))  # type: ignore[no-untyped-call]
    inputs = _RasterInputs(camera_arrays, *(tensor.detach().numpy() for tensor in tensors))
    planes = _blend_tiles(inputs, _bin_gaussians(inputs, with_depth, for_backward=False))
    return RasterOutput(*_crop_to_image(planes, inputs, with_depth))


@dataclass(frozen=True)
class _CameraArrays:
    """The camera in float64.

    Attributes:
        view: (3, 4) world → camera.
        lens: (8,) fx, fy, cx, cy; lowest and highest x/z and y/z of the Jacobian.
        width: width of the image, pixels.
        height: height of the image, pixels.
    """

    view: Array
    lens: Array
    width: int
    height: int

    @classmethod
    def from_view(cls, camera: CameraView) -> _CameraArrays:
        """Convert the tensors and compute the limits of the Jacobian."""
        width, height = camera.width, camera.height
        k = camera.intrinsics.detach().double().numpy()
        fx, fy, cx, cy = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
        margin_x, margin_y = FRUSTUM_MARGIN * 0.5 * width / fx, FRUSTUM_MARGIN * 0.5 * height / fy
        limits = (-cx / fx - margin_x, (width - cx) / fx + margin_x, -cy / fy - margin_y, (height - cy) / fy + margin_y)
        view = np.ascontiguousarray(camera.view.detach().double().numpy()[:3])
        return cls(view, np.array((fx, fy, cx, cy, *limits)), width, height)

    @property
    def tiles_x(self) -> int:
        return -(-self.width // TILE_WIDTH)

    @property
    def tiles_y(self) -> int:
        return -(-self.height // TILE_HEIGHT)

    @property
    def padded_shape(self) -> tuple[int, int]:
        """Height and width of the image in whole tiles, pixels."""
        return self.tiles_y * TILE_HEIGHT, self.tiles_x * TILE_WIDTH


@dataclass(frozen=True)
class _RasterInputs:
    """The arguments of `rasterize` as contiguous float32 arrays."""

    camera: _CameraArrays
    means: Array
    quats: Array
    scales: Array
    opacities: Array
    features: Array
    screen_offsets: Array


@dataclass(frozen=True)
class _TileBins:
    """Gaussians sorted by depth, and the list of each tile. See `cpu_bin`.

    Attributes:
        projected: (N, 8) see `cpu_project`.
        splats: (ranks · splat_size,) the numbers that the tile kernels read, by rank in depth.
        splat_size: numbers of one splat.
        tile_starts: (tiles + 1,) where each tile's list begins.
        list_ranks: (entries,) the rank of each entry's Gaussian.
        list_row_ranges: (entries,) the rows of the tile that it meets.
        entry_spans: (N, 2) each Gaussian's range in `entry_slots`.
        entry_slots: positions of each Gaussian's entries in the lists; empty if no gradient is needed.
    """

    projected: Array
    splats: Array
    splat_size: int
    tile_starts: Array
    list_ranks: Array
    list_row_ranges: Array
    entry_spans: Array
    entry_slots: Array

    @property
    def tile_count(self) -> int:
        return len(self.tile_starts) - 1


def _parallel_for_range(task: Callable[[int, int], object], count: int, chunk_size: int) -> None:
    """Run task(first, last) over chunks of 0 … count, each of at most `chunk_size`."""
    parallel_for(lambda k: task(k * chunk_size, min((k + 1) * chunk_size, count)), -(-count // chunk_size))


def _project(inputs: _RasterInputs) -> tuple[Array, Array, Array]:
    """Return `projected` (N, 8), depths (N,) and boxes (N, 4) as `cpu_project` defines them."""
    camera, count = inputs.camera, len(inputs.means)
    projected = np.empty((count, cpu_project.PROJECTED_COLUMNS), np.float32)
    depths = np.empty(count, np.float32)
    boxes = np.empty((count, 4), np.int32)
    arrays = (inputs.means, inputs.quats, inputs.scales, inputs.opacities, inputs.features, inputs.screen_offsets)

    def project_range(first: int, last: int) -> None:
        cpu_project.project_gaussians(
            first, last, *arrays, camera.view, camera.lens, camera.width, camera.height, projected, depths, boxes
        )

    _parallel_for_range(project_range, count, GAUSSIANS_PER_TASK)
    return projected, depths, boxes


def _bin_gaussians(inputs: _RasterInputs, with_depth: bool, for_backward: bool) -> _TileBins:
    """Project the Gaussians, sort them by depth and list them by tile."""
    count, channels = inputs.features.shape
    camera = inputs.camera
    projected, depths, boxes = _project(inputs)
    order = cpu_bin.sort_by_depth(depths.view(np.uint32))

    visible_count = len(order)
    part_count = -(-visible_count // GAUSSIANS_PER_TASK)
    part_limits = np.minimum(np.arange(part_count + 1, dtype=np.int64) * GAUSSIANS_PER_TASK, visible_count)
    entry_offsets = np.empty(part_count + 1, np.int64)
    cpu_bin.bound_entry_offsets(order, boxes, part_limits, entry_offsets)
    splat_size = cpu_bin.SPLAT_COLUMNS + channels + with_depth
    splats = np.empty((visible_count, splat_size), np.float32)
    entry_spans = np.zeros((count, 2), np.int64)  # stay empty for Gaussians that are not drawn
    entry_tiles, entry_row_ranges = np.empty(entry_offsets[-1], np.int32), np.empty(entry_offsets[-1], np.int32)
    tile_counts = np.zeros((part_count, camera.tiles_x * camera.tiles_y), np.int64)

    def emit_part(part: int) -> None:
        arguments = (part, part_limits, entry_offsets, order, boxes, projected, inputs.features, with_depth)
        results = (splats, entry_spans, entry_tiles, entry_row_ranges, tile_counts)
        cpu_bin.emit_tile_entries(*arguments, camera.height, camera.tiles_x, *results)

    parallel_for(emit_part, part_count)
    tile_starts = np.empty(tile_counts.shape[1] + 1, np.int64)
    cpu_bin.compute_tile_starts(tile_counts, tile_starts)
    list_ranks, list_row_ranges = np.empty(tile_starts[-1], np.int32), np.empty(tile_starts[-1], np.int32)
    entry_slots = np.empty(entry_offsets[-1] if for_backward else 0, np.int32)

    def fill_part(part: int) -> None:
        arguments = (part, part_limits, order, entry_spans, entry_tiles, entry_row_ranges, tile_counts)
        cpu_bin.fill_tile_lists(*arguments, list_ranks, list_row_ranges, entry_slots)

    parallel_for(fill_part, part_count)
    lists = (tile_starts, list_ranks, list_row_ranges)
    return _TileBins(projected, splats.reshape(-1), splat_size, *lists, entry_spans, entry_slots)


def _blend_tiles(inputs: _RasterInputs, bins: _TileBins) -> Tensor:
    """Return the planes (1 + channels, H', W') of the image in whole tiles: alpha, features, depth."""
    channels = bins.splat_size - cpu_bin.SPLAT_COLUMNS
    planes = torch.empty(1 + channels, *inputs.camera.padded_shape)
    flat = planes.view(-1).numpy()
    tiles_x = inputs.camera.tiles_x
    forward = compile_tile_kernels(channels).forward
    lists = (bins.tile_starts, bins.list_ranks, bins.list_row_ranges, bins.splats, bins.splat_size)

    def blend_range(first: int, last: int) -> None:
        forward(first, last, tiles_x, *lists, flat, planes[0].numel())

    _parallel_for_range(blend_range, bins.tile_count, -(-bins.tile_count // TILE_TASK_COUNT))
    return planes


def _crop_to_image(planes: Tensor, inputs: _RasterInputs, with_depth: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return features, alpha and depth without the padding, as views of the planes."""
    channels = inputs.features.shape[1]
    cropped = planes[:, : inputs.camera.height, : inputs.camera.width]
    depth = cropped[-1] if with_depth else planes.new_zeros(0, 0)
    return cropped[1 : 1 + channels].permute(1, 2, 0), cropped[0], depth


class _Rasterize(torch.autograd.Function):
    """Means, quats, scales, opacities, features, screen offsets → features, alpha, depth."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        *tensors, camera, with_depth = arguments
        inputs = _RasterInputs(camera, *(tensor.detach().numpy() for tensor in tensors))
        bins = _bin_gaussians(inputs, with_depth, for_backward=True)
        planes = _blend_tiles(inputs, bins)
        ctx.inputs, ctx.bins = inputs, bins
        ctx.save_for_backward(*tensors, planes)  # torch then raises if one of them is changed in place
        ctx.set_materialize_grads(False)
        return _crop_to_image(planes, inputs, with_depth)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, d_features: Tensor | None, d_alpha: Tensor | None, d_depth: Tensor | None) -> Any:
        inputs, bins, planes = ctx.inputs, ctx.bins, ctx.saved_tensors[-1]
        channels = inputs.features.shape[1]
        has_depth_gradient = d_depth is not None and d_depth.numel() > 0
        gradients = (d_features, d_alpha, d_depth if has_depth_gradient else None)
        moments = _accumulate_tile_moments(inputs, bins, planes, *gradients)
        depth_column = MOMENT_COUNT + channels if has_depth_gradient else -1
        return *map(torch.from_numpy, _gaussian_gradients(inputs, bins, moments, depth_column)), None, None


def _flatten_gradient(gradient: Tensor | None) -> tuple[Array, tuple[int, int, int]]:
    """Return a gradient's memory as a flat array and its strides in y, x and channel; zeros for None."""
    if gradient is None:
        return np.zeros(1, np.float32), (0, 0, 0)
    extent = 1 + sum((size - 1) * stride for size, stride in zip(gradient.shape, gradient.stride(), strict=True))
    strides = (*gradient.stride(), 0)[:3]
    return gradient.as_strided((extent,), (1,)).numpy(), (strides[0], strides[1], strides[2])


def _accumulate_tile_moments(
    inputs: _RasterInputs,
    bins: _TileBins,
    planes: Tensor,
    d_features: Tensor | None,
    d_alpha: Tensor | None,
    d_depth: Tensor | None,
) -> Array:
    """Return the moments (entries, moment_row_size) of each list entry, see `cpu_tiles`; depth only with its gradient.

    Args:
        inputs: the arrays that were drawn.
        bins: their lists.
        planes: what `_blend_tiles` returned.
        d_features: (H, W, C) gradient of the features.
        d_alpha: (H, W) gradient of alpha.
        d_depth: (H, W) gradient of depth.
    """
    camera, channels = inputs.camera, inputs.features.shape[1] + (d_depth is not None)
    moments = np.empty((len(bins.list_ranks), moment_row_size(channels)), np.float32)
    flattened = [_flatten_gradient(d_alpha), _flatten_gradient(d_features), _flatten_gradient(d_depth)]
    gradients = [flat for flat, _ in flattened]
    if d_depth is None:
        gradients[2] = gradients[2][:0]
    strides = np.array([stride for _, stride in flattened], np.int64)
    backward = compile_tile_kernels(channels).backward
    lists = (bins.tile_starts, bins.list_ranks, bins.list_row_ranges, bins.splats, bins.splat_size)
    image = (planes.view(-1).numpy(), planes[0].numel(), camera.width, camera.height)

    def accumulate_range(first: int, last: int) -> None:
        backward(first, last, camera.tiles_x, *lists, *image, *gradients, strides, moments.reshape(-1))

    _parallel_for_range(accumulate_range, bins.tile_count, -(-bins.tile_count // TILE_TASK_COUNT))
    return moments


def _gaussian_gradients(inputs: _RasterInputs, bins: _TileBins, moments: Array, depth_column: int) -> list[Array]:
    """Return the gradients of means, quats, scales, opacities, features and screen offsets."""
    arrays = (inputs.means, inputs.quats, inputs.scales, inputs.opacities)
    lists = (bins.entry_spans, bins.entry_slots, moments, depth_column, bins.projected)
    gradients = [np.zeros_like(array) for array in (*arrays, inputs.features, inputs.screen_offsets)]

    def propagate_range(first: int, last: int) -> None:
        cpu_project.project_gaussians_backward(
            first, last, *lists, *arrays, inputs.camera.view, inputs.camera.lens, *gradients
        )

    _parallel_for_range(propagate_range, len(bins.entry_spans), GAUSSIANS_PER_TASK)
    return gradients
