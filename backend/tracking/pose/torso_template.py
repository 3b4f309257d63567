"""The torso as a sheet of its own: chest and shoulders in the view of one frame, on a shallow curve at first."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ...contract.arrays import F32, F64, Floats
from .bundle_adjustment import Poses
from .patch_tracker import NODE_SPACING
from .shape_prior import ShapePrior
from .template import FrameDoneCallback, ReadFrame, Template, estimate_poses, learn_texture, refine_poses

TORSO_DEPTH_OFFSET = -0.06  # metres: how far behind the eye corners the chest's surface is taken to lie
SHAPE_PRIOR = ShapePrior(smooth_deviation=(0.002, 0.002, 0.03), correlation_length=0.10, independent_deviation=0.002)
SAMPLES_ACROSS = 32
MASK_FRAMES = 40  # frames in which the torso's mask is looked up
MIN_TORSO_SHARE = 0.004  # of the picture that must always be torso
REFINEMENT_ROUNDS = 2
COARSE_MAX_DISPLACEMENT, COARSE_PYRAMID_LEVELS = (
    48.0,
    4,
)  # pixels that the first look reaches, and the halvings of the picture it needs for that
# 1 / deviation² of turn (radians) and shift (metres) from rest. A chest seen from the front says little about turns out
# of the picture: without a pull, tracks that slide a little would turn it far.
POSE_PRECISION = (1 / 0.06**2, 1 / 0.08**2, 0.0, 0.0, 0.0, 1 / 0.10**2)
COARSE_POSE_PRECISION = (1 / 0.005**2, 1 / 0.005**2, 0.0, 0.0, 0.0, 1 / 0.02**2)


def track_torso(
    read_frame: ReadFrame,
    read_mask: Callable[[int], F32],
    depth: float,
    frame_count: int,
    reference_frame: int,
    intrinsics: F64,
    on_frame_done: FrameDoneCallback,
) -> Poses:
    """Torso poses relative to the reference frame, in camera space: p_t = R · p_reference + t.

    Args:
        frame: reads the crop of a frame number. mask: (S, S) torso alpha of a frame number.
        depth: camera z in metres at which the torso's surface is taken to lie.
        count: T. reference: the frame whose torso is the rest. tick: called 2 · T times.
    """
    rest = Poses(np.tile(np.eye(3), (frame_count, 1, 1)), np.zeros((frame_count, 3)))
    sheet, pivot = _build_template(read_mask, depth, frame_count, intrinsics)
    if sheet is None:
        return rest
    poses = Poses(rest.rotation, np.tile(pivot, (frame_count, 1)))
    learn_texture(sheet, read_frame, poses, np.array([reference_frame]), COARSE_MAX_DISPLACEMENT)
    poses = estimate_poses(
        sheet,
        read_frame,
        poses,
        on_frame_done,
        pose_precision=COARSE_POSE_PRECISION,
        max_displacement=COARSE_MAX_DISPLACEMENT,
        pyramid_levels=COARSE_PYRAMID_LEVELS,
    )
    poses = refine_poses(
        sheet,
        read_frame,
        poses,
        REFINEMENT_ROUNDS,
        on_frame_done,
        pose_precision=POSE_PRECISION,
        prior_poses=Poses(rest.rotation, poses.translation),
    )
    rotation = poses.rotation @ poses.rotation[reference_frame].T
    return Poses(rotation, poses.translation - rotation @ poses.translation[reference_frame])


def _build_template(
    read_mask: Callable[[int], F32], depth: float, frame_count: int, intrinsics: F64
) -> tuple[Template | None, F64]:
    """The sheet, in camera axes about its middle, and that middle (3,) in camera space; None where no torso is seen."""
    looks = np.unique(np.linspace(0, frame_count - 1, MASK_FRAMES).astype(int))
    common = np.mean([read_mask(int(t)) for t in looks], axis=0)
    weight = (cv2.erode((common > 0.9).astype(np.uint8), np.ones((5, 5))) > 0).astype(np.float32)
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
    spacing = max(3, round(width / SAMPLES_ACROSS))
    loose = np.ones((height, width), np.float32)
    return Template((nodes - pivot).astype(np.float32), weight, loose, spacing, SHAPE_PRIOR, intrinsics), pivot


def chest_depth_offset(x: Floats) -> Floats:
    """Metres by which the torso's surface recedes from the camera at x metres beside its middle, as shoulders do."""
    return 0.05 * np.minimum((x / 0.22) ** 2, 1.5)
