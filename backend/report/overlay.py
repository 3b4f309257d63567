"""Draws mattes, the reconstructed face mesh and the axes of head and torso over a frame.

The background is dimmed by the person's alpha. Soft parts of a matte get its colour: a thin line at a hard edge, a veil
at hair. The mesh is a faint wireframe with clear lips, lids and brows.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np

from ..contract.arrays import F32, F64, I32, I64, U8, Image
from ..tracking.detection import topology as topo

Color = tuple[int, int, int]

MIN_OVERLAY_SIDE = 384  # pixels; smaller crops are enlarged before drawing, since the mesh would cover the face
PERSON_COLOR: Color = (64, 210, 200)
HEAD_COLOR: Color = (255, 178, 64)
MOUTH_COLOR: Color = (255, 70, 120)
HAIR_COLOR: Color = (176, 96, 255)
WIREFRAME_COLOR: Color = (70, 160, 255)
SHADE_COLOR: Color = (18, 26, 44)
FEATURE_COLOR: Color = (244, 248, 255)
IRIS_COLOR: Color = (60, 225, 255)
AXIS_COLORS: tuple[Color, Color, Color] = ((255, 70, 85), (140, 220, 60), (60, 140, 255))  # x, y, z as in Blender

# Strengths of drawing, 0–1: larger covers more of the image. Not tuned.
BACKGROUND_BRIGHTNESS = 0.42  # of the background's original brightness
WIREFRAME_STRENGTH = 0.36
SHADE_STRENGTH = 0.9  # of the shade beneath the feature lines
FEATURE_STRENGTH = 0.85
EDGE_STRENGTH = 0.85
EDGE_EXPONENT = 0.75  # of 4 α (1 − α); smaller widens the coloured edge
MOUTH_STRENGTH = 0.45
HAIR_STRENGTH = 0.3
AXIS_OUTLINE_COLOR: Color = (16, 18, 24)
SUBPIXEL_BITS = 4  # fractional bits of drawn coordinates
FIXED_POINT_SCALE = 1 << SUBPIXEL_BITS
MAX_COORDINATE = 1e4  # pixels; larger ones, of points near the camera plane, would overflow OpenCV's fixed point


def overlay_side(crop_size: int) -> int:
    """Return the side of the overlay in pixels: the smallest multiple of the crop's that is large enough."""
    return crop_size * -(-MIN_OVERLAY_SIDE // crop_size)


def draw_overlay(image: Image, matte: F32, mesh: Any, head_axes: Any, torso_axes: Any) -> Image:
    """Draw everything over a copy of the frame.

    Args:
        image: (S, S, 3) RGB.
        matte: (S, S, 3 or 4) alpha 0–1 of person, head, mouth interior and, if known, hair.
        mesh: (478, 2) crop pixels.
        head_axes: (4, 2) crop pixels: the origin and the ends of x, y and z.
        torso_axes: likewise.

    Returns:
        (D, D, 3) RGB with D = `overlay_side(S)`.
    """
    size = image.shape[0]
    side = overlay_side(size)
    scale = side / size
    alphas = cv2.convertScaleAbs(matte, alpha=255.0)
    if side != size:
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
        alphas = cv2.resize(alphas, (side, side), interpolation=cv2.INTER_LINEAR)
    person, head, mouth, *hair = cv2.split(alphas)
    result = _draw_mattes(image, person, head)
    if hair:
        tint(result, cv2.multiply(hair[0], person, scale=1 / 255), HAIR_COLOR, HAIR_STRENGTH)
    points = np.asarray(mesh, np.float64) * scale
    lips = _bounding_box(points[topo.index_array(*topo.INNER_LIP_RING)], side)
    if _is_nonempty(lips):
        tint(result[lips], mouth[lips], MOUTH_COLOR, MOUTH_STRENGTH)
    draw_mesh(result, points)
    draw_axes(result, np.asarray(torso_axes, np.float64) * scale)
    draw_axes(result, np.asarray(head_axes, np.float64) * scale)
    overlay: Image = result.astype(np.uint8, copy=False)
    return overlay


def _draw_mattes(image: Image, person: Any, head: Any) -> Any:
    """Dim the background and colour the soft parts of both alphas (D, D) uint8.

    Most of it works on gray images, since this is the most expensive part of drawing.
    """
    edges = _map_alpha(person, "edge"), cv2.multiply(_map_alpha(head, "edge"), person, scale=1 / 255)
    remaining = _map_alpha(person, "dim")
    for edge in edges:
        remaining = cv2.multiply(remaining, cv2.bitwise_not(edge), scale=1 / 255)
    inks = [
        cv2.addWeighted(edges[0], PERSON_COLOR[channel] / 255, edges[1], HEAD_COLOR[channel] / 255, 0)
        for channel in range(3)
    ]
    return cv2.add(cv2.multiply(image, cv2.cvtColor(remaining, cv2.COLOR_GRAY2RGB), scale=1 / 255), cv2.merge(inks))


def tint(image: Any, weight: Any, color: Color, strength: float = 1.0) -> None:
    """Blend a colour into the image (H, W, 3) in place with the opacity `weight` (H, W) uint8 · `strength`."""
    color_table, image_table = _tint_tables(color, strength)
    weights = cv2.cvtColor(weight, cv2.COLOR_GRAY2RGB)
    remaining = cv2.multiply(image, cv2.LUT(weights, image_table), scale=1 / 255)
    image[...] = cv2.add(remaining, cv2.LUT(weights, color_table))


@cache
def _tint_tables(color: Color, strength: float) -> tuple[U8, U8]:
    """Return lookup tables of what each weight adds of the colour (1, 256, 3) and keeps of the image (256,)."""
    opacity = np.arange(256) / 255 * strength
    color_table = np.rint(opacity[None, :, None] * np.array(color)).astype(np.uint8)
    return color_table, np.rint(255 * (1 - opacity)).astype(np.uint8)


def draw_mesh(image: Image, points: F64) -> None:
    """Draw the face mesh (478, 2) pixels in place."""
    wireframe, features = _mesh_edges()
    box = _bounding_box(points, image.shape[0])
    if not _is_nonempty(box):
        return
    origin = np.array([box[1].start, box[0].start])
    mask = np.zeros((box[0].stop - origin[1], box[1].stop - origin[0]), np.uint8)
    cv2.polylines(mask, list(to_fixed_point(points[wireframe] - origin)), False, 255, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    tint(image[box], mask, WIREFRAME_COLOR, WIREFRAME_STRENGTH)
    mask[...] = 0
    cv2.polylines(mask, list(to_fixed_point(points[features] - origin)), False, 255, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    tint(image[box], cv2.blur(mask, (3, 3)), SHADE_COLOR, SHADE_STRENGTH)  # makes the lines visible on pale skin
    tint(image[box], mask, FEATURE_COLOR, FEATURE_STRENGTH)
    for iris in (topo.IRIS_LEFT, topo.IRIS_RIGHT):
        ring = points[topo.index_array(*iris)]
        radius = float(np.linalg.norm(ring[1:] - ring[0], axis=1).mean())
        center = to_fixed_point(ring[0])
        fixed_radius = round(radius * FIXED_POINT_SCALE)
        cv2.circle(image, (int(center[0]), int(center[1])), fixed_radius, IRIS_COLOR, 1, cv2.LINE_AA, SUBPIXEL_BITS)


def draw_axes(image: Image, ends: F64) -> None:
    """Draw the axes x, y and z in place, z last; `ends` (4, 2) pixels are the origin and the three ends."""
    width = max(2, round(image.shape[0] / 200))
    for axis in range(3):
        start, end = (tuple(int(value) for value in to_fixed_point(point)) for point in (ends[0], ends[axis + 1]))
        cv2.line(image, start, end, AXIS_OUTLINE_COLOR, width + 2, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.line(image, start, end, AXIS_COLORS[axis], width, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.circle(
            image, end, round(width * 0.9 * FIXED_POINT_SCALE), AXIS_COLORS[axis], -1, cv2.LINE_AA, SUBPIXEL_BITS
        )


def to_fixed_point(points: F64) -> I32:
    """Convert pixel coordinates (centres at +0.5) to OpenCV's fixed point (centres at whole numbers)."""
    clipped = np.clip(points, -MAX_COORDINATE, MAX_COORDINATE)
    fixed: I32 = np.rint((clipped - 0.5) * FIXED_POINT_SCALE).astype(np.int32)
    return fixed


def _bounding_box(points: F64, side: int, margin: int = 3) -> tuple[slice, slice]:
    """Return the rows and columns of the image around points."""
    low = np.clip(np.floor(points.min(0)) - margin, 0, side).astype(int)
    high = np.clip(np.ceil(points.max(0)) + margin, 0, side).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _is_nonempty(box: tuple[slice, slice]) -> bool:
    rows, columns = box
    return bool(rows.start < rows.stop and columns.start < columns.stop)


@cache
def _mesh_edges() -> tuple[I64, I64]:
    """Return the edges (E, 2) of the wireframe, and those of lips, lids, brows and the face's outline."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_CONTOURS

    features = {(min(a, b), max(a, b)) for a, b in FACEMESH_CONTOURS}
    wireframe = sorted(topo.mesh_edges() - features)
    return np.array(wireframe, np.int64), np.array(sorted(features), np.int64)


def _map_alpha(alpha: Any, kind: str) -> Any:
    return cv2.LUT(alpha, _alpha_table(kind))


@cache
def _alpha_table(kind: str) -> U8:
    """Return (256,) what an alpha becomes: the remaining brightness ("dim"), or the strength of an edge ("edge")."""
    alpha = np.arange(256) / 255
    value = (
        BACKGROUND_BRIGHTNESS + (1 - BACKGROUND_BRIGHTNESS) * alpha
        if kind == "dim"
        else EDGE_STRENGTH * (4 * alpha * (1 - alpha)) ** EDGE_EXPONENT
    )
    table: U8 = np.rint(255 * value).astype(np.uint8)
    return table
