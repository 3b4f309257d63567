"""Trains an actor's speech on its own footage, and measures it on the held-out frames."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.actor_folder import ActorFolder, damaged_file_error
from ..contract.arrays import F32, F64
from ..contract.channels import CHANNEL_INDEX, ORAL_CHANNELS
from ..contract.progress import Reporter
from ..dataset.split import first_held_out_frame
from ..media.audio_io import SAMPLE_RATE, is_silent, load_audio
from .external_features import load_external_features, principal_directions, project_features
from .features import (
    CONTEXT_TAPS,
    FEATURE_RATE,
    MEL_BANDS,
    RHYTHM_FEATURE_COUNT,
    SpeechFeatures,
    analyze_speech,
    context_window_size,
)
from .model import MAX_FEATURE_COMPONENTS, SpeechModel
from .mouth import closure_weights, constrain_mouth, lip_gap_per_channel, measure_mouth_profile, pause_weights
from .network import fit_network, predict_out_of_fold, predict_ridge_baseline

STAGE = "learn to speak"
# Frames of footage with sound from which a mouth can be learned: two seconds at 24 fps. Fewer give no usable network.
MIN_TRAINING_FRAMES = 48
# Correlation of the lip opening on held-out frames below which a note warns the user. Lower warns less often.
WEAK_CORRELATION = 0.25
# Held-out frames from which correlations are reported; of fewer they mean nothing.
MIN_MEASURED_FRAMES = 8


def train_speech(
    folder: ActorFolder, reporter: Reporter, seed: int = 0, features_file: Path | None = None
) -> dict[str, Any]:
    """Learn from `footage.npz`, `proxy.npz` and `audio.wav`, and write `speech.safetensors`.

    Frame i of the footage is at i / fps seconds of the sound. The last eleventh is used for the figures only.

    Args:
        folder: the actor.
        reporter: receives progress and notes.
        seed: of the network's initial weights.
        features_file: the user's own features of the footage's sound; lines then need theirs too.

    Returns:
        Figures by name; {} when nothing could be learned (a note says so).
        held_out: {"jawOpen_r", "opening_r", "oral_r"}, correlations of spoken and tracked curves on held-out frames
        (opening: gap between the lips; oral: mean over the channels that move).
        unshaped: the same before rest and closures are enforced.
        ridge: the same for a ridge regression on the log-mel spectrum.
        pause_opening: mean opening in pauses, as a share of the footage's range.
        closure_opening: mean opening where the lips must meet, likewise.
        frames: training frames.
        seconds: duration of the training.

    Raises:
        UserError: the actor is damaged, or ``bad_features``.
        Cancelled: the user cancelled the job.
    """
    start = time.monotonic()
    footage, lip_gap_rates = folder.load_footage_performance(), _load_lip_gap(folder)
    samples = load_audio(folder.file_path("audio.wav"))
    times = np.arange(len(footage)) / footage.fps
    heard_count = int(np.searchsorted(times, len(samples) / SAMPLE_RATE))
    train_count = min(first_held_out_frame(len(footage)), heard_count)
    if train_count < MIN_TRAINING_FRAMES or is_silent(samples):
        reporter.note("The clip has too little sound to learn from: the actor cannot speak.")
        return {}
    reporter.progress(STAGE, 0, 1)
    track, external_basis = analyze_speech(samples), np.zeros((0, 0), np.float32)
    if features_file is not None:
        values = load_external_features(features_file, len(samples) / SAMPLE_RATE, len(track), FEATURE_RATE)
        train_values = values[: round(times[train_count - 1] * FEATURE_RATE)]
        external_basis = principal_directions(train_values, MAX_FEATURE_COMPONENTS)
        track = replace(track, external=project_features(values, external_basis))
    windows, oral = track.context_windows(times[:heard_count]), footage.channels[:heard_count, : len(ORAL_CHANNELS)]
    train = slice(0, train_count)
    network = fit_network(
        windows[train], oral[train], seed, on_progress=lambda done, total: reporter.progress(STAGE, done, total)
    )
    profile = measure_mouth_profile(
        oral[train], predict_out_of_fold(windows[train], oral[train]), track, times[train], lip_gap_rates
    )
    model = SpeechModel(network, profile, track.interpolate(track.activity, times[train]), external_basis)
    model.save(folder)
    figures = measure_speech(model, track, times[:heard_count], oral, train_count)
    if figures.get("held_out", {}).get("opening_r", 1.0) < WEAK_CORRELATION:
        reporter.note("The mouth in the footage follows its sound only weakly: check that the person shown is heard.")
    return {**figures, "frames": train_count, "seconds": round(time.monotonic() - start, 1)}


def _load_lip_gap(folder: ActorFolder) -> F32:
    """Return how far each oral channel opens the lips, see `lip_gap_per_channel`."""
    try:
        return lip_gap_per_channel(folder.load_proxy())
    except ValueError as error:
        raise damaged_file_error(folder.file_path("proxy.npz")) from error


def measure_speech(
    model: SpeechModel, track: SpeechFeatures, times: F64, oral: F32, train_frame_count: int
) -> dict[str, Any]:
    """Return the figures of `train_speech` but the last two; frames from `train_frame_count` on are held out."""
    gap = model.mouth_profile.gap
    predicted = model.network(track.context_windows(times))
    spoken = constrain_mouth(model.mouth_profile, predicted, track, times, 1.0)
    opening = np.clip(model.mouth_profile.openness(spoken), 0, None)
    is_pause = pause_weights(track, times) > 0.9
    is_closure = closure_weights(track, times, model.mouth_profile.openness(predicted)) > 0.95
    shares = {"pause_opening": opening[is_pause], "closure_opening": opening[is_closure & ~is_pause]}
    figures: dict[str, Any] = {k: round(float(v.mean()), 4) for k, v in shares.items() if len(v)}
    if len(times) - train_frame_count >= MIN_MEASURED_FRAMES:
        plain = replace(track, external=None).context_windows(times)
        mel = np.concatenate([plain[:, i : i + MEL_BANDS] for i in _mel_column_starts()], 1)
        ridge = predict_ridge_baseline(mel[:train_frame_count], oral[:train_frame_count], mel[train_frame_count:])
        figures["held_out"] = _correlation_metrics(spoken[train_frame_count:], oral[train_frame_count:], gap)
        figures["unshaped"] = _correlation_metrics(predicted[train_frame_count:], oral[train_frame_count:], gap)
        figures["ridge"] = _correlation_metrics(ridge, oral[train_frame_count:], gap)
    return figures


def _mel_column_starts() -> range:
    """Return the columns of a context window at which the log-mel bands of each tap begin."""
    tap_columns = context_window_size() - RHYTHM_FEATURE_COUNT
    return range(0, tap_columns, tap_columns // (2 * CONTEXT_TAPS + 1))


def _correlation_metrics(spoken: F32, tracked: F32, lip_gap_rates: F32) -> dict[str, float]:
    """Correlate curves (T, 28). A still spoken curve counts as 0; a channel that is still when tracked is left out."""
    moving = [i for i in range(len(ORAL_CHANNELS)) if tracked[:, i].std() > 0.01]
    jaw = CHANNEL_INDEX["jawOpen"]
    correlations = [pearson_correlation(spoken[:, i], tracked[:, i]) for i in moving]
    return {
        "jawOpen_r": round(pearson_correlation(spoken[:, jaw], tracked[:, jaw]), 4),
        "opening_r": round(pearson_correlation(spoken @ lip_gap_rates, tracked @ lip_gap_rates), 4),
        "oral_r": round(float(np.mean(correlations)), 4) if correlations else 0.0,
    }


def pearson_correlation(a: F32, b: F32) -> float:
    """Pearson's r of two curves; 0 when one of them is still."""
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 1e-9 else 0.0
