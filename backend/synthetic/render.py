"""Filming the sample actor: camera, backdrop and development into display-referred frames with mattes and depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..contract.performance import Performance
from .head import REGIONS, Body, body
from .raster import shade, visibility

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

_DISPLAY = np.arange(256) / 255
LINEAR = np.where(_DISPLAY <= 0.04045, _DISPLAY / 12.92, ((_DISPLAY + 0.055) / 1.055) ** 2.4).astype(np.float32)
_CODES = 4096
_ramp = np.linspace(0, 1, _CODES)
_ENCODED = np.where(_ramp <= 0.0031308, 12.92 * _ramp, 1.055 * _ramp ** (1 / 2.4) - 0.055)
ENCODED = np.asarray(_ENCODED * 255 + 0.5, np.uint8)  # linear light in steps of 1 / 4095 → display sRGB


@dataclass(frozen=True)
class Camera:
    """A still camera: (4, 4) actor space → OpenCV camera, (3, 3) pixels, and the square frame's side in pixels."""

    view: F64
    intrinsics: F64
    size: int

    @classmethod
    def portrait(cls, size: int) -> Camera:
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
class Shot:
    """One frame: picture (H, W, 3) uint8, mattes (4, H, W) as in `Truth`, depth (H, W) metres × coverage, landmarks."""

    picture: U8
    mattes: F32
    depth: F32
    landmarks: F64
    mouth_opening: float


class Studio:
    """The actor of a seed before the camera."""

    def __init__(self, camera: Camera, seed: int, strands: bool, samples: int) -> None:
        self.camera, self.samples = camera, samples
        self.body: Body = body(seed, strands)
        self.plate = backdrop(camera.size)
        self._faces, self._labels = self.body.faces[self.body.drawn], self.body.labels[self.body.drawn]

    def shoot(self, performance: Performance, frame: int) -> Shot:
        """Frame `frame` of a performance."""
        posed = self.body.pose(
            performance.channels[frame].astype(float),
            (performance.head_rotation[frame], performance.head_translation[frame]),
            (performance.torso_rotation[frame], performance.torso_translation[frame]),
            self.camera.position,
        )
        screen = self.camera.project(posed.vertices.astype(float)).astype(np.float32)
        screen[:, :2] *= self.samples
        side = self.camera.size * self.samples
        faces, labels = self._faces, self._labels
        ids, near = visibility(screen, faces, side, side)
        picture, regions, depth = shade(
            ids, near, screen, faces, posed.uv, posed.light, posed.gloss, self.body.atlas, LINEAR, self.plate,
            labels, len(REGIONS), self.samples,
        )  # fmt: skip
        codes = np.clip(picture * (_CODES - 1) + 0.5, 0, _CODES - 1).astype(np.int32)
        head, hair, torso, mouth = regions
        mattes = np.stack([head + hair + mouth, hair, torso, mouth])
        return Shot(ENCODED[codes], mattes, depth, self.camera.project(posed.landmarks)[:, :2], posed.mouth_opening)


def backdrop(size: int) -> F32:
    """(size, size, 3) linear: a plain wall with a soft pool of light behind the head."""
    y, x = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
    glow = np.exp(-(((x - 0.42) / 0.55) ** 2) - ((y - 0.36) / 0.60) ** 2)
    wall = np.array([0.30, 0.36, 0.40]) * (0.62 + 0.55 * glow[..., None])
    return np.asarray(wall, np.float32)
