"""Blinks: extracted from the footage's eyelids, and set into a line.

Whole blinks of the footage are set at intervals like the actor's own, and moved to a pause nearby, where blinks gather
(F. Cummins, "Gaze and blinking in dyadic conversation", Language and Cognitive Processes 27(10), 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.signal import find_peaks

from ..contract.arrays import F32, F64

# Extraction
LID_MEDIAN_SECONDS = 1.2  # window of the median that is the lids' level; longer than any blink
LID_SMOOTHING_SECONDS = 0.1  # standard deviation; smooths the steps that the median leaves
MIN_BLINK_HEIGHT = 0.12  # of the channel, above the lids' level; smaller peaks are squints and noise. Not tuned
MIN_RELATIVE_HEIGHT = 0.4  # of the highest peak; leaves half blinks out. Not tuned
MIN_PEAK_DISTANCE_SECONDS = 0.25  # nearer peaks are one blink
BLINK_SECONDS_BEFORE_SHUT = 0.3  # longest extent of a blink before the moment at which the eye is shut
BLINK_SECONDS_AFTER_SHUT = 0.5  # and after it: lids open more slowly than they shut
QUIET_SHARE = 0.1  # of a blink's height, below which it begins and ends

# Synthesis
BLINK_INTERVAL_RANGE_SECONDS = (1.2, 8.0)  # mean interval that a short clip can be trusted with
BLINK_INTERVAL_LOG_DEVIATION = 0.45  # standard deviation of the intervals' logarithm; 0 blinks like a clock. Not tuned
FIRST_BLINK_SHARE = (0.3, 1.0)  # of the mean interval, range in which the first blink comes
MAX_BLINK_SHIFT_SECONDS = 0.4  # by which a blink is moved to a pause; a larger one distorts the intervals. Not tuned
ACTIVITY_SMOOTHING_SECONDS = 0.1  # standard deviation; gaps between words are no pauses
MIN_PAUSE_QUIETNESS = 0.5  # 1 − smoothed speech activity, from which a frame is a pause


@dataclass(frozen=True)
class Blink:
    """A blink of the footage.

    Attributes:
        lids: (K, 2) what it adds to the left and the right eyelid channel.
        shut_index: row of `lids` at which the eye is shut.
        frame_index: frame of the footage at which the eye is shut.
    """

    lids: F32
    shut_index: int
    frame_index: int


def extract_blinks(lids: F32, fps: float) -> tuple[F32, list[Blink]]:
    """Return the lids' level (M, 2) without blinks, and the blinks.

    Args:
        lids: (M, 2) left and right eyelid channel.
        fps: frames per second.
    """
    window = max(3, round(LID_MEDIAN_SECONDS * fps) | 1)
    level = np.minimum(median_filter(lids, (window, 1), mode="nearest"), lids)
    level = gaussian_filter1d(level, LID_SMOOTHING_SECONDS * fps, axis=0)
    excess = np.clip(lids - level, 0, None)
    height = excess.mean(1)
    before, after = round(BLINK_SECONDS_BEFORE_SHUT * fps), round(BLINK_SECONDS_AFTER_SHUT * fps)
    min_height = max(MIN_BLINK_HEIGHT, MIN_RELATIVE_HEIGHT * float(height.max(initial=0)))
    distance = max(1, round(MIN_PEAK_DISTANCE_SECONDS * fps))
    peaks, _ = find_peaks(height, height=min_height, distance=distance)
    blinks = [_cut_blink(excess, height, int(p), before, after) for p in peaks if before <= p < len(height) - after]
    return level.astype(np.float32), blinks


def _cut_blink(excess: F32, height: F32, peak: int, before: int, after: int) -> Blink:
    """The blink around a peak, from quiet to quiet; its ends are 0 so that it can be added anywhere."""
    lids = excess[peak - before : peak + after + 1]
    is_quiet = height[peak - before : peak + after + 1] < QUIET_SHARE * height[peak]
    first = int(np.flatnonzero(is_quiet[: before + 1])[-1]) if is_quiet[: before + 1].any() else 0
    tail = np.flatnonzero(is_quiet[before:])
    last = before + int(tail[0]) if len(tail) else before + after
    lids = lids[first : last + 1].copy()
    lids[[0, -1]] = 0
    return Blink(lids.astype(np.float32), before - first, peak)


def mean_blink_interval(seconds: float, blink_count: int) -> float:
    """Mean seconds between blinks of footage that lasts `seconds`, within what can be trusted."""
    return float(np.clip(seconds / max(blink_count, 1), *BLINK_INTERVAL_RANGE_SECONDS))


def synthesize_blinks(
    blinks: Sequence[Blink], interval: float, fps: float, activity: F32, rng: np.random.Generator
) -> F32:
    """(N, 2) what blinks add to the lids along a line.

    Args:
        blinks: to choose from; without any, the lids stay.
        interval: mean seconds between blinks.
        fps: frames per second of blinks and activity.
        activity: (N,) speech activity of the line.
        rng: source of the random choices.
    """
    added = np.zeros((len(activity), 2), np.float32)
    if not blinks:
        return added
    quietness = 1 - gaussian_filter1d(activity.astype(np.float64), ACTIVITY_SMOOTHING_SECONDS * fps)
    max_shift = round(MAX_BLINK_SHIFT_SECONDS * fps)
    time = rng.uniform(*FIRST_BLINK_SHARE) * interval
    while time * fps < len(activity):
        shut_frame = _nearby_pause(quietness, round(time * fps), max_shift)
        blink = blinks[int(rng.integers(len(blinks)))]
        start = shut_frame - blink.shut_index
        first = max(start, 0)
        lids = blink.lids[first - start :][: len(added) - first]
        added[first : first + len(lids)] = np.maximum(added[first : first + len(lids)], lids)
        time = max(time, shut_frame / fps)
        # The first argument makes the mean of the log-normal distribution 1.
        time += interval * rng.lognormal(-0.5 * BLINK_INTERVAL_LOG_DEVIATION**2, BLINK_INTERVAL_LOG_DEVIATION)
    return added


def _nearby_pause(quietness: F64, frame_index: int, radius: int) -> int:
    """The quietest frame within `radius` if it lies in a pause, else `frame_index`."""
    first = max(frame_index - radius, 0)
    nearby = quietness[first : frame_index + radius + 1]
    if len(nearby) and nearby.max() > MIN_PAUSE_QUIETNESS:
        return first + int(np.argmax(nearby))
    return frame_index
