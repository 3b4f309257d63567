"""A rigid body's visible side as a sheet of points over one view, and the loop that steadies its poses.

Round by round, over key frames: their mean texture in the view → tracks → bundle adjustment of shape, poses and lens.
Better poses give a sharper texture, which gives better tracks. At last every frame is followed once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...contract.geometry import project
from .bundle_adjustment import FREE, Poses, Tracks, adjust, resect
from .initial_pose import linearise
from .patch_tracker import CELL, F32, F64, FARTHEST, LEVELS, Picture, Surface
from .shape_prior import ShapePrior
from .smoothing import smooth_poses

ReadFrame = Callable[[int], Picture]
Tick = Callable[[], None]
KEY_FRAMES = 90  # for bundle adjustment; more tell little new
COARSE = np.s_[CELL // 2 :: CELL, CELL // 2 :: CELL]  # the pixels at which a sheet is projected
LOOKS = 9  # frames at which is looked how far a pose moves the body in the picture
BLOCK = 128  # frames followed at a time: what a fit needs in memory does not grow with the clip


class Sheet:
    """Points of a body seen in one view.

    Attributes:
        nodes: (H, W, 3) body-space point of each view pixel, metres; H and W are multiples of `CELL`.
        surface: the patches that are followed. points: (S, 3) their places on the body.
        loose: (S,) factor to the prior's deviations. intrinsics: (3, 3) of the footage's crop, pixels.
    """

    def __init__(self, nodes: F32, weight: F32, loose: F32, spacing: int, prior: ShapePrior, intrinsics: F64) -> None:
        """
        Args:
            weight: (H, W) how rigid and reliable each pixel is, 0–1. loose: (H, W).
            spacing: pixels of the view between two samples.
        """
        self.nodes, self.prior, self.intrinsics = nodes, prior, intrinsics
        self.surface = Surface(weight, spacing)
        x, y = self.surface.samples.T
        self.points: F64 = nodes[y, x].astype(np.float64)
        self._loose, self.loose = loose[COARSE], loose[y, x].astype(np.float64)

    def deformation(self, frame: int) -> F32 | None:
        """(H/CELL, W/CELL, 3) metres that frame `frame` adds to the nodes; a stiff body adds nothing."""
        return None

    def moved(self, frames: NDArray[np.int64]) -> F64:
        """(B, S, 3) metres that these frames add to the samples."""
        return np.zeros((len(frames), len(self.points), 3))

    def where(self, frame: int, poses: Poses) -> F32:
        """(H, W, 2) the frame's pixel of each view pixel."""
        nodes, added = self.nodes[COARSE], self.deformation(frame)
        nodes = nodes if added is None else nodes + added
        pixels = project(nodes, poses.rotation[frame], poses.translation[frame][None], self.intrinsics)
        height, width = self.nodes.shape[:2]
        return cv2.resize(pixels.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)

    def reshape(self, points: F64, intrinsics: F64) -> None:
        """Moves the whole sheet so that its samples lie at `points` (S, 3), seen through another lens."""
        shift = self.spread(points - self.points, self.nodes[COARSE].reshape(-1, 3), self._loose.ravel())
        height, width = self.nodes.shape[:2]
        coarse = shift.reshape(height // CELL, width // CELL, 3).astype(np.float32)
        self.nodes = self.nodes + cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        self.points, self.intrinsics = points, intrinsics

    def spread(self, offset: F64, others: NDArray[np.floating[Any]], loose: NDArray[np.floating[Any]]) -> F64:
        """(O, 3) how other points of the body move when the samples move by offset (S, 3)."""
        return self.prior.spread(
            self.points, self.loose, offset, np.asarray(others, np.float64), np.asarray(loose, np.float64)
        )


def steady(
    sheet: Sheet,
    frame: ReadFrame,
    poses: Poses,
    rounds: int,
    tick: Tick,
    *,
    usual_focal: float | None = None,
    hold: tuple[float, ...] = FREE,
    held: Poses | None = None,
) -> Poses:
    """Smooth poses that the picture itself supports; `sheet` gets its true shape, and the lens where it is free.

    Args:
        poses: start. tick: called once per frame.
        usual_focal, hold, held: as in `bundle.adjust`.
    """
    count = len(poses.rotation)
    keys = np.unique(np.linspace(0, count - 1, min(count, KEY_FRAMES)).astype(int))
    start, worth = poses, np.ones(len(sheet.points), np.float32)
    for _ in range(rounds):
        learn_texture(sheet, frame, poses, keys)
        tracks = follow(sheet, frame, poses, keys)
        near = None if held is None else held.some(keys)
        at_keys = resect(tracks, sheet.points, poses.some(keys), sheet.intrinsics, hold=hold, held=near)
        worth = reliability(sheet, tracks, at_keys)
        tracks.trust *= worth
        points, at_keys, lens = adjust(
            tracks, sheet.points, at_keys, sheet.intrinsics,
            prior=sheet.prior, loose=sheet.loose, usual_focal=usual_focal, hold=hold, held=near,
        )  # fmt: skip
        sheet.reshape(points, lens)
        poses = start.moved_with(keys, at_keys)
    return smoothed(sheet, locate(sheet, frame, poses, tick, hold=hold, held=held, worth=worth))


def smoothed(sheet: Sheet, poses: Poses) -> Poses:
    """The poses without their tremble."""
    some = poses.some(np.linspace(0, len(poses.rotation) - 1, LOOKS).astype(int))
    nowhere = np.zeros((LOOKS, len(sheet.points), 2))
    _, jacobian = linearise(nowhere, sheet.points, some.rotation, some.translation, sheet.intrinsics)
    pixels = np.sqrt(2 * (jacobian**2).mean((0, 1, 2)))
    return Poses(*smooth_poses(poses.rotation, poses.translation, pixels))


def learn_texture(
    sheet: Sheet, frame: ReadFrame, poses: Poses, frames: NDArray[np.int64], farthest: float = FARTHEST
) -> None:
    """Gives the sheet's surface the mean picture of these frames to look for; `farthest` as in `follow`."""

    def unwrap(t: int) -> Picture:
        return sheet.surface.unwrap(frame(t), sheet.where(t, poses))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        sheet.surface.learn_texture(pool.map(unwrap, frames.tolist()), farthest)


def locate(
    sheet: Sheet,
    frame: ReadFrame,
    poses: Poses,
    tick: Tick,
    *,
    hold: tuple[float, ...] = FREE,
    held: Poses | None = None,
    worth: F32 | float = 1.0,
    farthest: float = FARTHEST,
    levels: int = LEVELS,
) -> Poses:
    """A pose for every frame, for a sheet whose shape is known.

    Args:
        worth: (S,) see `reliability`. farthest, levels: as in `follow`. hold, held: as in `bundle.resect`.
        tick: called once per frame.
    """
    rotation, translation = poses.rotation.copy(), poses.translation.copy()
    for first in range(0, len(rotation), BLOCK):
        block = np.arange(first, min(first + BLOCK, len(rotation)))
        tracks = follow(sheet, frame, poses, block, farthest=farthest, levels=levels)
        tracks.trust *= worth
        near = None if held is None else held.some(block)
        found = resect(tracks, sheet.points, poses.some(block), sheet.intrinsics, hold=hold, held=near)
        rotation[block], translation[block] = found.rotation, found.translation
        for _ in block:
            tick()
    return Poses(rotation, translation)


def reliability(sheet: Sheet, tracks: Tracks, poses: Poses) -> F32:
    """(S,) 0–1 what each sample is worth, from how far it usually lies from where the poses put it.

    What slides under a sample (a gaze beside the eye's corner, loose hair, a highlight) shows as larger errors.
    """
    error = tracks.pixels - project(sheet.points + tracks.moved, poses.rotation, poses.translation, sheet.intrinsics)
    error = (tracks.sharpness @ error[..., None])[..., 0]
    error = error - np.median(error, 0)  # a constant offset is the sample's place, which bundle adjustment finds
    squared = (tracks.trust * np.minimum((error**2).sum(-1), 4.0)).sum(0) / np.maximum(tracks.trust.sum(0), 1e-6)
    usual = float(np.median(squared)) + 1e-6
    return (usual / (usual + squared)).astype(np.float32) ** 2


def follow(
    sheet: Sheet,
    frame: ReadFrame,
    poses: Poses,
    frames: NDArray[np.int64],
    *,
    farthest: float = FARTHEST,
    levels: int = LEVELS,
) -> Tracks:
    """Where the samples are seen in these frames, for poses (of all frames) that are nearly right.

    Args:
        farthest: pixels that a patch is followed. levels: halvings of the picture in the search.
    """

    def look(t: int) -> tuple[F32, F32]:
        return sheet.surface.observe(frame(t), sheet.where(t, poses), farthest, levels)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        pixels, trust = zip(*pool.map(look, frames.tolist()), strict=True)
    return Tracks(
        np.stack(pixels).astype(np.float64), np.stack(trust).astype(np.float64) * sheet.surface.sample_weight,
        sheet.moved(frames), sheet.surface.sharpness,
    )  # fmt: skip
