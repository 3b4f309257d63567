"""A blend-shape rig of the 478-point face mesh with ARKit's channels, built from anatomy on the person's neutral mesh.

Every shape is an offset field in metres at channel value 1. `blendshape_fit.personalize_rig` adapts it to the person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ...contract.arrays import F64, I64
from ...contract.channels import CHANNEL_INDEX, CHANNELS
from ...contract.geometry import matrix_from_rotation_vector
from ..detection import topology as topo
from .blendshape_tables import (
    BROW_INNER_UP_RISE,
    CENTRAL_TERMS,
    CHIN_OFFSET,
    CHIN_RADIUS,
    GAZE_SHAPES,
    JAW_HINGE,
    JAW_OPEN_DEGREES,
    MOUTH_REGIONS,
    MOUTH_SIDE_TERMS,
    SIDE_REGIONS,
    UPPER_FACE_TERMS,
    Term,
    X,
    Y,
    Z,
)

JAW_OPEN_ANGLE = np.radians(JAW_OPEN_DEGREES)
UNMEASURABLE_CHANNELS = ("tongueOut", "cheekPuff", "jawForward")  # a frontal landmark mesh does not show them

# Lips and chin
LIP_REACH = 1.25  # half widths of the mouth over which the border between lower and upper face becomes soft
LIP_SOFTNESS = 0.0015  # metres of that border in the middle of the mouth
LIP_SOFTNESS_AT_REACH = 0.011  # metres added to it at `LIP_REACH`
LIP_MIDDLE_WIDTH = 0.55  # deviation in half widths of the mouth of what acts on the middle of the lips
LIP_SIDE_CENTER = 0.45  # distance of a side of the lips from the middle, in half widths of the mouth
LIP_SIDE_WIDTH = 0.45  # its deviation
LIP_BAND_HEIGHT = 0.012  # metres; deviation in height of what acts on the lips
LIP_BAND_REACH = 2.2  # half widths of the mouth beyond which nothing counts as lip
SIDE_STEP = 0.012  # metres of the soft step between the left and the right of the face
BROW_SIDE_STEP = 0.02  # metres of that step between the brows

# Jaw
JAW_DEPTH_FADE = 0.03  # metres in front of the hinge over which skin begins to follow the jaw
JAW_CHEEK_MARGIN = 0.02  # metres above the mouth at which the cheek no longer follows the jaw
JAW_CHEEK_FADE = 0.03  # metres below that over which it begins to
JAW_FALLOFF = 0.6  # exponent: below 1, skin just below the hinge already follows well
PURE_LOWER_LIP = 0.98  # weight of the lower lip from which a vertex follows the jaw whatever its height
JAW_CORNER_PULL = 0.10  # share of the mouth's half width by which its corners move inwards on jawOpen
MOUTH_CLOSE_RETURN = 0.8  # share of the jaw's motion that mouthClose takes back from the lower lip
MOUTH_CLOSE_UPPER_DROP = 0.004  # metres by which the upper lip meets the lower one on mouthClose
JAW_SLIDE_GAIN = 1.2  # skin saturates earlier in sideways motion of the jaw than in its rotation

# Eyes: shares of the eye's opening
BLINK_UPPER_LID = 0.88  # the upper lid falls on eyeBlink
BLINK_LOWER_LID = 0.10  # the lower lid rises on eyeBlink
BLINK_LID_SKIN = 0.55  # the skin above the lid follows
WIDE_UPPER_LID = 0.35  # the upper lid rises on eyeWide
WIDE_LID_SKIN = 0.25
SQUINT_LOWER_LID = 0.40  # the lower lid rises on eyeSquint
SQUINT_SKIN = 0.3  # the skin below it follows

# Brows
BROW_LID_CLEARANCE = 0.010  # metres above the eye below which brows do not move the skin: they do not drag the lids
BROW_FADE_HEIGHT = 0.006  # metres over which that fades


@dataclass
class BlendshapeRig:
    """A person's rig in head space.

    Attributes:
        neutral: (478, 3) metres.
        shapes: (52, 478, 3) offsets in metres at channel value 1.
    """

    neutral: F64
    shapes: F64


def build_rig(neutral: F64) -> BlendshapeRig:
    """Return the anatomical rig for a person's neutral mesh (478, 3)."""
    builder = _RigBuilder(neutral)
    shapes = np.zeros((len(CHANNELS), topo.LANDMARK_COUNT, 3))
    for offsets in (builder.jaw_shapes(), builder.lip_shapes(), builder.eye_shapes(), builder.upper_face_shapes()):
        for name, field in offsets.items():
            shapes[CHANNEL_INDEX[name]] = field
    return BlendshapeRig(neutral, shapes)


def _evaluate_terms(terms: Iterable[Term], weights: Mapping[str, F64 | float], suffix: str = "") -> dict[str, F64]:
    """Return the offsets (478, 3) of each channel of `terms`; `suffix` is the side in the channels' names."""
    shapes: dict[str, F64] = {}
    for term in terms:
        value: F64 | float = term.amplitude
        for name in term.weights:
            value = value * weights[name]
        field = shapes.setdefault(term.channel + suffix, np.zeros((topo.LANDMARK_COUNT, 3)))
        field[:, term.axis] = value
    return shapes


class _RigBuilder:
    """Measures and weights of one neutral mesh, and the shapes made from them."""

    def __init__(self, neutral: F64) -> None:
        self.vertices = neutral
        self.mouth_center = (neutral[topo.MOUTH_LEFT] + neutral[topo.MOUTH_RIGHT]) / 2
        self.half_mouth_width = float(np.linalg.norm(neutral[topo.MOUTH_LEFT] - neutral[topo.MOUTH_RIGHT])) / 2
        self.lower_lip_weight = self._compute_lower_lip_weight()
        self.jaw_weight = self._compute_jaw_weight()
        self.outward_sign = {"Left": 1.0, "Right": -1.0}
        self.anchors = {"Left": self._side_anchors("Left"), "Right": self._side_anchors("Right")}

    def _side_anchors(self, side: str) -> dict[str, F64]:
        """Return the points (3,) at which the regions of one side are centred."""
        vertices, eye = self.vertices, topo.EYES[side]
        brow = topo.BROW_LEFT if side == "Left" else topo.BROW_RIGHT
        outer, middle, inner = (vertices[brow[k]] for k in (0, 2, 4))
        return {
            "mouth_corner": vertices[topo.MOUTH_LEFT if side == "Left" else topo.MOUTH_RIGHT],
            "nose_wing": vertices[topo.NOSE_WING_LEFT if side == "Left" else topo.NOSE_WING_RIGHT],
            "eye": (vertices[eye.inner_corner] + vertices[eye.outer_corner]) / 2,
            "outer_brow": (outer + middle) / 2,
            "middle_brow": middle,
            "inner_brow": inner,
        }

    def soft_region(self, center: F64, radius: tuple[float, float, float]) -> F64:
        """Return (478,) weights: 1 at `center`, falling like a Gaussian with `radius` in metres per axis."""
        d = (self.vertices - center) / np.asarray(radius)
        result: F64 = np.exp(-0.5 * (d**2).sum(1))
        return result

    def mouth_region(self, name: str) -> F64:
        """Return (478,) weights of a region around the centre of the mouth."""
        half_widths, height, depth = MOUTH_REGIONS[name]
        return self.soft_region(self.mouth_center, (self.half_mouth_width * half_widths, height, depth))

    def side_region(self, side: str, name: str) -> F64:
        """Return (478,) weights of a region of one side."""
        region = SIDE_REGIONS[name]
        return self.soft_region(self.anchors[side][region.anchor] + region.offset, region.radius)

    def side_weight(self, side: str, width: float = SIDE_STEP) -> F64:
        """Return (478,) weights: 1 on one side of the actor, with a soft step `width` metres wide in the middle."""
        offset = self.outward_sign[side] * (self.vertices[:, X] - self.mouth_center[X])
        result: F64 = 1 / (1 + np.exp(-offset / (width / 2)))
        return result

    def _compute_lower_lip_weight(self) -> F64:
        """Return (478,) weights: 1 for what lower lip and chin carry, 0 for the upper lip, ½ at the mouth's corners."""
        distance = np.abs(self.vertices[:, X] - self.mouth_center[X])
        reach = np.clip(distance / (LIP_REACH * self.half_mouth_width), 0, 1)
        line = np.interp(self.vertices[:, X], *self._lip_contact_line())
        softness = LIP_SOFTNESS + LIP_SOFTNESS_AT_REACH * reach**3
        weight = 1 / (1 + np.exp(np.clip((self.vertices[:, Y] - line) / softness, -40, 40)))
        lower = topo.index_array(*topo.LIP_INNER_LOWER, *topo.LIP_MIDDLE_LOWER, *topo.LIP_OUTER_LOWER)
        upper = topo.index_array(*topo.LIP_INNER_UPPER, *topo.LIP_MIDDLE_UPPER, *topo.LIP_OUTER_UPPER)
        # Where lips touch, heights do not tell them apart: the row of the landmark decides.
        bend = 0.5 * np.clip(distance / self.half_mouth_width, 0, 1) ** 4
        weight[lower], weight[upper] = 1 - bend[lower], bend[upper]
        weight[topo.index_array(*topo.LIP_CORNER_LEFT, *topo.LIP_CORNER_RIGHT)] = 0.5
        return np.asarray(weight)

    def _lip_contact_line(self) -> tuple[F64, F64]:
        """Return x and y of the line where the lips meet, from the right corner to the left."""
        corners = topo.MOUTH_INNER_RIGHT, topo.MOUTH_INNER_LEFT
        upper = self.vertices[topo.index_array(corners[0], *topo.LIP_INNER_UPPER, corners[1])]
        lower = self.vertices[topo.index_array(corners[0], *topo.LIP_INNER_LOWER, corners[1])]
        middle = (upper + lower) / 2
        order = np.argsort(middle[:, X])
        return middle[order, X], middle[order, Y]

    def _compute_jaw_weight(self) -> F64:
        """Return (478,) share of the jaw's rotation that each vertex follows."""
        hinge_y = JAW_HINGE[Y]
        height = np.clip((hinge_y - self.vertices[:, Y]) / (hinge_y - self.vertices[topo.CHIN, Y]), 0, 1)
        weight = self.lower_lip_weight * height**JAW_FALLOFF
        depth = np.clip((self.vertices[:, Z] - JAW_HINGE[Z]) / JAW_DEPTH_FADE, 0, 1)
        cheek = np.clip((self.mouth_center[Y] + JAW_CHEEK_MARGIN - self.vertices[:, Y]) / JAW_CHEEK_FADE, 0, 1)
        result = weight * depth * np.maximum(cheek, self.lower_lip_weight > PURE_LOWER_LIP)
        # The lower lip follows the jaw fully, the upper lip not at all.
        lips = topo.index_array(*topo.LIPS)
        result[lips] = self.lower_lip_weight[lips]
        return np.asarray(np.clip(result, 0, 1))

    def jaw_shapes(self) -> dict[str, F64]:
        """Return jawOpen and mouthClose, which rotate about the hinge."""
        weight = self.jaw_weight[:, None]
        hinge = np.asarray(JAW_HINGE)
        rotation = matrix_from_rotation_vector(np.array([JAW_OPEN_ANGLE, 0, 0]))
        swing = (self.vertices - hinge) @ rotation.T + hinge - self.vertices
        near_lips = self.mouth_region("near_lips")
        opened = swing * weight
        opened[:, X] -= JAW_CORNER_PULL * (self.vertices[:, X] - self.mouth_center[X]) * near_lips
        closed = -swing * weight * near_lips[:, None] * MOUTH_CLOSE_RETURN
        closed[:, Y] -= (1 - self.lower_lip_weight) * near_lips * MOUTH_CLOSE_UPPER_DROP
        return {"jawOpen": opened, "mouthClose": closed}

    def lip_shapes(self) -> dict[str, F64]:
        """Return the shapes of lips and of the sliding jaw."""
        mouth_x = (self.vertices[:, X] - self.mouth_center[X]) / self.half_mouth_width
        height = (self.vertices[:, Y] - self.mouth_center[Y]) / LIP_BAND_HEIGHT
        band = np.exp(-0.5 * height**2) * (np.abs(mouth_x) < LIP_BAND_REACH)
        lower, upper = self.lower_lip_weight, 1 - self.lower_lip_weight
        chin = self.soft_region(self.vertices[topo.CHIN] + CHIN_OFFSET, CHIN_RADIUS)
        weights: dict[str, F64 | float] = {
            "jaw": self.jaw_weight,
            "jaw_slide": self.lower_lip_weight * np.clip(self.jaw_weight * JAW_SLIDE_GAIN, 0, 1),
            "half_width": self.half_mouth_width,
            "mouth_x": mouth_x,
            "mouth": self.mouth_region("mouth"),
            "middle": np.exp(-0.5 * (mouth_x / LIP_MIDDLE_WIDTH) ** 2),
            "band": band,
            "lower": lower,
            "upper": upper,
            "lip_sign": upper - lower,
            "chin": np.maximum(chin, self.mouth_region("lower_mouth")),
        }
        shapes = _evaluate_terms(CENTRAL_TERMS, weights)
        for side, sign in self.outward_sign.items():
            is_side = self.side_weight(side)
            side_lip = np.exp(-0.5 * ((np.abs(mouth_x) - LIP_SIDE_CENTER) / LIP_SIDE_WIDTH) ** 2)
            side_weights: dict[str, F64 | float] = {
                "outward": sign,
                "mouth_corner": self.side_region(side, "mouth_corner") * is_side,
                "half_lip": band * is_side * side_lip,
            }
            shapes |= _evaluate_terms(MOUTH_SIDE_TERMS, weights | side_weights, side)
        return shapes

    def eye_shapes(self) -> dict[str, F64]:
        """Return the shapes of lids and gaze."""
        shapes: dict[str, F64] = {}
        for side, eye in topo.EYES.items():
            upper, lower, iris = (topo.index_array(*ids) for ids in (eye.upper_lid, eye.lower_lid, eye.iris))
            rims = np.r_[upper, lower, iris, [eye.inner_corner, eye.outer_corner]]
            opening = float((self.vertices[upper, Y] - self.vertices[lower, Y]).max())
            drop = self.vertices[lower] - self.vertices[upper]
            lid_skin, under_eye = self.side_region(side, "lid_skin"), self.side_region(side, "under_eye")
            lid_skin[rims] = under_eye[rims] = 0
            blink, wide, squint = (np.zeros((topo.LANDMARK_COUNT, 3)) for _ in range(3))
            blink[upper] = drop * BLINK_UPPER_LID
            blink[lower] = -drop * BLINK_LOWER_LID
            blink[:, Y] -= lid_skin * opening * BLINK_LID_SKIN
            wide[upper, Y] = WIDE_UPPER_LID * opening * (drop[:, Y] / drop[:, Y].min())
            wide[:, Y] += lid_skin * WIDE_LID_SKIN * opening
            squint[lower, Y] = SQUINT_LOWER_LID * opening
            squint[:, Y] += under_eye * SQUINT_SKIN * opening
            shapes |= {f"eyeBlink{side}": blink, f"eyeWide{side}": wide, f"eyeSquint{side}": squint}
            shapes |= self._gaze_shapes(side, upper, lower, iris, opening)
        return shapes

    def _gaze_shapes(self, side: str, upper: I64, lower: I64, iris: I64, opening: float) -> dict[str, F64]:
        """Return the shapes of one eye's gaze; lids follow the iris."""
        shapes = {}
        for channel, gaze in GAZE_SHAPES.items():
            field = np.zeros((topo.LANDMARK_COUNT, 3))
            field[iris, X] += self.outward_sign[side] * gaze.iris_outward
            field[iris, Y] = gaze.iris_up
            field[upper, Y] = gaze.upper_lid * opening
            field[lower, Y] = gaze.lower_lid * opening
            shapes[channel + side] = field
        return shapes

    def upper_face_shapes(self) -> dict[str, F64]:
        """Return the shapes of brows, cheeks and nose; they leave the lips alone."""
        eye_y = self.vertices[topo.EYE_OUTER_LEFT, Y]
        above_eye = np.clip((self.vertices[:, Y] - eye_y - BROW_LID_CLEARANCE) / BROW_FADE_HEIGHT, 0, 1)
        shapes: dict[str, F64] = {}
        inner_up = np.zeros((topo.LANDMARK_COUNT, 3))
        for side, sign in self.outward_sign.items():
            names = ("inner_brow", "outer_brow", "brow_middle", "brow_head", "cheek", "nose_wing")
            weights: dict[str, F64 | float] = {name: self.side_region(side, name) for name in names}
            weights["brow"] = np.maximum(weights["brow_middle"], weights["brow_head"])
            weights |= {"outward": sign, "above_eye": above_eye}
            shapes |= _evaluate_terms(UPPER_FACE_TERMS, weights, side)
            inner_up[:, Y] += BROW_INNER_UP_RISE * weights["inner_brow"] * self.side_weight(side, BROW_SIDE_STEP)
        inner_up[:, Y] *= above_eye
        shapes["browInnerUp"] = inner_up
        for field in shapes.values():
            field[topo.index_array(*topo.LIPS)] = 0
        return shapes
