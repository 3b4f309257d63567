"""The whole sample actor: parts joined, skinned to head and torso, moved by channels, and lit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import sparse

from ..contract.arrays import F32, F64, I32, U8, Mask
from ..contract.channels import CHANNEL_INDEX
from ..contract.geometry import matrix_from_unit_quaternion, rotation_about_x
from . import light, parts, texture
from ..tracking.detection.topology import MESH_VERTEX_COUNT as LANDMARK_COUNT
from .cage import EYE_RADIUS, Cage, build_cage
from .hair import build_hair
from .landmarks import LIPS_INNER
from .mesh_part import MeshPart, strand_directions
from .raster import vertex_normals
from .shapes import JAW_ANGLE, JAW_PIVOT, JAW_SLIDE, build_shapes
from .subdivision import build_adjacency, subdivide

HEAD, HAIR, TORSO, MOUTH = range(4)  # regions of the mattes
REGIONS = ("head", "hair", "torso", "mouth")
LID_THICKNESS = 0.0009  # metres that the lids stand off the eyeball
MAX_GAZE_ANGLES = {"In": np.radians(32), "Out": np.radians(32), "Up": np.radians(22), "Down": np.radians(26)}
_LINING_TINT = np.array([0.85, 0.42, 0.40])  # the mouth's lining against skin
_IRIS_POINTS = texture.IRIS_RADIUS * np.array([(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)], float)
_IRIS_POINTS = np.column_stack(
    [_IRIS_POINTS, np.sqrt(EYE_RADIUS**2 - (_IRIS_POINTS**2).sum(1))]
)  # centre and rim on the eyeball
HIGHLIGHT_DIRECTION = np.array([-0.45, 0.55, 0.70])  # towards the window that the eyes reflect


@dataclass
class PosedMesh:
    """One frame of the actor: vertices (V, 3) actor space, uv (V, 2) texels, light (V, 3) and gloss (V,) linear."""

    vertices: F32
    uv: F32
    irradiance: F32
    specular: F32
    landmarks: F64  # (478, 3) actor space: the tracker's landmarks, irises last
    mouth_opening: float  # metres up and forward between the middles of the lips' inner edges


def _matrix_from_quaternion(q: F32 | F64) -> F64:
    """Rotation matrix (3, 3) of a quaternion wxyz, whose length is taken in its own precision.

    `geometry.matrix_from_quaternion` takes it in float64, which would change the last digits of the sample's pixels.
    """
    return matrix_from_unit_quaternion(np.asarray(q, float) / np.linalg.norm(q))


def head_weights(points: F64) -> F64:
    """(V,) how much a rest point follows the head: 1 above the jaw, 0 at the collar, smooth along the neck."""
    along = np.clip((0.010 - points[:, 2]) / 0.15, 0, 1)
    below = (-0.128 + 0.050 * along) - points[:, 1]
    t = np.clip(below / 0.080, 0, 1)
    return np.asarray(1 - t * t * t * (t * (6 * t - 15) + 10))


class ActorMesh:
    """Everything about the actor that does not change between frames."""

    def __init__(self, seed: int, has_loose_hairs: bool) -> None:
        self.cage: Cage = build_cage()
        self.shapes = build_shapes(self.cage)
        coarse = len(self.cage.vertices)
        lips = self.cage.mouth_bag[0]
        self.subdivision_matrix, skin_faces, parent = subdivide(
            self.cage.faces, coarse, 2, np.stack([lips, np.roll(lips, -1)], 1)
        )
        skin = self.subdivision_matrix @ self.cage.vertices
        self.skin_vertex_count, self._skin_face_count = len(skin), len(skin_faces)
        self.atlas = texture.paint_atlas(self.cage, seed)
        self._part_slices: dict[str, slice] = {}
        points, faces, uvs, labels = [], [], [], []
        count = 0

        def add_part(name: str, part: MeshPart, rectangle: str, label: int | U8) -> None:
            nonlocal count
            self._part_slices[name] = slice(count, count + len(part.vertices))
            points.append(part.vertices)
            faces.append(part.faces + count)
            uvs.append(texture.to_atlas_texels(rectangle, part.uv))
            labels.append(np.broadcast_to(np.asarray(label, np.uint8), len(part.faces)))
            count += len(part.vertices)

        add_part(
            "skin",
            MeshPart(skin, skin_faces, texture.skin_uv(skin)),
            "skin",
            self._label_skin_faces(skin, skin_faces, parent),
        )
        for side, centre in zip(("right", "left"), self.cage.eye_centers, strict=True):
            add_part(f"eye_{side}", parts.build_eyeball(centre), "eye", HEAD)
            add_part(f"ear_{side}", parts.build_ear(side == "left"), "ear", HEAD)
        add_part("teeth_upper", parts.build_teeth(self.cage, is_upper=True), "teeth", MOUTH)
        add_part("teeth_lower", parts.build_teeth(self.cage, is_upper=False), "teeth", MOUTH)
        add_part("tongue", parts.build_tongue(self.cage), "tongue", MOUTH)
        locks = build_hair(seed, has_loose_hairs)
        self._strand_directions = strand_directions(locks)
        add_part("hair", locks, "hair", HAIR)
        add_part("clothes", parts.build_clothes(), "clothes", TORSO)
        self.rest_vertices = np.concatenate(points)
        self.faces = np.concatenate(faces).astype(np.int32)
        self.uv = np.concatenate(uvs).astype(np.float32)
        self.face_regions = np.concatenate(labels).astype(np.uint8)
        weight = head_weights(self.rest_vertices)
        weight[self._part_slices["hair"]] = 1.0
        weight[self._part_slices["clothes"]] = 0.0
        self.head_weight = weight
        rest32 = self.rest_vertices.astype(np.float32)
        self._rest_normals = vertex_normals(rest32, self.faces)
        self._light_transfer = self._bake_light_transfer(rest32, skin_faces)
        self.visible_faces = np.flatnonzero(~self._find_hidden_faces()).astype(np.int32)
        self._mouth_vertices = np.unique(self.faces[self.face_regions == MOUTH])
        self._lip_z = parts.lip_center(self.cage)[2]
        self._eyelid_vertices = self._find_eyelid_vertices(skin)

    def _label_skin_faces(self, skin: F64, faces: I32, parent: I32) -> U8:
        """The region of every skin triangle: mouth lining, head, or neck (torso)."""
        bag = {int(v) for v in self.cage.mouth_bag[1:].ravel()}
        lining = np.array([sum(int(v) in bag for v in face) >= 1 for face in self.cage.faces])
        neck = head_weights(skin)[faces].mean(1) < 0.97
        return np.where(lining[parent], MOUTH, np.where(neck, TORSO, HEAD)).astype(np.uint8)

    def _bake_light_transfer(self, rest: F32, skin_faces: I32) -> F32:
        """(3, V, 9) light transfer per colour: red light spreads widest under the skin."""
        transfer = light.bake_light_transfer(rest, self.faces)
        skin = self._part_slices["skin"]
        links = build_adjacency(skin_faces, self.skin_vertex_count)
        links = sparse.diags(1 / np.maximum(links.sum(1).A1, 1)) @ links
        layers = []
        for steps in (8, 3, 1):
            layer = transfer.copy()
            layer[skin] = light.scatter_light(transfer[skin], links, steps)
            layers.append(layer)
        return np.stack(layers).astype(np.float32)

    def _find_hidden_faces(self) -> Mask:
        """(F,) the triangles of the cranium that hair hides from every side: no light reaches them."""
        dark = self._light_transfer[2, :, 0] < 1e-4
        buried = dark[self.faces].all(1) & (self.rest_vertices[self.faces].min(1)[:, 1] > 0)
        buried[self._skin_face_count :] = False
        front = self.rest_vertices[self.faces].max(1)[:, 2] > -0.02  # lids, and what moves
        return np.asarray(buried & ~front)

    def _find_eyelid_vertices(self, skin: F64) -> tuple[I32, I32]:
        """Skin vertices that could sink into the right and the left eyeball."""
        near = []
        for centre in self.cage.eye_centers:
            offset = skin - centre
            near.append(np.flatnonzero((np.linalg.norm(offset, axis=1) < 2.2 * EYE_RADIUS) & (offset[:, 2] > -0.002)))
        return near[0].astype(np.int32), near[1].astype(np.int32)

    def deform(self, channels: F64) -> F64:
        """(V, 3) rest-pose vertices moved by the channels (52,), before skinning."""
        cage = self.cage.vertices + np.tensordot(channels, self.shapes, 1)
        points = self.rest_vertices.copy()
        skin = self.subdivision_matrix @ cage
        for centre, near in zip(self.cage.eye_centers, self._eyelid_vertices, strict=True):
            offset = skin[near] - centre
            distance = np.linalg.norm(offset, axis=1, keepdims=True)
            front = offset[:, 2:] > 0.1 * distance  # rims behind keep their place
            skin[near] += np.where(front, offset / distance * np.maximum(EYE_RADIUS + LID_THICKNESS - distance, 0), 0)
        points[self._part_slices["skin"]] = skin
        value = {
            name: channels[CHANNEL_INDEX[name]]
            for name in ("jawOpen", "jawLeft", "jawRight", "jawForward", "tongueOut")
        }
        slide = JAW_SLIDE * np.array([value["jawLeft"] - value["jawRight"], 0, value["jawForward"]])
        for name, share in (("teeth_lower", 1.0), ("tongue", 0.85)):
            angle = JAW_ANGLE * value["jawOpen"] * share
            turn = rotation_about_x(angle)
            part = self._part_slices[name]
            points[part] = (points[part] - JAW_PIVOT) @ turn.T + JAW_PIVOT + slide
        gap = float(np.linalg.norm((skin[LIPS_INNER[0][5]] - skin[LIPS_INNER[1][5]])[1:]))
        out = value["tongueOut"] * np.clip(gap / 0.010, 0, 1)  # closed lips hold it back
        points[self._part_slices["tongue"]] += np.array([0, 0.003, 0.022]) * out
        return points

    def eye_rotation(self, channels: F64, is_left: bool) -> F64:
        """(3, 3) rotation of one eyeball, rest → looking."""
        side = "Left" if is_left else "Right"
        amount = {way: channels[CHANNEL_INDEX[f"eyeLook{way}{side}"]] * angle for way, angle in MAX_GAZE_ANGLES.items()}
        yaw = (amount["Out"] - amount["In"]) * (1 if is_left else -1)
        pitch = amount["Down"] - amount["Up"]
        cy, sy = np.cos(yaw), np.sin(yaw)
        aside = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        return np.asarray(aside @ rotation_about_x(pitch))

    def pose(self, channels: F64, head: tuple[F32, F32], torso: tuple[F32, F32], camera_position: F64) -> PosedMesh:
        """The actor with these channels (52,) and with head and torso at (quaternion wxyz, metres)."""
        rest = self.deform(channels)
        turn_head, turn_torso = _matrix_from_quaternion(head[0]), _matrix_from_quaternion(torso[0])
        weight = self.head_weight[:, None]
        vertices = weight * (rest @ turn_head.T + head[1]) + (1 - weight) * (rest @ turn_torso.T + torso[1])
        upper, lower = (rest[i] for i in (LIPS_INNER[0][5], LIPS_INNER[1][5]))
        opening = float(np.linalg.norm((upper - lower)[1:]))

        uv, gloss = self.uv.copy(), np.zeros(len(rest), np.float32)
        landmarks = np.zeros((478, 3))
        landmarks[:LANDMARK_COUNT] = vertices[:LANDMARK_COUNT]
        for first, side, centre in ((468, "right", self.cage.eye_centers[0]), (473, "left", self.cage.eye_centers[1])):
            part, look = self._part_slices[f"eye_{side}"], self.eye_rotation(channels, side == "left")
            local = (self.rest_vertices[part] - centre) / EYE_RADIUS @ look
            uv[part] = texture.to_atlas_texels("eye", 0.5 + local[:, :2] * [0.5, -0.5])
            gloss[part] = _cornea_highlight(local, turn_head @ look, camera_position)
            landmarks[first : first + 5] = (centre + _IRIS_POINTS @ look.T) @ turn_head.T + head[1]
        shown = self._light_vertices(rest, turn_head, turn_torso, opening, camera_position)
        return PosedMesh(vertices.astype(np.float32), uv, shown.astype(np.float32), gloss, landmarks, opening)

    def _light_vertices(self, rest: F64, head: F64, torso: F64, opening: float, camera_position: F64) -> F64:
        """(V, 3) linear light on the shaped vertices when head and torso are turned by (3, 3)."""
        bodies = [light.environment_coefficients(head), light.environment_coefficients(torso)]
        shown = np.zeros((len(rest), 3))
        for body, share in zip(bodies, (self.head_weight, 1 - self.head_weight), strict=True):
            gathered = np.stack([self._light_transfer[c] @ body[:, c].astype(np.float32) for c in range(3)], 1)
            shown += share[:, None] * gathered

        skin = self._part_slices["skin"]  # only the skin changes its shape: correct its light for the turned normals
        normals = vertex_normals(rest[skin].astype(np.float32), self.faces[: self._skin_face_count])
        now = light.irradiance(normals.astype(float), bodies[0])
        before = light.irradiance(self._rest_normals[skin].astype(float), bodies[0])
        shown[skin] *= np.clip((now + 0.15) / (before + 0.15), 0.4, 1.8)

        inside = self._mouth_vertices  # what came in at rest is not what comes in now: light falls off behind the lips
        deep = np.clip((self._lip_z - rest[inside, 2]) / 0.016, 0, None)[:, None]
        frontal = light.irradiance(np.array([[0.0, 0.0, 1.0]]), bodies[0])
        shown[inside] = 0.85 * np.clip(opening / 0.006, 0.12, 1) * frontal * np.exp(-(deep**1.3))
        lining = inside < self.skin_vertex_count
        shown[inside[lining]] *= _LINING_TINT ** np.clip(2 * deep[lining], 0, 1)

        locks = self._part_slices["hair"]
        shown[locks] *= 1 + _hair_specular(self._strand_directions @ head.T, camera_position)[:, None]
        shown[locks] += 0.06 * bodies[0][0] * 0.282095  # light that passes through the hair
        return shown


def _cornea_highlight(local: F64, turn: F64, camera: F64) -> F32:
    """(V,) the window's reflection on an eyeball; the cornea is more curved than the ball."""
    radial = np.linalg.norm(local[:, :2], axis=1)
    bulge = 1 + 0.55 * np.clip((0.56 - radial) / 0.1, 0, 1)
    normal = np.column_stack([local[:, :2] * bulge[:, None], local[:, 2]])
    normal = normal / np.linalg.norm(normal, axis=1, keepdims=True) @ turn.T
    half = HIGHLIGHT_DIRECTION / np.linalg.norm(HIGHLIGHT_DIRECTION) + camera / np.linalg.norm(camera)
    cosine = normal @ (half / np.linalg.norm(half))
    return np.asarray(0.85 * np.clip((cosine - 0.982) / 0.008, 0, 1), np.float32)


def _hair_specular(strands: F64, camera: F64) -> F64:
    """(V,) how much brighter hairs running along unit vectors (V, 3) look for their sheen.

    Formula: J. T. Kajiya and T. L. Kay, "Rendering Fur with Three Dimensional Textures", SIGGRAPH 1989.
    """
    half = HIGHLIGHT_DIRECTION / np.linalg.norm(HIGHLIGHT_DIRECTION) + camera / np.linalg.norm(camera)
    cosine = strands @ (half / np.linalg.norm(half))
    return np.asarray(0.9 * np.clip(1 - cosine**2, 0, 1) ** 14)


@cache
def cached_actor_mesh(seed: int, has_loose_hairs: bool) -> ActorMesh:
    """The actor of a seed; kept, because it takes seconds to make."""
    return ActorMesh(seed, has_loose_hairs)
