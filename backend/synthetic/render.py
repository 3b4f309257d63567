"""The camera, the backdrop and the renderer of the sample clip: frames in sRGB with mattes, depth and landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract.arrays import F32, F64, U8
from ..contract.performance import Performance
from ..media.srgb import SRGB_TO_LINEAR, srgb_code_table
from .actor_mesh import ActorMesh, cached_actor_mesh
from .raster import find_visible_triangles, shade_pixels
from .rest_mesh import REGIONS

CAMERA_POSITION = (0.0, -0.046, 0.95)  # metres, actor space: head and shoulders fill the frame
FOCAL_LENGTH = 2.65  # in sides of the frame; a portrait lens

WALL_COLOR = (0.30, 0.36, 0.40)  # linear
WALL_LIGHT = (0.62, 0.55)  # of the wall's colour everywhere, and on top of it in the middle of the pool of light
POOL_CENTER = (0.42, 0.36)  # x and y in sides of the frame
POOL_RADIUS = (0.55, 0.60)

_ENCODE_STEPS = 4096  # linear light is rounded to so many levels before it becomes sRGB; finer than 8 bits show
_SRGB_CODES = srgb_code_table(_ENCODE_STEPS)


@dataclass(frozen=True)
class PinholeCamera:
    """A still camera with a square frame.

    Attributes:
        view: (4, 4) actor space → OpenCV camera.
        intrinsics: (3, 3) pixels, pixel centres at +0.5.
        size: side of the frame in pixels.
    """

    view: F64
    intrinsics: F64
    size: int

    @classmethod
    def head_and_shoulders(cls, size: int) -> PinholeCamera:
        """Return a camera that shows head and shoulders from nearly a metre."""
        view = np.eye(4)
        view[:3, :3] = np.diag([1.0, -1.0, -1.0])
        view[:3, 3] = -view[:3, :3] @ np.array(CAMERA_POSITION)
        focal = FOCAL_LENGTH * size
        return cls(view, np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]]), size)

    @property
    def position(self) -> F64:
        """(3,) metres, actor space."""
        return np.asarray(-self.view[:3, :3].T @ self.view[:3, 3])

    def project(self, points: F64) -> F64:
        """(N, 3) x, y in pixels and depth in metres of points (N, 3) in actor space."""
        camera_points = points @ self.view[:3, :3].T + self.view[:3, 3]
        pixels = camera_points @ self.intrinsics.T
        return np.asarray(np.column_stack([pixels[:, :2] / camera_points[:, 2:], camera_points[:, 2]]))


@dataclass
class SampleFrame:
    """One rendered frame.

    Attributes:
        image: (H, W, 3) display sRGB.
        mattes: (4, H, W) coverage 0–1, as in `GroundTruth`.
        depth: (H, W) metres from the camera, times coverage.
        landmarks: (478, 2) pixels.
        mouth_opening: metres, as in `GroundTruth`.
    """

    image: U8
    mattes: F32
    depth: F32
    landmarks: F64
    mouth_opening: float


class SampleRenderer:
    """Renders the actor of a seed.

    Attributes:
        camera: the camera of all frames.
        subsamples: subsamples per pixel and axis.
        mesh: the actor.
        plate: (H, W, 3) linear backdrop.
    """

    def __init__(self, camera: PinholeCamera, seed: int, has_loose_hairs: bool, subsamples: int) -> None:
        self.camera, self.subsamples = camera, subsamples
        self.mesh: ActorMesh = cached_actor_mesh(seed, has_loose_hairs)
        self.plate = build_backdrop(camera.size)
        self._faces = self.mesh.rest.faces[self.mesh.visible_faces]
        self._face_regions = self.mesh.rest.face_regions[self.mesh.visible_faces]

    def render(self, performance: Performance, frame_index: int) -> SampleFrame:
        """Render one frame of a performance."""
        posed = self.mesh.pose(
            performance.channels[frame_index].astype(float),
            (performance.head_rotation[frame_index], performance.head_translation[frame_index]),
            (performance.torso_rotation[frame_index], performance.torso_translation[frame_index]),
            self.camera.position,
        )
        screen = self.camera.project(posed.vertices.astype(float)).astype(np.float32)
        screen[:, :2] *= self.subsamples
        side = self.camera.size * self.subsamples
        triangle_ids, inverse_depth = find_visible_triangles(screen, self._faces, side, side)
        linear, coverage, depth = shade_pixels(
            triangle_ids, inverse_depth, screen, self._faces, posed.uv, posed.irradiance, posed.specular,
            self.mesh.atlas, SRGB_TO_LINEAR, self.plate, self._face_regions, len(REGIONS), self.subsamples,
        )  # fmt: skip
        levels = np.clip(linear * (_ENCODE_STEPS - 1) + 0.5, 0, _ENCODE_STEPS - 1).astype(np.int32)
        head, hair, torso, mouth = coverage
        mattes = np.stack([head + hair + mouth, hair, torso, mouth])
        landmarks = self.camera.project(posed.landmarks)[:, :2]
        return SampleFrame(_SRGB_CODES[levels], mattes, depth, landmarks, posed.mouth_opening)


def build_backdrop(size: int) -> F32:
    """(size, size, 3) linear: a plain wall with a soft pool of light behind the head."""
    y, x = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
    glow = np.exp(-(((x - POOL_CENTER[0]) / POOL_RADIUS[0]) ** 2) - ((y - POOL_CENTER[1]) / POOL_RADIUS[1]) ** 2)
    everywhere, in_pool = WALL_LIGHT
    return np.asarray(np.array(WALL_COLOR) * (everywhere + in_pool * glow[..., None]), np.float32)
