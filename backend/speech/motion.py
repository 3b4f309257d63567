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
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.signal import find_peaks

from ..contract.channels import FACIAL, INDEX, ORAL
from ..contract.performance import Performance

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

PIECE = (2.0, 5.0)  # seconds of a piece of footage
FADE = (0.8, 2.0)  # seconds that two pieces overlap: the further apart they are, the longer
FADE_PEAK = 1.875  # the steepest slope of the fade, against a straight line
CHOICES = 6  # the best followers among which the seed chooses
RHYTHM_WEIGHT, REPEAT_WEIGHT = 0.7, 0.5  # against a pose distance in deviations of the footage
LID_WINDOW = 1.2  # seconds of the median that is the lids without blinks
BLINK_HEIGHT = 0.12  # of the channel's range, above the lids' level, that counts as a blink
BLINK_REACH = (0.3, 0.5)  # seconds before and after the shut moment
BLINK_INTERVAL = (1.2, 8.0)  # seconds between blinks on average, the limits of what is believed of a short clip
BLINK_SPREAD = 0.45  # standard deviation of the logarithm of the intervals
BLINK_SHIFT = 0.4  # seconds that a blink is moved to meet a pause
EYES = (INDEX["eyeBlinkLeft"] - len(ORAL), INDEX["eyeBlinkRight"] - len(ORAL))  # columns among the facial channels
BROWS = [i for i, name in enumerate(FACIAL) if name.startswith("brow")]
POSE = 14  # head rotation (4), head translation (3), torso rotation (4), torso translation (3)


@dataclass
class Manner:
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
    rows: F32
    activity: F32
    blinks: list[tuple[F32, int]]
    interval: float
    parts: list[tuple[int, int]]

    def chosen(self) -> F32:
        """(M', 38) the rows of all parts."""
        return np.concatenate([self.rows[first:end] for first, end in self.parts])


def learn_manner(footage: Performance, activity: F32, parts: list[tuple[int, int]] | None = None) -> Manner:
    """The manner of the footage's first len(activity) frames (the rest is held out), or of these parts of them."""
    count = min(len(activity), len(footage))
    parts = parts or [(0, count)]
    facial = footage.channels[:count, len(ORAL) :].copy()
    facial[:, EYES], found = _blinks(facial[:, EYES], footage.fps)
    blinks = [(piece, at) for piece, at, shut in found if any(first <= shut < end for first, end in parts)]
    poses = (footage.head_rotation, footage.head_translation, footage.torso_rotation, footage.torso_translation)
    rows = np.concatenate([*(p[:count] for p in poses), facial], 1).astype(np.float32)
    for start in (0, 7):  # one hemisphere, so that rows can be compared and mixed
        rows[:, start : start + 4] *= np.sign(rows[:, start : start + 4] @ rows[0, start : start + 4])[:, None]
    shown = sum(end - first for first, end in parts)
    interval = float(np.clip(shown / footage.fps / max(len(blinks), 1), *BLINK_INTERVAL))
    return Manner(footage.fps, rows, activity, blinks, interval, parts)


def _blinks(lids: F32, fps: float) -> tuple[F32, list[tuple[F32, int, int]]]:
    """The lids' level (M, 2) without blinks, and the blinks with the row at which the eye is shut."""
    size = max(3, round(LID_WINDOW * fps) | 1)
    level = np.minimum(median_filter(lids, (size, 1), mode="nearest"), lids)
    level = gaussian_filter1d(level, 0.1 * fps, axis=0)
    excess = np.clip(lids - level, 0, None)
    both = excess.mean(1)
    before, after = round(BLINK_REACH[0] * fps), round(BLINK_REACH[1] * fps)
    height = max(BLINK_HEIGHT, 0.4 * float(both.max(initial=0)))
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
class Strengths:
    """How strong the parts are: 1 is the actor's own, 0 is still."""

    brows: float = 1.0
    head: float = 1.0
    blink: float = 1.0


def move(manner: Manner, activity: F32, times: F64, seed: int, strengths: Strengths) -> F32:
    """Poses and facial channels (T, 38) at `times` of a line.

    Args:
        activity: (N,) the line's speech activity at the manner's fps, covering `times`.
        seed: same seed, same motion.
    """
    rng = np.random.default_rng(seed)
    rows = _stitched(manner, activity, rng)
    lids = _blinking(manner, activity, rng) * strengths.blink
    middle = _middle(manner.chosen())
    still = np.broadcast_to(middle, rows.shape)
    rows[:, :POSE] = still[:, :POSE] + strengths.head * (rows[:, :POSE] - still[:, :POSE])
    brows = [POSE + i for i in BROWS]
    rows[:, brows] = still[:, brows] + strengths.brows * (rows[:, brows] - still[:, brows])
    rows[:, [POSE + i for i in EYES]] += lids
    position = np.clip(times * manner.fps, 0, len(rows) - 1)
    low = np.minimum(position.astype(int), max(len(rows) - 2, 0))
    share = (position - low)[:, None]
    moved = rows[low] * (1 - share) + rows[np.minimum(low + 1, len(rows) - 1)] * share
    for start in (0, 7):
        moved[:, start : start + 4] /= np.linalg.norm(moved[:, start : start + 4], axis=1, keepdims=True)
    moved[:, POSE:] = np.clip(moved[:, POSE:], 0, 1)
    return moved.astype(np.float32)


def _middle(rows: F32) -> F32:
    middle = np.median(rows, axis=0)
    for start in (0, 7):
        middle[start : start + 4] /= np.linalg.norm(middle[start : start + 4])
    return middle.astype(np.float32)


def _stitched(manner: Manner, activity: F32, rng: np.random.Generator) -> F32:
    """Rows (N, 38) of pieces laid end to end over the line; begins at the pose the footage begins with."""
    count, tail = len(activity), round(FADE[1] * manner.fps)
    longest = max(manner.parts, key=lambda part: part[1] - part[0])
    if longest[1] - longest[0] < 2 * tail + round(manner.fps):
        return _to_and_fro(manner.rows[slice(*longest)], count)
    feature = _comparable(manner.rows, manner.fps)
    used = np.zeros(len(manner.rows), np.float32)
    result = np.zeros((count, manner.rows.shape[1]), np.float32)
    done, here = 0, 0  # frames of the line that are covered; the footage row that follows them
    while done < count:
        length = min(round(rng.uniform(*PIECE) * manner.fps), longest[1] - longest[0] - tail)
        start = longest[0]
        if done:
            start = _follower(manner, feature, used, here, activity[done : done + length], length, rng)
        # the piece reaches `tail` frames further, to overlap with the next
        piece = manner.rows[start : start + length + tail][: count - done]
        ramp = np.ones((len(piece), 1), np.float32)
        if done:
            fade = _fade(manner, here, start)
            x = np.minimum((np.arange(len(piece)) + 1) / (fade + 1), 1)
            ramp[:, 0] = x**3 * (x * (6 * x - 15) + 10)  # K. Perlin's smootherstep: no jump in acceleration
        result[done : done + len(piece)] = (1 - ramp) * result[done : done + len(piece)] + ramp * piece
        used[start : start + length] += 1
        done, here = done + length, start + length
    return result


def _fade(manner: Manner, here: int, start: int) -> int:
    """Frames of a cross-fade that moves the head no faster than the footage's fast moves."""
    parts = (slice(0, 4), slice(4, 7))
    speeds = [np.percentile(np.linalg.norm(np.diff(manner.rows[:, p], axis=0), axis=1), 90) for p in parts]
    apart = [np.linalg.norm(manner.rows[here, p] - manner.rows[start, p]) for p in parts]
    needed = max(FADE_PEAK * a / max(v, 1e-6) for a, v in zip(apart, speeds, strict=True))
    return round(float(np.clip(needed, FADE[0] * manner.fps, FADE[1] * manner.fps)))


def _to_and_fro(rows: F32, count: int) -> F32:
    """Very short footage, forwards and backwards in turn, so that nothing jumps."""
    index = np.arange(count) % max(2 * len(rows) - 2, 1)
    result: F32 = rows[np.where(index < len(rows), index, 2 * len(rows) - 2 - index)].copy()
    return result


def _comparable(rows: F32, fps: float) -> F32:
    """(M, F) pose, gaze and speed, each column in deviations of the footage."""
    poses = gaussian_filter1d(rows[:, : POSE + len(FACIAL)], 1.5, axis=0)
    speed = np.gradient(poses[:, :POSE], axis=0) * fps
    weights = np.concatenate([np.ones(POSE), np.full(len(FACIAL), 0.3), np.full(POSE, 0.5)])
    columns = np.concatenate([poses, speed], 1)
    spread = columns.std(0)
    return (columns / np.where(spread > 1e-6, spread, 1) * np.where(spread > 1e-6, weights, 0)).astype(np.float32)


def _follower(
    manner: Manner, feature: F32, used: F32, here: int, wanted: F32, length: int, rng: np.random.Generator
) -> int:
    """The footage row at which the next piece begins."""
    whole = length + round(FADE[1] * manner.fps)  # the overlap that follows fits into the same part too
    starts = np.concatenate([np.arange(first, end - whole + 1) for first, end in manner.parts])
    distance = np.sqrt(((feature[starts] - feature[here]) ** 2).sum(1) / (feature[0] != 0).sum())
    windows = np.lib.stride_tricks.sliding_window_view(manner.activity, len(wanted))[starts]
    unlike = np.abs(windows - wanted).mean(1)
    repeated = np.array([used[s : s + length].mean() for s in starts])
    # running on where the last piece ended is no new piece
    same = np.abs(starts - here) < manner.fps / 2
    cost = distance + RHYTHM_WEIGHT * unlike + REPEAT_WEIGHT * repeated + np.where(same, 1.0, 0.0)
    apart: list[int] = []
    for index in np.argsort(cost, kind="stable"):
        if all(abs(starts[index] - other) > manner.fps / 4 for other in apart):
            apart.append(int(starts[index]))
        if len(apart) == CHOICES:
            break
    return int(rng.choice(apart))


def _blinking(manner: Manner, activity: F32, rng: np.random.Generator) -> F32:
    """(N, 2) what blinks add to the lids along the line."""
    added = np.zeros((len(activity), 2), np.float32)
    if not manner.blinks:
        return added
    quiet = 1 - gaussian_filter1d(activity.astype(np.float64), 0.1 * manner.fps)
    time = rng.uniform(0.3, 1.0) * manner.interval
    while time * manner.fps < len(activity):
        shut = _pause_near(quiet, round(time * manner.fps), round(BLINK_SHIFT * manner.fps))
        blink, at = manner.blinks[int(rng.integers(len(manner.blinks)))]
        first = max(shut - at, 0)
        piece = blink[first - (shut - at) :][: len(added) - first]
        added[first : first + len(piece)] = np.maximum(added[first : first + len(piece)], piece)
        time = max(time, shut / manner.fps)
        time += manner.interval * rng.lognormal(-0.5 * BLINK_SPREAD**2, BLINK_SPREAD)
    return added


def _pause_near(quiet: F64, at: int, reach: int) -> int:
    """The quietest frame within `reach`, if it is a pause at all."""
    first = max(at - reach, 0)
    near = quiet[first : at + reach + 1]
    return first + int(np.argmax(near)) if len(near) and near.max() > 0.5 else at
