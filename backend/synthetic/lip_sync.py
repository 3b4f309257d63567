"""The synthetic actor's mouth for a timeline of phones."""

from __future__ import annotations

import numpy as np

from ..contract.arrays import F64
from ..contract.channels import CHANNEL_INDEX, CHANNELS
from .phones import PHONES, SILENCE, TimedPhone
from .smoothstep import smoothstep

# Seconds over which a phone shapes the mouth beyond its own time: a fixed part, and a share of its length.
REACH_SECONDS = 0.045
REACH_SHARE = 0.25
MAX_REACH_LENGTH = 0.2  # seconds; longer phones reach no further
CORE_SHARE = 0.28  # of a phone's length to either side of its middle, where it acts fully
SILENCE_LEAD_SECONDS = 0.10  # after which silence acts fully
SILENCE_TAIL_SECONDS = 0.08  # before its end until which silence acts fully
CLOSURE_DOMINANCE = 0.15  # of lip closures on the open mouth's shape; they close it afterwards
STRESS_FORCE = 1.15  # by which a stressed phone shapes the mouth more

# A lip closure is held for half of the phone's length less CLOSURE_EASE, but at least one frame at 25 frames a second.
MIN_HOLD_SECONDS = 0.025
CLOSURE_EASE_SECONDS = 0.015
CLOSING_SECONDS = 0.06
MIN_CLOSED_SILENCE = 0.12  # seconds; in shorter pauses the mouth stays open
CLOSED_JAW_SHARE = 0.75  # of the jaw's opening that closed lips take back
PRESS = 0.25  # of mouthPress in a closure
PRESS_JAW = 0.05  # jawOpen from which the lips are pressed fully

# Channels that open the lips: a closure takes them back.
OPENING_CHANNELS = (
    "mouthFunnel", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "tongueOut",
)  # fmt: skip


def lip_channels(phones: list[TimedPhone], time: F64) -> F64:
    """(T, 52) channels of the mouth at seconds (T,) of a timeline.

    Neighbouring phones share the mouth by how near and how dominant they are: M. M. Cohen and D. W. Massaro, "Modeling
    Coarticulation in Synthetic Visual Speech", 1993. Lip closures then shut whatever is open.
    """
    total = np.zeros((len(time), len(CHANNELS)))
    weight = np.full(len(time), 1e-6)
    closed = np.zeros(len(time))
    for phone in phones:
        sound = PHONES[phone.name]
        dominance = _dominance_curve(phone, time)
        force = STRESS_FORCE if phone.is_stressed else 1.0
        for name, value in sound.mouth:
            total[:, CHANNEL_INDEX[name]] += dominance * value * force
        weight += dominance
        if sound.closure == "lips":
            hold = max(MIN_HOLD_SECONDS, 0.5 * (phone.end - phone.start) - CLOSURE_EASE_SECONDS)
            closed = np.maximum(closed, 1 - smoothstep((np.abs(time - phone.middle) - hold) / CLOSING_SECONDS))
        if phone.name == SILENCE and phone.end - phone.start > MIN_CLOSED_SILENCE:
            inside = np.minimum(time - phone.start - 0.09, phone.end - 0.07 - time)
            closed = np.maximum(closed, smoothstep(inside / CLOSING_SECONDS + 1))
    channels = total / weight[:, None]
    _close_lips(channels, closed)
    return np.asarray(channels)


def _dominance_curve(phone: TimedPhone, time: F64) -> F64:
    """(T,) how strongly a phone shapes the mouth."""
    sound = PHONES[phone.name]
    length = phone.end - phone.start
    reach = REACH_SECONDS + REACH_SHARE * min(length, MAX_REACH_LENGTH)
    distance = np.maximum(np.abs(time - phone.middle) - CORE_SHARE * length, 0)
    if phone.name == SILENCE:
        before, after = phone.start + SILENCE_LEAD_SECONDS - time, time - phone.end + SILENCE_TAIL_SECONDS
        distance = np.maximum(np.maximum(before, after), 0)
    dominance = CLOSURE_DOMINANCE if sound.closure == "lips" else sound.dominance
    return np.asarray(dominance * np.exp(-((distance / reach) ** 2)))


def _close_lips(channels: F64, closed: F64) -> None:
    """Close the lips of channels (T, 52) where `closed` (T,) is 1."""
    for name in OPENING_CHANNELS:
        channels[:, CHANNEL_INDEX[name]] *= 1 - closed
    jaw = channels[:, CHANNEL_INDEX["jawOpen"]] * (1 - CLOSED_JAW_SHARE * closed)
    channels[:, CHANNEL_INDEX["jawOpen"]] = jaw
    channels[:, CHANNEL_INDEX["mouthClose"]] = jaw * closed
    for side in ("Left", "Right"):
        channels[:, CHANNEL_INDEX[f"mouthPress{side}"]] = PRESS * closed * np.clip(jaw / PRESS_JAW, 0, 1)
