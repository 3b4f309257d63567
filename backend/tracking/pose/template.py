"""A rigid body's visible side as a template in one view, and the loop that refines the body's poses with it.

Round by round over keyframes: their mean texture in the view → tracks → bundle adjustment of shape, poses and lens.
Better poses give a sharper texture, which gives better tracks. At the end every frame is tracked once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2
import numpy as np

from ...contract.arrays import F32, F64, I64, Floats, Image
from ...contract.geometry import project_points
from .bundle_adjustment import Bundle, BundlePriors, adjust_bundle
from .least_squares import linearize_projection
from .patch_tracker import DEFAULT_SEARCH, NODE_SPACING, PatchTracker, SearchRange
from .pnp import solve_pnp
from .poses import NO_POSE_PRIOR, PointTracks, PosePrior, Poses, spread_frames
from .shape_prior import ShapePrior
from .smoothing import smooth_poses

ReadFrame = Callable[[int], Image]
FrameDoneCallback = Callable[[], None]
T = TypeVar("T")

MAX_KEYFRAMES = 90  # frames of bundle adjustment; more add time and little information. Not tuned.
SENSITIVITY_FRAMES = 9  # frames in which it is measured how far a pose moves the body in the image
FRAMES_PER_BLOCK = 128  # frames that are tracked at a time, so that the memory does not grow with the clip
MAX_RELIABILITY_ERROR = 4.0  # pixels²: squared errors are cut off there, so that few outliers condemn no sample
MIN_SAMPLE_SPACING = 3  # pixels of the view
NODE_GRID = np.s_[NODE_SPACING // 2 :: NODE_SPACING, NODE_SPACING // 2 :: NODE_SPACING]  # pixels that are projected


class Template:
    """Points of a body, seen in one view.

    Attributes:
        nodes: (H, W, 3) metres: body-space point of each view pixel; H and W are multiples of `NODE_SPACING`.
        patch_tracker: tracks the patches around the samples.
        points: (S, 3) metres: body-space points of the samples.
        deviation_scale: (S,) factor to the shape prior's deviations at the samples.
        shape_prior: of the points' displacements.
        intrinsics: (3, 3) of the footage's crop, pixels.
    """

    def __init__(
        self,
        nodes: F32,
        weight: F32,
        deviation_scale: F32,
        samples_across: int,
        shape_prior: ShapePrior,
        intrinsics: F64,
    ) -> None:
        """Lay the samples' grid over the view.

        Args:
            nodes: (H, W, 3) see the class.
            weight: (H, W) 0–1 how rigid and reliable each pixel is.
            deviation_scale: (H, W) factor to the shape prior's deviations.
            samples_across: samples over the width of the view, where the view has pixels enough.
            shape_prior: see the class.
            intrinsics: see the class.
        """
        self.nodes, self.shape_prior, self.intrinsics = nodes, shape_prior, intrinsics
        spacing = max(MIN_SAMPLE_SPACING, round(nodes.shape[1] / samples_across))
        self.patch_tracker = PatchTracker(weight, spacing)
        x, y = self.patch_tracker.samples.T
        self.points: F64 = nodes[y, x].astype(np.float64)
        self.deviation_scale: F64 = deviation_scale[y, x].astype(np.float64)
        self._node_deviation_scale = deviation_scale[NODE_GRID]

    def node_deformation(self, frame_index: int) -> F32 | None:
        """Return the metres (rows, columns, 3) that a frame's deformation adds to the nodes, or None for a rigid body.

        Rows and columns are those of `NODE_GRID`.
        """
        return None

    def sample_deformation(self, frame_indices: I64) -> F64:
        """Return the metres (B, S, 3) that the deformation of B frames adds to the samples."""
        return np.zeros((len(frame_indices), len(self.points), 3))

    def compute_warp_map(self, frame_index: int, poses: Poses) -> F32:
        """Return the frame's pixel of each view pixel (H, W, 2)."""
        nodes, deformation = self.nodes[NODE_GRID], self.node_deformation(frame_index)
        nodes = nodes if deformation is None else nodes + deformation
        pixels = project_points(
            nodes, poses.rotation[frame_index], poses.translation[frame_index][None], self.intrinsics
        )
        height, width = self.nodes.shape[:2]
        warp_map: F32 = cv2.resize(pixels.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR).astype(
            np.float32
        )
        return warp_map

    def update_shape(self, points: F64, intrinsics: F64) -> None:
        """Move the whole template so that its samples lie at `points` (S, 3), seen through another lens."""
        displacement = self.propagate_displacement(
            points - self.points, self.nodes[NODE_GRID].reshape(-1, 3), self._node_deviation_scale.ravel()
        )
        height, width = self.nodes.shape[:2]
        coarse = displacement.reshape(height // NODE_SPACING, width // NODE_SPACING, 3).astype(np.float32)
        self.nodes = self.nodes + cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        self.points, self.intrinsics = points, intrinsics

    def propagate_displacement(self, displacement: F64, query_points: Floats, query_deviation_scale: Floats) -> F64:
        """Return how other points of the body (Q, 3) move when the samples move by `displacement` (S, 3)."""
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
    pose_prior: PosePrior = NO_POSE_PRIOR,
) -> Poses:
    """Return smooth poses that the images support; the template gets its true shape, and the lens where it is free.

    Args:
        template: changed in place.
        read_frame: reads the crop of a frame.
        poses: start.
        rounds: of texture, tracks and bundle adjustment.
        on_frame_done: called once per frame.
        focal_prior: usual focal length in pixels, or None to keep the template's.
        pose_prior: pull of the poses.
    """
    keyframes = spread_frames(len(poses.rotation), MAX_KEYFRAMES)
    start, reliability = poses, np.ones(len(template.points), np.float32)
    keyframe_prior = pose_prior.select(keyframes)
    for _ in range(rounds):
        learn_texture(template, read_frame, poses, keyframes)
        tracks = track_patches(template, read_frame, poses, keyframes)
        at_keyframes = solve_pnp(tracks, template.points, poses.select(keyframes), template.intrinsics, keyframe_prior)
        reliability = estimate_reliability(template, tracks, at_keyframes)
        tracks.confidence *= reliability
        adjusted = adjust_bundle(
            tracks,
            Bundle(template.points, at_keyframes, template.intrinsics),
            BundlePriors(template.shape_prior, template.deviation_scale, focal_prior, keyframe_prior),
        )
        template.update_shape(adjusted.points, adjusted.intrinsics)
        poses = start.correct_at_keyframes(keyframes, adjusted.poses)
    poses = estimate_poses(
        template, read_frame, poses, on_frame_done, pose_prior=pose_prior, sample_reliability=reliability
    )
    return remove_jitter(template, poses)


def remove_jitter(template: Template, poses: Poses) -> Poses:
    """Return the poses, smoothed as far as the noise moves the body in the image."""
    chosen = poses.select(np.linspace(0, len(poses.rotation) - 1, SENSITIVITY_FRAMES).astype(int))
    no_pixels = np.zeros((SENSITIVITY_FRAMES, len(template.points), 2))
    _, jacobian = linearize_projection(no_pixels, template.points, chosen, template.intrinsics)
    pixels_per_unit = np.sqrt(2 * (jacobian**2).mean((0, 1, 2)))
    return smooth_poses(poses, pixels_per_unit)


def learn_texture(
    template: Template,
    read_frame: ReadFrame,
    poses: Poses,
    frame_indices: I64,
    search: SearchRange = DEFAULT_SEARCH,
) -> None:
    """Make the mean of these frames the template's texture.

    Args:
        template: changed in place.
        read_frame: reads the crop of a frame.
        poses: of all frames.
        frame_indices: frames of the mean.
        search: of the tracking that follows.
    """

    def unwrap(t: int) -> Image:
        return template.patch_tracker.unwrap_frame(read_frame(t), template.compute_warp_map(t, poses))

    template.patch_tracker.learn_texture(_map_in_threads(unwrap, frame_indices), search)


def estimate_poses(
    template: Template,
    read_frame: ReadFrame,
    poses: Poses,
    on_frame_done: FrameDoneCallback,
    *,
    pose_prior: PosePrior = NO_POSE_PRIOR,
    sample_reliability: F32 | float = 1.0,
    search: SearchRange = DEFAULT_SEARCH,
) -> Poses:
    """Return a pose for every frame, for a template whose shape is known.

    Args:
        template: with a texture.
        read_frame: reads the crop of a frame.
        poses: start.
        on_frame_done: called once per frame.
        pose_prior: pull of the poses.
        sample_reliability: (S,) see `estimate_reliability`.
        search: how far patches are searched for.
    """
    rotation, translation = poses.rotation.copy(), poses.translation.copy()
    for first in range(0, len(rotation), FRAMES_PER_BLOCK):
        block = np.arange(first, min(first + FRAMES_PER_BLOCK, len(rotation)))
        tracks = track_patches(template, read_frame, poses, block, search)
        tracks.confidence *= sample_reliability
        found = solve_pnp(tracks, template.points, poses.select(block), template.intrinsics, pose_prior.select(block))
        rotation[block], translation[block] = found.rotation, found.translation
        for _ in block:
            on_frame_done()
    return Poses(rotation, translation)


def estimate_reliability(template: Template, tracks: PointTracks, poses: Poses) -> F32:
    """Return how reliable each sample is (S,) 0–1, from how far it usually lies from where the poses put it.

    What slides under a sample (a gaze beside the corner of the eye, loose hair, a highlight) shows as larger errors.
    """
    error = tracks.pixels - project_points(
        template.points + tracks.deformation, poses.rotation, poses.translation, template.intrinsics
    )
    error = (tracks.sqrt_information @ error[..., None])[..., 0]
    error = error - np.median(error, 0)  # a constant offset is the sample's position, which bundle adjustment finds
    squared = np.minimum((error**2).sum(-1), MAX_RELIABILITY_ERROR)
    mean = (tracks.confidence * squared).sum(0) / np.maximum(tracks.confidence.sum(0), 1e-6)
    usual = float(np.median(mean)) + 1e-6
    reliability: F32 = (usual / (usual + mean)).astype(np.float32) ** 2
    return reliability


def track_patches(
    template: Template,
    read_frame: ReadFrame,
    poses: Poses,
    frame_indices: I64,
    search: SearchRange = DEFAULT_SEARCH,
) -> PointTracks:
    """Find the samples in these frames.

    Args:
        template: with a texture.
        read_frame: reads the crop of a frame.
        poses: of all frames, right to within the search range.
        frame_indices: frames that are tracked.
        search: how far patches are searched for.
    """

    def track(t: int) -> tuple[F32, F32]:
        return template.patch_tracker.track_samples(read_frame(t), template.compute_warp_map(t, poses), search)

    pixels, confidence = zip(*_map_in_threads(track, frame_indices), strict=True)
    return PointTracks(
        np.stack(pixels).astype(np.float64),
        np.stack(confidence).astype(np.float64) * template.patch_tracker.sample_weight,
        template.sample_deformation(frame_indices),
        template.patch_tracker.sqrt_information,
    )


def _map_in_threads(function: Callable[[int], T], frame_indices: I64) -> Iterator[T]:
    """Yield the function's values for the frames, in their order."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(function, frame_indices.tolist())
