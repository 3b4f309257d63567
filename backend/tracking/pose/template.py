"""A rigid body's visible side as a sheet of points over one view, and the loop that steadies its poses.

Round by round, over key frames: their mean texture in the view → tracks → bundle adjustment of shape, poses and lens.
Better poses give a sharper texture, which gives better tracks. At last every frame is followed once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from ...contract.arrays import F32, F64, I64, Floats, Image
from ...contract.geometry import project_points
from .bundle_adjustment import NO_POSE_PRIOR, PointTracks, Poses, adjust_bundle, solve_pnp
from .initial_pose import linearize_projection
from .patch_tracker import MAX_DISPLACEMENT_PIXELS, NODE_SPACING, PYRAMID_LEVELS, PatchTracker
from .shape_prior import ShapePrior
from .smoothing import smooth_poses

ReadFrame = Callable[[int], Image]
FrameDoneCallback = Callable[[], None]
MAX_KEYFRAMES = 90  # for bundle adjustment; more tell little new
NODE_GRID = np.s_[
    NODE_SPACING // 2 :: NODE_SPACING, NODE_SPACING // 2 :: NODE_SPACING
]  # the pixels at which a sheet is projected
SENSITIVITY_FRAMES = 9  # frames at which is looked how far a pose moves the body in the picture
FRAMES_PER_BLOCK = 128  # frames followed at a time: what a fit needs in memory does not grow with the clip


class Template:
    """Points of a body seen in one view.

    Attributes:
        nodes: (H, W, 3) body-space point of each view pixel, metres; H and W are multiples of `CELL`.
        surface: the patches that are followed. points: (S, 3) their places on the body.
        loose: (S,) factor to the prior's deviations. intrinsics: (3, 3) of the footage's crop, pixels.
    """

    def __init__(
        self, nodes: F32, weight: F32, deviation_scale: F32, spacing: int, shape_prior: ShapePrior, intrinsics: F64
    ) -> None:
        """
        Args:
            weight: (H, W) how rigid and reliable each pixel is, 0–1. loose: (H, W).
            spacing: pixels of the view between two samples.
        """
        self.nodes, self.shape_prior, self.intrinsics = nodes, shape_prior, intrinsics
        self.patch_tracker = PatchTracker(weight, spacing)
        x, y = self.patch_tracker.samples.T
        self.points: F64 = nodes[y, x].astype(np.float64)
        self._node_deviation_scale, self.deviation_scale = (
            deviation_scale[NODE_GRID],
            deviation_scale[y, x].astype(np.float64),
        )

    def node_deformation(self, frame_index: int) -> F32 | None:
        """(H/CELL, W/CELL, 3) metres that frame `frame` adds to the nodes; a stiff body adds nothing."""
        return None

    def sample_deformation(self, frame_indices: I64) -> F64:
        """(B, S, 3) metres that these frames add to the samples."""
        return np.zeros((len(frame_indices), len(self.points), 3))

    def compute_warp_map(self, frame_index: int, poses: Poses) -> F32:
        """(H, W, 2) the frame's pixel of each view pixel."""
        nodes, added = self.nodes[NODE_GRID], self.node_deformation(frame_index)
        nodes = nodes if added is None else nodes + added
        pixels = project_points(
            nodes, poses.rotation[frame_index], poses.translation[frame_index][None], self.intrinsics
        )
        height, width = self.nodes.shape[:2]
        return cv2.resize(pixels.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)

    def update_shape(self, points: F64, intrinsics: F64) -> None:
        """Moves the whole sheet so that its samples lie at `points` (S, 3), seen through another lens."""
        shift = self.propagate_displacement(
            points - self.points, self.nodes[NODE_GRID].reshape(-1, 3), self._node_deviation_scale.ravel()
        )
        height, width = self.nodes.shape[:2]
        coarse = shift.reshape(height // NODE_SPACING, width // NODE_SPACING, 3).astype(np.float32)
        self.nodes = self.nodes + cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        self.points, self.intrinsics = points, intrinsics

    def propagate_displacement(
        self,
        displacement: F64,
        query_points: Floats,
        query_deviation_scale: Floats,
    ) -> F64:
        """(O, 3) how other points of the body move when the samples move by offset (S, 3)."""
        return self.shape_prior.propagate_displacement(
            self.points,
            self.deviation_scale,
            displacement,
            np.asarray(query_points, np.float64),
            np.asarray(query_deviation_scale, np.float64),
        )


def refine_poses(
    template: Template,
    read_frame: ReadFrame,
    poses: Poses,
    rounds: int,
    on_frame_done: FrameDoneCallback,
    *,
    focal_prior: float | None = None,
    pose_precision: tuple[float, ...] = NO_POSE_PRIOR,
    prior_poses: Poses | None = None,
) -> Poses:
    """Smooth poses that the picture itself supports; `sheet` gets its true shape, and the lens where it is free.

    Args:
        poses: start. tick: called once per frame.
        usual_focal, hold, held: as in `bundle.adjust`.
    """
    count = len(poses.rotation)
    keys = np.unique(np.linspace(0, count - 1, min(count, MAX_KEYFRAMES)).astype(int))
    start, worth = poses, np.ones(len(template.points), np.float32)
    for _ in range(rounds):
        learn_texture(template, read_frame, poses, keys)
        tracks = track_patches(template, read_frame, poses, keys)
        near = None if prior_poses is None else prior_poses.select(keys)
        at_keys = solve_pnp(
            tracks,
            template.points,
            poses.select(keys),
            template.intrinsics,
            pose_precision=pose_precision,
            prior_poses=near,
        )
        worth = estimate_reliability(template, tracks, at_keys)
        tracks.confidence *= worth
        points, at_keys, lens = adjust_bundle(
            tracks,
            template.points,
            at_keys,
            template.intrinsics,
            shape_prior=template.shape_prior,
            deviation_scale=template.deviation_scale,
            focal_prior=focal_prior,
            pose_precision=pose_precision,
            prior_poses=near,
        )
        template.update_shape(points, lens)
        poses = start.correct_at_keyframes(keys, at_keys)
    return remove_jitter(
        template,
        estimate_poses(
            template,
            read_frame,
            poses,
            on_frame_done,
            pose_precision=pose_precision,
            prior_poses=prior_poses,
            sample_reliability=worth,
        ),
    )


def remove_jitter(template: Template, poses: Poses) -> Poses:
    """The poses without their tremble."""
    some = poses.select(np.linspace(0, len(poses.rotation) - 1, SENSITIVITY_FRAMES).astype(int))
    nowhere = np.zeros((SENSITIVITY_FRAMES, len(template.points), 2))
    _, jacobian = linearize_projection(nowhere, template.points, some.rotation, some.translation, template.intrinsics)
    pixels = np.sqrt(2 * (jacobian**2).mean((0, 1, 2)))
    return Poses(*smooth_poses(poses.rotation, poses.translation, pixels))


def learn_texture(
    template: Template,
    read_frame: ReadFrame,
    poses: Poses,
    frame_indices: I64,
    max_displacement: float = MAX_DISPLACEMENT_PIXELS,
) -> None:
    """Gives the sheet's surface the mean picture of these frames to look for; `farthest` as in `follow`."""

    def unwrap(t: int) -> Image:
        return template.patch_tracker.unwrap_frame(read_frame(t), template.compute_warp_map(t, poses))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        template.patch_tracker.learn_texture(pool.map(unwrap, frame_indices.tolist()), max_displacement)


def estimate_poses(
    template: Template,
    read_frame: ReadFrame,
    poses: Poses,
    on_frame_done: FrameDoneCallback,
    *,
    pose_precision: tuple[float, ...] = NO_POSE_PRIOR,
    prior_poses: Poses | None = None,
    sample_reliability: F32 | float = 1.0,
    max_displacement: float = MAX_DISPLACEMENT_PIXELS,
    pyramid_levels: int = PYRAMID_LEVELS,
) -> Poses:
    """A pose for every frame, for a sheet whose shape is known.

    Args:
        worth: (S,) see `reliability`. farthest, levels: as in `follow`. hold, held: as in `bundle.resect`.
        tick: called once per frame.
    """
    rotation, translation = poses.rotation.copy(), poses.translation.copy()
    for first in range(0, len(rotation), FRAMES_PER_BLOCK):
        block = np.arange(first, min(first + FRAMES_PER_BLOCK, len(rotation)))
        tracks = track_patches(
            template, read_frame, poses, block, max_displacement=max_displacement, pyramid_levels=pyramid_levels
        )
        tracks.confidence *= sample_reliability
        near = None if prior_poses is None else prior_poses.select(block)
        found = solve_pnp(
            tracks,
            template.points,
            poses.select(block),
            template.intrinsics,
            pose_precision=pose_precision,
            prior_poses=near,
        )
        rotation[block], translation[block] = found.rotation, found.translation
        for _ in block:
            on_frame_done()
    return Poses(rotation, translation)


def estimate_reliability(template: Template, tracks: PointTracks, poses: Poses) -> F32:
    """(S,) 0–1 what each sample is worth, from how far it usually lies from where the poses put it.

    What slides under a sample (a gaze beside the eye's corner, loose hair, a highlight) shows as larger errors.
    """
    error = tracks.pixels - project_points(
        template.points + tracks.deformation, poses.rotation, poses.translation, template.intrinsics
    )
    error = (tracks.sqrt_information @ error[..., None])[..., 0]
    error = error - np.median(error, 0)  # a constant offset is the sample's place, which bundle adjustment finds
    squared = (tracks.confidence * np.minimum((error**2).sum(-1), 4.0)).sum(0) / np.maximum(
        tracks.confidence.sum(0), 1e-6
    )
    usual = float(np.median(squared)) + 1e-6
    return (usual / (usual + squared)).astype(np.float32) ** 2


def track_patches(
    template: Template,
    read_frame: ReadFrame,
    poses: Poses,
    frame_indices: I64,
    *,
    max_displacement: float = MAX_DISPLACEMENT_PIXELS,
    pyramid_levels: int = PYRAMID_LEVELS,
) -> PointTracks:
    """Where the samples are seen in these frames, for poses (of all frames) that are nearly right.

    Args:
        farthest: pixels that a patch is followed. levels: halvings of the picture in the search.
    """

    def look(t: int) -> tuple[F32, F32]:
        return template.patch_tracker.track_samples(
            read_frame(t), template.compute_warp_map(t, poses), max_displacement, pyramid_levels
        )

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        pixels, trust = zip(*pool.map(look, frame_indices.tolist()), strict=True)
    return PointTracks(
        np.stack(pixels).astype(np.float64), np.stack(trust).astype(np.float64) * template.patch_tracker.sample_weight,
        template.sample_deformation(frame_indices), template.patch_tracker.sqrt_information,
    )  # fmt: skip
