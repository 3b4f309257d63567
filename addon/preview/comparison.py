"""Comparison of the footage with the rendered actor: onion, wipe, difference. Independent of Blender's data.

All images are (H, W, 4) uint8, display sRGB with straight alpha, top row first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
# Modes, the values of the scene's property `compare`.
OFF = "OFF"
ONION = "ONION"
WIPE = "WIPE"
DIFFERENCE = "DIFFERENCE"
MIN_ALPHA = 1e-6  # keeps the division finite where both images are transparent


def compare_images(mode: str, amount: float, actor: Pixels, footage: Pixels) -> Pixels:
    """Return one image of both.

    Args:
        mode: ONION, WIPE or DIFFERENCE.
        amount: for ONION the footage's opacity, 0–1; for WIPE the share of the width that shows the footage, from the
            left, 0–1; for DIFFERENCE its gain.
        actor: the rendered actor.
        footage: the footage, transparent outside its crop; for DIFFERENCE the person over black.

    Returns:
        the comparison.
    """
    return {ONION: _onion, WIPE: _wipe, DIFFERENCE: _difference}[mode](amount, actor, footage)


def _onion(opacity: float, actor: Pixels, footage: Pixels) -> Pixels:
    over = opacity / 255 * footage[..., 3:].astype(np.float32)
    under = (1 - over) / 255 * actor[..., 3:]
    alpha = over + under
    rgb = (over * footage[..., :3] + under * actor[..., :3]) / np.maximum(alpha, MIN_ALPHA)
    return np.rint(np.concatenate([rgb, 255 * alpha], axis=-1)).astype(np.uint8)


def _wipe(position: float, actor: Pixels, footage: Pixels) -> Pixels:
    width = actor.shape[1]
    edge = round(position * width)
    image = np.concatenate([footage[:, :edge], actor[:, edge:]], axis=1)
    if 0 < edge < width:
        image[:, edge] = 255  # a white line between them
    return image


def _difference(gain: float, actor: Pixels, footage: Pixels) -> Pixels:
    visible = actor[..., :3] * (actor[..., 3:] / np.float32(255))
    rgb = np.minimum(gain * np.abs(visible - footage[..., :3]), 255)
    return np.concatenate([np.rint(rgb).astype(np.uint8), footage[..., 3:]], axis=-1)
