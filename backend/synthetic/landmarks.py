"""Landmark loops and groups of MediaPipe's face mesh for the synthetic head; left is the actor's left."""

from __future__ import annotations

from ..tracking.detection.topology import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_INNER_LEFT,
    EYE_INNER_RIGHT,
    EYE_OUTER_LEFT,
    EYE_OUTER_RIGHT,
    LID_LOWER_LEFT,
    LID_LOWER_RIGHT,
    LID_UPPER_LEFT,
    LID_UPPER_RIGHT,
    LIP_INNER_LOWER,
    LIP_INNER_UPPER,
    LIP_OUTER_LOWER,
    LIP_OUTER_UPPER,
    MOUTH_LEFT,
    MOUTH_RIGHT,
)

Opening = tuple[tuple[int, ...], tuple[int, ...]]

# Each opening is its upper and its lower edge, both from the actor's right corner to the left one.
EYE_RIGHT: Opening = (
    (EYE_OUTER_RIGHT, *LID_UPPER_RIGHT, EYE_INNER_RIGHT),
    (EYE_OUTER_RIGHT, *LID_LOWER_RIGHT, EYE_INNER_RIGHT),
)
EYE_LEFT: Opening = (
    (EYE_INNER_LEFT, *reversed(LID_UPPER_LEFT), EYE_OUTER_LEFT),
    (EYE_INNER_LEFT, *reversed(LID_LOWER_LEFT), EYE_OUTER_LEFT),
)
LIPS_INNER: Opening = ((78, *LIP_INNER_UPPER, 308), (78, *LIP_INNER_LOWER, 308))
LIPS_OUTER: Opening = ((MOUTH_RIGHT, *LIP_OUTER_UPPER, MOUTH_LEFT), (MOUTH_RIGHT, *LIP_OUTER_LOWER, MOUTH_LEFT))
EYES = (EYE_RIGHT, EYE_LEFT)
LIP_LOOPS = (LIPS_OUTER, LIPS_INNER)
UPPER_LIP_MIDDLE, LOWER_LIP_MIDDLE = LIPS_INNER[0][5], LIPS_INNER[1][5]

# Per eye (right, left), from the actor's right to the left: the fold above the upper lid, the bag below the lower lid.
LID_FOLDS = ((247, 30, 29, 27, 28, 56, 190), (414, 286, 258, 257, 259, 260, 467))
LID_BAGS = ((25, 110, 24, 23, 22, 26, 112), (341, 256, 252, 253, 254, 339, 255))
# Per brow (right, left) its upper and its lower row, from the inner end to the outer one.
BROW_ROWS = tuple((brow[4::-1], brow[:4:-1]) for brow in (BROW_RIGHT, BROW_LEFT))

NOSE = (168, 6, 197, 195, 5, 4, 1, 2, 48, 278, 115, 344, 220, 440)
FOREHEAD = (10, 151, 9, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389)
HAIRLINE = (10, 109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389)
FACE_SIDES = (127, 234, 93, 356, 454, 323)
BROWS = BROW_RIGHT + BROW_LEFT
CHIN = (152, 175, 148, 377, 176, 400, 136, 365, 172, 397, 58, 288)
CHEEKS = (116, 123, 50, 118, 345, 352, 280, 347, 205, 425)


def closed_loop(opening: Opening) -> list[int]:
    """Return an opening as one loop: the upper edge to the left, then the lower edge back; each corner once."""
    upper, lower = opening
    return [*upper, *lower[-2:0:-1]]


EYE_LOOPS = tuple(closed_loop(EYE_RIGHT) + closed_loop(EYE_LEFT))
UPPER_FACE = NOSE + FOREHEAD + FACE_SIDES + EYE_LOOPS + BROWS
