"""Labels that are not UTF-8, as many cameras and recorders write them: they never decide whether a file can be read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_clips import HEIGHT, WIDTH, numbered_image, read_number

from backend.media import decode
from backend.media.audio_io import SAMPLE_RATE, load_audio
from backend.media.encode import VideoWriter

PLACEHOLDER = "the title goes here"
FRAMES = 10
SECONDS = 0.4
LABELS = {"cp1251": "Привет, это портрет", "latin-1": "Éléonore à la télé", "shift_jis": "テスト録音です。abc"}


def write_labelled(path: Path, label: bytes, *, has_video: bool, codec: str) -> Path:
    """A file with a tone, and with numbered pictures where asked, whose title is exactly these bytes."""
    label = label[: len(PLACEHOLDER)].ljust(len(PLACEHOLDER))
    with av.open(str(path), "w") as container:
        container.metadata["title"] = PLACEHOLDER
        picture = container.add_stream("mpeg4", rate=25, options={"qmin": "1", "qmax": "3"}) if has_video else None
        sound: Any = container.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for i in range(FRAMES):
                shown = av.VideoFrame.from_ndarray(numbered_image(i), format="rgb24")
                shown.pts, shown.time_base = i, Fraction(1, 25)
                container.mux(picture.encode(shown))
            container.mux(picture.encode())
        tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE)
        frame = av.AudioFrame.from_ndarray((tone[None] * 32767).astype(np.int16), "s16", "mono")
        frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        converter = av.AudioResampler(format=sound.codec_context.format, frame_size=sound.codec_context.frame_size)
        for part in (*converter.resample(frame), *converter.resample(None)):
            container.mux(sound.encode(part))
        container.mux(sound.encode())
    data = path.read_bytes()
    assert data.count(PLACEHOLDER.encode()) == 1
    path.write_bytes(data.replace(PLACEHOLDER.encode(), label))
    with pytest.raises(UnicodeDecodeError):
        label.decode()
    return path


@pytest.mark.parametrize("encoding", LABELS)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov"])
def test_a_video_whose_title_is_not_utf8_is_read(tmp_path: Path, name: str, encoding: str) -> None:
    clip = write_labelled(tmp_path / name, LABELS[encoding].encode(encoding), has_video=True, codec="aac")
    info = decode.probe_video(clip)
    assert (info.width, info.height, info.frame_count, info.has_audio) == (WIDTH, HEIGHT, FRAMES, True)
    assert [read_number(picture) for _, _, picture in decode.read_frames(clip)] == list(range(FRAMES))
    assert np.abs(load_audio(clip)).max() > 0.4


@pytest.mark.parametrize("encoding", LABELS)
@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.aiff", "pcm_s16be")])
def test_a_sound_whose_title_is_not_utf8_is_read(tmp_path: Path, name: str, codec: str, encoding: str) -> None:
    sound = write_labelled(tmp_path / name, LABELS[encoding].encode(encoding), has_video=False, codec=codec)
    samples = load_audio(sound)
    assert len(samples) == pytest.approx(SECONDS * SAMPLE_RATE, abs=1)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.01)


def test_a_sound_whose_title_is_not_utf8_goes_into_a_film(tmp_path: Path) -> None:
    label = LABELS["latin-1"].encode("latin-1")
    sound = write_labelled(tmp_path / "a.wav", label, has_video=False, codec="pcm_s16le")
    with VideoWriter(tmp_path / "film.mp4", WIDTH, HEIGHT, 25, sound) as film:
        for i in range(FRAMES):
            film.write_frame(numbered_image(i))
    assert np.abs(load_audio(tmp_path / "film.mp4")).max() > 0.4
