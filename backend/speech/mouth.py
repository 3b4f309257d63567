"""The profile of one actor's mouth, and the limits that it sets to predicted oral channels.

Lips meet on p, b and m, the mouth rests in pauses, moves as widely as in the footage and never beyond it. The poses
that are blended in are the actor's own: means of the footage frames whose lips were closest together in speech and in
pauses. The distance between the lips is measured on the actor's own blend shapes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..contract.actor_folder import Proxy
from ..contract.arrays import F32, F64, Mask
from ..contract.channels import ORAL_CHANNELS
from ..tracking.detection import topology as topo
from .closures import closure_weights, pause_weights
from .features import SpeechFeatures

REST_FRAME_SHARE = 0.15  # of the pause frames, the most closed ones, whose mean is the rest pose. Not tuned
CLOSED_FRAME_SHARE = 0.04  # of the speech frames, the most closed ones, whose mean is the closed pose. Not tuned
MIN_AVERAGED_FRAMES = 4  # in those means; fewer let tracking noise through
MAX_REST_OPENNESS = 0.03  # share of the opening's range; people rest with parted lips, which looks wrong here
OPENING_PERCENTILES = (3, 97)  # of the footage, that bound the opening's range; the extremes are tracking errors
CHANNEL_PERCENTILES = (0.5, 99.5)  # of the footage, that bound each channel's range
RANGE_MARGIN = 0.05  # of a channel's range, allowed beyond it
GAIN_RANGE = (1.0, 1.5)  # of each channel; the network's motion is too small, and a larger gain exaggerates its errors
STYLE_GAIN_RANGE = (0.5, 2.0)  # by which a style narrows or widens a channel; a short part gives extreme ratios
MAX_BOOST = 1.4  # of a line whose voice the network follows timidly; a larger one exaggerates its errors. Not tuned
MIN_BOOST_FRAMES = 24  # of speech; the deviation of fewer frames is too uncertain. Not tuned
LIP_LIMIT_PASSES = 12  # of closing the lips; a channel at its limit leaves the rest to the others
MIDDLE_LIP_LANDMARKS = slice(2, 7)  # of the inner lip contours, from corner to corner

# Channels that part or join the lips; the others (corners, rounding, sides) keep their coarticulation in a closure.
LIP_PARTING_PREFIXES = (
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthRoll",
    "mouthShrug",
    "mouthPress",
    "mouthLowerDown",
    "mouthUpperUp",
    "tongueOut",
)
IS_LIP_PARTING = np.array([name.startswith(LIP_PARTING_PREFIXES) for name in ORAL_CHANNELS])


@dataclass(frozen=True)
class MouthStyle:
    """How a mouth moves in parts of the footage, against all of it; arrays over the 28 oral channels.

    Attributes:
        shift: difference of the means.
        gain: ratio of the deviations, within `STYLE_GAIN_RANGE`.
    """

    shift: F32
    gain: F32

    @classmethod
    def measure(cls, style_channels: F32, footage_channels: F32) -> MouthStyle:
        """Compare the channels while speaking in parts of the footage (S, 28) with those in all of it (T, 28)."""
        shift = style_channels.mean(0) - footage_channels.mean(0)
        ratio = style_channels.std(0) / np.maximum(footage_channels.std(0), 1e-6)
        return cls(shift, np.clip(ratio, *STYLE_GAIN_RANGE))


@dataclass
class MouthProfile:
    """One actor's mouth. Arrays run over the 28 oral channels unless a shape is given.

    Attributes:
        rest: the pose in pauses.
        closed: the pose with the lips together in speech.
        low: smallest values that speech may use.
        high: largest values that speech may use.
        gain: factor by which predicted motion is widened around `centre`.
        centre: mean of the predicted channels.
        gap: metres that the lips part per unit of each channel.
        variance: of each channel in the footage.
        span: (2,) opening of nearly closed and of nearly widest lips in the footage.
        liveliness: (1,) standard deviation of the predicted openness in speech.
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
        """(T,) the opening for channels (T, 28) as a share of the footage's range."""
        result: F32 = (self.lip_opening(oral) - self.span[0]) / max(float(self.span[1] - self.span[0]), 1e-6)
        return result

    def with_style(self, style: MouthStyle) -> MouthProfile:
        """Return this mouth as it moves in a style."""
        return replace(self, gain=self.gain * style.gain, centre=self.centre + style.shift)


def lip_gap_per_channel(proxy: Proxy) -> F32:
    """(28,) metres that the middle of the lips parts per unit of each oral channel.

    Raises:
        ValueError: the mesh is not the tracker's.
    """
    if len(proxy.vertices) < topo.MESH_VERTEX_COUNT:
        raise ValueError(f"the mesh has {len(proxy.vertices)} vertices")
    upper = topo.index_array(*topo.LIP_INNER_UPPER)[MIDDLE_LIP_LANDMARKS]
    lower = topo.index_array(*topo.LIP_INNER_LOWER)[MIDDLE_LIP_LANDMARKS]
    shapes = proxy.shapes[: len(ORAL_CHANNELS)]
    result: F32 = (shapes[:, upper, 1] - shapes[:, lower, 1]).mean(1).astype(np.float32)
    return result


def measure_mouth_profile(
    oral: F32, predicted: F32, features: SpeechFeatures, times: F64, lip_gap_rates: F32
) -> MouthProfile:
    """Measure a mouth in the footage.

    Args:
        oral: (T, 28) tracked channels.
        predicted: (T, 28) the network's channels for frames that it did not see.
        features: of the footage's audio.
        times: (T,) seconds of the frames.
        lip_gap_rates: (28,) metres that the lips part per unit of each channel.
    """
    opening = oral @ lip_gap_rates
    is_pause = pause_weights(features, times) > 0.5
    is_speech = ~is_pause
    closed, rest = _closed_and_rest_pose(oral, opening, is_pause)
    span = np.percentile(opening, OPENING_PERCENTILES)
    variance = oral.var(0)
    max_rest_opening = np.full(1, span[0] + MAX_REST_OPENNESS * (span[1] - span[0]), np.float32)
    rest = limit_lip_opening(rest[None], max_rest_opening, lip_gap_rates, variance)[0]
    low, high = (np.percentile(oral, percentile, axis=0) for percentile in CHANNEL_PERCENTILES)
    margin = RANGE_MARGIN * (high - low)
    openness = (predicted @ lip_gap_rates - span[0]) / max(float(span[1] - span[0]), 1e-6)
    arrays = {
        "rest": rest,
        "closed": closed,
        "low": np.clip(low - margin, 0, None),
        "high": np.clip(high + margin, 0, 1),
        "gain": _motion_gain(oral[is_speech], predicted[is_speech]),
        "centre": predicted.mean(0),
        "gap": lip_gap_rates,
        "variance": variance,
        "span": span,
        "liveliness": [float(openness[is_speech].std()) if is_speech.any() else 0.0],
    }
    return MouthProfile(**{name: np.asarray(array, np.float32) for name, array in arrays.items()})


def _closed_and_rest_pose(oral: F32, opening: F32, is_pause: Mask) -> tuple[F32, F32]:
    """Closed pose from speech (from all frames where there is little), and rest pose from pauses (else the closed)."""
    is_speech = ~is_pause
    candidates = is_speech if is_speech.sum() >= MIN_AVERAGED_FRAMES else np.ones_like(is_pause)
    closed = _mean_most_closed(oral, opening, candidates, CLOSED_FRAME_SHARE)
    if is_pause.sum() < MIN_AVERAGED_FRAMES:
        return closed, closed
    return closed, _mean_most_closed(oral, opening, is_pause, REST_FRAME_SHARE)


def _mean_most_closed(oral: F32, opening: F32, is_candidate: Mask, share: float) -> F32:
    """Mean pose of the `share` of the candidate frames whose lips are closest together."""
    frames = np.flatnonzero(is_candidate)
    count = min(len(frames), max(MIN_AVERAGED_FRAMES, round(share * len(frames))))
    result: F32 = oral[frames[np.argsort(opening[frames], kind="stable")[:count]]].mean(0)
    return result


def _motion_gain(oral: F32, predicted: F32) -> F32:
    """(28,) gain half-way, in logarithms, from the network's motion, which errs least, to the footage's."""
    ratio: F32 = oral.std(0) / np.maximum(predicted.std(0), 1e-6)
    return np.clip(np.sqrt(ratio), *GAIN_RANGE)


def limit_lip_opening(oral: F32, max_opening: F32, lip_gap_rates: F32, variance: F32) -> F32:
    """Return channels (T, 28) whose opening is at most `max_opening` (T,) metres.

    Each channel that parts the lips gives way in proportion to its variance. That is the least change in the actor's
    own measure; a blended-in closed pose, or the jaw alone, strays further from real lips (EXPERIMENTS.md, Speech).
    """
    for _ in range(LIP_LIMIT_PASSES):
        is_free = np.where(lip_gap_rates > 0, oral > 0, oral < 1)
        direction = IS_LIP_PARTING * variance * lip_gap_rates * is_free
        opening_rate = direction @ lip_gap_rates
        excess = np.clip(oral @ lip_gap_rates - max_opening, 0, None)
        step = excess / np.where(opening_rate > 1e-12, opening_rate, np.inf)
        oral = np.clip(oral - step[:, None] * direction, 0, 1)
    return oral.astype(np.float32)


def constrain_mouth(
    profile: MouthProfile,
    oral: F32,
    features: SpeechFeatures,
    times: F64,
    lip_strength: float,
    smoothing_seconds: float = 0.0,
) -> F32:
    """Return channels that close, rest and stay in the footage's range.

    Args:
        profile: of the actor's mouth.
        oral: (T, 28) predicted channels.
        features: of the audio.
        times: (T,) seconds of the frames; evenly spaced where they are smoothed.
        lip_strength: 1 is the actor's own motion, 0 rests, more than 1 exaggerates.
        smoothing_seconds: standard deviation over which all but closures and rest is averaged.

    Returns:
        (T, 28) channels in 0–1.
    """
    rest = pause_weights(features, times)[:, None]
    closure = closure_weights(features, times, profile.openness(oral))[:, None] * (1 - rest)
    gain = profile.gain * _articulation_boost(profile, profile.openness(oral)[rest[:, 0] < 0.5])
    oral = np.clip(profile.centre + gain * (oral - profile.centre), profile.low, profile.high)
    if smoothing_seconds and len(times) > 1:
        oral = gaussian_filter1d(oral, smoothing_seconds / (times[1] - times[0]), axis=0, mode="nearest")
    oral = profile.rest + lip_strength * (1 - rest) * (oral - profile.rest)
    oral = np.clip(oral, 0, 1).astype(np.float32)
    opening = profile.lip_opening(oral)
    closed_opening = np.minimum(opening, profile.lip_opening(profile.closed[None])[0])
    max_opening = opening + closure[:, 0] * (closed_opening - opening)
    return limit_lip_opening(oral, max_opening, profile.gap, profile.variance)


def _articulation_boost(profile: MouthProfile, openness: F32) -> float:
    """Factor that widens a line whose mouth opens less than in the footage, because its voice is unfamiliar."""
    deviation = float(openness.std()) if len(openness) >= MIN_BOOST_FRAMES else 0.0
    return float(np.clip(profile.liveliness[0] / deviation, 1, MAX_BOOST)) if deviation > 1e-6 else 1.0
