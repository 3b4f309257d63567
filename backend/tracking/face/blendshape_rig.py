"""A blend-shape rig of the 478-point face mesh with ARKit's names, built from anatomy on the person's own neutral mesh.

Every shape is an offset field in metres at channel value 1, made of a few primitives: a soft region around a landmark,
a direction, the hinge of the jaw, the meeting line of the lips and of the lids. Directions are head space: x to the
actor's left, y up, z front. The person's own way of moving is learned on top (`expression.personalise`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...contract.arrays import F64, I64
from ...contract.channels import CHANNEL_INDEX, CHANNELS
from ...contract.geometry import matrix_from_rotation_vector
from ..detection import topology as topo

JAW_OPEN_ANGLE = np.radians(18.0)  # how far the jaw swings at jawOpen = 1
JAW_HINGE = (0.0, -0.02, -0.075)  # the condyles, head space, for an outer eye distance of 0.09 m
UNMEASURABLE_CHANNELS = ("tongueOut", "cheekPuff", "jawForward")  # a frontal landmark mesh does not see them


@dataclass
class BlendshapeRig:
    """neutral (478, 3) and shapes (52, 478, 3), head space, metres."""

    neutral: F64
    shapes: F64


def build_rig(neutral: F64) -> BlendshapeRig:
    """The anatomical rig for a person's neutral mesh (478, 3)."""
    builder = _RigBuilder(neutral)
    shapes = np.zeros((len(CHANNELS), topo.LANDMARK_COUNT, 3))
    for offsets in (builder.jaw_shapes(), builder.lip_shapes(), builder.eye_shapes(), builder.upper_face_shapes()):
        for name, field in offsets.items():
            shapes[CHANNEL_INDEX[name]] = field
    return BlendshapeRig(neutral, shapes)


class _RigBuilder:
    """Regions and measures of one neutral mesh, and the shapes made from them."""

    def __init__(self, neutral: F64) -> None:
        self.vertices = neutral
        self.mouth_center = (neutral[topo.MOUTH_LEFT] + neutral[topo.MOUTH_RIGHT]) / 2
        self.half_mouth_width = float(np.linalg.norm(neutral[topo.MOUTH_LEFT] - neutral[topo.MOUTH_RIGHT])) / 2
        self.lower_lip_weight = self._compute_lower_lip_weight()
        self.mouth_corner = {"Left": neutral[topo.MOUTH_LEFT], "Right": neutral[topo.MOUTH_RIGHT]}
        self.outward_sign = {"Left": 1.0, "Right": -1.0}

    def soft_region(self, center: F64, radius: tuple[float, float, float] | float) -> F64:
        """(478,) soft region, 1 at `centre`, falling like a Gaussian with `radius` metres per axis."""
        d = (self.vertices - center) / np.asarray(radius)
        result: F64 = np.exp(-0.5 * (d**2).sum(1))
        return result

    def side_weight(self, side: str, width: float = 0.012) -> F64:
        """(478,) 1 on the actor's left or right, a soft step of `width` metres through the middle."""
        result: F64 = 1 / (
            1 + np.exp(-self.outward_sign[side] * (self.vertices[:, 0] - self.mouth_center[0]) / (width / 2))
        )
        return result

    def _compute_lower_lip_weight(self) -> F64:
        """(478,) 1 for what the lower lip and chin carry, 0 for the upper lip, a half at the mouth's corners."""
        reach = np.clip(np.abs(self.vertices[:, 0] - self.mouth_center[0]) / (1.25 * self.half_mouth_width), 0, 1)
        line = np.interp(self.vertices[:, 0], *self._lip_contact_line())
        softness = 0.0015 + 0.011 * reach**3
        share = 1 / (1 + np.exp(np.clip((self.vertices[:, 1] - line) / softness, -40, 40)))
        lower = topo.index_array(*topo.LIP_INNER_LOWER, *topo.LIP_MIDDLE_LOWER, *topo.LIP_OUTER_LOWER)
        upper = topo.index_array(*topo.LIP_INNER_UPPER, *topo.LIP_MIDDLE_UPPER, *topo.LIP_OUTER_UPPER)
        # lips in contact: the row decides, not the height
        bend = 0.5 * np.clip(np.abs(self.vertices[:, 0] - self.mouth_center[0]) / self.half_mouth_width, 0, 1) ** 4
        share[lower], share[upper] = 1 - bend[lower], bend[upper]
        corners = topo.index_array(*topo.LIP_CORNER_LEFT, *topo.LIP_CORNER_RIGHT)
        share[corners] = 0.5
        return share

    def _lip_contact_line(self) -> tuple[F64, F64]:
        """x and y of the line where the lips meet, from the right corner to the left."""
        upper = self.vertices[topo.index_array(78, *topo.LIP_INNER_UPPER, 308)]
        lower = self.vertices[topo.index_array(78, *topo.LIP_INNER_LOWER, 308)]
        middle = (upper + lower) / 2
        order = np.argsort(middle[:, 0])
        return middle[order, 0], middle[order, 1]

    def _jaw_weight(self) -> F64:
        """(478,) how much of the jaw's swing each vertex follows."""
        hinge_y = JAW_HINGE[1]
        down = np.clip((hinge_y - self.vertices[:, 1]) / (hinge_y - self.vertices[topo.CHIN, 1]), 0, 1)
        share = self.lower_lip_weight * down**0.6
        back = np.clip((self.vertices[:, 2] - JAW_HINGE[2]) / 0.03, 0, 1)
        cheek = np.clip((self.mouth_center[1] + 0.02 - self.vertices[:, 1]) / 0.03, 0, 1)
        lips = topo.index_array(*topo.LIPS)
        result = share * back * np.maximum(cheek, self.lower_lip_weight > 0.98)
        # lips travel with the jaw wholly below, not at all above; chin fully
        result[lips] = self.lower_lip_weight[lips]
        return np.clip(result, 0, 1)

    def jaw_shapes(self) -> dict[str, F64]:
        share = self._jaw_weight()[:, None]
        hinge = np.asarray(JAW_HINGE)
        swing = (
            (self.vertices - hinge) @ matrix_from_rotation_vector(np.array([JAW_OPEN_ANGLE, 0, 0])).T
            + hinge
            - self.vertices
        )
        lips_near = self.soft_region(self.mouth_center, (self.half_mouth_width * 1.1, 0.014, 0.03))[:, None]
        opened = swing * share
        # the mouth's corners move inwards when the jaw drops
        opened[:, 0] -= 0.10 * (self.vertices[:, 0] - self.mouth_center[0]) * lips_near[:, 0]
        # closing lips over an open jaw: the lower lip comes back, the upper meets it
        close = -swing * share * lips_near * 0.8
        close[:, 1] -= (1 - self.lower_lip_weight) * lips_near[:, 0] * 0.004
        shift = self.lower_lip_weight[:, None] * np.clip(self._jaw_weight()[:, None] * 1.2, 0, 1)
        return {
            "jawOpen": opened,
            "jawForward": share * [0, 0, 0.008],
            "jawLeft": shift * [0.01, 0, 0],
            "jawRight": shift * [-0.01, 0, 0],
            "mouthClose": close,
        }

    def lip_shapes(self) -> dict[str, F64]:
        h = self.half_mouth_width
        x = (self.vertices[:, 0] - self.mouth_center[0]) / h
        around = self.soft_region(self.mouth_center, (h * 1.0, 0.016, 0.035))
        lower, upper = self.lower_lip_weight, 1 - self.lower_lip_weight
        middle = np.exp(-0.5 * (x / 0.55) ** 2)
        band = np.exp(-0.5 * ((self.vertices[:, 1] - self.mouth_center[1]) / 0.012) ** 2) * (np.abs(x) < 2.2)
        zero = np.zeros(topo.LANDMARK_COUNT)

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
        for side, sign in self.outward_sign.items():
            here = self.side_weight(side)
            corner = self.soft_region(self.mouth_corner[side], (0.020, 0.018, 0.03)) * here
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
        chin = self.soft_region(self.vertices[topo.CHIN] + (0, 0.025, 0), (0.02, 0.018, 0.03))
        return np.maximum(chin, self.soft_region(self.mouth_center, (self.half_mouth_width, 0.012, 0.03)))

    def eye_shapes(self) -> dict[str, F64]:
        shapes: dict[str, F64] = {}
        for side, eye in topo.EYES.items():
            upper, lower, iris = (topo.index_array(*ids) for ids in (eye.upper_lid, eye.lower_lid, eye.iris))
            inner, outer = eye.inner_corner, eye.outer_corner
            opening = float((self.vertices[upper, 1] - self.vertices[lower, 1]).max())
            centre = (self.vertices[inner] + self.vertices[outer]) / 2
            blink, wide, squint = (np.zeros((topo.LANDMARK_COUNT, 3)) for _ in range(3))
            drop = self.vertices[lower] - self.vertices[upper]
            blink[upper] = drop * 0.88
            blink[lower] = -drop * 0.10
            lid_skin = self.soft_region(centre + (0, 0.010, 0), (0.018, 0.006, 0.03))
            lid_skin[np.r_[upper, lower, iris, [inner, outer]]] = 0
            blink[:, 1] -= lid_skin * opening * 0.55
            wide[upper, 1] = 0.35 * opening * (drop[:, 1] / drop[:, 1].min())
            wide[:, 1] += lid_skin * 0.25 * opening
            squint[lower, 1] = 0.40 * opening
            below = self.soft_region(centre - (0, 0.013, 0), (0.018, 0.007, 0.03))
            below[np.r_[upper, lower, iris, [inner, outer]]] = 0
            squint[:, 1] += below * 0.3 * opening
            shapes[f"eyeBlink{side}"], shapes[f"eyeWide{side}"], shapes[f"eyeSquint{side}"] = blink, wide, squint
            shapes |= self._gaze_shapes(side, upper, lower, iris, opening)
        return shapes

    def _gaze_shapes(self, side: str, upper: I64, lower: I64, iris: I64, opening: float) -> dict[str, F64]:
        """The iris slides over an eyeball of 12 mm radius, 30° sideways, 22° up and 19° down at 1; lids follow it."""
        reach, rise, fall = 0.006, 0.0045, 0.0038
        down = np.zeros((topo.LANDMARK_COUNT, 3))
        up, inwards, outwards = (np.zeros_like(down) for _ in range(3))
        down[iris, 1], up[iris, 1] = -fall, rise
        down[upper, 1], up[upper, 1] = -0.45 * opening, 0.15 * opening
        down[lower, 1] = -0.12 * opening
        outwards[iris, 0] = self.outward_sign[side] * reach
        inwards[iris, 0] = -self.outward_sign[side] * reach
        return {
            f"eyeLookDown{side}": down,
            f"eyeLookUp{side}": up,
            f"eyeLookIn{side}": inwards,
            f"eyeLookOut{side}": outwards,
        }

    def upper_face_shapes(self) -> dict[str, F64]:
        zero = np.zeros(topo.LANDMARK_COUNT)
        shapes = {"cheekPuff": np.stack([zero, zero, zero], 1)}
        inner_up = np.zeros((topo.LANDMARK_COUNT, 3))
        for side, brow in (("Left", topo.BROW_LEFT), ("Right", topo.BROW_RIGHT)):
            sign = self.outward_sign[side]
            outer, inner = self.vertices[brow[0]], self.vertices[brow[4]]
            middle = self.vertices[brow[2]]
            radius = (0.018, 0.014, 0.03)
            inner_region = self.soft_region(inner, radius)
            outer_region = self.soft_region((outer + middle) / 2, radius)
            whole = np.maximum(
                self.soft_region(middle, (0.022, 0.011, 0.03)), self.soft_region(inner, (0.014, 0.011, 0.03))
            )
            inner_up[:, 1] += 0.0048 * inner_region * self.side_weight(side, 0.02)
            eye_y = self.vertices[topo.EYE_OUTER_LEFT, 1]
            above_eye = np.clip((self.vertices[:, 1] - eye_y - 0.010) / 0.006, 0, 1)  # brows do not drag the lids
            shapes[f"browOuterUp{side}"] = np.stack([zero, 0.0065 * outer_region * above_eye, zero], 1)
            shapes[f"browDown{side}"] = np.stack(
                [-sign * 0.0025 * inner_region, -0.0065 * whole * above_eye, 0.001 * whole], 1
            )
            nose = self.vertices[327 if side == "Left" else 98]
            eye = (self.vertices[topo.EYES[side].inner_corner] + self.vertices[topo.EYES[side].outer_corner]) / 2
            cheek = self.soft_region(eye - (0, 0.026, 0), (0.018, 0.012, 0.03))
            sneer = self.soft_region(nose + (0, 0.004, 0), (0.010, 0.012, 0.02))
            shapes[f"cheekSquint{side}"] = np.stack([zero, 0.006 * cheek, 0.001 * cheek], 1)
            shapes[f"noseSneer{side}"] = np.stack([zero, 0.006 * sneer, zero], 1)
        inner_up[:, 1] *= np.clip((self.vertices[:, 1] - self.vertices[topo.EYE_OUTER_LEFT, 1] - 0.010) / 0.006, 0, 1)
        shapes["browInnerUp"] = inner_up
        for field in shapes.values():
            field[topo.index_array(*topo.LIPS)] = (
                0  # the nose's wings end above the lips: facial channels leave the mouth
            )
        return shapes
