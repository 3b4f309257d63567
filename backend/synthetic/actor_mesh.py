"""The whole synthetic actor: skin moved by channels, skinned to head and torso, and lit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..contract.arrays import F32, F64, I32
from ..contract.channels import CHANNEL_INDEX
from ..contract.geometry import matrix_from_unit_quaternion, rotation_about_x
from ..tracking.detection.topology import IRIS_LEFT, IRIS_RIGHT, LANDMARK_COUNT, MESH_VERTEX_COUNT
from .atlas import skin_uv, to_atlas_texels
from .cage import EYE_RADIUS, build_cage
from .hair import build_hair
from .landmarks import LOWER_LIP_MIDDLE, UPPER_LIP_MIDDLE
from .mesh_part import MeshPart
from .parts import lip_center
from .rest_mesh import build_rest_mesh, find_skin_regions
from .shading import ActorShading, cornea_highlight
from .shapes import JAW_ANGLE, JAW_PIVOT, JAW_SLIDE, build_shapes
from .subdivision import subdivide
from .texture import IRIS_RADIUS, paint_atlas

SUBDIVISION_LEVELS = 2  # 16 skin faces for one of the cage
LID_THICKNESS = 0.0009  # metres that the lids stand off the eyeball
LID_SEARCH_RADIUS = 2.2 * EYE_RADIUS  # metres from an eye's centre within which skin could sink into the eyeball
TONGUE_JAW_SHARE = 0.85  # of the lower jaw's turn that the tongue follows
TONGUE_OUT = np.array([0, 0.003, 0.022])  # metres that the tongue moves at tongueOut 1
TONGUE_OUT_OPENING = 0.010  # metres between the lips from which the tongue comes out fully
# Radians that an eyeball turns at eyeLook… 1, by the channel's direction.
MAX_GAZE_ANGLES = {"In": np.radians(32), "Out": np.radians(32), "Up": np.radians(22), "Down": np.radians(26)}

_IRIS_DISK = IRIS_RADIUS * np.array([(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)], float)
# (5, 3) centre and rim of the iris on the eyeball, in the order of MediaPipe's landmarks, metres from its centre.
IRIS_POINTS = np.column_stack([_IRIS_DISK, np.sqrt(EYE_RADIUS**2 - (_IRIS_DISK**2).sum(1))])


@dataclass
class PosedMesh:
    """One frame of the actor.

    Attributes:
        vertices: (V, 3) metres, actor space.
        uv: (V, 2) texels of the atlas.
        irradiance: (V, 3) linear light that multiplies the texture.
        specular: (V,) linear highlight on top of it.
        landmarks: (478, 3) metres, actor space: the tracker's landmarks, irises last.
        mouth_opening: metres between the middles of the lips' inner edges, sideways shifts left out.
    """

    vertices: F32
    uv: F32
    irradiance: F32
    specular: F32
    landmarks: F64
    mouth_opening: float


class ActorMesh:
    """What does not change between the frames of an actor.

    Attributes:
        cage: the control cage.
        shapes: (52, C, 3) offsets of its vertices, metres.
        subdivision_matrix: (S, C) weights of the skin's vertices.
        atlas: (2048, 2048, 3) display sRGB.
        rest: all parts at rest.
        visible_faces: indices of the faces that are not always covered by hair.
    """

    def __init__(self, seed: int, has_loose_hairs: bool) -> None:
        self.cage = build_cage()
        self.shapes = build_shapes(self.cage)
        lips = self.cage.mouth_bag[0]
        creases = np.stack([lips, np.roll(lips, -1)], 1)
        self.subdivision_matrix, skin_faces, parent = subdivide(
            self.cage.faces, len(self.cage.vertices), SUBDIVISION_LEVELS, creases
        )
        vertices = self.subdivision_matrix @ self.cage.vertices
        skin = MeshPart(vertices, skin_faces, skin_uv(vertices))
        hair = build_hair(seed, has_loose_hairs)
        self.atlas = paint_atlas(self.cage, seed)
        self.rest = build_rest_mesh(self.cage, skin, find_skin_regions(self.cage, skin, parent), hair)
        self._shading = ActorShading(self.rest, hair, lip_center(self.cage)[2])
        self.visible_faces = self._shading.visible_faces
        self._eyelid_vertices = [self._find_eyelid_vertices(vertices, center) for center in self.cage.eye_centers]

    @staticmethod
    def _find_eyelid_vertices(skin: F64, eye_center: F64) -> I32:
        """Indices of the skin vertices that could sink into an eyeball."""
        offset = skin - eye_center
        is_near = (np.linalg.norm(offset, axis=1) < LID_SEARCH_RADIUS) & (offset[:, 2] > -0.002)
        return np.flatnonzero(is_near).astype(np.int32)

    def pose(self, channels: F64, head: tuple[F32, F32], torso: tuple[F32, F32], camera_position: F64) -> PosedMesh:
        """Return the actor in one pose, lit.

        Args:
            channels: (52,) 0–1.
            head: its quaternion wxyz and its translation in metres.
            torso: the same.
            camera_position: (3,) metres, for highlights.
        """
        shape = self.deform(channels)
        head_rotation, torso_rotation = _matrix_from_quaternion(head[0]), _matrix_from_quaternion(torso[0])
        weight = self.rest.head_weight[:, None]
        vertices = weight * (shape @ head_rotation.T + head[1]) + (1 - weight) * (shape @ torso_rotation.T + torso[1])
        opening = float(np.linalg.norm((shape[UPPER_LIP_MIDDLE] - shape[LOWER_LIP_MIDDLE])[1:]))

        uv, specular = self.rest.uv.copy(), np.zeros(len(shape), np.float32)
        landmarks = np.zeros((LANDMARK_COUNT, 3))
        landmarks[:MESH_VERTEX_COUNT] = vertices[:MESH_VERTEX_COUNT]
        for iris, side, center in zip((IRIS_RIGHT, IRIS_LEFT), ("right", "left"), self.cage.eye_centers, strict=True):
            eyeball, rotation = self.rest.part_slices[f"eye_{side}"], eye_rotation(channels, side == "left")
            local = (self.rest.vertices[eyeball] - center) / EYE_RADIUS @ rotation
            uv[eyeball] = to_atlas_texels("eye", 0.5 + local[:, :2] * [0.5, -0.5])
            specular[eyeball] = cornea_highlight(local, head_rotation @ rotation, camera_position)
            landmarks[list(iris)] = (center + IRIS_POINTS @ rotation.T) @ head_rotation.T + head[1]
        irradiance = self._shading.irradiance(shape, head_rotation, torso_rotation, opening, camera_position)
        return PosedMesh(vertices.astype(np.float32), uv, irradiance.astype(np.float32), specular, landmarks, opening)

    def deform(self, channels: F64) -> F64:
        """(V, 3) the vertices in head space, moved by channels (52,) but not yet skinned."""
        vertices = self.rest.vertices.copy()
        skin = self.subdivision_matrix @ (self.cage.vertices + np.tensordot(channels, self.shapes, 1))
        for center, near in zip(self.cage.eye_centers, self._eyelid_vertices, strict=True):
            skin[near] += _push_out_of_eyeball(skin[near] - center)
        vertices[self.rest.part_slices["skin"]] = skin
        self._move_jaw_parts(vertices, channels)
        opening = float(np.linalg.norm((skin[UPPER_LIP_MIDDLE] - skin[LOWER_LIP_MIDDLE])[1:]))
        out = channels[CHANNEL_INDEX["tongueOut"]] * np.clip(opening / TONGUE_OUT_OPENING, 0, 1)
        vertices[self.rest.part_slices["tongue"]] += TONGUE_OUT * out
        return vertices

    def _move_jaw_parts(self, vertices: F64, channels: F64) -> None:
        """Turn and slide the lower teeth and the tongue with the jaw, in place."""
        jaw = {name: channels[CHANNEL_INDEX[f"jaw{name}"]] for name in ("Open", "Left", "Right", "Forward")}
        slide = JAW_SLIDE * np.array([jaw["Left"] - jaw["Right"], 0, jaw["Forward"]])
        for name, share in (("teeth_lower", 1.0), ("tongue", TONGUE_JAW_SHARE)):
            rotation = rotation_about_x(JAW_ANGLE * jaw["Open"] * share)
            part = self.rest.part_slices[name]
            vertices[part] = (vertices[part] - JAW_PIVOT) @ rotation.T + JAW_PIVOT + slide


def eye_rotation(channels: F64, is_left: bool) -> F64:
    """(3, 3) rotation of one eyeball from rest to its gaze."""
    side = "Left" if is_left else "Right"
    angle = {name: channels[CHANNEL_INDEX[f"eyeLook{name}{side}"]] * limit for name, limit in MAX_GAZE_ANGLES.items()}
    yaw = (angle["Out"] - angle["In"]) * (1 if is_left else -1)
    cosine, sine = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    return np.asarray(turn @ rotation_about_x(angle["Down"] - angle["Up"]))


def _push_out_of_eyeball(offset: F64) -> F64:
    """(N, 3) displacements that move lids out of an eyeball; `offset` (N, 3) is taken from its centre."""
    distance = np.linalg.norm(offset, axis=1, keepdims=True)
    is_front = offset[:, 2:] > 0.1 * distance  # the rims behind stay inside the ball
    return np.where(is_front, offset / distance * np.maximum(EYE_RADIUS + LID_THICKNESS - distance, 0), 0)


def _matrix_from_quaternion(q: F32 | F64) -> F64:
    """(3, 3) rotation of a quaternion wxyz, whose length is taken in its own precision.

    `geometry.matrix_from_quaternion` takes it in float64, which would change the last digits of the sample's pixels.
    """
    return matrix_from_unit_quaternion(np.asarray(q, float) / np.linalg.norm(q))


@cache
def cached_actor_mesh(seed: int, has_loose_hairs: bool) -> ActorMesh:
    """Return the actor of a seed; it is kept, because building it takes seconds."""
    return ActorMesh(seed, has_loose_hairs)
