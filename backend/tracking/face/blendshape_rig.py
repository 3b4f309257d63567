"""A blend-shape rig of the 478-point face mesh with ARKit's names, built from anatomy on the person's own neutral mesh.

Every shape is an offset field in metres at channel value 1, made of a few primitives: a soft region around a landmark,
a direction, the hinge of the jaw, the meeting line of the lips and of the lids. Directions are head space: x to the
actor's left, y up, z front. The person's own way of moving is learned on top (`expression.personalise`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...contract.channels import CHANNELS, INDEX
from ...contract.geometry import matrix_from_vector
from ..detection import topology as topo

F64 = NDArray[np.float64]

JAW_ANGLE = np.radians(18.0)  # how far the jaw swings at jawOpen = 1
JAW_HINGE = (0.0, -0.02, -0.075)  # the condyles, head space, for an outer eye distance of 0.09 m
UNMEASURABLE = ("tongueOut", "cheekPuff", "jawForward")  # a frontal landmark mesh does not see them


@dataclass
class Rig:
    """neutral (478, 3) and shapes (52, 478, 3), head space, metres."""

    neutral: F64
    shapes: F64


def build_rig(neutral: F64) -> Rig:
    """The anatomical rig for a person's neutral mesh (478, 3)."""
    builder = _Builder(neutral)
    shapes = np.zeros((len(CHANNELS), topo.COUNT, 3))
    for offsets in (builder.jaw(), builder.lips(), builder.eyes(), builder.upper_face()):
        for name, field in offsets.items():
            shapes[INDEX[name]] = field
    return Rig(neutral, shapes)


class _Builder:
    """Regions and measures of one neutral mesh, and the shapes made from them."""

    def __init__(self, neutral: F64) -> None:
        self.v = neutral
        self.mouth = (neutral[topo.MOUTH_LEFT] + neutral[topo.MOUTH_RIGHT]) / 2
        self.half_mouth = float(np.linalg.norm(neutral[topo.MOUTH_LEFT] - neutral[topo.MOUTH_RIGHT])) / 2
        self.lower = self._lower_share()
        self.corner = {"Left": neutral[topo.MOUTH_LEFT], "Right": neutral[topo.MOUTH_RIGHT]}
        self.outward = {"Left": 1.0, "Right": -1.0}

    def near(self, centre: F64, radius: tuple[float, float, float] | float) -> F64:
        """(478,) soft region, 1 at `centre`, falling like a Gaussian with `radius` metres per axis."""
        d = (self.v - centre) / np.asarray(radius)
        result: F64 = np.exp(-0.5 * (d**2).sum(1))
        return result

    def side(self, name: str, width: float = 0.012) -> F64:
        """(478,) 1 on the actor's left or right, a soft step of `width` metres through the middle."""
        result: F64 = 1 / (1 + np.exp(-self.outward[name] * (self.v[:, 0] - self.mouth[0]) / (width / 2)))
        return result

    def _lower_share(self) -> F64:
        """(478,) 1 for what the lower lip and chin carry, 0 for the upper lip, a half at the mouth's corners."""
        reach = np.clip(np.abs(self.v[:, 0] - self.mouth[0]) / (1.25 * self.half_mouth), 0, 1)
        line = np.interp(self.v[:, 0], *self._mouth_line())
        softness = 0.0015 + 0.011 * reach**3
        share = 1 / (1 + np.exp(np.clip((self.v[:, 1] - line) / softness, -40, 40)))
        lower = topo.indices(*topo.LIP_INNER_LOWER, *topo.LIP_MIDDLE_LOWER, *topo.LIP_OUTER_LOWER)
        upper = topo.indices(*topo.LIP_INNER_UPPER, *topo.LIP_MIDDLE_UPPER, *topo.LIP_OUTER_UPPER)
        # lips in contact: the row decides, not the height
        bend = 0.5 * np.clip(np.abs(self.v[:, 0] - self.mouth[0]) / self.half_mouth, 0, 1) ** 4
        share[lower], share[upper] = 1 - bend[lower], bend[upper]
        corners = topo.indices(*topo.LIP_CORNER_LEFT, *topo.LIP_CORNER_RIGHT)
        share[corners] = 0.5
        return share

    def _mouth_line(self) -> tuple[F64, F64]:
        """x and y of the line where the lips meet, from the right corner to the left."""
        upper = self.v[topo.indices(78, *topo.LIP_INNER_UPPER, 308)]
        lower = self.v[topo.indices(78, *topo.LIP_INNER_LOWER, 308)]
        middle = (upper + lower) / 2
        order = np.argsort(middle[:, 0])
        return middle[order, 0], middle[order, 1]

    def _jaw_share(self) -> F64:
        """(478,) how much of the jaw's swing each vertex follows."""
        hinge_y = JAW_HINGE[1]
        down = np.clip((hinge_y - self.v[:, 1]) / (hinge_y - self.v[topo.CHIN, 1]), 0, 1)
        share = self.lower * down**0.6
        back = np.clip((self.v[:, 2] - JAW_HINGE[2]) / 0.03, 0, 1)
        cheek = np.clip((self.mouth[1] + 0.02 - self.v[:, 1]) / 0.03, 0, 1)
        lips = topo.indices(*topo.LIPS)
        result = share * back * np.maximum(cheek, self.lower > 0.98)
        # lips travel with the jaw wholly below, not at all above; chin fully
        result[lips] = self.lower[lips]
        return np.clip(result, 0, 1)

    def jaw(self) -> dict[str, F64]:
        share = self._jaw_share()[:, None]
        hinge = np.asarray(JAW_HINGE)
        swing = (self.v - hinge) @ matrix_from_vector(np.array([JAW_ANGLE, 0, 0])).T + hinge - self.v
        lips_near = self.near(self.mouth, (self.half_mouth * 1.1, 0.014, 0.03))[:, None]
        opened = swing * share
        # the mouth's corners move inwards when the jaw drops
        opened[:, 0] -= 0.10 * (self.v[:, 0] - self.mouth[0]) * lips_near[:, 0]
        # closing lips over an open jaw: the lower lip comes back, the upper meets it
        close = -swing * share * lips_near * 0.8
        close[:, 1] -= (1 - self.lower) * lips_near[:, 0] * 0.004
        shift = self.lower[:, None] * np.clip(self._jaw_share()[:, None] * 1.2, 0, 1)
        return {
            "jawOpen": opened,
            "jawForward": share * [0, 0, 0.008],
            "jawLeft": shift * [0.01, 0, 0],
            "jawRight": shift * [-0.01, 0, 0],
            "mouthClose": close,
        }

    def lips(self) -> dict[str, F64]:
        h = self.half_mouth
        x = (self.v[:, 0] - self.mouth[0]) / h
        around = self.near(self.mouth, (h * 1.0, 0.016, 0.035))
        lower, upper = self.lower, 1 - self.lower
        middle = np.exp(-0.5 * (x / 0.55) ** 2)
        band = np.exp(-0.5 * ((self.v[:, 1] - self.mouth[1]) / 0.012) ** 2) * (np.abs(x) < 2.2)
        zero = np.zeros(topo.COUNT)

        def field(dx: F64 = zero, dy: F64 = zero, dz: F64 = zero) -> F64:
            return np.stack([dx, dy, dz], 1)

        part = upper - lower  # +1 on the upper lip, −1 on the lower
        shapes = {
            "mouthFunnel": field(-0.30 * h * x * around, 0.0045 * part * around * middle, 0.006 * around * middle),
            "mouthPucker": field(-0.40 * h * x * around, -0.0010 * part * around, 0.0075 * around * middle),
            "mouthLeft": field(0.011 * around),
            "mouthRight": field(-0.011 * around),
            "mouthRollLower": field(dy=0.004 * lower * band * middle, dz=-0.005 * lower * band * middle),
            "mouthRollUpper": field(dy=-0.004 * upper * band * middle, dz=-0.005 * upper * band * middle),
            "mouthShrugLower": field(dy=0.006 * lower * self._chin_region(), dz=0.003 * lower * around),
            "mouthShrugUpper": field(dy=0.0045 * upper * around, dz=0.002 * upper * around),
        }
        for side, sign in self.outward.items():
            here = self.side(side)
            corner = self.near(self.corner[side], (0.020, 0.018, 0.03)) * here
            lip = band * here * np.exp(-0.5 * ((np.abs(x) - 0.45) / 0.45) ** 2)
            shapes[f"mouthSmile{side}"] = field(sign * 0.0072 * corner, 0.0099 * corner, -0.0045 * corner)
            shapes[f"mouthFrown{side}"] = field(-sign * 0.001 * corner, -0.009 * corner, -0.001 * corner)
            shapes[f"mouthDimple{side}"] = field(sign * 0.006 * corner, 0.001 * corner, -0.005 * corner)
            shapes[f"mouthStretch{side}"] = field(sign * 0.009 * corner, -0.004 * corner, -0.004 * corner)
            shapes[f"mouthPress{side}"] = field(dy=-0.0022 * part * lip, dz=-0.001 * lip)
            shapes[f"mouthLowerDown{side}"] = field(dy=-0.008 * lower * lip, dz=-0.001 * lower * lip)
            shapes[f"mouthUpperUp{side}"] = field(dy=0.007 * upper * lip, dz=0.001 * upper * lip)
        shapes["tongueOut"] = field()
        return shapes

    def _chin_region(self) -> F64:
        chin = self.near(self.v[topo.CHIN] + (0, 0.025, 0), (0.02, 0.018, 0.03))
        return np.maximum(chin, self.near(self.mouth, (self.half_mouth, 0.012, 0.03)))

    def eyes(self) -> dict[str, F64]:
        shapes: dict[str, F64] = {}
        for side, eye in topo.EYES.items():
            upper, lower, iris = (topo.indices(*ids) for ids in (eye.upper_lid, eye.lower_lid, eye.iris))
            inner, outer = eye.inner, eye.outer
            opening = float((self.v[upper, 1] - self.v[lower, 1]).max())
            centre = (self.v[inner] + self.v[outer]) / 2
            blink, wide, squint = (np.zeros((topo.COUNT, 3)) for _ in range(3))
            drop = self.v[lower] - self.v[upper]
            blink[upper] = drop * 0.88
            blink[lower] = -drop * 0.10
            lid_skin = self.near(centre + (0, 0.010, 0), (0.018, 0.006, 0.03))
            lid_skin[np.r_[upper, lower, iris, [inner, outer]]] = 0
            blink[:, 1] -= lid_skin * opening * 0.55
            wide[upper, 1] = 0.35 * opening * (drop[:, 1] / drop[:, 1].min())
            wide[:, 1] += lid_skin * 0.25 * opening
            squint[lower, 1] = 0.40 * opening
            below = self.near(centre - (0, 0.013, 0), (0.018, 0.007, 0.03))
            below[np.r_[upper, lower, iris, [inner, outer]]] = 0
            squint[:, 1] += below * 0.3 * opening
            shapes[f"eyeBlink{side}"], shapes[f"eyeWide{side}"], shapes[f"eyeSquint{side}"] = blink, wide, squint
            shapes |= self._gaze(side, upper, lower, iris, opening)
        return shapes

    def _gaze(
        self, side: str, upper: NDArray[np.int64], lower: NDArray[np.int64], iris: NDArray[np.int64], opening: float
    ) -> dict[str, F64]:
        """The iris slides over an eyeball of 12 mm radius, 30° sideways, 22° up and 19° down at 1; lids follow it."""
        reach, rise, fall = 0.006, 0.0045, 0.0038
        down = np.zeros((topo.COUNT, 3))
        up, inwards, outwards = (np.zeros_like(down) for _ in range(3))
        down[iris, 1], up[iris, 1] = -fall, rise
        down[upper, 1], up[upper, 1] = -0.45 * opening, 0.15 * opening
        down[lower, 1] = -0.12 * opening
        outwards[iris, 0] = self.outward[side] * reach
        inwards[iris, 0] = -self.outward[side] * reach
        return {
            f"eyeLookDown{side}": down,
            f"eyeLookUp{side}": up,
            f"eyeLookIn{side}": inwards,
            f"eyeLookOut{side}": outwards,
        }

    def upper_face(self) -> dict[str, F64]:
        zero = np.zeros(topo.COUNT)
        shapes = {"cheekPuff": np.stack([zero, zero, zero], 1)}
        inner_up = np.zeros((topo.COUNT, 3))
        for side, brow in (("Left", topo.BROW_LEFT), ("Right", topo.BROW_RIGHT)):
            sign = self.outward[side]
            outer, inner = self.v[brow[0]], self.v[brow[4]]
            middle = self.v[brow[2]]
            radius = (0.018, 0.014, 0.03)
            inner_region = self.near(inner, radius)
            outer_region = self.near((outer + middle) / 2, radius)
            whole = np.maximum(self.near(middle, (0.022, 0.011, 0.03)), self.near(inner, (0.014, 0.011, 0.03)))
            inner_up[:, 1] += 0.0048 * inner_region * self.side(side, 0.02)
            eye_y = self.v[topo.EYE_OUTER_LEFT, 1]
            above_eye = np.clip((self.v[:, 1] - eye_y - 0.010) / 0.006, 0, 1)  # brows do not drag the lids
            shapes[f"browOuterUp{side}"] = np.stack([zero, 0.0065 * outer_region * above_eye, zero], 1)
            shapes[f"browDown{side}"] = np.stack(
                [-sign * 0.0025 * inner_region, -0.0065 * whole * above_eye, 0.001 * whole], 1
            )
            nose = self.v[327 if side == "Left" else 98]
            eye = (self.v[topo.EYES[side].inner] + self.v[topo.EYES[side].outer]) / 2
            cheek = self.near(eye - (0, 0.026, 0), (0.018, 0.012, 0.03))
            sneer = self.near(nose + (0, 0.004, 0), (0.010, 0.012, 0.02))
            shapes[f"cheekSquint{side}"] = np.stack([zero, 0.006 * cheek, 0.001 * cheek], 1)
            shapes[f"noseSneer{side}"] = np.stack([zero, 0.006 * sneer, zero], 1)
        inner_up[:, 1] *= np.clip((self.v[:, 1] - self.v[topo.EYE_OUTER_LEFT, 1] - 0.010) / 0.006, 0, 1)
        shapes["browInnerUp"] = inner_up
        for field in shapes.values():
            field[topo.indices(*topo.LIPS)] = 0  # the nose's wings end above the lips: facial channels leave the mouth
        return shapes
