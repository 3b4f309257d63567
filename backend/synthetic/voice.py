"""A small formant synthesiser: a glottal pulse through resonators, noise for hisses and bursts.

Formulas: D. H. Klatt, "Software for a Cascade/Parallel Formant Synthesizer", JASA 67, 1980 (resonators);
D. H. Klatt and L. C. Klatt, JASA 87, 1990 (the polynomial glottal pulse).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..compute.kernels import kernel
from ..contract.arrays import F32, F64
from .phones import PHONES, TimedPhone

SAMPLE_RATE = 24000  # samples per second
CONTROL_STEP_SECONDS = 0.005  # seconds between two control values
FORMANT_BANDWIDTHS = (80.0, 100.0, 150.0, 220.0, 300.0)  # hertz, of the five formants
UPPER_FORMANTS = (4100.0, 5000.0)  # hertz, the same for every phone


def _build_control_curves(phones: list[TimedPhone], rng: np.random.Generator) -> dict[str, F64]:
    """Control curves at `STEP`: formants, loudness of voice and noise, pitch."""
    count = round(phones[-1].end / CONTROL_STEP_SECONDS) + 1
    time = np.arange(count) * CONTROL_STEP_SECONDS
    names = ("voice", "hiss", "hiss_at", "hiss_width", "f1", "f2", "f3", "nasal", "breath")
    curve = {name: np.zeros(count) for name in names}
    keys: list[tuple[float, tuple[float, float, float]]] = []
    for phone in phones:
        sound = PHONES[phone.name]
        first, last = round(phone.start / CONTROL_STEP_SECONDS), round(phone.end / CONTROL_STEP_SECONDS)
        span = slice(first, last)
        curve["voice"][span] = sound.voicing * (1.1 if phone.is_stressed else 0.85 if sound.voicing == 1 else 1.0)
        curve["hiss"][span] = sound.frication
        curve["hiss_at"][span], curve["hiss_width"][span] = sound.frication_hertz, sound.frication_bandwidth
        curve["nasal"][span] = sound.is_nasal
        if sound.burst:
            release = max(first, last - 3)
            curve["hiss"][release : last + 1] = sound.burst * 0.5
            curve["voice"][release:last] *= 0.4
            if not sound.voicing:
                curve["breath"][last : last + 5] = 0.12
        if phone.name != "SIL":
            edge = 0.25 * (phone.end - phone.start)
            keys += [(phone.start + edge, sound.formants), (phone.end - edge, sound.formants)]
    for index, name in enumerate(("f1", "f2", "f3")):
        curve[name] = np.interp(time, [k[0] for k in keys], [k[1][index] for k in keys])
    for name, width in (("voice", 4), ("hiss", 2), ("f1", 5), ("f2", 5), ("f3", 5), ("nasal", 3), ("breath", 3)):
        curve[name] = (
            np.convolve(np.pad(curve[name], width, mode="edge"), np.hanning(2 * width + 3)[1:-1], "same")[width:-width]
            / np.hanning(2 * width + 3)[1:-1].sum()
        )
    curve["pitch"] = _build_pitch_curve(phones, time, rng)
    return curve


def _build_pitch_curve(phones: list[TimedPhone], time: F64, rng: np.random.Generator) -> F64:
    """Fundamental frequency in hertz: it falls along each sentence, rises at stresses, and is never quite still."""
    pitch = np.full(len(time), 192.0)
    pauses = [p for p in phones if p.name == "SIL" and p.end - p.start > 0.25]
    for before, after in pairwise(pauses):
        inside = (time >= before.end) & (time <= after.start)
        share = (time[inside] - before.end) / max(after.start - before.end, 0.1)
        pitch[inside] = 218 - 52 * share
    for phone in phones:
        if phone.is_stressed:
            pitch += rng.uniform(18, 34) * np.exp(-(((time - phone.middle) / 0.085) ** 2))
    wander = np.convolve(rng.standard_normal(len(time)), np.hanning(25) / np.hanning(25).sum(), "same")
    return np.asarray(pitch * (1 + 0.020 * wander))


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
    """Samples from control curves; each control value holds for `per_step` samples with linear ways between."""
    count = (len(pitch) - 1) * samples_per_step
    bandwidth = np.array(FORMANT_BANDWIDTHS)
    state = np.zeros((7, 2))
    out = np.zeros(count)
    phase, tilt, last = 0.0, 0.0, 0.0
    for n in range(count):
        k = n // samples_per_step
        w = (n - k * samples_per_step) / samples_per_step
        f0 = pitch[k] * (1 - w) + pitch[k + 1] * w
        loud = voicing[k] * (1 - w) + voicing[k + 1] * w
        air = aspiration[k] * (1 - w) + aspiration[k + 1] * w
        rough = frication[k] * (1 - w) + frication[k + 1] * w
        nose = nasal[k] * (1 - w) + nasal[k + 1] * w
        phase += f0 / sample_rate
        if phase >= 1.0:
            phase -= 1.0
        open_part = 0.62
        flow = 0.0
        if phase < open_part:
            t = phase / open_part
            flow = 6.75 * t * t * (1 - t)  # polynomial pulse, 1 at its peak
        tilt += 0.80 * (flow - tilt)
        source = (tilt - last) * sample_rate / (f0 * 12.0)
        last = tilt
        signal = loud * source + (0.015 * loud * (0.3 + flow) + air) * noise[n]
        for i in range(5):
            f = formants[i, k] * (1 - w) + formants[i, k + 1] * w
            b = bandwidth[i] * (1.0 + 2.0 * nose)
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
        value = noise[n] * rough
        for i in (5, 6):  # twice, so that the noise stays in its band
            value = (1.0 - r) * value + a * state[i, 0] + c * state[i, 1]
            state[i, 1] = state[i, 0]
            state[i, 0] = value
        out[n] = signal + 0.8 * value
    return out


def synthesize_speech(phones: list[TimedPhone], seed: int, seconds: float | None = None) -> F32:
    """(S,) mono sound in −1…1 at `RATE` of a timeline of phones.

    Args:
        seconds: exact length, cut or padded with silence; None keeps the timeline's.
    """
    rng = np.random.default_rng((seed, 3))
    curve = _build_control_curves(phones, rng)
    count = len(curve["pitch"])
    formants = np.stack([curve["f1"], curve["f2"], curve["f3"], *(np.full(count, f) for f in UPPER_FORMANTS)])
    per_step = round(SAMPLE_RATE * CONTROL_STEP_SECONDS)
    samples = _synthesize_samples(
        curve["pitch"], curve["voice"], curve["hiss"], np.maximum(curve["hiss_at"], 500),
        np.maximum(curve["hiss_width"], 500), curve["breath"], curve["nasal"], formants,
        rng.standard_normal((count - 1) * per_step), SAMPLE_RATE, per_step,
    )  # fmt: skip
    samples = samples / max(float(np.abs(samples).max()), 1e-9) * 0.7
    if seconds is not None:
        length = round(seconds * SAMPLE_RATE)
        samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
        fade = min(len(samples), SAMPLE_RATE // 50)
        samples[len(samples) - fade :] *= np.linspace(1, 0, fade)
    return np.asarray(samples, np.float32)
