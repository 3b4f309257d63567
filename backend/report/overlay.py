"""Drawing over a frame what was found in it: the mattes' soft edges, the rebuilt face mesh, the axes of head and torso.

The background is dimmed by the person's alpha, so a matte is judged at a glance; its soft part glows in its colour, a
thin line where the edge is hard and a veil where hair is. The mesh is a faint web with clear lips, lids and brows.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np

from ..contract.arrays import F32, F64, I32, I64, U8, Image
from ..tracking.detection import topology as topo

Color = tuple[int, int, int]

MIN_OVERLAY_SIDE = 384  # pixels: smaller crops are drawn on an enlarged picture, or the mesh would be a blot
PERSON_COLOR: Color = (64, 210, 200)
HEAD_COLOR: Color = (255, 178, 64)
MOUTH_COLOR: Color = (255, 70, 120)
HAIR_COLOR: Color = (176, 96, 255)
WIREFRAME_COLOR: Color = (70, 160, 255)
SHADE_COLOR: Color = (18, 26, 44)
FEATURE_COLOR: Color = (244, 248, 255)
IRIS_COLOR: Color = (60, 225, 255)
AXIS_COLORS: tuple[Color, Color, Color] = ((255, 70, 85), (140, 220, 60), (60, 140, 255))  # x, y, z as in Blender

BACKGROUND_BRIGHTNESS = 0.42  # what is left of the background's light
WIREFRAME_STRENGTH = 0.36
EDGE_STRENGTH = 0.85
MOUTH_STRENGTH = 0.45
HAIR_STRENGTH = 0.3
SUBPIXEL_BITS = 4  # fractional bits of drawn coordinates


def overlay_side(crop_size: int) -> int:
    """The side in pixels of the drawn picture of a crop `size` pixels wide: a whole multiple of it."""
    return crop_size * -(-MIN_OVERLAY_SIDE // crop_size)


def draw_overlay(image: Image, matte: F32, mesh: Any, head_axes: Any, torso_axes: Any) -> Image:
    """The frame with everything drawn over it.

    Args:
        picture: (S, S, 3) RGB. matte: (S, S, 3 or 4) alpha 0–1 of person, head, mouth interior and, where it
            is known, hair.
        mesh: (478, 2) pixels of the crop. head, torso: (4, 2) pixels: origin and the ends of x, y and z.

    Returns:
        (D, D, 3) RGB with D = `drawn_side(S)`.
    """
    size = image.shape[0]
    side = overlay_side(size)
    scale = side / size
    alphas = cv2.convertScaleAbs(matte, alpha=255.0)
    if side != size:
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
        alphas = cv2.resize(alphas, (side, side), interpolation=cv2.INTER_LINEAR)
    person, region, mouth, *hair = cv2.split(alphas)
    result = _draw_mattes(image, person, region)
    if hair:
        tint(result, cv2.multiply(hair[0], person, scale=1 / 255), HAIR_COLOR, HAIR_STRENGTH)
    points = np.asarray(mesh, np.float64) * scale
    lips = _bounding_box(points[topo.index_array(*topo.INNER_LIP_RING)], side)
    if _is_nonempty(lips):
        tint(result[lips], mouth[lips], MOUTH_COLOR, MOUTH_STRENGTH)
    draw_mesh(result, points)
    draw_axes(result, np.asarray(torso_axes, np.float64) * scale)
    draw_axes(result, np.asarray(head_axes, np.float64) * scale)
    return result.astype(np.uint8, copy=False)


def _draw_mattes(image: Image, person: Any, head: Any) -> Any:
    """The picture with its background dimmed and the soft parts of both alphas (D, D) uint8 in their colours.

    The colours are mixed as grey pictures as long as possible: this is most of what drawing costs.
    """
    edges = _map_alpha(person, "edge"), cv2.multiply(_map_alpha(head, "edge"), person, scale=1 / 255)
    rest = _map_alpha(person, "dim")
    for edge in edges:
        rest = cv2.multiply(rest, cv2.bitwise_not(edge), scale=1 / 255)
    inks = [
        cv2.addWeighted(edges[0], PERSON_COLOR[channel] / 255, edges[1], HEAD_COLOR[channel] / 255, 0)
        for channel in range(3)
    ]
    return cv2.add(cv2.multiply(image, cv2.cvtColor(rest, cv2.COLOR_GRAY2RGB), scale=1 / 255), cv2.merge(inks))


def tint(image: Any, weight: Any, color: Color, strength: float = 1.0) -> None:
    """Mixes a colour into the picture (H, W, 3) in place, as much as `weight` (H, W) uint8 times `strength` says."""
    ink, rest = _tint_tables(color, strength)
    weights = cv2.cvtColor(weight, cv2.COLOR_GRAY2RGB)
    left = cv2.multiply(image, cv2.LUT(weights, rest), scale=1 / 255)
    image[...] = cv2.add(left, cv2.LUT(weights, ink))


@cache
def _tint_tables(color: Color, strength: float) -> tuple[U8, U8]:
    """(1, 256, 3) what each weight adds of the colour, and (256,) what it leaves of the picture."""
    share = np.arange(256) / 255 * strength
    ink = np.rint(share[None, :, None] * np.array(color)).astype(np.uint8)
    return ink, np.rint(255 * (1 - share)).astype(np.uint8)


def draw_mesh(image: Image, points: F64) -> None:
    """The face mesh (478, 2) pixels, in place."""
    web, features = _mesh_edges()
    box = _bounding_box(points, image.shape[0])
    if not _is_nonempty(box):
        return
    origin = np.array([box[1].start, box[0].start])
    mask = np.zeros((box[0].stop - origin[1], box[1].stop - origin[0]), np.uint8)
    cv2.polylines(mask, list(to_fixed_point(points[web] - origin)), False, 255, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    tint(image[box], mask, WIREFRAME_COLOR, WIREFRAME_STRENGTH)
    mask[...] = 0
    cv2.polylines(mask, list(to_fixed_point(points[features] - origin)), False, 255, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    tint(image[box], cv2.blur(mask, (3, 3)), SHADE_COLOR, 0.9)  # a shade beneath, or pale skin would swallow the lines
    tint(image[box], mask, FEATURE_COLOR, 0.85)
    for iris in (topo.IRIS_LEFT, topo.IRIS_RIGHT):
        ring = points[topo.index_array(*iris)]
        radius = float(np.linalg.norm(ring[1:] - ring[0], axis=1).mean())
        centre = to_fixed_point(ring[0])
        cv2.circle(
            image, (int(centre[0]), int(centre[1])), round(radius * 16), IRIS_COLOR, 1, cv2.LINE_AA, SUBPIXEL_BITS
        )


def draw_axes(image: Image, ends: F64) -> None:
    """Axes from their origin (first row of (4, 2) pixels), in place; what points to the viewer is drawn last."""
    width = max(2, round(image.shape[0] / 200))
    for axis in range(3):
        start, end = (tuple(int(v) for v in to_fixed_point(p)) for p in (ends[0], ends[axis + 1]))
        cv2.line(image, start, end, (16, 18, 24), width + 2, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.line(image, start, end, AXIS_COLORS[axis], width, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.circle(image, end, round(width * 0.9 * 16), AXIS_COLORS[axis], -1, cv2.LINE_AA, SUBPIXEL_BITS)


def to_fixed_point(points: F64) -> I32:
    """Pixel coordinates (centres at +0.5) as OpenCV draws them: fixed point, centres at whole numbers."""
    return np.rint((np.clip(points, -1e4, 1e4) - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def _bounding_box(points: F64, side: int, margin: int = 3) -> tuple[slice, slice]:
    """Rows and columns of the picture around points."""
    low = np.clip(np.floor(points.min(0)) - margin, 0, side).astype(int)
    high = np.clip(np.ceil(points.max(0)) + margin, 0, side).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _is_nonempty(box: tuple[slice, slice]) -> bool:
    return box[0].start < box[0].stop and box[1].start < box[1].stop


@cache
def _mesh_edges() -> tuple[I64, I64]:
    """(E, 2) the web of the mesh, and the lines of lips, lids, brows and the face's outline."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_CONTOURS

    features = {(min(a, b), max(a, b)) for a, b in FACEMESH_CONTOURS}
    web = sorted(topo.mesh_edges() - features)
    return np.array(web, np.int64), np.array(sorted(features), np.int64)


def _map_alpha(alpha: Any, kind: str) -> Any:
    return cv2.LUT(alpha, _alpha_table(kind))


@cache
def _alpha_table(kind: str) -> U8:
    """(256,) what an alpha becomes: the light that is left ("dim"), or how much of an edge it is ("edge")."""
    alpha = np.arange(256) / 255
    value = (
        BACKGROUND_BRIGHTNESS + (1 - BACKGROUND_BRIGHTNESS) * alpha
        if kind == "dim"
        else EDGE_STRENGTH * (4 * alpha * (1 - alpha)) ** 0.75
    )
    return np.rint(255 * value).astype(np.uint8)
