"""The 52 channels of the sample head as offsets of its control cage.

Each shape is a handful of handles, landmarks that move by millimetres (x to the actor's left, y up, z to the front),
and landmarks that stay; between them the smoothest field is used (`cage.smooth_field`). One side is written, the other
is its mirror image. Channels that turn rigid parts (eyeballs, lower teeth, tongue) do so in `head.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..contract.arrays import F64
from ..contract.channels import CHANNEL_INDEX, CHANNELS, mirror_channel
from ..contract.geometry import rotation_about_x
from .cage import EYE_LEFT, EYE_RIGHT, LIPS_INNER, LIPS_OUTER, Cage, closed_loop, interpolate_thin_plate

Handles = dict[int, tuple[float, float, float]]

JAW_ANGLE = np.radians(20.0)  # the lower teeth turn by this at jawOpen 1: about 35 mm at the incisors
JAW_PIVOT = np.array([0.0, -0.018, -0.058])  # the jaw joints' axis runs through here along x
JAW_SLIDE = 0.006  # metres sideways or forwards at jawLeft, jawRight or jawForward 1

_NOSE = (168, 6, 197, 195, 5, 4, 1, 2, 48, 278, 115, 344, 220, 440)
_FOREHEAD = (10, 151, 9, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389)
_FACE_SIDES = (127, 234, 93, 356, 454, 323)
_BROWS = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
_CHIN = (152, 175, 148, 377, 176, 400, 136, 365, 172, 397, 58, 288)
_CHEEKS = (116, 123, 50, 118, 345, 352, 280, 347, 205, 425)
_EYES = tuple(closed_loop(EYE_RIGHT) + closed_loop(EYE_LEFT))
_UPPER_FACE = _NOSE + _FOREHEAD + _FACE_SIDES + _EYES + _BROWS
_FIXED_LANDMARKS = {
    "mouth": _UPPER_FACE + _CHIN,
    "cheek": _NOSE[:10] + _FOREHEAD + _FACE_SIDES + _CHIN + _BROWS,
    "eye": _NOSE + _FACE_SIDES + _CHEEKS + _FOREHEAD + _BROWS,
    "brow": _NOSE[2:] + _FACE_SIDES + _CHEEKS + _EYES + (10, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389),
    "nose": _FOREHEAD + _FACE_SIDES + _EYES + _CHIN + (5, 195),
}

# The left side, or both sides when the channel has none. Millimetres.
_HANDLE_TABLES: dict[str, tuple[str, Handles]] = {
    "mouthSmileLeft": ("mouth", {
        291: (8, 7.5, -5), 308: (8, 7.5, -5), 287: (7, 7, -4), 425: (2.0, 4.5, 3), 426: (3.5, 4, 0.5),
        14: (1, 0.7, -1.2),
        13: (1, 0.7, -1.2), 0: (0.6, 0.6, -1), 17: (0.6, 0.6, -1), 61: (0, 0, 0), 78: (0, 0, 0), 280: (0.4, 1.6, 1.2)}),
    "mouthFrownLeft": ("mouth", {
        291: (1.5, -7, -2), 308: (1.5, -7, -2), 287: (1.5, -6, -1), 13: (0, 0, 0), 14: (0, 0.3, 0), 61: (0, 0, 0),
        78: (0, 0, 0)}),
    "mouthDimpleLeft": ("mouth", {
        291: (4, 1, -6), 308: (4, 1, -6), 287: (4, 1, -4), 13: (0, 0, -0.5), 14: (0, 0, -0.5), 61: (0, 0, 0),
        78: (0, 0, 0)}),
    "mouthStretchLeft": ("mouth", {
        291: (8, -2, -5), 308: (8, -2, -5), 287: (8, -2, -4), 13: (0.6, -0.3, -1), 14: (0.6, -0.6, -1), 61: (0, 0, 0),
        78: (0, 0, 0), 17: (0.5, -0.6, -1)}),
    "cheekPuff": ("mouth", {425: (6, 0, 8), 205: (-6, 0, 8), 426: (4, 0, 6), 206: (-4, 0, 6), 427: (6, -1, 7),
        207: (-6, -1, 7), 13: (0, 0, 1), 14: (0, 0, 1)}),
    "cheekSquintLeft": ("cheek", {425: (1, 4, 2), 280: (1, 4.5, 2), 346: (0.5, 3, 1), 374: (0, 1.6, 0), 291: (0, 1, 0),
        61: (0, 0, 0)}),
    "noseSneerLeft": ("nose", {358: (1, 4, 0), 278: (0.8, 3.5, -0.3), 429: (0.8, 3.5, 0.6), 279: (0.8, 3, -0.2),
        4: (0, 0.6, 0), 267: (0.4, 2, 0.4), 270: (0.3, 1.8, 0.4), 0: (0, 0.8, 0), 48: (0, 0, 0), 129: (0, 0, 0),
        61: (0, 0, 0), 291: (0, 0.5, 0), 420: (0.5, 3, 0.5)}),
    "browDownLeft": ("brow", {336: (-2.5, -5.5, 1.5), 296: (-1.6, -5, 1), 334: (-0.6, -3.6, 0.5), 293: (0, -2, 0),
        300: (0, -1, 0), 285: (-2.2, -5, 1.2), 295: (-1.4, -4.4, 0.6), 282: (-0.5, -3, 0.2), 283: (0, -1.6, 0),
        276: (0, -0.8, 0), 107: (0, 0, 0), 66: (0, 0, 0), 105: (0, 0, 0), 9: (-0.4, -2, 0.6), 168: (0, -0.5, 0.3)}),
    "browInnerUp": ("brow", {336: (0.6, 7, 0), 107: (-0.6, 7, 0), 296: (0.3, 5.5, 0), 66: (-0.3, 5.5, 0),
        334: (0, 2.5, 0), 105: (0, 2.5, 0), 293: (0, 0.3, 0), 63: (0, 0.3, 0), 285: (0.4, 6, -0.3), 55: (-0.4, 6, -0.3),
        295: (0.2, 4.4, 0), 65: (-0.2, 4.4, 0), 282: (0, 2, 0), 52: (0, 2, 0), 9: (0, 4, 0), 151: (0, 2, 0)}),
    "browOuterUpLeft": ("brow", {300: (0.6, 6, -1), 293: (0.4, 7.5, 0), 334: (0.2, 6, 0), 296: (0, 2.5, 0),
        336: (0, 0, 0), 276: (0.5, 5, -0.6), 283: (0.3, 6, 0), 282: (0.2, 4.6, 0), 295: (0, 2, 0), 285: (0, 0, 0),
        105: (0, 0, 0), 107: (0, 0, 0), 66: (0, 0, 0)}),
}  # fmt: skip


LipMove = Callable[[bool, int, float, float], tuple[float, float, float]]


def _left_weight(s: float) -> float:
    """How much of a left-sided lip movement acts at `s`, −1 at the right corner to 1 at the left one."""
    t = min(max((s + 0.35) / 0.9, 0.0), 1.0)
    return t * t * (3 - 2 * t)


# Millimetres for a lip vertex: (on the inner edge?, 1 upper −1 lower 0 corner, s as in `_left`, x in mm) → x, y, z.
_LIP_MOVES: dict[str, LipMove] = {
    "mouthPucker": lambda inner, side, s, x: (-0.36 * x, -side * (0.0 if inner else 0.3), 6.5 - 2.5 * abs(s)),
    "mouthFunnel": lambda inner, side, s, x: (
        -0.26 * x, side * (3.4 if inner else 2.4) * (1 - s * s), 6.0 - 2.4 * abs(s) + (0.0 if inner else 0.6)),
    "mouthPressLeft": lambda inner, side, s, x: (
        0, 0 if inner else -1.7 * side * _left_weight(s), (-0.6 if inner else -1.3) * _left_weight(s)),
    "mouthRollLower": lambda inner, side, s, x: (
        (0, 0, -3.5) if inner and side < 0 else (0, 2.8, -2.6) if side < 0 else (0, 0, 0)),
    "mouthRollUpper": lambda inner, side, s, x: (
        (0, 0, -3.5) if inner and side > 0 else (0, -2.4, -2.6) if side > 0 else (0, 0, 0)),
    "mouthShrugLower": lambda inner, side, s, x: (0, (2.4 if inner else 1.0 + (side < 0) * 2.0) * (1 - s * s),
        1.6 if side < 0 else 0.8),
    "mouthShrugUpper": lambda inner, side, s, x: (0, 2.2 * (1 - s * s) if side > 0 else 0, 1.4 if side > 0 else 0),
    "mouthLowerDownLeft": lambda inner, side, s, x: (
        0, -(6.0 if inner else 4.8) * _left_weight(s) * (1 - abs(s) ** 3) if side < 0 else 0, -0.4 if side < 0 else 0),
    "mouthUpperUpLeft": lambda inner, side, s, x: (
        0, (5.0 if inner else 4.6) * _left_weight(s) * (1 - abs(s) ** 3) if side > 0 else 0, 0.3 if side > 0 else 0),
    "mouthLeft": lambda inner, side, s, x: (7.0, 0.0, -1.0 * s),
}  # fmt: skip
_LID_FOLDS = (
    (247, 30, 29, 27, 28, 56, 190),
    (414, 286, 258, 257, 259, 260, 467),
)  # above the upper lids, right to left
_LID_BAGS = ((25, 110, 24, 23, 22, 26, 112), (341, 256, 252, 253, 254, 339, 255))  # below the lower lids


def _lip_handles(cage: Cage, move: LipMove) -> dict[int, F64]:
    """Handles at every vertex of the two lip loops."""
    handles: dict[int, F64] = {}
    for inner, (upper, lower) in ((False, LIPS_OUTER), (True, LIPS_INNER)):
        corner = abs(cage.vertices[upper[0], 0])
        for edge, sign in ((upper, 1), (lower, -1)):
            for index in edge:
                x = cage.vertices[index, 0]
                side = 0 if index in (upper[0], upper[-1]) else sign
                handles[index] = np.array(move(inner, side, x / corner, x * 1000), float) / 1000
    return handles


def jaw_weights(cage: Cage) -> F64:
    """(V,) how much each vertex follows the lower jaw: chin 1, upper lip and everything above 0."""
    fixed: dict[int, float] = dict.fromkeys((*_UPPER_FACE, 50, 280, 205, 425, 164, 167, 393), 0.0)
    fixed |= dict.fromkeys((152, 175, 199, 200, 18, 148, 377, 176, 400, 83, 313), 1.0)
    fixed |= {136: 0.95, 365: 0.95, 172: 0.85, 397: 0.85, 58: 0.6, 288: 0.6, 132: 0.25, 361: 0.25}
    for upper, lower in (LIPS_OUTER, LIPS_INNER):
        fixed |= dict.fromkeys(upper[1:-1], 0.0) | dict.fromkeys(lower[1:-1], 1.0)
        fixed |= {upper[1]: 0.12, upper[-2]: 0.12, lower[1]: 0.74, lower[-2]: 0.74, lower[2]: 0.92, lower[-2 - 1]: 0.92}
        fixed |= {upper[0]: 0.42, upper[-1]: 0.42}
    for ring in cage.mouth_bag[1:]:
        fixed |= {int(v): fixed[int(lip)] for v, lip in zip(ring, cage.mouth_bag[0], strict=True)}
    for row, share in zip(cage.neck_rings[1:], (0.9, 0.74, 0.56, 0.38, 0.22, 0.1), strict=False):
        fixed |= {int(v): share * fixed.get(int(top), 0.0) for v, top in zip(row, cage.neck_rings[0], strict=True)}
    fixed |= dict.fromkeys((int(v) for v in cage.neck_rings[7:].ravel()), 0.0)
    index = np.array(list(fixed), np.int32)
    field = interpolate_thin_plate(cage.faces, len(cage.vertices), index, np.array(list(fixed.values()))[:, None])
    weights = (field[:, 0] + field[cage.mirror_index, 0]) / 2
    return np.clip(weights, 0, 1)


def _lid_handles(cage: Cage, eye_index: int) -> dict[str, dict[int, F64]]:
    """Handles of the lid channels of one eye (0 right, 1 left)."""
    opening = (EYE_RIGHT, EYE_LEFT)[eye_index]
    rim = dict(zip(closed_loop(opening), (int(v) for v in cage.lid_rims[eye_index]), strict=True))
    names = [
        f"{n}{('Right', 'Left')[eye_index]}" for n in ("eyeBlink", "eyeSquint", "eyeWide", "eyeLookDown", "eyeLookUp")
    ]
    shapes: dict[str, dict[int, F64]] = {name: {} for name in names}
    point = cage.vertices
    for position in range(1, 8):
        high, low = opening[0][position], opening[1][position]
        gap = point[low] - point[high]
        arch = np.sin(np.pi * position / 8)
        lift = np.array([0, 0.001, 0]) * arch
        for name, upper, lower in zip(
            names,
            (0.86 * gap, 0.16 * gap, 2.0 * lift, 0.45 * gap, 1.5 * lift),
            (-0.14 * gap, -0.30 * gap, -0.6 * lift, -0.8 * lift, 0.5 * lift),
            strict=True,
        ):
            shapes[name] |= {high: upper, rim[high]: upper, low: lower, rim[low]: lower}
            shapes[name][_LID_FOLDS[eye_index][position - 1]] = 0.55 * upper
            shapes[name][_LID_BAGS[eye_index][position - 1]] = 0.45 * lower
    for name in names:
        for corner in (opening[0][0], opening[0][-1]):
            shapes[name] |= {corner: np.zeros(3), rim[corner]: np.zeros(3)}
    return shapes


def build_shapes(cage: Cage) -> F64:
    """(52, V, 3) offsets in metres at channel value 1, in the order of `CHANNELS`."""
    count = len(cage.vertices)
    shapes = np.zeros((len(CHANNELS), count, 3))
    inner_eyes = {int(v) for ring in cage.lid_rims for v in ring}
    deep = [int(v) for v in cage.mouth_bag[3:].ravel()]
    low = [int(v) for v in cage.neck_rings[2:].ravel()]

    def fill_shape(name: str, group: str, handles: dict[int, F64]) -> None:
        still = [*_FIXED_LANDMARKS[group], *deep, *low]
        if group != "eye":
            still += inner_eyes
        index = [*handles, *(i for i in still if i not in handles)]
        values = np.array([handles.get(i, np.zeros(3)) for i in index], float)
        shapes[CHANNEL_INDEX[name]] = interpolate_thin_plate(cage.faces, count, np.array(index, np.int32), values)

    for name, (group, table) in _HANDLE_TABLES.items():
        fill_shape(name, group, {i: np.array(v) / 1000 for i, v in table.items()})
    for name, move in _LIP_MOVES.items():
        fill_shape(name, "mouth", _lip_handles(cage, move))
    for name, handles in _lid_handles(cage, 1).items():
        fill_shape(name, "eye", handles)
    for name in CHANNELS:
        if name.endswith("Right") and not name.startswith("jaw"):
            shapes[CHANNEL_INDEX[name]] = shapes[CHANNEL_INDEX[mirror_channel(name)]][cage.mirror_index] * [-1, 1, 1]
        elif mirror_channel(name) == name:
            shapes[CHANNEL_INDEX[name]] = (
                shapes[CHANNEL_INDEX[name]] + shapes[CHANNEL_INDEX[name]][cage.mirror_index] * [-1, 1, 1]
            ) / 2

    weight = jaw_weights(cage)[:, None]
    turn = rotation_about_x(JAW_ANGLE)
    shapes[CHANNEL_INDEX["jawOpen"]] = weight * ((cage.vertices - JAW_PIVOT) @ (turn - np.eye(3)).T)
    shapes[CHANNEL_INDEX["jawForward"]] = weight * [0, 0, JAW_SLIDE]
    shapes[CHANNEL_INDEX["jawLeft"]] = weight * [JAW_SLIDE, 0, 0]
    shapes[CHANNEL_INDEX["jawRight"]] = weight * [-JAW_SLIDE, 0, 0]
    _build_mouth_close(cage, shapes, fill_shape)
    close = shapes[CHANNEL_INDEX["mouthClose"]]
    shapes[CHANNEL_INDEX["mouthClose"]] = (close + close[cage.mirror_index] * [-1, 1, 1]) / 2
    return shapes


def _build_mouth_close(cage: Cage, shapes: F64, fill_shape: Callable[[str, str, dict[int, F64]], None]) -> None:
    """`mouthClose`: with as much of it as of `jawOpen`, the lips' inner edges touch exactly."""
    jaw = shapes[CHANNEL_INDEX["jawOpen"]]
    handles: dict[int, F64] = {}
    for (upper, lower), share in ((LIPS_OUTER, 0.8), (LIPS_INNER, 1.0)):
        for high, low in zip(upper[1:-1], lower[1:-1], strict=True):
            meeting = 0.45 * jaw[low] + 0.55 * jaw[high]
            handles[high] = share * (meeting - jaw[high])
            handles[low] = share * (meeting - jaw[low])
    lips = {int(lip): int(v) for lip, v in zip(cage.mouth_bag[0], cage.mouth_bag[1], strict=True)}
    handles |= {lips[i]: v for i, v in list(handles.items()) if i in lips}
    fill_shape("mouthClose", "mouth", handles)
