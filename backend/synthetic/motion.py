"""How the sample actor moves: lips with its words, head, gaze, brows and blinks like a person at ease."""

from __future__ import annotations

import numpy as np

from ..contract.arrays import F64
from ..contract.channels import CHANNEL_INDEX, CHANNELS, mirror_channel
from ..contract.geometry import matrix_from_quaternion, quaternion_from_yaw_pitch_roll, quaternion_product
from ..contract.performance import Performance
from .actor_mesh import MAX_GAZE_ANGLES
from .cage import NECK_PIVOT
from .phones import PHONES, TimedPhone

MOTIONS = ("talk", "still_head", "range", "parts")
# What "parts" sweeps, one after the other, with the same channel of the other side; oral and facial in turns.
SWEPT_CHANNELS = (
    ("jawOpen",), ("eyeBlinkLeft",), ("mouthPucker",), ("browInnerUp",), ("mouthSmileLeft",),
    ("eyeLookOutLeft", "eyeLookInRight"), ("mouthFunnel",), ("eyeLookInLeft", "eyeLookOutRight"), ("mouthLeft",),
    ("eyeLookUpLeft",), ("mouthUpperUpLeft",), ("browDownLeft",), ("mouthLowerDownLeft",), ("browOuterUpLeft",),
)  # fmt: skip
SWEEP_LEAD_SECONDS, SWEEP_SECONDS = 0.4, 0.8  # seconds at rest before the first sweep, and of each sweep
WAIST_PIVOT = np.array([0.0, -0.50, -0.10])  # where the torso leans, metres
TORSO_TURN_SHARE = 0.3  # of the head's turn


def _random_curve(time: F64, rng: np.random.Generator, frequencies: tuple[float, ...]) -> F64:
    """A smooth curve of about ±1: sines of these rates (hertz) with random phases."""
    total = sum(np.sin(2 * np.pi * (rate * time + rng.random())) * rng.uniform(0.7, 1.3) for rate in frequencies)
    return np.asarray(total / len(frequencies) ** 0.5 / 1.2)


def _smoothstep(t: F64) -> F64:
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def lip_channels(phones: list[TimedPhone], time: F64) -> F64:
    """(T, 52) channels of the mouth for a timeline of phones.

    Neighbouring phones share the mouth by how near and how firm they are: M. M. Cohen and D. W. Massaro, "Modeling
    Coarticulation in Synthetic Visual Speech", 1993. Lip closures then shut whatever is open.
    """
    total = np.zeros((len(time), len(CHANNELS)))
    weight = np.full(len(time), 1e-6)
    closed = np.zeros(len(time))
    for phone in phones:
        sound = PHONES[phone.name]
        length = phone.end - phone.start
        reach = 0.045 + 0.25 * min(length, 0.2)
        away = np.maximum(np.abs(time - phone.middle) - 0.28 * length, 0)
        if phone.name == "SIL":
            away = np.maximum(np.maximum(phone.start + 0.10 - time, time - phone.end + 0.08), 0)
        near = (
            sound.dominance * np.exp(-((away / reach) ** 2))
            if sound.closure != "lips"
            else 0.15 * np.exp(-((away / reach) ** 2))
        )
        force = 1.15 if phone.is_stressed else 1.0
        for name, value in sound.mouth:
            total[:, CHANNEL_INDEX[name]] += near * value * force
        weight += near
        if sound.closure == "lips":
            hold = max(0.025, 0.5 * length - 0.015)  # at least one frame at 25 frames per second is fully shut
            closed = np.maximum(closed, 1 - _smoothstep((np.abs(time - phone.middle) - hold) / 0.06))
        if phone.name == "SIL" and length > 0.12:
            inside = np.minimum(time - phone.start - 0.09, phone.end - 0.07 - time)
            closed = np.maximum(closed, _smoothstep(inside / 0.06 + 1))
    channels = total / weight[:, None]
    opening = ("mouthFunnel", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight",
               "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "tongueOut")  # fmt: skip
    for name in opening:
        channels[:, CHANNEL_INDEX[name]] *= 1 - closed
    jaw = channels[:, CHANNEL_INDEX["jawOpen"]] * (1 - 0.75 * closed)
    channels[:, CHANNEL_INDEX["jawOpen"]] = jaw
    channels[:, CHANNEL_INDEX["mouthClose"]] = jaw * closed
    for side in ("Left", "Right"):
        channels[:, CHANNEL_INDEX[f"mouthPress{side}"]] = 0.25 * closed * np.clip(jaw / 0.05, 0, 1)
    return np.asarray(channels)


def sweep_channels(time: F64) -> F64:
    """(T, 52) channels of "parts": each of `PARTS` goes from 0 to 1 and back while all others rest; then again."""
    channels = np.zeros((len(time), len(CHANNELS)))
    number, moment = np.divmod(time - SWEEP_LEAD_SECONDS, SWEEP_SECONDS)
    swept = np.sin(np.pi * moment / SWEEP_SECONDS) ** 2
    for index, part in enumerate(SWEPT_CHANNELS):
        now = (number >= 0) & (number % len(SWEPT_CHANNELS) == index)
        sides = part if len(part) > 1 or part[0].startswith("mouthLeft") else (part[0], mirror_channel(part[0]))
        for name in sides:
            channels[now, CHANNEL_INDEX[name]] = swept[now]
    return channels


def _blink_curves(time: F64, rng: np.random.Generator) -> F64:
    """(T, 2) lids of the right and the left eye: a blink of about 7 frames every 2–5 s, now and then a wink."""
    lids = np.zeros((len(time), 2))
    moment = rng.uniform(1.0, 2.0)
    number = 0
    while moment < time[-1]:
        wink = number % 4 == 2
        shut = 0.12 if wink else 0.04
        close = _smoothstep((time - moment) / 0.10) * (1 - _smoothstep((time - moment - 0.10 - shut) / 0.16))
        sides = np.array([1.0, 1.0])
        if wink:
            sides[number // 4 % 2] = 0.08
        lids = np.maximum(lids, close[:, None] * sides * rng.uniform(0.94, 1.0))
        moment += rng.uniform(2.0, 4.6)
        number += 1
    return lids


def _gaze_angles(time: F64, rng: np.random.Generator, head_turn: F64) -> F64:
    """(T, 2) yaw (to the actor's left) and pitch (up) of the eyes against the head, radians.

    The eyes rest on the camera while the head turns, and now and then jump elsewhere.
    """
    target = np.zeros((len(time), 2))
    moment, looked = 0.8, np.zeros(2)
    while moment < time[-1]:
        aim = np.zeros(2) if rng.random() < 0.5 else np.radians([rng.uniform(-14, 14), rng.uniform(-9, 8)])
        target += _smoothstep((time - moment) / 0.05)[:, None] * (aim - looked)
        looked = aim
        moment += rng.uniform(0.5, 1.9)
    return target - 0.85 * head_turn


def _set_gaze_channels(channels: F64, gaze: F64) -> None:
    for side, inward in (("Left", -1), ("Right", 1)):
        yaw = gaze[:, 0] * inward
        for way, value in (("In", yaw), ("Out", -yaw), ("Up", gaze[:, 1]), ("Down", -gaze[:, 1])):
            channels[:, CHANNEL_INDEX[f"eyeLook{way}{side}"]] = np.clip(value / MAX_GAZE_ANGLES[way], 0, 1)


def _head_angles(motion: str, time: F64, phones: list[TimedPhone], rng: np.random.Generator) -> tuple[F64, F64, F64]:
    """Yaw, pitch and roll of the head in radians. It starts at rest."""
    ease = _smoothstep((time - 0.3) / 1.2)
    zero = np.zeros(len(time))
    if motion == "still_head":
        return zero, zero, zero
    if motion == "parts":
        return np.radians(4) * np.sin(2 * np.pi * time / 7) * ease, np.radians(1.5) * np.sin(time) * ease, zero
    if motion == "range":
        yaw, pitch, roll = (np.sin(2 * np.pi * time / period) for period in (4.4, 3.1, 5.3))
        return np.radians(20) * yaw * ease, np.radians(12) * pitch * ease, np.radians(6) * roll * ease
    yaw = np.radians(13) * _random_curve(time, rng, (0.09, 0.17, 0.31, 0.53))
    pitch = np.radians(5) * _random_curve(time, rng, (0.13, 0.27, 0.49))
    roll = np.radians(3.2) * _random_curve(time, rng, (0.11, 0.23, 0.41))
    for phone in phones:
        if phone.is_stressed:  # a small nod
            pitch += np.radians(rng.uniform(0.6, 2.4)) * np.exp(-(((time - phone.middle) / 0.13) ** 2))
    limit = np.radians([20, 12, 8])
    return tuple(np.clip(a, -m, m) * ease for a, m in zip((yaw, pitch, roll), limit, strict=True))  # type: ignore[return-value]


def create_performance(motion: str, count: int, fps: float, phones: list[TimedPhone], seed: int) -> Performance:
    """`count` frames of the actor; frame i is at i / fps seconds of the sound.

    Args:
        motion: "talk" (head, face and speech), "still_head" (the head stays at rest), "range" (slow sweeps of the
            head to ±20° and ±12°, in speech too) or "parts" (one channel after the other, see `PARTS`, with the head
            nearly still; the mouth does not follow the sound).
    """
    rng = np.random.default_rng((seed, 2))
    time = np.arange(count) / fps
    yaw, pitch, roll = _head_angles(motion, time, phones, rng)
    torso = quaternion_from_yaw_pitch_roll(TORSO_TURN_SHARE * yaw, TORSO_TURN_SHARE * pitch, TORSO_TURN_SHARE * roll)
    local = quaternion_from_yaw_pitch_roll(
        (1 - TORSO_TURN_SHARE) * yaw, (1 - TORSO_TURN_SHARE) * pitch, (1 - TORSO_TURN_SHARE) * roll
    )
    head = quaternion_product(torso, local)
    sway = 0.0 if motion == "still_head" else 1.0
    ease = _smoothstep((time - 0.3) / 1.2)[:, None]
    lean = sway * ease * 0.006 * np.stack([_random_curve(time, rng, (0.07, 0.15)) for _ in range(3)], 1)
    torso_move, head_move = np.zeros((count, 3)), np.zeros((count, 3))
    for i in range(count):
        turn = matrix_from_quaternion(torso[i])
        torso_move[i] = WAIST_PIVOT - turn @ WAIST_PIVOT + lean[i]
        head_move[i] = turn @ (NECK_PIVOT - matrix_from_quaternion(local[i]) @ NECK_PIVOT) + torso_move[i]

    channels = (
        sweep_channels(time)
        if motion == "parts"
        else _face_channels(time, phones, rng, np.stack([yaw, -pitch], 1), seed)
    )
    return Performance(
        fps=fps, frames=np.arange(count, dtype=np.int64), channels=np.clip(channels, 0, 1).astype(np.float32),
        head_rotation=head.astype(np.float32), head_translation=head_move.astype(np.float32),
        torso_rotation=torso.astype(np.float32), torso_translation=torso_move.astype(np.float32),
    )  # fmt: skip


def _face_channels(time: F64, phones: list[TimedPhone], rng: np.random.Generator, head_turn: F64, seed: int) -> F64:
    """(T, 52) channels of a face that speaks, looks about, blinks and frowns; `head_turn` (T, 2) as in `_gaze`."""
    channels = lip_channels(phones, time)
    start = _smoothstep((time - 0.3) / 0.6)
    lids = _blink_curves(time, rng)
    channels[:, CHANNEL_INDEX["eyeBlinkRight"]], channels[:, CHANNEL_INDEX["eyeBlinkLeft"]] = lids.T
    _set_gaze_channels(channels, _gaze_angles(time, rng, head_turn) * start[:, None])
    smile = np.clip(0.12 + 0.28 * _random_curve(time, rng, (0.10, 0.21)), 0, 0.6) * start
    raise_inner = np.clip(0.35 * _random_curve(time, rng, (0.17, 0.37, 0.6)), 0, 1) * start
    frown = np.clip(0.6 * _random_curve(time, rng, (0.13, 0.29)) - 0.15, 0, 0.7) * start
    aside = 0.25 * _random_curve(time, rng, (0.09, 0.23)) * start
    channels[:, CHANNEL_INDEX["browInnerUp"]] += raise_inner
    for side, tilt in (("Left", 1), ("Right", -1)):
        lift = (
            np.clip(0.35 * _random_curve(time, np.random.default_rng((seed, 5)), (0.19, 0.43)) + tilt * 0.08, 0, 1)
            * start
        )
        channels[:, CHANNEL_INDEX[f"browOuterUp{side}"]] += lift
        channels[:, CHANNEL_INDEX[f"browDown{side}"]] += frown
        channels[:, CHANNEL_INDEX[f"mouthSmile{side}"]] += smile * (1 + 0.12 * tilt)
        channels[:, CHANNEL_INDEX[f"cheekSquint{side}"]] += 0.5 * smile
        channels[:, CHANNEL_INDEX[f"eyeSquint{side}"]] += 0.25 * smile
        channels[:, CHANNEL_INDEX[f"noseSneer{side}"]] += 0.4 * frown
        channels[:, CHANNEL_INDEX[f"mouth{side}"]] += np.clip(tilt * aside, 0, 1)
        channels[:, CHANNEL_INDEX[f"jaw{side}"]] += np.clip(0.6 * tilt * aside, 0, 1)
        channels[:, CHANNEL_INDEX[f"eyeWide{side}"]] += 0.8 * np.clip(raise_inner - 0.1, 0, 1)
    for phone in phones:
        if phone.is_stressed and rng.random() < 0.4:
            accent = 0.30 * np.exp(-(((time - phone.middle) / 0.12) ** 2))
            channels[:, CHANNEL_INDEX["browInnerUp"]] += accent
            for side in ("Left", "Right"):
                channels[:, CHANNEL_INDEX[f"browOuterUp{side}"]] += 0.7 * accent
    return channels
