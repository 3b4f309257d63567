"""The offset between audio and video, measured from how the mouth follows the voice.

A ridge regression learns the mouth's shape from the audio at every candidate lag on four fifths of the frames, and
predicts the last fifth; the lag with the best predictions is the offset. Nothing is assumed about language or person.
Resampling whole seconds of the clip (block bootstrap: H. R. Künsch, Annals of Statistics 17, 1989) shows how stable
that lag is.

Mouths move before they are heard, by an amount that differs between persons, so a small lag proves nothing: a recording
is either undisturbed (most are) or shifted by any amount, and the offset is the mean over both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from ..contract.arrays import C128, F32, F64, Floats
from ..tracking.detection import topology as topo
from .features import ACTIVITY, ENERGY, FEATURE_RATE, VOICING, SpeechFeatures

CANDIDATE_LAGS = np.arange(-0.60, 0.69, 0.04)  # seconds
MAX_SECONDS = 90.0  # of footage that is measured: more would not make it more certain
MIN_FRAMES = 96  # fewer cannot tell the peak from its neighbours. Not tuned

# The regression
MOUTH_COMPONENTS = 6  # principal components of the mouth's shape; the others are mostly tracking noise
DETREND_SECONDS = 2.4  # slower movement (a smile, the rest of a head turn) tells nothing about the audio
AUDIO_SMOOTHING_FRAMES = 2  # of 10 ms, standard deviation; makes the audio as coarse as video frames
FOLDS = 5
FOLD_GAP_FRAMES = 5  # left out between trained and predicted frames: neighbours are alike
RIDGE_PENALTY = 0.3  # per frame, on unit features; a larger one predicts more timidly. Not tuned

# How certain it is
BOOTSTRAP_DRAWS = 200  # more change the shares by less than 0.02
LAG_TOLERANCE_SECONDS = 0.06  # within which the peak of a draw is the same peak
MIN_STABILITY = 0.95  # share of draws that must find the same peak
# Undisturbed recordings: over the eleven clips this was developed on, the mouth led by 44 ms (median), and by 16 to
# 58 ms in most.
NATURAL_LEAD = 0.040  # seconds, mean
LEAD_DEVIATION = 0.025  # seconds, standard deviation between persons
SHIFT_PRIOR = 0.1  # share of recordings that are shifted. An assumption
SHIFT_RANGE_SECONDS = 1.0  # over which their shifts spread evenly. An assumption
MIN_SHIFT_PROBABILITY = 0.95  # from which a shift is certain enough to correct it

LEFT_EYE = (33, 133)  # corners, on the left of the image
RIGHT_EYE = (362, 263)
NOSE_BRIDGE = (168, 6, 197, 195, 5, 4)
ANCHOR_LANDMARKS = topo.index_array(*LEFT_EYE, *RIGHT_EYE, *NOSE_BRIDGE)
OUTER_EYE_CORNERS = (0, 3)  # in `ANCHOR_LANDMARKS`
MOUTH_LANDMARKS = topo.index_array(*sorted({*topo.LIPS, topo.CHIN}))


@dataclass(frozen=True)
class AudioOffset:
    """How the audio lies against the video.

    Attributes:
        seconds: expected offset; positive: the audio is late. 0 when it is most likely undisturbed, or unknown.
        lag: seconds by which the audio follows the mouth best, natural lead included; NaN when it was not measured.
        correlation: of predicted with tracked mouth shapes at that lag, on frames that were not trained on.
        lag_deviation: seconds, standard deviation of `lag` over the bootstrap draws.
        stability: share 0–1 of the draws that agree on the lag.
        is_certain: whether the audio is shifted so certainly that `seconds` should be corrected.
    """

    seconds: float = 0.0
    lag: float = float("nan")
    correlation: float = 0.0
    lag_deviation: float = float("inf")
    stability: float = 0.0
    is_certain: bool = False


def measure_audio_offset(
    speech: SpeechFeatures, landmarks: Floats, fps: float, start_seconds: float = 0.0
) -> AudioOffset:
    """Measure the audio against the mouth.

    Args:
        speech: features of the audio.
        landmarks: (T, 478, ≥ 2) pixels, NaN where there is no face.
        fps: frames per second of the landmarks.
        start_seconds: time in the audio of the first landmarks, if there were no offset.

    Returns:
        The offset; a default one when there is too little to measure.
    """
    mouth, times = _normalize_mouth(landmarks), start_seconds + np.arange(len(landmarks)) / fps
    is_measured = (
        np.isfinite(mouth).all(1)
        & (times > start_seconds - CANDIDATE_LAGS[0] / 2)
        & (times < len(speech) / FEATURE_RATE - CANDIDATE_LAGS[-1] / 2)
        & (times < start_seconds + MAX_SECONDS)
    )
    if is_measured.sum() < MIN_FRAMES:
        return AudioOffset()
    mouth, times = _principal_components(_remove_slow_trend(mouth[is_measured], fps)), times[is_measured]
    audio = _remove_slow_trend(_audio_features(speech), FEATURE_RATE)
    products = np.empty((len(CANDIDATE_LAGS), len(times)))
    powers = np.empty_like(products)
    for i, lag in enumerate(CANDIDATE_LAGS):
        predicted = _predict_held_out(_interpolate_rows(audio, times + lag), mouth)
        products[i], powers[i] = (predicted * mouth).sum(1), (predicted**2).sum(1)
    return _offset_from_agreement(np.stack([products, powers], 1), (mouth**2).sum(1), fps)


def _normalize_mouth(landmarks: Floats) -> F64:
    """(T, M) lips and chin in eye distances, after the similarity that aligns eyes and nose with their median."""
    result = np.full((len(landmarks), 2 * len(MOUTH_LANDMARKS)), np.nan)
    has_face = np.isfinite(landmarks[:, 0, 0])
    if has_face.any():
        points: C128 = landmarks[has_face, :, 0].astype(np.float64) + 1j * landmarks[has_face, :, 1]
        centre = points[:, ANCHOR_LANDMARKS].mean(1, keepdims=True)
        anchors = points[:, ANCHOR_LANDMARKS] - centre
        median = np.median(anchors.real, 0) + 1j * np.median(anchors.imag, 0)
        similarity = (anchors @ median.conj())[:, None] / (np.abs(median) ** 2).sum()
        first_corner, second_corner = OUTER_EYE_CORNERS
        eye_distance = np.abs(median[first_corner] - median[second_corner])
        mouth = (points[:, MOUTH_LANDMARKS] - centre) / (similarity * eye_distance)
        result[has_face] = np.concatenate([mouth.real, mouth.imag], 1)
    return result


def _audio_features(speech: SpeechFeatures) -> F32:
    """(N, F) spectrum, phones, articulation, activity, energy and voicing per 10 ms."""
    groups = (
        speech.mel,
        np.sqrt(speech.phones.frame_posteriors),
        speech.phones.articulation(),
        speech.rhythm[:, [ACTIVITY, ENERGY, VOICING]],
    )
    result: F32 = gaussian_filter1d(np.concatenate(groups, 1).astype(np.float32), AUDIO_SMOOTHING_FRAMES, axis=0)
    return result


def _interpolate_rows(features: F64, times: F64) -> F64:
    """Rows of the audio at `times`, linearly interpolated; the ends repeat."""
    positions = np.clip(times * FEATURE_RATE, 0, len(features) - 1.001)
    low = positions.astype(int)
    share = (positions - low)[:, None]
    result: F64 = features[low] * (1 - share) + features[low + 1] * share
    return result


def _remove_slow_trend(values: F64 | F32, rate: float) -> F64:
    """Columns without their slow trend, a triangular running mean."""
    size = round(DETREND_SECONDS * rate)
    trend = uniform_filter1d(uniform_filter1d(values, size, 0, mode="nearest"), size, 0, mode="nearest")
    return np.asarray(values - trend, np.float64)


def _principal_components(mouth: F64) -> F64:
    """(T, 6) principal components."""
    u, s, _ = np.linalg.svd(mouth - mouth.mean(0), full_matrices=False)
    return np.asarray(u[:, :MOUTH_COMPONENTS] * s[:MOUTH_COMPONENTS])


def _predict_held_out(features: F64, mouth: F64) -> F64:
    """Mouth shapes (T, K) of each fifth of the clip, predicted from the audio by a regression on the other four."""
    result = np.empty_like(mouth)
    edges = np.linspace(0, len(features), FOLDS + 1).astype(int)
    for first, last in pairwise(edges):
        is_trained = np.ones(len(features), bool)
        is_trained[max(first - FOLD_GAP_FRAMES, 0) : last + FOLD_GAP_FRAMES] = False
        feature_mean, mouth_mean = features[is_trained].mean(0), mouth[is_trained].mean(0)
        scale = features[is_trained].std(0) + 1e-6
        x, y = (features[is_trained] - feature_mean) / scale, mouth[is_trained] - mouth_mean
        weights = np.linalg.solve(x.T @ x + RIDGE_PENALTY * len(x) * np.eye(x.shape[1]), x.T @ y)
        result[first:last] = (features[first:last] - feature_mean) / scale @ weights + mouth_mean
    return result


def _offset_from_agreement(agreement: F64, power: F64, fps: float) -> AudioOffset:
    """Offset, and how certain it is, from how predicted and tracked mouths agree in each frame.

    Args:
        agreement: (lags, 2, T) product of predicted and tracked shape, and the square of the predicted one.
        power: (T,) the square of the tracked shape.
        fps: frames per second.
    """
    seconds = max(8, round(len(power) / fps))
    starts = np.linspace(0, len(power), seconds + 1).astype(int)[:-1]
    agreement, power = np.add.reduceat(agreement, starts, axis=2), np.add.reduceat(power, starts)
    draws = np.random.default_rng(0).multinomial(seconds, np.full(seconds, 1 / seconds), BOOTSTRAP_DRAWS)
    weights = np.concatenate([np.ones((1, seconds)), draws])  # the clip itself, then the draws
    products, squares = agreement @ weights.T, power @ weights.T
    curves = products[:, 0] / np.sqrt(products[:, 1] * squares + 1e-30)
    peaks = np.array([_peak_lag(curve) for curve in curves.T])
    lag, lag_deviation = float(peaks[0]), float(peaks[1:].std())
    stability = float((np.abs(peaks[1:] - lag) < LAG_TOLERANCE_SECONDS).mean())
    shift_probability = _shift_probability(lag, lag_deviation)
    is_reliable = stability >= MIN_STABILITY and CANDIDATE_LAGS[1] <= lag <= CANDIDATE_LAGS[-2]
    return AudioOffset(
        seconds=float(shift_probability * (lag - NATURAL_LEAD)) if is_reliable else 0.0,
        lag=lag,
        correlation=float(curves[:, 0].max()),
        lag_deviation=lag_deviation,
        stability=stability,
        is_certain=bool(is_reliable and shift_probability >= MIN_SHIFT_PROBABILITY),
    )


def _peak_lag(curve: F64) -> float:
    """Seconds of the highest point of a curve over `CANDIDATE_LAGS`, by the parabola through it and its neighbours."""
    top = int(np.argmax(curve))
    if not 0 < top < len(curve) - 1:
        return float(CANDIDATE_LAGS[top])
    before, here, after = curve[top - 1 : top + 2]
    step = CANDIDATE_LAGS[1] - CANDIDATE_LAGS[0]
    return float(CANDIDATE_LAGS[top] + step * 0.5 * (before - after) / (before - 2 * here + after))


def _shift_probability(lag: float, lag_deviation: float) -> float:
    """Probability 0–1 that a recording with this lag was shifted, by Bayes' rule."""
    deviation = float(np.hypot(LEAD_DEVIATION, lag_deviation))
    natural = np.exp(-0.5 * ((lag - NATURAL_LEAD) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
    shifted = SHIFT_PRIOR / SHIFT_RANGE_SECONDS
    return float(shifted / (shifted + (1 - SHIFT_PRIOR) * natural))
