"""Head, torso, brows, gaze and blinks for a new line, all taken from the actor's own footage.

Pieces of footage are laid after one another and cross-faded. A piece follows well when it begins in a pose like the one
the last ends in, and when the footage's speech rhythm there is like the line's; among the best the seed chooses. Lids
are handled apart: the pieces give how far the eyes are open, and whole blinks cut from the footage are set at intervals
like the actor's own, moved to a pause that is near (blinks gather there: F. Cummins, "Gaze and blinking in dyadic
conversation", Language and Cognitive Processes 27(10), 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.signal import find_peaks

from ..contract.arrays import F32, F64
from ..contract.channels import CHANNEL_INDEX, FACIAL_CHANNELS, ORAL_CHANNELS
from ..contract.performance import Performance

SNIPPET_SECONDS = (2.0, 5.0)  # seconds of a piece of footage
CROSSFADE_SECONDS = (0.8, 2.0)  # seconds that two pieces overlap: the further apart they are, the longer
CROSSFADE_PEAK_SLOPE = 1.875  # the steepest slope of the fade, against a straight line
CANDIDATE_COUNT = 6  # the best followers among which the seed chooses
RHYTHM_WEIGHT, REPEAT_WEIGHT = 0.7, 0.5  # against a pose distance in deviations of the footage
LID_MEDIAN_SECONDS = 1.2  # seconds of the median that is the lids without blinks
MIN_BLINK_HEIGHT = 0.12  # of the channel's range, above the lids' level, that counts as a blink
BLINK_EXTENT_SECONDS = (0.3, 0.5)  # seconds before and after the shut moment
BLINK_INTERVAL_RANGE_SECONDS = (
    1.2,
    8.0,
)  # seconds between blinks on average, the limits of what is believed of a short clip
BLINK_INTERVAL_LOG_DEVIATION = 0.45  # standard deviation of the logarithm of the intervals
MAX_BLINK_SHIFT_SECONDS = 0.4  # seconds that a blink is moved to meet a pause
BLINK_COLUMNS = (
    CHANNEL_INDEX["eyeBlinkLeft"] - len(ORAL_CHANNELS),
    CHANNEL_INDEX["eyeBlinkRight"] - len(ORAL_CHANNELS),
)  # columns among the facial channels
BROW_COLUMNS = [i for i, name in enumerate(FACIAL_CHANNELS) if name.startswith("brow")]
POSE_SIZE = 14  # head rotation (4), head translation (3), torso rotation (4), torso translation (3)


@dataclass
class MotionLibrary:
    """How the actor moves while speaking: M frames of footage.

    Attributes:
        fps: frames per second.
        rows: (M, 14 + 24) poses and facial channels, lids without blinks.
        activity: (M,) speech activity 0–1.
        blinks: each (K, 2) what a blink adds to the left and right lid, at `fps`, and where in it the eye is shut.
        interval: seconds between blinks on average.
        parts: first and one-past-last row of each part of the footage whose style is wanted.
    """

    fps: float
    motion: F32
    activity: F32
    blinks: list[tuple[F32, int]]
    blink_interval: float
    segments: list[tuple[int, int]]

    def select_segments(self) -> F32:
        """(M', 38) the rows of all parts."""
        return np.concatenate([self.motion[first:end] for first, end in self.segments])


def build_motion_library(
    footage: Performance, activity: F32, segments: list[tuple[int, int]] | None = None
) -> MotionLibrary:
    """The manner of the footage's first len(activity) frames (the rest is held out), or of these parts of them."""
    count = min(len(activity), len(footage))
    segments = segments or [(0, count)]
    facial = footage.channels[:count, len(ORAL_CHANNELS) :].copy()
    facial[:, BLINK_COLUMNS], found = _extract_blinks(facial[:, BLINK_COLUMNS], footage.fps)
    blinks = [(piece, at) for piece, at, shut in found if any(first <= shut < end for first, end in segments)]
    poses = (footage.head_rotation, footage.head_translation, footage.torso_rotation, footage.torso_translation)
    rows = np.concatenate([*(p[:count] for p in poses), facial], 1).astype(np.float32)
    for start in (0, 7):  # one hemisphere, so that rows can be compared and mixed
        rows[:, start : start + 4] *= np.sign(rows[:, start : start + 4] @ rows[0, start : start + 4])[:, None]
    shown = sum(end - first for first, end in segments)
    interval = float(np.clip(shown / footage.fps / max(len(blinks), 1), *BLINK_INTERVAL_RANGE_SECONDS))
    return MotionLibrary(footage.fps, rows, activity, blinks, interval, segments)


def _extract_blinks(lids: F32, fps: float) -> tuple[F32, list[tuple[F32, int, int]]]:
    """The lids' level (M, 2) without blinks, and the blinks with the row at which the eye is shut."""
    size = max(3, round(LID_MEDIAN_SECONDS * fps) | 1)
    level = np.minimum(median_filter(lids, (size, 1), mode="nearest"), lids)
    level = gaussian_filter1d(level, 0.1 * fps, axis=0)
    excess = np.clip(lids - level, 0, None)
    both = excess.mean(1)
    before, after = round(BLINK_EXTENT_SECONDS[0] * fps), round(BLINK_EXTENT_SECONDS[1] * fps)
    height = max(MIN_BLINK_HEIGHT, 0.4 * float(both.max(initial=0)))
    peaks, _ = find_peaks(both, height=height, distance=max(1, round(0.25 * fps)))
    found = []
    for peak in peaks:
        if before <= peak < len(both) - after:
            piece = excess[peak - before : peak + after + 1]
            quiet = both[peak - before : peak + after + 1] < 0.1 * both[peak]
            first = int(np.flatnonzero(quiet[: before + 1])[-1]) if quiet[: before + 1].any() else 0
            tail = np.flatnonzero(quiet[before:])
            last = before + int(tail[0]) if len(tail) else before + after
            piece = piece[first : last + 1].copy()
            piece[[0, -1]] = 0
            found.append((piece.astype(np.float32), before - first, int(peak)))
    return level.astype(np.float32), found


@dataclass(frozen=True)
class MotionStrengths:
    """How strong the parts are: 1 is the actor's own, 0 is still."""

    brows: float = 1.0
    head: float = 1.0
    blink: float = 1.0


def synthesize_motion(library: MotionLibrary, activity: F32, times: F64, seed: int, strengths: MotionStrengths) -> F32:
    """Poses and facial channels (T, 38) at `times` of a line.

    Args:
        activity: (N,) the line's speech activity at the manner's fps, covering `times`.
        seed: same seed, same motion.
    """
    rng = np.random.default_rng(seed)
    rows = _join_snippets(library, activity, rng)
    lids = _synthesize_blinks(library, activity, rng) * strengths.blink
    middle = _median_motion(library.select_segments())
    still = np.broadcast_to(middle, rows.shape)
    rows[:, :POSE_SIZE] = still[:, :POSE_SIZE] + strengths.head * (rows[:, :POSE_SIZE] - still[:, :POSE_SIZE])
    brows = [POSE_SIZE + i for i in BROW_COLUMNS]
    rows[:, brows] = still[:, brows] + strengths.brows * (rows[:, brows] - still[:, brows])
    rows[:, [POSE_SIZE + i for i in BLINK_COLUMNS]] += lids
    position = np.clip(times * library.fps, 0, len(rows) - 1)
    low = np.minimum(position.astype(int), max(len(rows) - 2, 0))
    share = (position - low)[:, None]
    moved = rows[low] * (1 - share) + rows[np.minimum(low + 1, len(rows) - 1)] * share
    for start in (0, 7):
        moved[:, start : start + 4] /= np.linalg.norm(moved[:, start : start + 4], axis=1, keepdims=True)
    moved[:, POSE_SIZE:] = np.clip(moved[:, POSE_SIZE:], 0, 1)
    return moved.astype(np.float32)


def _median_motion(motion: F32) -> F32:
    middle = np.median(motion, axis=0)
    for start in (0, 7):
        middle[start : start + 4] /= np.linalg.norm(middle[start : start + 4])
    return middle.astype(np.float32)


def _join_snippets(library: MotionLibrary, activity: F32, rng: np.random.Generator) -> F32:
    """Rows (N, 38) of pieces laid end to end over the line; begins at the pose the footage begins with."""
    count, tail = len(activity), round(CROSSFADE_SECONDS[1] * library.fps)
    longest = max(library.segments, key=lambda part: part[1] - part[0])
    if longest[1] - longest[0] < 2 * tail + round(library.fps):
        return _ping_pong(library.motion[slice(*longest)], count)
    feature = _matching_features(library.motion, library.fps)
    used = np.zeros(len(library.motion), np.float32)
    result = np.zeros((count, library.motion.shape[1]), np.float32)
    done, here = 0, 0  # frames of the line that are covered; the footage row that follows them
    while done < count:
        length = min(round(rng.uniform(*SNIPPET_SECONDS) * library.fps), longest[1] - longest[0] - tail)
        start = longest[0]
        if done:
            start = _choose_next_snippet(library, feature, used, here, activity[done : done + length], length, rng)
        # the piece reaches `tail` frames further, to overlap with the next
        piece = library.motion[start : start + length + tail][: count - done]
        ramp = np.ones((len(piece), 1), np.float32)
        if done:
            fade = _crossfade_frames(library, here, start)
            x = np.minimum((np.arange(len(piece)) + 1) / (fade + 1), 1)
            ramp[:, 0] = x**3 * (x * (6 * x - 15) + 10)  # K. Perlin's smootherstep: no jump in acceleration
        result[done : done + len(piece)] = (1 - ramp) * result[done : done + len(piece)] + ramp * piece
        used[start : start + length] += 1
        done, here = done + length, start + length
    return result


def _crossfade_frames(library: MotionLibrary, end_index: int, start_index: int) -> int:
    """Frames of a cross-fade that moves the head no faster than the footage's fast moves."""
    parts = (slice(0, 4), slice(4, 7))
    speeds = [np.percentile(np.linalg.norm(np.diff(library.motion[:, p], axis=0), axis=1), 90) for p in parts]
    apart = [np.linalg.norm(library.motion[end_index, p] - library.motion[start_index, p]) for p in parts]
    needed = max(CROSSFADE_PEAK_SLOPE * a / max(v, 1e-6) for a, v in zip(apart, speeds, strict=True))
    return round(float(np.clip(needed, CROSSFADE_SECONDS[0] * library.fps, CROSSFADE_SECONDS[1] * library.fps)))


def _ping_pong(motion: F32, frame_count: int) -> F32:
    """Very short footage, forwards and backwards in turn, so that nothing jumps."""
    index = np.arange(frame_count) % max(2 * len(motion) - 2, 1)
    result: F32 = motion[np.where(index < len(motion), index, 2 * len(motion) - 2 - index)].copy()
    return result


def _matching_features(motion: F32, fps: float) -> F32:
    """(M, F) pose, gaze and speed, each column in deviations of the footage."""
    poses = gaussian_filter1d(motion[:, : POSE_SIZE + len(FACIAL_CHANNELS)], 1.5, axis=0)
    speed = np.gradient(poses[:, :POSE_SIZE], axis=0) * fps
    weights = np.concatenate([np.ones(POSE_SIZE), np.full(len(FACIAL_CHANNELS), 0.3), np.full(POSE_SIZE, 0.5)])
    columns = np.concatenate([poses, speed], 1)
    spread = columns.std(0)
    return (columns / np.where(spread > 1e-6, spread, 1) * np.where(spread > 1e-6, weights, 0)).astype(np.float32)


def _choose_next_snippet(
    library: MotionLibrary,
    features: F32,
    use_counts: F32,
    end_index: int,
    target_activity: F32,
    length: int,
    rng: np.random.Generator,
) -> int:
    """The footage row at which the next piece begins."""
    whole = length + round(CROSSFADE_SECONDS[1] * library.fps)  # the overlap that follows fits into the same part too
    starts = np.concatenate([np.arange(first, end - whole + 1) for first, end in library.segments])
    distance = np.sqrt(((features[starts] - features[end_index]) ** 2).sum(1) / (features[0] != 0).sum())
    windows = np.lib.stride_tricks.sliding_window_view(library.activity, len(target_activity))[starts]
    unlike = np.abs(windows - target_activity).mean(1)
    repeated = np.array([use_counts[s : s + length].mean() for s in starts])
    # running on where the last piece ended is no new piece
    same = np.abs(starts - end_index) < library.fps / 2
    cost = distance + RHYTHM_WEIGHT * unlike + REPEAT_WEIGHT * repeated + np.where(same, 1.0, 0.0)
    apart: list[int] = []
    for index in np.argsort(cost, kind="stable"):
        if all(abs(starts[index] - other) > library.fps / 4 for other in apart):
            apart.append(int(starts[index]))
        if len(apart) == CANDIDATE_COUNT:
            break
    return int(rng.choice(apart))


def _synthesize_blinks(library: MotionLibrary, activity: F32, rng: np.random.Generator) -> F32:
    """(N, 2) what blinks add to the lids along the line."""
    added = np.zeros((len(activity), 2), np.float32)
    if not library.blinks:
        return added
    quiet = 1 - gaussian_filter1d(activity.astype(np.float64), 0.1 * library.fps)
    time = rng.uniform(0.3, 1.0) * library.blink_interval
    while time * library.fps < len(activity):
        shut = _nearest_pause(quiet, round(time * library.fps), round(MAX_BLINK_SHIFT_SECONDS * library.fps))
        blink, at = library.blinks[int(rng.integers(len(library.blinks)))]
        first = max(shut - at, 0)
        piece = blink[first - (shut - at) :][: len(added) - first]
        added[first : first + len(piece)] = np.maximum(added[first : first + len(piece)], piece)
        time = max(time, shut / library.fps)
        time += library.blink_interval * rng.lognormal(
            -0.5 * BLINK_INTERVAL_LOG_DEVIATION**2, BLINK_INTERVAL_LOG_DEVIATION
        )
    return added


def _nearest_pause(quiet: F64, frame_index: int, radius: int) -> int:
    """The quietest frame within `reach`, if it is a pause at all."""
    first = max(frame_index - radius, 0)
    near = quiet[first : frame_index + radius + 1]
    return first + int(np.argmax(near)) if len(near) and near.max() > 0.5 else frame_index
