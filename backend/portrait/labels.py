"""The part of the person that a Gaussian belongs to. Each label is a matte channel of the rendered frame."""

from __future__ import annotations

FACE = 0
HAIR = 1
MOUTH = 2  # its interior
TORSO = 3
LABEL_NAMES: tuple[str, ...] = ("face", "hair", "mouth", "torso")
