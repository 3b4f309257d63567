"""The data of the page's curves, small enough to be embedded in it."""

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
MAX_WAVEFORM_STEPS = 6000  # more makes the page larger; a laptop's screen has 3000 columns
WAVEFORM_STEPS_PER_FRAME = 4
PEAK_PERCENTILE = 99.5  # of the waveform, drawn at full height; higher lets a single click flatten the rest
ANGLE_NAMES = ("yaw", "pitch", "roll")


def build_curves(folder: ActorFolder, tracking: TrackingData, first_held_out_frame: int) -> dict[str, Any]:
    """Return the data that the page's script draws.

    Args:
        folder: the actor.
        tracking: its tracking.
        first_held_out_frame: the first frame that is not used for training.

    Returns:
        "fps", "count", "held_out"; "wave": loudness 0–100 over the clip's length, [] without audio; "angles": degrees
        of head and torso by name; "channels": [{"name", "group", "oral", "state", "values" 0–1000}], without values if
        not measurable.
    """
    angles = {"head": tracking.head_angles(), "torso": tracking.torso_angles()}
    statuses = channel_statuses(folder.info)
    channels = []
    for group, names in CHANNEL_GROUPS.items():
        for name in names:
            state = statuses[name].state
            values = np.rint(1000 * np.clip(tracking.channels[:, CHANNEL_INDEX[name]], 0, 1)).astype(int).tolist()
            entry = {"name": name, "group": group, "oral": name in ORAL_CHANNELS, "state": state}
            channels.append(entry if state == NOT_MEASURABLE else {**entry, "values": values})
    return {
        "fps": folder.info.fps,
        "count": len(tracking),
        "held_out": first_held_out_frame,
        "wave": _build_waveform(folder, len(tracking)),
        "angles": {
            part: {name: np.round(column, 2).tolist() for name, column in zip(ANGLE_NAMES, table.T, strict=True)}
            for part, table in angles.items()
        },
        "channels": channels,
    }


def to_script_json(data: Any) -> str:
    """Return JSON for use inside a script element: nothing in it can end the element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _build_waveform(folder: ActorFolder, frame_count: int) -> list[int]:
    """Return the audio's peaks, 0–100, evenly over the frames."""
    if not folder.info.has_audio:
        return []
    samples: F32 = np.abs(load_audio(folder.file_path("audio.wav"), WAVEFORM_SAMPLE_RATE))
    length = max(1, round(frame_count / folder.info.fps * WAVEFORM_SAMPLE_RATE))
    padded = np.zeros(length, np.float32)
    padded[: len(samples)] = samples[:length]
    steps = min(MAX_WAVEFORM_STEPS, WAVEFORM_STEPS_PER_FRAME * frame_count, length)
    starts = np.linspace(0, length, steps, endpoint=False).astype(int)
    peaks = np.maximum.reduceat(padded, starts)
    full_scale = float(np.percentile(peaks, PEAK_PERCENTILE)) or 1.0
    waveform: list[int] = np.rint(100 * np.clip(peaks / full_scale, 0, 1)).astype(int).tolist()
    return waveform
