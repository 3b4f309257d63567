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

from backend.rasterizer import cpu_bin, cpu_project
from backend.rasterizer.compiled import share
from backend.rasterizer.constants import FRUSTUM_MARGIN
from backend.rasterizer.cpu_project import TILE_HEIGHT, TILE_WIDTH, Array
from backend.rasterizer.cpu_tiles import MOMENTS, tile_kernels

GAUSSIANS_PER_TASK = 2048
TILE_TASKS = 16


def rasterize_cpu(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    features: Tensor,
    offsets: Tensor,
    view: Tensor,
    intrinsics: Tensor,
    width: int,
    height: int,
    with_depth: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Features (H, W, C), alpha (H, W) and depth (H, W) or (0, 0), as `rasterize` defines them, in float32."""
    camera = _Camera.of(view, intrinsics, width, height)
    gaussians = [tensor.float().contiguous() for tensor in (means, quats, scales, opacities, features, offsets)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in gaussians):
        image, alpha, depth = _Rasterize.apply(*gaussians, camera, with_depth)
        return image, alpha, depth
    scene = _Scene(*(tensor.detach().numpy() for tensor in gaussians), camera)
    return _outputs(_draw(scene, _bin(scene, with_depth, for_backward=False)), scene, with_depth)


@dataclass(frozen=True)
class _Camera:
    view: Array  # (3, 4)
    lens: Array  # (8,) fx, fy, cx, cy; lowest and highest x/z and y/z of the Jacobian
    width: int
    height: int

    @classmethod
    def of(cls, view: Tensor, intrinsics: Tensor, width: int, height: int) -> _Camera:
        k = intrinsics.detach().double().numpy()
        fx, fy, cx, cy = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
        margin_x, margin_y = FRUSTUM_MARGIN * 0.5 * width / fx, FRUSTUM_MARGIN * 0.5 * height / fy
        limits = (-cx / fx - margin_x, (width - cx) / fx + margin_x, -cy / fy - margin_y, (height - cy) / fy + margin_y)
        pose = np.ascontiguousarray(view.detach().double().numpy()[:3])
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
class _Scene:
    """The inputs as contiguous float32 arrays."""

    means: Array
    quats: Array
    scales: Array
    opacities: Array
    features: Array
    offsets: Array
    camera: _Camera


@dataclass(frozen=True)
class _Bins:
    """What `cpu_bin` found: Gaussians by depth, and each tile's list of them."""

    projected: Array  # (N, 8)
    order: Array  # (ranks,) index of each drawn Gaussian, nearest first
    splats: Array  # (ranks · splat_size,)
    splat_size: int
    starts: Array  # (tiles + 1,)
    list_ranks: Array  # (entries,)
    list_rows: Array  # (entries,)
    spans: Array  # (ranks, 2) each rank's range in slots
    slots: Array  # where each rank's entries are in the lists; empty when no gradient is wanted


def _share_range(task: Callable[[int, int], object], count: int, size: int) -> None:
    """Run task(first, last) over pieces of 0 … count, each of at most `size`."""
    share(lambda k: task(k * size, min((k + 1) * size, count)), -(-count // size))


def _bin(scene: _Scene, with_depth: bool, for_backward: bool) -> _Bins:
    count, channels = scene.features.shape
    camera = scene.camera
    projected = np.empty((count, cpu_project.PROJECTED), np.float32)
    keys = np.empty(count, np.uint32)
    boxes = np.empty((count, 4), np.int32)

    def project(first: int, last: int) -> None:
        arrays = (scene.means, scene.quats, scene.scales, scene.opacities, scene.features, scene.offsets)
        frame = (camera.view, camera.lens, camera.width, camera.height)
        cpu_project.project(first, last, *arrays, *frame, projected, keys, boxes)

    _share_range(project, count, GAUSSIANS_PER_TASK)
    order = cpu_bin.depth_order(keys)

    drawn = len(order)
    parts = -(-drawn // GAUSSIANS_PER_TASK)
    limits = np.minimum(np.arange(parts + 1, dtype=np.int64) * GAUSSIANS_PER_TASK, drawn)
    room = np.empty(parts + 1, np.int64)
    cpu_bin.capacity(order, boxes, limits, room)
    splat_size = cpu_bin.SPLAT + channels + with_depth
    splats = np.empty((drawn, splat_size), np.float32)
    spans = np.empty((drawn, 2), np.int64)
    entry_tiles, entry_rows = np.empty(room[-1], np.int32), np.empty(room[-1], np.int32)
    counts = np.zeros((parts, camera.tiles_x * camera.tiles_y), np.int64)

    def enter(part: int) -> None:
        inputs = (part, limits, room, order, boxes, projected, scene.features, with_depth)
        outputs = (splats, spans, entry_tiles, entry_rows, counts)
        cpu_bin.enter(*inputs, camera.height, camera.tiles_x, *outputs)

    share(enter, parts)
    starts = np.empty(counts.shape[1] + 1, np.int64)
    cpu_bin.tile_starts(counts, starts)
    list_ranks, list_rows = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    slots = np.empty(room[-1] if for_backward else 0, np.int32)
    share(
        lambda part: cpu_bin.fill_lists(
            part, limits, spans, entry_tiles, entry_rows, counts, list_ranks, list_rows, slots
        ),
        parts,
    )
    return _Bins(projected, order, splats.reshape(-1), splat_size, starts, list_ranks, list_rows, spans, slots)


def _draw(scene: _Scene, bins: _Bins) -> Tensor:
    """The frame in whole tiles, (1 + channels, H', W'): transmittance, features, depth."""
    channels = bins.splat_size - cpu_bin.SPLAT
    frame = torch.empty(1 + channels, *scene.camera.frame_shape)
    flat = frame.view(-1).numpy()
    tiles_x = scene.camera.tiles_x
    forward = tile_kernels(channels).forward
    lists = (bins.starts, bins.list_ranks, bins.list_rows, bins.splats, bins.splat_size)

    def draw(first: int, last: int) -> None:
        forward(first, last, tiles_x, *lists, flat, frame[0].numel())

    tiles = len(bins.starts) - 1
    _share_range(draw, tiles, -(-tiles // TILE_TASKS))
    return frame


def _outputs(frame: Tensor, scene: _Scene, with_depth: bool) -> tuple[Tensor, Tensor, Tensor]:
    channels = scene.features.shape[1]
    inside = frame[:, : scene.camera.height, : scene.camera.width]
    depth = inside[-1] if with_depth else frame.new_zeros(0, 0)
    return inside[1 : 1 + channels].permute(1, 2, 0), 1 - inside[0], depth


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        *gaussians, camera, with_depth = arguments
        scene = _Scene(*(tensor.detach().numpy() for tensor in gaussians), camera)
        bins = _bin(scene, with_depth, for_backward=True)
        frame = _draw(scene, bins)
        ctx.scene, ctx.bins = scene, bins
        ctx.save_for_backward(*gaussians, frame)  # so that torch notices when one of them is changed in place
        ctx.set_materialize_grads(False)
        return _outputs(frame, scene, with_depth)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, d_features: Tensor | None, d_alpha: Tensor | None, d_depth: Tensor | None) -> Any:
        scene, bins, frame = ctx.scene, ctx.bins, ctx.saved_tensors[-1]
        camera, channels = scene.camera, scene.features.shape[1]
        with_depth = d_depth is not None and d_depth.numel() > 0
        d_frame = frame.new_zeros(1 + channels + with_depth, *camera.frame_shape)
        inside = d_frame[:, : camera.height, : camera.width]
        if d_alpha is not None:
            inside[0] = d_alpha
        if d_features is not None:
            inside[1 : 1 + channels] = d_features.permute(2, 0, 1)
        if with_depth:
            inside[-1] = d_depth
        moments = _tile_moments(scene, bins, frame, d_frame)
        gradients = _gaussian_gradients(scene, bins, moments, MOMENTS + channels if with_depth else -1)
        return *map(torch.from_numpy, gradients), None, None


def _tile_moments(scene: _Scene, bins: _Bins, frame: Tensor, d_frame: Tensor) -> Array:
    """(entries, MOMENTS + channels), see `cpu_tiles`."""
    channels = d_frame.shape[0] - 1
    moments = np.empty((len(bins.list_ranks), MOMENTS + channels), np.float32)
    backward = tile_kernels(channels).backward
    lists = (bins.starts, bins.list_ranks, bins.list_rows, bins.splats, bins.splat_size)
    frames = (frame.view(-1).numpy(), d_frame.view(-1).numpy(), frame[0].numel())

    def propagate(first: int, last: int) -> None:
        backward(first, last, scene.camera.tiles_x, *lists, *frames, moments.reshape(-1))

    tiles = len(bins.starts) - 1
    _share_range(propagate, tiles, -(-tiles // TILE_TASKS))
    return moments


def _gaussian_gradients(scene: _Scene, bins: _Bins, moments: Array, depth_column: int) -> list[Array]:
    """Gradients of means, quats, scales, opacities, features and offsets."""
    inputs = (scene.means, scene.quats, scene.scales, scene.opacities)
    lists = (bins.order, bins.spans, bins.slots, moments, depth_column, bins.projected)
    gradients = [np.zeros_like(array) for array in (*inputs, scene.features, scene.offsets)]

    def propagate(first: int, last: int) -> None:
        cpu_project.project_backward(first, last, *lists, *inputs, scene.camera.view, scene.camera.lens, *gradients)

    _share_range(propagate, len(bins.order), GAUSSIANS_PER_TASK)
    return gradients
