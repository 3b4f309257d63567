"""What speech animation hears: spectrum, phones, articulation and rhythm of a sound, normalised per speaker."""

from __future__ import annotations

from dataclasses import dataclass

import librosa
import numpy as np
from scipy.ndimage import gaussian_filter1d, grey_opening
from scipy.signal import resample_poly

from ..contract.arrays import F32, F64
from .phones import ARTICULATIONS, HOP_SAMPLES, SAMPLE_RATE, PhonePosteriors, estimate_phone_posteriors

FEATURE_RATE = SAMPLE_RATE / HOP_SAMPLES  # frames per second of a track: 100
MEL_BANDS = 40
MAX_CLICK_FRAMES = 6  # frames of 10 ms: what sounds for a shorter time is a click, not speech
MEL_WINDOW = 400  # samples: 25 ms
VOICE_WINDOW = 640  # samples: 40 ms, two periods of 50 Hz
PITCH_RANGE_HZ = (60.0, 400.0)  # hertz between which a voice is looked for

CONTEXT_TAPS, TAP_SECONDS, TAP_DEVIATION = 8, 0.04, 2.5  # context: ±8 taps of 40 ms, weighted by a Gaussian of 2.5 taps
# The groups' usual spread, so that a distance between two windows weighs them as measured best (fixed, not per clip).
MEL_SCALE, PHONE_SCALE, ARTICULATION_SCALE, RHYTHM_SCALE = 1 / 6.3, 1 / (0.9 * np.sqrt(2)), 2 / 0.9, 2 / 1.2
RHYTHM_CENTER = 0.4
EXTERNAL_SCALE = 2.0  # weighs them about as much as all others together


@dataclass(frozen=True)
class SpeechFeatures:
    """A sound as N frames of 10 ms; frame i is centred at i · 10 ms.

    Attributes:
        mel: (N, 40) log-mel spectrum; over what is spoken each band has mean 0 and all together deviate by 1.
        phones: the phone recogniser's evidence.
        rhythm: (N, R) speech activity at several widths, breath, energy, voicing and spectral flux, about 0–1.
        activity: (N,) 0 in a pause, 1 in speech.
        bilabial: (N,) probability 0–1 of p, b or m.
        plugged: (N, K) features from the person's own file, all together deviating by 1; None without.
    """

    mel: F32
    phones: PhonePosteriors
    rhythm: F32
    activity: F32
    bilabial_probability: F32
    external: F32 | None = None

    def __len__(self) -> int:
        return len(self.mel)

    def interpolate(self, values: F32, times: F64) -> F32:
        """Values (N,) of this track at `times` (T,) in seconds, linearly interpolated."""
        return np.interp(times * FEATURE_RATE, np.arange(len(values)), values).astype(np.float32)

    def frame_features(self, times: F64) -> F32:
        """(T, F) all features around each time, averaged over 40 ms, without context."""
        first, part = self._slice_around(times)
        values = np.concatenate([part._spectral_features(), part.rhythm], 1)
        return _pool_tap(_running_sum(values), first, times, 0)

    def context_windows(self, times: F64) -> F32:
        """(T, D) what the speech network sees at each time: spectrum and phones in context, and the rhythm there."""
        first, part = self._slice_around(times)
        spectral, rhythm = (
            _running_sum(part._spectral_features()),
            _running_sum((part.rhythm - RHYTHM_CENTER) * RHYTHM_SCALE),
        )
        columns = [
            _pool_tap(spectral, first, times, tap) * np.float32(np.exp(-0.5 * (tap / TAP_DEVIATION) ** 2))
            for tap in range(-CONTEXT_TAPS, CONTEXT_TAPS + 1)
        ]
        return np.concatenate([*columns, _pool_tap(rhythm, first, times, 0)], 1)

    def _spectral_features(self) -> F32:
        phones = [np.sqrt(self.phones.frame_posteriors), np.sqrt(self.phones.loop_posteriors)]
        groups = [
            self.mel * MEL_SCALE,
            *(p * PHONE_SCALE for p in phones),
            self.phones.articulation() * ARTICULATION_SCALE,
        ]
        if self.external is not None:
            groups.append(self.external * EXTERNAL_SCALE)
        return np.concatenate(groups, 1).astype(np.float32)

    def _slice_around(self, times: F64) -> tuple[int, SpeechFeatures]:
        """The rows that windows around `times` touch, and the first row's number: an hour is not copied for a frame."""
        reach = (CONTEXT_TAPS + 1) * TAP_SECONDS
        first = int(np.clip((times.min() - reach) * FEATURE_RATE, 0, len(self) - 1))
        last = int(np.clip((times.max() + reach) * FEATURE_RATE + 2, first + 1, len(self)))
        rows = slice(first, last)
        phones = PhonePosteriors(
            self.phones.names, self.phones.frame_posteriors[rows], self.phones.loop_posteriors[rows]
        )
        plugged = None if self.external is None else self.external[rows]
        part = SpeechFeatures(
            self.mel[rows], phones, self.rhythm[rows], self.activity[rows], self.bilabial_probability[rows], plugged
        )
        return first, part


def analyze_speech(samples: F32, rate: int = SAMPLE_RATE) -> SpeechFeatures:
    """The track of a sound.

    Args:
        samples: (S,) mono, not silent throughout.
        rate: samples per second.

    Returns:
        SpeechTrack of S / rate · 100 + 1 frames.

    Raises:
        UserError: the phone recogniser's model cannot be read.
    """
    x = np.asarray(samples, np.float32)
    if rate != SAMPLE_RATE:
        divisor = int(np.gcd(rate, SAMPLE_RATE))
        x = resample_poly(x, SAMPLE_RATE // divisor, rate // divisor).astype(np.float32)
    count = len(x) // HOP_SAMPLES + 1
    energy = _log_energy(x, count)
    activity = _speech_activity(energy)
    mel = _log_mel(x, count)
    flux = np.clip(np.diff(mel, axis=0, prepend=mel[:1]), 0, None).mean(1)
    phones = estimate_phone_posteriors(x)
    quiet, loud = _speech_levels(energy)
    extra = np.stack([(energy - quiet) / (loud - quiet), _voicing(x, count) * activity, flux], 1)
    rhythm = np.concatenate([_rhythm_features(activity, phones), np.clip(extra, -0.5, 1.5)], 1)
    return SpeechFeatures(
        _normalize_mel(mel, activity),
        phones,
        rhythm.astype(np.float32),
        activity.astype(np.float32),
        phones.bilabial_probability(),
    )


def frame_speech_features(samples: F32, rate: int, fps: float, count: int) -> F32:
    """Features (count, F) of a sound at the times i / fps of a film's frames; see `SpeechTrack.frames`.

    Raises:
        UserError: the phone recogniser's model cannot be read.
    """
    return analyze_speech(samples, rate).frame_features(np.arange(count) / fps)


def context_window_size(external_count: int = 0) -> int:
    """How many columns `SpeechTrack.windows` has with so many plugged features, to check stored models against."""
    from .acoustic_model import load_acoustic_model

    return (2 * CONTEXT_TAPS + 1) * (
        MEL_BANDS + 2 * len(load_acoustic_model().phones) + len(ARTICULATIONS) + external_count
    ) + RHYTHM_FEATURE_COUNT


def _running_sum(values: F32) -> F64:
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, 0, dtype=np.float64)])


def _pool_tap(running_sum: F64, first: int, times: F64, tap: int) -> F32:
    """(T, F) means of rows within 40 ms around `times` + tap · 40 ms; edges repeat.

    Args:
        total: running sum of rows, of which the first is row `first` of the track.
    """
    last = first + len(running_sum) - 2
    begin = np.clip(np.round((times + (tap - 0.5) * TAP_SECONDS) * FEATURE_RATE).astype(int), first, last)
    end = np.clip(np.round((times + (tap + 0.5) * TAP_SECONDS) * FEATURE_RATE).astype(int), begin + 1, last + 1)
    return ((running_sum[end - first] - running_sum[begin - first]) / (end - begin)[:, None]).astype(np.float32)


def _log_energy(x: F32, count: int) -> F64:
    """(N,) natural log of the mean square within 25 ms."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(x, np.float64) ** 2)])
    middle = np.arange(count) * HOP_SAMPLES
    begin, end = np.clip(middle - MEL_WINDOW // 2, 0, len(x)), np.clip(middle + MEL_WINDOW // 2, 0, len(x))
    return np.log(np.maximum(total[end] - total[begin], 0) / MEL_WINDOW + 1e-10)


def _speech_levels(energy: F64) -> tuple[float, float]:
    """Log energies of this recording's background and of its speech; 17 to 39 dB apart whatever the recording."""
    quiet, loud = np.percentile(energy, [8, 90])
    loud = max(loud, float(energy.max()) - 4)  # a short word in a long silence is speech all the same
    return float(np.clip(quiet, loud - 9, loud - 4)), float(loud)


def _speech_activity(energy: F64) -> F64:
    """(N,) 0–1: a soft step at 35 % of the way from the background to the speech level; clicks are no speech."""
    quiet, loud = _speech_levels(energy)
    step = 1 / (1 + np.exp(-14 * ((energy - quiet) / (loud - quiet) - 0.35)))
    return np.asarray(grey_opening(step, MAX_CLICK_FRAMES))


def _log_mel(x: F32, count: int) -> F32:
    power = librosa.feature.melspectrogram(
        y=x,
        sr=SAMPLE_RATE,
        n_fft=512,
        win_length=MEL_WINDOW,
        hop_length=HOP_SAMPLES,
        n_mels=MEL_BANDS,
        fmin=80,
        fmax=7600,
    ).T[:count]
    return np.log(power + 1e-8 * power.max() + 1e-12).astype(np.float32)


def _normalize_mel(mel: F32, activity: F64) -> F32:
    spoken = mel[activity > 0.5]
    spoken = spoken if len(spoken) else mel
    return np.clip((mel - spoken.mean(0)) / (spoken.std() + 1e-6), -5, 4).astype(np.float32)


def _voicing(x: F32, count: int) -> F64:
    """(N,) 0–1: height of the normalised autocorrelation's peak between `PITCH` (by FFT)."""
    padded = np.pad(x, (VOICE_WINDOW // 2, VOICE_WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(padded, VOICE_WINDOW)[::HOP_SAMPLES][:count]
    shortest, longest = round(SAMPLE_RATE / PITCH_RANGE_HZ[1]), round(SAMPLE_RATE / PITCH_RANGE_HZ[0])
    overlap = 1 - np.arange(shortest, longest) / VOICE_WINDOW
    result = np.empty(count)
    for i in range(0, count, 4096):
        part = windows[i : i + 4096]
        part = part - part.mean(1, keepdims=True)
        correlation = np.fft.irfft(np.abs(np.fft.rfft(part, 2 * VOICE_WINDOW)) ** 2)
        peak = (correlation[:, shortest:longest] / overlap).max(1)
        result[i : i + 4096] = peak / (correlation[:, 0] + 1e-6)
    return np.clip(result, 0, 1)


def _rhythm_features(activity: F64, phones: PhonePosteriors) -> F64:
    """(N, 10) activity now, around, since and until; breath and silence as the phone recogniser hears them."""
    around = [gaussian_filter1d(activity, width) for width in (10, 30, 80)]  # frames of 10 ms
    since = [_decaying_maximum(activity, seconds) for seconds in (0.15, 0.5)]
    until = [_decaying_maximum(activity[::-1], seconds)[::-1] for seconds in (0.15, 0.5)]
    heard = [gaussian_filter1d(phones.frame_posteriors[:, phones.names.index(name)], 8) for name in ("+NSN+", "SIL")]
    return np.stack([activity, *around, *since, *until, *heard], 1)


RHYTHM_FEATURE_COUNT = 13  # columns of `_rhythm` and energy, voicing and flux


def _decaying_maximum(activity: F64, seconds: float) -> F64:
    """The largest past activity, each fading with time constant `seconds`."""
    step = np.arange(len(activity)) / (FEATURE_RATE * seconds)
    return np.exp(np.maximum.accumulate(np.log(np.maximum(activity, 1e-6)) + step) - step)
