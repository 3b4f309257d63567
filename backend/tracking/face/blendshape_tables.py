"""Tables of the anatomical blend shapes: regions, and offsets as sums of amplitude × weights.

Lengths are metres of head space for an outer eye distance of 0.09 m, offsets are those at channel value 1. Axes: x to
the actor's left, y up, z front. Amplitudes of brows and of a lowered gaze follow what the landmark network shows; the
others are anatomical estimates. The rig is adapted to each person afterwards: what remains of the tables is where a
shape acts, and how much motion brings a channel to 1.
"""

from __future__ import annotations

from typing import NamedTuple

X, Y, Z = 0, 1, 2
Vector = tuple[float, float, float]

JAW_OPEN_DEGREES = 18.0  # rotation of the jaw at jawOpen = 1
JAW_HINGE: Vector = (0.0, -0.02, -0.075)  # the condyles of the jaw


class SideRegion(NamedTuple):
    """A soft region on either side of the face.

    Attributes:
        anchor: name of the point at which it is centred.
        offset: from the anchor to the centre.
        radius: of the Gaussian, per axis.
    """

    anchor: str
    offset: Vector
    radius: Vector


class Term(NamedTuple):
    """A part of a blend shape: amplitude × weights, added to one axis.

    Attributes:
        channel: ARKit name; in tables of either side without the side.
        axis: X, Y or Z.
        amplitude: metres; with the weight `half_width`, shares of the mouth's half width.
        weights: names of the weights, multiplied from left to right.
    """

    channel: str
    axis: int
    amplitude: float
    weights: tuple[str, ...]


# Regions around the centre of the mouth: radius in x in half widths of the mouth, in y and z in metres.
MOUTH_REGIONS: dict[str, Vector] = {
    "mouth": (1.0, 0.016, 0.035),
    "near_lips": (1.1, 0.014, 0.03),
    "lower_mouth": (1.0, 0.012, 0.03),
}  # fmt: skip
CHIN_OFFSET: Vector = (0.0, 0.025, 0.0)  # from the landmark of the chin to the centre of the chin's pad
CHIN_RADIUS: Vector = (0.02, 0.018, 0.03)

SIDE_REGIONS: dict[str, SideRegion] = {
    "mouth_corner": SideRegion("mouth_corner", (0, 0, 0),      (0.020, 0.018, 0.03)),
    "inner_brow":   SideRegion("inner_brow",   (0, 0, 0),      (0.018, 0.014, 0.03)),
    "outer_brow":   SideRegion("outer_brow",   (0, 0, 0),      (0.018, 0.014, 0.03)),
    "brow_middle":  SideRegion("middle_brow",  (0, 0, 0),      (0.022, 0.011, 0.03)),
    "brow_head":    SideRegion("inner_brow",   (0, 0, 0),      (0.014, 0.011, 0.03)),
    "lid_skin":     SideRegion("eye",          (0, 0.010, 0),  (0.018, 0.006, 0.03)),
    "under_eye":    SideRegion("eye",          (0, -0.013, 0), (0.018, 0.007, 0.03)),
    "cheek":        SideRegion("eye",          (0, -0.026, 0), (0.018, 0.012, 0.03)),
    "nose_wing":    SideRegion("nose_wing",    (0, 0.004, 0),  (0.010, 0.012, 0.02)),
}  # fmt: skip

# Weights: `jaw` follows the jaw's rotation, `jaw_slide` its sideways motion; `lower` and `upper` belong to the lower
# and the upper lip, `lip_sign` is upper − lower; `mouth_x` is the distance from the middle in half widths of the mouth,
# `half_width` that half width in metres; `middle` fades to the corners, `band` off the line of the lips.
CENTRAL_TERMS = (
    Term("jawForward",      Z,  0.008,  ("jaw",)),
    Term("jawLeft",         X,  0.01,   ("jaw_slide",)),
    Term("jawRight",        X, -0.01,   ("jaw_slide",)),
    Term("mouthFunnel",     X, -0.30,   ("half_width", "mouth_x", "mouth")),
    Term("mouthFunnel",     Y,  0.0045, ("lip_sign", "mouth", "middle")),
    Term("mouthFunnel",     Z,  0.006,  ("mouth", "middle")),
    Term("mouthPucker",     X, -0.40,   ("half_width", "mouth_x", "mouth")),
    Term("mouthPucker",     Y, -0.0010, ("lip_sign", "mouth")),
    Term("mouthPucker",     Z,  0.0075, ("mouth", "middle")),
    Term("mouthLeft",       X,  0.011,  ("mouth",)),
    Term("mouthRight",      X, -0.011,  ("mouth",)),
    Term("mouthRollLower",  Y,  0.004,  ("lower", "band", "middle")),
    Term("mouthRollLower",  Z, -0.005,  ("lower", "band", "middle")),
    Term("mouthRollUpper",  Y, -0.004,  ("upper", "band", "middle")),
    Term("mouthRollUpper",  Z, -0.005,  ("upper", "band", "middle")),
    Term("mouthShrugLower", Y,  0.006,  ("lower", "chin")),
    Term("mouthShrugLower", Z,  0.003,  ("lower", "mouth")),
    Term("mouthShrugUpper", Y,  0.0045, ("upper", "mouth")),
    Term("mouthShrugUpper", Z,  0.002,  ("upper", "mouth")),
)  # fmt: skip

# On either side of the mouth; `outward` is +1 on the left and −1 on the right, `half_lip` the lips of one side.
MOUTH_SIDE_TERMS = (
    Term("mouthSmile",     X,  0.0072, ("outward", "mouth_corner")),
    Term("mouthSmile",     Y,  0.0099, ("mouth_corner",)),
    Term("mouthSmile",     Z, -0.0045, ("mouth_corner",)),
    Term("mouthFrown",     X, -0.001,  ("outward", "mouth_corner")),
    Term("mouthFrown",     Y, -0.009,  ("mouth_corner",)),
    Term("mouthFrown",     Z, -0.001,  ("mouth_corner",)),
    Term("mouthDimple",    X,  0.006,  ("outward", "mouth_corner")),
    Term("mouthDimple",    Y,  0.001,  ("mouth_corner",)),
    Term("mouthDimple",    Z, -0.005,  ("mouth_corner",)),
    Term("mouthStretch",   X,  0.009,  ("outward", "mouth_corner")),
    Term("mouthStretch",   Y, -0.004,  ("mouth_corner",)),
    Term("mouthStretch",   Z, -0.004,  ("mouth_corner",)),
    Term("mouthPress",     Y, -0.0022, ("lip_sign", "half_lip")),
    Term("mouthPress",     Z, -0.001,  ("half_lip",)),
    Term("mouthLowerDown", Y, -0.008,  ("lower", "half_lip")),
    Term("mouthLowerDown", Z, -0.001,  ("lower", "half_lip")),
    Term("mouthUpperUp",   Y,  0.007,  ("upper", "half_lip")),
    Term("mouthUpperUp",   Z,  0.001,  ("upper", "half_lip")),
)  # fmt: skip

# On either side of the upper face, where they leave the lips alone; `above_eye` fades out above the lids.
UPPER_FACE_TERMS = (
    Term("browOuterUp", Y,  0.0065, ("outer_brow", "above_eye")),
    Term("browDown",    X, -0.0025, ("outward", "inner_brow")),
    Term("browDown",    Y, -0.0065, ("brow", "above_eye")),
    Term("browDown",    Z,  0.001,  ("brow",)),
    Term("cheekSquint", Y,  0.006,  ("cheek",)),
    Term("cheekSquint", Z,  0.001,  ("cheek",)),
    Term("noseSneer",   Y,  0.006,  ("nose_wing",)),
)  # fmt: skip
BROW_INNER_UP_RISE = 0.0048  # of both inner brows at browInnerUp = 1


class GazeShape(NamedTuple):
    """How one direction of the gaze moves an eye.

    Attributes:
        iris_outward: metres towards the temple.
        iris_up: metres.
        upper_lid: rise in openings of the eye.
        lower_lid: rise in openings of the eye.
    """

    iris_outward: float
    iris_up: float
    upper_lid: float
    lower_lid: float


# The iris slides over an eyeball of 12 mm radius: 30° sideways, 22° up and 19° down.
GAZE_SHAPES = {
    "eyeLookDown": GazeShape( 0.0,   -0.0038, -0.45, -0.12),
    "eyeLookUp":   GazeShape( 0.0,    0.0045,  0.15,  0.0),
    "eyeLookIn":   GazeShape(-0.006,  0.0,     0.0,   0.0),
    "eyeLookOut":  GazeShape( 0.006,  0.0,     0.0,   0.0),
}  # fmt: skip
