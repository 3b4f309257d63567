"""The paint of the synthetic actor's skin: tints, pores, freckles, lips, lids, lashes and brows."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ..contract.arrays import F32, F64, I32
from ..tracking.detection.topology import FACE_OVAL
from .atlas import ATLAS_RECTANGLES, SKIN_BOTTOM, SKIN_TOP, skin_uv
from .cage import Cage
from .landmarks import BROW_ROWS, EYES, LIPS_INNER, LIPS_OUTER, closed_loop
from .noise import smooth_noise

Factor = tuple[float, float, float]  # by which the skin's red, green and blue are multiplied

HEAD_RADIUS_MM = 75  # of the skin at the cheeks around the unwrapping axis: gives the texels per millimetre
SUBTEXEL_BITS = 4  # OpenCV draws at 1 / 16 texel
SUBTEXELS = 1 << SUBTEXEL_BITS


class Spot(NamedTuple):
    """A soft tint: landmark, factor, strength 0–1, radii in millimetres across and down, and millimetres below it."""

    landmark: int
    factor: Factor
    strength: float
    radii: tuple[float, float]
    below: float = 0.0


class Stroke(NamedTuple):
    """A soft line through landmarks: factor, strength 0–1, width and blur in millimetres."""

    landmarks: tuple[int, ...]
    factor: Factor
    strength: float
    width: float
    blur: float


# Painted in this order, chosen by eye on the sample clip.
SPOTS = (
    Spot(50, (1.0, 0.87, 0.86), 0.52, (19, 16), below=5),  # cheeks
    Spot(280, (1.0, 0.87, 0.86), 0.52, (19, 16), below=5),
    Spot(4, (1.0, 0.91, 0.90), 0.7, (11, 8)),  # tip of the nose
    Spot(152, (1.0, 0.93, 0.92), 0.6, (16, 10)),  # chin
    Spot(151, (1.01, 1.0, 0.95), 0.8, (40, 22)),  # forehead
)
EYE_SOCKET_FACTOR: Factor = (0.95, 0.86, 0.86)
EYE_SOCKET_STRENGTH = 0.8
EYE_SOCKET_RADII = (18, 10)

NOSE_RIDGE = Stroke((168, 6, 197, 195, 5), (1.045, 1.05, 1.05), 1.0, width=5.0, blur=1.6)
NOSE_TIP = Spot(4, (1.04, 1.04, 1.04), 1.0, (4.5, 3.5))
NOSE_SHADOWS = (
    Stroke((193, 174, 198, 131), (0.93, 0.90, 0.89), 1.0, width=5.0, blur=2.2),  # flanks
    Stroke((417, 399, 420, 360), (0.93, 0.90, 0.89), 1.0, width=5.0, blur=2.2),
    Stroke((129, 49, 64, 98), (0.86, 0.78, 0.76), 0.7, width=1.2, blur=0.9),  # creases of the wings
    Stroke((358, 279, 294, 327), (0.86, 0.78, 0.76), 0.7, width=1.2, blur=0.9),
    Stroke((98, 97, 2, 326, 327), (0.84, 0.76, 0.74), 0.8, width=2.0, blur=1.0),  # base
)
LIP_SEAM = Stroke(LIPS_INNER[0], (0.66, 0.52, 0.52), 0.9, width=0.9, blur=0.6)

THROAT_FACTOR: Factor = (0.82, 0.72, 0.69)
FRECKLE_FACTOR: Factor = (0.88, 0.76, 0.70)
FRECKLE_STRENGTH = 0.6
FRECKLES = ((50, 13, 40), (280, 13, 40), (5, 9, 26))  # landmark, spread in millimetres, count

NOSTRILS = ((79, 239, 238, 20, 60, 75), (309, 459, 458, 250, 290, 305))
NOSTRIL_SCALE = 0.82  # of the landmarks' outline

# Display sRGB, 0–1.
SKIN_COLOR = np.array([0.925, 0.735, 0.640])
LIP_COLOR = np.array([0.770, 0.430, 0.410])
BROW_COLOR = np.array([0.300, 0.200, 0.150])
NOSTRIL_COLOR = np.array([0.26, 0.11, 0.09])
LID_RIM_COLOR = np.array([0.66, 0.40, 0.37])
UPPER_LASH_COLOR = np.array([0.15, 0.09, 0.07])
LOWER_LASH_COLOR = np.array([0.50, 0.30, 0.26])

BROW_HAIR_COUNT = 620  # per brow
# By position along the brow (0 inner end, 4 outer end): spread around the middle line, angle of the hairs in degrees.
BROW_SPREAD = ((0, 1, 3, 4), (0.34, 0.42, 0.30, 0.08))
BROW_LEAN = ((0, 1, 2.5, 4), (72, 48, 22, -2))
BROW_SHADOW_WIDTH = 3.4  # millimetres, of the soft line below the hairs


class SkinCanvas:
    """The unrolled skin while it is painted. Coordinates are texels of the skin's rectangle.

    Attributes:
        shape: rows and columns.
        vertex_texels: (V, 2) where the cage's vertices lie.
        color: (H, W, 3) display sRGB, 0–1.
        texels_per_mm: across, at the cheeks.
        texels_per_mm_down: down.
        x: (1, W) of the texels.
        y: (H, 1) of the texels.
    """

    def __init__(self, cage: Cage) -> None:
        _, _, width, height = ATLAS_RECTANGLES["skin"]
        self.shape = (height, width)
        self.vertex_texels = skin_uv(cage.vertices) * [width, height]
        self.color = np.tile(SKIN_COLOR.astype(np.float32), (height, width, 1))
        self.texels_per_mm = width / (2 * np.pi * HEAD_RADIUS_MM)
        self.texels_per_mm_down = height / ((SKIN_TOP - SKIN_BOTTOM) * 1000)
        self.x = np.arange(width, dtype=np.float32)[None, :]
        self.y = np.arange(height, dtype=np.float32)[:, None]

    def polygon_mask(self, outline: F64, blur_mm: float) -> F32:
        """(H, W) mask 0–1 of a polygon through texels (N, 2), its edge blurred."""
        mask = np.zeros(self.shape, np.uint8)
        cv2.fillPoly(mask, [_to_subtexels(outline)], (255,), cv2.LINE_AA, SUBTEXEL_BITS)
        return blur_mask(mask.astype(np.float32) / 255, max(blur_mm * self.texels_per_mm, 0.3))

    def spot_mask(self, center: F64, radii_mm: tuple[float, float]) -> F32:
        """(H, W) Gaussian spot 0–1 at a texel (2,), with radii across and down."""
        across = np.exp(-(((self.x - center[0]) / (radii_mm[0] * self.texels_per_mm)) ** 2))
        down = np.exp(-(((self.y - center[1]) / (radii_mm[1] * self.texels_per_mm_down)) ** 2))
        return np.asarray(across * down, np.float32)

    def line_mask(self, path: F64, width_mm: float) -> F32:
        """(H, W) mask 0–1 of a line through texels (N, 2)."""
        mask = np.zeros(self.shape, np.uint8)
        thickness = max(1, round(width_mm * self.texels_per_mm))
        cv2.polylines(mask, [_to_subtexels(path)], False, (255,), thickness, cv2.LINE_AA, SUBTEXEL_BITS)
        return np.asarray(mask / 255.0, np.float32)

    def soft_line_mask(self, path: F64, width_mm: float, blur_mm: float) -> F32:
        """`line_mask`, blurred."""
        return blur_mask(self.line_mask(path, width_mm), blur_mm * self.texels_per_mm)

    def blend_color(self, color: F64, mask: F32) -> None:
        """Paint `color` (3,) over the skin where the mask is 1."""
        self.color += mask[..., None] * (np.asarray(color, np.float32) - self.color)

    def multiply_color(self, factor: Factor, mask: F32) -> None:
        """Multiply the skin by `factor` where the mask is 1."""
        self.color *= 1 + mask[..., None] * (np.array(factor, np.float32) - 1)

    def paint_spot(self, spot: Spot) -> None:
        """Tint the skin around a landmark."""
        center = self.vertex_texels[spot.landmark] + [0, spot.below * self.texels_per_mm_down]
        self.multiply_color(spot.factor, spot.strength * self.spot_mask(center, spot.radii))

    def paint_stroke(self, stroke: Stroke) -> None:
        """Tint the skin along a line through landmarks."""
        path = self.vertex_texels[list(stroke.landmarks)]
        self.multiply_color(stroke.factor, stroke.strength * self.soft_line_mask(path, stroke.width, stroke.blur))


def blur_mask(mask: F32, sigma: float) -> F32:
    """Return the mask blurred by a Gaussian of `sigma` texels."""
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), np.float32)


def _to_subtexels(points: F64) -> I32:
    """Points in the fixed-point texels that OpenCV draws with."""
    return np.asarray(np.round(points * SUBTEXELS), np.int32)


def paint_skin(cage: Cage, rng: np.random.Generator) -> F32:
    """(1280, 2048, 3) the skin's rectangle of the atlas, display sRGB 0–1."""
    skin = SkinCanvas(cage)
    for spot in SPOTS:
        skin.paint_spot(spot)
    for opening in EYES:
        middle = skin.vertex_texels[closed_loop(opening)].mean(0)
        skin.multiply_color(EYE_SOCKET_FACTOR, EYE_SOCKET_STRENGTH * skin.spot_mask(middle, EYE_SOCKET_RADII))
    skin.paint_stroke(NOSE_RIDGE)
    skin.paint_spot(NOSE_TIP)
    for stroke in NOSE_SHADOWS:
        skin.paint_stroke(stroke)
    _paint_throat_shadow(skin)
    pores = 0.5 * smooth_noise(rng, skin.shape, (2.5, 2.5)) + 0.5 * smooth_noise(rng, skin.shape, (7, 6))
    mottling = smooth_noise(rng, skin.shape, (60, 50))
    skin.color *= (1 + 0.012 * pores + 0.014 * mottling)[..., None].astype(np.float32)
    _paint_freckles(skin, rng)
    _paint_lips(skin, rng)
    _paint_nostrils(skin)
    _paint_lids(skin)
    for side in (0, 1):
        _paint_brow(skin, side, rng)
    return skin.color


def _paint_throat_shadow(skin: SkinCanvas) -> None:
    """The shadow below the jaw, which separates the face from the neck."""
    jaw = skin.vertex_texels[[*FACE_OVAL[10:27]]]
    lower_edge = jaw[::-1] + [0, 62 * skin.texels_per_mm_down]
    shadow = skin.polygon_mask(np.concatenate([jaw + [0, 2.5 * skin.texels_per_mm_down], lower_edge]), 1.5)
    fade = np.clip(1.15 - (skin.y - np.median(jaw[:, 1])) / (75 * skin.texels_per_mm_down), 0, 1)
    fade = fade * np.exp(-(((skin.x - skin.vertex_texels[152, 0]) / (40 * skin.texels_per_mm)) ** 4))
    skin.multiply_color(THROAT_FACTOR, shadow * np.asarray(fade, np.float32))


def _paint_freckles(skin: SkinCanvas, rng: np.random.Generator) -> None:
    mask = np.zeros(skin.shape, np.float32)
    scale = [skin.texels_per_mm, skin.texels_per_mm_down * 0.7]
    for landmark, spread, count in FRECKLES:
        centers = skin.vertex_texels[landmark] + rng.standard_normal((count, 2)) * spread * scale
        for x, y in centers:
            radius, strength = int(SUBTEXELS * rng.uniform(0.7, 2.0)), float(rng.uniform(0.25, 0.8))
            center = int(x * SUBTEXELS), int(y * SUBTEXELS)
            cv2.circle(mask, center, radius, (strength,), -1, cv2.LINE_AA, SUBTEXEL_BITS)
    skin.multiply_color(FRECKLE_FACTOR, FRECKLE_STRENGTH * blur_mask(mask, 1.0))


def _paint_lips(skin: SkinCanvas, rng: np.random.Generator) -> None:
    mask = 0.86 * skin.polygon_mask(skin.vertex_texels[closed_loop(LIPS_OUTER)], 0.8)
    grain = smooth_noise(rng, skin.shape, (14, 2.2)).astype(np.float32)
    color = LIP_COLOR.astype(np.float32) * (1 + 0.03 * grain[..., None])
    skin.color += mask[..., None] * (color - skin.color)
    skin.paint_stroke(LIP_SEAM)


def _paint_nostrils(skin: SkinCanvas) -> None:
    for loop in NOSTRILS:
        outline = skin.vertex_texels[list(loop)]
        outline = outline.mean(0) + NOSTRIL_SCALE * (outline - outline.mean(0))
        skin.blend_color(NOSTRIL_COLOR, 0.85 * np.clip(skin.polygon_mask(outline, 0.8) * 1.2, 0, 1))


def _paint_lids(skin: SkinCanvas) -> None:
    """The lids' wet rims, and the lashes as dark lines."""
    for opening in EYES:
        upper, lower = (skin.vertex_texels[list(edge)] for edge in opening)
        skin.blend_color(LID_RIM_COLOR, 0.9 * skin.polygon_mask(skin.vertex_texels[closed_loop(opening)], 0.3))
        upper_lashes = skin.soft_line_mask(upper - [0, 0.3 * skin.texels_per_mm_down], 1.5, 0.3)
        skin.blend_color(UPPER_LASH_COLOR, 0.9 * upper_lashes)
        lower_lashes = skin.soft_line_mask(lower + [0, 0.6 * skin.texels_per_mm_down], 0.8, 0.35)
        skin.blend_color(LOWER_LASH_COLOR, 0.55 * lower_lashes)


def _paint_brow(skin: SkinCanvas, side: int, rng: np.random.Generator) -> None:
    """Short hairs between the brow's two rows of landmarks, from its inner end outwards, over a soft shadow."""
    upper, lower = (skin.vertex_texels[list(row)] for row in BROW_ROWS[side])
    outward = 1.0 if side else -1.0
    hairs = np.zeros(skin.shape, np.float32)
    for _ in range(BROW_HAIR_COUNT):
        _draw_brow_hair(hairs, _brow_hair_path(skin, upper, lower, outward, rng), rng)
    shadow = np.zeros_like(hairs)
    middle = np.stack([_along(upper, t) * 0.5 + _along(lower, t) * 0.5 for t in np.linspace(0.1, 3.7, 40)])
    thickness = round(BROW_SHADOW_WIDTH * skin.texels_per_mm)
    cv2.polylines(shadow, [_to_subtexels(middle)], False, (1.0,), thickness, cv2.LINE_AA, SUBTEXEL_BITS)
    mask = blur_mask(hairs, 0.6) + 0.30 * blur_mask(shadow, 1.1 * skin.texels_per_mm)
    skin.blend_color(BROW_COLOR, 0.85 * np.clip(mask, 0, 1))


def _along(row: F64, t: float) -> F64:
    """(2,) the point at position t (0–4) of a row of five texels (5, 2)."""
    return np.stack([np.interp(t, np.arange(5), row[:, k]) for k in (0, 1)], -1)


def _brow_hair_path(skin: SkinCanvas, upper: F64, lower: F64, outward: float, rng: np.random.Generator) -> F64:
    """(3, 2) texels of a hair's root, bend and tip."""
    t = 3.95 * rng.random() ** 0.9
    spread = np.interp(t, *BROW_SPREAD)
    share = 0.52 + rng.normal(0, 0.5) * spread
    root = _along(upper, t) * (1 - share) + _along(lower, t) * share
    lean = np.radians(np.interp(t, *BROW_LEAN) + rng.normal(0, 8))
    length = rng.uniform(2.6, 4.6) * (1 - 0.08 * t)
    scale = np.array([outward * np.cos(lean) * skin.texels_per_mm, -np.sin(lean) * skin.texels_per_mm_down])
    tip = root + length * scale
    bend = (root + tip) / 2 + np.array([outward * 0.3, -0.3]) * skin.texels_per_mm
    return np.stack([root, bend, tip])


def _draw_brow_hair(mask: F32, texels: F64, rng: np.random.Generator) -> None:
    """Draw a hair into the mask, over the hairs that are there."""
    path = _to_subtexels(texels)
    left, top = np.floor(path.min(0) / SUBTEXELS).astype(int) - 3
    right, bottom = np.ceil(path.max(0) / SUBTEXELS).astype(int) + 4
    stroke = np.zeros((bottom - top, right - left), np.float32)
    local = path - [left * SUBTEXELS, top * SUBTEXELS]
    strength = float(rng.uniform(0.3, 0.75))
    cv2.polylines(stroke, [local], False, (strength,), 1, cv2.LINE_AA, SUBTEXEL_BITS)
    patch = mask[top:bottom, left:right]
    patch += stroke * (1 - patch)
