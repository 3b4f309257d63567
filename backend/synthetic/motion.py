"""How the synthetic actor moves: lips with its words; head, gaze, brows and blinks like a person at ease.

Amplitudes and rates were chosen by eye on the sample clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..contract.arrays import F64
from ..contract.channels import CHANNEL_INDEX, CHANNELS, mirror_channel
from ..contract.geometry import matrix_from_quaternion, quaternion_from_yaw_pitch_roll, quaternion_product
from ..contract.performance import Performance
from .actor_mesh import MAX_GAZE_ANGLES
from .cage import NECK_PIVOT
from .lip_sync import lip_channels
from .phones import TimedPhone
from .smoothstep import smoothstep

MOTIONS = ("talk", "still_head", "range", "parts")
# The channels that "parts" sweeps, one after the other, with the same channel of the other side; oral and facial by
# turns.
SWEPT_CHANNELS = (
    ("jawOpen",), ("eyeBlinkLeft",), ("mouthPucker",), ("browInnerUp",), ("mouthSmileLeft",),
    ("eyeLookOutLeft", "eyeLookInRight"), ("mouthFunnel",), ("eyeLookInLeft", "eyeLookOutRight"), ("mouthLeft",),
    ("eyeLookUpLeft",), ("mouthUpperUpLeft",), ("browDownLeft",), ("mouthLowerDownLeft",), ("browOuterUpLeft",),
)  # fmt: skip
SWEEP_LEAD_SECONDS = 0.4  # at rest before the first sweep
SWEEP_SECONDS = 0.8  # of each sweep

WAIST_PIVOT = np.array([0.0, -0.50, -0.10])  # metres; where the torso leans
TORSO_TURN_SHARE = 0.3  # of the head's turn that the torso makes
LEAN_METRES = 0.006  # amplitude of the torso's sway
LEAN_HERTZ = (0.07, 0.15)
START_SECONDS = 0.3  # at rest before anything moves
HEAD_EASE_SECONDS = 1.2  # over which the head's motion fades in
FACE_EASE_SECONDS = 0.6  # over which the face's motion fades in


class Sway(NamedTuple):
    """A random curve: amplitude, and the rates in hertz of the sines that it is made of."""

    amplitude: float
    rates: tuple[float, ...]


class Axis(NamedTuple):
    """How the head turns about one axis: degrees; the period of "range" in seconds."""

    talk: Sway
    limit: float
    range_amplitude: float
    range_period: float


HEAD_AXES = {
    "yaw": Axis(Sway(13, (0.09, 0.17, 0.31, 0.53)), limit=20, range_amplitude=20, range_period=4.4),
    "pitch": Axis(Sway(5, (0.13, 0.27, 0.49)), limit=12, range_amplitude=12, range_period=3.1),
    "roll": Axis(Sway(3.2, (0.11, 0.23, 0.41)), limit=8, range_amplitude=6, range_period=5.3),
}
# In "parts" the head is nearly still.
PARTS_YAW_DEGREES = 4
PARTS_YAW_SECONDS = 7  # period
PARTS_PITCH_DEGREES = 1.5
NOD_DEGREES = (0.6, 2.4)  # range of the nod at a stressed phone
NOD_SECONDS = 0.13

SMILE = Sway(0.28, (0.10, 0.21))
SMILE_OFFSET = 0.12  # the mean smile
MAX_SMILE = 0.6
INNER_BROWS = Sway(0.35, (0.17, 0.37, 0.6))
FROWN = Sway(0.6, (0.13, 0.29))
FROWN_OFFSET = -0.15  # so that it frowns less than half of the time
MAX_FROWN = 0.7
MOUTH_SHIFT = Sway(0.25, (0.09, 0.23))
OUTER_BROWS = Sway(0.35, (0.19, 0.43))
OUTER_BROW_TILT = 0.08  # by which the left brow is raised more than the right one
SMILE_TILT = 0.12  # by which the left corner smiles more
JAW_SHIFT_SHARE = 0.6  # of the mouth's shift
CHEEK_SHARE = 0.5  # of the smile
EYE_SQUINT_SHARE = 0.25  # of the smile
SNEER_SHARE = 0.4  # of the frown
EYE_WIDE_SHARE = 0.8  # of the raised brows
BROW_ACCENT = 0.30  # of the brows at a stressed phone
BROW_ACCENT_PROBABILITY = 0.4
BROW_ACCENT_SECONDS = 0.12
OUTER_ACCENT_SHARE = 0.7

BLINK_INTERVAL_SECONDS = (2.0, 4.6)
BLINK_CLOSING_SECONDS = 0.10
BLINK_OPENING_SECONDS = 0.16
BLINK_SHUT_SECONDS = 0.04
WINK_SHUT_SECONDS = 0.12
WINK_INTERVAL = 4  # every fourth blink is a wink, by turns of either eye
WINK_OTHER_EYE = 0.08  # how far the other eye closes in a wink

GAZE_INTERVAL_SECONDS = (0.5, 1.9)
SACCADE_SECONDS = 0.05
GAZE_AT_CAMERA_PROBABILITY = 0.5
GAZE_YAW_DEGREES = (-14, 14)
GAZE_PITCH_DEGREES = (-9, 8)
GAZE_STABILIZATION = 0.85  # of the head's turn that the eyes make up for


def create_performance(motion: str, count: int, fps: float, phones: list[TimedPhone], seed: int) -> Performance:
    """Create frames of the actor; frame i is at i / fps seconds of the sound.

    Args:
        motion: "talk" (head, face and speech), "still_head" (the head stays at rest), "range" (slow sweeps of the
            head to ±20° and ±12°, while speaking) or "parts" (one channel after the other, see `SWEPT_CHANNELS`, with
            the head nearly still; the mouth does not follow the sound).
        count: frames.
        fps: frames per second.
        phones: the spoken timeline.
        seed: of everything random.
    """
    rng = np.random.default_rng((seed, 2))
    time = np.arange(count) / fps
    angles = _head_angles(motion, time, phones, rng)
    torso = quaternion_from_yaw_pitch_roll(*(TORSO_TURN_SHARE * angle for angle in angles))
    local = quaternion_from_yaw_pitch_roll(*((1 - TORSO_TURN_SHARE) * angle for angle in angles))
    lean = _lean(time, rng, 0.0 if motion == "still_head" else 1.0)
    torso_move, head_move = np.zeros((count, 3)), np.zeros((count, 3))
    for i in range(count):
        turn = matrix_from_quaternion(torso[i])
        torso_move[i] = WAIST_PIVOT - turn @ WAIST_PIVOT + lean[i]
        head_move[i] = turn @ (NECK_PIVOT - matrix_from_quaternion(local[i]) @ NECK_PIVOT) + torso_move[i]
    if motion == "parts":
        channels = sweep_channels(time)
    else:
        channels = _face_channels(time, phones, rng, np.stack([angles[0], -angles[1]], 1), seed)
    return Performance(
        fps=fps, frames=np.arange(count, dtype=np.int64), channels=np.clip(channels, 0, 1).astype(np.float32),
        head_rotation=quaternion_product(torso, local).astype(np.float32),
        head_translation=head_move.astype(np.float32),
        torso_rotation=torso.astype(np.float32), torso_translation=torso_move.astype(np.float32),
    )  # fmt: skip


def sweep_channels(time: F64) -> F64:
    """(T, 52) channels of "parts": each of `SWEPT_CHANNELS` goes to 1 and back while all others rest; then again."""
    channels = np.zeros((len(time), len(CHANNELS)))
    number, moment = np.divmod(time - SWEEP_LEAD_SECONDS, SWEEP_SECONDS)
    value = np.sin(np.pi * moment / SWEEP_SECONDS) ** 2
    for index, part in enumerate(SWEPT_CHANNELS):
        is_now = (number >= 0) & (number % len(SWEPT_CHANNELS) == index)
        has_both_sides = len(part) > 1 or part[0].startswith("mouthLeft")
        for name in part if has_both_sides else (part[0], mirror_channel(part[0])):
            channels[is_now, CHANNEL_INDEX[name]] = value[is_now]
    return channels


def _random_curve(time: F64, rng: np.random.Generator, rates: Sequence[float]) -> F64:
    """(T,) a smooth curve of about ±1: sines of these rates (hertz) with random phases and weights."""
    total = sum(np.sin(2 * np.pi * (rate * time + rng.random())) * rng.uniform(0.7, 1.3) for rate in rates)
    return np.asarray(total / len(rates) ** 0.5 / 1.2)


def _lean(time: F64, rng: np.random.Generator, strength: float) -> F64:
    """(T, 3) metres by which the torso sways."""
    curves = np.stack([_random_curve(time, rng, LEAN_HERTZ) for _ in range(3)], 1)
    return np.asarray(strength * _head_ease(time)[:, None] * LEAN_METRES * curves)


def _head_ease(time: F64) -> F64:
    """(T,) 0 to 1: the head starts at rest."""
    return smoothstep((time - START_SECONDS) / HEAD_EASE_SECONDS)


def _head_angles(motion: str, time: F64, phones: list[TimedPhone], rng: np.random.Generator) -> tuple[F64, F64, F64]:
    """Yaw, pitch and roll of the head, (T,) radians each."""
    ease = _head_ease(time)
    rest = np.zeros(len(time))
    if motion == "still_head":
        return rest, rest, rest
    if motion == "parts":
        yaw = np.radians(PARTS_YAW_DEGREES) * np.sin(2 * np.pi * time / PARTS_YAW_SECONDS) * ease
        return yaw, np.radians(PARTS_PITCH_DEGREES) * np.sin(time) * ease, rest
    axes = HEAD_AXES.values()
    if motion == "range":
        yaw, pitch, roll = (
            np.radians(axis.range_amplitude) * np.sin(2 * np.pi * time / axis.range_period) * ease for axis in axes
        )
        return yaw, pitch, roll
    yaw, pitch, roll = (np.radians(axis.talk.amplitude) * _random_curve(time, rng, axis.talk.rates) for axis in axes)
    for phone in phones:
        if phone.is_stressed:
            nod = np.radians(rng.uniform(*NOD_DEGREES))
            pitch += nod * np.exp(-(((time - phone.middle) / NOD_SECONDS) ** 2))
    limits = np.radians([axis.limit for axis in axes])
    yaw, pitch, roll = (np.clip(a, -m, m) * ease for a, m in zip((yaw, pitch, roll), limits, strict=True))
    return yaw, pitch, roll


def _blink_curves(time: F64, rng: np.random.Generator) -> F64:
    """(T, 2) lids of the right and the left eye: a blink of about 7 frames every 2–5 s, now and then a wink."""
    lids = np.zeros((len(time), 2))
    moment = rng.uniform(1.0, 2.0)
    number = 0
    while moment < time[-1]:
        is_wink = number % WINK_INTERVAL == 2
        shut = WINK_SHUT_SECONDS if is_wink else BLINK_SHUT_SECONDS
        closing = smoothstep((time - moment) / BLINK_CLOSING_SECONDS)
        opening = smoothstep((time - moment - BLINK_CLOSING_SECONDS - shut) / BLINK_OPENING_SECONDS)
        sides = np.array([1.0, 1.0])
        if is_wink:
            sides[number // WINK_INTERVAL % 2] = WINK_OTHER_EYE
        lids = np.maximum(lids, (closing * (1 - opening))[:, None] * sides * rng.uniform(0.94, 1.0))
        moment += rng.uniform(*BLINK_INTERVAL_SECONDS)
        number += 1
    return lids


def _gaze_angles(time: F64, rng: np.random.Generator, head_turn: F64) -> F64:
    """(T, 2) yaw (to the actor's left) and pitch (up) of the eyes against the head, radians.

    The eyes rest on the camera while the head turns by `head_turn` (T, 2), and now and then jump elsewhere.
    """
    gaze = np.zeros((len(time), 2))
    moment, last_target = 0.8, np.zeros(2)
    while moment < time[-1]:
        if rng.random() < GAZE_AT_CAMERA_PROBABILITY:
            target = np.zeros(2)
        else:
            target = np.radians([rng.uniform(*GAZE_YAW_DEGREES), rng.uniform(*GAZE_PITCH_DEGREES)])
        gaze += smoothstep((time - moment) / SACCADE_SECONDS)[:, None] * (target - last_target)
        last_target = target
        moment += rng.uniform(*GAZE_INTERVAL_SECONDS)
    return np.asarray(gaze - GAZE_STABILIZATION * head_turn)


def _set_gaze_channels(channels: F64, gaze: F64) -> None:
    """Write the gaze (T, 2) into the channels (T, 52)."""
    for side, inward in (("Left", -1), ("Right", 1)):
        yaw = gaze[:, 0] * inward
        for name, angle in (("In", yaw), ("Out", -yaw), ("Up", gaze[:, 1]), ("Down", -gaze[:, 1])):
            channels[:, CHANNEL_INDEX[f"eyeLook{name}{side}"]] = np.clip(angle / MAX_GAZE_ANGLES[name], 0, 1)


def _face_channels(time: F64, phones: list[TimedPhone], rng: np.random.Generator, head_turn: F64, seed: int) -> F64:
    """(T, 52) channels of a face that speaks, looks about, blinks and frowns; `head_turn` as in `_gaze_angles`."""
    channels = lip_channels(phones, time)
    ease = smoothstep((time - START_SECONDS) / FACE_EASE_SECONDS)
    lids = _blink_curves(time, rng)
    channels[:, CHANNEL_INDEX["eyeBlinkRight"]], channels[:, CHANNEL_INDEX["eyeBlinkLeft"]] = lids.T
    _set_gaze_channels(channels, _gaze_angles(time, rng, head_turn) * ease[:, None])
    _add_expressions(channels, time, ease, rng, seed)
    for phone in phones:
        if phone.is_stressed and rng.random() < BROW_ACCENT_PROBABILITY:
            accent = BROW_ACCENT * np.exp(-(((time - phone.middle) / BROW_ACCENT_SECONDS) ** 2))
            channels[:, CHANNEL_INDEX["browInnerUp"]] += accent
            for side in ("Left", "Right"):
                channels[:, CHANNEL_INDEX[f"browOuterUp{side}"]] += OUTER_ACCENT_SHARE * accent
    return channels


def _add_expressions(channels: F64, time: F64, ease: F64, rng: np.random.Generator, seed: int) -> None:
    """Add slow smiles, frowns, raised brows and a mouth that shifts sideways."""

    def curve(sway: Sway) -> F64:
        return sway.amplitude * _random_curve(time, rng, sway.rates)

    smile = np.clip(SMILE_OFFSET + curve(SMILE), 0, MAX_SMILE) * ease
    inner_brows = np.clip(curve(INNER_BROWS), 0, 1) * ease
    frown = np.clip(curve(FROWN) + FROWN_OFFSET, 0, MAX_FROWN) * ease
    shift = curve(MOUTH_SHIFT) * ease
    channels[:, CHANNEL_INDEX["browInnerUp"]] += inner_brows
    for side, tilt in (("Left", 1), ("Right", -1)):
        # Both sides draw the same curve: a fresh generator of the seed.
        outer = _random_curve(time, np.random.default_rng((seed, 5)), OUTER_BROWS.rates)
        outer_brow = np.clip(OUTER_BROWS.amplitude * outer + tilt * OUTER_BROW_TILT, 0, 1) * ease
        for name, value in (
            ("browOuterUp", outer_brow),
            ("browDown", frown),
            ("mouthSmile", smile * (1 + SMILE_TILT * tilt)),
            ("cheekSquint", CHEEK_SHARE * smile),
            ("eyeSquint", EYE_SQUINT_SHARE * smile),
            ("noseSneer", SNEER_SHARE * frown),
            ("mouth", np.clip(tilt * shift, 0, 1)),
            ("jaw", np.clip(JAW_SHIFT_SHARE * tilt * shift, 0, 1)),
            ("eyeWide", EYE_WIDE_SHARE * np.clip(inner_brows - 0.1, 0, 1)),
        ):
            channels[:, CHANNEL_INDEX[f"{name}{side}"]] += value
