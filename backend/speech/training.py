"""Learns speech from an actor's footage: audio and tracked channels → network and mouth profile → `SpeechModel`."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.actor_folder import ActorFolder, damaged_file_error
from ..contract.arrays import F32, F64
from ..contract.channels import ORAL_CHANNELS
from ..contract.progress import Reporter
from ..dataset.split import first_held_out_frame
from ..media.audio_io import SAMPLE_RATE, is_silent, load_audio
from .external_features import load_external_features, principal_directions, project_features
from .features import FEATURE_RATE, SpeechFeatures, analyze_speech
from .metrics import measure_speech
from .model import MAX_EXTERNAL_DIRECTIONS, SpeechModel
from .mouth import lip_gap_per_channel, measure_mouth_profile
from .network import fit_network, predict_out_of_fold

STAGE = "learn to speak"
MIN_TRAINING_FRAMES = 48  # with audio; with fewer, rest and closed pose are single frames. Not tuned
WEAK_CORRELATION = 0.25  # of the lip opening on held-out frames, below which a note warns the user. Not tuned


@dataclass(frozen=True)
class TrainingFootage:
    """The frames of an actor's footage that have audio.

    Attributes:
        samples: (S,) mono audio at `SAMPLE_RATE`.
        times: (T,) seconds of the frames in the audio.
        oral: (T, 28) tracked oral channels.
        lip_gap_rates: (28,) metres that the lips part per unit of each channel.
        train_count: frames that are learned from; the later ones are held out.
    """

    samples: F32
    times: F64
    oral: F32
    lip_gap_rates: F32
    train_count: int

    @property
    def is_usable(self) -> bool:
        """Whether there is enough to learn from."""
        return self.train_count >= MIN_TRAINING_FRAMES and not is_silent(self.samples)


def train_speech(
    folder: ActorFolder, reporter: Reporter, seed: int = 0, features_file: Path | None = None
) -> dict[str, Any]:
    """Learn from `footage.npz`, `proxy.npz` and `audio.wav`, and write `speech.safetensors`.

    Frame i of the footage is at i / fps seconds of the audio.

    Args:
        folder: an actor whose footage was tracked.
        reporter: receives the progress and the notes.
        seed: the same seed gives the same model.
        features_file: external features of the footage's audio to learn from too; every line then needs its own.

    Returns:
        The metrics of `measure_speech` with "frames" (trained frames) and "seconds" (duration of the training); {} when
        there is nothing to learn from, which a note says.

    Raises:
        UserError: the actor is damaged, or ``bad_features``.
        Cancelled: the user asked to stop.
    """
    start_time = time.monotonic()
    footage = load_training_footage(folder)
    if not footage.is_usable:
        reporter.note("The clip has too little sound to learn from: the actor cannot speak.")
        return {}
    reporter.progress(STAGE, 0, 1)
    features, external_basis = analyze_footage(footage, features_file)
    model = fit_speech_model(footage, features, external_basis, seed, reporter)
    model.save(folder)
    metrics = measure_speech(model, features, footage.times, footage.oral, footage.train_count)
    if metrics.get("held_out", {}).get("opening_r", 1.0) < WEAK_CORRELATION:
        reporter.note("The mouth in the footage follows its sound only weakly: check that the person shown is heard.")
    return {**metrics, "frames": footage.train_count, "seconds": round(time.monotonic() - start_time, 1)}


def load_training_footage(folder: ActorFolder) -> TrainingFootage:
    """Read an actor's tracked footage, the lips of its mesh, and its audio.

    Raises:
        UserError: a file is missing or damaged.
    """
    performance = folder.load_footage_performance()
    try:
        lip_gap_rates = lip_gap_per_channel(folder.load_proxy())
    except ValueError as error:
        raise damaged_file_error(folder.file_path("proxy.npz")) from error
    samples = load_audio(folder.file_path("audio.wav"))
    times = np.arange(len(performance)) / performance.fps
    count = int(np.searchsorted(times, len(samples) / SAMPLE_RATE))
    return TrainingFootage(
        samples,
        times[:count],
        performance.channels[:count, : len(ORAL_CHANNELS)],
        lip_gap_rates,
        train_count=min(first_held_out_frame(len(performance)), count),
    )


def analyze_footage(footage: TrainingFootage, features_file: Path | None) -> tuple[SpeechFeatures, F32]:
    """Return the features of the footage's audio, and the basis of its external features; (0, 0) without a file.

    Raises:
        UserError: ``bad_features``.
    """
    features = analyze_speech(footage.samples)
    if features_file is None:
        return features, np.zeros((0, 0), np.float32)
    seconds = len(footage.samples) / SAMPLE_RATE
    values = load_external_features(features_file, seconds, len(features), FEATURE_RATE)
    train_rows = round(footage.times[footage.train_count - 1] * FEATURE_RATE)
    basis = principal_directions(values[:train_rows], MAX_EXTERNAL_DIRECTIONS)
    return replace(features, external=project_features(values, basis)), basis


def fit_speech_model(
    footage: TrainingFootage, features: SpeechFeatures, external_basis: F32, seed: int, reporter: Reporter
) -> SpeechModel:
    """Fit the network, and measure the mouth against what the network predicts for frames that it did not see.

    Raises:
        Cancelled: the user asked to stop.
    """
    oral, times = footage.oral[: footage.train_count], footage.times[: footage.train_count]
    windows = features.context_windows(times)
    network = fit_network(windows, oral, seed, on_progress=lambda done, total: reporter.progress(STAGE, done, total))
    predicted = predict_out_of_fold(windows, oral)
    profile = measure_mouth_profile(oral, predicted, features, times, footage.lip_gap_rates)
    return SpeechModel(network, profile, features.interpolate(features.activity, times), external_basis)
