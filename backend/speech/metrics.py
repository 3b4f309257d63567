"""Measures how well the mouth that an actor learned follows the audio of its footage."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract.arrays import F32, F64
from ..contract.channels import CHANNEL_INDEX, ORAL_CHANNELS
from .closures import closure_weights, pause_weights
from .features import SpeechFeatures
from .model import SpeechModel
from .mouth import constrain_mouth
from .network import predict_ridge_baseline

MIN_HELD_OUT_FRAMES = 8  # a correlation over fewer says nothing
MIN_REST_WEIGHT = 0.9  # weight of rest above which a frame counts as a pause
MIN_CLOSURE_WEIGHT = 0.95  # weight of a closure above which the lips must be together
MIN_MOVING_DEVIATION = 0.01  # standard deviation of a tracked channel above which it counts as moving


def measure_speech(
    model: SpeechModel, features: SpeechFeatures, times: F64, oral: F32, train_count: int
) -> dict[str, Any]:
    """Compare what the actor says to its footage's audio with the tracked channels.

    Args:
        model: the trained model.
        features: of the footage's audio.
        times: (T,) seconds of the frames.
        oral: (T, 28) tracked oral channels.
        train_count: frames that the model learned from; the later ones are held out.

    Returns:
        "held_out": {"jawOpen_r", "opening_r", "oral_r"}, correlations of the spoken with the tracked curves on held-out
        frames (opening: gap between the lips; oral: mean over the channels that move).
        "unshaped": the same before rest and closures are enforced.
        "ridge": the same for ridge regression on the log-mel spectrum, the baseline.
        "pause_opening": mean openness in pauses, as a share of the footage's range.
        "closure_opening": mean openness where lips must meet.
        Entries that cannot be measured are left out.
    """
    profile = model.mouth_profile
    predicted = model.network(features.context_windows(times))
    spoken = constrain_mouth(profile, predicted, features, times, lip_strength=1.0)
    openness = np.clip(profile.openness(spoken), 0, None)
    is_rest = pause_weights(features, times) > MIN_REST_WEIGHT
    is_closed = closure_weights(features, times, profile.openness(predicted)) > MIN_CLOSURE_WEIGHT
    opennesses = {"pause_opening": openness[is_rest], "closure_opening": openness[is_closed & ~is_rest]}
    metrics: dict[str, Any] = {
        name: round(float(values.mean()), 4) for name, values in opennesses.items() if len(values)
    }
    if len(times) - train_count >= MIN_HELD_OUT_FRAMES:
        mel = features.mel_windows(times)
        ridge = predict_ridge_baseline(mel[:train_count], oral[:train_count], mel[train_count:])
        held_out = oral[train_count:]
        metrics["held_out"] = _correlations(spoken[train_count:], held_out, profile.gap)
        metrics["unshaped"] = _correlations(predicted[train_count:], held_out, profile.gap)
        metrics["ridge"] = _correlations(ridge, held_out, profile.gap)
    return metrics


def _correlations(spoken: F32, tracked: F32, lip_gap_rates: F32) -> dict[str, float]:
    """Correlations of curves (T, 28). "oral_r" leaves out channels that were tracked as still."""
    moving = [i for i in range(len(ORAL_CHANNELS)) if tracked[:, i].std() > MIN_MOVING_DEVIATION]
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
