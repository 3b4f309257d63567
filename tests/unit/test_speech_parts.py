"""The parts of speech by themselves: regression, mouth and motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.contract.arrays import F32
from backend.contract.channels import CHANNEL_INDEX, CHANNELS, ORAL_CHANNELS
from backend.contract.geometry import matrix_from_quaternion, rotation_angle_degrees
from backend.contract.performance import Performance
from backend.speech.closures import closure_weights, find_closures, pause_weights
from backend.speech.features import SpeechFeatures
from backend.speech.motion import POSE_SIZE, MotionLibrary, MotionStrengths, build_motion_library, synthesize_motion
from backend.speech.mouth import MouthProfile, constrain_mouth, measure_mouth_profile
from backend.speech.network import NetworkOptions, fit_network, predict_out_of_fold, predict_ridge_baseline
from backend.speech.phones import PhonePosteriors

QUICK = NetworkOptions(components=16, ensemble_size=3, hidden_size=24, steps=150, batch=128)
JAW = CHANNEL_INDEX["jawOpen"]


def problem(count: int, seed: int = 0) -> tuple[F32, F32]:
    """Windows of 20 numbers, and targets that follow two of them, one of them not linearly; the third is still."""
    x = np.random.default_rng(seed).standard_normal((count, 20)).astype(np.float32)
    x[:, 2:] *= 0.3
    y = np.stack([0.3 + 0.1 * x[:, 0], 0.2 * np.abs(x[:, 1]), np.full(count, 0.7)], 1)
    return x, y.astype(np.float32)


def test_the_network_learns_what_a_line_cannot() -> None:
    (x, y), (fresh, truth) = problem(1500), problem(300, seed=1)
    said, line = fit_network(x, y, 0, QUICK)(fresh), predict_ridge_baseline(x, y, fresh, ridge=1e-3)
    assert np.corrcoef(said[:, 0], truth[:, 0])[0, 1] > 0.85
    assert np.corrcoef(said[:, 1], truth[:, 1])[0, 1] > 0.7 > 0.3 > np.corrcoef(line[:, 1], truth[:, 1])[0, 1]
    np.testing.assert_allclose(said[:, 2], 0.7, atol=1e-4)


def test_the_same_seed_gives_the_same_network() -> None:
    x, y = problem(200)
    first, again, other = (fit_network(x, y, seed, QUICK).arrays for seed in (0, 0, 1))
    assert all(np.array_equal(first[k], again[k]) for k in first)
    assert not np.array_equal(first["w0"], other["w0"]) and np.array_equal(first["kernel"], other["kernel"])


def test_unseen_frames_are_not_learned_from() -> None:
    """Noise has nothing to be learned: frames that are predicted from others cannot correlate with it."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((400, 8)).astype(np.float32), rng.standard_normal((400, 1)).astype(np.float32)
    assert abs(np.corrcoef(predict_out_of_fold(x, y, QUICK)[:, 0], y[:, 0])[0, 1]) < 0.2
    assert np.corrcoef(fit_network(x, y, 0, QUICK)(x)[:, 0], y[:, 0])[0, 1] > 0.4


def track_of(activity: F32, bilabial: F32) -> SpeechFeatures:
    none = np.zeros((len(activity), 1), np.float32)
    return SpeechFeatures(none, PhonePosteriors(("SIL",), none + 1, none + 1), none, activity, bilabial)


def mouth_of() -> MouthProfile:
    gap = np.zeros(len(ORAL_CHANNELS), np.float32)
    gap[JAW], gap[CHANNEL_INDEX["mouthClose"]], gap[CHANNEL_INDEX["mouthLowerDownLeft"]] = 0.02, -0.015, 0.004
    closed = np.zeros(len(ORAL_CHANNELS), np.float32)
    closed[CHANNEL_INDEX["mouthPressLeft"]] = 0.1
    one = np.ones(len(ORAL_CHANNELS), np.float32)
    span = np.array([0, 0.01], np.float32)
    return MouthProfile(
        0 * one, closed, 0 * one, 0.8 * one, one, 0.3 * one, gap, one, span, np.array([0.2], np.float32)
    )


@pytest.fixture
def sound() -> SpeechFeatures:
    """4 s: a second of silence, two of speech with b at 2.0 s, a second of silence."""
    activity, bilabial = np.zeros(400, np.float32), np.zeros(400, np.float32)
    activity[100:300] = 1
    bilabial[196:205] = 0.9
    return track_of(activity, bilabial)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("fps", [24.0, 25.0, 29.97, 60.0])
def test_lips_meet_on_a_closure_at_any_frame_rate(sound: SpeechFeatures, fps: float, smoothing: float) -> None:
    mouth, times = mouth_of(), np.arange(round(4 * fps)) / fps
    open_ = np.full((len(times), len(ORAL_CHANNELS)), 0.3, np.float32)
    # the regression closes a little at the b, not enough
    open_[:, JAW] = 0.35 - 0.2 * np.exp(-(((times - 2.0) / 0.05) ** 2))
    open_[:, CHANNEL_INDEX["mouthClose"]] = 0.1
    assert len(find_closures(sound)) == 1
    shaped = constrain_mouth(mouth, open_, sound, times, 1.0, smoothing)
    apart = mouth.openness(shaped)
    at = np.abs(times - 2.0) < 0.05
    assert apart[at].min() < 1e-3
    assert apart[(np.abs(times - 2.0) > 0.15) & (times > 1.2) & (times < 2.8)].min() > 0.3


def test_a_wide_open_vowel_is_not_taken_for_a_closure(sound: SpeechFeatures) -> None:
    times = np.arange(100) / 25
    assert closure_weights(sound, times, np.full(100, 0.3, np.float32)).max() == pytest.approx(1)
    assert closure_weights(sound, times, np.full(100, 0.9, np.float32)).max() == 0


def test_the_mouth_rests_in_silence_and_only_there(sound: SpeechFeatures) -> None:
    mouth, times = mouth_of(), np.arange(100) / 25
    shaped = constrain_mouth(mouth, np.full((100, len(ORAL_CHANNELS)), 0.4, np.float32), sound, times, 1.0)
    quiet = (times < 0.6) | (times > 3.3)
    np.testing.assert_allclose(shaped[quiet], np.tile(mouth.rest, (quiet.sum(), 1)), atol=0.01)
    assert shaped[(times > 1.1) & (times < 1.8), JAW].min() > 0.3


def test_a_short_gap_is_no_pause() -> None:
    activity = np.ones(400, np.float32)
    activity[200:235] = 0
    assert pause_weights(track_of(activity, 0 * activity), np.arange(100) / 25).max() < 0.1
    activity[200:300] = 0
    assert pause_weights(track_of(activity, 0 * activity), np.arange(100) / 25).max() > 0.95


def test_a_line_begins_and_ends_at_rest_however_short_the_silence_around_it() -> None:
    activity = np.zeros(400, np.float32)
    activity[24:370] = 1
    times = np.arange(100) / 25
    rest = pause_weights(track_of(activity, 0 * activity), times)
    assert rest[0] > 0.9 and rest[-1] > 0.9
    assert rest[(times > 0.24) & (times < 3.7)].max() < 0.1
    assert pause_weights(track_of(np.ones(400, np.float32), 0 * activity), times).max() < 0.1, "cut out of a speech"


def test_strength_of_the_lips(sound: SpeechFeatures) -> None:
    mouth, times = mouth_of(), np.arange(100) / 25
    said = np.full((100, len(ORAL_CHANNELS)), 0.4, np.float32)
    speech = (times > 1.2) & (times < 1.7)
    still, own, strong = (constrain_mouth(mouth, said, sound, times, lips)[speech, JAW].mean() for lips in (0, 1, 1.5))
    assert still == pytest.approx(float(mouth.rest[JAW]), abs=1e-6) and strong > 1.3 * own > 0.4
    assert constrain_mouth(mouth, 5 + said, sound, times, 3.0).max() <= 1


def test_rest_and_closed_pose_come_from_the_footage(sound: SpeechFeatures) -> None:
    times, gap = np.arange(100) / 25, mouth_of().gap
    oral = np.zeros((100, len(ORAL_CHANNELS)), np.float32)
    oral[:, JAW] = np.where((times > 1) & (times < 3), 0.3, 0.004)
    oral[48:53, JAW], oral[48:53, CHANNEL_INDEX["mouthPressLeft"]] = 0.0, 0.5  # lips pressed in speech
    mouth = measure_mouth_profile(oral, oral, sound, times, gap)
    assert mouth.closed[CHANNEL_INDEX["mouthPressLeft"]] > 0.3 and mouth.closed[JAW] < 0.004
    assert mouth.rest[JAW] < 0.03 and mouth.rest[CHANNEL_INDEX["mouthPressLeft"]] < 0.1


def footage(seconds: float = 20.0, fps: float = 25.0, blinks: bool = True) -> Performance:
    """A head that sways, brows that move, and a blink every 3 s."""
    count = round(seconds * fps)
    t = np.arange(count) / fps
    result = Performance.rest_pose(count, fps)
    turn = np.stack([0 * t + 1, 0.05 * np.sin(1.3 * t), 0.08 * np.sin(0.9 * t + 1), 0.03 * np.sin(2.1 * t)], 1)
    result.head_rotation = (turn / np.linalg.norm(turn, axis=1, keepdims=True)).astype(np.float32)
    result.head_translation = np.stack([0.01 * np.sin(0.7 * t), 0.005 * np.sin(t), 0 * t], 1).astype(np.float32)
    result.torso_translation = (0.5 * result.head_translation).astype(np.float32)
    result.channels[:, CHANNEL_INDEX["browInnerUp"]] = 0.3 + 0.2 * np.sin(1.7 * t)
    for side in ("eyeBlinkLeft", "eyeBlinkRight"):
        result.channels[:, CHANNEL_INDEX[side]] = 0.1
        if blinks:
            for at in np.arange(1.5, seconds, 3.0):
                result.channels[:, CHANNEL_INDEX[side]] += 0.8 * np.exp(-(((t - at) / 0.07) ** 2))
    return result


def manner_of(source: Performance) -> MotionLibrary:
    t = np.arange(len(source)) / source.fps
    return build_motion_library(source, (np.sin(2 * t) > -0.5).astype(np.float32))


def moved(
    manner: MotionLibrary, seconds: float, seed: int = 0, strengths: MotionStrengths | None = None, fps: float = 25.0
) -> F32:
    times = np.arange(round(seconds * fps)) / fps
    activity = np.ones(round(seconds * manner.fps) + 2, np.float32)
    return synthesize_motion(manner, activity, times, seed, strengths or MotionStrengths())


LID = POSE_SIZE + CHANNEL_INDEX["eyeBlinkLeft"] - len(ORAL_CHANNELS)
BROW = POSE_SIZE + CHANNEL_INDEX["browInnerUp"] - len(ORAL_CHANNELS)


def test_same_seed_same_take_other_seed_other_take() -> None:
    manner = manner_of(footage())
    first, again, other = moved(manner, 30), moved(manner, 30), moved(manner, 30, seed=1)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[200:, 1:4] - other[200:, 1:4]).max() > 0.02
    assert first.shape == (750, POSE_SIZE + len(CHANNELS) - len(ORAL_CHANNELS))


@pytest.mark.parametrize("seed", range(5))
def test_motion_is_the_footage_s_own_and_never_jumps(seed: int) -> None:
    source = footage()
    manner = manner_of(source)
    rows = moved(manner, 40, seed)
    assert np.abs(np.linalg.norm(rows[:, :4], axis=1) - 1).max() < 1e-5
    step = rotation_angle_degrees(
        np.swapaxes(matrix_from_quaternion(rows[:-1, :4]), 1, 2) @ matrix_from_quaternion(rows[1:, :4])
    )
    own = matrix_from_quaternion(source.head_rotation)
    fastest = rotation_angle_degrees(np.swapaxes(own[:-1], 1, 2) @ own[1:]).max()
    assert step.max() < 2.2 * fastest and step.mean() > 0.2 * fastest
    assert np.abs(rows[:, 1:4]).max() < np.abs(source.head_rotation[:, 1:]).max() * 1.05
    np.testing.assert_allclose(rows[0, :7], manner.motion[0, :7], atol=1e-5)  # begins where the footage begins


def test_blinks_are_the_footage_s_at_its_own_rate() -> None:
    manner = manner_of(footage())
    assert 4 <= len(manner.blinks) <= 7 and manner.blink_interval == pytest.approx(3, abs=0.8)
    assert manner.motion[:, LID].max() < 0.2  # the lids' level holds no blink
    lid = moved(manner, 60)[:, LID]
    shut = np.flatnonzero((lid[1:-1] > 0.6) & (lid[1:-1] >= lid[:-2]) & (lid[1:-1] > lid[2:]))
    assert 12 <= len(shut) <= 28 and lid.max() == pytest.approx(0.9, abs=0.1)
    assert moved(manner, 60, strengths=MotionStrengths(blink=0))[:, LID].max() < 0.2


def test_an_actor_that_never_blinked_does_not_blink() -> None:
    assert moved(manner_of(footage(blinks=False)), 20)[:, LID].max() < 0.15


def test_strength_of_head_and_brows() -> None:
    manner = manner_of(footage())
    still, own = moved(manner, 20, strengths=MotionStrengths(brows=0, head=0)), moved(manner, 20)
    assert np.abs(np.diff(still[:, :POSE_SIZE], axis=0)).max() < 1e-6 and still[:, BROW].std() < 1e-6
    half = moved(manner, 20, strengths=MotionStrengths(brows=0.5, head=0.5))
    assert half[:, BROW].std() == pytest.approx(0.5 * own[:, BROW].std(), rel=0.01)
    assert half[:, 2].std() == pytest.approx(0.5 * own[:, 2].std(), rel=0.05)


def test_frame_rates_show_the_same_motion() -> None:
    manner = manner_of(footage())
    np.testing.assert_allclose(moved(manner, 10, fps=50)[::2], moved(manner, 10), atol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 20, 60])
def test_very_short_footage_still_moves_smoothly(frames: int) -> None:
    source = footage(20)
    manner = replace(manner_of(source), motion=manner_of(source).motion[:frames], segments=[(0, frames)])
    rows = moved(replace(manner, activity=manner.activity[:frames]), 12)
    assert len(rows) == 300 and np.isfinite(rows).all()
    assert np.abs(np.diff(rows[:, 1:4], axis=0)).max() < 0.02
