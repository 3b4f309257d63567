"""Neck, clothes and shoulders, from all frames that show them."""

from __future__ import annotations

import cv2
import numpy as np

from ...contract.arrays import F64
from ...contract.geometry import matrix_from_quaternion
from ...dataset.frame_store import FrameStore
from ...tracking.tracker import TrackingResult
from ..labels import TORSO
from ..seeds import Seeds, seed_beside_mesh
from ..unprojection import meters_per_pixel, read_pixels, sample_pixel_grid, unproject_to_chest
from .neck import extend_hidden_neck, neck_head_weights

# Frames that the mean image is computed from. More take longer and show a little more of the neck. Not tuned.
MAX_SAMPLED_FRAMES = 60
# Share of these frames that must show a pixel of the torso. Lower admits errors of single mattes. Not tuned.
MIN_VISIBLE_SHARE = 0.05


def seed_torso(track: TrackingResult, store: FrameStore, spacing: float) -> Seeds:
    """Seed neck, clothes and shoulders at the torso's rest pose.

    Args:
        track: poses and camera.
        store: frames and mattes.
        spacing: pixels between neighbours.
    """
    image, visible_share = average_torso_image(track, store)
    image, is_covered = extend_hidden_neck(track, image, visible_share > MIN_VISIBLE_SHARE)
    pixels, size = sample_pixel_grid(is_covered, spacing)
    points = unproject_to_chest(track, pixels)
    head_weight = neck_head_weights(points, track.rig)
    color = read_pixels(image, pixels)
    return seed_beside_mesh(points, size * meters_per_pixel(track), color, TORSO, head_weight, track.rig)


def average_torso_image(track: TrackingResult, store: FrameStore) -> tuple[F64, F64]:
    """Average the torso over frames, moved to its rest pose, as if no head were in front of it.

    Returns:
        Colour (S, S, 3) in 0–1, and the share (S, S) of the frames that show it.
    """
    frame_count = len(track.channels)
    sampled = np.unique(np.linspace(0, frame_count - 1, min(frame_count, MAX_SAMPLED_FRAMES)).astype(int))
    side = store.read_frame(0).shape[0]
    y, x = np.mgrid[:side, :side].astype(np.float64) + 0.5
    points = unproject_to_chest(track, np.stack([x.ravel(), y.ravel()], 1))
    total, weight = np.zeros((side, side, 3)), np.zeros((side, side))
    for t in sampled:
        rotation = matrix_from_quaternion(track.torso_rotation[t])
        actor = points @ rotation.T + track.torso_translation[t]
        camera = actor @ track.view[:3, :3].T + track.view[:3, 3]
        xy = camera[:, :2] / camera[:, 2:] * track.intrinsics[0, 0] + track.intrinsics[:2, 2]
        source = (xy.reshape(side, side, 2) - 0.5).astype(np.float32)  # OpenCV's pixel centres are integers
        alpha = cv2.remap(cv2.erode(store.read_torso_alpha(int(t)), np.ones((3, 3))), source, None, cv2.INTER_LINEAR)
        image = cv2.remap(store.read_frame(int(t)), source, None, cv2.INTER_LINEAR)
        total += image / 255.0 * alpha[..., None]
        weight += alpha
    return total / np.maximum(weight, 1e-6)[..., None], weight / len(sampled)
