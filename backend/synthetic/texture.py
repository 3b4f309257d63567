"""The painted atlas of the sample actor: skin, eyes, teeth, tongue, hair, clothes: all noise, curves and dots."""

from __future__ import annotations

import cv2
import numpy as np

from ..contract.arrays import F32, F64, U8
from ..tracking.detection.topology import FACE_OVAL
from .cage import EYE_RADIUS, Cage
from .landmarks import EYE_LEFT, EYE_RIGHT, LIPS_INNER, LIPS_OUTER, closed_loop

ATLAS_SIZE = (2048, 2048)  # rows, columns
# Rectangles of the atlas in texels: left, top, width, height.
ATLAS_RECTANGLES = {
    "skin": (0, 0, 2048, 1280),
    "hair": (0, 1280, 1024, 512),
    "clothes": (1024, 1280, 1024, 512),
    "eye": (0, 1792, 256, 256),
    "teeth": (256, 1792, 512, 128),
    "tongue": (256, 1920, 256, 128),
    "ear": (768, 1792, 256, 256),
}
IRIS_RADIUS = 0.0062  # metres
UNWRAP_AXIS_Z = -0.065  # the skin is unrolled around this vertical axis, metres
SKIN_TOP, SKIN_BOTTOM = 0.13, -0.25  # heights at the skin's upper and lower edge, metres

SKIN_COLOR = np.array([0.925, 0.735, 0.640])
LIP_COLOR = np.array([0.770, 0.430, 0.410])
BROW_COLOR = np.array([0.300, 0.200, 0.150])
HAIR_COLOR = np.array([0.340, 0.205, 0.130])
CLOTH_COLOR = np.array([0.205, 0.420, 0.450])


def skin_uv(points: F64) -> F64:
    """(N, 2) where points of the skin lie in its rectangle, 0–1."""
    u = np.arctan2(points[:, 0], points[:, 2] - UNWRAP_AXIS_Z) / (2 * np.pi) + 0.5
    return np.stack([u, (SKIN_TOP - points[:, 1]) / (SKIN_TOP - SKIN_BOTTOM)], 1)


def to_atlas_texels(name: str, uv: F64) -> F32:
    """(N, 2) texels of the atlas for 0–1 coordinates of a part, kept off the rectangle's edge."""
    left, top, width, height = ATLAS_RECTANGLES[name]
    inside = np.clip(uv, 0, 1) * [width - 4, height - 4] + [left + 2, top + 2]
    return inside.astype(np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: tuple[float, float]) -> F64:
    """Smooth noise of unit deviation with features of about `scale` (rows, columns) texels."""
    rows, columns = (max(2, int(np.ceil(n / s))) for n, s in zip(shape, scale, strict=True))
    field = cv2.resize(rng.standard_normal((rows, columns)), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(field / max(field.std(), 1e-9))


class _SkinCanvas:
    """A canvas over the unrolled skin; coordinates are texels of the skin's rectangle, made from head-space points."""

    def __init__(self, cage: Cage) -> None:
        _, _, width, height = ATLAS_RECTANGLES["skin"]
        self.shape = (height, width)
        self.vertex_texels = skin_uv(cage.vertices) * [width, height]
        self.color = np.tile(SKIN_COLOR.astype(np.float32), (height, width, 1))
        self.texels_per_mm = width / (2 * np.pi * 75)  # texels per millimetre across, at the cheeks
        self.texels_per_mm_down = height / ((SKIN_TOP - SKIN_BOTTOM) * 1000)
        self.x = np.arange(width, dtype=np.float32)[None, :]
        self.y = np.arange(height, dtype=np.float32)[:, None]

    def landmark_mask(self, indices: list[int], blur_mm: float) -> F32:
        """Mask 0–1 of a polygon through landmarks, its edge blurred by `soft` mm."""
        return self.polygon_mask(self.vertex_texels[indices], blur_mm)

    def polygon_mask(self, outline: F64, blur_mm: float) -> F32:
        """Mask 0–1 of a polygon through texels, its edge blurred by `soft` mm."""
        mask = np.zeros(self.shape, np.uint8)
        cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], (255,), cv2.LINE_AA, 4)
        return np.asarray(
            cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(blur_mm * self.texels_per_mm, 0.3)), np.float32
        )

    def spot_mask(self, center: F64, radius: tuple[float, float]) -> F32:
        """Gaussian spot 0–1 at a texel, radii in mm across and down."""
        across = np.exp(-(((self.x - center[0]) / (radius[0] * self.texels_per_mm)) ** 2))
        down = np.exp(-(((self.y - center[1]) / (radius[1] * self.texels_per_mm_down)) ** 2))
        return np.asarray(across * down, np.float32)

    def line_mask(self, path: F64, width: float) -> F32:
        """Mask 0–1 of a smooth line through texels; `width` in mm."""
        mask = np.zeros(self.shape, np.uint8)
        points, thickness = np.round(path * 16).astype(np.int32), max(1, round(width * self.texels_per_mm))
        cv2.polylines(mask, [points], False, (255,), thickness, cv2.LINE_AA, 4)
        return np.asarray(mask / 255.0, np.float32)

    def blend_color(self, blend: F64, mask: F32) -> None:
        """Paints `colour` over the skin where the mask is 1."""
        self.color += mask[..., None] * (np.asarray(blend, np.float32) - self.color)

    def multiply_color(self, factor: tuple[float, float, float], mask: F32) -> None:
        """Multiplies the skin by `factor` where the mask is 1."""
        self.color *= 1 + mask[..., None] * (np.array(factor, np.float32) - 1)


def blur_mask(mask: F32, sigma: float) -> F32:
    """The mask blurred by a Gaussian of that deviation."""
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), np.float32)


def _paint_skin(cage: Cage, rng: np.random.Generator) -> F32:
    skin = _SkinCanvas(cage)
    at = skin.vertex_texels
    for index in (50, 280):
        skin.multiply_color(
            (1.0, 0.87, 0.86), 0.52 * skin.spot_mask(at[index] + [0, 5 * skin.texels_per_mm_down], (19, 16))
        )
    skin.multiply_color((1.0, 0.91, 0.90), 0.7 * skin.spot_mask(at[4], (11, 8)))
    skin.multiply_color((1.0, 0.93, 0.92), 0.6 * skin.spot_mask(at[152], (16, 10)))
    skin.multiply_color((1.01, 1.0, 0.95), 0.8 * skin.spot_mask(at[151], (40, 22)))
    for opening in (EYE_RIGHT, EYE_LEFT):
        middle = at[closed_loop(opening)].mean(0)
        skin.multiply_color((0.95, 0.86, 0.86), 0.8 * skin.spot_mask(middle, (18, 10)))
    _paint_nose(skin)
    _paint_throat_shadow(skin)
    pores = 0.5 * smooth_noise(rng, skin.shape, (2.5, 2.5)) + 0.5 * smooth_noise(rng, skin.shape, (7, 6))
    skin.color *= (1 + 0.012 * pores + 0.014 * smooth_noise(rng, skin.shape, (60, 50)))[..., None].astype(np.float32)
    _paint_freckles(skin, rng)
    _paint_lips(skin, rng)
    _paint_nostrils(skin)
    _paint_eyes(skin)
    for side in (0, 1):
        _paint_brow(skin, side, rng)
    return skin.color


def _paint_throat_shadow(skin: _SkinCanvas) -> None:
    """The shadow below the jaw, which parts the face from the neck."""
    jaw = skin.vertex_texels[[*FACE_OVAL[10:27]]]
    below = jaw[::-1] + [0, 62 * skin.texels_per_mm_down]
    shadow = skin.polygon_mask(np.concatenate([jaw + [0, 2.5 * skin.texels_per_mm_down], below]), 1.5)
    fade = np.clip(1.15 - (skin.y - np.median(jaw[:, 1])) / (75 * skin.texels_per_mm_down), 0, 1)
    fade = fade * np.exp(-(((skin.x - skin.vertex_texels[152, 0]) / (40 * skin.texels_per_mm)) ** 4))
    skin.multiply_color((0.82, 0.72, 0.69), shadow * np.asarray(fade, np.float32))


def _paint_nose(skin: _SkinCanvas) -> None:
    """Make-up that models the nose: a light ridge and tip, darker flanks and base."""
    ridge = blur_mask(skin.line_mask(skin.vertex_texels[[168, 6, 197, 195, 5]], 5.0), 1.6 * skin.texels_per_mm)
    skin.multiply_color((1.045, 1.05, 1.05), ridge)
    skin.multiply_color((1.04, 1.04, 1.04), skin.spot_mask(skin.vertex_texels[4], (4.5, 3.5)))
    for flank in ((193, 174, 198, 131), (417, 399, 420, 360)):
        shade = blur_mask(skin.line_mask(skin.vertex_texels[list(flank)], 5.0), 2.2 * skin.texels_per_mm)
        skin.multiply_color((0.93, 0.90, 0.89), shade)
    for crease in ((129, 49, 64, 98), (358, 279, 294, 327)):
        skin.multiply_color(
            (0.86, 0.78, 0.76),
            0.7 * blur_mask(skin.line_mask(skin.vertex_texels[list(crease)], 1.2), 0.9 * skin.texels_per_mm),
        )
    base = blur_mask(skin.line_mask(skin.vertex_texels[[98, 97, 2, 326, 327]], 2.0), 1.0 * skin.texels_per_mm)
    skin.multiply_color((0.84, 0.76, 0.74), 0.8 * base)


def _paint_freckles(skin: _SkinCanvas, rng: np.random.Generator) -> None:
    mask = np.zeros(skin.shape, np.float32)
    for index, spread, count in ((50, 13, 40), (280, 13, 40), (5, 9, 26)):
        where = skin.vertex_texels[index] + rng.standard_normal((count, 2)) * spread * [
            skin.texels_per_mm,
            skin.texels_per_mm_down * 0.7,
        ]
        for x, y in where:
            radius, strength = int(16 * rng.uniform(0.7, 2.0)), float(rng.uniform(0.25, 0.8))
            cv2.circle(mask, (int(x * 16), int(y * 16)), radius, (strength,), -1, cv2.LINE_AA, 4)
    skin.multiply_color((0.88, 0.76, 0.70), 0.6 * blur_mask(mask, 1.0))


def _paint_lips(skin: _SkinCanvas, rng: np.random.Generator) -> None:
    mask = 0.86 * skin.landmark_mask(closed_loop(LIPS_OUTER), 0.8)
    grain = smooth_noise(rng, skin.shape, (14, 2.2)).astype(np.float32)
    colour = LIP_COLOR.astype(np.float32) * (1 + 0.03 * grain[..., None])
    skin.color += mask[..., None] * (colour - skin.color)
    seam = blur_mask(skin.line_mask(skin.vertex_texels[list(LIPS_INNER[0])], 0.9), 0.6 * skin.texels_per_mm)
    skin.multiply_color((0.66, 0.52, 0.52), 0.9 * seam)


def _paint_nostrils(skin: _SkinCanvas) -> None:
    for loop in ((79, 239, 238, 20, 60, 75), (309, 459, 458, 250, 290, 305)):
        outline = skin.vertex_texels[list(loop)]
        outline = outline.mean(0) + 0.82 * (outline - outline.mean(0))
        skin.blend_color(np.array([0.26, 0.11, 0.09]), 0.85 * np.clip(skin.polygon_mask(outline, 0.8) * 1.2, 0, 1))


def _paint_eyes(skin: _SkinCanvas) -> None:
    """The lids' wet rims, and the lashes as dark lines."""
    for opening in (EYE_RIGHT, EYE_LEFT):
        skin.blend_color(np.array([0.66, 0.40, 0.37]), 0.9 * skin.landmark_mask(closed_loop(opening), 0.3))
        upper = skin.vertex_texels[list(opening[0])] - [0, 0.3 * skin.texels_per_mm_down]
        skin.blend_color(
            np.array([0.15, 0.09, 0.07]), 0.9 * blur_mask(skin.line_mask(upper, 1.5), 0.3 * skin.texels_per_mm)
        )
        lower = skin.line_mask(skin.vertex_texels[list(opening[1])] + [0, 0.6 * skin.texels_per_mm_down], 0.8)
        skin.blend_color(np.array([0.50, 0.30, 0.26]), 0.55 * blur_mask(lower, 0.35 * skin.texels_per_mm))


_BROW_LANDMARKS = (
    ((107, 66, 105, 63, 70), (55, 65, 52, 53, 46)),
    ((336, 296, 334, 293, 300), (285, 295, 282, 283, 276)),
)


def _paint_brow(skin: _SkinCanvas, side: int, rng: np.random.Generator) -> None:
    """Short hairs between the brow's two rows of landmarks, from its inner end outwards."""
    upper, lower = (skin.vertex_texels[list(row)] for row in _BROW_LANDMARKS[side])
    away = 1.0 if side else -1.0
    mask = np.zeros(skin.shape, np.float32)

    def point_along(row: F64, t: F64 | float) -> F64:
        return np.stack([np.interp(t, np.arange(5), row[:, k]) for k in (0, 1)], -1)

    for _ in range(620):
        t = 3.95 * rng.random() ** 0.9
        taper = np.interp(t, [0, 1, 3, 4], [0.34, 0.42, 0.30, 0.08])
        share = 0.52 + rng.normal(0, 0.5) * taper
        root = point_along(upper, t) * (1 - share) + point_along(lower, t) * share
        lean = np.radians(np.interp(t, [0, 1, 2.5, 4], [72, 48, 22, -2]) + rng.normal(0, 8))
        length = rng.uniform(2.6, 4.6) * (1 - 0.08 * t)
        tip = root + length * np.array(
            [away * np.cos(lean) * skin.texels_per_mm, -np.sin(lean) * skin.texels_per_mm_down]
        )
        bend = (root + tip) / 2 + np.array([away * 0.3, -0.3]) * skin.texels_per_mm
        stroke = np.zeros((1, 1), np.float32)
        path = np.round(np.stack([root, bend, tip]) * 16).astype(np.int32)
        left, top = np.floor(path.min(0) / 16).astype(int) - 3
        right, bottom = np.ceil(path.max(0) / 16).astype(int) + 4
        stroke = np.zeros((bottom - top, right - left), np.float32)
        cv2.polylines(
            stroke, [path - [left * 16, top * 16]], False, (float(rng.uniform(0.3, 0.75)),), 1, cv2.LINE_AA, 4
        )
        patch = mask[top:bottom, left:right]
        patch += stroke * (1 - patch)
    shadow = np.zeros_like(mask)
    middle = np.stack([point_along(upper, t) * 0.5 + point_along(lower, t) * 0.5 for t in np.linspace(0.1, 3.7, 40)])
    cv2.polylines(
        shadow, [np.round(middle * 16).astype(np.int32)], False, (1.0,), round(3.4 * skin.texels_per_mm), cv2.LINE_AA, 4
    )
    mask = blur_mask(mask, 0.6) + 0.30 * blur_mask(shadow, 1.1 * skin.texels_per_mm)
    skin.blend_color(BROW_COLOR, 0.85 * np.clip(mask, 0, 1))


def _paint_eye(rng: np.random.Generator) -> F64:
    _, _, width, height = ATLAS_RECTANGLES["eye"]
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    white = np.array([0.90, 0.87, 0.85]) * np.ones((height, width, 1))
    white = white - np.clip(radius - 0.5, 0, 1)[..., None] * np.array([0.10, 0.20, 0.20])
    iris_radius = IRIS_RADIUS / EYE_RADIUS
    inner = radius / iris_radius
    spokes = sum(np.cos(angle * k + rng.uniform(0, 6.28)) * rng.uniform(0.4, 1) for k in range(9, 60, 3)) / 6
    iris = np.array([0.40, 0.30, 0.18]) + 0.10 * spokes[..., None] * np.clip(inner, 0, 1)[..., None]
    iris = iris + np.clip(0.75 - np.abs(inner - 0.55) * 3, 0, 1)[..., None] * np.array([0.14, 0.09, 0.03])
    iris *= (1 - 0.62 * np.clip((inner - 0.76) / 0.24, 0, 1) ** 1.5)[..., None]
    iris *= (0.78 + 0.30 * np.clip((y / iris_radius + 1) / 2, 0, 1))[..., None]
    blend = np.clip((1.03 - inner) / 0.10, 0, 1)[..., None]
    colour = white * (1 - blend) + iris * blend
    pupil = np.clip((0.42 - inner) / 0.06, 0, 1)[..., None]
    return np.asarray(colour * (1 - pupil) + 0.02 * pupil)


def _paint_ear() -> F64:
    """Redder skin, darker in the hollows that the mesh only hints at."""
    _, _, width, height = ATLAS_RECTANGLES["ear"]
    a, b = np.meshgrid(np.linspace(-5, 31, width), np.linspace(34, -34, height))  # millimetres, as in `parts.ear`

    def hollow(x: float, y: float, across: float, down: float) -> F64:
        return np.asarray(np.exp(-((((a - x) / across) ** 2 + ((b - y) / down) ** 2) ** 1.5)))

    radius, turn = np.hypot((a - 9) / 17, (b - 3) / 27), np.arctan2(b - 3, a - 9)
    groove = np.exp(-(((radius - 0.76) / 0.07) ** 2)) * np.clip(np.cos((turn - 0.6) / 1.5), 0, 1)
    dark = np.clip(0.85 * hollow(6, -3, 6, 9) + 0.55 * hollow(9, 12, 4, 5) + 0.6 * groove, 0, 1)[..., None]
    return np.asarray(SKIN_COLOR * [1.0, 0.90, 0.88] * (1 - dark * np.array([0.38, 0.52, 0.54])))


def _paint_teeth() -> F64:
    _, _, width, height = ATLAS_RECTANGLES["teeth"]
    u, v = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    tooth = np.abs(np.sin(np.pi * u * 10))
    enamel = np.array([0.93, 0.90, 0.84]) * (0.72 + 0.28 * np.clip(tooth * 2.2, 0, 1) ** 0.6)[..., None]
    gum = np.array([0.72, 0.38, 0.37])
    line = 0.22 + 0.10 * (1 - tooth)
    return np.asarray(np.where((v < line)[..., None], gum, enamel))


def _paint_clothes(rng: np.random.Generator) -> F64:
    _, _, width, height = ATLAS_RECTANGLES["clothes"]
    u, v = np.meshgrid(np.arange(width) / width, np.arange(height) / height)
    knit = 0.035 * np.sin(2 * np.pi * u * 190) * np.sin(2 * np.pi * v * 110 + np.pi * (np.floor(u * 190) % 2))
    rib = 0.10 * np.sin(2 * np.pi * u * 90) * (v < 0.12) - 0.10 * np.exp(-(((v - 0.125) / 0.006) ** 2))
    shade = 1 + np.where(v < 0.12, rib, knit) - 0.10 * np.exp(-(((v - 0.125) / 0.006) ** 2))
    shade = shade + 0.015 * smooth_noise(rng, (height, width), (30, 50))
    return np.asarray(CLOTH_COLOR * shade[..., None])


def _paint_hair(rng: np.random.Generator) -> F64:
    _, _, width, height = ATLAS_RECTANGLES["hair"]
    fine = (
        0.6 * smooth_noise(rng, (height, width), (400, 2.0))
        + 0.5 * smooth_noise(rng, (height, width), (300, 7))
        + 0.4 * smooth_noise(rng, (height, width), (160, 40))
    )
    return np.asarray(HAIR_COLOR * np.clip(1 + 0.22 * fine, 0.45, 1.9)[..., None])


def paint_atlas(cage: Cage, seed: int) -> U8:
    """(2048, 2048, 3) display sRGB atlas."""
    rng = np.random.default_rng((seed, 1))
    atlas = np.zeros((*ATLAS_SIZE, 3))
    _, _, tongue_width, tongue_height = ATLAS_RECTANGLES["tongue"]
    tongue = np.array([0.72, 0.36, 0.36]) * (
        1 + 0.06 * smooth_noise(rng, (tongue_height, tongue_width), (3, 3))[..., None]
    )
    painted = {
        "skin": _paint_skin(cage, rng), "eye": _paint_eye(rng), "teeth": _paint_teeth(), "tongue": tongue,
        "ear": _paint_ear(), "hair": _paint_hair(rng), "clothes": _paint_clothes(rng),
    }  # fmt: skip
    for name, colour in painted.items():
        left, top, width, height = ATLAS_RECTANGLES[name]
        atlas[top : top + height, left : left + width] = colour
    return np.asarray(np.clip(atlas * 255 + 0.5, 0, 255), np.uint8)
