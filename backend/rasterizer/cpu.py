"""The rasteriser for processors: numba kernels behind a torch autograd function.

project → sort by depth → list the Gaussians of each tile → blend; and back. Every stage is shared between the cores in
pieces whose results do not depend on each other, so the same input gives the same bits, whoever does what.
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

GAUSSIANS_PER_TASK = 2048
TILE_TASK_COUNT = 16


def rasterize_cpu(
    gaussians: Gaussians, features: Tensor, screen_offsets: Tensor, camera: CameraView, with_depth: bool
) -> RasterOutput:
    """Draw the Gaussians as `rasterize` defines it, in float32."""
    camera_arrays = _CameraArrays.from_view(camera)
    means, quats, scales, opacities, _ = gaussians
    inputs = [tensor.float().contiguous() for tensor in (means, quats, scales, opacities, features, screen_offsets)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return RasterOutput(*_Rasterize.apply(*inputs, camera_arrays, with_depth))  # type: ignore[no-untyped-call]
    scene = _RasterInputs(camera_arrays, *(tensor.detach().numpy() for tensor in inputs))
    image = _blend_tiles(scene, _bin_gaussians(scene, with_depth, for_backward=False))
    return RasterOutput(*_crop_to_image(image, scene, with_depth))


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
        pose = np.ascontiguousarray(camera.view.detach().double().numpy()[:3])
        return cls(pose, np.array((fx, fy, cx, cy, *limits)), width, height)

    @property
    def tiles_x(self) -> int:
        return -(-self.width // TILE_WIDTH)

    @property
    def tiles_y(self) -> int:
        return -(-self.height // TILE_HEIGHT)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Height and width in whole tiles, px."""
        return self.tiles_y * TILE_HEIGHT, self.tiles_x * TILE_WIDTH


@dataclass(frozen=True)
class _RasterInputs:
    """The inputs, as contiguous float32 arrays."""

    camera: _CameraArrays
    means: Array
    quats: Array
    scales: Array
    opacities: Array
    features: Array
    screen_offsets: Array


@dataclass(frozen=True)
class _TileBins:
    """What `cpu_bin` found: Gaussians by depth, and each tile's list of them."""

    projected: Array  # (N, 8)
    splats: Array  # (ranks · splat_size,)
    splat_size: int
    tile_starts: Array  # (tiles + 1,)
    list_ranks: Array  # (entries,)
    list_row_ranges: Array  # (entries,)
    entry_spans: Array  # (N, 2) each Gaussian's range in slots
    entry_slots: Array  # where each Gaussian's entries are in the lists; empty when no gradient is wanted


def _parallel_for_range(task: Callable[[int, int], object], count: int, chunk_size: int) -> None:
    """Run task(first, last) over pieces of 0 … count, each of at most `size`."""
    parallel_for(lambda k: task(k * chunk_size, min((k + 1) * chunk_size, count)), -(-count // chunk_size))


def _bin_gaussians(scene: _RasterInputs, with_depth: bool, for_backward: bool) -> _TileBins:
    count, channels = scene.features.shape
    camera = scene.camera
    projected = np.empty((count, cpu_project.PROJECTED_COLUMNS), np.float32)
    depths = np.empty(count, np.float32)
    boxes = np.empty((count, 4), np.int32)

    def project(first: int, last: int) -> None:
        arrays = (scene.means, scene.quats, scene.scales, scene.opacities, scene.features, scene.screen_offsets)
        frame = (camera.view, camera.lens, camera.width, camera.height)
        cpu_project.project_gaussians(first, last, *arrays, *frame, projected, depths, boxes)

    _parallel_for_range(project, count, GAUSSIANS_PER_TASK)
    order = cpu_bin.sort_by_depth(depths.view(np.uint32))

    drawn = len(order)
    parts = -(-drawn // GAUSSIANS_PER_TASK)
    limits = np.minimum(np.arange(parts + 1, dtype=np.int64) * GAUSSIANS_PER_TASK, drawn)
    room = np.empty(parts + 1, np.int64)
    cpu_bin.bound_entry_offsets(order, boxes, limits, room)
    splat_size = cpu_bin.SPLAT_COLUMNS + channels + with_depth
    splats = np.empty((drawn, splat_size), np.float32)
    spans = np.zeros((count, 2), np.int64)  # none, for what is not drawn
    entry_tiles, entry_rows = np.empty(room[-1], np.int32), np.empty(room[-1], np.int32)
    counts = np.zeros((parts, camera.tiles_x * camera.tiles_y), np.int64)

    def enter(part: int) -> None:
        inputs = (part, limits, room, order, boxes, projected, scene.features, with_depth)
        outputs = (splats, spans, entry_tiles, entry_rows, counts)
        cpu_bin.emit_tile_entries(*inputs, camera.height, camera.tiles_x, *outputs)

    parallel_for(enter, parts)
    starts = np.empty(counts.shape[1] + 1, np.int64)
    cpu_bin.compute_tile_starts(counts, starts)
    list_ranks, list_rows = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    slots = np.empty(room[-1] if for_backward else 0, np.int32)
    parallel_for(
        lambda part: cpu_bin.fill_tile_lists(
            part, limits, order, spans, entry_tiles, entry_rows, counts, list_ranks, list_rows, slots
        ),
        parts,
    )
    return _TileBins(projected, splats.reshape(-1), splat_size, starts, list_ranks, list_rows, spans, slots)


def _blend_tiles(scene: _RasterInputs, bins: _TileBins) -> Tensor:
    """The frame in whole tiles, (1 + channels, H', W'): alpha, features, depth."""
    channels = bins.splat_size - cpu_bin.SPLAT_COLUMNS
    frame = torch.empty(1 + channels, *scene.camera.frame_shape)
    flat = frame.view(-1).numpy()
    tiles_x = scene.camera.tiles_x
    forward = compile_tile_kernels(channels).forward
    lists = (bins.tile_starts, bins.list_ranks, bins.list_row_ranges, bins.splats, bins.splat_size)

    def draw(first: int, last: int) -> None:
        forward(first, last, tiles_x, *lists, flat, frame[0].numel())

    tiles = len(bins.tile_starts) - 1
    _parallel_for_range(draw, tiles, -(-tiles // TILE_TASK_COUNT))
    return frame


def _crop_to_image(frame: Tensor, scene: _RasterInputs, with_depth: bool) -> tuple[Tensor, Tensor, Tensor]:
    channels = scene.features.shape[1]
    inside = frame[:, : scene.camera.height, : scene.camera.width]
    depth = inside[-1] if with_depth else frame.new_zeros(0, 0)
    return inside[1 : 1 + channels].permute(1, 2, 0), inside[0], depth


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        *gaussians, camera, with_depth = arguments
        scene = _RasterInputs(camera, *(tensor.detach().numpy() for tensor in gaussians))
        bins = _bin_gaussians(scene, with_depth, for_backward=True)
        frame = _blend_tiles(scene, bins)
        ctx.scene, ctx.bins = scene, bins
        ctx.save_for_backward(*gaussians, frame)  # so that torch notices when one of them is changed in place
        ctx.set_materialize_grads(False)
        return _crop_to_image(frame, scene, with_depth)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, d_features: Tensor | None, d_alpha: Tensor | None, d_depth: Tensor | None) -> Any:
        scene, bins, frame = ctx.scene, ctx.bins, ctx.saved_tensors[-1]
        channels = scene.features.shape[1]
        with_depth = d_depth is not None and d_depth.numel() > 0
        moments = _accumulate_tile_moments(scene, bins, frame, d_features, d_alpha, d_depth if with_depth else None)
        gradients = _gaussian_gradients(scene, bins, moments, MOMENT_COUNT + channels if with_depth else -1)
        return *map(torch.from_numpy, gradients), None, None


def _flatten_gradient(gradient: Tensor | None) -> tuple[Array, tuple[int, int, int]]:
    """A gradient's memory, and how far apart neighbours in y, x and channel are in it; zeros when there is none."""
    if gradient is None:
        return np.zeros(1, np.float32), (0, 0, 0)
    extent = 1 + sum((size - 1) * stride for size, stride in zip(gradient.shape, gradient.stride(), strict=True))
    steps = (*gradient.stride(), 0)[:3]
    return gradient.as_strided((extent,), (1,)).numpy(), (steps[0], steps[1], steps[2])


def _accumulate_tile_moments(
    scene: _RasterInputs,
    bins: _TileBins,
    frame: Tensor,
    d_features: Tensor | None,
    d_alpha: Tensor | None,
    d_depth: Tensor | None,
) -> Array:
    """(entries, moment_columns), see `cpu_tiles`. Without a gradient depth costs nothing."""
    camera, channels = scene.camera, scene.features.shape[1] + (d_depth is not None)
    moments = np.empty((len(bins.list_ranks), moment_row_size(channels)), np.float32)
    flats = [_flatten_gradient(d_alpha), _flatten_gradient(d_features), _flatten_gradient(d_depth)]
    gradients = [flat for flat, _ in flats]
    if d_depth is None:
        gradients[2] = gradients[2][:0]
    steps = np.array([step for _, step in flats], np.int64)
    backward = compile_tile_kernels(channels).backward
    lists = (bins.tile_starts, bins.list_ranks, bins.list_row_ranges, bins.splats, bins.splat_size)
    image = (frame.view(-1).numpy(), frame[0].numel(), camera.width, camera.height)

    def propagate(first: int, last: int) -> None:
        backward(first, last, camera.tiles_x, *lists, *image, *gradients, steps, moments.reshape(-1))

    tiles = len(bins.tile_starts) - 1
    _parallel_for_range(propagate, tiles, -(-tiles // TILE_TASK_COUNT))
    return moments


def _gaussian_gradients(scene: _RasterInputs, bins: _TileBins, moments: Array, depth_column: int) -> list[Array]:
    """Gradients of means, quats, scales, opacities, features and offsets."""
    inputs = (scene.means, scene.quats, scene.scales, scene.opacities)
    lists = (bins.entry_spans, bins.entry_slots, moments, depth_column, bins.projected)
    gradients = [np.zeros_like(array) for array in (*inputs, scene.features, scene.screen_offsets)]

    def propagate(first: int, last: int) -> None:
        cpu_project.project_gaussians_backward(
            first, last, *lists, *inputs, scene.camera.view, scene.camera.lens, *gradients
        )

    _parallel_for_range(propagate, len(bins.entry_spans), GAUSSIANS_PER_TASK)
    return gradients
