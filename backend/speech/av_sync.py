"""The offset between sound and picture, measured from how the mouth follows the voice.

A ridge regression learns the mouth's shape from the sound at every candidate lag, on four fifths of the frames, and is
judged on the last; the lag at which unseen mouths are foretold best is the offset. Nothing is assumed about language
or person. Resampling whole seconds of the clip (block bootstrap: H. R. Künsch, Annals of Statistics 17, 1989) tells
how steady that lag is.

Mouths move before they are heard, by an amount that differs from person to person, so a small lag proves nothing: a
sound is either as it was recorded (most are) or shifted by anything, and the offset is the mean over both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from ..contract.arrays import C128, F32, F64, Floats
from ..tracking.detection import topology as topo
from .features import FEATURE_RATE, SpeechFeatures

CANDIDATE_LAGS = np.arange(-0.60, 0.69, 0.04)  # seconds
MAX_SECONDS = 90.0  # seconds that are looked at: more would not make it surer
MIN_FRAMES = 96
DETREND_SECONDS = (
    2.4  # seconds; slower movement (a smile, a turn of the head that is left) says nothing about the sound
)
MOUTH_COMPONENTS = 6  # principal components of the mouth's shape
FOLDS, FOLD_GAP_FRAMES, RIDGE_PENALTY = (
    5,
    5,
    0.3,
)  # frames left out between learned and unseen ones; penalty per frame, on unit features
BOOTSTRAP_DRAWS, LAG_TOLERANCE_SECONDS = (
    200,
    0.06,
)  # how often whole seconds are drawn; seconds within which a repeated peak is the same
MIN_STABILITY = 0.95  # share of draws that must find the same peak

# Over the eleven clips this was developed on, the mouth led by 44 ms in the middle and by 16 to 58 ms in most.
NATURAL_LEAD, LEAD_DEVIATION = 0.040, 0.025  # seconds: mean and deviation between persons of undisturbed recordings
SHIFT_PRIOR, SHIFT_RANGE_SECONDS = (
    0.1,
    1.0,
)  # prior share of recordings that are shifted, and over how many seconds they spread
MIN_SHIFT_PROBABILITY = 0.95  # probability of a shift from which it is corrected

ANCHOR_LANDMARKS = topo.index_array(33, 133, 362, 263, 168, 6, 197, 195, 5, 4)  # eye corners and bridge of the nose
MOUTH_LANDMARKS = topo.index_array(*sorted({*topo.LIPS, topo.CHIN}))


@dataclass(frozen=True)
class AudioOffset:
    """How the sound lies against the picture.

    Attributes:
        seconds: expected offset; positive: the sound is late. 0 when it is most likely as recorded, or unknown.
        lag: seconds by which the sound follows the mouth best, natural lead included; NaN when it was not measured.
        correlation: how well unseen mouth shapes are foretold at that lag.
        spread: seconds, standard deviation of `lag` over draws of the clip's seconds.
        steady: share 0–1 of the draws that agree on the lag.
        sure: whether the sound is shifted beyond doubt and `seconds` should be taken out.
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
    """Measures the sound against the mouth.

    Args:
        track: the sound. landmarks: (T, 478, ≥2) pixels, NaN where there is no face. fps: of the landmarks.
        begin: time in seconds in the sound at which the first landmarks were filmed, were there no offset.

    Returns:
        The offset; a default one when there is too little to measure.
    """
    mouth, times = _normalize_mouth(landmarks), start_seconds + np.arange(len(landmarks)) / fps
    seen = (
        np.isfinite(mouth).all(1)
        & (times > start_seconds - CANDIDATE_LAGS[0] / 2)
        & (times < len(speech) / FEATURE_RATE - CANDIDATE_LAGS[-1] / 2)
    )
    seen &= times < start_seconds + MAX_SECONDS
    if seen.sum() < MIN_FRAMES:
        return AudioOffset()
    mouth, times = _principal_components(_remove_slow_trend(mouth[seen], fps)), times[seen]
    sound = _remove_slow_trend(_audio_features(speech), FEATURE_RATE)
    agreement = np.empty((len(CANDIDATE_LAGS), 2, len(times)))
    for i, lag in enumerate(CANDIDATE_LAGS):
        foretold = _predict_held_out(_interpolate_rows(sound, times + lag), mouth)
        agreement[i] = (foretold * mouth).sum(1), (foretold**2).sum(1)
    return _offset_from_agreement(agreement, (mouth**2).sum(1), fps)


def _normalize_mouth(landmarks: Floats) -> F64:
    """(T, M) lips and chin, in eye distances, after the similarity that lays eyes and nose on their median place."""
    result = np.full((len(landmarks), 2 * len(MOUTH_LANDMARKS)), np.nan)
    face = np.isfinite(landmarks[:, 0, 0])
    if face.any():
        points: C128 = landmarks[face, :, 0].astype(np.float64) + 1j * landmarks[face, :, 1]
        centre = points[:, ANCHOR_LANDMARKS].mean(1, keepdims=True)
        anchors = points[:, ANCHOR_LANDMARKS] - centre
        home = np.median(anchors.real, 0) + 1j * np.median(anchors.imag, 0)
        turn = (anchors @ home.conj())[:, None] / (np.abs(home) ** 2).sum()
        mouth = (points[:, MOUTH_LANDMARKS] - centre) / (turn * np.abs(home[0] - home[3]))
        result[face] = np.concatenate([mouth.real, mouth.imag], 1)
    return result


def _audio_features(speech: SpeechFeatures) -> F32:
    """(N, F) spectrum, phones, articulation, activity and energy per 10 ms, as coarse as frames are."""
    groups = (
        speech.mel,
        np.sqrt(speech.phones.frame_posteriors),
        speech.phones.articulation(),
        speech.rhythm[:, [0, 10, 11]],
    )
    return gaussian_filter1d(np.concatenate(groups, 1).astype(np.float32), 2, axis=0)


def _interpolate_rows(features: F64, times: F64) -> F64:
    """Rows of the sound at `times`, linearly interpolated; the ends repeat."""
    place = np.clip(times * FEATURE_RATE, 0, len(features) - 1.001)
    row = place.astype(int)
    part = (place - row)[:, None]
    result: F64 = features[row] * (1 - part) + features[row + 1] * part
    return result


def _remove_slow_trend(values: F64 | F32, rate: float) -> F64:
    """What is left of columns when their slow course, a triangular running mean, is taken out."""
    size = round(DETREND_SECONDS * rate)
    course = uniform_filter1d(uniform_filter1d(values, size, 0, mode="nearest"), size, 0, mode="nearest")
    return np.asarray(values - course, np.float64)


def _principal_components(mouth: F64) -> F64:
    """(T, 6) main components."""
    u, s, _ = np.linalg.svd(mouth - mouth.mean(0), full_matrices=False)
    return np.asarray(u[:, :MOUTH_COMPONENTS] * s[:MOUTH_COMPONENTS])


def _predict_held_out(features: F64, mouth: F64) -> F64:
    """Mouth shapes (T, K) of each fifth of the clip, foretold from the sound by a regression on the other four."""
    result = np.empty_like(mouth)
    edges = np.linspace(0, len(features), FOLDS + 1).astype(int)
    for first, last in pairwise(edges):
        known = np.ones(len(features), bool)
        known[max(first - FOLD_GAP_FRAMES, 0) : last + FOLD_GAP_FRAMES] = False
        middle, mean = features[known].mean(0), mouth[known].mean(0)
        scale = features[known].std(0) + 1e-6
        x, y = (features[known] - middle) / scale, mouth[known] - mean
        weights = np.linalg.solve(x.T @ x + RIDGE_PENALTY * len(x) * np.eye(x.shape[1]), x.T @ y)
        result[first:last] = (features[first:last] - middle) / scale @ weights + mean
    return result


def _offset_from_agreement(agreement: F64, power: F64, fps: float) -> AudioOffset:
    """From how foretold and true mouths agree in each frame to an offset and how sure it is.

    Args:
        agreement: (lags, 2, T) product of foretold and true shape, and the foretold one's square. power: (T,) the
            true one's square.
    """
    seconds = max(8, round(len(power) / fps))
    starts = np.linspace(0, len(power), seconds + 1).astype(int)[:-1]
    agreement, power = np.add.reduceat(agreement, starts, axis=2), np.add.reduceat(power, starts)
    draws = np.random.default_rng(0).multinomial(seconds, np.full(seconds, 1 / seconds), BOOTSTRAP_DRAWS)
    weights = np.concatenate([np.ones((1, seconds)), draws])
    products, squares = agreement @ weights.T, power @ weights.T
    curves = products[:, 0] / np.sqrt(products[:, 1] * squares + 1e-30)
    peaks = np.array([_peak_lag(curve) for curve in curves.T])
    lag, spread = peaks[0], float(peaks[1:].std())
    steady = float((np.abs(peaks[1:] - lag) < LAG_TOLERANCE_SECONDS).mean())
    shifted = _shift_probability(lag, spread)
    inside = CANDIDATE_LAGS[1] <= lag <= CANDIDATE_LAGS[-2]
    sure = bool(steady >= MIN_STABILITY and shifted >= MIN_SHIFT_PROBABILITY and inside)
    return AudioOffset(
        seconds=float(shifted * (lag - NATURAL_LEAD)) if steady >= MIN_STABILITY and inside else 0.0,
        lag=float(lag), correlation=float(curves[:, 0].max()), lag_deviation=spread, stability=steady, is_certain=sure,
    )  # fmt: skip


def _peak_lag(curve: F64) -> float:
    """Seconds of the highest point of a curve over `LAGS`, by the parabola through it and its neighbours."""
    top = int(np.argmax(curve))
    if not 0 < top < len(curve) - 1:
        return float(CANDIDATE_LAGS[top])
    before, here, after = curve[top - 1 : top + 2]
    return float(
        CANDIDATE_LAGS[top]
        + (CANDIDATE_LAGS[1] - CANDIDATE_LAGS[0]) * 0.5 * (before - after) / (before - 2 * here + after)
    )


def _shift_probability(lag: float, lag_deviation: float) -> float:
    """Probability 0–1 that a recording with this lag was shifted, by Bayes' rule."""
    deviation = float(np.hypot(LEAD_DEVIATION, lag_deviation))
    natural = np.exp(-0.5 * ((lag - NATURAL_LEAD) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
    shifted = SHIFT_PRIOR / SHIFT_RANGE_SECONDS
    return float(shifted / (shifted + (1 - SHIFT_PRIOR) * natural))
