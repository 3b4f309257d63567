"""Speaks a line: audio → speech features → mouth and motion → performance."""

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
from . import motion
from .delivery import Delivery, Segments, segments_mask, style_segments
from .features import SpeechFeatures
from .model import SpeechModel
from .mouth import MouthStyle, constrain_mouth

MIN_LINE_SECONDS = 0.2  # a shorter sound holds no syllable. Not tuned
MAX_LINE_SECONDS = 3600.0  # bounds memory and time. Not tuned
MIN_STYLE_FRAMES = 24  # of speech; with fewer, the mouth keeps the style of all the footage. Not tuned
MIN_SPEECH_ACTIVITY = 0.5  # speech activity above which a frame of the footage counts as speech. Not tuned


@dataclass(frozen=True)
class Speaker:
    """An actor that is ready to speak.

    Attributes:
        model: what the actor learned about speaking.
        footage: the performance tracked from the footage.
        style: the parts of the footage whose style is used; all trained frames when empty.
    """

    model: SpeechModel
    footage: Performance
    style: Segments

    def mouth_style(self) -> MouthStyle | None:
        """The mouth's statistics in the style's parts, or None to use the whole footage's."""
        activity = self.model.activity
        oral, is_speech = self.footage.channels[: len(activity), : len(ORAL_CHANNELS)], activity > MIN_SPEECH_ACTIVITY
        is_style = segments_mask(self.style, len(activity)) & is_speech
        if not self.style or is_style.sum() < MIN_STYLE_FRAMES:
            return None
        return MouthStyle.measure(oral[is_style], oral[is_speech])


@dataclass(frozen=True)
class Line:
    """The audio of a line, and the frames that it lasts.

    Attributes:
        name: of the audio file, for messages.
        samples: (S,) mono, at `SAMPLE_RATE`.
        fps: frames per second of the performance.
        times: (T,) seconds of the performance's frames.
    """

    name: str
    samples: F32
    fps: float
    times: F64

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return len(self.samples) / SAMPLE_RATE


def speak(
    folder: ActorFolder,
    audio: Path,
    delivery: Delivery | None = None,
    *,
    fps: float | None = None,
    first_frame: int = 0,
) -> Performance:
    """Return the performance of a line: the mouth follows the audio, everything else moves as in the footage.

    Args:
        folder: an actor that learned to speak.
        audio: any file with an audio track.
        delivery: how the line is spoken; the defaults of `Delivery` when None.
        fps: frames per second of the performance; the footage's when None.
        first_frame: frame number at which the audio begins.

    Returns:
        A performance as long as the audio.

    Raises:
        UserError: ``cannot_speak``, ``sound_too_short``, ``sound_too_long``, ``silent``, ``bad_strength``,
            ``bad_smoothing``, ``bad_style``, an error of `SpeechModel.analyze_audio`, or one of `load_audio`.
    """
    delivery = delivery or Delivery()
    delivery.check()
    speaker = load_speaker(folder, delivery)
    line = read_line(audio, speaker.footage.fps if fps is None else fps)
    features = speaker.model.analyze_audio(line.samples, delivery.features)
    oral = animate_mouth(speaker, features, line, delivery)
    head_and_face = animate_head_and_face(speaker, features, line, delivery)
    return build_performance(line, oral, head_and_face, first_frame)


def load_speaker(folder: ActorFolder, delivery: Delivery) -> Speaker:
    """Load what speaking needs of an actor.

    Raises:
        UserError: ``cannot_speak``, ``bad_style``, or the actor is damaged.
    """
    model = SpeechModel.load(folder)
    footage = folder.load_footage_performance()
    return Speaker(model, footage, style_segments(delivery.style, footage.fps, len(model.activity)))


def read_line(audio: Path, fps: float) -> Line:
    """Read the audio of a line and check that it can be spoken.

    Raises:
        UserError: ``sound_too_short``, ``sound_too_long``, ``silent``, or the file cannot be read.
    """
    samples = load_audio(audio)
    seconds = len(samples) / SAMPLE_RATE
    if seconds < MIN_LINE_SECONDS:
        raise UserError(
            "sound_too_short", f"{audio.name} is shorter than {MIN_LINE_SECONDS} seconds.", "Choose a longer sound."
        )
    if seconds > MAX_LINE_SECONDS:
        raise UserError("sound_too_long", f"{audio.name} is longer than an hour.", "Cut it into shorter lines.")
    if is_silent(samples):
        raise UserError("silent", f"{audio.name} is silent.", "Choose a sound with a voice.")
    frame_count = max(1, int(np.ceil(seconds * fps - 1e-3)))
    return Line(audio.name, samples, fps, np.arange(frame_count) / fps)


def animate_mouth(speaker: Speaker, features: SpeechFeatures, line: Line, delivery: Delivery) -> F32:
    """(T, 28) oral channels of a line."""
    oral, profile = speaker.model.predict_oral_channels(features, line.times), speaker.model.mouth_profile
    style = speaker.mouth_style()
    if style is not None:
        oral, profile = oral + style.shift, profile.with_style(style)
    return constrain_mouth(profile, oral, features, line.times, delivery.lips, delivery.smoothing)


def animate_head_and_face(speaker: Speaker, features: SpeechFeatures, line: Line, delivery: Delivery) -> F32:
    """(T, 38) poses and facial channels of a line, columns as in `motion`."""
    library = motion.build_motion_library(speaker.footage, speaker.model.activity, speaker.style)
    footage_times = np.arange(int(np.ceil(line.seconds * library.fps)) + 2) / library.fps
    activity = features.interpolate(features.activity, footage_times)
    strengths = motion.MotionStrengths(delivery.brows, delivery.head, delivery.blink)
    return motion.synthesize_motion(library, activity, line.times, delivery.seed, strengths)


def build_performance(line: Line, oral: F32, head_and_face: F32, first_frame: int) -> Performance:
    """Join the mouth and the motion of a line to a performance whose first frame has the number `first_frame`."""
    result = Performance.rest_pose(len(line.times), line.fps, first_frame)
    result.head_rotation = head_and_face[:, motion.HEAD_ROTATION]
    result.head_translation = head_and_face[:, motion.HEAD_TRANSLATION]
    result.torso_rotation = head_and_face[:, motion.TORSO_ROTATION]
    result.torso_translation = head_and_face[:, motion.TORSO_TRANSLATION]
    result.channels = np.concatenate([oral, head_and_face[:, motion.FACIAL]], 1)
    return result.check("spoken from " + line.name)
