"""Steady poses for head and torso: every frame is aligned to the clip's own mean texture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..geometry import FLIP, project
from . import topology as topo
from .pose import fit_pose
from .surface import F32, F64, Picture, Surface, rasterise

ReadFrame = Callable[[int], Picture]
Tick = Callable[[], None]
ROUNDS = 2
BLOCK = 128  # frames fitted at a time
TORSO_DEPTH = -0.06  # metres: how far behind the eye corners the chest's surface is taken to lie


def steady_head(
    frame: ReadFrame, vertices: F64, neutral: F64, rotation: F64, translation: F64, intrinsics: F64, tick: Tick
) -> tuple[F64, F64]:
    """Head → camera poses, refined.

    Args:
        frame: reads the crop (S, S, 3) of a frame number.
        vertices: (T, 478, 3) the face mesh of each frame in head space. neutral: (478, 3).
        rotation (T, 3, 3), translation (T, 3): poses from landmarks. intrinsics: (3, 3) of the crop.
        tick: called once per frame and round, `ROUNDS` · T times.

    Returns:
        rotation (T, 3, 3), translation (T, 3).
    """
    triangles = topo.triangles(neutral)
    centre = np.median(translation, 0)
    view = project(neutral, FLIP, centre, intrinsics)
    view -= np.floor(view.min(0)) - 2  # the surface's own view holds the face and nothing else
    side = int(np.ceil(view.max())) + 2
    face, bary = rasterise(view, triangles, -neutral[:, 2], side)
    corners = triangles[np.maximum(face, 0)]  # (H, W, 3)
    rigid = _rigidity(neutral)
    weight = np.where(face >= 0, (rigid[corners] * bary).sum(-1), 0).astype(np.float32)
    surface = Surface(cv2.GaussianBlur(weight, (0, 0), 1.0) * (weight > 0), spacing=max(2, side // 44))
    sx, sy = surface.samples[:, 0], surface.samples[:, 1]
    sample_corners, sample_bary = corners[sy, sx], bary[sy, sx].astype(np.float64)

    for _ in range(ROUNDS):
        poses = (rotation, translation)

        def where(t: int, poses: tuple[F64, F64] = poses) -> F32:
            pixels = project(vertices[t], poses[0][t], poses[1][t], intrinsics).astype(np.float32)
            return np.einsum("hwk,hwkc->hwc", bary, pixels[corners], optimize=True)

        texture = surface.mean_texture(len(vertices), frame, where)
        rotation, translation = np.empty_like(rotation), np.empty_like(translation)
        for block in _blocks(len(vertices)):
            seen, confidence = _observe(surface, texture, frame, where, block, tick)
            points = np.einsum("sk,tskc->tsc", sample_bary, vertices[block][:, sample_corners], optimize=True)
            start = poses[0][block], poses[1][block]
            trust = confidence * surface.sample_weight
            fitted = fit_pose(seen, points, trust, intrinsics, start, iterations=8, huber=0.002)
            rotation[block], translation[block] = fitted[:2]
    return rotation, translation


def _blocks(count: int) -> list[slice]:
    """The frames in blocks: what a fit needs in memory then does not grow with the clip."""
    return [slice(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]


def _observe(
    surface: Surface, texture: Picture, frame: ReadFrame, where: Callable[[int], F32], block: slice, tick: Tick
) -> tuple[F64, F64]:
    """Where the surface's samples are seen in the frames of a block: pixels (B, S, 2) and confidence (B, S)."""
    seen, confidence = [], []
    for t in range(block.start, block.stop):
        pixels, sure = surface.observe(texture, frame(t), where(t))
        seen.append(pixels)
        confidence.append(sure)
        tick()
    return np.stack(seen), np.stack(confidence)


def _rigidity(neutral: F64) -> F64:
    """(478,) 1 on the skull's own skin (nose, cheekbones, temples, forehead), 0 where expressions move it."""
    y, z = neutral[:, 1], neutral[:, 2]
    result = np.full(len(neutral), 0.25)
    nose = (np.abs(neutral[:, 0]) < 0.022) & (y < 0.012) & (y > neutral[2, 1]) & (z > neutral[topo.EYE_INNER_LEFT, 2])
    result[nose] = 1.0
    result[(y > 0.030)] = 0.35
    below = y < neutral[2, 1] + 0.004
    result[below] = 0.0
    movable = (*topo.LIPS, *topo.BROW_LEFT, *topo.BROW_RIGHT)
    result[topo.indices(*movable)] = 0.0
    for lids in (topo.LID_UPPER_LEFT, topo.LID_LOWER_LEFT, topo.LID_UPPER_RIGHT, topo.LID_LOWER_RIGHT):
        result[topo.indices(*lids)] = 0.05
    for corner in (topo.EYE_INNER_LEFT, topo.EYE_INNER_RIGHT, topo.EYE_OUTER_LEFT, topo.EYE_OUTER_RIGHT):
        result[corner] = 0.8
    return result


def torso_pose(
    frame: ReadFrame, mask: Callable[[int], F32], depth: float, count: int, reference: int, intrinsics: F64, tick: Tick
) -> tuple[F64, F64]:
    """Torso poses relative to the reference frame, in camera space: p = R (p_ref − c) + c + t about the chest's centre.

    Args:
        frame: reads the crop of a frame number. mask: (H, W) torso alpha of a frame number.
        depth: camera z in metres at which the torso's surface is taken to lie.
        count: T. reference: the frame whose torso is the rest. tick: called `ROUNDS` · T times.

    Returns:
        rotation (T, 3, 3) and translation (T, 3): camera space of the reference frame → of frame t.
    """
    size = frame(reference).shape[0]
    common = np.mean([mask(int(t)) for t in np.unique(np.linspace(0, count - 1, 40).astype(int))], axis=0)
    weight = (cv2.erode((common > 0.9).astype(np.uint8), np.ones((5, 5))) > 0).astype(np.float32)
    identity = np.tile(np.eye(3), (count, 1, 1))
    if weight.sum() < 0.004 * weight.size:
        return identity, np.zeros((count, 3))
    rows, columns = np.nonzero(weight.any(1))[0], np.nonzero(weight.any(0))[0]
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    y, x = np.mgrid[window].astype(np.float32) + 0.5
    weight = weight[window]
    surface = Surface(weight, spacing=max(2, size // 64))
    f, cx, cy = intrinsics[0, 0], intrinsics[0, 2], intrinsics[1, 2]
    z = (depth + chest_curve((x - x.mean()) / f * depth)).astype(np.float32)
    grid = np.stack([(x - cx) / f * z, (y - cy) / f * z, z], -1)
    points = grid[surface.samples[:, 1], surface.samples[:, 0]].astype(np.float64)
    pivot = points.mean(0)
    rotation, shift = identity, np.zeros((count, 3))
    texture = frame(reference)[window]
    for _ in range(ROUNDS):
        poses = (rotation, shift)

        def where(t: int, poses: tuple[F64, F64] = poses) -> F32:
            moved = (grid - pivot) @ poses[0][t].T + pivot + poses[1][t]
            return (moved[..., :2] / moved[..., 2:] * f + [cx, cy]).astype(np.float32)

        rotation, shift = np.empty_like(rotation), np.empty_like(shift)
        for block in _blocks(count):
            seen, confidence = _observe(surface, texture, frame, where, block, tick)
            rotation[block], shift[block] = _planar_pose(seen, points - pivot, confidence, pivot, intrinsics)
        poses = (rotation, shift)
        texture = surface.mean_texture(count, frame, lambda t, poses=poses: where(t, poses))  # type: ignore[misc]
    return rotation, shift + pivot - np.einsum("tij,j->ti", rotation, pivot)


def chest_curve(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Metres by which the torso's surface recedes from the camera at x metres beside its middle, as shoulders do."""
    return 0.05 * np.minimum((x / 0.22) ** 2, 1.5)


def _planar_pose(seen: F64, points: F64, confidence: F64, pivot: F64, intrinsics: F64) -> tuple[F64, F64]:
    """Poses of a nearly flat patch. Turning out of the picture's plane barely shows, so it is held near rest."""
    count = len(seen)
    start = np.tile(np.eye(3), (count, 1, 1)), np.tile(pivot, (count, 1))
    rotation, translation, _ = fit_pose(
        seen, points, confidence, intrinsics, start, iterations=8, huber=0.002, stiff=(3.0, 3.0, 0.0, 0.0, 0.0, 0.1)
    )
    return rotation, translation - pivot
