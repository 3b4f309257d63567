"""What a Gaussian belongs to. Each label is a matte channel of the rendered frame."""

from __future__ import annotations

FACE, HAIR, MOUTH, TORSO = 0, 1, 2, 3
LABEL_NAMES: tuple[str, ...] = ("face", "hair", "mouth", "torso")
