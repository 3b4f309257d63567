"""The paint of the synthetic actor's atlas: eyes, teeth, tongue, ears, hair, clothes (see also `skin_paint.py`)."""

from __future__ import annotations

import numpy as np

from ..contract.arrays import F64, U8
from .atlas import ATLAS_RECTANGLES, ATLAS_SIZE
from .cage import EYE_RADIUS, Cage
from .noise import smooth_noise
from .skin_paint import SKIN_COLOR, paint_skin

IRIS_RADIUS = 0.0062  # metres
PUPIL_RADIUS = 0.42  # of the iris

# Colours are display sRGB, 0–1.
EAR_TINT = (1.0, 0.90, 0.88)  # of the skin: ears are redder
EAR_SHADE = np.array([0.38, 0.52, 0.54])  # by which hollows darken the ear
SCLERA_COLOR = np.array([0.90, 0.87, 0.85])
SCLERA_EDGE_SHADE = np.array([0.10, 0.20, 0.20])  # per radius beyond the half: the white is redder at the rim
IRIS_COLOR = np.array([0.40, 0.30, 0.18])
IRIS_RING_COLOR = np.array([0.14, 0.09, 0.03])  # added around the middle of the iris
PUPIL_VALUE = 0.02
ENAMEL_COLOR = np.array([0.93, 0.90, 0.84])
GUM_COLOR = np.array([0.72, 0.38, 0.37])
TONGUE_COLOR = np.array([0.72, 0.36, 0.36])
HAIR_COLOR = np.array([0.340, 0.205, 0.130])
CLOTH_COLOR = np.array([0.205, 0.420, 0.450])

# Noise in the hair's colour: share, size of its features in texels (rows, columns): long along the strand, thin across.
HAIR_NOISE = ((0.6, (400, 2.0)), (0.5, (300, 7)), (0.4, (160, 40)))
HAIR_NOISE_STRENGTH = 0.22
HAIR_VALUE_RANGE = (0.45, 1.9)  # of the hair's colour

# The ear's rectangle in millimetres, as in `parts.EAR_OUTLINE`: backwards, downwards.
EAR_X_RANGE = (-5, 31)
EAR_Y_RANGE = (34, -34)

COLLAR_HEIGHT = 0.12  # of the sweater's rectangle
COLLAR_SEAM = 0.125  # where the seam below the collar lies


def paint_atlas(cage: Cage, seed: int) -> U8:
    """(2048, 2048, 3) the display sRGB atlas of a seed."""
    rng = np.random.default_rng((seed, 1))
    tongue = _paint_tongue(rng)
    painted = {
        "skin": paint_skin(cage, rng), "eye": _paint_eye(rng), "teeth": _paint_teeth(), "tongue": tongue,
        "ear": _paint_ear(), "hair": _paint_hair(rng), "clothes": _paint_clothes(rng),
    }  # fmt: skip
    atlas = np.zeros((*ATLAS_SIZE, 3))
    for name, color in painted.items():
        left, top, width, height = ATLAS_RECTANGLES[name]
        atlas[top : top + height, left : left + width] = color
    return np.asarray(np.clip(atlas * 255 + 0.5, 0, 255), np.uint8)


def _grid(name: str, x_range: tuple[float, float], y_range: tuple[float, float]) -> tuple[F64, F64]:
    """Return x and y at the texels of a part's rectangle, each (height, width)."""
    rectangle = ATLAS_RECTANGLES[name]
    x, y = np.meshgrid(np.linspace(*x_range, rectangle.width), np.linspace(*y_range, rectangle.height))
    return x, y


def _paint_eye(rng: np.random.Generator) -> F64:
    """White, iris with spokes and a dark rim, pupil."""
    x, y = _grid("eye", (-1, 1), (-1, 1))
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    white = SCLERA_COLOR * np.ones((*radius.shape, 1))
    white = white - np.clip(radius - 0.5, 0, 1)[..., None] * SCLERA_EDGE_SHADE
    iris_radius = IRIS_RADIUS / EYE_RADIUS
    inner = radius / iris_radius  # 1 at the iris' rim
    spokes = sum(np.cos(angle * k + rng.uniform(0, 6.28)) * rng.uniform(0.4, 1) for k in range(9, 60, 3)) / 6
    iris = IRIS_COLOR + 0.10 * spokes[..., None] * np.clip(inner, 0, 1)[..., None]
    iris = iris + np.clip(0.75 - np.abs(inner - 0.55) * 3, 0, 1)[..., None] * IRIS_RING_COLOR
    iris *= (1 - 0.62 * np.clip((inner - 0.76) / 0.24, 0, 1) ** 1.5)[..., None]
    iris *= (0.78 + 0.30 * np.clip((y / iris_radius + 1) / 2, 0, 1))[..., None]  # the upper lid shades the iris
    iris_mask = np.clip((1.03 - inner) / 0.10, 0, 1)[..., None]
    color = white * (1 - iris_mask) + iris * iris_mask
    pupil_mask = np.clip((PUPIL_RADIUS - inner) / 0.06, 0, 1)[..., None]
    return np.asarray(color * (1 - pupil_mask) + PUPIL_VALUE * pupil_mask)


def _paint_ear() -> F64:
    """Redder skin, darker in the hollows that the mesh only hints at."""
    x, y = _grid("ear", EAR_X_RANGE, EAR_Y_RANGE)

    def hollow(center_x: float, center_y: float, x_radius: float, y_radius: float) -> F64:
        return np.asarray(np.exp(-((((x - center_x) / x_radius) ** 2 + ((y - center_y) / y_radius) ** 2) ** 1.5)))

    radius, turn = np.hypot((x - 9) / 17, (y - 3) / 27), np.arctan2(y - 3, x - 9)
    groove = np.exp(-(((radius - 0.76) / 0.07) ** 2)) * np.clip(np.cos((turn - 0.6) / 1.5), 0, 1)
    dark = np.clip(0.85 * hollow(6, -3, 6, 9) + 0.55 * hollow(9, 12, 4, 5) + 0.6 * groove, 0, 1)[..., None]
    return np.asarray(SKIN_COLOR * EAR_TINT * (1 - dark * EAR_SHADE))


def _paint_teeth() -> F64:
    """Ten teeth, darker between them, under a scalloped line of gum."""
    u, v = _grid("teeth", (0, 1), (0, 1))
    tooth = np.abs(np.sin(np.pi * u * 10))  # 0 between two teeth, 1 in the middle of one
    enamel = ENAMEL_COLOR * (0.72 + 0.28 * np.clip(tooth * 2.2, 0, 1) ** 0.6)[..., None]
    gum_line = 0.22 + 0.10 * (1 - tooth)
    return np.asarray(np.where((v < gum_line)[..., None], GUM_COLOR, enamel))


def _paint_tongue(rng: np.random.Generator) -> F64:
    rectangle = ATLAS_RECTANGLES["tongue"]
    noise = smooth_noise(rng, (rectangle.height, rectangle.width), (3, 3))
    return np.asarray(TONGUE_COLOR * (1 + 0.06 * noise[..., None]))


def _paint_clothes(rng: np.random.Generator) -> F64:
    """A knitted sweater with a ribbed collar and a seam below it."""
    rectangle = ATLAS_RECTANGLES["clothes"]
    shape = rectangle.height, rectangle.width
    u, v = np.meshgrid(np.arange(rectangle.width) / rectangle.width, np.arange(rectangle.height) / rectangle.height)
    is_collar = v < COLLAR_HEIGHT
    seam = 0.10 * np.exp(-(((v - COLLAR_SEAM) / 0.006) ** 2))
    knit = 0.035 * np.sin(2 * np.pi * u * 190) * np.sin(2 * np.pi * v * 110 + np.pi * (np.floor(u * 190) % 2))
    rib = 0.10 * np.sin(2 * np.pi * u * 90) * is_collar - seam
    shade = 1 + np.where(is_collar, rib, knit) - seam
    shade = shade + 0.015 * smooth_noise(rng, shape, (30, 50))
    return np.asarray(CLOTH_COLOR * shade[..., None])


def _paint_hair(rng: np.random.Generator) -> F64:
    rectangle = ATLAS_RECTANGLES["hair"]
    shape = rectangle.height, rectangle.width
    strands = np.zeros(shape)
    for share, scale in HAIR_NOISE:
        strands = strands + share * smooth_noise(rng, shape, scale)
    return np.asarray(HAIR_COLOR * np.clip(1 + HAIR_NOISE_STRENGTH * strands, *HAIR_VALUE_RANGE)[..., None])
