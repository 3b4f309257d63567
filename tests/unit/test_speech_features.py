"""What is heard: phones against a synthesiser whose phones are known, and the features' invariances."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from scipy.signal import lfilter, resample_poly

from backend.contract.arrays import F32
from backend.media.audio_io import SAMPLE_RATE
from backend.speech.acoustic_model import load_acoustic_model
from backend.speech.features import analyze_speech, context_window_size, frame_speech_features
from backend.speech.phones import (
    ARTICULATIONS,
    _forward_backward,
    articulation_table,
    estimate_phone_posteriors,
)
from backend.synthetic import voice
from backend.synthetic.phones import FOOTAGE_LINES, PHONES, TimedPhone, schedule_phones


def line(seconds: float = 6.0, lead: float = 0.8) -> tuple[list[TimedPhone], F32]:
    rng = np.random.default_rng(3)
    said = schedule_phones(
        [text for _, text in FOOTAGE_LINES[:4]], rng, lead_seconds=lead, pause_seconds=0.8, min_seconds=seconds
    )
    return said, voice.synthesize_speech(said, 0, seconds)


@pytest.fixture(scope="module")
def spoken() -> tuple[list[TimedPhone], F32]:
    return line()


def test_every_phone_of_the_model_has_its_articulation() -> None:
    names = load_acoustic_model().phones
    table = articulation_table(names)
    assert table.shape == (len(names), len(ARTICULATIONS)) and {"P", "B", "M", "AA", "SIL"} <= set(names)
    assert (table[[names.index(p) for p in "PBM"], ARTICULATIONS.index("closed")] == 1).all()
    assert table[names.index("AA"), 0] > table[names.index("IY"), 0] > table[names.index("M"), 0]


def test_forward_backward_is_the_sum_over_all_paths() -> None:
    """Two phones of three states, four frames: every path is enumerated."""
    stay, rng = 0.6, np.random.default_rng(0)
    emission = rng.uniform(0.1, 1, (4, 6))
    step = np.zeros((6, 6))
    for p in range(2):
        for s in range(3):
            step[3 * p + s, 3 * p + s] = stay
            if s < 2:
                step[3 * p + s, 3 * p + s + 1] = 1 - stay
            else:
                step[3 * p + s, [0, 3]] += (1 - stay) / 2
    expected = np.zeros((4, 2))
    for path in product(range(6), repeat=4):
        weight = np.prod([emission[t, s] for t, s in enumerate(path)])
        weight *= np.prod([step[a, b] for a, b in pairwise(path)])
        for t, s in enumerate(path):
            expected[t, s // 3] += weight
    posterior = _forward_backward(np.log(emission).astype(np.float32) + 7, stay)
    np.testing.assert_allclose(posterior, expected / expected.sum(1, keepdims=True), rtol=1e-5)


def test_phones_are_probabilities_and_hear_what_is_said(spoken: tuple[list[TimedPhone], F32]) -> None:
    said, samples = spoken
    from scipy.signal import resample_poly

    heard = estimate_phone_posteriors(resample_poly(samples, 2, 3).astype(np.float32))
    for posterior in (heard.frame_posteriors, heard.loop_posteriors):
        np.testing.assert_allclose(posterior.sum(1), 1, atol=1e-4)
        assert (posterior >= 0).all()
    time = np.arange(len(heard.frame_posteriors)) / 100
    inside = {kind: np.zeros(len(time), bool) for kind in ("lips", "open", "round")}
    kinds = {"P": "lips", "B": "lips", "M": "lips", "AA": "open", "AE": "open", "UW": "round", "OW": "round"}
    for phone in said:
        if phone.name in kinds:
            inside[kinds[phone.name]] |= (time > phone.start) & (time < phone.end)
    speech = analyze_speech(samples, voice.SAMPLE_RATE).activity[: len(time)] > 0.5
    traits = heard.articulation()
    assert (
        heard.bilabial_probability()[inside["lips"]].mean()
        > 3 * heard.bilabial_probability()[speech & ~inside["lips"]].mean()
    )
    for kind in ("open", "round"):
        column = traits[:, ARTICULATIONS.index(kind)]
        assert column[inside[kind]].mean() > column[speech & ~inside[kind]].mean() + 0.1


def test_activity_marks_speech_and_pauses_but_no_clicks(spoken: tuple[list[TimedPhone], F32]) -> None:
    said, samples = spoken
    samples = samples.copy()
    samples[round(0.3 * voice.SAMPLE_RATE) : round(0.32 * voice.SAMPLE_RATE)] = 0.5
    activity = analyze_speech(samples, voice.SAMPLE_RATE).activity
    assert activity[:60].max() < 0.2
    voiced = [p for p in said if p.name in ("AA", "IY", "AE", "EH") and p.end < 5.9]
    assert np.mean([activity[int(p.middle * 100)] for p in voiced]) > 0.9


def test_features_are_deterministic_and_ignore_loudness(spoken: tuple[list[TimedPhone], F32]) -> None:
    _, samples = spoken
    times = np.arange(140) / 25
    first = analyze_speech(samples, voice.SAMPLE_RATE).context_windows(times)
    assert first.shape == (140, context_window_size()) and np.isfinite(first).all()
    np.testing.assert_array_equal(first, analyze_speech(samples, voice.SAMPLE_RATE).context_windows(times))
    quieter = analyze_speech(samples * 0.05, voice.SAMPLE_RATE).context_windows(times)
    assert np.abs(first - quieter).mean() < 0.01 * np.abs(first).mean()


def test_voicing_is_high_in_vowels_and_low_in_hisses_and_pauses(spoken: tuple[list[TimedPhone], F32]) -> None:
    said, samples = spoken
    voicing = analyze_speech(samples, voice.SAMPLE_RATE).rhythm[:, 11]
    clock = np.arange(len(voicing)) / 100
    voiced, voiceless = np.zeros(len(clock), bool), np.ones(len(clock), bool)
    for phone in said:
        inside = (clock > phone.start + 0.02) & (clock < phone.end - 0.02)
        around = (clock > phone.start - 0.02) & (clock < phone.end + 0.02)
        voiced |= inside & (PHONES[phone.name].voicing >= 0.4)
        voiceless &= ~around | (PHONES[phone.name].voicing < 0.1)
    assert (voicing[voiced] > 0.5).mean() > 0.8 and (voicing[voiceless] < 0.5).mean() > 0.95


def test_features_survive_another_microphone_and_another_voice(spoken: tuple[list[TimedPhone], F32]) -> None:
    """Spectral tilt and a voice 10 % higher change the features little against what is said a second later."""
    _, samples = spoken
    times = np.linspace(1, 4.5, 80)
    own = analyze_speech(samples, voice.SAMPLE_RATE).context_windows(times)
    tilted = lfilter([1.0, -0.7], [1.0], samples).astype(np.float32)
    higher = resample_poly(samples, 10, 11).astype(np.float32)
    later = np.abs(analyze_speech(samples, voice.SAMPLE_RATE).context_windows(times + 1) - own).mean()
    assert np.abs(analyze_speech(tilted, voice.SAMPLE_RATE).context_windows(times) - own).mean() < 0.25 * later
    assert np.abs(analyze_speech(higher, voice.SAMPLE_RATE).context_windows(times * 10 / 11) - own).mean() < 0.4 * later


def test_features_follow_time_at_any_frame_rate(spoken: tuple[list[TimedPhone], F32]) -> None:
    _, samples = spoken
    slow, fast = (frame_speech_features(samples, voice.SAMPLE_RATE, fps, round(5 * fps)) for fps in (25.0, 50.0))
    np.testing.assert_allclose(slow, fast[::2], atol=1e-5)
    later = np.concatenate([np.zeros(voice.SAMPLE_RATE // 2, np.float32), samples])
    track, shifted = analyze_speech(samples, voice.SAMPLE_RATE), analyze_speech(later, voice.SAMPLE_RATE)
    times = np.linspace(1, 5, 60)
    agree = np.corrcoef(track.frame_features(times).ravel(), shifted.frame_features(times + 0.5).ravel())[0, 1]
    astray = np.corrcoef(track.frame_features(times).ravel(), shifted.frame_features(times).ravel())[0, 1]
    assert agree > 0.97 > astray + 0.1


@pytest.mark.parametrize("samples", [
    np.r_[np.zeros(SAMPLE_RATE), 0.3 * np.sin(np.arange(SAMPLE_RATE // 5) * 0.2)],  # digital silence, then a sound
    0.5 * np.sign(np.sin(np.arange(SAMPLE_RATE) * 0.05)),  # a square wave
    np.random.default_rng(0).standard_normal(SAMPLE_RATE // 4) * 0.1,  # a short noise
    np.eye(1, SAMPLE_RATE // 5, 50)[0],  # one click
])  # fmt: skip
def test_odd_sounds_give_finite_features(samples: F32) -> None:
    track = analyze_speech(samples.astype(np.float32))
    windows = track.context_windows(np.arange(10) / 25)  # also beyond the end
    assert np.isfinite(windows).all() and np.abs(windows).max() < 50
