"""Speaking: the actor learns from its own footage how its mouth goes with its sound, and performs any other sound."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from ..contract.actor_folder import ActorFolder, damaged_file_error
from ..contract.arrays import F32, F64
from ..contract.channels import CHANNEL_INDEX, ORAL_CHANNELS
from ..contract.errors import UserError
from ..contract.performance import Performance
from ..contract.progress import Reporter
from ..contract.safe_io import ArrayLayout, is_accessible_file, matches_layout
from ..dataset.split import first_held_out_frame
from ..media.audio_io import SAMPLE_RATE, is_silent, load_audio
from .external_features import load_external_features, principal_directions, project_features
from .features import FEATURE_RATE, MEL_BANDS, SpeechFeatures, analyze_speech, context_window_size
from .motion import POSE_SIZE, MotionStrengths, build_motion_library, synthesize_motion
from .mouth import (
    MouthProfile,
    closure_weights,
    constrain_mouth,
    lip_gap_per_channel,
    measure_mouth_profile,
    pause_weights,
)
from .network import SpeechNetwork, fit_network, predict_out_of_fold, predict_ridge_baseline

SPEECH_FILE_NAME = "speech.safetensors"
SPEECH_VERSION = 2
SPEECH_VERSION_KEY = "portrait_actor.speech"
STAGE = "learn to speak"
MIN_LINE_SECONDS, MAX_LINE_SECONDS = 0.2, 3600.0  # seconds of a line
MAX_STRENGTH = 3.0  # of lips, brows, head and blinks
MAX_SMOOTHING_SECONDS = 0.3  # seconds
MIN_STYLE_SECONDS = 1.0  # seconds
MAX_FEATURE_COMPONENTS = 32  # of plugged features that are kept
MIN_TRAINING_FRAMES = 48  # of footage with sound from which a mouth can be learned
CHUNK_FRAMES = 2000  # frames spoken at once: windows of an hour would fill the memory
WEAK_CORRELATION = 0.25  # correlation of the lips' opening on held-out frames below which the person is told

SPEECH_LAYOUT: ArrayLayout = {
    "network.centre": ("D",),
    "network.basis": ("D", "K"),
    "network.supports": ("N", "K"),
    "network.kernel": ("N", len(ORAL_CHANNELS)),
    "network.width": (1,),
    "network.w0": ("E", "K", "H"),
    "network.b0": ("E", 1, "H"),
    "network.w1": ("E", "H", "H"),
    "network.b1": ("E", 1, "H"),
    "network.w2": ("E", "H", len(ORAL_CHANNELS)),
    "network.b2": ("E", 1, len(ORAL_CHANNELS)),
    "network.skip": ("E", "K", len(ORAL_CHANNELS)),
    "network.mean": (len(ORAL_CHANNELS),),
    "network.deviation": (len(ORAL_CHANNELS),),
    "activity": ("T",),
    "plugged": ("P", "C"),
    **{
        f"mouth.{f.name}": ({"span": 2, "liveliness": 1}.get(f.name, len(ORAL_CHANNELS)),) for f in fields(MouthProfile)
    },
}


@dataclass(frozen=True)
class Delivery:
    """How a line is spoken.

    Attributes:
        seed: the same seed gives the same take, another one another take of head, brows and blinks.
        lips, brows, head, blink: strengths; 1 is the actor's own, 0 is still.
        style: parts of the footage, in seconds from its start, whose manner is taken; all of it when empty.
        features: the line's features, for an actor that learned from such (`train_speech`).
        smoothing: seconds, standard deviation, over which the mouth's motion is averaged; lips close all the same.
    """

    seed: int = 0
    lips: float = 1.0
    brows: float = 1.0
    head: float = 1.0
    blink: float = 1.0
    style: tuple[tuple[float, float], ...] = ()
    features: Path | None = None
    smoothing: float = 0.0


@dataclass
class SpeechModel:
    """What an actor learned about speaking.

    Attributes:
        network: windows of sound → oral channels.
        mouth: how this mouth closes, rests and ranges.
        activity: (M,) speech activity of the footage's training frames.
        plugged: (1 + K, D) centre and directions of the features from a file that it learned from; (0, 0) without.
    """

    network: SpeechNetwork
    mouth_profile: MouthProfile
    activity: F32
    external_basis: F32

    def analyze_audio(self, samples: F32, features_file: Path | None) -> SpeechFeatures:
        """The track of a sound as this actor learned to hear it.

        Raises:
            UserError: ``features_needed``, ``features_unknown``, or ``bad_features``.
        """
        track = analyze_speech(samples)
        if features_file is None and not len(self.external_basis):
            return track
        if features_file is None:
            raise UserError(
                "features_needed",
                "This actor learned to speak from features of your own files.",
                "Give those of this line too, or let it learn to speak again without.",
            )
        if not len(self.external_basis):
            raise UserError(
                "features_unknown",
                "This actor learned to speak without features of your own files.",
                "Let it learn to speak again with them, or leave them out.",
            )
        values = load_external_features(features_file, len(samples) / SAMPLE_RATE, len(track), FEATURE_RATE)
        if values.shape[1] != self.external_basis.shape[1]:
            raise UserError(
                "bad_features",
                f"{features_file.name} has {values.shape[1]} columns, "
                f"but the actor learned from {self.external_basis.shape[1]}.",
                "Make them with the same network and layer.",
            )
        return replace(track, external=project_features(values, self.external_basis))

    def predict_oral_channels(
        self,
        track: SpeechFeatures,
        times: F64,
        lip_strength: float = 1.0,
        style_channels: tuple[F32, F32] | None = None,
        smoothing_seconds: float = 0.0,
    ) -> F32:
        """Oral channels (T, 28) at `times` in seconds; `style` is what `Mouth.in_style` takes."""
        said = np.concatenate(
            [
                self.network(track.context_windows(times[i : i + CHUNK_FRAMES]))
                for i in range(0, len(times), CHUNK_FRAMES)
            ]
        )
        mouth, shift = (
            self.mouth_profile.with_style(*style_channels) if style_channels else (self.mouth_profile, np.float32(0))
        )
        return constrain_mouth(mouth, said + shift, track, times, lip_strength, smoothing_seconds)

    def save(self, folder: ActorFolder) -> None:
        """Writes `speech.safetensors`."""
        arrays = {f"network.{name}": value for name, value in self.network.arrays.items()}
        arrays |= {f"mouth.{f.name}": getattr(self.mouth_profile, f.name) for f in fields(MouthProfile)}
        arrays |= {"activity": self.activity, "plugged": self.external_basis}
        with folder.write_atomically(SPEECH_FILE_NAME) as part:
            whole = {name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()}
            # one entry only: several are written in no fixed order, and the same training is to give the same file
            # save_file would make a file that only its owner may read
            part.write_bytes(save(whole, metadata={SPEECH_VERSION_KEY: str(SPEECH_VERSION)}))

    @classmethod
    def load(cls, folder: ActorFolder) -> SpeechModel:
        """What the actor learned.

        Raises:
            UserError: ``cannot_speak`` (it never learned), ``newer_format``, or ``damaged_actor``.
        """
        path = folder.file_path(SPEECH_FILE_NAME)
        if not is_accessible_file(path):
            raise UserError(
                "cannot_speak",
                f"{folder.info.name or folder.path.name} cannot speak, because its footage had no usable sound.",
                "Create the actor from a video with the person's voice.",
            )
        try:
            with safe_open(path, framework="numpy") as file:
                version = int(file.metadata()[SPEECH_VERSION_KEY])
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no dict)
            if version > SPEECH_VERSION:
                raise UserError(
                    "newer_format",
                    f"{folder.path.name} learned to speak in a newer Portrait Actor.",
                    "Update the extension to use it.",
                )
            return cls._from_arrays(arrays)
        except UserError:
            raise
        except Exception as error:  # safetensors raises its own kinds on a damaged file
            raise damaged_file_error(path) from error

    @classmethod
    def _from_arrays(cls, arrays: dict[str, F32]) -> SpeechModel:
        if not all(value.dtype == np.float32 for value in arrays.values()) or not matches_layout(arrays, SPEECH_LAYOUT):
            raise ValueError("shape")
        network = SpeechNetwork({k[8:]: v for k, v in arrays.items() if k.startswith("network.")})
        mouth = MouthProfile(*(arrays[f"mouth.{f.name}"] for f in fields(MouthProfile)))
        plugged = arrays["plugged"]
        count = context_window_size(max(len(plugged) - 1, 0))
        if network.arrays["centre"].shape != (count,):
            raise ValueError("made for other features")
        if len(plugged) == 1 or len(plugged) > MAX_FEATURE_COMPONENTS + 1:
            raise ValueError("plugged")
        return cls(network, mouth, arrays["activity"], plugged)


def train_speech(
    folder: ActorFolder, reporter: Reporter, seed: int = 0, features_file: Path | None = None
) -> dict[str, Any]:
    """Learns from `footage.npz`, `proxy.npz` and `audio.wav`, writes `speech.safetensors`.

    Frame i of the footage is at i / fps seconds of the sound. The last eleventh is only looked at for the figures.

    Args:
        features: more features of the footage's sound to learn from, see `audio.plugged`; lines need theirs then too.

    Returns:
        {"held_out": {"jawOpen_r", "opening_r", "oral_r"}: correlation of the spoken with the tracked curves on held-out
        frames (opening: gap between the lips; oral: mean over the channels that move), "unshaped": the same before
        rest and closures are enforced, "ridge": the same for ridge regression on the log-mel spectrum,
        "pause_opening": mean opening in pauses and "closure_opening": mean opening where lips must meet, as shares of
        the footage's range, "frames", "seconds"}; {} when nothing could be learned (a note says so).

    Raises:
        UserError: the actor is damaged, or ``bad_features``.
        Cancelled: the person asked to stop.
    """
    began = time.monotonic()
    footage, gap = folder.load_footage_performance(), _load_lip_gap(folder)
    samples = load_audio(folder.file_path("audio.wav"))
    times = np.arange(len(footage)) / footage.fps
    heard = int(np.searchsorted(times, len(samples) / SAMPLE_RATE))
    count = min(first_held_out_frame(len(footage)), heard)
    if count < MIN_TRAINING_FRAMES or is_silent(samples):
        reporter.note("The clip has too little sound to learn from: the actor cannot speak.")
        return {}
    reporter.progress(STAGE, 0, 1)
    track, plugged = analyze_speech(samples), np.zeros((0, 0), np.float32)
    if features_file is not None:
        values = load_external_features(features_file, len(samples) / SAMPLE_RATE, len(track), FEATURE_RATE)
        plugged = principal_directions(values[: round(times[count - 1] * FEATURE_RATE)], MAX_FEATURE_COMPONENTS)
        track = replace(track, external=project_features(values, plugged))
    windows, oral = track.context_windows(times[:heard]), footage.channels[:heard, : len(ORAL_CHANNELS)]
    learned = slice(0, count)
    network = fit_network(
        windows[learned], oral[learned], seed, on_progress=lambda done, total: reporter.progress(STAGE, done, total)
    )
    mouth = measure_mouth_profile(
        oral[learned], predict_out_of_fold(windows[learned], oral[learned]), track, times[learned], gap
    )
    speaker = SpeechModel(network, mouth, track.interpolate(track.activity, times[learned]), plugged)
    speaker.save(folder)
    figures = _speech_metrics(speaker, track, times[:heard], oral, count)
    if figures.get("held_out", {}).get("opening_r", 1.0) < WEAK_CORRELATION:
        reporter.note("The mouth in the footage follows its sound only weakly: check that the person shown is heard.")
    return {**figures, "frames": count, "seconds": round(time.monotonic() - began, 1)}


def speak(
    folder: ActorFolder,
    audio: Path,
    delivery: Delivery | None = None,
    *,
    fps: float | None = None,
    first_frame: int = 0,
) -> Performance:
    """The actor speaks a sound: the mouth follows it, everything else is the actor's own manner.

    Args:
        sound: any file with a sound track.
        fps: frames per second of the performance; the footage's when None.
        first_frame: frame number at which the sound begins.

    Returns:
        A performance as long as the sound.

    Raises:
        UserError: ``cannot_speak``, ``sound_too_short``, ``sound_too_long``, ``silent``, ``bad_strength``,
            ``bad_smoothing``, ``bad_style``, what `Speaker.hear` raises, or the sound cannot be read.
    """
    delivery = delivery or Delivery()
    if not all(
        0 <= strength <= MAX_STRENGTH for strength in (delivery.lips, delivery.brows, delivery.head, delivery.blink)
    ):
        raise UserError("bad_strength", f"A strength is not between 0 and {MAX_STRENGTH:g}.", "1 is the actor's own.")
    if not 0 <= delivery.smoothing <= MAX_SMOOTHING_SECONDS:
        raise UserError(
            "bad_smoothing", f"{delivery.smoothing:g} s is no smoothing.", f"Choose 0 to {MAX_SMOOTHING_SECONDS:g} s."
        )
    speaker = SpeechModel.load(folder)
    footage = folder.load_footage_performance()
    parts = _style_segments(delivery.style, footage.fps, len(speaker.activity))
    samples = _load_line_audio(audio)
    seconds = len(samples) / SAMPLE_RATE
    rate = footage.fps if fps is None else fps
    count = max(1, int(np.ceil(seconds * rate - 1e-3)))
    times = np.arange(count) / rate
    track = speaker.analyze_audio(samples, delivery.features)
    manner = build_motion_library(footage, speaker.activity, parts)
    grid = np.arange(int(np.ceil(seconds * footage.fps)) + 2) / footage.fps
    strengths = MotionStrengths(delivery.brows, delivery.head, delivery.blink)
    moved = synthesize_motion(manner, track.interpolate(track.activity, grid), times, delivery.seed, strengths)
    result = Performance.rest_pose(count, rate, first_frame)
    result.head_rotation, result.head_translation = moved[:, :4], moved[:, 4:7]
    result.torso_rotation, result.torso_translation = moved[:, 7:11], moved[:, 11:POSE_SIZE]
    style = _style_channels(footage, speaker.activity, parts)
    oral = speaker.predict_oral_channels(track, times, delivery.lips, style, delivery.smoothing)
    result.channels = np.concatenate([oral, moved[:, POSE_SIZE:]], 1)
    return result.check("spoken from " + audio.name)


def _load_line_audio(audio: Path) -> F32:
    """The samples of a line.

    Raises:
        UserError: it cannot be read or spoken.
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
    return samples


def _style_segments(style: tuple[tuple[float, float], ...], fps: float, frame_count: int) -> list[tuple[int, int]]:
    """The rows of the footage's parts (seconds), joined where they overlap; [] for all of it.

    Raises:
        UserError: ``bad_style``, a part is empty, or lies beyond what the actor learned from.
    """
    rows = np.zeros(frame_count + 1, bool)
    for start, end in style:
        first, last = (int(np.clip(np.nan_to_num(edge * fps), 0, frame_count)) for edge in (start, end))
        if last - first < MIN_STYLE_SECONDS * fps:
            raise UserError(
                "bad_style",
                f"From {start:g} to {end:g} s the actor learned less than {MIN_STYLE_SECONDS:g} s.",
                f"Mark longer parts of the footage, between 0 and {frame_count / fps:.1f} s.",
            )
        rows[first:last] = True
    edges = np.flatnonzero(np.diff(rows.astype(np.int8), prepend=0))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _style_channels(footage: Performance, activity: F32, segments: list[tuple[int, int]]) -> tuple[F32, F32] | None:
    """The oral channels while speaking, in the parts and in all the footage; None where there is no such style."""
    oral, speaking = footage.channels[: len(activity), : len(ORAL_CHANNELS)], activity > 0.5
    inside = np.zeros(len(activity), bool)
    for first, end in segments:
        inside[first:end] = True
    if not segments or (inside & speaking).sum() < MIN_TRAINING_FRAMES // 2:
        return None
    return oral[inside & speaking], oral[speaking]


def _load_lip_gap(folder: ActorFolder) -> F32:
    try:
        return lip_gap_per_channel(folder.load_proxy())
    except ValueError as error:
        raise damaged_file_error(folder.file_path("proxy.npz")) from error


def _speech_metrics(
    model: SpeechModel, track: SpeechFeatures, times: F64, oral: F32, train_frame_count: int
) -> dict[str, Any]:
    """How well the mouth follows; held-out frames are those from `count` on."""
    gap = model.mouth_profile.gap
    said = model.network(track.context_windows(times))
    spoken = constrain_mouth(model.mouth_profile, said, track, times, 1.0)
    opening = np.clip(model.mouth_profile.openness(spoken), 0, None)
    rest, shut = (
        pause_weights(track, times) > 0.9,
        closure_weights(track, times, model.mouth_profile.openness(said)) > 0.95,
    )
    shares = {"pause_opening": opening[rest], "closure_opening": opening[shut & ~rest]}
    figures: dict[str, Any] = {k: round(float(v.mean()), 4) for k, v in shares.items() if len(v)}
    if len(times) - train_frame_count >= 8:
        plain = replace(track, external=None).context_windows(times)
        mel = np.concatenate([plain[:, i : i + MEL_BANDS] for i in _mel_column_starts()], 1)
        ridge = predict_ridge_baseline(mel[:train_frame_count], oral[:train_frame_count], mel[train_frame_count:])
        figures["held_out"] = _correlation_metrics(spoken[train_frame_count:], oral[train_frame_count:], gap)
        figures["unshaped"] = _correlation_metrics(said[train_frame_count:], oral[train_frame_count:], gap)
        figures["ridge"] = _correlation_metrics(ridge, oral[train_frame_count:], gap)
    return figures


def _mel_column_starts() -> range:
    """Where the log-mel bands of each tap begin in a window."""
    from .features import CONTEXT_TAPS, RHYTHM_FEATURE_COUNT

    return range(
        0,
        context_window_size() - RHYTHM_FEATURE_COUNT,
        (context_window_size() - RHYTHM_FEATURE_COUNT) // (2 * CONTEXT_TAPS + 1),
    )


def _correlation_metrics(spoken: F32, tracked: F32, lip_gap_rates: F32) -> dict[str, float]:
    """Correlations of curves (T, 28); a curve that does not move counts as 0 when spoken, not at all when tracked."""
    moving = [i for i in range(len(ORAL_CHANNELS)) if tracked[:, i].std() > 0.01]
    jaw = CHANNEL_INDEX["jawOpen"]
    each = [pearson_correlation(spoken[:, i], tracked[:, i]) for i in moving]
    return {
        "jawOpen_r": round(pearson_correlation(spoken[:, jaw], tracked[:, jaw]), 4),
        "opening_r": round(pearson_correlation(spoken @ lip_gap_rates, tracked @ lip_gap_rates), 4),
        "oral_r": round(float(np.mean(each)), 4) if each else 0.0,
    }


def pearson_correlation(a: F32, b: F32) -> float:
    """Pearson's r of two curves; 0 when one of them is still."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 1e-9 else 0.0
