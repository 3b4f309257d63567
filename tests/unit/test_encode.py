"""Films that the writer makes, read back by the decoder and by ffmpeg's own view of the file."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from backend.contract.arrays import F32, U8
from backend.contract.errors import UserError
from backend.media import decode
from backend.media.encode import CompressionSettings, VideoWriter

REPO = Path(__file__).resolve().parents[2]


def picture(index: int, width: int = 64, height: int = 48) -> U8:
    """A smooth ramp with a block that moves with the index."""
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([x * 200 // width + 20, y * 200 // height + 20, np.full_like(x, 120)], axis=-1).astype(np.uint8)
    ramp[8:24, 2 * index : 2 * index + 16] = (230, 40, 40)
    return ramp


def beep(path: Path, rate: int = 16000, start: float = 0.4, seconds: float = 1.2, channels: int = 1) -> Path:
    """Silence, then a 440 Hz tone of 0.2 s from `start`, then silence."""
    time = np.arange(int(seconds * rate)) / rate
    tone = np.where((time >= start) & (time < start + 0.2), 0.5 * np.sin(2 * np.pi * 440 * time), 0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.repeat(tone[:, None], channels, 1) * 32767).astype("<i2").tobytes())
    return path


def sound_of(path: Path) -> tuple[F32, int]:
    with decode.open_media(path, decode.VIDEO_FORMATS) as container:
        parts = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
        return np.concatenate(parts), container.streams.audio[0].rate


def tone_span(path: Path) -> tuple[float, float]:
    samples, rate = sound_of(path)
    loud = np.flatnonzero(np.abs(samples) > 0.2)
    return loud[0] / rate, loud[-1] / rate


def write(path: Path, count: int = 25, size: tuple[int, int] = (64, 48), **options: object) -> Path:
    with VideoWriter(path, *size, 25, **options) as film:  # type: ignore[arg-type]
        for i in range(count):
            film.write_frame(picture(i, *size))
    return path


@pytest.mark.parametrize("size", [(64, 48), (65, 49)])
def test_frames_come_back(tmp_path: Path, size: tuple[int, int]) -> None:
    film = write(tmp_path / "film.mp4", size=size)
    info = decode.probe_video(film)
    assert (info.width, info.height) == (64 + 2 * (size[0] % 2), 48 + 2 * (size[1] % 2))
    assert info.fps == 25 and info.codec == "h264" and not info.has_audio
    got = [p for _, _, p in decode.read_frames(film)]
    assert len(got) == 25
    for i, shown in enumerate(got):
        error = shown[: size[1], : size[0]].astype(float) - picture(i, *size)
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 30, i
        block = error[10:22, 2 * i + 2 : 2 * i + 14].mean((0, 1))
        assert np.abs(block).max() < 4, "a wrong matrix or range would tint the red block"


def test_tags_and_layout(tmp_path: Path) -> None:
    film = write(tmp_path / "jane speaks.mp4", metadata={"artist": "Portrait Actor", "comment": "real"})
    with decode.open_media(film, decode.VIDEO_FORMATS) as container:
        assert container.metadata["comment"].startswith("synthetic media, http://cv.iptc.org/"), "cannot be overridden"
        assert container.metadata["title"] == "jane speaks" and container.metadata["artist"] == "Portrait Actor"
        frame = next(container.decode(video=0))
        assert frame.format.name == "yuv420p"
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)
    data = film.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "the index comes first, so that it plays while it loads"
    assert list(tmp_path.iterdir()) == [film]


@pytest.mark.parametrize(("offset", "channels", "rate"), [(0.0, 1, 16000), (0.25, 2, 44100), (-0.3, 1, 48000)])
def test_sound_lies_where_it_should(tmp_path: Path, offset: float, channels: int, rate: int) -> None:
    sound = beep(tmp_path / "beep.wav", rate=rate, channels=channels)
    film = write(tmp_path / "film.mp4", count=30, audio=sound, audio_offset=offset)
    info = decode.probe_video(film)
    first, last = tone_span(film)
    assert info.has_audio and info.frame_count == 30
    assert first == pytest.approx(0.4 + offset - info.audio_start, abs=0.005)
    assert last == pytest.approx(0.6 + offset - info.audio_start, abs=0.005)
    samples, out_rate = sound_of(film)
    assert len(samples) / out_rate == pytest.approx(30 / 25, abs=0.03), "as long as the film"


def test_short_sound_is_followed_by_silence_and_long_sound_is_cut(tmp_path: Path) -> None:
    short = write(tmp_path / "a.mp4", count=50, audio=beep(tmp_path / "short.wav", seconds=0.7))
    long = write(tmp_path / "b.mp4", count=10, audio=beep(tmp_path / "long.wav", seconds=5, start=0.1))
    for film, seconds in ((short, 2.0), (long, 0.4)):
        samples, rate = sound_of(film)
        assert len(samples) / rate == pytest.approx(seconds, abs=0.03)
    assert np.abs(sound_of(short)[0][-20000:]).max() < 1e-3


def test_sound_and_pictures_are_interleaved(tmp_path: Path) -> None:
    film = write(tmp_path / "film.mp4", count=100, audio=beep(tmp_path / "beep.wav", seconds=4))
    with decode.open_media(film, decode.VIDEO_FORMATS) as container:
        order = sorted((p.pos, p.stream.type) for p in container.demux() if p.size)
    kinds = [kind for _, kind in order]
    assert len(kinds) > 200
    assert "audio" in kinds[: len(kinds) // 3] and "video" in kinds[-len(kinds) // 3 :]


def test_sound_of_a_film_is_taken(tmp_path: Path) -> None:
    first = write(tmp_path / "first.mp4", audio=beep(tmp_path / "beep.wav"))
    assert tone_span(write(tmp_path / "second.mp4", audio=first))[0] == pytest.approx(0.4, abs=0.03)


def test_sound_of_a_film_keeps_its_lag(tmp_path: Path) -> None:
    """A film whose pictures begin 0.5 s after its sound: the tone stays where it was heard beside the pictures."""
    beeping = write(tmp_path / "beeping.mp4", audio=beep(tmp_path / "beep.wav", start=0.8))
    late = tmp_path / "late.mkv"
    with decode.open_media(beeping, decode.VIDEO_FORMATS) as source, av.open(str(late), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in (*source.streams.video, *source.streams.audio)}
        for packet in source.demux():
            if packet.dts is None or packet.pts is None:
                continue
            delay = round(0.5 / packet.time_base) if packet.stream.type == "video" else 0
            packet.pts, packet.dts = packet.pts + delay, packet.dts + delay
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    assert decode.probe_video(late).audio_start == pytest.approx(-0.5, abs=0.05)
    assert tone_span(write(tmp_path / "film.mp4", audio=late))[0] == pytest.approx(0.8 - 0.5, abs=0.05)


def test_bad_sound_is_told_before_anything_is_written(tmp_path: Path) -> None:
    text = tmp_path / "text.wav"
    text.write_text("no sound in here\n" * 100, encoding="utf-8")
    silent = write(tmp_path / "silent.mp4", count=2)
    (tmp_path / "empty.wav").touch()
    for sound, code in ((text, "no_sound"), (silent, "no_sound"), (tmp_path / "empty.wav", "empty_file"),
                        (tmp_path / "none.wav", "missing_file")):  # fmt: skip
        with pytest.raises(UserError) as failure:
            VideoWriter(tmp_path / "film.mp4", 64, 48, 25, audio=sound)
        assert failure.value.code == code
    assert not list(tmp_path.glob("film*"))


def test_failure_leaves_no_half_film_and_keeps_the_old_one(tmp_path: Path) -> None:
    film = write(tmp_path / "film.mp4", count=3)
    old = film.read_bytes()
    with pytest.raises(RuntimeError), VideoWriter(film, 64, 48, 25) as writer:
        writer.write_frame(picture(0))
        raise RuntimeError
    assert film.read_bytes() == old and list(tmp_path.iterdir()) == [film]


def test_wrong_frames_and_sizes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frame is"), VideoWriter(tmp_path / "a.mp4", 64, 48, 25) as writer:
        writer.write_frame(picture(0, 32, 32))
    for size in ((0, 48, 25), (64, 20000, 25), (64, 48, 0), (64, 48, float("nan"))):
        with pytest.raises(UserError, match="cannot be made"):
            VideoWriter(tmp_path / "a.mp4", *size)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no frame"), VideoWriter(tmp_path / "a.mp4", 64, 48, 25):
        pass
    assert not list(tmp_path.iterdir())


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(UserError, match="written"):
            VideoWriter(folder / "film.mp4", 64, 48, 25)


@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_FSIZE")
def test_a_disk_that_takes_no_more_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: every write beyond it fails."""
    script = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        import numpy as np
        from backend.contract.errors import UserError
        from backend.media.encode import VideoWriter
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        noise = np.random.default_rng(0)
        try:
            with VideoWriter(Path(sys.argv[1]), 128, 128, 25) as film:
                for _ in range(60):
                    film.write_frame(noise.integers(0, 255, (128, 128, 3), np.uint8))
        except UserError as error:
            print(error.code, "|", error.message)
        """
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "film.mp4")], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert answer.stdout.startswith("write_failed | ") and "film.mp4" in answer.stdout
    assert not list(tmp_path.iterdir())


def test_the_same_pictures_make_the_same_film(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:320, :320]

    def shot(i: int) -> U8:
        disc = 160 * np.exp(-((x - 160 - 4 * i) ** 2 + (y - 150 - 2 * i) ** 2) / 5000)
        noisy = (40 + 0.1 * x + disc)[..., None] + rng.normal(0, 2.5, (320, 320, 3))
        return np.clip(noisy, 0, 255).astype(np.uint8)

    shots = [shot(i) for i in range(30)]
    films = set()
    for run in range(4):
        path = tmp_path / f"{run}" / "film.mp4"  # one name: it is the title of the film
        path.parent.mkdir()
        with VideoWriter(path, 320, 320, 25) as film:
            for rgb in shots:
                film.write_frame(rgb)
        films.add(path.read_bytes())
    assert len(films) == 1


def test_compression_trades_size_for_likeness_and_sets_keyframes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8)
    films = {
        "fine": CompressionSettings(),
        "rough": CompressionSettings(crf=40),
        "keys": CompressionSettings(keyframe_interval=5),
    }
    for name, compression in films.items():
        with VideoWriter(tmp_path / f"{name}.mp4", 64, 64, 25, compression=compression) as film:
            for frame in noise:
                film.write_frame(frame)
    sizes = {name: (tmp_path / f"{name}.mp4").stat().st_size for name in films}
    assert sizes["rough"] < 0.5 * sizes["fine"]
    keys = {}
    for name in films:
        with decode.open_media(tmp_path / f"{name}.mp4", decode.VIDEO_FORMATS) as film:
            keys[name] = [i for i, frame in enumerate(film.decode(video=0)) if frame.key_frame]
    assert keys["fine"] == [0] and max(np.diff([*keys["keys"], 12])) <= 5
