"""Head, torso, brows, gaze and blinks for a new line, from snippets of the actor's own footage.

Snippets are joined and cross-faded. A snippet follows well when it begins in a pose like the last one's end, and when
the footage's speech rhythm there is like the line's; the seed chooses among the best. The lids follow the snippets
without their blinks, which are set separately (`blinks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..contract.arrays import F32, F64
from ..contract.channels import CHANNEL_INDEX, FACIAL_CHANNELS, ORAL_CHANNELS
from ..contract.performance import Performance
from ..media.timing import ping_pong_indices
from .blinks import Blink, extract_blinks, mean_blink_interval, synthesize_blinks

# Columns of motion arrays (frames, 38): a pose, then the facial channels.
HEAD_ROTATION = slice(0, 4)
HEAD_TRANSLATION = slice(4, 7)
TORSO_ROTATION = slice(7, 11)
TORSO_TRANSLATION = slice(11, 14)
ROTATIONS = (HEAD_ROTATION, TORSO_ROTATION)
POSE_SIZE = 14
POSE = slice(0, POSE_SIZE)
FACIAL = slice(POSE_SIZE, POSE_SIZE + len(FACIAL_CHANNELS))
LIDS = [POSE_SIZE + CHANNEL_INDEX[name] - len(ORAL_CHANNELS) for name in ("eyeBlinkLeft", "eyeBlinkRight")]
BROWS = [POSE_SIZE + i for i, name in enumerate(FACIAL_CHANNELS) if name.startswith("brow")]

MIN_SNIPPET_SECONDS = 2.0  # shorter snippets cut gestures in half. Not tuned
MAX_SNIPPET_SECONDS = 5.0  # longer ones follow the line's rhythm less. Not tuned
MIN_CROSSFADE_SECONDS = 0.8  # a shorter one is seen as a jerk. Not tuned
MAX_CROSSFADE_SECONDS = 2.0  # a longer one averages too much motion away. Not tuned
CROSSFADE_PEAK_SLOPE = 1.875  # steepest slope of the fade (smootherstep), against a straight line
FAST_SPEED_PERCENTILE = 90  # of the footage's head speeds, that a cross-fade may reach
CANDIDATE_COUNT = 6  # best followers among which the seed chooses; more vary more and fit less. Not tuned
RHYTHM_WEIGHT = 0.7  # of the difference in speech activity, against a pose distance in deviations. Not tuned
REPEAT_WEIGHT = 0.5  # of each earlier use of a snippet. Not tuned
CONTINUATION_COST = 1.0  # of running on where the last snippet ended: that is no new snippet. Not tuned
CONTINUATION_SECONDS = 0.5  # around that point which counts as running on
CANDIDATE_DISTANCE_SECONDS = 0.25  # between candidates; nearer ones are the same snippet

# Matching features, weights against the poses: gaze and expression matter less than pose, speed half as much.
FACIAL_WEIGHT = 0.3  # Not tuned
SPEED_WEIGHT = 0.5  # Not tuned
MATCHING_SMOOTHING_FRAMES = 1.5  # standard deviation; tracking noise would dominate the speeds


@dataclass
class MotionLibrary:
    """How the actor moves while speaking: M frames of footage.

    Attributes:
        fps: frames per second.
        motion: (M, 38) poses and facial channels, lids without blinks.
        activity: (M,) speech activity 0–1.
        blinks: of the segments.
        blink_interval: mean seconds between blinks.
        segments: first and one-past-last frame index of each part of the footage whose style is used.
    """

    fps: float
    motion: F32
    activity: F32
    blinks: list[Blink]
    blink_interval: float
    segments: Sequence[tuple[int, int]]

    def select_segments(self) -> F32:
        """(M', 38) the motion in all segments."""
        return np.concatenate([self.motion[first:end] for first, end in self.segments])

    def longest_segment(self) -> tuple[int, int]:
        """The segment with the most frames."""
        return max(self.segments, key=lambda segment: segment[1] - segment[0])


@dataclass(frozen=True)
class MotionStrengths:
    """How strong the parts of the motion are: 1 is the actor's own, 0 is still.

    Attributes:
        brows: of the brow channels.
        head: of the poses of head and torso.
        blink: of the blinks.
    """

    brows: float = 1.0
    head: float = 1.0
    blink: float = 1.0


def build_motion_library(
    footage: Performance, activity: F32, segments: Sequence[tuple[int, int]] = ()
) -> MotionLibrary:
    """Return the motion of the footage's first len(activity) frames; the rest is held out.

    Args:
        footage: the tracked performance.
        activity: (M,) speech activity of its training frames.
        segments: the parts to use; all training frames when empty.
    """
    count = min(len(activity), len(footage))
    segments = segments or [(0, count)]
    poses = (footage.head_rotation, footage.head_translation, footage.torso_rotation, footage.torso_translation)
    facial = footage.channels[:count, len(ORAL_CHANNELS) :]
    motion = np.concatenate([*(pose[:count] for pose in poses), facial], 1).astype(np.float32)
    motion[:, LIDS], all_blinks = extract_blinks(motion[:, LIDS], footage.fps)
    for rotation in ROTATIONS:  # Quaternions of one hemisphere can be compared and mixed.
        motion[:, rotation] *= np.sign(motion[:, rotation] @ motion[0, rotation])[:, None]
    blinks = [blink for blink in all_blinks if any(first <= blink.frame_index < end for first, end in segments)]
    seconds = sum(end - first for first, end in segments) / footage.fps
    return MotionLibrary(footage.fps, motion, activity, blinks, mean_blink_interval(seconds, len(blinks)), segments)


def synthesize_motion(library: MotionLibrary, activity: F32, times: F64, seed: int, strengths: MotionStrengths) -> F32:
    """Return the motion of a line.

    Args:
        library: the actor's motion.
        activity: (N,) the line's speech activity at the library's fps, covering `times`.
        times: (T,) seconds of the frames.
        seed: the same seed gives the same motion.
        strengths: of its parts.

    Returns:
        (T, 38) poses and facial channels.
    """
    rng = np.random.default_rng(seed)
    motion = _join_snippets(library, activity, rng)
    blinks = synthesize_blinks(library.blinks, library.blink_interval, library.fps, activity, rng)
    still = np.broadcast_to(_median_motion(library.select_segments()), motion.shape)
    motion[:, POSE] = still[:, POSE] + strengths.head * (motion[:, POSE] - still[:, POSE])
    motion[:, BROWS] = still[:, BROWS] + strengths.brows * (motion[:, BROWS] - still[:, BROWS])
    motion[:, LIDS] += blinks * strengths.blink
    return _resample(motion, times * library.fps)


def _resample(motion: F32, positions: F64) -> F32:
    """Motion at fractional frame positions (T,), with unit quaternions and channels in 0–1."""
    positions = np.clip(positions, 0, len(motion) - 1)
    low = np.minimum(positions.astype(int), max(len(motion) - 2, 0))
    share = (positions - low)[:, None]
    blended = motion[low] * (1 - share) + motion[np.minimum(low + 1, len(motion) - 1)] * share
    for rotation in ROTATIONS:
        blended[:, rotation] /= np.linalg.norm(blended[:, rotation], axis=1, keepdims=True)
    blended[:, FACIAL] = np.clip(blended[:, FACIAL], 0, 1)
    result: F32 = blended.astype(np.float32)
    return result


def _median_motion(motion: F32) -> F32:
    """(38,) median pose, with unit quaternions, and median facial channels."""
    median = np.median(motion, axis=0)
    for rotation in ROTATIONS:
        median[rotation] /= np.linalg.norm(median[rotation])
    result: F32 = median.astype(np.float32)
    return result


def _join_snippets(library: MotionLibrary, activity: F32, rng: np.random.Generator) -> F32:
    """(N, 38) snippets joined over the line; it begins in the pose in which the longest segment begins."""
    count, tail = len(activity), round(MAX_CROSSFADE_SECONDS * library.fps)
    segment_start, segment_end = library.longest_segment()
    segment_length = segment_end - segment_start
    if segment_length < 2 * tail + round(library.fps):  # too short for snippets
        return library.motion[segment_start:segment_end][ping_pong_indices(0, count, segment_length)]
    matching_features = _matching_features(library.motion, library.fps)
    use_counts = np.zeros(len(library.motion), np.float32)
    result = np.zeros((count, library.motion.shape[1]), np.float32)
    done, end_index = 0, 0  # frames of the line that are covered; footage frame that follows them
    while done < count:
        seconds = rng.uniform(MIN_SNIPPET_SECONDS, MAX_SNIPPET_SECONDS)
        length = min(round(seconds * library.fps), segment_length - tail)
        start = segment_start
        if done:
            target_activity = activity[done : done + length]
            start = _choose_next_snippet(
                library, matching_features, use_counts, end_index, target_activity, length, rng
            )
        # The snippet reaches `tail` frames further, to overlap with the next one.
        snippet = library.motion[start : start + length + tail][: count - done]
        fade_in = np.ones((len(snippet), 1), np.float32)
        if done:
            fade_in[:, 0] = _smootherstep(len(snippet), _crossfade_frames(library, end_index, start))
        section = slice(done, done + len(snippet))
        result[section] = (1 - fade_in) * result[section] + fade_in * snippet
        use_counts[start : start + length] += 1
        done, end_index = done + length, start + length
    return result


def _smootherstep(length: int, fade_frames: int) -> F64:
    """(length,) rise from 0 to 1 over `fade_frames` without a jump in acceleration.

    Source: K. Perlin, "Improving noise", SIGGRAPH 2002.
    """
    x = np.minimum((np.arange(length) + 1) / (fade_frames + 1), 1)
    rise: F64 = x**3 * (x * (6 * x - 15) + 10)
    return rise


def _crossfade_frames(library: MotionLibrary, end_index: int, start_index: int) -> int:
    """Frames of a cross-fade that moves the head no faster than the footage's fast moves."""
    motion = library.motion
    needed = 0.0
    for columns in (HEAD_ROTATION, HEAD_TRANSLATION):
        speeds = np.linalg.norm(np.diff(motion[:, columns], axis=0), axis=1)
        distance = np.linalg.norm(motion[end_index, columns] - motion[start_index, columns])
        fast = np.percentile(speeds, FAST_SPEED_PERCENTILE)
        needed = max(needed, CROSSFADE_PEAK_SLOPE * distance / max(fast, 1e-6))
    return round(float(np.clip(needed, MIN_CROSSFADE_SECONDS * library.fps, MAX_CROSSFADE_SECONDS * library.fps)))


def _matching_features(motion: F32, fps: float) -> F32:
    """(M, F) pose, facial channels and speed, each column in deviations of the footage, weighted; 0 if it is still."""
    smooth = gaussian_filter1d(motion, MATCHING_SMOOTHING_FRAMES, axis=0)
    speed = np.gradient(smooth[:, POSE], axis=0) * fps
    weights = np.concatenate(
        [np.ones(POSE_SIZE), np.full(len(FACIAL_CHANNELS), FACIAL_WEIGHT), np.full(POSE_SIZE, SPEED_WEIGHT)]
    )
    columns = np.concatenate([smooth, speed], 1)
    deviation = columns.std(0)
    is_moving = deviation > 1e-6
    result: F32 = (columns / np.where(is_moving, deviation, 1) * np.where(is_moving, weights, 0)).astype(np.float32)
    return result


def _choose_next_snippet(
    library: MotionLibrary,
    features: F32,
    use_counts: F32,
    end_index: int,
    target_activity: F32,
    length: int,
    rng: np.random.Generator,
) -> int:
    """Return the footage frame at which the next snippet begins.

    Args:
        library: the actor's motion.
        features: (M, F) matching features of the footage.
        use_counts: (M,) how often each frame was used.
        end_index: footage frame that follows the last snippet.
        target_activity: the line's speech activity during the next snippet.
        length: frames of the snippet.
        rng: chooses among the best candidates.
    """
    # The overlap with the snippet after it must lie in the same segment.
    total_length = length + round(MAX_CROSSFADE_SECONDS * library.fps)
    starts = np.concatenate([np.arange(first, end - total_length + 1) for first, end in library.segments])
    distance = np.sqrt(((features[starts] - features[end_index]) ** 2).sum(1) / (features[0] != 0).sum())
    windows = np.lib.stride_tricks.sliding_window_view(library.activity, len(target_activity))[starts]
    rhythm_difference = np.abs(windows - target_activity).mean(1)
    mean_uses = np.array([use_counts[start : start + length].mean() for start in starts])
    is_continuation = np.abs(starts - end_index) < library.fps * CONTINUATION_SECONDS
    cost = distance + RHYTHM_WEIGHT * rhythm_difference + REPEAT_WEIGHT * mean_uses
    cost = cost + np.where(is_continuation, CONTINUATION_COST, 0.0)
    candidates: list[int] = []
    for index in np.argsort(cost, kind="stable"):
        if all(abs(starts[index] - other) > library.fps * CANDIDATE_DISTANCE_SECONDS for other in candidates):
            candidates.append(int(starts[index]))
        if len(candidates) == CANDIDATE_COUNT:
            break
    return int(rng.choice(candidates))
