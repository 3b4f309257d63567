"""Probabilities of phones every 10 ms, and what the lips do for each phone.

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
from ..media.audio_io import SAMPLE_RATE
from .acoustic_model import CEPSTRA, AcousticModel, load_acoustic_model

# The front end, as the model was trained (feat.params).
HOP_SAMPLES = 160  # 10 ms
WINDOW_SAMPLES = 410  # 25.6 ms
FFT_SIZE = 512  # samples
PRE_EMPHASIS = 0.97
MEL_FILTERS = 25
LIFTER = 22
FILTER_RANGE_HZ = (130.0, 6800.0)
DIFFERENCE_FRAMES = 3  # frames to each side that first and second differences need
POWER_FLOOR = 1e-8  # of the loudest filter output: anything quieter counts as silence of this level
SPECTRA_PER_CHUNK = 4096  # bounds memory

# Vocal tract length
WARP_FACTORS = (0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15)  # the range of adults
WARP_KNEE_HZ = 4800.0  # up to which the warp is linear
MAX_WARP_FRAMES = 1500  # loudest frames among which the warp is chosen
WARP_SAMPLES = 500  # of those that are evaluated at least; more take longer

# Log likelihoods are scaled down, since neighbouring frames are not independent; larger scales give harder posteriors.
FRAME_SCALE = 0.3  # for each frame by itself. Not tuned
LOOP_SCALE = 0.15  # for the loop of phones, which adds frames up. Not tuned
SELF_TRANSITION_PROBABILITY = 0.6  # to stay in a state for another 10 ms; a larger one prefers longer phones. Not tuned

BILABIAL_PHONES = ("P", "B", "M")

# What the visible articulators do, 0–1: jaw and lips open, lips rounded, lips spread, lips closed, lower lip at the
# teeth, silence. Common phonetic knowledge (vowel height, rounding, place of articulation), not fitted to any footage.
# Values that a row leaves out are 0.
ARTICULATIONS = ("open", "round", "spread", "closed", "labiodental", "silent")
PHONE_ARTICULATIONS = {
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
    """Probabilities of P phones in N frames of 10 ms; frame i is centred at i · 10 ms.

    Attributes:
        names: P phone names.
        frame_posteriors: (N, P) of each frame by itself; rows sum to 1.
        loop_posteriors: (N, P) given the whole sound, over a loop of phones; rows sum to 1.
    """

    names: tuple[str, ...]
    frame_posteriors: F32
    loop_posteriors: F32

    def articulation(self) -> F32:
        """(N, 6) expected articulation, columns `ARTICULATIONS`."""
        return self.frame_posteriors @ articulation_table(self.names)

    def bilabial_probability(self) -> F32:
        """(N,) probability 0–1 of p, b or m."""
        result: F32 = self.loop_posteriors[:, [self.names.index(name) for name in BILABIAL_PHONES]].sum(1)
        return result


def articulation_table(names: tuple[str, ...]) -> F32:
    """(P, 6) articulation of each phone, columns `ARTICULATIONS`."""
    table = np.zeros((len(names), len(ARTICULATIONS)), np.float32)
    for row, name in zip(table, names, strict=True):
        values = PHONE_ARTICULATIONS[name]
        row[: len(values)] = values
    return table


def estimate_phone_posteriors(samples: F32) -> PhonePosteriors:
    """Return the phone posteriors of a sound.

    Args:
        samples: (S,) at 16 kHz, not silent throughout.

    Returns:
        N = S // 160 + 1 frames.

    Raises:
        UserError: the acoustic model cannot be read.
    """
    model = load_acoustic_model()
    power = _power_spectra(samples)
    features = _cepstral_features(power, _select_warp(model, power))
    scores = model.state_log_likelihoods(features)
    best_scores = scores.max(2)
    likelihoods = np.exp(FRAME_SCALE * (best_scores - best_scores.max(1, keepdims=True)))
    loop_posteriors = _forward_backward(LOOP_SCALE * scores.reshape(len(scores), -1), SELF_TRANSITION_PROBABILITY)
    return PhonePosteriors(model.phones, likelihoods / likelihoods.sum(1, keepdims=True), loop_posteriors)


def _power_spectra(samples: F32) -> F32:
    """(N, 257) power spectra of pre-emphasised Hamming windows, centred at multiples of the hop."""
    x = np.asarray(samples, np.float32)
    x = np.append(x[:1], x[1:] - PRE_EMPHASIS * x[:-1])
    x = np.pad(x, (WINDOW_SAMPLES // 2, WINDOW_SAMPLES))
    count = len(samples) // HOP_SAMPLES + 1
    windows = np.lib.stride_tricks.sliding_window_view(x, WINDOW_SAMPLES)[::HOP_SAMPLES][:count]
    weights = np.hamming(WINDOW_SAMPLES).astype(np.float32)
    spectra = [
        np.abs(np.fft.rfft(chunk * weights, FFT_SIZE)) ** 2
        for chunk in np.array_split(windows, len(windows) // SPECTRA_PER_CHUNK + 1)
    ]
    result: F32 = np.concatenate(spectra).astype(np.float32)
    return result


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
    result: F32 = triangle.astype(np.float32)
    return result


def _cepstral_features(power: F32, warp: float) -> F32:
    """(N, 3, 13) cepstra without their mean, with their first and second differences (Sphinx's 1s_c_d_dd)."""
    energy = power @ _warped_mel_filters(warp)
    floor = POWER_FLOOR * float(energy.max()) + 1e-30
    is_sound = energy.max(1) > floor
    k = np.arange(MEL_FILTERS) + 0.5
    basis = np.cos(np.pi / MEL_FILTERS * np.arange(CEPSTRA)[:, None] * k) * np.sqrt(2 / MEL_FILTERS)
    basis[0] /= np.sqrt(2)
    basis *= (1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER))[:, None]
    cepstra = np.log(np.maximum(energy, floor)) @ basis.T.astype(np.float32)
    cepstra -= cepstra[is_sound].mean(0)
    padded = np.pad(cepstra, ((DIFFERENCE_FRAMES, DIFFERENCE_FRAMES), (0, 0)), mode="edge")

    def shifted(frames: int) -> F32:
        start = DIFFERENCE_FRAMES + frames
        result: F32 = padded[start : start + len(cepstra)]
        return result

    first = shifted(2) - shifted(-2)
    second = (shifted(3) - shifted(-1)) - (shifted(1) - shifted(-3))
    result: F32 = np.stack([cepstra, first, second], 1).astype(np.float32)
    return result


def _select_warp(model: AcousticModel, power: F32) -> float:
    """The warp factor under which the loudest frames are most likely, by each phone's best state."""
    loudness = power.sum(1)
    frame_count = min(MAX_WARP_FRAMES, max(1, len(power) // 2))
    loudest = np.sort(np.argsort(-loudness, kind="stable")[:frame_count])
    loudest = loudest[:: max(1, len(loudest) // WARP_SAMPLES)]
    likelihoods = [
        float(model.state_log_likelihoods(_cepstral_features(power, warp)[loudest]).max((1, 2)).mean())
        for warp in WARP_FACTORS
    ]
    return WARP_FACTORS[int(np.argmax(likelihoods))]


@kernel(exact=True)
def _forward_backward(scores: F32, self_transition: float) -> F32:
    """Posteriors (N, P) over a loop of P equally likely phones with three states each, left to right.

    Args:
        scores: (N, 3 P) log likelihoods of the states, each row up to a constant.
        self_transition: probability to stay in a state for another frame.
    """
    count, states = scores.shape
    phones = states // 3
    advance, enter = 1 - self_transition, (1 - self_transition) / phones
    forward = np.empty((count, states), np.float32)
    alpha = np.full(states, 1.0 / states)
    for t in range(count):
        if t > 0:
            leaving = 0.0
            for p in range(phones):
                leaving += alpha[3 * p + 2]
            for p in range(phones):
                a, b, c = alpha[3 * p], alpha[3 * p + 1], alpha[3 * p + 2]
                alpha[3 * p] = self_transition * a + enter * leaving
                alpha[3 * p + 1] = self_transition * b + advance * a
                alpha[3 * p + 2] = self_transition * c + advance * b
        alpha = alpha * np.exp((scores[t] - scores[t].max()).astype(np.float64))
        alpha = alpha / alpha.sum()
        forward[t] = alpha
    posteriors = np.empty((count, phones), np.float32)
    beta = np.ones(states)
    for t in range(count - 1, -1, -1):
        joint = forward[t] * beta
        total = joint.sum()
        for p in range(phones):
            posteriors[t, p] = (joint[3 * p] + joint[3 * p + 1] + joint[3 * p + 2]) / total
        emission = beta * np.exp((scores[t] - scores[t].max()).astype(np.float64))
        entering = 0.0
        for p in range(phones):
            entering += emission[3 * p]
        for p in range(phones):
            a, b, c = emission[3 * p], emission[3 * p + 1], emission[3 * p + 2]
            beta[3 * p] = self_transition * a + advance * b
            beta[3 * p + 1] = self_transition * b + advance * c
            beta[3 * p + 2] = self_transition * c + enter * entering
        beta = beta / beta.sum()
    return posteriors
