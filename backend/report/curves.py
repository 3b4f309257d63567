"""The numbers behind the page's curves, small enough to stand in it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract.actor_folder import ActorFolder
from ..contract.channels import GROUPS, INDEX, ORAL
from ..media.audio_io import load_sound
from ..tracking.channel_report import MISSING
from .channel_status import verdicts
from .tracked import Tracked

WAVE_RATE = 16000
WAVE_STEPS = 6000  # at most; a laptop's screen has 3000 columns


def curves(folder: ActorFolder, tracked: Tracked, held_out: int) -> dict[str, Any]:
    """What the page's script draws.

    Args:
        held_out: the first frame that training does not see.

    Returns:
        "fps", "count", "held_out"; "wave": loudness 0–100 over the clip's length, [] without sound; "angles": degrees
        of head and torso by name; "channels": [{"name", "group", "oral", "state", "values" 0–1000}], those that are
        not measurable without values.
    """
    angles = {"head": tracked.head_angles(), "torso": tracked.torso_angles()}
    known = verdicts(folder.info)
    channels = []
    for group, names in GROUPS.items():
        for name in names:
            state = known[name].state
            values = np.rint(1000 * np.clip(tracked.channels[:, INDEX[name]], 0, 1)).astype(int).tolist()
            entry = {"name": name, "group": group, "oral": name in ORAL, "state": state}
            channels.append(entry if state == MISSING else {**entry, "values": values})
    return {
        "fps": folder.info.fps,
        "count": len(tracked),
        "held_out": held_out,
        "wave": _wave(folder, len(tracked)),
        "angles": {
            part: {name: np.round(column, 2).tolist() for name, column in zip(_AXES, table.T, strict=True)}
            for part, table in angles.items()
        },
        "channels": channels,
    }


_AXES = ("yaw", "pitch", "roll")


def as_script(data: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _wave(folder: ActorFolder, count: int) -> list[int]:
    """Peaks of the sound, 0–100, evenly over the `count` frames."""
    if not folder.info.has_audio:
        return []
    samples: NDArray[np.float32] = np.abs(load_sound(folder.file("audio.wav"), WAVE_RATE))
    length = max(1, round(count / folder.info.fps * WAVE_RATE))
    padded = np.zeros(length, np.float32)
    padded[: len(samples)] = samples[:length]
    steps = min(WAVE_STEPS, 4 * count, length)
    starts = np.linspace(0, length, steps, endpoint=False).astype(int)
    peaks = np.maximum.reduceat(padded, starts)
    loudest = float(np.percentile(peaks, 99.5)) or 1.0
    loud: list[int] = np.rint(100 * np.clip(peaks / loudest, 0, 1)).astype(int).tolist()
    return loud
