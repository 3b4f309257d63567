"""Filming the sample actor: camera, backdrop and development into display-referred frames with mattes and depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract.arrays import F32, F64, U8
from ..contract.performance import Performance
from ..media.srgb import SRGB_TO_LINEAR, srgb_code_table
from .head import REGIONS, ActorMesh, cached_actor_mesh
from .raster import find_visible_triangles, shade_pixels

_ENCODE_STEPS = 4096
_SRGB_CODES = srgb_code_table(_ENCODE_STEPS)


@dataclass(frozen=True)
class PinholeCamera:
    """A still camera: (4, 4) actor space → OpenCV camera, (3, 3) pixels, and the square frame's side in pixels."""

    view: F64
    intrinsics: F64
    size: int

    @classmethod
    def head_and_shoulders(cls, size: int) -> PinholeCamera:
        """Head and shoulders at a distance of a metre."""
        view = np.eye(4)
        view[:3, :3] = np.diag([1.0, -1.0, -1.0])
        view[:3, 3] = -view[:3, :3] @ np.array([0.0, -0.046, 0.95])
        focal = 2.65 * size
        return cls(view, np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]), size)

    @property
    def position(self) -> F64:
        return np.asarray(-self.view[:3, :3].T @ self.view[:3, 3])

    def project(self, points: F64) -> F64:
        """(N, 3) x, y in pixels and depth in metres of points (N, 3) in actor space."""
        seen = points @ self.view[:3, :3].T + self.view[:3, 3]
        flat = seen @ self.intrinsics.T
        return np.asarray(np.column_stack([flat[:, :2] / seen[:, 2:], seen[:, 2]]))


@dataclass
class SampleFrame:
    """One frame: picture (H, W, 3) uint8, mattes (4, H, W) as in `Truth`, depth (H, W) metres × coverage, landmarks."""

    image: U8
    mattes: F32
    depth: F32
    landmarks: F64
    mouth_opening: float


class SampleRenderer:
    """The actor of a seed before the camera."""

    def __init__(self, camera: PinholeCamera, seed: int, has_loose_hairs: bool, subsamples: int) -> None:
        self.camera, self.subsamples = camera, subsamples
        self.mesh: ActorMesh = cached_actor_mesh(seed, has_loose_hairs)
        self.plate = build_backdrop(camera.size)
        self._faces, self._face_regions = (
            self.mesh.faces[self.mesh.visible_faces],
            self.mesh.face_regions[self.mesh.visible_faces],
        )

    def render(self, performance: Performance, frame_index: int) -> SampleFrame:
        """Frame `frame` of a performance."""
        posed = self.mesh.pose(
            performance.channels[frame_index].astype(float),
            (performance.head_rotation[frame_index], performance.head_translation[frame_index]),
            (performance.torso_rotation[frame_index], performance.torso_translation[frame_index]),
            self.camera.position,
        )
        screen = self.camera.project(posed.vertices.astype(float)).astype(np.float32)
        screen[:, :2] *= self.subsamples
        side = self.camera.size * self.subsamples
        faces, labels = self._faces, self._face_regions
        ids, near = find_visible_triangles(screen, faces, side, side)
        picture, regions, depth = shade_pixels(
            ids,
            near,
            screen,
            faces,
            posed.uv,
            posed.irradiance,
            posed.specular,
            self.mesh.atlas,
            SRGB_TO_LINEAR,
            self.plate,
            labels,
            len(REGIONS),
            self.subsamples,
        )
        codes = np.clip(picture * (_ENCODE_STEPS - 1) + 0.5, 0, _ENCODE_STEPS - 1).astype(np.int32)
        head, hair, torso, mouth = regions
        mattes = np.stack([head + hair + mouth, hair, torso, mouth])
        return SampleFrame(
            _SRGB_CODES[codes], mattes, depth, self.camera.project(posed.landmarks)[:, :2], posed.mouth_opening
        )


def build_backdrop(size: int) -> F32:
    """(size, size, 3) linear: a plain wall with a soft pool of light behind the head."""
    y, x = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
    glow = np.exp(-(((x - 0.42) / 0.55) ** 2) - ((y - 0.36) / 0.60) ** 2)
    wall = np.array([0.30, 0.36, 0.40]) * (0.62 + 0.55 * glow[..., None])
    return np.asarray(wall, np.float32)
