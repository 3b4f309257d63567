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
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from ..tracking.detection import topology as topo
from .features import TRACK_RATE, SpeechTrack

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
C128 = NDArray[np.complex128]

LAGS = np.arange(-0.60, 0.69, 0.04)  # seconds
LONGEST = 90.0  # seconds that are looked at: more would not make it surer
LEAST_FRAMES = 96
SWEEP = 2.4  # seconds; slower movement (a smile, a turn of the head that is left) says nothing about the sound
SHAPES = 6  # principal components of the mouth's shape
FOLDS, GAP, RIDGE = 5, 5, 0.3  # frames left out between learned and unseen ones; penalty per frame, on unit features
RESAMPLED, NEAR = 200, 0.06  # how often whole seconds are drawn; seconds within which a repeated peak is the same
STEADY = 0.95  # share of draws that must find the same peak

# Over the eleven clips this was developed on, the mouth led by 44 ms in the middle and by 16 to 58 ms in most.
NATURAL_LEAD, LEAD_SPREAD = 0.040, 0.025  # seconds: mean and deviation between persons of undisturbed recordings
SHIFTED, WIDEST = 0.1, 1.0  # prior share of recordings that are shifted, and over how many seconds they spread
SURE = 0.95  # probability of a shift from which it is corrected

ANCHORS = topo.indices(33, 133, 362, 263, 168, 6, 197, 195, 5, 4)  # eye corners and bridge of the nose
MOUTH = topo.indices(*sorted({*topo.LIPS, topo.CHIN}))


@dataclass(frozen=True)
class SoundOffset:
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
    spread: float = float("inf")
    steady: float = 0.0
    sure: bool = False


def measure_offset(
    track: SpeechTrack, landmarks: NDArray[np.floating[Any]], fps: float, begin: float = 0.0
) -> SoundOffset:
    """Measures the sound against the mouth.

    Args:
        track: the sound. landmarks: (T, 478, ≥2) pixels, NaN where there is no face. fps: of the landmarks.
        begin: time in seconds in the sound at which the first landmarks were filmed, were there no offset.

    Returns:
        The offset; a default one when there is too little to measure.
    """
    mouth, times = _mouth(landmarks), begin + np.arange(len(landmarks)) / fps
    seen = np.isfinite(mouth).all(1) & (times > begin - LAGS[0] / 2) & (times < len(track) / TRACK_RATE - LAGS[-1] / 2)
    seen &= times < begin + LONGEST
    if seen.sum() < LEAST_FRAMES:
        return SoundOffset()
    mouth, times = _shapes(_lively(mouth[seen], fps)), times[seen]
    sound = _lively(_sound(track), TRACK_RATE)
    agreement = np.empty((len(LAGS), 2, len(times)))
    for i, lag in enumerate(LAGS):
        foretold = _foretold(_at(sound, times + lag), mouth)
        agreement[i] = (foretold * mouth).sum(1), (foretold**2).sum(1)
    return _judged(agreement, (mouth**2).sum(1), fps)


def _mouth(landmarks: NDArray[np.floating[Any]]) -> F64:
    """(T, M) lips and chin, in eye distances, after the similarity that lays eyes and nose on their median place."""
    result = np.full((len(landmarks), 2 * len(MOUTH)), np.nan)
    face = np.isfinite(landmarks[:, 0, 0])
    if face.any():
        points: C128 = landmarks[face, :, 0].astype(np.float64) + 1j * landmarks[face, :, 1]
        centre = points[:, ANCHORS].mean(1, keepdims=True)
        anchors = points[:, ANCHORS] - centre
        home = np.median(anchors.real, 0) + 1j * np.median(anchors.imag, 0)
        turn = (anchors @ home.conj())[:, None] / (np.abs(home) ** 2).sum()
        mouth = (points[:, MOUTH] - centre) / (turn * np.abs(home[0] - home[3]))
        result[face] = np.concatenate([mouth.real, mouth.imag], 1)
    return result


def _sound(track: SpeechTrack) -> F32:
    """(N, F) spectrum, phones, articulation, activity and energy per 10 ms, as coarse as frames are."""
    groups = (track.mel, np.sqrt(track.phones.frame), track.phones.traits(), track.rhythm[:, [0, 10, 11]])
    return gaussian_filter1d(np.concatenate(groups, 1).astype(np.float32), 2, axis=0)


def _at(sound: F64, times: F64) -> F64:
    """Rows of the sound at `times`, linearly interpolated; the ends repeat."""
    place = np.clip(times * TRACK_RATE, 0, len(sound) - 1.001)
    row = place.astype(int)
    part = (place - row)[:, None]
    result: F64 = sound[row] * (1 - part) + sound[row + 1] * part
    return result


def _lively(values: F64 | F32, rate: float) -> F64:
    """What is left of columns when their slow course, a triangular running mean, is taken out."""
    size = round(SWEEP * rate)
    course = uniform_filter1d(uniform_filter1d(values, size, 0, mode="nearest"), size, 0, mode="nearest")
    return np.asarray(values - course, np.float64)


def _shapes(mouth: F64) -> F64:
    """(T, 6) main components."""
    u, s, _ = np.linalg.svd(mouth - mouth.mean(0), full_matrices=False)
    return np.asarray(u[:, :SHAPES] * s[:SHAPES])


def _foretold(sound: F64, mouth: F64) -> F64:
    """Mouth shapes (T, K) of each fifth of the clip, foretold from the sound by a regression on the other four."""
    result = np.empty_like(mouth)
    edges = np.linspace(0, len(sound), FOLDS + 1).astype(int)
    for first, last in pairwise(edges):
        known = np.ones(len(sound), bool)
        known[max(first - GAP, 0) : last + GAP] = False
        middle, mean = sound[known].mean(0), mouth[known].mean(0)
        scale = sound[known].std(0) + 1e-6
        x, y = (sound[known] - middle) / scale, mouth[known] - mean
        weights = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)
        result[first:last] = (sound[first:last] - middle) / scale @ weights + mean
    return result


def _judged(agreement: F64, power: F64, fps: float) -> SoundOffset:
    """From how foretold and true mouths agree in each frame to an offset and how sure it is.

    Args:
        agreement: (lags, 2, T) product of foretold and true shape, and the foretold one's square. power: (T,) the
            true one's square.
    """
    seconds = max(8, round(len(power) / fps))
    starts = np.linspace(0, len(power), seconds + 1).astype(int)[:-1]
    agreement, power = np.add.reduceat(agreement, starts, axis=2), np.add.reduceat(power, starts)
    draws = np.random.default_rng(0).multinomial(seconds, np.full(seconds, 1 / seconds), RESAMPLED)
    weights = np.concatenate([np.ones((1, seconds)), draws])
    products, squares = agreement @ weights.T, power @ weights.T
    curves = products[:, 0] / np.sqrt(products[:, 1] * squares + 1e-30)
    peaks = np.array([_peak(curve) for curve in curves.T])
    lag, spread = peaks[0], float(peaks[1:].std())
    steady = float((np.abs(peaks[1:] - lag) < NEAR).mean())
    shifted = _probability_of_shift(lag, spread)
    inside = LAGS[1] <= lag <= LAGS[-2]
    sure = bool(steady >= STEADY and shifted >= SURE and inside)
    return SoundOffset(
        seconds=float(shifted * (lag - NATURAL_LEAD)) if steady >= STEADY and inside else 0.0,
        lag=float(lag), correlation=float(curves[:, 0].max()), spread=spread, steady=steady, sure=sure,
    )  # fmt: skip


def _peak(curve: F64) -> float:
    """Seconds of the highest point of a curve over `LAGS`, by the parabola through it and its neighbours."""
    top = int(np.argmax(curve))
    if not 0 < top < len(curve) - 1:
        return float(LAGS[top])
    before, here, after = curve[top - 1 : top + 2]
    return float(LAGS[top] + (LAGS[1] - LAGS[0]) * 0.5 * (before - after) / (before - 2 * here + after))


def _probability_of_shift(lag: float, spread: float) -> float:
    """Probability 0–1 that a recording with this lag was shifted, by Bayes' rule."""
    deviation = float(np.hypot(LEAD_SPREAD, spread))
    natural = np.exp(-0.5 * ((lag - NATURAL_LEAD) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
    shifted = SHIFTED / WIDEST
    return float(shifted / (shifted + (1 - SHIFTED) * natural))
