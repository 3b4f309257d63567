"""The footage against the rendered actor: onion, wipe, difference. Knows nothing of Blender's data.

Pictures are (H, W, 4) uint8, display sRGB with straight alpha, top row first; what is made of them is too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
OFF, ONION, WIPE, DIFFERENCE = "OFF", "ONION", "WIPE", "DIFFERENCE"


def compare_images(mode: str, amount: float, actor: Pixels, footage: Pixels) -> Pixels:
    """One picture of both.

    Args:
        mode: ONION, WIPE or DIFFERENCE.
        amount: the footage's opacity 0–1; the share 0–1 of the width that shows the footage, from the left; or what the
            difference is multiplied with.
        actor: the rendered actor. footage: alpha is 0 where it shows nothing; for DIFFERENCE the person over black.
    """
    return {ONION: _onion, WIPE: _wipe, DIFFERENCE: _difference}[mode](amount, actor, footage)


def _onion(opacity: float, actor: Pixels, footage: Pixels) -> Pixels:
    over = opacity / 255 * footage[..., 3:].astype(np.float32)
    under = (1 - over) / 255 * actor[..., 3:]
    alpha = over + under
    rgb = (over * footage[..., :3] + under * actor[..., :3]) / np.maximum(alpha, 1e-6)
    return np.rint(np.concatenate([rgb, 255 * alpha], axis=-1)).astype(np.uint8)


def _wipe(position: float, actor: Pixels, footage: Pixels) -> Pixels:
    width = actor.shape[1]
    edge = round(position * width)
    both = np.concatenate([footage[:, :edge], actor[:, edge:]], axis=1)
    if 0 < edge < width:
        both[:, edge] = 255  # a white line between them
    return both


def _difference(gain: float, actor: Pixels, footage: Pixels) -> Pixels:
    seen = actor[..., :3] * (actor[..., 3:] / np.float32(255))
    rgb = np.minimum(gain * np.abs(seen - footage[..., :3]), 255)
    return np.concatenate([np.rint(rgb).astype(np.uint8), footage[..., 3:]], axis=-1)
