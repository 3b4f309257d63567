"""What an artist should know about the footage, each with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..contract.actor_folder import ActorInfo
from ..contract.channels import CHANNELS, INDEX
from ..tracking.channel_report import MISSING
from ..tracking.detection import topology as topo
from .channel_status import verdicts
from .tracked import Tracked

SHORT = 15.0  # seconds below which an actor stays generic
NARROW_YAW = 8.0  # degrees to either side
FEW_BLINKS = 4.0  # a minute; people blink 10 to 20 times
CLOSED, OPEN = 0.5, 0.3  # where a blink begins and ends
SMALL_FACE = 160  # pixels of the footage
ROUGH_RIGID, ROUGH_MESH = 1.0, 1.5  # pixels at 512²
CLOSED_MOUTH = 0.25  # of jawOpen
FEW_CHANNELS = 30


@dataclass(frozen=True)
class Advice:
    """One statement and its remedy, each a sentence or two."""

    message: str
    remedy: str = ""


def advise(info: ActorInfo, tracked: Tracked, mesh_px: float) -> list[Advice]:
    """What stands out in this footage, the weightiest first; then the notes of preparation.

    Args:
        mesh_px: RMS distance between the rebuilt mesh and the landmarks, pixels at 512².
    """
    rules = (
        _length(info),
        _sound(info),
        _resolution(info, tracked),
        _turns(tracked),
        _blinks(info, tracked),
        _mouth(tracked),
        _precision(info, mesh_px),
        _channels(info),
        _consent(info),
    )
    return [a for a in rules if a is not None] + [Advice(note) for note in info.notes]


def count_blinks(closed: NDArray[np.floating]) -> int:  # type: ignore[type-arg]
    """Blinks in the mean of both lids' channels (T,): above `CLOSED`, and below `OPEN` again before the next."""
    count, shut = 0, False
    for value in closed:
        if not shut and value > CLOSED:
            count, shut = count + 1, True
        elif shut and value < OPEN:
            shut = False
    return count


def _length(info: ActorInfo) -> Advice | None:
    seconds = info.frame_count / info.fps
    if seconds >= SHORT:
        return None
    return Advice(
        f"Only {seconds:.1f} s of footage could be used.",
        "Film 20 s or more of talking in one take; what a clip does not show, the actor can only guess.",
    )


def _sound(info: ActorInfo) -> Advice | None:
    if info.has_audio:
        return None
    return Advice(
        "There is no usable sound, so this actor cannot learn to speak.",
        "Key its mouth by hand, or create it again from a clip with the person's voice.",
    )


def _resolution(info: ActorInfo, tracked: Tracked) -> Advice | None:
    scale = info.camera.crop[2] / info.size if info.camera else 1.0
    points = tracked.landmarks[:, : topo.MESH, 1]
    tall = float(np.median(np.ptp(points, axis=1))) * scale
    if tall >= SMALL_FACE:
        return None
    return Advice(
        f"The face is only {tall:.0f} pixels tall in the footage.",
        "Film closer or in a higher resolution (250 pixels or more); keep this actor small in your shot.",
    )


def _turns(tracked: Tracked) -> Advice | None:
    left, right = np.percentile(tracked.head_angles()[:, 0], [95, 5])
    middle, reach = (left + right) / 2, (left - right) / 2
    if reach >= NARROW_YAW:
        return None
    return Advice(
        f"The head turns only {reach:.0f}° to either side.",
        f"Keep it within about {abs(middle) + reach + 5:.0f}° in your shot, or film slow looks to the left and right.",
    )


def _blinks(info: ActorInfo, tracked: Tracked) -> Advice | None:
    lids = tracked.channels[:, [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]].mean(1)
    minutes, blinks = info.frame_count / info.fps / 60, count_blinks(lids)
    if blinks and (minutes < 0.2 or blinks / minutes >= FEW_BLINKS):
        return None
    found = "One blink was" if blinks == 1 else f"{blinks or 'No'} blinks were"
    return Advice(
        f"{found} found.",
        "Film a few natural blinks: lids that were never seen shut close poorly.",
    )


def _mouth(tracked: Tracked) -> Advice | None:
    wide = float(np.percentile(tracked.channels[:, INDEX["jawOpen"]], 99))
    if wide >= CLOSED_MOUTH:
        return None
    return Advice(
        f"The mouth hardly opens (jawOpen reaches {wide:.2f}).",
        "Film some lively talking: teeth and tongue that were never seen stay blurred.",
    )


def _precision(info: ActorInfo, mesh_px: float) -> Advice | None:
    rigid = info.figures.get("reprojection_px_512")
    rough = isinstance(rigid, (int, float)) and rigid > ROUGH_RIGID
    if not rough and mesh_px <= ROUGH_MESH:
        return None
    return Advice(
        f"Tracking is rough: the mesh lies {mesh_px:.1f} pixels beside the face (at 512²).",
        "Look where it slips in the film above; even light, a short shutter and nothing before the face help.",
    )


def _channels(info: ActorInfo) -> Advice | None:
    missing = [name for name, verdict in verdicts(info).items() if verdict.state == MISSING]
    if len(CHANNELS) - len(missing) >= FEW_CHANNELS:
        return None
    return Advice(
        f"{len(missing)} of {len(CHANNELS)} channels could not be measured.",
        "Their sliders are dimmed in Blender. Film a smile, a frown, raised brows and looks to all sides to have them.",
    )


def _consent(info: ActorInfo) -> Advice | None:
    if info.consent.get("who"):
        return None
    return Advice(
        "The actor does not say who is shown and agreed to it.",
        "Ask the person, and name them as “Who Is Shown” when you create the actor.",
    )
