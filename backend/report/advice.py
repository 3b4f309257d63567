"""Problems of the footage that an artist should know, each with a remedy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract.actor_folder import ActorInfo
from ..contract.arrays import Floats
from ..contract.channels import CHANNEL_INDEX, CHANNELS
from ..tracking.channel_report import NOT_MEASURABLE
from ..tracking.detection import topology as topo
from .channel_status import channel_statuses
from .tracked import TrackingData

# Limits beyond which the report gives advice; estimates, not tuned.
MIN_FOOTAGE_SECONDS = 15.0  # with less footage an actor stays generic
MIN_YAW_DEGREES = 8.0  # to either side; with less, side views of the head are guessed
MIN_BLINKS_PER_MINUTE = 4.0  # people blink 10 to 20 times
MIN_BLINK_MINUTES = 0.2  # in a shorter clip one blink is enough
BLINK_START = 0.5  # mean of both eyeBlink channels at which a blink begins
BLINK_END = 0.3  # and below which it ends; the gap keeps noise from counting twice
MIN_FACE_HEIGHT_PIXELS = 160  # in the footage; a smaller face has no skin detail
MAX_RIGID_ERROR_PIXELS = 1.0  # of the head pose, at 512²
MAX_MESH_ERROR_PIXELS = 1.5  # of the whole mesh, at 512²
MIN_JAW_OPEN = 0.25  # 99th percentile of jawOpen; below it the mouth's interior is hardly seen
MIN_MEASURED_CHANNELS = 30  # of 52
ANGLE_MARGIN_DEGREES = 5  # how far beyond the footage's angles a shot may turn the head


@dataclass(frozen=True)
class Advice:
    """A statement about the footage.

    Attributes:
        message: the problem, in a sentence or two.
        remedy: what to do, likewise; empty for a mere note.
    """

    message: str
    remedy: str = ""


def list_advice(info: ActorInfo, tracking: TrackingData, mesh_error_pixels: float) -> list[Advice]:
    """Return the problems of this footage, the most important first, then the notes of its preparation.

    Args:
        info: the actor.
        tracking: its tracking.
        mesh_error_pixels: RMS distance between the reconstructed mesh and the landmarks, pixels at 512².
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
    return [advice for advice in rules if advice is not None] + [Advice(note) for note in info.notes]


def count_blinks(lid_closure: Floats) -> int:
    """Count the blinks in the mean (T,) of both eyeBlink channels: above `BLINK_START`, then below `BLINK_END`."""
    count, is_closed = 0, False
    for value in lid_closure:
        if not is_closed and value > BLINK_START:
            count, is_closed = count + 1, True
        elif is_closed and value < BLINK_END:
            is_closed = False
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
    height = float(np.median(np.ptp(points, axis=1))) * scale
    if height >= MIN_FACE_HEIGHT_PIXELS:
        return None
    return Advice(
        f"The face is only {height:.0f} pixels tall in the footage.",
        "Film closer or in a higher resolution (250 pixels or more); keep this actor small in your shot.",
    )


def _check_head_range(tracking: TrackingData) -> Advice | None:
    left, right = np.percentile(tracking.head_angles()[:, 0], [95, 5])
    center, half_range = (left + right) / 2, (left - right) / 2
    if half_range >= MIN_YAW_DEGREES:
        return None
    limit = abs(center) + half_range + ANGLE_MARGIN_DEGREES
    return Advice(
        f"The head turns only {half_range:.0f}° to either side.",
        f"Keep it within about {limit:.0f}° in your shot, or film slow looks to the left and right.",
    )


def _check_blinks(info: ActorInfo, tracking: TrackingData) -> Advice | None:
    lids = tracking.channels[:, [CHANNEL_INDEX["eyeBlinkLeft"], CHANNEL_INDEX["eyeBlinkRight"]]].mean(1)
    minutes, blinks = info.frame_count / info.fps / 60, count_blinks(lids)
    if blinks and (minutes < MIN_BLINK_MINUTES or blinks / minutes >= MIN_BLINKS_PER_MINUTE):
        return None
    found = "One blink was" if blinks == 1 else f"{blinks or 'No'} blinks were"
    return Advice(
        f"{found} found.",
        "Film a few natural blinks: lids that were never seen shut close poorly.",
    )


def _check_mouth(tracking: TrackingData) -> Advice | None:
    jaw_open = float(np.percentile(tracking.channels[:, CHANNEL_INDEX["jawOpen"]], 99))
    if jaw_open >= MIN_JAW_OPEN:
        return None
    return Advice(
        f"The mouth hardly opens (jawOpen reaches {jaw_open:.2f}).",
        "Film some lively talking: teeth and tongue that were never seen stay blurred.",
    )


def _check_precision(info: ActorInfo, mesh_error_pixels: float) -> Advice | None:
    rigid_error = info.figures.get("reprojection_px_512")
    is_rough = isinstance(rigid_error, (int, float)) and rigid_error > MAX_RIGID_ERROR_PIXELS
    if not is_rough and mesh_error_pixels <= MAX_MESH_ERROR_PIXELS:
        return None
    return Advice(
        f"Tracking is rough: the mesh lies {mesh_error_pixels:.1f} pixels beside the face (at 512²).",
        "Look where it slips in the film above; even light, a short shutter and nothing before the face help.",
    )


def _check_channels(info: ActorInfo) -> Advice | None:
    missing = [name for name, status in channel_statuses(info).items() if status.state == NOT_MEASURABLE]
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
