"""The offset between sound and picture: a made-up face that speaks the sample's voice, on time and not."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.signal import correlate, resample_poly

from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.arrays import F32
from backend.contract.channels import CHANNEL_INDEX
from backend.contract.progress import Reporter
from backend.media.audio_io import SAMPLE_RATE, load_audio
from backend.media.decode import probe_video
from backend.pipeline.scan import measure_selection_offset, scan_footage, write_audio
from backend.speech.av_sync import NATURAL_LEAD, measure_audio_offset
from backend.speech.features import SpeechFeatures, analyze_speech
from backend.synthetic import lip_sync, voice
from backend.synthetic.phones import FOOTAGE_LINES, schedule_phones
from backend.tracking.detection import topology as topo
from backend.tracking.detection.selection import SegmentSelection

CLIPS = Path(os.environ.get("PORTRAIT_ACTOR_CLIPS", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
needs_clips = pytest.mark.skipif(not (CLIPS / "hard").is_dir(), reason="the real clips are not on this machine")

SECONDS, FPS = 16.0, 25.0


class Spoken:
    """16 seconds of the sample's voice at 16 kHz, and the landmarks of a face that sways while its mouth speaks them.

    The mouth leads by what real mouths lead by, so that the sound is neither late nor early.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        said = schedule_phones(
            [text for _, text in FOOTAGE_LINES], rng, lead_seconds=0.6, pause_seconds=0.6, min_seconds=SECONDS
        )
        self.samples = resample_poly(voice.synthesize_speech(said, 4, SECONDS), 2, 3).astype(np.float32)
        self.track: SpeechFeatures = analyze_speech(self.samples)
        times = np.arange(round(SECONDS * FPS)) / FPS
        channels = lip_sync.lip_channels(said, times + NATURAL_LEAD)
        face = rng.uniform(-60, 60, (topo.LANDMARK_COUNT, 2))
        points = np.tile(face, (len(times), 1, 1))
        lower = [*topo.LIP_INNER_LOWER, *topo.LIP_OUTER_LOWER, topo.CHIN]
        points[:, lower, 1] += (
            20 * (channels[:, CHANNEL_INDEX["jawOpen"]] - 0.8 * channels[:, CHANNEL_INDEX["mouthClose"]])[:, None]
        )
        corners = [*topo.LIP_CORNER_LEFT, *topo.LIP_CORNER_RIGHT]
        points[:, corners, 0] *= 1 - 0.3 * channels[:, CHANNEL_INDEX["mouthPucker"]][:, None]
        sway = np.exp(0.1j * np.sin(3 * times)) * (1 + 0.1 * np.sin(2 * times))
        turned = (points[..., 0] + 1j * points[..., 1]) * sway[:, None] + (300 + 20 * np.sin(5 * times))[:, None]
        noise = rng.normal(0, 0.3, (len(times), topo.LANDMARK_COUNT, 3))
        self.landmarks = (np.stack([turned.real, turned.imag, 0 * turned.real], -1) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def spoken() -> Spoken:
    return Spoken()


def test_sound_on_time_is_left_alone(spoken: Spoken) -> None:
    offset = measure_audio_offset(spoken.track, spoken.landmarks, FPS)
    assert abs(offset.seconds) < 0.02 and not offset.is_certain
    assert abs(offset.lag - NATURAL_LEAD) < 0.03 and offset.correlation > 0.3 and offset.stability > 0.95


@pytest.mark.parametrize("late", [-0.3, -0.2, 0.2, 0.3])
def test_a_shift_is_found_and_sure(spoken: Spoken, late: float) -> None:
    size = round(abs(late) * SAMPLE_RATE)
    quiet = np.zeros(size, np.float32)
    moved = np.r_[quiet, spoken.samples] if late > 0 else spoken.samples[size:]
    offset = measure_audio_offset(analyze_speech(moved), spoken.landmarks, FPS)
    assert offset.is_certain and abs(offset.seconds - late) < 0.04


@pytest.mark.parametrize("late", [-0.06, 0.06])
def test_what_may_be_the_persons_own_is_left_alone(spoken: Spoken, late: float) -> None:
    assert not measure_audio_offset(spoken.track, spoken.landmarks, FPS, start_seconds=-late).is_certain


def test_another_voice_is_never_sure(spoken: Spoken) -> None:
    offset = measure_audio_offset(spoken.track, spoken.landmarks[::-1], FPS)
    assert not offset.is_certain and offset.correlation < 0.3


def test_frames_without_a_face_and_too_little_footage(spoken: Spoken) -> None:
    landmarks = spoken.landmarks.copy()
    landmarks[100:140] = np.nan
    assert measure_audio_offset(spoken.track, landmarks, FPS, start_seconds=-0.2).is_certain
    few = measure_audio_offset(spoken.track, spoken.landmarks[:60], FPS)
    assert np.isnan(few.lag) and few.seconds == 0 and not few.is_certain
    assert np.isnan(measure_audio_offset(spoken.track, np.full_like(landmarks, np.nan), FPS).lag)


class Notes(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def film(path: Path, samples: F32) -> Path:
    """A grey film of the whole length with this sound."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=25)
        picture.width = picture.height = 32
        sound = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for _ in range(round(SECONDS * FPS)):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), "rgb24")))
        container.mux(picture.encode())
        for i in range(0, len(samples), 1024):
            pcm = (samples[None, i : i + 1024] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm), "s16", "mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, i
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


@pytest.mark.parametrize("late, first", [(0.2, 0), (-0.2, 25), (0.0, 25)])
def test_the_written_sound_is_moved_to_the_mouth(tmp_path: Path, spoken: Spoken, late: float, first: int) -> None:
    size = round(abs(late) * SAMPLE_RATE)
    quiet = np.zeros(size, np.float32)
    moved = np.r_[quiet, spoken.samples][: len(spoken.samples)] if late >= 0 else np.r_[spoken.samples[size:], quiet]
    clip = film(tmp_path / "clip.mkv", moved)
    folder = ActorFolder.create(tmp_path / "a.actor", ActorInfo(fps=FPS))
    chosen = SegmentSelection(first, len(spoken.landmarks) - 1, spoken.landmarks[first:])
    reporter = Notes()
    assert write_audio(clip, folder, chosen, probe_video(clip), reporter)
    written = load_audio(folder.file_path("audio.wav"))
    assert len(written) == (len(spoken.landmarks) - first) / FPS * SAMPLE_RATE
    figures = folder.info.figures
    assert figures["sound_offset_corrected"] is (late != 0)
    assert figures["sound_offset_ms"] == pytest.approx(1000 * late, abs=40)
    words = "too late" if late > 0 else "too early"
    assert [words in note for note in reporter.notes] == ([True] if late else [])
    straight = spoken.samples[round(first / FPS * SAMPLE_RATE) :]
    ahead = np.argmax(correlate(straight, written, method="fft")) - (len(written) - 1)
    assert ahead / SAMPLE_RATE == pytest.approx(figures["sound_offset_ms"] / 1000 - late, abs=1e-3)


def test_a_clip_without_usable_sound_gives_an_actor_that_cannot_speak(tmp_path: Path, spoken: Spoken) -> None:
    clip = film(tmp_path / "clip.mkv", np.zeros(round(SECONDS * SAMPLE_RATE), np.float32))
    folder, reporter = ActorFolder.create(tmp_path / "a.actor", ActorInfo(fps=FPS)), Notes()
    chosen = SegmentSelection(0, len(spoken.landmarks) - 1, spoken.landmarks)
    assert not write_audio(clip, folder, chosen, probe_video(clip), reporter)
    assert "silent" in reporter.notes[0] and not folder.file_path("audio.wav").exists()


def test_a_voice_that_is_not_the_persons_is_told(tmp_path: Path, spoken: Spoken) -> None:
    rng = np.random.default_rng(0)
    clip = film(tmp_path / "clip.mkv", (0.1 * rng.standard_normal(len(spoken.samples))).astype(np.float32))
    folder, reporter = ActorFolder.create(tmp_path / "a.actor", ActorInfo(fps=FPS)), Notes()
    write_audio(
        clip, folder, SegmentSelection(0, len(spoken.landmarks) - 1, spoken.landmarks), probe_video(clip), reporter
    )
    assert folder.info.figures["sound_offset_corrected"] is False
    assert any("does not follow the sound" in note for note in reporter.notes)


@needs_clips
@pytest.mark.parametrize("clip, late", [("hard/hard_audio_late_200ms.mp4", 0.2), ("train/train_obama_pd_20s.mp4", 0.0)])
def test_the_late_clip_is_found_and_its_corrected_twin_left_alone(clip: str, late: float) -> None:
    info, _, chosen = scan_footage(CLIPS / clip, None, Reporter())
    offset = measure_selection_offset(load_audio(CLIPS / clip), chosen, info.fps)
    assert offset.is_certain is (late != 0) and abs(offset.seconds - late) <= 0.04
