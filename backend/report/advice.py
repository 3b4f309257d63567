"""What an artist should know about the footage, each with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..contract.actor_folder import ActorInfo
from ..contract.channels import CHANNEL_INDEX, CHANNELS
from ..tracking.channel_report import NOT_MEASURABLE
from ..tracking.detection import topology as topo
from .channel_status import channel_statuses
from .tracked import TrackingData

MIN_FOOTAGE_SECONDS = 15.0  # seconds below which an actor stays generic
MIN_YAW_DEGREES = 8.0  # degrees to either side
MIN_BLINKS_PER_MINUTE = 4.0  # a minute; people blink 10 to 20 times
BLINK_START, BLINK_END = 0.5, 0.3  # where a blink begins and ends
MIN_FACE_HEIGHT_PIXELS = 160  # pixels of the footage
MAX_RIGID_ERROR_PIXELS, MAX_MESH_ERROR_PIXELS = 1.0, 1.5  # pixels at 512²
MIN_JAW_OPEN = 0.25  # of jawOpen
MIN_MEASURED_CHANNELS = 30


@dataclass(frozen=True)
class Advice:
    """One statement and its remedy, each a sentence or two."""

    message: str
    remedy: str = ""


def list_advice(info: ActorInfo, tracking: TrackingData, mesh_error_pixels: float) -> list[Advice]:
    """What stands out in this footage, the weightiest first; then the notes of preparation.

    Args:
        mesh_px: RMS distance between the rebuilt mesh and the landmarks, pixels at 512².
    """
    rules = (
        _check_length(info),
        _check_audio(info),
        _check_resolution(info, tracking),
        _check_head_range(tracking),
        _check_blinks(info, tracking),
        _check_mouth(tracking),
        _check_precision(info, mesh_error_pixels),
        _check_channels(info),
        _check_consent(info),
    )
    return [a for a in rules if a is not None] + [Advice(note) for note in info.notes]


def count_blinks(lid_closure: NDArray[np.floating]) -> int:  # type: ignore[type-arg]
    """Blinks in the mean of both lids' channels (T,): above `CLOSED`, and below `OPEN` again before the next."""
    count, shut = 0, False
    for value in lid_closure:
        if not shut and value > BLINK_START:
            count, shut = count + 1, True
        elif shut and value < BLINK_END:
            shut = False
    return count


def _check_length(info: ActorInfo) -> Advice | None:
    seconds = info.frame_count / info.fps
    if seconds >= MIN_FOOTAGE_SECONDS:
        return None
    return Advice(
        f"Only {seconds:.1f} s of footage could be used.",
        "Film 20 s or more of talking in one take; what a clip does not show, the actor can only guess.",
    )


def _check_audio(info: ActorInfo) -> Advice | None:
    if info.has_audio:
        return None
    return Advice(
        "There is no usable sound, so this actor cannot learn to speak.",
        "Key its mouth by hand, or create it again from a clip with the person's voice.",
    )


def _check_resolution(info: ActorInfo, tracking: TrackingData) -> Advice | None:
    scale = info.camera.crop[2] / info.size if info.camera else 1.0
    points = tracking.landmarks[:, : topo.MESH_VERTEX_COUNT, 1]
    tall = float(np.median(np.ptp(points, axis=1))) * scale
    if tall >= MIN_FACE_HEIGHT_PIXELS:
        return None
    return Advice(
        f"The face is only {tall:.0f} pixels tall in the footage.",
        "Film closer or in a higher resolution (250 pixels or more); keep this actor small in your shot.",
    )


def _check_head_range(tracking: TrackingData) -> Advice | None:
    left, right = np.percentile(tracking.head_angles()[:, 0], [95, 5])
    middle, reach = (left + right) / 2, (left - right) / 2
    if reach >= MIN_YAW_DEGREES:
        return None
    return Advice(
        f"The head turns only {reach:.0f}° to either side.",
        f"Keep it within about {abs(middle) + reach + 5:.0f}° in your shot, or film slow looks to the left and right.",
    )


def _check_blinks(info: ActorInfo, tracking: TrackingData) -> Advice | None:
    lids = tracking.channels[:, [CHANNEL_INDEX["eyeBlinkLeft"], CHANNEL_INDEX["eyeBlinkRight"]]].mean(1)
    minutes, blinks = info.frame_count / info.fps / 60, count_blinks(lids)
    if blinks and (minutes < 0.2 or blinks / minutes >= MIN_BLINKS_PER_MINUTE):
        return None
    found = "One blink was" if blinks == 1 else f"{blinks or 'No'} blinks were"
    return Advice(
        f"{found} found.",
        "Film a few natural blinks: lids that were never seen shut close poorly.",
    )


def _check_mouth(tracking: TrackingData) -> Advice | None:
    wide = float(np.percentile(tracking.channels[:, CHANNEL_INDEX["jawOpen"]], 99))
    if wide >= MIN_JAW_OPEN:
        return None
    return Advice(
        f"The mouth hardly opens (jawOpen reaches {wide:.2f}).",
        "Film some lively talking: teeth and tongue that were never seen stay blurred.",
    )


def _check_precision(info: ActorInfo, mesh_error_pixels: float) -> Advice | None:
    rigid = info.figures.get("reprojection_px_512")
    rough = isinstance(rigid, (int, float)) and rigid > MAX_RIGID_ERROR_PIXELS
    if not rough and mesh_error_pixels <= MAX_MESH_ERROR_PIXELS:
        return None
    return Advice(
        f"Tracking is rough: the mesh lies {mesh_error_pixels:.1f} pixels beside the face (at 512²).",
        "Look where it slips in the film above; even light, a short shutter and nothing before the face help.",
    )


def _check_channels(info: ActorInfo) -> Advice | None:
    missing = [name for name, verdict in channel_statuses(info).items() if verdict.state == NOT_MEASURABLE]
    if len(CHANNELS) - len(missing) >= MIN_MEASURED_CHANNELS:
        return None
    return Advice(
        f"{len(missing)} of {len(CHANNELS)} channels could not be measured.",
        "Their sliders are dimmed in Blender. Film a smile, a frown, raised brows and looks to all sides to have them.",
    )


def _check_consent(info: ActorInfo) -> Advice | None:
    if info.consent.get("who"):
        return None
    return Advice(
        "The actor does not say who is shown and agreed to it.",
        "Ask the person, and name them as “Who Is Shown” when you create the actor.",
    )
