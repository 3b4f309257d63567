"""Which phone is being spoken, softly: posteriors of pocketsphinx's phones every 10 ms, and what the lips do for each.

Cepstra follow CMU Sphinx's front end with the model's own parameters (feat.params: 25 mel filters from 130 to 6800 Hz,
DCT, lifter 22, mean normalisation over the utterance). The speaker's vocal tract length is normalised by warping the
filters (E. Eide and H. Gish, "A parametric approach to vocal tract length normalization", ICASSP 1996) to the factor
under which the model finds the speech most likely. Posteriors over a free loop of phones come from the forward–backward
algorithm (L. R. Rabiner, "A tutorial on hidden Markov models", Proc. IEEE 77(2), 1989).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..compute.kernels import kernel
from ..contract.arrays import F32
from .acoustic_model import AcousticModel, load_acoustic_model

SAMPLE_RATE = 16000  # samples per second the model was trained at
HOP_SAMPLES = 160  # samples: 10 ms
WINDOW_SAMPLES, FFT_SIZE = 410, 512  # samples
MEL_FILTERS, CEPSTRA, LIFTER = 25, 13, 22
FILTER_RANGE_HZ = (130.0, 6800.0)  # hertz
WARP_KNEE_HZ = 4800.0  # hertz up to which the warp is linear
WARP_FACTORS = (0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15)
WARP_FRAMES = 1500  # loudest frames that choose the warp
POWER_FLOOR = 1e-8  # of the loudest filter output: what is quieter counts as silence of this level

FRAME_SCALE, LOOP_SCALE = 0.3, 0.15  # log likelihoods are scaled down: neighbouring frames are not independent
SELF_TRANSITION_PROBABILITY = 0.6  # probability to stay in a state for another 10 ms

BILABIAL_PHONES = ("P", "B", "M")

# What the visible articulators do, 0–1: jaw and lips open, lips rounded, lips spread, lips closed, lower lip at the
# teeth, silence. Common phonetic knowledge (vowel height, rounding, place of articulation), not fitted to any footage.
ARTICULATIONS = ("open", "round", "spread", "closed", "labiodental", "silent")
_PHONE_ARTICULATIONS = {
    "AA": (1.0, 0.1, 0.2), "AE": (0.9, 0.0, 0.6), "AH": (0.55, 0.05, 0.2), "AO": (0.8, 0.55, 0.0),
    "AW": (0.8, 0.5, 0.0), "AY": (0.85, 0.0, 0.4), "EH": (0.65, 0.0, 0.5), "ER": (0.35, 0.5, 0.0),
    "EY": (0.5, 0.0, 0.75), "IH": (0.4, 0.0, 0.5), "IY": (0.25, 0.0, 1.0), "OW": (0.5, 0.85, 0.0),
    "OY": (0.6, 0.8, 0.0), "UH": (0.35, 0.6, 0.0), "UW": (0.25, 1.0, 0.0),
    "W": (0.15, 1.0, 0.0, 0.1), "Y": (0.25, 0.1, 0.7), "R": (0.3, 0.6, 0.0), "L": (0.4, 0.0, 0.2),
    "B": (0.0, 0.0, 0.0, 1.0), "P": (0.0, 0.0, 0.0, 1.0), "M": (0.0, 0.0, 0.0, 1.0),
    "F": (0.1, 0.0, 0.1, 0.2, 1.0), "V": (0.1, 0.0, 0.1, 0.2, 1.0),
    "CH": (0.15, 0.7, 0.0), "JH": (0.15, 0.7, 0.0), "SH": (0.15, 0.7, 0.0), "ZH": (0.15, 0.7, 0.0),
    "S": (0.1, 0.0, 0.5), "Z": (0.1, 0.0, 0.5), "T": (0.2, 0.0, 0.3), "D": (0.2, 0.0, 0.3), "N": (0.25, 0.0, 0.3),
    "NG": (0.35, 0.0, 0.2), "TH": (0.25, 0.0, 0.2), "DH": (0.25, 0.0, 0.2), "K": (0.35, 0.0, 0.2),
    "G": (0.35, 0.0, 0.2), "HH": (0.45, 0.0, 0.2), "SIL": (0.0, 0.0, 0.0, 0.5, 0.0, 1.0),
    "+NSN+": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0), "+SPN+": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class PhonePosteriors:
    """What is known about the phones, N frames of 10 ms; frame i is centred at i · 10 ms.

    Attributes:
        names: P phone names.
        frame: (N, P) posteriors of each frame by itself; rows sum to 1.
        loop: (N, P) posteriors given the whole sound, over a loop of phones; rows sum to 1.
    """

    names: tuple[str, ...]
    frame_posteriors: F32
    loop_posteriors: F32

    def articulation(self) -> F32:
        """(N, 6) expected articulation, columns `TRAITS`."""
        return self.frame_posteriors @ articulation_table(self.names)

    def bilabial_probability(self) -> F32:
        """(N,) probability 0–1 that p, b or m is being spoken."""
        result: F32 = self.loop_posteriors[:, [self.names.index(name) for name in BILABIAL_PHONES]].sum(1)
        return result


def articulation_table(names: tuple[str, ...]) -> F32:
    """(P, 6) articulation of each phone, columns `TRAITS`."""
    return np.array(
        [
            _PHONE_ARTICULATIONS[name] + (0.0,) * (len(ARTICULATIONS) - len(_PHONE_ARTICULATIONS[name]))
            for name in names
        ],
        np.float32,
    )


def estimate_phone_posteriors(samples: F32) -> PhonePosteriors:
    """Phone posteriors of a sound.

    Args:
        samples: (S,) at 16 kHz, not silent throughout.

    Returns:
        PhoneEvidence with N = S // 160 + 1 frames.

    Raises:
        UserError: the recogniser's model cannot be read.
    """
    model = load_acoustic_model()
    power = _power_spectra(samples)
    features = _cepstral_features(power, _select_warp(model, power))
    scores = model.state_log_likelihoods(features)
    best = scores.max(2)
    frame = np.exp(FRAME_SCALE * (best - best.max(1, keepdims=True)))
    loop = _forward_backward(LOOP_SCALE * scores.reshape(len(scores), -1), SELF_TRANSITION_PROBABILITY)
    return PhonePosteriors(model.phones, frame / frame.sum(1, keepdims=True), loop)


def _power_spectra(samples: F32) -> F32:
    """(N, 257) power spectra of pre-emphasised Hamming windows, centred at multiples of the hop."""
    x = np.asarray(samples, np.float32)
    x = np.append(x[:1], x[1:] - 0.97 * x[:-1])
    x = np.pad(x, (WINDOW_SAMPLES // 2, WINDOW_SAMPLES))
    windows = np.lib.stride_tricks.sliding_window_view(x, WINDOW_SAMPLES)[::HOP_SAMPLES][
        : len(samples) // HOP_SAMPLES + 1
    ]
    window = np.hamming(WINDOW_SAMPLES).astype(np.float32)
    parts = [
        np.abs(np.fft.rfft(part * window, FFT_SIZE)) ** 2 for part in np.array_split(windows, len(windows) // 4096 + 1)
    ]
    return np.concatenate(parts).astype(np.float32)


def _warped_mel_filters(warp: float) -> F32:
    """(257, 25) triangular mel filters of unit area, frequencies multiplied by `warp` below the knee."""
    low, high = (2595 * np.log10(1 + f / 700) for f in FILTER_RANGE_HZ)
    edges = 700 * (10 ** (np.linspace(low, high, MEL_FILTERS + 2) / 2595) - 1)
    nyquist = SAMPLE_RATE / 2
    above = WARP_KNEE_HZ * warp + (edges - WARP_KNEE_HZ) * (nyquist - WARP_KNEE_HZ * warp) / (nyquist - WARP_KNEE_HZ)
    edges = np.where(edges < WARP_KNEE_HZ, edges * warp, above)
    frequency = np.arange(FFT_SIZE // 2 + 1) * (SAMPLE_RATE / FFT_SIZE)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rise = (frequency[:, None] - left) / (centre - left)
    fall = (right - frequency[:, None]) / (right - centre)
    triangle = np.clip(np.minimum(rise, fall), 0, None) * 2 / (right - left)
    return triangle.astype(np.float32)


def _cepstral_features(power: F32, warp: float) -> F32:
    """(N, 3, 13) cepstra with their first and second differences (Sphinx's 1s_c_d_dd), less their mean."""
    energy = power @ _warped_mel_filters(warp)
    floor = POWER_FLOOR * float(energy.max()) + 1e-30
    sounding = energy.max(1) > floor
    k = np.arange(MEL_FILTERS) + 0.5
    basis = np.cos(np.pi / MEL_FILTERS * np.arange(CEPSTRA)[:, None] * k) * np.sqrt(2 / MEL_FILTERS)
    basis[0] /= np.sqrt(2)
    basis *= (1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER))[:, None]
    cepstra = np.log(np.maximum(energy, floor)) @ basis.T.astype(np.float32)
    cepstra -= cepstra[sounding].mean(0)
    padded = np.pad(cepstra, ((3, 3), (0, 0)), mode="edge")

    def at(shift: int) -> F32:
        result: F32 = padded[3 + shift : 3 + shift + len(cepstra)]
        return result

    first, second = at(2) - at(-2), (at(3) - at(-1)) - (at(1) - at(-3))
    return np.stack([cepstra, first, second], 1).astype(np.float32)


def _select_warp(model: AcousticModel, power: F32) -> float:
    """The warp under which the loudest frames are most likely, by each phone's best state."""
    loudness = power.sum(1)
    chosen = np.sort(np.argsort(-loudness, kind="stable")[: min(WARP_FRAMES, max(1, len(power) // 2))])
    chosen = chosen[:: max(1, len(chosen) // 500)]
    likelihood = [
        float(model.state_log_likelihoods(_cepstral_features(power, warp)[chosen]).max((1, 2)).mean())
        for warp in WARP_FACTORS
    ]
    return WARP_FACTORS[int(np.argmax(likelihood))]


@kernel(exact=True)
def _forward_backward(scores: F32, self_transition: float) -> F32:
    """Posteriors (N, P) over a loop of P phones with three states each, left to right, all phones likely alike.

    Args:
        scores: (N, 3 P) log likelihoods of the states, each row up to a constant.
    """
    count, states = scores.shape
    phones = states // 3
    go, enter = 1 - self_transition, (1 - self_transition) / phones
    forward = np.empty((count, states), np.float32)
    row = np.full(states, 1.0 / states)
    for t in range(count):
        if t > 0:
            leaving = 0.0
            for p in range(phones):
                leaving += row[3 * p + 2]
            for p in range(phones):
                a, b, c = row[3 * p], row[3 * p + 1], row[3 * p + 2]
                row[3 * p] = self_transition * a + enter * leaving
                row[3 * p + 1] = self_transition * b + go * a
                row[3 * p + 2] = self_transition * c + go * b
        row = row * np.exp((scores[t] - scores[t].max()).astype(np.float64))
        row = row / row.sum()
        forward[t] = row
    posterior = np.empty((count, phones), np.float32)
    back = np.ones(states)
    for t in range(count - 1, -1, -1):
        joint = forward[t] * back
        total = joint.sum()
        for p in range(phones):
            posterior[t, p] = (joint[3 * p] + joint[3 * p + 1] + joint[3 * p + 2]) / total
        seen = back * np.exp((scores[t] - scores[t].max()).astype(np.float64))
        entering = 0.0
        for p in range(phones):
            entering += seen[3 * p]
        for p in range(phones):
            a, b, c = seen[3 * p], seen[3 * p + 1], seen[3 * p + 2]
            back[3 * p] = self_transition * a + go * b
            back[3 * p + 1] = self_transition * b + go * c
            back[3 * p + 2] = self_transition * c + enter * entering
        back = back / back.sum()
    return posterior
