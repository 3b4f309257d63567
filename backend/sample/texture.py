"""The painted atlas of the sample actor: skin, eyes, teeth, tongue, hair, clothes. Everything is noise, curves and dots."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .cage import EYE_LEFT, EYE_RIGHT, LIPS_INNER, LIPS_OUTER, Cage, loop_of

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

ATLAS = (2048, 2048)  # rows, columns
# Rectangles of the atlas in texels: left, top, width, height.
PLACES = {
    "skin": (0, 0, 2048, 1280),
    "hair": (0, 1280, 1024, 512),
    "clothes": (1024, 1280, 1024, 512),
    "eye": (0, 1792, 256, 256),
    "teeth": (256, 1792, 512, 128),
    "tongue": (256, 1920, 256, 128),
    "ear": (768, 1792, 256, 256),
}
AXIS_Z = -0.065  # the skin is unrolled around this vertical axis, metres
TOP, BOTTOM = 0.13, -0.25  # heights at the skin's upper and lower edge, metres

SKIN = np.array([0.925, 0.735, 0.640])
LIPS = np.array([0.770, 0.430, 0.410])
BROW = np.array([0.300, 0.200, 0.150])
HAIR = np.array([0.340, 0.205, 0.130])
CLOTH = np.array([0.205, 0.420, 0.450])


def skin_uv(points: F64) -> F64:
    """(N, 2) where points of the skin lie in its rectangle, 0–1."""
    u = np.arctan2(points[:, 0], points[:, 2] - AXIS_Z) / (2 * np.pi) + 0.5
    return np.stack([u, (TOP - points[:, 1]) / (TOP - BOTTOM)], 1)


def place(name: str, uv: F64) -> F32:
    """(N, 2) texels of the atlas for 0–1 coordinates of a part, kept off the rectangle's edge."""
    left, top, width, height = PLACES[name]
    inside = np.clip(uv, 0, 1) * [width - 4, height - 4] + [left + 2, top + 2]
    return inside.astype(np.float32)


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: tuple[float, float]) -> F64:
    """Smooth noise of unit deviation with features of about `scale` (rows, columns) texels."""
    rows, columns = (max(2, int(np.ceil(n / s))) for n, s in zip(shape, scale, strict=True))
    field = cv2.resize(rng.standard_normal((rows, columns)), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(field / max(field.std(), 1e-9))


class _Skin:
    """A canvas over the unrolled skin; coordinates are texels of the skin's rectangle, made from head-space points."""

    def __init__(self, cage: Cage) -> None:
        _, _, width, height = PLACES["skin"]
        self.shape = (height, width)
        self.texel = skin_uv(cage.vertices) * [width, height]
        self.colour = np.tile(SKIN, (height, width, 1))
        self.mm = width / (2 * np.pi * 75)  # texels per millimetre across, at the cheeks
        self.mm_down = height / ((TOP - BOTTOM) * 1000)
        self.x, self.y = np.meshgrid(np.arange(width), np.arange(height))

    def polygon(self, indices: list[int], soft: float) -> F64:
        """Mask 0–1 of a polygon through landmarks, its edge blurred by `soft` mm."""
        return self.region(self.texel[indices], soft)

    def region(self, outline: F64, soft: float) -> F64:
        mask = np.zeros(self.shape, np.uint8)
        cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        return np.asarray(cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(soft * self.mm, 0.3)), float)

    def spot(self, at: F64, radius: tuple[float, float]) -> F64:
        """Gaussian spot 0–1 at a texel, radii in mm across and down."""
        dx = (self.x - at[0]) / (radius[0] * self.mm)
        dy = (self.y - at[1]) / (radius[1] * self.mm_down)
        return np.asarray(np.exp(-(dx**2) - dy**2))

    def line(self, path: F64, width: float) -> F64:
        """Mask 0–1 of a smooth line through texels; `width` in mm."""
        mask = np.zeros(self.shape, np.uint8)
        cv2.polylines(
            mask, [np.round(path * 16).astype(np.int32)], False, 255, max(1, round(width * self.mm)), cv2.LINE_AA, 4
        )
        return mask / 255.0

    def mix(self, colour: F64, mask: F64) -> None:
        self.colour += mask[..., None] * (np.asarray(colour) - self.colour)

    def tint(self, factor: tuple[float, float, float], mask: F64) -> None:
        self.colour *= 1 + mask[..., None] * (np.array(factor) - 1)


def _paint_skin(cage: Cage, rng: np.random.Generator) -> F64:
    skin = _Skin(cage)
    at = skin.texel
    for index in (50, 280):
        skin.tint((1.0, 0.87, 0.87), 0.75 * skin.spot(at[index], (21, 17)))
    skin.tint((1.0, 0.90, 0.89), 0.8 * skin.spot(at[4], (12, 9)))
    skin.tint((1.0, 0.93, 0.92), 0.6 * skin.spot(at[152], (16, 10)))
    skin.tint((1.01, 1.0, 0.95), 0.8 * skin.spot(at[151], (40, 22)))
    for opening in (EYE_RIGHT, EYE_LEFT):
        middle = at[loop_of(opening)].mean(0)
        skin.tint((0.94, 0.87, 0.87), 0.8 * skin.spot(middle, (19, 11)))
    pores = 0.5 * noise(rng, skin.shape, (2.5, 2.5)) + 0.5 * noise(rng, skin.shape, (7, 6))
    skin.colour *= (1 + 0.010 * pores + 0.012 * noise(rng, skin.shape, (60, 50)))[..., None]
    _paint_freckles(skin, rng)
    _paint_lips(skin, rng)
    _paint_nostrils(skin)
    _paint_eyes(skin)
    for side in (0, 1):
        _paint_brow(skin, side, rng)
    _paint_lining(skin)
    return skin.colour


def _paint_freckles(skin: _Skin, rng: np.random.Generator) -> None:
    mask = np.zeros(skin.shape, np.float32)
    for index, spread, count in ((50, 14, 45), (280, 14, 45), (5, 9, 30)):
        where = skin.texel[index] + rng.standard_normal((count, 2)) * spread * [skin.mm, skin.mm_down * 0.7]
        for x, y in where:
            centre = (int(x * 16), int(y * 16))
            cv2.circle(mask, centre, int(16 * rng.uniform(0.8, 2.2)), float(rng.uniform(0.25, 0.8)), -1, cv2.LINE_AA, 4)
    mask = cv2.GaussianBlur(mask, (0, 0), 1.0)
    skin.tint((0.88, 0.76, 0.70), 0.75 * mask)


def _paint_lips(skin: _Skin, rng: np.random.Generator) -> None:
    outline = loop_of(LIPS_OUTER)
    mask = skin.polygon(outline, 0.7)
    grain = noise(rng, skin.shape, (14, 2.2))
    colour = LIPS * (1 + 0.035 * grain[..., None])
    skin.colour += 0.88 * mask[..., None] * (colour - skin.colour)
    seam = skin.line(skin.texel[list(LIPS_INNER[0])], 0.8)
    skin.tint((0.70, 0.60, 0.60), 0.9 * np.asarray(cv2.GaussianBlur(seam, (0, 0), 0.6 * skin.mm)))


def _paint_nostrils(skin: _Skin) -> None:
    for loop in ((79, 239, 238, 20, 60, 75), (309, 459, 458, 250, 290, 305)):
        mask = skin.polygon(list(loop), 0.8)
        skin.mix(np.array([0.23, 0.10, 0.08]), 0.9 * np.clip(mask * 1.2, 0, 1))


def _paint_eyes(skin: _Skin) -> None:
    for opening in (EYE_RIGHT, EYE_LEFT):
        upper = skin.line(skin.texel[list(opening[0])], 1.6)
        skin.mix(np.array([0.16, 0.09, 0.07]), 0.85 * np.asarray(cv2.GaussianBlur(upper, (0, 0), 0.30 * skin.mm)))
        lower = skin.line(skin.texel[list(opening[1])], 1.0)
        skin.mix(np.array([0.62, 0.36, 0.32]), 0.6 * np.asarray(cv2.GaussianBlur(lower, (0, 0), 0.4 * skin.mm)))


_BROWS = (((107, 66, 105, 63, 70), (55, 65, 52, 53, 46)), ((336, 296, 334, 293, 300), (285, 295, 282, 283, 276)))


def _paint_brow(skin: _Skin, side: int, rng: np.random.Generator) -> None:
    """Short hairs between the brow's two rows of landmarks, from its inner end outwards."""
    upper, lower = (skin.texel[list(row)] for row in _BROWS[side])
    away = 1.0 if side else -1.0
    mask = np.zeros(skin.shape, np.float32)
    steps = np.linspace(0, 4, 200)

    def along(row: F64, t: F64 | float) -> F64:
        return np.stack([np.interp(t, np.arange(5), row[:, k]) for k in (0, 1)], -1)

    for _ in range(420):
        t = rng.uniform(0.0, 3.9)
        taper = 0.5 - 0.10 * t
        share = 0.5 + rng.uniform(-taper, taper) * 0.9
        root = along(upper, t) * (1 - share) + along(lower, t) * share
        lean = np.radians(62 - 19 * min(t, 3.0) + rng.normal(0, 9))
        length = rng.uniform(3.0, 5.2) * (1 - 0.1 * t)
        tip = root + length * np.array([away * np.cos(lean) * skin.mm, -np.sin(lean) * skin.mm_down])
        bend = (root + tip) / 2 + np.array([away * 0.4, -0.6]) * skin.mm
        path = np.round(np.stack([root, bend, tip]) * 16).astype(np.int32)
        layer_width = 1 if rng.random() < 0.6 else 2
        cv2.polylines(mask, [path], False, float(rng.uniform(0.5, 1.0)), layer_width, cv2.LINE_AA, 4)
    band = np.concatenate([along(upper, steps), along(lower, steps)[::-1]])
    mask = np.clip(cv2.GaussianBlur(mask, (0, 0), 0.7) + 0.45 * skin.region(band, 1.2).astype(np.float32), 0, 1)
    skin.mix(BROW, 0.82 * mask.astype(float))


def _paint_lining(skin: _Skin) -> None:
    """Nothing is painted for the mouth's lining: it has the lips' colour and lies in their shadow."""


def _paint_eye(rng: np.random.Generator) -> F64:
    _, _, width, height = PLACES["eye"]
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    white = np.array([0.90, 0.87, 0.85]) * np.ones((height, width, 1))
    white = white - np.clip(radius - 0.5, 0, 1)[..., None] * np.array([0.10, 0.24, 0.24])
    iris_radius = 0.0060 / 0.0122
    inner = radius / iris_radius
    spokes = sum(np.cos(angle * k + rng.uniform(0, 6.28)) * rng.uniform(0.4, 1) for k in range(9, 60, 3)) / 6
    iris = np.array([0.42, 0.32, 0.20]) + 0.10 * spokes[..., None] * np.clip(inner, 0, 1)[..., None]
    iris = iris + np.clip(0.75 - np.abs(inner - 0.55) * 3, 0, 1)[..., None] * np.array([0.14, 0.09, 0.03])
    iris *= (1 - 0.62 * np.clip((inner - 0.76) / 0.24, 0, 1) ** 1.5)[..., None]
    iris *= (0.78 + 0.30 * np.clip((y / iris_radius + 1) / 2, 0, 1))[..., None]
    blend = np.clip((1.03 - inner) / 0.10, 0, 1)[..., None]
    colour = white * (1 - blend) + iris * blend
    pupil = np.clip((0.42 - inner) / 0.06, 0, 1)[..., None]
    return np.asarray(colour * (1 - pupil) + 0.02 * pupil)


def _paint_teeth() -> F64:
    _, _, width, height = PLACES["teeth"]
    u, v = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    tooth = np.abs(np.sin(np.pi * u * 10))
    enamel = np.array([0.93, 0.90, 0.84]) * (0.72 + 0.28 * np.clip(tooth * 2.2, 0, 1) ** 0.6)[..., None]
    gum = np.array([0.72, 0.38, 0.37])
    line = 0.22 + 0.10 * (1 - tooth)
    return np.asarray(np.where((v < line)[..., None], gum, enamel))


def _paint_clothes(rng: np.random.Generator) -> F64:
    _, _, width, height = PLACES["clothes"]
    u, v = np.meshgrid(np.arange(width) / width, np.arange(height) / height)
    knit = 0.035 * np.sin(2 * np.pi * u * 190) * np.sin(2 * np.pi * v * 110 + np.pi * (np.floor(u * 190) % 2))
    rib = 0.10 * np.sin(2 * np.pi * u * 90) * (v < 0.12) - 0.10 * np.exp(-(((v - 0.125) / 0.006) ** 2))
    shade = 1 + np.where(v < 0.12, rib, knit) - 0.10 * np.exp(-(((v - 0.125) / 0.006) ** 2))
    shade = shade + 0.015 * noise(rng, (height, width), (30, 50))
    return np.asarray(CLOTH * shade[..., None])


def _paint_hair(rng: np.random.Generator) -> F64:
    _, _, width, height = PLACES["hair"]
    fine = (
        0.6 * noise(rng, (height, width), (400, 2.0))
        + 0.5 * noise(rng, (height, width), (300, 7))
        + 0.4 * noise(rng, (height, width), (160, 40))
    )
    return np.asarray(HAIR * np.clip(1 + 0.22 * fine, 0.45, 1.9)[..., None])


def paint(cage: Cage, seed: int) -> U8:
    """(2048, 2048, 3) display sRGB atlas."""
    rng = np.random.default_rng((seed, 1))
    atlas = np.zeros((*ATLAS, 3))
    _, _, ear_width, ear_height = PLACES["ear"]
    ear = np.tile(SKIN * [1.0, 0.90, 0.88], (ear_height, ear_width, 1))
    _, _, tongue_width, tongue_height = PLACES["tongue"]
    tongue = np.array([0.72, 0.36, 0.36]) * (1 + 0.06 * noise(rng, (tongue_height, tongue_width), (3, 3))[..., None])
    painted = {
        "skin": _paint_skin(cage, rng), "eye": _paint_eye(rng), "teeth": _paint_teeth(), "tongue": tongue, "ear": ear,
        "hair": _paint_hair(rng), "clothes": _paint_clothes(rng),
    }  # fmt: skip
    for name, colour in painted.items():
        left, top, width, height = PLACES[name]
        atlas[top : top + height, left : left + width] = colour
    return np.asarray(np.clip(atlas * 255 + 0.5, 0, 255), np.uint8)
