"""The torso as a template of its own: chest and shoulders in the view of one frame, on a shallow curve at first."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ...contract.arrays import F32, F64, Floats
from .patch_tracker import NODE_SPACING, SearchRange
from .poses import PosePrior, Poses, spread_frames
from .shape_prior import ShapePrior
from .template import FrameDoneCallback, ReadFrame, Template, estimate_poses, learn_texture, refine_poses

TORSO_DEPTH_OFFSET = -0.06  # metres from the eye corners back to the chest's surface; a guess that is not refined
# The depth of the chest (z) is hardly known, its outline well. Not tuned.
SHAPE_PRIOR = ShapePrior(smooth_deviation=(0.002, 0.002, 0.03), correlation_length=0.10, independent_deviation=0.002)
SAMPLES_ACROSS = 32  # over the width of the template; more cost time and find little more. Not tuned.
MASK_FRAMES = 40  # frames in which the torso's mask is read
MIN_ALPHA = 0.9  # mean alpha of the pixels that are torso in nearly every frame
MASK_EROSION = 5  # pixels: side of the square that is taken off at the edge, where the mask moves
MIN_TORSO_SHARE = 0.004  # of the crop that must always be torso; below it, the torso is taken to be still
REFINEMENT_ROUNDS = 2  # of bundle adjustment; a third changes little
# The first search has to find a torso that moves far from its rest pose: 48 pixels, with 4 halvings of the image.
COARSE_SEARCH = SearchRange(max_displacement=48.0, pyramid_levels=4)
# 1 / deviation² of turn (radians) and shift (metres) from rest. A chest seen from the front says little about turns out
# of the image plane: without a pull, tracks that slide a little would turn it far. Not tuned.
POSE_PRECISION = (1 / 0.06**2, 1 / 0.08**2, 0.0, 0.0, 0.0, 1 / 0.10**2)
COARSE_POSE_PRECISION = (1 / 0.005**2, 1 / 0.005**2, 0.0, 0.0, 0.0, 1 / 0.02**2)
# First guess of the chest's curve: a parabola that recedes by 5 cm at 22 cm beside the middle, and by 1.5 times as much
# at most. Measures of an adult's chest; bundle adjustment finds the true one.
CHEST_RECESS = 0.05
CHEST_HALF_WIDTH = 0.22
MAX_CHEST_RECESS_RATIO = 1.5


def track_torso(
    read_frame: ReadFrame,
    read_mask: Callable[[int], F32],
    depth: float,
    frame_count: int,
    reference_frame: int,
    intrinsics: F64,
    on_frame_done: FrameDoneCallback,
) -> Poses:
    """Return the torso's poses relative to the reference frame, in camera space: p_t = R · p_reference + t.

    Args:
        read_frame: reads the crop of a frame.
        read_mask: reads the torso's alpha (S, S) of a frame.
        depth: metres before the camera at which the torso's surface is taken to lie.
        frame_count: T.
        reference_frame: the frame whose torso is at rest.
        intrinsics: (3, 3) of the crop, pixels.
        on_frame_done: called 2 · T times.
    """
    rest = Poses(np.tile(np.eye(3), (frame_count, 1, 1)), np.zeros((frame_count, 3)))
    template, pivot = _build_template(read_mask, depth, frame_count, intrinsics)
    if template is None:
        return rest
    poses = Poses(rest.rotation, np.tile(pivot, (frame_count, 1)))
    learn_texture(template, read_frame, poses, np.array([reference_frame]), COARSE_SEARCH)
    coarse_prior = PosePrior(COARSE_POSE_PRECISION)
    poses = estimate_poses(template, read_frame, poses, on_frame_done, pose_prior=coarse_prior, search=COARSE_SEARCH)
    prior = PosePrior(POSE_PRECISION, Poses(rest.rotation, poses.translation))
    poses = refine_poses(template, read_frame, poses, REFINEMENT_ROUNDS, on_frame_done, pose_prior=prior)
    rotation = poses.rotation @ poses.rotation[reference_frame].T
    return Poses(rotation, poses.translation - rotation @ poses.translation[reference_frame])


def chest_depth_offset(x: Floats) -> Floats:
    """Metres by which the torso's surface recedes from the camera at `x` metres beside its middle."""
    return CHEST_RECESS * np.minimum((x / CHEST_HALF_WIDTH) ** 2, MAX_CHEST_RECESS_RATIO)


def _build_template(
    read_mask: Callable[[int], F32], depth: float, frame_count: int, intrinsics: F64
) -> tuple[Template | None, F64]:
    """Build the template in camera axes about its middle.

    Returns:
        The template, or None where no torso is seen, and its middle (3,) in camera space.
    """
    common = np.mean([read_mask(int(t)) for t in spread_frames(frame_count, MASK_FRAMES)], axis=0)
    always = cv2.erode((common > MIN_ALPHA).astype(np.uint8), np.ones((MASK_EROSION, MASK_EROSION)))
    weight = (always > 0).astype(np.float32)
    if weight.sum() < MIN_TORSO_SHARE * weight.size:
        return None, np.zeros(3)
    rows, columns = np.nonzero(weight.any(1))[0], np.nonzero(weight.any(0))[0]
    top, left = rows[0], columns[0]
    height, width = (int(np.ceil((v[-1] + 1 - v[0]) / NODE_SPACING)) * NODE_SPACING for v in (rows, columns))
    weight = cv2.copyMakeBorder(weight, 0, NODE_SPACING, 0, NODE_SPACING, cv2.BORDER_CONSTANT)[
        top : top + height, left : left + width
    ]
    y, x = np.mgrid[top : top + height, left : left + width] + 0.5
    f, cx, cy = intrinsics[0, 0], intrinsics[0, 2], intrinsics[1, 2]
    z = depth + chest_depth_offset((x - x.mean()) / f * depth)
    nodes = np.stack([(x - cx) / f * z, (y - cy) / f * z, z], -1)
    pivot = nodes.reshape(-1, 3).mean(0)
    nodes = (nodes - pivot).astype(np.float32)
    deviation_scale = np.ones((height, width), np.float32)
    return Template(nodes, weight, deviation_scale, SAMPLES_ACROSS, SHAPE_PRIOR, intrinsics), pivot
