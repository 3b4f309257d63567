"""Speech features of a sound, every 10 ms: spectrum, phones, articulation and rhythm, normalised per speaker."""

from __future__ import annotations

from dataclasses import dataclass, replace

import librosa
import numpy as np
from scipy.ndimage import gaussian_filter1d, grey_opening
from scipy.signal import resample_poly

from ..contract.arrays import F32, F64
from ..media.audio_io import SAMPLE_RATE
from .acoustic_model import load_acoustic_model
from .phones import ARTICULATIONS, HOP_SAMPLES, PhonePosteriors, estimate_phone_posteriors

FEATURE_RATE = SAMPLE_RATE / HOP_SAMPLES  # frames per second: 100

# Spectrum
MEL_BANDS = 40
MEL_RANGE_HZ = (80, 7600)
MEL_WINDOW = 400  # samples: 25 ms
MEL_FFT_SIZE = 512  # samples
MEL_CLIP_RANGE = (-5, 4)  # deviations; values beyond are clicks and digital silence
RELATIVE_POWER_FLOOR = 1e-8  # of the loudest band; −80 dB
ABSOLUTE_POWER_FLOOR = 1e-12  # keeps the logarithm of digital silence finite

# Speech activity
QUIET_PERCENTILE = 8  # of the log energy, that is the background's level
LOUD_PERCENTILE = 90  # of the log energy, that is the speech's level
MAX_BELOW_PEAK = 4  # nats (17 dB) by which speech may lie below the peak: a short word in a long silence is speech too
BACKGROUND_DEPTH_RANGE = (4, 9)  # nats (17 to 39 dB) by which the background lies below speech
ACTIVITY_THRESHOLD = 0.35  # of the way from the background to the speech level. Not tuned
ACTIVITY_SLOPE = 14  # of the sigmoid around the threshold; a larger one is a harder step. Not tuned
MAX_CLICK_FRAMES = 6  # of 10 ms: a shorter sound is a click, not speech

# Voicing
VOICE_WINDOW = 640  # samples: 40 ms, two periods of 50 Hz
PITCH_RANGE_HZ = (60.0, 400.0)  # in which a voice is searched
VOICE_CHUNK_FRAMES = 4096  # frames per FFT: bounds memory

# Rhythm: name of each column, in order.
ACTIVITY_WIDTHS = (10, 30, 80)  # frames of 10 ms, standard deviations
ACTIVITY_DECAY_SECONDS = (0.15, 0.5)  # time constants
NOISE_PHONES = ("+NSN+", "SIL")  # breath and silence
NOISE_SMOOTHING_FRAMES = 8  # of 10 ms, standard deviation
RHYTHM_COLUMNS = (
    "activity",
    *(f"activity within {width} frames" for width in ACTIVITY_WIDTHS),
    *(f"activity since {seconds} s" for seconds in ACTIVITY_DECAY_SECONDS),
    *(f"activity until {seconds} s" for seconds in ACTIVITY_DECAY_SECONDS),
    *NOISE_PHONES,
    "energy",
    "voicing",
    "flux",
)
ACTIVITY, ENERGY, VOICING = (RHYTHM_COLUMNS.index(name) for name in ("activity", "energy", "voicing"))
RHYTHM_CLIP_RANGE = (-0.5, 1.5)  # of energy, voicing and flux

# Context windows: taps around each time, weighted by a Gaussian.
CONTEXT_TAPS = 8  # to each side
TAP_SECONDS = 0.04  # between taps; also the width that a tap averages
TAP_DEVIATION = 2.5  # standard deviation of the weights, in taps; a larger one blurs phones
# Each group's usual deviation, so that a distance between two windows weighs the groups as measured best. Fixed, not
# per clip: features of two sounds must be comparable.
MEL_SCALE = 1 / 6.3
PHONE_SCALE = 1 / (0.9 * np.sqrt(2))
ARTICULATION_SCALE = 2 / 0.9
RHYTHM_SCALE = 2 / 1.2
RHYTHM_CENTER = 0.4
EXTERNAL_SCALE = 2.0  # weighs them about as much as all others together


@dataclass(frozen=True)
class SpeechFeatures:
    """A sound as N frames of 10 ms; frame i is centred at i · 10 ms.

    Attributes:
        mel: (N, 40) log-mel spectrum; over speech, each band has mean 0 and all together deviate by 1.
        phones: phone posteriors.
        rhythm: (N, 13) about 0–1, columns `RHYTHM_COLUMNS`.
        activity: (N,) 0 in a pause, 1 in speech.
        bilabial_probability: (N,) probability 0–1 of p, b or m.
        external: (N, K) features from the user's own file, all together deviating by 1; None without.
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
        """Values (N,) of the frames at `times` (T,) in seconds, linearly interpolated."""
        return np.interp(times * FEATURE_RATE, np.arange(len(values)), values).astype(np.float32)

    def frame_features(self, times: F64) -> F32:
        """(T, F) all features around each time, averaged over 40 ms, without context."""
        first, nearby = self._slice_around(times)
        values = np.concatenate([nearby._spectral_features(), nearby.rhythm], 1)
        return _average_tap(_running_sum(values), first, times, 0)

    def context_windows(self, times: F64) -> F32:
        """(T, D) input of the speech network at each time: spectrum and phones in context, and the rhythm there."""
        first, nearby = self._slice_around(times)
        context = _context_taps(nearby._spectral_features(), first, times)
        rhythm = _running_sum((nearby.rhythm - RHYTHM_CENTER) * RHYTHM_SCALE)
        return np.concatenate([*context, _average_tap(rhythm, first, times, 0)], 1)

    def mel_windows(self, times: F64) -> F32:
        """(T, 17 · 40) the log-mel part of `context_windows`."""
        first, nearby = self._slice_around(times)
        return np.concatenate(_context_taps(nearby.mel * MEL_SCALE, first, times), 1)

    def _spectral_features(self) -> F32:
        """(N, F) spectrum, phones, articulation and external features, scaled."""
        groups = [
            self.mel * MEL_SCALE,
            np.sqrt(self.phones.frame_posteriors) * PHONE_SCALE,
            np.sqrt(self.phones.loop_posteriors) * PHONE_SCALE,
            self.phones.articulation() * ARTICULATION_SCALE,
        ]
        if self.external is not None:
            groups.append(self.external * EXTERNAL_SCALE)
        result: F32 = np.concatenate(groups, 1).astype(np.float32)
        return result

    def _slice_around(self, times: F64) -> tuple[int, SpeechFeatures]:
        """First frame index and frames that windows around `times` touch: an hour is not copied for one frame."""
        extent = (CONTEXT_TAPS + 1) * TAP_SECONDS
        first = int(np.clip((times.min() - extent) * FEATURE_RATE, 0, len(self) - 1))
        last = int(np.clip((times.max() + extent) * FEATURE_RATE + 2, first + 1, len(self)))
        frames = slice(first, last)
        return first, SpeechFeatures(
            self.mel[frames],
            replace(
                self.phones,
                frame_posteriors=self.phones.frame_posteriors[frames],
                loop_posteriors=self.phones.loop_posteriors[frames],
            ),
            self.rhythm[frames],
            self.activity[frames],
            self.bilabial_probability[frames],
            None if self.external is None else self.external[frames],
        )


def analyze_speech(samples: F32, rate: int = SAMPLE_RATE) -> SpeechFeatures:
    """Return the speech features of a sound.

    Args:
        samples: (S,) mono, not silent throughout.
        rate: samples per second.

    Returns:
        S / rate · 100 + 1 frames.

    Raises:
        UserError: the acoustic model cannot be read.
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
    signal = np.stack([(energy - quiet) / (loud - quiet), _voicing(x, count) * activity, flux], 1)
    rhythm = np.concatenate([_rhythm_features(activity, phones), np.clip(signal, *RHYTHM_CLIP_RANGE)], 1)
    return SpeechFeatures(
        _normalize_mel(mel, activity),
        phones,
        rhythm.astype(np.float32),
        activity.astype(np.float32),
        phones.bilabial_probability(),
    )


def frame_speech_features(samples: F32, rate: int, fps: float, count: int) -> F32:
    """Features (count, F) of a sound at the times i / fps of a video's frames; see `SpeechFeatures.frame_features`.

    Raises:
        UserError: the acoustic model cannot be read.
    """
    return analyze_speech(samples, rate).frame_features(np.arange(count) / fps)


def context_window_size(external_count: int = 0) -> int:
    """Columns of `SpeechFeatures.context_windows` with `external_count` external features, to check stored models."""
    phone_count = len(load_acoustic_model().phones)
    tap_size = MEL_BANDS + 2 * phone_count + len(ARTICULATIONS) + external_count
    return (2 * CONTEXT_TAPS + 1) * tap_size + len(RHYTHM_COLUMNS)


def _context_taps(values: F32, first: int, times: F64) -> list[F32]:
    """Weighted averages (T, F) of values (frames from `first` on) at every tap around `times`."""
    running_sum = _running_sum(values)
    return [
        _average_tap(running_sum, first, times, tap) * np.float32(np.exp(-0.5 * (tap / TAP_DEVIATION) ** 2))
        for tap in range(-CONTEXT_TAPS, CONTEXT_TAPS + 1)
    ]


def _running_sum(values: F32) -> F64:
    """(N + 1, F) sums of the first 0 … N rows."""
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, 0, dtype=np.float64)])


def _average_tap(running_sum: F64, first: int, times: F64, tap: int) -> F32:
    """(T, F) means of the frames within 40 ms around `times` + tap · 40 ms; edges repeat.

    Args:
        running_sum: of the frames from frame `first` of the sound on.
        first: that frame.
        times: (T,) seconds.
        tap: which tap.
    """
    last = first + len(running_sum) - 2
    begin = np.clip(np.round((times + (tap - 0.5) * TAP_SECONDS) * FEATURE_RATE).astype(int), first, last)
    end = np.clip(np.round((times + (tap + 0.5) * TAP_SECONDS) * FEATURE_RATE).astype(int), begin + 1, last + 1)
    result: F32 = ((running_sum[end - first] - running_sum[begin - first]) / (end - begin)[:, None]).astype(np.float32)
    return result


def _log_energy(x: F32, count: int) -> F64:
    """(N,) natural log of the mean square within 25 ms."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(x, np.float64) ** 2)])
    middle = np.arange(count) * HOP_SAMPLES
    begin, end = np.clip(middle - MEL_WINDOW // 2, 0, len(x)), np.clip(middle + MEL_WINDOW // 2, 0, len(x))
    result: F64 = np.log(np.maximum(total[end] - total[begin], 0) / MEL_WINDOW + 1e-10)
    return result


def _speech_levels(energy: F64) -> tuple[float, float]:
    """Log energies of this recording's background and of its speech."""
    quiet, loud = np.percentile(energy, [QUIET_PERCENTILE, LOUD_PERCENTILE])
    loud = max(loud, float(energy.max()) - MAX_BELOW_PEAK)
    min_depth, max_depth = BACKGROUND_DEPTH_RANGE
    return float(np.clip(quiet, loud - max_depth, loud - min_depth)), float(loud)


def _speech_activity(energy: F64) -> F64:
    """(N,) 0–1: a soft step between the background and the speech level, without clicks."""
    quiet, loud = _speech_levels(energy)
    step = 1 / (1 + np.exp(-ACTIVITY_SLOPE * ((energy - quiet) / (loud - quiet) - ACTIVITY_THRESHOLD)))
    return np.asarray(grey_opening(step, MAX_CLICK_FRAMES))


def _log_mel(x: F32, count: int) -> F32:
    """(N, 40) natural log of the mel spectrum."""
    power = librosa.feature.melspectrogram(
        y=x,
        sr=SAMPLE_RATE,
        n_fft=MEL_FFT_SIZE,
        win_length=MEL_WINDOW,
        hop_length=HOP_SAMPLES,
        n_mels=MEL_BANDS,
        fmin=MEL_RANGE_HZ[0],
        fmax=MEL_RANGE_HZ[1],
    ).T[:count]
    result: F32 = np.log(power + RELATIVE_POWER_FLOOR * power.max() + ABSOLUTE_POWER_FLOOR).astype(np.float32)
    return result


def _normalize_mel(mel: F32, activity: F64) -> F32:
    """Log-mel spectrum with the mean of each band and the deviation of all bands in speech removed."""
    spoken = mel[activity > 0.5]
    spoken = spoken if len(spoken) else mel
    result: F32 = np.clip((mel - spoken.mean(0)) / (spoken.std() + 1e-6), *MEL_CLIP_RANGE).astype(np.float32)
    return result


def _voicing(x: F32, count: int) -> F64:
    """(N,) 0–1: height of the normalised autocorrelation's peak within `PITCH_RANGE_HZ`."""
    padded = np.pad(x, (VOICE_WINDOW // 2, VOICE_WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(padded, VOICE_WINDOW)[::HOP_SAMPLES][:count]
    shortest, longest = round(SAMPLE_RATE / PITCH_RANGE_HZ[1]), round(SAMPLE_RATE / PITCH_RANGE_HZ[0])
    overlap = 1 - np.arange(shortest, longest) / VOICE_WINDOW
    result = np.empty(count)
    for i in range(0, count, VOICE_CHUNK_FRAMES):
        chunk = windows[i : i + VOICE_CHUNK_FRAMES]
        chunk = chunk - chunk.mean(1, keepdims=True)
        autocorrelation = np.fft.irfft(np.abs(np.fft.rfft(chunk, 2 * VOICE_WINDOW)) ** 2)
        peak = (autocorrelation[:, shortest:longest] / overlap).max(1)
        result[i : i + VOICE_CHUNK_FRAMES] = peak / (autocorrelation[:, 0] + 1e-6)
    return np.clip(result, 0, 1)


def _rhythm_features(activity: F64, phones: PhonePosteriors) -> F64:
    """(N, 10) the columns of `RHYTHM_COLUMNS` before "energy"."""
    around = [gaussian_filter1d(activity, width) for width in ACTIVITY_WIDTHS]
    since = [_decaying_maximum(activity, seconds) for seconds in ACTIVITY_DECAY_SECONDS]
    until = [_decaying_maximum(activity[::-1], seconds)[::-1] for seconds in ACTIVITY_DECAY_SECONDS]
    noises = [
        gaussian_filter1d(phones.frame_posteriors[:, phones.names.index(name)], NOISE_SMOOTHING_FRAMES)
        for name in NOISE_PHONES
    ]
    return np.stack([activity, *around, *since, *until, *noises], 1)


def _decaying_maximum(activity: F64, seconds: float) -> F64:
    """The largest past activity, each fading with time constant `seconds`."""
    growth = np.arange(len(activity)) / (FEATURE_RATE * seconds)
    result: F64 = np.exp(np.maximum.accumulate(np.log(np.maximum(activity, 1e-6)) + growth) - growth)
    return result
