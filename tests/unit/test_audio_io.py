"""Reading sound: any container, rate and channels, on the video's own time; and failures in one sentence."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from backend.contract.arrays import F32
from backend.contract.errors import UserError
from backend.media.audio_io import SAMPLE_RATE, is_silent, load_audio, save_wav


def tone(seconds: float, rate: int, hertz: float = 440.0) -> F32:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, samples: F32, rate: int, codec: str, *, sound_at: float = 0.0, video: bool = False) -> None:
    """A file with a sound of (channels, S) samples that begins `sound_at` seconds after the video."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=25) if video else None
        layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        if picture is not None:
            picture.width = picture.height = 32
            for i in range(25):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), i * 5, np.uint8), format="rgb24")
                frame.pts = i + 25  # the video does not begin at 0 either
                container.mux(picture.encode(frame))
            container.mux(picture.encode())
        offset = 1.0 + sound_at if video else sound_at
        for i in range(0, samples.shape[1], 1024):
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, i : i + 1024]), "fltp", layout)
            block.sample_rate, block.time_base, block.pts = rate, Fraction(1, rate), round(offset * rate) + i
            container.mux(stream.encode(block))
        container.mux(stream.encode())


def onset(samples: F32) -> float:
    """Seconds at which the sound becomes loud."""
    return float(np.argmax(np.abs(samples) > 0.2)) / SAMPLE_RATE


@pytest.mark.parametrize("rate, channels, name, codec", [
    (8000, 1, "a.wav", "pcm_s16le"), (22050, 1, "a.wav", "pcm_s16le"), (44100, 2, "a.wav", "pcm_s24le"),
    (48000, 2, "a.wav", "pcm_s16le"), (48000, 6, "a.wav", "pcm_f32le"), (96000, 2, "a.wav", "pcm_f32le"),
    (16000, 1, "a.wav", "pcm_u8"), (44100, 1, "b.flac", "flac"), (96000, 2, "b.flac", "flac"),
    (8000, 2, "c.mkv", "pcm_f32le"), (44100, 2, "d.mp3", "libmp3lame"), (22050, 1, "d.mp3", "libmp3lame"),
    (44100, 2, "Größe 'it''s' 话.m4a", "aac"), (48000, 6, "e.mp4", "aac"), (48000, 2, "f.webm", "libopus"),
    (48000, 1, "f.ogg", "libopus"), (48000, 2, "h.mov", "alac"),
    (48000, 2, "i.ts", "ac3"), (44100, 2, "j.avi", "mp2"),
])  # fmt: skip
def test_any_container_rate_and_channels(tmp_path: Path, rate: int, channels: int, name: str, codec: str) -> None:
    path = tmp_path / name
    write(path, np.repeat(tone(1.0, rate)[None], channels, 0), rate, codec)
    samples = load_audio(path)
    assert samples.dtype == np.float32 and samples.ndim == 1
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=SAMPLE_RATE * 0.05)
    middle = samples[SAMPLE_RATE // 4 : 3 * SAMPLE_RATE // 4]
    peak = np.argmax(np.abs(np.fft.rfft(middle))) * SAMPLE_RATE / len(middle)
    assert peak == pytest.approx(440, abs=3)
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.08)  # AAC silences this tone in the bass channel


@pytest.mark.parametrize("name, codec", [
    ("v.mkv", "pcm_s16le"), ("v.mp4", "aac"), ("v.mov", "pcm_s16le"), ("v.mkv", "libopus"), ("v.ts", "mp2"),
])  # fmt: skip
@pytest.mark.parametrize("sound_at", [0.0, 0.2, -0.2])
def test_sample_0_is_the_first_picture(tmp_path: Path, sound_at: float, name: str, codec: str) -> None:
    """Late sound is padded, early sound is cut, encoder delay and edit lists are honoured: a click half a second into
    the video stays there."""
    rate = 48000
    samples = np.zeros(rate, np.float32)
    samples[round((0.5 - sound_at) * rate) :] = tone(0.5 + sound_at, rate)
    write(tmp_path / name, samples[None], rate, codec, sound_at=sound_at, video=True)
    assert onset(load_audio(tmp_path / name)) == pytest.approx(0.5, abs=0.005)


def test_sound_without_video_keeps_its_beginning(tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", tone(0.5, SAMPLE_RATE)[None], SAMPLE_RATE, "pcm_s16le", sound_at=3.0)
    assert len(load_audio(tmp_path / "a.mkv")) == pytest.approx(SAMPLE_RATE // 2, abs=200)


def test_other_rates_on_request(tmp_path: Path) -> None:
    save_wav(tmp_path / "a.wav", tone(1.0, SAMPLE_RATE))
    assert len(load_audio(tmp_path / "a.wav", 24000)) == pytest.approx(24000, abs=100)


def test_saved_is_loaded_and_clipped(tmp_path: Path) -> None:
    samples = np.concatenate([tone(0.2, SAMPLE_RATE), [2.0, -2.0]]).astype(np.float32)
    save_wav(tmp_path / "a.wav", samples)
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), np.clip(samples, -1, 1), atol=2e-4)


def test_silence_is_told_from_a_whisper() -> None:
    assert is_silent(np.zeros(SAMPLE_RATE, np.float32)) and is_silent(np.zeros(0, np.float32))
    assert is_silent(np.full(SAMPLE_RATE, 3e-5, np.float32))
    whisper = np.zeros(10 * SAMPLE_RATE, np.float32)
    whisper[SAMPLE_RATE : SAMPLE_RATE + SAMPLE_RATE // 10] = 0.01 * tone(0.1, SAMPLE_RATE)
    assert not is_silent(whisper)


def test_failures_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no video " * 100)
    (tmp_path / "empty.wav").touch()
    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    for name, code in (("text.mp4", "not_a_sound"), ("empty.wav", "empty_file"), ("mute.mp4", "no_sound"),
                       ("gone.wav", "missing_file")):  # fmt: skip
        with pytest.raises(UserError) as caught:
            load_audio(tmp_path / name)
        assert caught.value.code == code and caught.value.remedy
