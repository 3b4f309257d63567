"""An actor's tracking in crop pixels: the reconstructed mesh and the axes of head and torso."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F64
from ..contract.geometry import matrix_from_quaternion, yaw_pitch_roll_degrees
from ..tracking.detection import topology as topo

GLABELLA = 9  # landmark between the brows
AXIS_LENGTH = 0.04  # metres, of drawn axes
CHEST_DROP = 0.3  # heights of the face, from the chin down to the origin of the torso's axes
MIN_DEPTH = 1e-6  # metres; keeps the projection of points at the camera plane finite


@dataclass
class TrackingData:
    """T frames of `tracking.npz`, with rotations as matrices.

    Attributes:
        landmarks: (T, 478, 2) detected landmarks, crop pixels.
        intrinsics: (3, 3) of the crop.
        view: (4, 4) actor space → camera.
        head_rotation: (T, 3, 3) rest → actor space.
        head_translation: (T, 3) metres.
        torso_rotation: (T, 3, 3) rest → actor space.
        torso_translation: (T, 3) metres.
        channels: (T, 52) 0–1.
        neutral: (478, 3) the rig's neutral face, metres.
        shapes: (52, 478, 3) the rig's blend shapes, metres.
    """

    landmarks: F64
    intrinsics: F64
    view: F64
    head_rotation: F64
    head_translation: F64
    torso_rotation: F64
    torso_translation: F64
    channels: F64
    neutral: F64
    shapes: F64

    @classmethod
    def load(cls, folder: ActorFolder) -> TrackingData:
        """Load it from an actor folder.

        Raises:
            UserError: the file is missing or damaged.
        """
        table = folder.load_tracking()
        columns: dict[str, F64] = {name: np.asarray(table[name], np.float64) for name in cls.__dataclass_fields__}
        for name in ("head_rotation", "torso_rotation"):
            columns[name] = matrix_from_quaternion(columns[name])
        return cls(**columns)

    def __len__(self) -> int:
        return len(self.landmarks)

    def project_mesh(self, frame: int) -> F64:
        """Return the (478, 2) crop pixels of the mesh reconstructed from pose and channels."""
        points = self.neutral + np.tensordot(self.channels[frame], self.shapes, 1)
        return self._project_points(points, self.head_rotation[frame], self.head_translation[frame])

    def project_head_axes(self, frame: int) -> F64:
        """Return (4, 2) crop pixels: the point between the brows and the ends of the axes x, y and z."""
        return self._project_axes(self.neutral[GLABELLA], self.head_rotation[frame], self.head_translation[frame])

    def project_torso_axes(self, frame: int) -> F64:
        """Return the same for the torso, from the middle of the chest."""
        forehead, chin = self.neutral[topo.FOREHEAD], self.neutral[topo.CHIN]
        chest = chin - CHEST_DROP * np.array([0, forehead[1] - chin[1], 0])
        return self._project_axes(chest, self.torso_rotation[frame], self.torso_translation[frame])

    def head_angles(self) -> F64:
        """Return (T, 3) degrees: yaw to the actor's left, pitch down, roll."""
        return yaw_pitch_roll_degrees(self.head_rotation)

    def torso_angles(self) -> F64:
        """Return (T, 3) degrees, as `head_angles`."""
        return yaw_pitch_roll_degrees(self.torso_rotation)

    def reconstruction_error(self) -> F64:
        """Return the (T,) RMS distances in crop pixels between the reconstructed mesh and the landmarks."""
        errors = [np.sqrt(((self.project_mesh(t) - self.landmarks[t]) ** 2).sum(-1).mean()) for t in range(len(self))]
        return np.array(errors)

    def _project_axes(self, origin: F64, rotation: F64, translation: F64) -> F64:
        points = origin + AXIS_LENGTH * np.concatenate([np.zeros((1, 3)), np.eye(3)])
        return self._project_points(points, rotation, translation)

    def _project_points(self, points: F64, rotation: F64, translation: F64) -> F64:
        """Return crop pixels of rest points (P, 3) that a rigid motion moves in actor space."""
        world = points @ rotation.T + translation
        camera = world @ self.view[:3, :3].T + self.view[:3, 3]
        xy = camera[:, :2] / np.maximum(camera[:, 2:], MIN_DEPTH)
        pixels: F64 = xy * [self.intrinsics[0, 0], self.intrinsics[1, 1]] + self.intrinsics[:2, 2]
        return pixels
