"""Poses of a rigid body over a clip, priors on them, and the point tracks that they are estimated from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...contract.arrays import F64, I64
from ...contract.geometry import matrix_from_rotation_vector, rotation_vector_from_matrix


@dataclass
class Poses:
    """Poses of a body in T frames, body → camera.

    Attributes:
        rotation: (T, 3, 3).
        translation: (T, 3) metres.
    """

    rotation: F64
    translation: F64

    def select(self, frame_indices: I64) -> Poses:
        """Return the poses of these frames."""
        return Poses(self.rotation[frame_indices], self.translation[frame_indices])

    def apply_step(self, step: F64) -> Poses:
        """Return the poses after a rotation vector about the body (T, 3) and a shift (T, 3), together (T, 6)."""
        return Poses(matrix_from_rotation_vector(step[:, :3]) @ self.rotation, self.translation + step[:, 3:])

    def step_from(self, start: Poses) -> F64:
        """Return the rotation vector and the shift (T, 6) that lead from `start` to these poses."""
        turn = rotation_vector_from_matrix(self.rotation @ np.swapaxes(start.rotation, 1, 2))
        return np.concatenate([turn, self.translation - start.translation], 1)

    def correct_at_keyframes(self, keyframes: I64, keyframe_poses: Poses) -> Poses:
        """Return these poses, corrected to `keyframe_poses` at the keyframes and by interpolated steps in between."""
        step, frames = keyframe_poses.step_from(self.select(keyframes)), np.arange(len(self.rotation))
        return self.apply_step(np.stack([np.interp(frames, keyframes, step[:, k]) for k in range(6)], 1))


@dataclass(frozen=True)
class PosePrior:
    """A pull of poses towards given ones.

    Attributes:
        precision: 1 / deviation² of the turn about x, y, z (radians) and the shift along x, y, z (metres). 0 is free.
        poses: where the pull leads, or None for the poses that an estimation starts from.
    """

    precision: tuple[float, ...] = (0.0,) * 6
    poses: Poses | None = None

    def select(self, frame_indices: I64) -> PosePrior:
        """Return the prior of these frames."""
        return self if self.poses is None else replace(self, poses=self.poses.select(frame_indices))


NO_POSE_PRIOR = PosePrior()


@dataclass
class PointTracks:
    """Where P points of a body are seen in T frames.

    Attributes:
        pixels: (T, P, 2).
        confidence: (T, P) 0–1.
        deformation: (T, P, 3) metres that the body's deformation adds to the points.
        sqrt_information: (P, 2, 2) factor that whitens the residuals of a point: along an edge it is small.
    """

    pixels: F64
    confidence: F64
    deformation: F64
    sqrt_information: F64


def spread_frames(frame_count: int, max_frames: int) -> I64:
    """Return the indices of at most `max_frames` of `frame_count` frames, evenly spread, first and last included."""
    indices: I64 = np.unique(np.linspace(0, frame_count - 1, max_frames).astype(int))
    return indices
