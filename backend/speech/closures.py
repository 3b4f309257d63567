"""Times at which a mouth must rest or close, read from the audio: pauses, and lips that meet on p, b and m."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_opening, gaussian_filter1d, maximum_filter1d

from ..contract.arrays import F32, F64
from .features import FEATURE_RATE, SpeechFeatures

# Closures
MIN_CLOSURE_PROBABILITY = 0.15  # of p, b or m; a larger value misses closures, a smaller one invents some. Not tuned
# Share of the opening's range; lips that the network holds farther apart do not close. With these two values the lips
# met about as often as the footage's own on aligned p, b and m of five clips.
MAX_CLOSURE_OPENNESS = 0.35
CLOSURE_OPENNESS_PER_PROBABILITY = 0.35  # added to that limit for a phone that is certain
MIN_CLOSURE_SECONDS = 0.02  # a shorter one is noise
MAX_CLOSURE_SECONDS = 0.5  # a longer one is no consonant
MIN_CLOSURE_ACTIVITY = 0.2  # smoothed speech activity where a closure starts; below it p, b and m are noise. Not tuned
ACTIVITY_SMOOTHING_SECONDS = 0.3  # standard deviation of that smoothing. Not tuned
CLOSURE_SEARCH_SECONDS = 0.06  # before and after a closure in which the lips may meet: phones are located no better
CLOSURE_HOLD_SECONDS = 0.02  # for which the lips touch before and after the moment at which they meet. Not tuned
CLOSURE_RAMP_SECONDS = 0.03  # to close and to open; a shorter ramp looks like a twitch. Not tuned
DEFAULT_FRAME_SECONDS = 0.04  # assumed for a single frame

# Pauses
ANTICIPATION_SECONDS = 0.30  # before speech in which the mouth may already move
CARRYOVER_SECONDS = 0.15  # after speech in which the mouth may still move
MIN_PAUSE_SECONDS = 0.6  # in shorter pauses people keep their lips apart
MAX_PAUSE_ACTIVITY = 0.4  # speech activity below which a frame belongs to a pause. Not tuned
PAUSE_SMOOTHING_SECONDS = 0.05  # standard deviation of the change into and out of rest; a smaller one snaps


class Closure(NamedTuple):
    """An interval in which the lips may have to meet.

    Attributes:
        start: seconds.
        end: seconds.
        probability: of p, b or m, 0–1.
    """

    start: float
    end: float
    probability: float


def pause_weights(features: SpeechFeatures, times: F64) -> F32:
    """(T,) 1 where the mouth rests, 0 in speech, around it and in short pauses; smooth between."""
    before, after = round(ANTICIPATION_SECONDS * FEATURE_RATE), round(CARRYOVER_SECONDS * FEATURE_RATE)
    size = before + after + 1
    # The window reaches `before` frames into the future and `after` into the past.
    nearby_activity = maximum_filter1d(features.activity, size, origin=after - size // 2)
    spoken = np.flatnonzero(features.activity >= MAX_PAUSE_ACTIVITY)
    if len(spoken):  # Lead-in and tail rest in the half that is farther from speech, however short they are.
        nearby_activity[: spoken[0] // 2] = 0
        nearby_activity[(len(nearby_activity) + spoken[-1] + 2) // 2 :] = 0
    min_rest_frames = round((MIN_PAUSE_SECONDS - ANTICIPATION_SECONDS - CARRYOVER_SECONDS) * FEATURE_RATE)
    # Before and after the sound it is quiet.
    is_quiet = np.pad(nearby_activity < MAX_PAUSE_ACTIVITY, min_rest_frames, constant_values=True)
    is_rest = binary_opening(is_quiet, np.ones(min_rest_frames))[min_rest_frames:-min_rest_frames]
    weights = gaussian_filter1d(is_rest.astype(np.float32), PAUSE_SMOOTHING_SECONDS * FEATURE_RATE)
    return features.interpolate(weights, times)


def find_closures(features: SpeechFeatures) -> list[Closure]:
    """Return every interval that may be p, b or m."""
    is_bilabial = (features.bilabial_probability > MIN_CLOSURE_PROBABILITY).astype(np.int8)
    edges = np.diff(np.concatenate([[0], is_bilabial, [0]]))
    activity = gaussian_filter1d(features.activity, ACTIVITY_SMOOTHING_SECONDS * FEATURE_RATE)
    closures = []
    for first, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        is_consonant = MIN_CLOSURE_SECONDS <= (end - first) / FEATURE_RATE <= MAX_CLOSURE_SECONDS
        if is_consonant and activity[first] > MIN_CLOSURE_ACTIVITY:
            probability = float(features.bilabial_probability[first:end].max())
            closures.append(Closure(first / FEATURE_RATE, end / FEATURE_RATE, probability))
    return closures


def closure_weights(features: SpeechFeatures, times: F64, openness: F32) -> F32:
    """Return how far the lips must be together in each frame.

    Args:
        features: of the audio.
        times: (T,) increasing seconds of the frames.
        openness: (T,) opening that the network predicts, as a share of the footage's range.

    Returns:
        (T,) 0–1; 1 in at least one frame of every closure.
    """
    weights = np.zeros(len(times), np.float32)
    frame_seconds = float(np.median(np.diff(times))) if len(times) > 1 else DEFAULT_FRAME_SECONDS
    for closure in find_closures(features):
        search_times = [closure.start - CLOSURE_SEARCH_SECONDS, closure.end + CLOSURE_SEARCH_SECONDS]
        search = slice(*np.searchsorted(times, search_times))
        if search.start == search.stop:
            continue
        max_openness = MAX_CLOSURE_OPENNESS + CLOSURE_OPENNESS_PER_PROBABILITY * closure.probability
        if openness[search].min() > max_openness:
            continue
        meeting_time = times[search][np.argmin(openness[search])]
        hold = max(CLOSURE_HOLD_SECONDS, frame_seconds / 2)
        nearby_times = [meeting_time - hold - CLOSURE_RAMP_SECONDS, meeting_time + hold + CLOSURE_RAMP_SECONDS]
        nearby = slice(*np.searchsorted(times, nearby_times))
        ramp = np.clip((np.abs(times[nearby] - meeting_time) - hold) / CLOSURE_RAMP_SECONDS, 0, 1)
        weights[nearby] = np.maximum(weights[nearby], 0.5 + 0.5 * np.cos(np.pi * ramp))
    return weights
