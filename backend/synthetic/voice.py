"""A small formant synthesizer: a glottal pulse through resonators, noise for fricatives and bursts.

Formulas: D. H. Klatt, "Software for a Cascade/Parallel Formant Synthesizer", JASA 67, 1980 (resonators);
D. H. Klatt and L. C. Klatt, JASA 87, 1990 (the polynomial glottal pulse).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..compute.kernels import kernel
from ..contract.arrays import F32, F64
from .phones import PHONES, SILENCE, TimedPhone

SAMPLE_RATE = 24000  # samples per second
CONTROL_STEP_SECONDS = 0.005  # between two control values, as in Klatt's synthesizer
FORMANT_BANDWIDTHS = (80.0, 100.0, 150.0, 220.0, 300.0)  # hertz, of the five formants
UPPER_FORMANTS = (4100.0, 5000.0)  # hertz, the same for every phone
PEAK_LEVEL = 0.7  # of full scale
FADE_SAMPLES = SAMPLE_RATE // 50  # at the end of a clip that is cut

STRESSED_VOICING = 1.1  # loudness of stressed phones
UNSTRESSED_VOICING = 0.85  # loudness of other vowels
BURST_STEPS = 3  # control steps before a closure's end at which its burst begins
BURST_LEVEL = 0.5  # of the phone's burst loudness
BURST_VOICING = 0.4  # of the phone's voicing during the burst
ASPIRATION_STEPS = 5  # control steps after a voiceless burst
ASPIRATION = 0.12
FORMANT_HOLD = 0.25  # of a phone's length at either end, over which formants glide
# Half widths in control steps of the Hann windows that smooth the curves; larger slurs more.
SMOOTHING_STEPS = {"voicing": 4, "frication": 2, "f1": 5, "f2": 5, "f3": 5, "nasal": 3, "aspiration": 3}
MIN_FRICATION_HERTZ = 500  # of centre and bandwidth, where there is no noise

PITCH_AT_REST = 192.0  # hertz
SENTENCE_PITCH = 218  # hertz at the beginning of a sentence
SENTENCE_FALL = 52  # hertz by its end
SENTENCE_PAUSE_SECONDS = 0.25  # a longer silence parts two sentences
STRESS_RISE = (18, 34)  # hertz, range of the random rise
STRESS_SECONDS = 0.085  # half width of the rise
PITCH_JITTER = 0.020  # deviation of the pitch as a share of it; without it the voice sounds robotic

OPEN_QUOTIENT = 0.62  # share of a period in which the glottis is open; larger sounds breathier
SPECTRAL_TILT = 0.80  # coefficient of the low-pass on the glottal flow; smaller sounds duller
BREATHINESS = 0.015  # of the voice's loudness that is noise
FRICATION_LEVEL = 0.8  # of the noise against the voice
NASAL_DAMPING = 2.0  # by which a nasal widens the formants' bandwidths, beyond 1


def _build_control_curves(phones: list[TimedPhone], rng: np.random.Generator) -> dict[str, F64]:
    """Return formants, loudnesses and pitch at every control step, by name, each (N,)."""
    count = round(phones[-1].end / CONTROL_STEP_SECONDS) + 1
    time = np.arange(count) * CONTROL_STEP_SECONDS
    names = ("voicing", "frication", "frication_hertz", "frication_bandwidth", "nasal", "aspiration")
    curves = {name: np.zeros(count) for name in names}
    formant_keys: list[tuple[float, tuple[float, float, float]]] = []
    for phone in phones:
        _set_phone(curves, phone)
        if phone.name != SILENCE:
            edge = FORMANT_HOLD * (phone.end - phone.start)
            formants = PHONES[phone.name].formants
            formant_keys += [(phone.start + edge, formants), (phone.end - edge, formants)]
    for index, name in enumerate(("f1", "f2", "f3")):
        curves[name] = np.interp(time, [k[0] for k in formant_keys], [k[1][index] for k in formant_keys])
    for name, width in SMOOTHING_STEPS.items():
        curves[name] = _smooth_curve(curves[name], width)
    curves["pitch"] = _build_pitch_curve(phones, time, rng)
    return curves


def _set_phone(curves: dict[str, F64], phone: TimedPhone) -> None:
    """Write one phone into the curves."""
    sound = PHONES[phone.name]
    first, last = round(phone.start / CONTROL_STEP_SECONDS), round(phone.end / CONTROL_STEP_SECONDS)
    span = slice(first, last)
    unstressed = UNSTRESSED_VOICING if sound.voicing == 1 else 1.0
    curves["voicing"][span] = sound.voicing * (STRESSED_VOICING if phone.is_stressed else unstressed)
    curves["frication"][span] = sound.frication
    curves["frication_hertz"][span] = sound.frication_hertz
    curves["frication_bandwidth"][span] = sound.frication_bandwidth
    curves["nasal"][span] = sound.is_nasal
    if sound.burst:
        release = max(first, last - BURST_STEPS)
        curves["frication"][release : last + 1] = sound.burst * BURST_LEVEL
        curves["voicing"][release:last] *= BURST_VOICING
        if not sound.voicing:
            curves["aspiration"][last : last + ASPIRATION_STEPS] = ASPIRATION


def _smooth_curve(curve: F64, width: int) -> F64:
    """(N,) the curve smoothed by a Hann window of `width` steps to either side."""
    window = np.hanning(2 * width + 3)[1:-1]
    smooth = np.convolve(np.pad(curve, width, mode="edge"), window, "same")[width:-width]
    return np.asarray(smooth / window.sum())


def _build_pitch_curve(phones: list[TimedPhone], time: F64, rng: np.random.Generator) -> F64:
    """(N,) hertz: the pitch falls along each sentence, rises at stresses, and wanders a little."""
    pitch = np.full(len(time), PITCH_AT_REST)
    pauses = [p for p in phones if p.name == SILENCE and p.end - p.start > SENTENCE_PAUSE_SECONDS]
    for before, after in pairwise(pauses):
        inside = (time >= before.end) & (time <= after.start)
        share = (time[inside] - before.end) / max(after.start - before.end, 0.1)
        pitch[inside] = SENTENCE_PITCH - SENTENCE_FALL * share
    for phone in phones:
        if phone.is_stressed:
            pitch += rng.uniform(*STRESS_RISE) * np.exp(-(((time - phone.middle) / STRESS_SECONDS) ** 2))
    wander = np.convolve(rng.standard_normal(len(time)), np.hanning(25) / np.hanning(25).sum(), "same")
    return np.asarray(pitch * (1 + PITCH_JITTER * wander))


@kernel(exact=True)
def _synthesize_samples(
    pitch: F64,
    voicing: F64,
    frication: F64,
    frication_hertz: F64,
    frication_bandwidth: F64,
    aspiration: F64,
    nasal: F64,
    formants: F64,
    noise: F64,
    sample_rate: int,
    samples_per_step: int,
) -> F64:
    """(S,) samples from control curves (N,), interpolated linearly between the control steps."""
    count = (len(pitch) - 1) * samples_per_step
    bandwidth = np.array(FORMANT_BANDWIDTHS)
    state = np.zeros((7, 2))  # of five formant resonators and two noise resonators
    samples = np.zeros(count)
    phase, tilted_flow, last_flow = 0.0, 0.0, 0.0
    for n in range(count):
        k = n // samples_per_step
        w = (n - k * samples_per_step) / samples_per_step
        f0 = pitch[k] * (1 - w) + pitch[k + 1] * w
        loudness = voicing[k] * (1 - w) + voicing[k + 1] * w
        air = aspiration[k] * (1 - w) + aspiration[k + 1] * w
        roughness = frication[k] * (1 - w) + frication[k + 1] * w
        nasality = nasal[k] * (1 - w) + nasal[k + 1] * w
        phase += f0 / sample_rate
        if phase >= 1.0:
            phase -= 1.0
        flow = 0.0
        if phase < OPEN_QUOTIENT:
            t = phase / OPEN_QUOTIENT
            flow = 6.75 * t * t * (1 - t)  # polynomial pulse, 1 at its peak
        tilted_flow += SPECTRAL_TILT * (flow - tilted_flow)
        source = (tilted_flow - last_flow) * sample_rate / (f0 * 12.0)
        last_flow = tilted_flow
        signal = loudness * source + (BREATHINESS * loudness * (0.3 + flow) + air) * noise[n]
        for i in range(5):
            f = formants[i, k] * (1 - w) + formants[i, k + 1] * w
            b = bandwidth[i] * (1.0 + NASAL_DAMPING * nasality)
            r = np.exp(-np.pi * b / sample_rate)
            c = -r * r
            a = 2.0 * r * np.cos(2 * np.pi * f / sample_rate)
            value = (1.0 - a - c) * signal + a * state[i, 0] + c * state[i, 1]
            state[i, 1] = state[i, 0]
            state[i, 0] = value
            signal = value
        r = np.exp(-np.pi * frication_bandwidth[k] / sample_rate)
        c = -r * r
        a = 2.0 * r * np.cos(2 * np.pi * min(frication_hertz[k], 0.46 * sample_rate) / sample_rate)
        value = noise[n] * roughness
        for i in (5, 6):  # twice, so that the noise stays in its band
            value = (1.0 - r) * value + a * state[i, 0] + c * state[i, 1]
            state[i, 1] = state[i, 0]
            state[i, 0] = value
        samples[n] = signal + FRICATION_LEVEL * value
    return samples


def synthesize_speech(phones: list[TimedPhone], seed: int, seconds: float | None = None) -> F32:
    """(S,) mono samples in −1…1 at `SAMPLE_RATE`.

    Args:
        phones: the timeline.
        seed: of pitch and noise.
        seconds: exact length, cut or padded with silence; None keeps the timeline's.
    """
    rng = np.random.default_rng((seed, 3))
    curves = _build_control_curves(phones, rng)
    count = len(curves["pitch"])
    formants = np.stack([curves["f1"], curves["f2"], curves["f3"], *(np.full(count, f) for f in UPPER_FORMANTS)])
    samples_per_step = round(SAMPLE_RATE * CONTROL_STEP_SECONDS)
    samples = _synthesize_samples(
        curves["pitch"], curves["voicing"], curves["frication"],
        np.maximum(curves["frication_hertz"], MIN_FRICATION_HERTZ),
        np.maximum(curves["frication_bandwidth"], MIN_FRICATION_HERTZ), curves["aspiration"], curves["nasal"], formants,
        rng.standard_normal((count - 1) * samples_per_step), SAMPLE_RATE, samples_per_step,
    )  # fmt: skip
    samples = samples / max(float(np.abs(samples).max()), 1e-9) * PEAK_LEVEL
    if seconds is not None:
        samples = _fit_length(samples, round(seconds * SAMPLE_RATE))
    return np.asarray(samples, np.float32)


def _fit_length(samples: F64, length: int) -> F64:
    """(length,) the samples, cut or padded with silence, faded out at the end."""
    samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
    fade = min(len(samples), FADE_SAMPLES)
    samples[len(samples) - fade :] *= np.linspace(1, 0, fade)
    return samples
