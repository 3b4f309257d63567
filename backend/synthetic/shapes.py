"""The 52 channels of the synthetic head as offsets of its control cage.

A shape is given by handles, landmarks that are displaced by millimetres (x to the actor's left, y up, z to the front),
and by landmarks that stay; between them lies the smoothest field. The left side is given, the right one is its mirror
image. Most handles stand in `shapes.csv`, those of the lips and lids follow from formulas here. Channels that turn
rigid parts (eyeballs, lower teeth, tongue) do so in `actor_mesh.py`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contract.arrays import F64
from ..contract.channels import CHANNEL_INDEX, CHANNELS, mirror_channel
from ..contract.geometry import rotation_about_x
from .cage import Cage
from .landmarks import (
    BROWS,
    CHEEKS,
    CHIN,
    EYE_LOOPS,
    EYES,
    FACE_SIDES,
    FOREHEAD,
    HAIRLINE,
    LID_BAGS,
    LID_FOLDS,
    LIP_LOOPS,
    LIPS_INNER,
    LIPS_OUTER,
    NOSE,
    UPPER_FACE,
    closed_loop,
)
from .smoothstep import smoothstep
from .thin_plate import interpolate_thin_plate

Handles = dict[int, F64]  # cage vertex → (3,) displacement in metres
Displacement = tuple[float, float, float]

SHAPES_FILE = Path(__file__).with_name("shapes.csv")

JAW_ANGLE = np.radians(20.0)  # of the lower teeth at jawOpen 1: about 35 mm at the incisors, a wide human gape
JAW_PIVOT = np.array([0.0, -0.018, -0.058])  # metres; the axis of the jaw joints runs through it along x
JAW_SLIDE = 0.006  # metres sideways or forwards at jawLeft, jawRight or jawForward 1

# The landmarks that rest in a shape, by the name that shapes.csv uses.
FIXED_LANDMARKS = {
    "mouth": UPPER_FACE + CHIN,
    "cheek": NOSE[:10] + FOREHEAD + FACE_SIDES + CHIN + BROWS,
    "eye": NOSE + FACE_SIDES + CHEEKS + FOREHEAD + BROWS,
    "brow": NOSE[2:] + FACE_SIDES + CHEEKS + EYE_LOOPS + HAIRLINE,
    "nose": FOREHEAD + FACE_SIDES + EYE_LOOPS + CHIN + (5, 195),
}

# How far landmarks follow the lower jaw: weight, landmarks. The lips' own weights follow below.
JAW_WEIGHTS: tuple[tuple[float, tuple[int, ...]], ...] = (
    (0.0, (*UPPER_FACE, 50, 280, 205, 425, 164, 167, 393)),
    (1.0, (152, 175, 199, 200, 18, 148, 377, 176, 400, 83, 313)),
    (0.95, (136, 365)),
    (0.85, (172, 397)),
    (0.6, (58, 288)),
    (0.25, (132, 361)),
)
UPPER_LIP_JAW_WEIGHT = 0.0
LOWER_LIP_JAW_WEIGHT = 1.0
LIP_CORNER_JAW_WEIGHT = 0.42
# Towards the corners the lips' weights approach each other: weight by the vertex counted from either corner.
UPPER_LIP_JAW_WEIGHTS = {1: 0.12}
LOWER_LIP_JAW_WEIGHTS = {1: 0.74, 2: 0.92}
NECK_JAW_SHARES = (0.9, 0.74, 0.56, 0.38, 0.22, 0.1)  # of the face oval's weight, by ring below it; then 0

LID_LIFT = 0.001  # metres that the middle of a lid rises for a factor of 1
# Lid channels without their side: displacement of the upper and of the lower lid, as a factor of the open gap between
# the lids or of LID_LIFT.
LID_MOVES = (
    ("eyeBlink", (0.86, "gap"), (-0.14, "gap")),
    ("eyeSquint", (0.16, "gap"), (-0.30, "gap")),
    ("eyeWide", (2.0, "lift"), (-0.6, "lift")),
    ("eyeLookDown", (0.45, "gap"), (-0.8, "lift")),
    ("eyeLookUp", (1.5, "lift"), (0.5, "lift")),
)
LID_FOLD_SHARE = 0.55  # of the upper lid's displacement
LID_BAG_SHARE = 0.45  # of the lower lid's displacement

MOUTH_CLOSE_OUTER_SHARE = 0.8  # of the way to the meeting point that the lips' outer edges go; the inner ones go all
LOWER_LIP_MEETING_SHARE = 0.45  # the lips meet nearer to the upper one, as the jaw holds the lower one


@dataclass(frozen=True)
class LipVertex:
    """A vertex of the lips at rest.

    Attributes:
        is_inner: on the inner edge, else on the outer one.
        side: 1 on the upper lip, −1 on the lower one, 0 at a corner.
        s: position along the lip, −1 at the right corner, 1 at the left one.
        x: millimetres.
    """

    is_inner: bool
    side: int
    s: float
    x: float

    @property
    def left_weight(self) -> float:
        """How far a movement of the left half acts here, 0 to 1."""
        return float(smoothstep((self.s + 0.35) / 0.9))


def _pucker(v: LipVertex) -> Displacement:
    return -0.36 * v.x, -v.side * (0.0 if v.is_inner else 0.3), 6.5 - 2.5 * abs(v.s)


def _funnel(v: LipVertex) -> Displacement:
    spread = v.side * (3.4 if v.is_inner else 2.4) * (1 - v.s * v.s)
    return -0.26 * v.x, spread, 6.0 - 2.4 * abs(v.s) + (0.0 if v.is_inner else 0.6)


def _press_left(v: LipVertex) -> Displacement:
    if v.is_inner:
        return 0, 0, -0.6 * v.left_weight
    return 0, -1.7 * v.side * v.left_weight, -1.3 * v.left_weight


def _roll_lower(v: LipVertex) -> Displacement:
    if v.side >= 0:
        return 0, 0, 0
    return (0, 0, -3.5) if v.is_inner else (0, 2.8, -2.6)


def _roll_upper(v: LipVertex) -> Displacement:
    if v.side <= 0:
        return 0, 0, 0
    return (0, 0, -3.5) if v.is_inner else (0, -2.4, -2.6)


def _shrug_lower(v: LipVertex) -> Displacement:
    lift = 2.4 if v.is_inner else 3.0 if v.side < 0 else 1.0
    return 0, lift * (1 - v.s * v.s), 1.6 if v.side < 0 else 0.8


def _shrug_upper(v: LipVertex) -> Displacement:
    return (0, 2.2 * (1 - v.s * v.s), 1.4) if v.side > 0 else (0, 0, 0)


def _lower_down_left(v: LipVertex) -> Displacement:
    if v.side >= 0:
        return 0, 0, 0
    return 0, -(6.0 if v.is_inner else 4.8) * v.left_weight * (1 - abs(v.s) ** 3), -0.4


def _upper_up_left(v: LipVertex) -> Displacement:
    if v.side <= 0:
        return 0, 0, 0
    return 0, (5.0 if v.is_inner else 4.6) * v.left_weight * (1 - abs(v.s) ** 3), 0.3


def _mouth_left(v: LipVertex) -> Displacement:
    return 7.0, 0.0, -1.0 * v.s


# The displacement of a lip vertex in millimetres at channel value 1.
LIP_MOVES: dict[str, Callable[[LipVertex], Displacement]] = {
    "mouthPucker": _pucker,
    "mouthFunnel": _funnel,
    "mouthPressLeft": _press_left,
    "mouthRollLower": _roll_lower,
    "mouthRollUpper": _roll_upper,
    "mouthShrugLower": _shrug_lower,
    "mouthShrugUpper": _shrug_upper,
    "mouthLowerDownLeft": _lower_down_left,
    "mouthUpperUpLeft": _upper_up_left,
    "mouthLeft": _mouth_left,
}


def build_shapes(cage: Cage) -> F64:
    """(52, V, 3) offsets of the cage's vertices in metres at channel value 1, in the order of `CHANNELS`."""
    builder = _ShapeBuilder(cage)
    for name, group, handles in _read_handles():
        builder.add_shape(name, group, handles)
    for name, move in LIP_MOVES.items():
        builder.add_shape(name, "mouth", _lip_handles(cage, move))
    for name, handles in _left_lid_handles(cage).items():
        builder.add_shape(name, "eye", handles)
    builder.mirror_shapes()
    builder.add_jaw_shapes()
    builder.add_mouth_close()
    return builder.shapes


class _ShapeBuilder:
    """Fills the shapes one after the other; later ones build on earlier ones."""

    def __init__(self, cage: Cage) -> None:
        self.shapes = np.zeros((len(CHANNELS), len(cage.vertices), 3))
        self._cage = cage
        self._lid_rims = {int(v) for ring in cage.lid_rims for v in ring}
        self._resting = [int(v) for v in (*cage.mouth_bag[3:].ravel(), *cage.neck_rings[2:].ravel())]

    def add_shape(self, name: str, group: str, handles: Handles) -> None:
        """Interpolate a shape from its handles and the landmarks that rest in `FIXED_LANDMARKS[group]`."""
        fixed = [*FIXED_LANDMARKS[group], *self._resting]
        if group != "eye":
            fixed += self._lid_rims
        index = [*handles, *(i for i in fixed if i not in handles)]
        values = np.array([handles.get(i, np.zeros(3)) for i in index], float)
        cage = self._cage
        field = interpolate_thin_plate(cage.faces, len(cage.vertices), np.array(index, np.int32), values)
        self.shapes[CHANNEL_INDEX[name]] = field

    def mirror_shapes(self) -> None:
        """Make the right shapes from the left ones, and shapes without a side symmetric."""
        for name in CHANNELS:
            if name.endswith("Right") and not name.startswith("jaw"):
                self.shapes[CHANNEL_INDEX[name]] = self._mirrored(mirror_channel(name))
            elif mirror_channel(name) == name:
                self._make_symmetric(name)

    def add_jaw_shapes(self) -> None:
        """Add the shapes of the lower jaw, which is rigid where its weight is 1."""
        weight = jaw_weights(self._cage)[:, None]
        turned = (self._cage.vertices - JAW_PIVOT) @ (rotation_about_x(JAW_ANGLE) - np.eye(3)).T
        self.shapes[CHANNEL_INDEX["jawOpen"]] = weight * turned
        self.shapes[CHANNEL_INDEX["jawForward"]] = weight * [0, 0, JAW_SLIDE]
        self.shapes[CHANNEL_INDEX["jawLeft"]] = weight * [JAW_SLIDE, 0, 0]
        self.shapes[CHANNEL_INDEX["jawRight"]] = weight * [-JAW_SLIDE, 0, 0]

    def add_mouth_close(self) -> None:
        """Add `mouthClose`: with as much of it as of `jawOpen`, the lips' inner edges touch exactly."""
        jaw = self.shapes[CHANNEL_INDEX["jawOpen"]]
        handles: Handles = {}
        for (upper, lower), share in ((LIPS_OUTER, MOUTH_CLOSE_OUTER_SHARE), (LIPS_INNER, 1.0)):
            for high, low in zip(upper[1:-1], lower[1:-1], strict=True):
                meeting = LOWER_LIP_MEETING_SHARE * jaw[low] + (1 - LOWER_LIP_MEETING_SHARE) * jaw[high]
                handles[high] = share * (meeting - jaw[high])
                handles[low] = share * (meeting - jaw[low])
        lining = {int(lip): int(v) for lip, v in zip(self._cage.mouth_bag[0], self._cage.mouth_bag[1], strict=True)}
        handles |= {lining[i]: v for i, v in list(handles.items()) if i in lining}
        self.add_shape("mouthClose", "mouth", handles)
        self._make_symmetric("mouthClose")

    def _mirrored(self, name: str) -> F64:
        """(V, 3) the mirror image of a shape."""
        return np.asarray(self.shapes[CHANNEL_INDEX[name]][self._cage.mirror_index] * [-1, 1, 1])

    def _make_symmetric(self, name: str) -> None:
        index = CHANNEL_INDEX[name]
        self.shapes[index] = (self.shapes[index] + self._mirrored(name)) / 2


def _read_handles() -> list[tuple[str, str, Handles]]:
    """Read (channel, group of resting landmarks, handles) of every shape in `shapes.csv`."""
    with SHAPES_FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    shapes: dict[tuple[str, str], Handles] = {}
    for row in rows:
        displacement = np.array([float(row[f"{axis}_mm"]) for axis in "xyz"]) / 1000
        shapes.setdefault((row["channel"], row["fixed"]), {})[int(row["landmark"])] = displacement
    return [(name, group, handles) for (name, group), handles in shapes.items()]


def _lip_handles(cage: Cage, move: Callable[[LipVertex], Displacement]) -> Handles:
    """Handles at every vertex of the two lip loops."""
    handles: Handles = {}
    for is_inner, (upper, lower) in ((False, LIPS_OUTER), (True, LIPS_INNER)):
        corner = abs(cage.vertices[upper[0], 0])
        for edge, sign in ((upper, 1), (lower, -1)):
            for index in edge:
                x = cage.vertices[index, 0]
                side = 0 if index in (upper[0], upper[-1]) else sign
                handles[index] = np.array(move(LipVertex(is_inner, side, x / corner, x * 1000)), float) / 1000
    return handles


def _left_lid_handles(cage: Cage) -> dict[str, Handles]:
    """Handles of the lid channels of the left eye, by channel."""
    upper_edge, lower_edge = EYES[1]
    rim = dict(zip(closed_loop(EYES[1]), (int(v) for v in cage.lid_rims[1]), strict=True))
    shapes: dict[str, Handles] = {f"{name}Left": {} for name, _, _ in LID_MOVES}
    for position in range(1, 8):
        high, low = upper_edge[position], lower_edge[position]
        units = {
            "gap": cage.vertices[low] - cage.vertices[high],
            "lift": np.array([0, LID_LIFT, 0]) * np.sin(np.pi * position / 8),
        }
        for name, (upper_factor, upper_unit), (lower_factor, lower_unit) in LID_MOVES:
            upper, lower = upper_factor * units[upper_unit], lower_factor * units[lower_unit]
            handles = shapes[f"{name}Left"]
            handles |= {high: upper, rim[high]: upper, low: lower, rim[low]: lower}
            handles[LID_FOLDS[1][position - 1]] = LID_FOLD_SHARE * upper
            handles[LID_BAGS[1][position - 1]] = LID_BAG_SHARE * lower
    for handles in shapes.values():
        for corner in (upper_edge[0], upper_edge[-1]):
            handles |= {corner: np.zeros(3), rim[corner]: np.zeros(3)}
    return shapes


def jaw_weights(cage: Cage) -> F64:
    """(V,) how far each vertex follows the lower jaw: chin 1, upper lip and everything above 0."""
    fixed: dict[int, float] = {}
    for weight, landmarks in JAW_WEIGHTS:
        fixed |= dict.fromkeys(landmarks, weight)
    for upper, lower in LIP_LOOPS:
        fixed |= dict.fromkeys(upper[1:-1], UPPER_LIP_JAW_WEIGHT) | dict.fromkeys(lower[1:-1], LOWER_LIP_JAW_WEIGHT)
        for edge, weights in ((upper, UPPER_LIP_JAW_WEIGHTS), (lower, LOWER_LIP_JAW_WEIGHTS)):
            for position, weight in weights.items():
                fixed |= {edge[position]: weight, edge[-1 - position]: weight}
        fixed |= {upper[0]: LIP_CORNER_JAW_WEIGHT, upper[-1]: LIP_CORNER_JAW_WEIGHT}
    lips, *lining = cage.mouth_bag
    for ring in lining:
        fixed |= {int(v): fixed[int(lip)] for v, lip in zip(ring, lips, strict=True)}
    oval, *rings = cage.neck_rings
    for ring, share in zip(rings, NECK_JAW_SHARES, strict=False):
        fixed |= {int(v): share * fixed.get(int(top), 0.0) for v, top in zip(ring, oval, strict=True)}
    fixed |= dict.fromkeys((int(v) for ring in rings[len(NECK_JAW_SHARES) :] for v in ring), 0.0)
    index = np.array(list(fixed), np.int32)
    field = interpolate_thin_plate(cage.faces, len(cage.vertices), index, np.array(list(fixed.values()))[:, None])
    weights = (field[:, 0] + field[cage.mirror_index, 0]) / 2
    return np.asarray(np.clip(weights, 0, 1))
