"""An actor learns to speak from footage whose phones are known, and speaks lines it never heard."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.channels import CHANNEL_INDEX, CHANNELS, ORAL_CHANNELS
from backend.contract.errors import Cancelled, UserError
from backend.contract.performance import Performance
from backend.contract.progress import Reporter
from backend.dataset.split import first_held_out_frame
from backend.media.audio_io import SAMPLE_RATE, load_audio, save_wav
from backend.speech import model, synthesis, training
from backend.speech.closures import pause_weights
from backend.speech.delivery import Delivery
from backend.speech.features import analyze_speech
from backend.speech.metrics import pearson_correlation
from backend.speech.model import SPEECH_FILE_NAME, SpeechModel
from backend.speech.network import NetworkOptions, fit_network
from backend.speech.synthesis import speak
from backend.speech.training import train_speech
from backend.synthetic import lip_sync, motion, voice
from backend.synthetic.phones import FOOTAGE_LINES, PHONES, SPEECH_LINES, TimedPhone, schedule_phones
from backend.tracking.detection import topology as topo

FPS, SECONDS = 25.0, 24.0
JAW = CHANNEL_INDEX["jawOpen"]
CLIPS = Path(os.environ.get("PORTRAIT_ACTOR_CLIPS", Path(__file__).resolve().parents[3] / "shared" / "data"))
VOICES = sorted((CLIPS / "audio").glob("*.wav"))


def untrained(path: Path) -> ActorFolder:
    """An actor whose footage is the sample's performance, with the sample's voice."""
    rng = np.random.default_rng(0)
    said = schedule_phones(
        [text for _, text in FOOTAGE_LINES], rng, lead_seconds=0.6, pause_seconds=0.6, min_seconds=SECONDS
    )
    folder = ActorFolder.create(path, ActorInfo("Sample", fps=FPS, has_audio=True, complete=True))
    count = round(SECONDS * FPS)
    motion.create_performance("talk", count, FPS, said, 0).save(folder.file_path("footage.npz"))
    from scipy.signal import resample_poly

    samples = resample_poly(voice.synthesize_speech(said, 0, SECONDS), 2, 3).astype(np.float32)
    save_wav(folder.file_path("audio.wav"), samples)
    shapes = np.zeros((len(CHANNELS), topo.LANDMARK_COUNT, 3), np.float32)
    lower = topo.index_array(*topo.LIP_INNER_LOWER)
    shapes[JAW, lower, 1], shapes[CHANNEL_INDEX["mouthClose"], lower, 1] = -0.025, 0.025
    for side in ("Left", "Right"):
        shapes[CHANNEL_INDEX[f"mouthLowerDown{side}"], lower, 1] = -0.003
    vertices = np.zeros((topo.LANDMARK_COUNT, 3), np.float32)
    folder.save_arrays(
        "proxy.npz", vertices=vertices, faces=np.array([[0, 1, 2]], np.int32), shapes=shapes,
        colors=vertices, head_weight=vertices[:, 0],
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ActorFolder, dict[str, Any]]:
    folder = untrained(tmp_path_factory.mktemp("speech") / "sample.actor")
    return folder, train_speech(folder, Reporter(), 0)


@pytest.fixture
def actor(trained: tuple[ActorFolder, object]) -> ActorFolder:
    return trained[0]


def line(path: Path, seed: int = 1, pause: float = 1.2) -> list[TimedPhone]:
    """A line that is not in the footage, with a second of silence before, between and after."""
    rng = np.random.default_rng((seed, 5))
    said = schedule_phones(
        [text for _, text in SPEECH_LINES], rng, lead_seconds=1.0, pause_seconds=pause, min_seconds=0
    )
    voice_path = path.with_suffix(".24k.wav")
    save_wav(voice_path, voice.synthesize_speech(said, seed), voice.SAMPLE_RATE)
    save_wav(path, load_audio(voice_path))
    return said


def test_held_out_frames_are_followed_better_than_by_ridge(
    trained: tuple[ActorFolder, dict[str, Any]],
) -> None:
    _, figures = trained
    assert figures["held_out"]["jawOpen_r"] > 0.9 and figures["held_out"]["opening_r"] > 0.9
    assert figures["held_out"]["jawOpen_r"] > figures["ridge"]["jawOpen_r"]
    assert figures["pause_opening"] < 0.05 and figures["closure_opening"] < 0.05
    assert figures["frames"] == first_held_out_frame(600) == 545


def test_a_new_line_is_spoken_as_its_phones_ask(actor: ActorFolder, tmp_path: Path) -> None:
    said = line(tmp_path / "line.wav")
    spoken = speak(actor, tmp_path / "line.wav")
    times = np.arange(len(spoken)) / FPS
    truth = lip_sync.lip_channels(said, times)
    assert pearson_correlation(spoken.channels[:, JAW], truth[:, JAW].astype(np.float32)) > 0.85
    mouth = SpeechModel.load(actor).mouth_profile
    apart = mouth.openness(spoken.channels[:, : len(ORAL_CHANNELS)])
    closures = [p for p in said if PHONES[p.name].closure == "lips"]
    met = [apart[(times > p.start - 0.06) & (times < p.end + 0.06)].min() < 0.1 for p in closures]
    assert len(met) >= 8 and np.mean(met) >= 0.9
    silent = np.zeros(len(times), bool)
    for phone in said:
        if phone.name == "SIL":
            silent |= (times > phone.start + 0.3) & (times < phone.end - 0.45)
    assert silent.sum() > 10 and apart[silent].mean() < 0.05
    assert np.ptp(apart) > 0.7


def test_the_performance_is_whole_and_alive(actor: ActorFolder, tmp_path: Path) -> None:
    line(tmp_path / "line.wav", pause=0.5)
    spoken = speak(actor, tmp_path / "line.wav", first_frame=101)
    seconds = len(load_audio(tmp_path / "line.wav")) / SAMPLE_RATE
    assert spoken.fps == FPS and spoken.frames[0] == 101 and len(spoken) == int(np.ceil(seconds * FPS))
    assert np.abs(np.diff(spoken.head_rotation[:, 1:], axis=0)).max() < 0.05
    assert spoken.head_rotation[:, 1:].std() > 0.003
    assert spoken.channels[:, CHANNEL_INDEX["eyeBlinkLeft"]].max() > 0.5


def test_same_seed_same_take(actor: ActorFolder, tmp_path: Path) -> None:
    line(tmp_path / "line.wav")
    first, again, other = (speak(actor, tmp_path / "line.wav", Delivery(seed)) for seed in (0, 0, 7))
    for name in ("head_rotation", "head_translation", "torso_rotation", "torso_translation", "channels"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    np.testing.assert_array_equal(first.channels[:, : len(ORAL_CHANNELS)], other.channels[:, : len(ORAL_CHANNELS)])
    assert np.abs(first.head_rotation - other.head_rotation).max() > 0.005


def test_frame_rates_show_the_same_speech(actor: ActorFolder, tmp_path: Path) -> None:
    line(tmp_path / "line.wav")
    slow, fast = speak(actor, tmp_path / "line.wav"), speak(actor, tmp_path / "line.wav", fps=50)
    assert fast.fps == 50 and abs(len(fast) - 2 * len(slow)) <= 1
    assert pearson_correlation(slow.channels[:, JAW], fast.channels[::2, JAW][: len(slow)]) > 0.98


def test_any_file_with_the_same_voice_gives_the_same_speech(actor: ActorFolder, tmp_path: Path) -> None:
    """48 kHz, quieter, behind a name with spaces and quotes: the same curve."""
    line(tmp_path / "line.wav")
    other = tmp_path / "naïve 'take' 2 語.wav"
    save_wav(other, 0.2 * load_audio(tmp_path / "line.wav", 48000), 48000)
    a, b = (speak(actor, p).channels[:, JAW] for p in (tmp_path / "line.wav", other))
    assert pearson_correlation(a, b[: len(a)]) > 0.98


def test_held_out_frames_never_touch_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other channels in the last eleventh leave every learned number as it was."""
    quick = NetworkOptions(components=16, ensemble_size=2, hidden_size=8, steps=20)
    monkeypatch.setattr(training, "fit_network", partial(fit_network, options=quick))
    folder = untrained(tmp_path / "a.actor")
    stored = []
    for corrupt in (False, True):
        footage = folder.load_footage_performance()
        if corrupt:
            first = first_held_out_frame(len(footage))
            footage.channels[first:] = np.random.default_rng(0).uniform(0, 1, footage.channels[first:].shape)
            footage.save(folder.file_path("footage.npz"))
        train_speech(folder, Reporter(), 0)
        stored.append(folder.file_path(SPEECH_FILE_NAME).read_bytes())
    assert stored[0] == stored[1]
    footage.channels[10:100] = 0.5  # a training frame does
    footage.save(folder.file_path("footage.npz"))
    train_speech(folder, Reporter(), 0)
    assert folder.file_path(SPEECH_FILE_NAME).read_bytes() != stored[0]


def test_lips_strength_scales_the_mouth_and_nothing_else(actor: ActorFolder, tmp_path: Path) -> None:
    line(tmp_path / "line.wav")
    own, still = speak(actor, tmp_path / "line.wav"), speak(actor, tmp_path / "line.wav", Delivery(lips=0))
    assert still.channels[:, JAW].std() < 0.2 * own.channels[:, JAW].std()
    np.testing.assert_array_equal(own.channels[:, len(ORAL_CHANNELS) :], still.channels[:, len(ORAL_CHANNELS) :])


def test_smoothing_calms_the_mouth(actor: ActorFolder, tmp_path: Path) -> None:
    line(tmp_path / "line.wav")
    own, calm = (speak(actor, tmp_path / "line.wav", Delivery(smoothing=s)) for s in (0.0, 0.15))
    jerk = [np.abs(np.diff(said.channels[:, JAW], 2)).mean() for said in (own, calm)]
    assert jerk[1] < 0.8 * jerk[0]
    with pytest.raises(UserError) as caught:
        speak(actor, tmp_path / "line.wav", Delivery(smoothing=3))
    assert caught.value.code == "bad_smoothing"


def test_a_style_takes_the_manner_of_its_parts(tmp_path: Path, trained: tuple[ActorFolder, object]) -> None:
    folder = ActorFolder.open(Path(shutil.copytree(trained[0].path, tmp_path / "styled.actor")))
    footage = folder.load_footage_performance()
    calm = slice(0, 250)  # 10 s: a still head, small mouth
    footage.head_rotation[calm] = footage.head_rotation[0]
    footage.channels[calm, : len(ORAL_CHANNELS)] *= 0.5
    footage.save(folder.file_path("footage.npz"))
    line(tmp_path / "line.wav")

    def take(*style: tuple[float, float]) -> Performance:
        return speak(folder, tmp_path / "line.wav", Delivery(style=style))

    whole, still, lively = take(), take((0, 10)), take((10, 15), (15, 21.5))
    assert np.ptp(still.head_rotation, 0).max() < 1e-3 < np.ptp(lively.head_rotation, 0).max()
    assert still.channels[:, JAW].std() < 0.8 * whole.channels[:, JAW].std() < lively.channels[:, JAW].std()
    np.testing.assert_array_equal(take((10, 21.5)).channels, lively.channels)  # parts that touch are one
    for bad in ((3, 3.2), (5, 2), (100, 120), (4, float("nan"))):
        with pytest.raises(UserError) as caught:
            take(bad)
        assert caught.value.code == "bad_style"
    with pytest.raises(UserError) as caught:
        speak(folder, tmp_path / "line.wav", Delivery(head=-1))
    assert caught.value.code == "bad_strength"


def test_features_of_one_s_own_are_learned_from_and_then_needed(tmp_path: Path) -> None:
    folder = untrained(tmp_path / "sample.actor")
    oral = folder.load_footage_performance().channels[:, : len(ORAL_CHANNELS)]
    random = np.random.default_rng(0)
    mixed = oral @ random.normal(size=(len(ORAL_CHANNELS), 48)) + 0.05 * random.normal(size=(len(oral), 48))
    np.savez(tmp_path / "own.npz", features=np.repeat(mixed, 2, 0).astype(np.float16))  # 50 rows a second
    plain = train_speech(folder, Reporter(), 0)["held_out"]["opening_r"]
    taught = train_speech(folder, Reporter(), 0, tmp_path / "own.npz")["held_out"]["opening_r"]
    assert taught > plain
    sound = folder.file_path("audio.wav")
    with pytest.raises(UserError) as caught:
        speak(folder, sound)
    assert caught.value.code == "features_needed"
    said = speak(folder, sound, Delivery(features=tmp_path / "own.npz"))
    assert (
        pearson_correlation(said.channels[:, JAW], folder.load_footage_performance().channels[: len(said), JAW]) > 0.8
    )
    for name, table in {
        "narrow.npy": mixed[:, :5], "short.npy": mixed[:20], "whole.npy": (10 * mixed).astype(int),
        "nan.npy": np.full_like(mixed, np.nan),
    }.items():  # fmt: skip
        np.save(tmp_path / name, table)
        with pytest.raises(UserError) as caught:
            speak(folder, sound, Delivery(features=tmp_path / name))
        assert caught.value.code == "bad_features", name
    (tmp_path / "noise.npy").write_bytes(random.bytes(900))
    with pytest.raises(UserError):
        train_speech(folder, Reporter(), 0, tmp_path / "noise.npy")
    train_speech(folder, Reporter(), 0)
    with pytest.raises(UserError) as caught:
        speak(folder, sound, Delivery(features=tmp_path / "own.npz"))
    assert caught.value.code == "features_unknown"


def test_an_actor_that_never_heard_itself_cannot_speak(tmp_path: Path) -> None:
    folder = untrained(tmp_path / "mute.actor")
    line(tmp_path / "line.wav")
    with pytest.raises(UserError) as caught:
        speak(folder, tmp_path / "line.wav")
    assert caught.value.code == "cannot_speak" and "Sample" in caught.value.message and caught.value.remedy


class Listening(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.mark.parametrize("case", ["silent", "short"])
def test_footage_with_nothing_to_learn_from_is_told(tmp_path: Path, case: str) -> None:
    folder, reporter = untrained(tmp_path / "a.actor"), Listening()
    if case == "silent":
        save_wav(folder.file_path("audio.wav"), np.zeros(round(SECONDS * SAMPLE_RATE), np.float32))
    else:
        Performance.rest_pose(20, FPS).save(folder.file_path("footage.npz"))
    assert train_speech(folder, reporter) == {}
    assert not folder.file_path(SPEECH_FILE_NAME).exists() and len(reporter.notes) == 1


def test_cancelling_leaves_no_half_model(tmp_path: Path) -> None:
    folder, reporter = untrained(tmp_path / "a.actor"), Reporter()
    reporter.is_cancelled = True
    with pytest.raises(Cancelled):
        train_speech(folder, reporter)
    assert not list(folder.path.glob("speech*"))


def test_lines_that_cannot_be_spoken(actor: ActorFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE).astype(np.float32) * 0.1
    save_wav(tmp_path / "short.wav", noise[: SAMPLE_RATE // 10])
    save_wav(tmp_path / "silent.wav", 0 * noise[: SAMPLE_RATE // 2])
    save_wav(tmp_path / "long.wav", noise)
    monkeypatch.setattr(synthesis, "MAX_LINE_SECONDS", 1.0)
    for name, code in (("short", "sound_too_short"), ("silent", "silent"), ("long", "sound_too_long")):
        with pytest.raises(UserError) as caught:
            speak(actor, tmp_path / f"{name}.wav")
        assert caught.value.code == code and caught.value.remedy


@pytest.mark.parametrize("damage", ["cut", "shape", "nan", "missing", "newer", "text"])
def test_damaged_speech_is_refused(actor: ActorFolder, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "copy.actor"
    shutil.copytree(actor.path, path)
    folder = ActorFolder.open(path)
    file = folder.file_path(SPEECH_FILE_NAME)
    arrays, version = load_file(file), "1"
    if damage == "shape":
        arrays["network.basis"] = arrays["network.basis"][:, :5].copy()
    elif damage == "nan":
        arrays["mouth.rest"][3] = np.nan
    elif damage == "missing":
        del arrays["mouth.gap"]
    elif damage == "newer":
        version = "99"
    save_file(arrays, file, metadata={model.SPEECH_VERSION_KEY: version})
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "text":
        file.write_text("speech")
    with pytest.raises(UserError) as caught:
        SpeechModel.load(folder)
    assert caught.value.code == ("newer_format" if damage == "newer" else "damaged_actor")


@pytest.mark.skipif(not VOICES, reason=f"no voices in {CLIPS}")
@pytest.mark.parametrize("path", VOICES, ids=lambda p: p.stem)
def test_real_voices_are_lively_and_rest_in_pauses(actor: ActorFolder, path: Path) -> None:
    """Six languages, men and women, studio and noise."""
    spoken = speak(actor, path)
    samples = load_audio(path)
    track, times = analyze_speech(samples), np.arange(len(spoken)) / FPS
    apart = SpeechModel.load(actor).mouth_profile.openness(spoken.channels[:, : len(ORAL_CHANNELS)])
    paused = pause_weights(track, times) > 0.95
    assert apart[~paused].std() > 0.12 and np.percentile(apart[~paused], 95) > 0.4
    assert not paused.any() or apart[paused].mean() < 0.05
    # the mouth opens and shuts about as often as people speak syllables (2 to 8 a second), it does not tremble
    turns = np.count_nonzero(np.diff(np.sign(np.diff(spoken.channels[:, JAW]))) != 0) / 2
    assert 0.7 < turns / times[-1] < 8
