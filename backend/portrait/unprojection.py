"""From crop pixels to points in rest space."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..contract.arrays import F64, Mask
from ..tracking.pose.torso_template import TORSO_DEPTH_OFFSET, chest_depth_offset
from ..tracking.tracker import TrackingResult
from .seeds import SIZE_PER_SPACING

Number = TypeVar("Number", bound=np.generic)


def meters_per_pixel(track: TrackingResult) -> float:
    """Return the size of a crop pixel at the head's usual distance."""
    return float(track.view[2, 3] / track.intrinsics[0, 0])


def rest_space_rays(track: TrackingResult, pixels: F64, rotation: F64, translation: F64) -> tuple[F64, F64]:
    """Return the viewing rays of pixels in the rest space of a part with a given pose.

    Args:
        track: the camera.
        pixels: (P, 2) crop pixels.
        rotation: (3, 3) rest → actor space.
        translation: (3,) metres.

    Returns:
        Origins (P, 3) and directions (P, 3).
    """
    k = track.intrinsics
    camera = np.stack([(pixels[:, 0] - k[0, 2]) / k[0, 0], (pixels[:, 1] - k[1, 2]) / k[1, 1], np.ones(len(pixels))], 1)
    view_rotation, view_translation = track.view[:3, :3], track.view[:3, 3]
    direction = camera @ view_rotation  # view_rotationᵀ · direction
    origin = np.broadcast_to(-view_translation @ view_rotation, direction.shape)
    return (origin - translation) @ rotation, direction @ rotation


def unproject_to_chest(track: TrackingResult, pixels: F64) -> F64:
    """Return the rest positions (P, 3) of crop pixels (P, 2) on the surface that torso tracking assumes."""
    k = track.intrinsics
    depth = track.view[2, 3] - TORSO_DEPTH_OFFSET
    x = (pixels[:, 0] - k[0, 2]) / k[0, 0]
    depth = depth + chest_depth_offset(x * depth)
    camera = np.stack([x, (pixels[:, 1] - k[1, 2]) / k[1, 1], np.ones(len(pixels))], 1) * depth[:, None]
    points: F64 = (camera - track.view[:3, 3]) @ track.view[:3, :3]
    return points


def sample_pixel_grid(mask: Mask, spacing: float) -> tuple[F64, float]:
    """Return positions (P, 2) on a grid inside a square mask (S, S), and the Gaussians' size, both in pixels."""
    axis = np.arange(spacing / 2, mask.shape[0], spacing)
    x, y = np.meshgrid(axis, axis)
    inside = mask[y.astype(int), x.astype(int)]
    return np.stack([x[inside], y[inside]], 1), SIZE_PER_SPACING * spacing


def read_pixels(image: NDArray[Number], pixels: F64) -> NDArray[Number]:
    """Return the values (P, …) of an image at positions (P, 2), without interpolation."""
    values: NDArray[Number] = image[pixels[:, 1].astype(int), pixels[:, 0].astype(int)]
    return values
