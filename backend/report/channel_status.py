"""Which channels could be measured in the footage, and why the others are weak or missing."""

from __future__ import annotations

from dataclasses import dataclass

from ..contract.actor_folder import ActorInfo
from ..contract.channels import CHANNELS
from ..tracking.channel_report import MEASURED, NOT_MEASURABLE, WEAK
from ..tracking.face.blendshape_rig import UNMEASURABLE_CHANNELS

STATES = (MEASURED, WEAK, NOT_MEASURABLE)


@dataclass(frozen=True)
class ChannelStatus:
    """The measurement of one channel.

    Attributes:
        state: one of `STATES`.
        low: lower end of its usual range in the footage, 0–1.
        high: upper end of that range.
        reason: why it is not measured, for the user; "" if it is.
    """

    state: str
    low: float = 0.0
    high: float = 0.0
    reason: str = ""


def channel_statuses(info: ActorInfo) -> dict[str, ChannelStatus]:
    """Return the status of every channel, in the order of `CHANNELS`.

    In an actor without a channel report (of an earlier version), the channels with a range are measured.
    """
    return {name: _channel_status(info, name) for name in CHANNELS}


def _channel_status(info: ActorInfo, name: str) -> ChannelStatus:
    span = info.channel_ranges.get(name)
    state = info.channel_report.get(name, MEASURED if span else NOT_MEASURABLE)
    low, high = (float(span[0]), float(span[-1])) if span else (0.0, 0.0)
    if state == MEASURED:
        return ChannelStatus(state, low, high)
    if state == WEAK:
        return ChannelStatus(state, low, high, "It moves little here, or cannot be told well from its neighbours.")
    if name in UNMEASURABLE_CHANNELS:
        return ChannelStatus(NOT_MEASURABLE, low, high, "A camera in front of the face does not see it.")
    return ChannelStatus(NOT_MEASURABLE, low, high, "The footage does not show it.")
