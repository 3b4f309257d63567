"""A line of dialogue becomes a performance: read → analyze → mouth → motion → performance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F32, F64
from ..contract.channels import ORAL_CHANNELS
from ..contract.errors import UserError
from ..contract.performance import Performance
from ..media.audio_io import SAMPLE_RATE, is_silent, load_audio
from .features import SpeechFeatures
from .model import SpeechModel
from .motion import POSE_SIZE, MotionStrengths, build_motion_library, synthesize_motion
from .training import MIN_TRAINING_FRAMES

# Seconds of a line. Shorter sounds hold no word; an hour of windows still fits into memory.
MIN_LINE_SECONDS = 0.2
MAX_LINE_SECONDS = 3600.0
# Factor on the actor's own motion, of lips, brows, head and blinks. Beyond it faces break.
MAX_STRENGTH = 3.0
# Seconds, standard deviation. More would average whole syllables away.
MAX_SMOOTHING_SECONDS = 0.3
# Seconds of one part of the footage whose style a line takes. Less shows no style.
MIN_STYLE_SECONDS = 1.0


@dataclass(frozen=True)
class Delivery:
    """How a line is spoken.

    Attributes:
        seed: the same seed gives the same take; another one gives other head motion, brows and blinks.
        lips: strength of the mouth; 1 is the actor's own, 0 is still.
        brows: strength of the brows.
        head: strength of head and torso motion.
        blink: strength of the blinks.
        style: parts of the footage, (start, end) in seconds, whose style the line takes; all of it when empty.
        features: the user's own features of the line, for an actor that learned from such.
        smoothing: seconds, standard deviation, over which the mouth's motion is averaged; the lips still close.
    """

    seed: int = 0
    lips: float = 1.0
    brows: float = 1.0
    head: float = 1.0
    blink: float = 1.0
    style: tuple[tuple[float, float], ...] = ()
    features: Path | None = None
    smoothing: float = 0.0

    def check(self) -> None:
        """Check the ranges.

        Raises:
            UserError: ``bad_strength`` or ``bad_smoothing``.
        """
        for name in ("lips", "brows", "head", "blink"):
            strength = getattr(self, name)
            if not 0 <= strength <= MAX_STRENGTH:
                raise UserError(
                    "bad_strength",
                    f"The strength of {name} must be between 0 and {MAX_STRENGTH:g}, not {strength:g}.",
                    "1 is the actor's own.",
                )
        if not 0 <= self.smoothing <= MAX_SMOOTHING_SECONDS:
            raise UserError(
                "bad_smoothing",
                f"Smoothing must be between 0 and {MAX_SMOOTHING_SECONDS:g} s, not {self.smoothing:g} s.",
                "Choose a value in this range.",
            )


@dataclass(frozen=True)
class Line:
    """The audio of a line, and the frames of its performance.

    Attributes:
        name: of the file.
        samples: (S,) audio at `SAMPLE_RATE`.
        fps: frames per second of the performance.
        times: (T,) seconds of the frames from the beginning of the audio.
    """

    name: str
    samples: F32
    fps: float
    times: F64

    @property
    def seconds(self) -> float:
        """Duration of the audio."""
        return len(self.samples) / SAMPLE_RATE


def speak(
    folder: ActorFolder,
    audio: Path,
    delivery: Delivery | None = None,
    *,
    fps: float | None = None,
    first_frame: int = 0,
) -> Performance:
    """Let the actor speak a sound: the mouth follows it, everything else is the actor's own motion.

    Args:
        folder: the actor.
        audio: any file with a sound track.
        delivery: how the line is spoken.
        fps: frames per second of the performance; the footage's when None.
        first_frame: frame number at which the sound begins.

    Returns:
        A performance as long as the sound.

    Raises:
        UserError: ``cannot_speak``, ``sound_too_short``, ``sound_too_long``, ``silent``, ``bad_strength``,
            ``bad_smoothing``, ``bad_style``, what `SpeechModel.analyze_audio` raises, or the sound cannot be read.
    """
    delivery = delivery or Delivery()
    delivery.check()
    model = SpeechModel.load(folder)
    footage = folder.load_footage_performance()
    segments = find_style_segments(delivery.style, footage.fps, len(model.activity))
    line = read_line(audio, footage.fps if fps is None else fps)
    features = model.analyze_audio(line.samples, delivery.features)
    mouth = _predict_mouth(model, line, features, delivery, _style_channels(footage, model.activity, segments))
    motion = _synthesize_motion(model, line, features, delivery, footage, segments)
    return _build_performance(line, mouth, motion, first_frame)


def read_line(audio: Path, fps: float) -> Line:
    """Read the audio of a line.

    Raises:
        UserError: ``sound_too_short``, ``sound_too_long``, ``silent``, or it cannot be read.
    """
    samples = load_audio(audio)
    seconds = len(samples) / SAMPLE_RATE
    if seconds < MIN_LINE_SECONDS:
        raise UserError(
            "sound_too_short", f"{audio.name} is shorter than {MIN_LINE_SECONDS} seconds.", "Choose a longer one."
        )
    if seconds > MAX_LINE_SECONDS:
        raise UserError("sound_too_long", f"{audio.name} is longer than an hour.", "Cut it into lines.")
    if is_silent(samples):
        raise UserError("silent", f"{audio.name} is silent.", "Choose a sound with a voice.")
    count = max(1, int(np.ceil(seconds * fps - 1e-3)))
    return Line(audio.name, samples, fps, np.arange(count) / fps)


def find_style_segments(style: tuple[tuple[float, float], ...], fps: float, frame_count: int) -> list[tuple[int, int]]:
    """Convert parts of the footage in seconds to frame ranges, joined where they overlap.

    Args:
        style: (start, end) of each part, seconds.
        fps: of the footage.
        frame_count: frames that the actor learned from.

    Returns:
        (first, end) of each range; [] for all of the footage.

    Raises:
        UserError: ``bad_style``, a part is too short, or lies beyond what the actor learned from.
    """
    is_chosen = np.zeros(frame_count + 1, bool)
    for start, end in style:
        first, last = (int(np.clip(np.nan_to_num(edge * fps), 0, frame_count)) for edge in (start, end))
        if last - first < MIN_STYLE_SECONDS * fps:
            raise UserError(
                "bad_style",
                f"From {start:g} to {end:g} s the actor learned less than {MIN_STYLE_SECONDS:g} s.",
                f"Mark longer parts of the footage, between 0 and {frame_count / fps:.1f} s.",
            )
        is_chosen[first:last] = True
    edges = np.flatnonzero(np.diff(is_chosen.astype(np.int8), prepend=0))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _style_channels(footage: Performance, activity: F32, segments: list[tuple[int, int]]) -> tuple[F32, F32] | None:
    """Return the oral channels of speech in the segments and in all the footage; None without enough of such speech."""
    oral, is_speaking = footage.channels[: len(activity), : len(ORAL_CHANNELS)], activity > 0.5
    is_inside = np.zeros(len(activity), bool)
    for first, end in segments:
        is_inside[first:end] = True
    if not segments or (is_inside & is_speaking).sum() < MIN_TRAINING_FRAMES // 2:
        return None
    return oral[is_inside & is_speaking], oral[is_speaking]


def _predict_mouth(
    model: SpeechModel,
    line: Line,
    features: SpeechFeatures,
    delivery: Delivery,
    style_channels: tuple[F32, F32] | None,
) -> F32:
    """Return the oral channels (T, 28) of the line."""
    return model.predict_oral_channels(features, line.times, delivery.lips, style_channels, delivery.smoothing)


def _synthesize_motion(
    model: SpeechModel,
    line: Line,
    features: SpeechFeatures,
    delivery: Delivery,
    footage: Performance,
    segments: list[tuple[int, int]],
) -> F32:
    """Return head and torso poses and facial channels (T, 14 + 24) of the line."""
    library = build_motion_library(footage, model.activity, segments)
    footage_times = np.arange(int(np.ceil(line.seconds * footage.fps)) + 2) / footage.fps
    activity = features.interpolate(features.activity, footage_times)
    strengths = MotionStrengths(delivery.brows, delivery.head, delivery.blink)
    return synthesize_motion(library, activity, line.times, delivery.seed, strengths)


def _build_performance(line: Line, mouth: F32, motion: F32, first_frame: int) -> Performance:
    """Join mouth (T, 28) and motion (T, 38) to a checked performance."""
    result = Performance.rest_pose(len(line.times), line.fps, first_frame)
    result.head_rotation, result.head_translation = motion[:, :4], motion[:, 4:7]
    result.torso_rotation, result.torso_translation = motion[:, 7:11], motion[:, 11:POSE_SIZE]
    result.channels = np.concatenate([mouth, motion[:, POSE_SIZE:]], 1)
    return result.check("spoken from " + line.name)
