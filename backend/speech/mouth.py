"""What is enforced on spoken mouth channels: lips meet on p, b and m, the mouth rests in pauses, moves as widely as the
actor's own and never beyond what the footage showed.

The poses that are blended in are the actor's own: the mean of footage frames whose lips were closest together while
speaking, and in pauses. How far apart the lips are is read off the actor's own blend-shape mesh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening, gaussian_filter1d, maximum_filter1d

from ..contract.actor_folder import Proxy
from ..contract.channels import ORAL
from ..tracking.detection import topology as topo
from .features import TRACK_RATE, SpeechTrack

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

CLOSURE_PROBABILITY = 0.15  # of p, b, m above which the lips may have to meet
# They must where the regression does not hold them far apart: at most this share of the opening's range, more when the
# phone is surer. On five clips our lips then meet about as often as the footage's own on aligned p, b and m.
CLOSURE_NEAR = (0.35, 0.35)
CLOSURE_SECONDS = (0.02, 0.5)  # shorter is noise, longer is not a consonant
NEAR = 0.06  # seconds around it in which the lips may meet
HOLD, FLANK = 0.02, 0.03  # seconds for which the lips touch to either side of that moment; to close and to open
ANTICIPATE, LINGER = 0.30, 0.15  # seconds before speech and after it in which the mouth may already or still move
SHORTEST_PAUSE = 0.6  # seconds; in shorter ones people keep their lips apart, and so do ours
QUIET = 0.4  # speech activity below which a frame belongs to a pause
PAUSE_FADE = 0.05  # seconds, standard deviation of the change into and out of rest
REST_SHARE, CLOSED_SHARE = 0.15, 0.04  # of the pause frames, and of the speech frames: the most closed ones
REST_OPEN = 0.03  # of the opening's range that lips at rest may be apart
MINIMUM = 4  # frames that a pose is averaged over at least
GAIN = (1.0, 1.5)  # how much wider the regression's cautious motion is made
STYLE_GAIN = (0.5, 2.0)  # how much narrower or wider than usual a mouth may move in a style
MOST_BOOST, LEAST_BOOSTED = 1.4, 24  # at most, and from how many frames of speech on
PASSES = 12  # of closing the lips over several channels
MARGIN = 0.05  # of a channel's range, beyond what the footage showed

# Channels that part or join the lips; the others (corners, rounding, sides) keep their coarticulation in a closure.
PARTING = np.array([
    name.startswith(("jawOpen", "mouthClose", "mouthFunnel", "mouthRoll", "mouthShrug", "mouthPress", "mouthLowerDown",
                     "mouthUpperUp", "tongueOut"))
    for name in ORAL
])  # fmt: skip


@dataclass
class Mouth:
    """One actor's mouth, arrays over the 28 oral channels unless said.

    Attributes:
        rest: the pose in pauses. closed: the pose with the lips together in speech.
        low, high: the range that speech may use.
        gain, centre: motion is widened around `centre` by `gain`.
        gap: metres that the lips part per unit of each channel.
        variance: how much each channel varies in the footage.
        span: (2,) opening of nearly closed and of nearly widest lips in the footage.
        liveliness: (1,) how much the openness that the regression says deviates in speech.
    """

    rest: F32
    closed: F32
    low: F32
    high: F32
    gain: F32
    centre: F32
    gap: F32
    variance: F32
    span: F32
    liveliness: F32

    def opening(self, oral: F32) -> F32:
        """(T,) metres between the lips' inner edges, up to a constant, for channels (T, 28)."""
        result: F32 = oral @ self.gap
        return result

    def openness(self, oral: F32) -> F32:
        """(T,) the opening as a share of the footage's range."""
        result: F32 = (self.opening(oral) - self.span[0]) / max(float(self.span[1] - self.span[0]), 1e-6)
        return result

    def in_style(self, own: F32, whole: F32) -> tuple[Mouth, F32]:
        """This mouth as it moves in parts of the footage, and what to add to what the regression says.

        Args:
            own: (S, 28) tracked channels of the parts while speaking. whole: (T, 28) those of all the footage.
        """
        shift = own.mean(0) - whole.mean(0)
        wider = np.clip(own.std(0) / np.maximum(whole.std(0), 1e-6), *STYLE_GAIN)
        return replace(self, gain=self.gain * wider, centre=self.centre + shift), shift.astype(np.float32)


def lip_gap(proxy: Proxy) -> F32:
    """(28,) metres that the middle of the lips parts per unit of each oral channel.

    Raises:
        ValueError: the mesh is not the tracker's.
    """
    if len(proxy.vertices) < topo.MESH:
        raise ValueError(f"the mesh has {len(proxy.vertices)} vertices")
    upper, lower = topo.indices(*topo.LIP_INNER_UPPER)[2:7], topo.indices(*topo.LIP_INNER_LOWER)[2:7]  # the middle
    shapes = proxy.shapes[: len(ORAL)]
    return (shapes[:, upper, 1] - shapes[:, lower, 1]).mean(1).astype(np.float32)


def measure_mouth(oral: F32, predicted: F32, track: SpeechTrack, times: F64, gap: F32) -> Mouth:
    """Learns a `Mouth` from the footage.

    Args:
        oral: (T, 28) tracked channels. predicted: (T, 28) what the regression says for frames it did not see.
        times: (T,) seconds of the frames.
    """
    opening = oral @ gap
    paused = pauses(track, times) > 0.5
    speaking = ~paused
    closed = _most_closed(oral, opening, speaking if speaking.sum() >= MINIMUM else np.ones_like(paused), CLOSED_SHARE)
    rest = _most_closed(oral, opening, paused, REST_SHARE) if paused.sum() >= MINIMUM else closed
    span = np.percentile(opening, [3, 97])
    goal = np.full(1, span[0] + REST_OPEN * (span[1] - span[0]), np.float32)
    variance = oral.var(0)
    rest = narrowed(rest[None], goal, gap, variance)[0]  # people rest with parted lips, ours shut
    openness = (predicted @ gap - span[0]) / max(float(span[1] - span[0]), 1e-6)
    low, high = np.percentile(oral, 0.5, axis=0), np.percentile(oral, 99.5, axis=0)
    margin = MARGIN * (high - low)
    spread, told = oral[speaking].std(0), predicted[speaking].std(0)
    # half-way (in log) between the regression's caution, which is least wrong, and the footage's liveliness
    gain = np.clip(np.sqrt(spread / np.maximum(told, 1e-6)), *GAIN)
    arrays = (
        rest, closed, np.clip(low - margin, 0, None), np.clip(high + margin, 0, 1), gain, predicted.mean(0), gap,
        variance, span, [float(openness[speaking].std()) if speaking.any() else 0.0],
    )  # fmt: skip
    return Mouth(*(np.asarray(array, np.float32) for array in arrays))


def _most_closed(oral: F32, opening: F32, among: NDArray[np.bool_], share: float) -> F32:
    rows = np.flatnonzero(among)
    count = min(len(rows), max(MINIMUM, round(share * len(rows))))
    result: F32 = oral[rows[np.argsort(opening[rows], kind="stable")[:count]]].mean(0)
    return result


def narrowed(oral: F32, goal: F32, gap: F32, variance: F32) -> F32:
    """Channels (T, 28) whose opening is at most `goal` (T,) metres.

    Each channel that parts the lips gives in proportion to how much it usually moves. That is the least change in the
    actor's own measure; a closed pose that is blended in, or the jaw alone, strays further from what real lips do.
    """
    for _ in range(PASSES):  # a channel at its limit leaves the rest to the others
        free = PARTING * variance * gap * np.where(gap > 0, oral > 0, oral < 1)
        reach = free @ gap
        step = np.clip(oral @ gap - goal, 0, None) / np.where(reach > 1e-12, reach, np.inf)
        oral = np.clip(oral - step[:, None] * free, 0, 1)
    return oral.astype(np.float32)


def pauses(track: SpeechTrack, times: F64) -> F32:
    """(T,) 1 where nobody speaks nor is about to, 0 in speech and in short pauses, soft between."""
    before, after = round(ANTICIPATE * TRACK_RATE), round(LINGER * TRACK_RATE)
    size = before + after + 1
    # the window reaches `before` frames into the future and `after` into the past
    near = maximum_filter1d(track.activity, size, origin=after - size // 2)
    spoken = np.flatnonzero(track.activity >= QUIET)
    if len(spoken):  # before the first word and after the last one it rests in the half that is farther from speech
        near[: spoken[0] // 2] = near[(len(near) + spoken[-1] + 2) // 2 :] = 0
    least = round((SHORTEST_PAUSE - ANTICIPATE - LINGER) * TRACK_RATE)
    around = np.pad(near < QUIET, least, constant_values=True)  # it is quiet before the sound and after it
    rest = binary_opening(around, np.ones(least))[least:-least]
    faded = gaussian_filter1d(rest.astype(np.float32), PAUSE_FADE * TRACK_RATE)
    return track.at(faded, times)


def closures(track: SpeechTrack) -> list[tuple[float, float, float]]:
    """Start and end in seconds, and probability, of all that may be p, b or m."""
    heard = (track.bilabial > CLOSURE_PROBABILITY).astype(np.int8)
    edges = np.diff(np.concatenate([[0], heard, [0]]))
    loud = gaussian_filter1d(track.activity, 0.3 * TRACK_RATE)
    found = []
    for first, last in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if CLOSURE_SECONDS[0] <= (last - first) / TRACK_RATE <= CLOSURE_SECONDS[1] and loud[first] > 0.2:
            found.append((first / TRACK_RATE, last / TRACK_RATE, float(track.bilabial[first:last].max())))
    return found


def closing(track: SpeechTrack, times: F64, openness: F32) -> F32:
    """(T,) 0–1 how far the lips must be together; 1 in at least one frame of every closure.

    Args:
        openness: (T,) opening that the regression says, as a share of its range.
    """
    weight = np.zeros(len(times), np.float32)
    frame = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    for start, end, probability in closures(track):
        around = slice(*np.searchsorted(times, [start - NEAR, end + NEAR]))
        if around.start == around.stop:
            continue
        middle = times[around][np.argmin(openness[around])]  # where the regression is nearest to closed
        if openness[around].min() > CLOSURE_NEAR[0] + CLOSURE_NEAR[1] * probability:
            continue
        half = max(HOLD, frame / 2)
        near = slice(*np.searchsorted(times, [middle - half - FLANK, middle + half + FLANK]))
        beyond = np.clip((np.abs(times[near] - middle) - half) / FLANK, 0, 1)
        weight[near] = np.maximum(weight[near], 0.5 + 0.5 * np.cos(np.pi * beyond))
    return weight


def shape_mouth(mouth: Mouth, oral: F32, track: SpeechTrack, times: F64, lips: float, smoothing: float = 0.0) -> F32:
    """Channels (T, 28) that close, rest and stay in range, from the regression's (T, 28).

    Args:
        smoothing: seconds, standard deviation, over which all but closures and rest is averaged; times are even then.
        lips: strength; 1 is the actor's own, 0 rests, above 1 exaggerates.
    """
    rest = pauses(track, times)[:, None]
    weight = closing(track, times, mouth.openness(oral))[:, None] * (1 - rest)
    gain = mouth.gain * _boost(mouth, mouth.openness(oral)[rest[:, 0] < 0.5])
    oral = np.clip(mouth.centre + gain * (oral - mouth.centre), mouth.low, mouth.high)
    if smoothing and len(times) > 1:
        oral = gaussian_filter1d(oral, smoothing / (times[1] - times[0]), axis=0, mode="nearest")
    oral = mouth.rest + lips * (1 - rest) * (oral - mouth.rest)
    oral = np.clip(oral, 0, 1).astype(np.float32)
    apart = mouth.opening(oral)
    together = np.minimum(apart, mouth.opening(mouth.closed[None])[0])
    return narrowed(oral, apart + weight[:, 0] * (together - apart), mouth.gap, mouth.variance)


def _boost(mouth: Mouth, openness: F32) -> float:
    """How much wider a line is made whose voice the regression knows less and therefore follows more timidly."""
    spread = float(openness.std()) if len(openness) >= LEAST_BOOSTED else 0.0
    return float(np.clip(mouth.liveliness[0] / spread, 1, MOST_BOOST)) if spread > 1e-6 else 1.0
