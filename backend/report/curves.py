"""The numbers behind the page's curves, small enough to stand in it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F32
from ..contract.channels import CHANNEL_GROUPS, CHANNEL_INDEX, ORAL_CHANNELS
from ..media.audio_io import load_audio
from ..tracking.channel_report import NOT_MEASURABLE
from .channel_status import channel_statuses
from .tracked import TrackingData

WAVEFORM_SAMPLE_RATE = 16000
MAX_WAVEFORM_STEPS = 6000  # at most; a laptop's screen has 3000 columns


def build_curves(folder: ActorFolder, tracking: TrackingData, first_held_out_frame: int) -> dict[str, Any]:
    """What the page's script draws.

    Args:
        held_out: the first frame that training does not see.

    Returns:
        "fps", "count", "held_out"; "wave": loudness 0–100 over the clip's length, [] without sound; "angles": degrees
        of head and torso by name; "channels": [{"name", "group", "oral", "state", "values" 0–1000}], those that are
        not measurable without values.
    """
    angles = {"head": tracking.head_angles(), "torso": tracking.torso_angles()}
    known = channel_statuses(folder.info)
    channels = []
    for group, names in CHANNEL_GROUPS.items():
        for name in names:
            state = known[name].state
            values = np.rint(1000 * np.clip(tracking.channels[:, CHANNEL_INDEX[name]], 0, 1)).astype(int).tolist()
            entry = {"name": name, "group": group, "oral": name in ORAL_CHANNELS, "state": state}
            channels.append(entry if state == NOT_MEASURABLE else {**entry, "values": values})
    return {
        "fps": folder.info.fps,
        "count": len(tracking),
        "held_out": first_held_out_frame,
        "wave": _build_waveform(folder, len(tracking)),
        "angles": {
            part: {name: np.round(column, 2).tolist() for name, column in zip(_ANGLE_NAMES, table.T, strict=True)}
            for part, table in angles.items()
        },
        "channels": channels,
    }


_ANGLE_NAMES = ("yaw", "pitch", "roll")


def to_script_json(data: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _build_waveform(folder: ActorFolder, frame_count: int) -> list[int]:
    """Peaks of the sound, 0–100, evenly over the `count` frames."""
    if not folder.info.has_audio:
        return []
    samples: F32 = np.abs(load_audio(folder.file_path("audio.wav"), WAVEFORM_SAMPLE_RATE))
    length = max(1, round(frame_count / folder.info.fps * WAVEFORM_SAMPLE_RATE))
    padded = np.zeros(length, np.float32)
    padded[: len(samples)] = samples[:length]
    steps = min(MAX_WAVEFORM_STEPS, 4 * frame_count, length)
    starts = np.linspace(0, length, steps, endpoint=False).astype(int)
    peaks = np.maximum.reduceat(padded, starts)
    loudest = float(np.percentile(peaks, 99.5)) or 1.0
    loud: list[int] = np.rint(100 * np.clip(peaks / loudest, 0, 1)).astype(int).tolist()
    return loud
