"""The neck: how it follows head and torso, and the part of it that no frame shows."""

from __future__ import annotations

import cv2
import numpy as np

from ...contract.arrays import F64, Mask
from ...contract.geometry import FLIP_YZ, project_points
from ...tracking.detection import topology as topo
from ...tracking.face.blendshape_rig import BlendshapeRig
from ...tracking.tracker import TrackingResult

# Metres above the chin between which the neck changes from following the torso to following the head. Not tuned.
NECK_TOP_METERS = 0.0
NECK_BOTTOM_METERS = -0.055
# Share of the head's motion that the top of the neck follows. Not tuned.
MAX_HEAD_WEIGHT = 0.95
# Half widths, as multiples of the face's: beyond the outer one nothing follows the head, so shoulders stay; over the
# fade the weight falls to zero. Not tuned.
OUTER_WIDTH_SHARE = 1.25
WIDTH_FADE_SHARE = 0.35
# Half the neck's width as a share of the jaw's width in the image, and how far the neck continues behind the jaw, as a
# share of the face's height. Larger covers wider turns of the head, and may show beside a narrow neck. Not tuned.
NECK_HALF_WIDTH_SHARE = 0.36
HIDDEN_NECK_SHARE = 0.25


def neck_head_weights(points: F64, rig: BlendshapeRig) -> F64:
    """Return the share (N,) by which points (N, 3) of neck and torso follow the head: a smooth step, narrow in x."""
    chin = rig.neutral[topo.CHIN, 1]
    share = np.clip((points[:, 1] - chin - NECK_BOTTOM_METERS) / (NECK_TOP_METERS - NECK_BOTTOM_METERS), 0, 1)
    share = MAX_HEAD_WEIGHT * share**2 * (3 - 2 * share)
    half_face = np.abs(rig.neutral[:, 0]).max()
    share *= np.clip((OUTER_WIDTH_SHARE * half_face - np.abs(points[:, 0])) / (WIDTH_FADE_SHARE * half_face), 0, 1)
    return np.asarray(share, np.float64)


def extend_hidden_neck(track: TrackingResult, color: F64, is_visible: Mask) -> tuple[F64, Mask]:
    """Continue the neck upwards behind the jaw, where no frame shows it, in the colours of the nearest visible pixels.

    A head that turns farther than in the footage then uncovers neck and not a hole.

    Args:
        track: the tracked face and the camera.
        color: (S, S, 3) the torso at rest.
        is_visible: (S, S) where some frame shows the torso.

    Returns:
        The colours and the mask with the neck added.
    """
    jaw = project_points(track.rig.neutral[list(topo.FACE_OVAL)], FLIP_YZ, track.view[:3, 3], track.intrinsics)
    chin, middle = jaw[:, 1].max(), jaw[:, 0].mean()
    half_width, reach = NECK_HALF_WIDTH_SHARE * np.ptp(jaw[:, 0]), HIDDEN_NECK_SHARE * np.ptp(jaw[:, 1])
    y, x = np.mgrid[: len(is_visible), : len(is_visible)] + 0.5
    is_neck = (y > chin - reach) & (y < chin + reach) & (np.abs(x - middle) < half_width)
    _, nearest = cv2.distanceTransformWithLabels(
        (~is_visible).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    color_by_label = np.zeros((int(nearest.max()) + 1, 3))
    color_by_label[nearest[is_visible]] = color[is_visible]
    return np.where(is_visible[..., None], color, color_by_label[nearest]), is_visible | is_neck
