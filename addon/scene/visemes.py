"""Mouth shapes of speech sounds (visemes) as values of ARKit's channels. A channel that a shape omits is 0."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ..contract import channels
from ..translations import n_

ChannelValues = dict[str, float]


def _both_sides(**values: float) -> ChannelValues:
    """Return the same values for the left and the right channel of each name."""
    return {f"{name}{side}": value for name, value in values.items() for side in ("Left", "Right")}


# Name → example words, and the shape.
VISEMES: Final[Mapping[str, tuple[str, ChannelValues]]] = MappingProxyType(
    {
        "A": ("father, cat", {"jawOpen": 0.55} | _both_sides(mouthLowerDown=0.25, mouthUpperUp=0.1)),
        "E": (
            "bed, see",
            {"jawOpen": 0.22} | _both_sides(mouthStretch=0.3, mouthSmile=0.2, mouthLowerDown=0.2, mouthUpperUp=0.1),
        ),
        "O": ("law, go", {"jawOpen": 0.35, "mouthFunnel": 0.6, "mouthPucker": 0.15}),
        "U": ("you, book", {"jawOpen": 0.12, "mouthPucker": 0.65, "mouthFunnel": 0.3}),
        "MBP": (
            "m, b, p: lips together",
            {"mouthRollLower": 0.2, "mouthRollUpper": 0.15} | _both_sides(mouthPress=0.35),
        ),
        "FV": (
            "f, v: lower lip at the teeth",
            {"jawOpen": 0.08, "mouthRollLower": 0.5} | _both_sides(mouthUpperUp=0.25),
        ),
        "L": ("l, n, d, t", {"jawOpen": 0.2} | _both_sides(mouthLowerDown=0.2, mouthUpperUp=0.1)),
        "W": ("w, wh", {"jawOpen": 0.05, "mouthPucker": 0.85, "mouthFunnel": 0.1}),
        "S": (
            "s, z",
            {"jawOpen": 0.05} | _both_sides(mouthStretch=0.25, mouthSmile=0.12, mouthLowerDown=0.25, mouthUpperUp=0.15),
        ),
        "CH": ("ch, sh, j", {"jawOpen": 0.1, "mouthFunnel": 0.55, "mouthPucker": 0.2, "mouthShrugUpper": 0.15}),
        "REST": ("the mouth at rest", {}),
    }
)


def viseme_label(viseme: str) -> str:
    """Return the label of its button."""
    return n_("Rest") if viseme == "REST" else viseme


def viseme_channels(viseme: str, strength: float) -> ChannelValues:
    """Return a value for every oral channel."""
    shape = VISEMES[viseme][1]
    return {name: strength * shape.get(name, 0.0) for name in channels.ORAL_CHANNELS}
