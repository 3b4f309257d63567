"""What is enforced on spoken mouth channels: lips meet on p, b and m, the mouth rests in pauses, moves as widely as the
actor's own and never beyond what the footage showed.

The poses that are blended in are the actor's own: the mean of footage frames whose lips were closest together while
speaking, and in pauses. How far apart the lips are is read off the actor's own blend-shape mesh.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_opening, gaussian_filter1d, maximum_filter1d

from ..contract.actor_folder import Proxy
from ..contract.arrays import F32, F64, Mask
from ..contract.channels import ORAL_CHANNELS
from ..tracking.detection import topology as topo
from .features import FEATURE_RATE, SpeechFeatures

MIN_CLOSURE_PROBABILITY = 0.15  # of p, b, m above which the lips may have to meet
# They must where the regression does not hold them far apart: at most this share of the opening's range, more when the
# phone is surer. On five clips our lips then meet about as often as the footage's own on aligned p, b and m.
MAX_CLOSURE_OPENNESS = (0.35, 0.35)
CLOSURE_DURATION_RANGE_SECONDS = (0.02, 0.5)  # shorter is noise, longer is not a consonant
CLOSURE_SEARCH_SECONDS = 0.06  # seconds around it in which the lips may meet
CLOSURE_HOLD_SECONDS, CLOSURE_RAMP_SECONDS = (
    0.02,
    0.03,
)  # seconds for which the lips touch to either side of that moment; to close and to open
ANTICIPATION_SECONDS, CARRYOVER_SECONDS = (
    0.30,
    0.15,
)  # seconds before speech and after it in which the mouth may already or still move
MIN_PAUSE_SECONDS = 0.6  # seconds; in shorter ones people keep their lips apart, and so do ours
MAX_PAUSE_ACTIVITY = 0.4  # speech activity below which a frame belongs to a pause
PAUSE_SMOOTHING_SECONDS = 0.05  # seconds, standard deviation of the change into and out of rest
REST_FRAME_SHARE, CLOSED_FRAME_SHARE = 0.15, 0.04  # of the pause frames, and of the speech frames: the most closed ones
MAX_REST_OPENNESS = 0.03  # of the opening's range that lips at rest may be apart
MIN_AVERAGED_FRAMES = 4  # frames that a pose is averaged over at least
GAIN_RANGE = (1.0, 1.5)  # how much wider the regression's cautious motion is made
STYLE_GAIN_RANGE = (0.5, 2.0)  # how much narrower or wider than usual a mouth may move in a style
MAX_BOOST, MIN_BOOST_FRAMES = 1.4, 24  # at most, and from how many frames of speech on
LIP_LIMIT_PASSES = 12  # of closing the lips over several channels
RANGE_MARGIN = 0.05  # of a channel's range, beyond what the footage showed

# Channels that part or join the lips; the others (corners, rounding, sides) keep their coarticulation in a closure.
IS_LIP_PARTING = np.array([
    name.startswith(("jawOpen", "mouthClose", "mouthFunnel", "mouthRoll", "mouthShrug", "mouthPress", "mouthLowerDown",
                     "mouthUpperUp", "tongueOut"))
    for name in ORAL_CHANNELS
])  # fmt: skip


@dataclass
class MouthProfile:
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

    def lip_opening(self, oral: F32) -> F32:
        """(T,) metres between the lips' inner edges, up to a constant, for channels (T, 28)."""
        result: F32 = oral @ self.gap
        return result

    def openness(self, oral: F32) -> F32:
        """(T,) the opening as a share of the footage's range."""
        result: F32 = (self.lip_opening(oral) - self.span[0]) / max(float(self.span[1] - self.span[0]), 1e-6)
        return result

    def with_style(self, style_channels: F32, footage_channels: F32) -> tuple[MouthProfile, F32]:
        """This mouth as it moves in parts of the footage, and what to add to what the regression says.

        Args:
            own: (S, 28) tracked channels of the parts while speaking. whole: (T, 28) those of all the footage.
        """
        shift = style_channels.mean(0) - footage_channels.mean(0)
        wider = np.clip(style_channels.std(0) / np.maximum(footage_channels.std(0), 1e-6), *STYLE_GAIN_RANGE)
        return replace(self, gain=self.gain * wider, centre=self.centre + shift), shift.astype(np.float32)


def lip_gap_per_channel(proxy: Proxy) -> F32:
    """(28,) metres that the middle of the lips parts per unit of each oral channel.

    Raises:
        ValueError: the mesh is not the tracker's.
    """
    if len(proxy.vertices) < topo.MESH_VERTEX_COUNT:
        raise ValueError(f"the mesh has {len(proxy.vertices)} vertices")
    upper, lower = (
        topo.index_array(*topo.LIP_INNER_UPPER)[2:7],
        topo.index_array(*topo.LIP_INNER_LOWER)[2:7],
    )  # the middle
    shapes = proxy.shapes[: len(ORAL_CHANNELS)]
    return (shapes[:, upper, 1] - shapes[:, lower, 1]).mean(1).astype(np.float32)


def measure_mouth_profile(
    oral: F32, predicted: F32, track: SpeechFeatures, times: F64, lip_gap_rates: F32
) -> MouthProfile:
    """Learns a `Mouth` from the footage.

    Args:
        oral: (T, 28) tracked channels. predicted: (T, 28) what the regression says for frames it did not see.
        times: (T,) seconds of the frames.
    """
    opening = oral @ lip_gap_rates
    paused = pause_weights(track, times) > 0.5
    speaking = ~paused
    closed = _mean_most_closed(
        oral, opening, speaking if speaking.sum() >= MIN_AVERAGED_FRAMES else np.ones_like(paused), CLOSED_FRAME_SHARE
    )
    rest = _mean_most_closed(oral, opening, paused, REST_FRAME_SHARE) if paused.sum() >= MIN_AVERAGED_FRAMES else closed
    span = np.percentile(opening, [3, 97])
    goal = np.full(1, span[0] + MAX_REST_OPENNESS * (span[1] - span[0]), np.float32)
    variance = oral.var(0)
    rest = limit_lip_opening(rest[None], goal, lip_gap_rates, variance)[0]  # people rest with parted lips, ours shut
    openness = (predicted @ lip_gap_rates - span[0]) / max(float(span[1] - span[0]), 1e-6)
    low, high = np.percentile(oral, 0.5, axis=0), np.percentile(oral, 99.5, axis=0)
    margin = RANGE_MARGIN * (high - low)
    spread, told = oral[speaking].std(0), predicted[speaking].std(0)
    # half-way (in log) between the regression's caution, which is least wrong, and the footage's liveliness
    gain = np.clip(np.sqrt(spread / np.maximum(told, 1e-6)), *GAIN_RANGE)
    arrays = (
        rest,
        closed,
        np.clip(low - margin, 0, None),
        np.clip(high + margin, 0, 1),
        gain,
        predicted.mean(0),
        lip_gap_rates,
        variance,
        span,
        [float(openness[speaking].std()) if speaking.any() else 0.0],
    )
    return MouthProfile(*(np.asarray(array, np.float32) for array in arrays))


def _mean_most_closed(oral: F32, opening: F32, is_candidate: Mask, share: float) -> F32:
    rows = np.flatnonzero(is_candidate)
    count = min(len(rows), max(MIN_AVERAGED_FRAMES, round(share * len(rows))))
    result: F32 = oral[rows[np.argsort(opening[rows], kind="stable")[:count]]].mean(0)
    return result


def limit_lip_opening(oral: F32, max_opening: F32, lip_gap_rates: F32, variance: F32) -> F32:
    """Channels (T, 28) whose opening is at most `goal` (T,) metres.

    Each channel that parts the lips gives in proportion to how much it usually moves. That is the least change in the
    actor's own measure; a closed pose that is blended in, or the jaw alone, strays further from what real lips do.
    """
    for _ in range(LIP_LIMIT_PASSES):  # a channel at its limit leaves the rest to the others
        free = IS_LIP_PARTING * variance * lip_gap_rates * np.where(lip_gap_rates > 0, oral > 0, oral < 1)
        reach = free @ lip_gap_rates
        step = np.clip(oral @ lip_gap_rates - max_opening, 0, None) / np.where(reach > 1e-12, reach, np.inf)
        oral = np.clip(oral - step[:, None] * free, 0, 1)
    return oral.astype(np.float32)


def pause_weights(track: SpeechFeatures, times: F64) -> F32:
    """(T,) 1 where nobody speaks nor is about to, 0 in speech and in short pauses, soft between."""
    before, after = round(ANTICIPATION_SECONDS * FEATURE_RATE), round(CARRYOVER_SECONDS * FEATURE_RATE)
    size = before + after + 1
    # the window reaches `before` frames into the future and `after` into the past
    near = maximum_filter1d(track.activity, size, origin=after - size // 2)
    spoken = np.flatnonzero(track.activity >= MAX_PAUSE_ACTIVITY)
    if len(spoken):  # before the first word and after the last one it rests in the half that is farther from speech
        near[: spoken[0] // 2] = near[(len(near) + spoken[-1] + 2) // 2 :] = 0
    least = round((MIN_PAUSE_SECONDS - ANTICIPATION_SECONDS - CARRYOVER_SECONDS) * FEATURE_RATE)
    around = np.pad(near < MAX_PAUSE_ACTIVITY, least, constant_values=True)  # it is quiet before the sound and after it
    rest = binary_opening(around, np.ones(least))[least:-least]
    faded = gaussian_filter1d(rest.astype(np.float32), PAUSE_SMOOTHING_SECONDS * FEATURE_RATE)
    return track.interpolate(faded, times)


def find_closures(track: SpeechFeatures) -> list[tuple[float, float, float]]:
    """Start and end in seconds, and probability, of all that may be p, b or m."""
    heard = (track.bilabial_probability > MIN_CLOSURE_PROBABILITY).astype(np.int8)
    edges = np.diff(np.concatenate([[0], heard, [0]]))
    loud = gaussian_filter1d(track.activity, 0.3 * FEATURE_RATE)
    found = []
    for first, last in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if (
            CLOSURE_DURATION_RANGE_SECONDS[0] <= (last - first) / FEATURE_RATE <= CLOSURE_DURATION_RANGE_SECONDS[1]
            and loud[first] > 0.2
        ):
            found.append(
                (first / FEATURE_RATE, last / FEATURE_RATE, float(track.bilabial_probability[first:last].max()))
            )
    return found


def closure_weights(track: SpeechFeatures, times: F64, openness: F32) -> F32:
    """(T,) 0–1 how far the lips must be together; 1 in at least one frame of every closure.

    Args:
        openness: (T,) opening that the regression says, as a share of its range.
    """
    weight = np.zeros(len(times), np.float32)
    frame = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    for start, end, probability in find_closures(track):
        around = slice(*np.searchsorted(times, [start - CLOSURE_SEARCH_SECONDS, end + CLOSURE_SEARCH_SECONDS]))
        if around.start == around.stop:
            continue
        middle = times[around][np.argmin(openness[around])]  # where the regression is nearest to closed
        if openness[around].min() > MAX_CLOSURE_OPENNESS[0] + MAX_CLOSURE_OPENNESS[1] * probability:
            continue
        half = max(CLOSURE_HOLD_SECONDS, frame / 2)
        near = slice(
            *np.searchsorted(times, [middle - half - CLOSURE_RAMP_SECONDS, middle + half + CLOSURE_RAMP_SECONDS])
        )
        beyond = np.clip((np.abs(times[near] - middle) - half) / CLOSURE_RAMP_SECONDS, 0, 1)
        weight[near] = np.maximum(weight[near], 0.5 + 0.5 * np.cos(np.pi * beyond))
    return weight


def constrain_mouth(
    profile: MouthProfile,
    oral: F32,
    track: SpeechFeatures,
    times: F64,
    lip_strength: float,
    smoothing_seconds: float = 0.0,
) -> F32:
    """Channels (T, 28) that close, rest and stay in range, from the regression's (T, 28).

    Args:
        smoothing: seconds, standard deviation, over which all but closures and rest is averaged; times are even then.
        lips: strength; 1 is the actor's own, 0 rests, above 1 exaggerates.
    """
    rest = pause_weights(track, times)[:, None]
    weight = closure_weights(track, times, profile.openness(oral))[:, None] * (1 - rest)
    gain = profile.gain * _articulation_boost(profile, profile.openness(oral)[rest[:, 0] < 0.5])
    oral = np.clip(profile.centre + gain * (oral - profile.centre), profile.low, profile.high)
    if smoothing_seconds and len(times) > 1:
        oral = gaussian_filter1d(oral, smoothing_seconds / (times[1] - times[0]), axis=0, mode="nearest")
    oral = profile.rest + lip_strength * (1 - rest) * (oral - profile.rest)
    oral = np.clip(oral, 0, 1).astype(np.float32)
    apart = profile.lip_opening(oral)
    together = np.minimum(apart, profile.lip_opening(profile.closed[None])[0])
    return limit_lip_opening(oral, apart + weight[:, 0] * (together - apart), profile.gap, profile.variance)


def _articulation_boost(profile: MouthProfile, openness: F32) -> float:
    """How much wider a line is made whose voice the regression knows less and therefore follows more timidly."""
    spread = float(openness.std()) if len(openness) >= MIN_BOOST_FRAMES else 0.0
    return float(np.clip(profile.liveliness[0] / spread, 1, MAX_BOOST)) if spread > 1e-6 else 1.0
