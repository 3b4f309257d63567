"""Drawing over a frame what was found in it: the mattes' soft edges, the rebuilt face mesh, the axes of head and torso.

The background is dimmed by the person's alpha, so a matte is judged at a glance; its soft part glows in its colour, a
thin line where the edge is hard and a veil where hair is. The mesh is a faint web with clear lips, lids and brows.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..tracking.detection import topology as topo

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

SMALLEST = 384  # pixels: smaller crops are drawn on an enlarged picture, or the mesh would be a blot
PERSON: Colour = (64, 210, 200)
HEAD: Colour = (255, 178, 64)
MOUTH: Colour = (255, 70, 120)
HAIR: Colour = (176, 96, 255)
WEB: Colour = (70, 160, 255)
SHADE: Colour = (18, 26, 44)
FEATURES: Colour = (244, 248, 255)
IRIS: Colour = (60, 225, 255)
AXES: tuple[Colour, Colour, Colour] = ((255, 70, 85), (140, 220, 60), (60, 140, 255))  # x, y, z as in Blender

DIMMED = 0.42  # what is left of the background's light
WEB_STRENGTH = 0.36
EDGE_STRENGTH = 0.85
MOUTH_STRENGTH = 0.45
HAIR_STRENGTH = 0.3
SHIFT = 4  # fractional bits of drawn coordinates


def drawn_side(size: int) -> int:
    """The side in pixels of the drawn picture of a crop `size` pixels wide: a whole multiple of it."""
    return size * -(-SMALLEST // size)


def draw(picture: Picture, matte: NDArray[np.float32], mesh: Any, head: Any, torso: Any) -> Picture:
    """The frame with everything drawn over it.

    Args:
        picture: (S, S, 3) RGB. matte: (S, S, 3 or 4) alpha 0–1 of person, head, mouth interior and, where it
            is known, hair.
        mesh: (478, 2) pixels of the crop. head, torso: (4, 2) pixels: origin and the ends of x, y and z.

    Returns:
        (D, D, 3) RGB with D = `drawn_side(S)`.
    """
    size = picture.shape[0]
    side = drawn_side(size)
    scale = side / size
    alphas = cv2.convertScaleAbs(matte, alpha=255.0)
    if side != size:
        picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
        alphas = cv2.resize(alphas, (side, side), interpolation=cv2.INTER_LINEAR)
    person, region, mouth, *hair = cv2.split(alphas)
    result = _with_mattes(picture, person, region)
    if hair:
        tint(result, cv2.multiply(hair[0], person, scale=1 / 255), HAIR, HAIR_STRENGTH)
    points = np.asarray(mesh, np.float64) * scale
    lips = _around(points[topo.indices(*topo.INNER_RING)], side)
    if _is_seen(lips):
        tint(result[lips], mouth[lips], MOUTH, MOUTH_STRENGTH)
    draw_mesh(result, points)
    draw_axes(result, np.asarray(torso, np.float64) * scale)
    draw_axes(result, np.asarray(head, np.float64) * scale)
    return result.astype(np.uint8, copy=False)


def _with_mattes(picture: Picture, person: Any, head: Any) -> Any:
    """The picture with its background dimmed and the soft parts of both alphas (D, D) uint8 in their colours.

    The colours are mixed as grey pictures as long as possible: this is most of what drawing costs.
    """
    edges = _lut(person, "edge"), cv2.multiply(_lut(head, "edge"), person, scale=1 / 255)
    rest = _lut(person, "dim")
    for edge in edges:
        rest = cv2.multiply(rest, cv2.bitwise_not(edge), scale=1 / 255)
    inks = [cv2.addWeighted(edges[0], PERSON[channel] / 255, edges[1], HEAD[channel] / 255, 0) for channel in range(3)]
    return cv2.add(cv2.multiply(picture, cv2.cvtColor(rest, cv2.COLOR_GRAY2RGB), scale=1 / 255), cv2.merge(inks))


def tint(picture: Any, weight: Any, colour: Colour, strength: float = 1.0) -> None:
    """Mixes a colour into the picture (H, W, 3) in place, as much as `weight` (H, W) uint8 times `strength` says."""
    ink, rest = _ink(colour, strength)
    weights = cv2.cvtColor(weight, cv2.COLOR_GRAY2RGB)
    left = cv2.multiply(picture, cv2.LUT(weights, rest), scale=1 / 255)
    picture[...] = cv2.add(left, cv2.LUT(weights, ink))


@cache
def _ink(colour: Colour, strength: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(1, 256, 3) what each weight adds of the colour, and (256,) what it leaves of the picture."""
    share = np.arange(256) / 255 * strength
    ink = np.rint(share[None, :, None] * np.array(colour)).astype(np.uint8)
    return ink, np.rint(255 * (1 - share)).astype(np.uint8)


def draw_mesh(picture: Picture, points: NDArray[np.float64]) -> None:
    """The face mesh (478, 2) pixels, in place."""
    web, features = _edges()
    box = _around(points, picture.shape[0])
    if not _is_seen(box):
        return
    origin = np.array([box[1].start, box[0].start])
    mask = np.zeros((box[0].stop - origin[1], box[1].stop - origin[0]), np.uint8)
    cv2.polylines(mask, list(fixed(points[web] - origin)), False, 255, 1, cv2.LINE_AA, SHIFT)
    tint(picture[box], mask, WEB, WEB_STRENGTH)
    mask[...] = 0
    cv2.polylines(mask, list(fixed(points[features] - origin)), False, 255, 1, cv2.LINE_AA, SHIFT)
    tint(picture[box], cv2.blur(mask, (3, 3)), SHADE, 0.9)  # a shade beneath, or pale skin would swallow the lines
    tint(picture[box], mask, FEATURES, 0.85)
    for iris in (topo.IRIS_LEFT, topo.IRIS_RIGHT):
        ring = points[topo.indices(*iris)]
        radius = float(np.linalg.norm(ring[1:] - ring[0], axis=1).mean())
        centre = fixed(ring[0])
        cv2.circle(picture, (int(centre[0]), int(centre[1])), round(radius * 16), IRIS, 1, cv2.LINE_AA, SHIFT)


def draw_axes(picture: Picture, ends: NDArray[np.float64]) -> None:
    """Axes from their origin (first row of (4, 2) pixels), in place; what points to the viewer is drawn last."""
    width = max(2, round(picture.shape[0] / 200))
    for axis in range(3):
        start, end = (tuple(int(v) for v in fixed(p)) for p in (ends[0], ends[axis + 1]))
        cv2.line(picture, start, end, (16, 18, 24), width + 2, cv2.LINE_AA, SHIFT)
        cv2.line(picture, start, end, AXES[axis], width, cv2.LINE_AA, SHIFT)
        cv2.circle(picture, end, round(width * 0.9 * 16), AXES[axis], -1, cv2.LINE_AA, SHIFT)


def fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Pixel coordinates (centres at +0.5) as OpenCV draws them: fixed point, centres at whole numbers."""
    return np.rint((np.clip(points, -1e4, 1e4) - 0.5) * (1 << SHIFT)).astype(np.int32)


def _around(points: NDArray[np.float64], side: int, margin: int = 3) -> tuple[slice, slice]:
    """Rows and columns of the picture around points."""
    low = np.clip(np.floor(points.min(0)) - margin, 0, side).astype(int)
    high = np.clip(np.ceil(points.max(0)) + margin, 0, side).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _is_seen(box: tuple[slice, slice]) -> bool:
    return box[0].start < box[0].stop and box[1].start < box[1].stop


@cache
def _edges() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(E, 2) the web of the mesh, and the lines of lips, lids, brows and the face's outline."""
    from mediapipe.python.solutions.face_mesh_connections import FACEMESH_CONTOURS

    features = {(min(a, b), max(a, b)) for a, b in FACEMESH_CONTOURS}
    web = sorted(topo.edges() - features)
    return np.array(web, np.int64), np.array(sorted(features), np.int64)


def _lut(alpha: Any, kind: str) -> Any:
    return cv2.LUT(alpha, _table(kind))


@cache
def _table(kind: str) -> NDArray[np.uint8]:
    """(256,) what an alpha becomes: the light that is left ("dim"), or how much of an edge it is ("edge")."""
    alpha = np.arange(256) / 255
    value = DIMMED + (1 - DIMMED) * alpha if kind == "dim" else EDGE_STRENGTH * (4 * alpha * (1 - alpha)) ** 0.75
    return np.rint(255 * value).astype(np.uint8)
