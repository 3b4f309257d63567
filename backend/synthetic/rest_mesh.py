"""The synthetic actor at rest: all parts joined to one mesh, with regions, skinning weights and places in the atlas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract.arrays import F32, F64, I32, U8
from . import parts
from .atlas import to_atlas_texels
from .cage import Cage
from .mesh_part import MeshPart

REGIONS = ("head", "hair", "torso", "mouth")  # of the mattes; a face's region is an index into this table
HEAD, HAIR, TORSO, MOUTH = range(4)

MIN_HEAD_WEIGHT = 0.97  # a skin face that follows the head less belongs to the torso's matte

# Where the neck bends: the upper end of the transition falls from the throat to the nape, metres.
THROAT_Z = 0.010
NECK_DEPTH = 0.15  # from the throat to the nape
THROAT_Y = -0.128
NAPE_RISE = 0.050  # of the transition at the nape above that at the throat
TRANSITION_HEIGHT = 0.080  # larger bends more softly


@dataclass(frozen=True)
class RestMesh:
    """The actor at rest, head space.

    Attributes:
        vertices: (V, 3) metres; the skin comes first, its first 468 vertices are the tracker's landmarks.
        faces: (F, 3) vertex indices; the skin comes first.
        uv: (V, 2) texels of the atlas.
        face_regions: (F,) index into `REGIONS`.
        head_weight: (V,) how far a vertex follows the head, 0–1; the rest follows the torso.
        part_slices: the vertices of each part, by its name.
        skin_face_count: how many of the first faces are skin.
    """

    vertices: F64
    faces: I32
    uv: F32
    face_regions: U8
    head_weight: F64
    part_slices: dict[str, slice]
    skin_face_count: int

    @property
    def skin_vertex_count(self) -> int:
        """How many of the first vertices are skin."""
        return int(self.part_slices["skin"].stop)

    def part_vertices(self, name: str) -> F64:
        """(P, 3) the vertices of a part."""
        return np.asarray(self.vertices[self.part_slices[name]])


def head_weights(points: F64) -> F64:
    """(N,) how far points (N, 3) follow the head: 1 above the jaw, 0 at the collar, smooth along the neck."""
    backward = np.clip((THROAT_Z - points[:, 2]) / NECK_DEPTH, 0, 1)
    below = (THROAT_Y + NAPE_RISE * backward) - points[:, 1]
    t = np.clip(below / TRANSITION_HEIGHT, 0, 1)
    return np.asarray(1 - t * t * t * (t * (6 * t - 15) + 10))  # Perlin's smootherstep


def build_rest_mesh(cage: Cage, skin: MeshPart, skin_regions: U8, hair: MeshPart) -> RestMesh:
    """Join the skin and all other parts.

    Args:
        cage: the control cage, by which eyes, teeth and tongue are placed.
        skin: the subdivided cage.
        skin_regions: (F,) regions of its faces.
        hair: all of the hair.
    """
    placed: list[tuple[str, MeshPart, str, int | U8]] = [("skin", skin, "skin", skin_regions)]
    for side, center in zip(("right", "left"), cage.eye_centers, strict=True):
        placed.append((f"eye_{side}", parts.build_eyeball(center), "eye", HEAD))
        placed.append((f"ear_{side}", parts.build_ear(side == "left"), "ear", HEAD))
    placed += [
        ("teeth_upper", parts.build_teeth(cage, is_upper=True), "teeth", MOUTH),
        ("teeth_lower", parts.build_teeth(cage, is_upper=False), "teeth", MOUTH),
        ("tongue", parts.build_tongue(cage), "tongue", MOUTH),
        ("hair", hair, "hair", HAIR),
        ("clothes", parts.build_clothes(), "clothes", TORSO),
    ]
    slices: dict[str, slice] = {}
    faces, uv, regions = [], [], []
    count = 0
    for name, part, rectangle, region in placed:
        slices[name] = slice(count, count + len(part.vertices))
        faces.append(part.faces + count)
        uv.append(to_atlas_texels(rectangle, part.uv))
        regions.append(np.broadcast_to(np.asarray(region, np.uint8), len(part.faces)))
        count += len(part.vertices)
    vertices = np.concatenate([part.vertices for _, part, _, _ in placed])
    weight = head_weights(vertices)
    weight[slices["hair"]] = 1.0
    weight[slices["clothes"]] = 0.0
    return RestMesh(
        vertices=vertices,
        faces=np.concatenate(faces).astype(np.int32),
        uv=np.concatenate(uv).astype(np.float32),
        face_regions=np.concatenate(regions).astype(np.uint8),
        head_weight=weight,
        part_slices=slices,
        skin_face_count=len(skin.faces),
    )


def find_skin_regions(cage: Cage, skin: MeshPart, parent: I32) -> U8:
    """(F,) the region of every skin face: mouth lining, head, or torso (the neck).

    Args:
        cage: the control cage.
        skin: the subdivided cage.
        parent: (F,) the cage's face that each skin face lies in.
    """
    lining_vertices = {int(v) for v in cage.mouth_bag[1:].ravel()}
    is_lining = np.array([any(int(v) in lining_vertices for v in face) for face in cage.faces])
    is_neck = head_weights(skin.vertices)[skin.faces].mean(1) < MIN_HEAD_WEIGHT
    return np.where(is_lining[parent], MOUTH, np.where(is_neck, TORSO, HEAD)).astype(np.uint8)
