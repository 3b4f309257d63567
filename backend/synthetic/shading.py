"""Light on the synthetic actor: baked light transfer, corrected in every frame for what moves, and highlights."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from ..contract.arrays import F32, F64, I32, Mask
from . import light
from .mesh_part import MeshPart, strand_directions
from .raster import vertex_normals
from .rest_mesh import MOUTH, RestMesh
from .subdivision import build_adjacency

HIGHLIGHT_DIRECTION = np.array([-0.45, 0.55, 0.70])  # towards the window that eyes and hair reflect
SCATTER_STEPS = (8, 3, 1)  # red, green, blue: red light spreads widest under the skin

HIDDEN_TRANSFER = 1e-4  # a vertex that gathers less light is covered by hair from every side
MAX_HIDDEN_Z = -0.02  # metres; what lies further in front moves, so it is never hidden

NORMAL_LIGHT_FLOOR = (
    0.15  # added to both sides of the ratio by which turned normals change baked light; larger is flatter
)
NORMAL_LIGHT_RANGE = (0.4, 1.8)  # of that ratio

# Light inside the mouth: from the front, through the opening, falling off behind the lips.
MOUTH_LIGHT = 0.85
MOUTH_LIGHT_DEPTH = 0.016  # metres behind the lips at which it has fallen to 1 / e
FULL_OPENING = 0.006  # metres between the lips from which all light comes in
MIN_MOUTH_LIGHT = 0.12  # share that comes in through closed lips
LINING_TINT = np.array([0.85, 0.42, 0.40])  # light that the lining throws on itself, deep in the mouth

HAIR_TRANSMISSION = 0.06  # share of the mean light that passes through the hair
HAIR_SPECULAR = 0.9  # by which the sheen brightens the hair at most
HAIR_SPECULAR_EXPONENT = 14  # larger makes the sheen narrower

CORNEA_BULGE = 0.55  # by which the cornea's normals are steeper than the eyeball's
CORNEA_RADIUS = 0.56  # of the eyeball's radius
CORNEA_EDGE = 0.1  # of the eyeball's radius, over which the bulge fades
CORNEA_HIGHLIGHT = 0.85  # linear light of the window's reflection
CORNEA_HIGHLIGHT_COSINE = 0.982  # from which normals reflect the window; larger makes it smaller
CORNEA_HIGHLIGHT_EDGE = 0.008  # of the cosine, over which the reflection's edge fades


class ActorShading:
    """The light that reaches the vertices of one actor.

    Attributes:
        visible_faces: indices of the faces that are not always covered by hair.
    """

    def __init__(self, mesh: RestMesh, hair: MeshPart, lip_z: float) -> None:
        self._mesh = mesh
        self._lip_z = lip_z
        self._strand_directions = strand_directions(hair)
        rest = mesh.vertices.astype(np.float32)
        self._rest_normals = vertex_normals(rest, mesh.faces)
        self._light_transfer = _bake_light_transfer(rest, mesh)
        self._mouth_vertices = np.unique(mesh.faces[mesh.face_regions == MOUTH])
        self.visible_faces: I32 = np.flatnonzero(~self._find_hidden_faces()).astype(np.int32)

    def irradiance(self, shape: F64, head: F64, torso: F64, mouth_opening: float, camera_position: F64) -> F64:
        """(V, 3) linear irradiance, 1 where a white surface looks white.

        Args:
            shape: (V, 3) the vertices in head space, moved by the channels.
            head: (3, 3) rotation of the head.
            torso: (3, 3) rotation of the torso.
            mouth_opening: metres between the lips.
            camera_position: (3,) metres, for the hair's sheen.
        """
        mesh = self._mesh
        bodies = [light.environment_coefficients(head), light.environment_coefficients(torso)]
        total = np.zeros((len(shape), 3))
        for body, share in zip(bodies, (mesh.head_weight, 1 - mesh.head_weight), strict=True):
            gathered = np.stack([self._light_transfer[c] @ body[:, c].astype(np.float32) for c in range(3)], 1)
            total += share[:, None] * gathered
        total[mesh.part_slices["skin"]] *= self._normal_light_ratio(shape, bodies[0])
        self._light_mouth(total, shape, bodies[0], mouth_opening)
        locks = mesh.part_slices["hair"]
        total[locks] *= 1 + _hair_specular(self._strand_directions @ head.T, camera_position)[:, None]
        total[locks] += HAIR_TRANSMISSION * bodies[0][0] * light.SH_CONSTANT
        return total

    def _normal_light_ratio(self, shape: F64, environment: F64) -> F64:
        """(S, 3) by which the skin's baked light changes because its normals have turned."""
        skin = self._mesh.part_slices["skin"]
        normals = vertex_normals(shape[skin].astype(np.float32), self._mesh.faces[: self._mesh.skin_face_count])
        now = light.irradiance(normals.astype(float), environment)
        before = light.irradiance(self._rest_normals[skin].astype(float), environment)
        return np.clip((now + NORMAL_LIGHT_FLOOR) / (before + NORMAL_LIGHT_FLOOR), *NORMAL_LIGHT_RANGE)

    def _light_mouth(self, total: F64, shape: F64, environment: F64, opening: float) -> None:
        """Replace the baked light inside the mouth, which was baked with closed lips."""
        inside = self._mouth_vertices
        depth = np.clip((self._lip_z - shape[inside, 2]) / MOUTH_LIGHT_DEPTH, 0, None)[:, None]
        frontal = light.irradiance(np.array([[0.0, 0.0, 1.0]]), environment)
        entering = MOUTH_LIGHT * np.clip(opening / FULL_OPENING, MIN_MOUTH_LIGHT, 1)
        total[inside] = entering * frontal * np.exp(-(depth**1.3))
        is_lining = inside < self._mesh.skin_vertex_count
        total[inside[is_lining]] *= LINING_TINT ** np.clip(2 * depth[is_lining], 0, 1)

    def _find_hidden_faces(self) -> Mask:
        """(F,) the faces of the cranium that hair hides from every side: no light reaches them."""
        mesh = self._mesh
        is_dark = self._light_transfer[2, :, 0] < HIDDEN_TRANSFER
        is_hidden = is_dark[mesh.faces].all(1) & (mesh.vertices[mesh.faces].min(1)[:, 1] > 0)
        is_hidden[mesh.skin_face_count :] = False
        is_front = mesh.vertices[mesh.faces].max(1)[:, 2] > MAX_HIDDEN_Z
        return np.asarray(is_hidden & ~is_front)


def _bake_light_transfer(rest: F32, mesh: RestMesh) -> F32:
    """(3, V, 9) light transfer per colour."""
    transfer = light.bake_light_transfer(rest, mesh.faces)
    skin = mesh.part_slices["skin"]
    links = build_adjacency(mesh.faces[: mesh.skin_face_count], mesh.skin_vertex_count)
    links = sparse.diags(1 / np.maximum(links.sum(1).A1, 1)) @ links
    layers = []
    for steps in SCATTER_STEPS:
        layer = transfer.copy()
        layer[skin] = light.scatter_light(transfer[skin], links, steps)
        layers.append(layer)
    return np.stack(layers).astype(np.float32)


def _half_vector(camera_position: F64) -> F64:
    """(3,) unit vector halfway between the window and the camera."""
    half = HIGHLIGHT_DIRECTION / np.linalg.norm(HIGHLIGHT_DIRECTION) + camera_position / np.linalg.norm(camera_position)
    return np.asarray(half / np.linalg.norm(half))


def cornea_highlight(local: F64, rotation: F64, camera_position: F64) -> F32:
    """(P,) linear light of the window's reflection on an eyeball.

    Args:
        local: (P, 3) the eyeball's vertices in its own space, in eyeball radii.
        rotation: (3, 3) of the eyeball in actor space.
        camera_position: (3,) metres.
    """
    radial = np.linalg.norm(local[:, :2], axis=1)
    bulge = 1 + CORNEA_BULGE * np.clip((CORNEA_RADIUS - radial) / CORNEA_EDGE, 0, 1)
    normal = np.column_stack([local[:, :2] * bulge[:, None], local[:, 2]])
    normal = normal / np.linalg.norm(normal, axis=1, keepdims=True) @ rotation.T
    cosine = normal @ _half_vector(camera_position)
    reflected = np.clip((cosine - CORNEA_HIGHLIGHT_COSINE) / CORNEA_HIGHLIGHT_EDGE, 0, 1)
    return np.asarray(CORNEA_HIGHLIGHT * reflected, np.float32)


def _hair_specular(strands: F64, camera_position: F64) -> F64:
    """(P,) by which the sheen brightens hairs that run along unit vectors (P, 3).

    Formula: J. T. Kajiya and T. L. Kay, "Rendering Fur with Three Dimensional Textures", SIGGRAPH 1989.
    """
    cosine = strands @ _half_vector(camera_position)
    return np.asarray(HAIR_SPECULAR * np.clip(1 - cosine**2, 0, 1) ** HAIR_SPECULAR_EXPONENT)
