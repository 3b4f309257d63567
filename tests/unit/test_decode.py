"""Decoding against clips made by code: frames, rates, containers, damage."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_clips import HEIGHT, WIDTH, numbered_image, read_number, read_numbers, write_clip

from backend.contract.errors import UserError
from backend.media import decode, timing

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("rate", [25, 30, Fraction(30000, 1001), 50, Fraction(24000, 1001)])
def test_a_constant_clip_comes_through_frame_by_frame(tmp_path: Path, rate: Fraction) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [numbered_image(i) for i in range(40)], rate=rate)
    info = decode.probe_video(clip)
    assert info.fps == pytest.approx(float(rate), rel=1e-6) and not info.is_variable_rate
    assert (info.width, info.height, info.codec, info.has_audio) == (WIDTH, HEIGHT, "h264", False)
    got = list(decode.read_frames(clip))
    assert [i for i, _, _ in got] == list(range(40)) == [read_number(p) for _, _, p in got]
    assert info.frame_count == 40 and info.duration == pytest.approx(40 / float(rate))
    assert [t for _, t, _ in got] == pytest.approx([i / float(rate) for i in range(40)])


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".mov", ".ts"])
def test_containers(tmp_path: Path, suffix: str) -> None:
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    options = (
        {"deadline": "realtime", "cpu-used": "8", "crf": "10"} if codec == "libvpx-vp9" else {"qmin": "1", "qmax": "3"}
    )
    clip = write_clip(tmp_path / f"clip{suffix}", [numbered_image(i) for i in range(20)], rate=Fraction(30000, 1001),
                      codec=codec, options=options)  # fmt: skip
    assert decode.probe_video(clip).fps == pytest.approx(30000 / 1001, rel=1e-5)
    assert read_numbers(clip) == list(range(20))


def test_variable_rate_takes_the_nearest_frame(tmp_path: Path) -> None:
    steps = [0.04] * 10 + [0.08, 0.02, 0.12, 0.04] + [0.04] * 10
    times = [0.0, *itertools.accumulate(steps)]
    clip = write_clip(tmp_path / "clip.mp4", [numbered_image(i) for i in range(len(times))], times=times)
    info = decode.probe_video(clip)
    assert info.is_variable_rate and info.fps == 25
    got = read_numbers(clip)
    assert len(got) == info.frame_count
    stored = np.array(times)
    for i, shown in enumerate(got):
        distance = np.abs(stored - i / 25)
        assert distance[shown] <= distance.min() + 1e-4, (i, shown)


@pytest.mark.parametrize("fps", [12.5, 24, 50])
def test_asked_rate(tmp_path: Path, fps: float) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [numbered_image(i) for i in range(30)])
    got = read_numbers(clip, fps)
    assert abs(len(got) - 30 / 25 * fps) <= 1
    assert all(abs(shown / 25 - i / fps) <= 0.5 / 25 + 1e-6 for i, shown in enumerate(got))


class _Stamp:
    """Stands for a decoded frame where only identity counts."""


@settings(max_examples=200, deadline=None)
@given(
    times=st.lists(st.floats(0, 4), min_size=1, max_size=30),
    fps=st.sampled_from([5.0, 24.0, 25.0, 29.97, 60.0]),
)
def test_grid_is_gapless_and_nearest(times: list[float], fps: float) -> None:
    """Whatever the time stamps: indices count up from 0, and each frame is as near in time as any later-stamped one."""
    times = [0.0, *times]
    stamped = [(t, _Stamp()) for t in times]
    kept: list[tuple[float, _Stamp]] = []  # stamps that run backwards are ignored
    for time, frame in stamped:
        if not kept or time > kept[-1][0]:
            kept.append((time, frame))
    when = {id(frame): time for time, frame in kept}
    got = list(timing.resample_to_constant_rate(iter(stamped), fps))  # type: ignore[arg-type]
    assert [i for i, _ in got] == list(range(len(got))) and got
    for index, nearest in got:
        best = min(abs(time - index / fps) for time, _ in kept)
        assert abs(when[id(nearest)] - index / fps) <= best + 1e-6


def test_broken_tail_ends_with_a_note(tmp_path: Path) -> None:
    pictures = [numbered_image(i, 192, 128) for i in range(100)]
    clip = write_clip(tmp_path / "clip.mp4", pictures, container_options={"movflags": "faststart"})
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) * 6 // 10])
    notes: list[str] = []
    got = [read_number(p) for _, _, p in decode.read_frames(clip, on_note=notes.append)]
    assert 20 < len(got) < 90 and got == list(range(len(got)))
    assert len(notes) == 1 and "breaks off" in notes[0]
    assert decode.probe_video(clip).frame_count == pytest.approx(len(got), abs=5)


def test_damaged_middle_is_survived(tmp_path: Path) -> None:
    pictures = [numbered_image(i, 192, 128) for i in range(100)]
    clip = write_clip(tmp_path / "clip.mkv", pictures, options={"crf": "10", "preset": "ultrafast", "g": "10"})
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1000] = np.random.default_rng(0).bytes(1000)
    clip.write_bytes(bytes(data))
    got = [read_number(p) for _, _, p in decode.read_frames(clip, fps=25)]
    assert len(got) >= 90, "what follows the damage must come through, in time with the sound"
    agreeing = sum(i == n for i, n in enumerate(got))
    assert agreeing >= 80


def test_a_sound_file_whole_or_not_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UserError) as failure:
        decode.probe_video(path)
    assert failure.value.code == "not_a_video" and "no moving picture" in failure.value.message


def _text(path: Path) -> None:
    path.write_text("This is a shopping list.\n" * 50, encoding="utf-8")


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(20000))


def _play_list(path: Path) -> None:
    """ffmpeg's own play list: opening it would read whatever file it names."""
    write_clip(path.with_name("other.mp4"), [numbered_image(i) for i in range(3)])
    path.write_text("ffconcat version 1.0\nfile other.mp4\n", encoding="utf-8")


def _picture(path: Path) -> None:
    frame = av.VideoFrame.from_ndarray(numbered_image(1), format="rgb24")
    frame.save(path.with_suffix(".png"))
    path.with_suffix(".png").rename(path)


@pytest.mark.parametrize(
    ("make", "code"),
    [(_text, "not_a_video"), (_noise, "not_a_video"), (_play_list, "not_a_video"), (_picture, "not_a_video"),
     (Path.touch, "empty_file"), (Path.mkdir, "missing_file"), (lambda path: None, "missing_file")],
)  # fmt: skip
def test_what_is_no_video_is_refused_in_one_sentence(tmp_path: Path, make: Callable[[Path], None], code: str) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    for read in (decode.probe_video, lambda p: next(decode.read_frames(p))):
        with pytest.raises(UserError) as failure:
            read(path)
        assert failure.value.code == code
        assert failure.value.message.endswith(".") and failure.value.remedy
        assert "clip.mp4" in failure.value.message


def test_a_header_without_pictures_is_refused(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "clip.mp4", [numbered_image(0, 192, 128)] * 3, container_options={"movflags": "faststart"}
    )
    data = clip.read_bytes()
    clip.write_bytes(data[: data.index(b"mdat") + 4])
    with pytest.raises(UserError) as failure:
        decode.probe_video(clip)
    assert failure.value.code in ("no_frames", "not_a_video")


@pytest.mark.parametrize("name", ["a b 'c' \"d\".mp4", "портрет 肖像.mp4", "%03d.mp4", "concat:x.mp4", "-i.mp4"])
def test_any_file_name(tmp_path: Path, name: str) -> None:
    if os.name == "nt" and set(name) & set('":'):
        pytest.skip("not a file name on Windows")
    write_clip(tmp_path / "plain.mp4", [numbered_image(i) for i in range(3)]).rename(tmp_path / name)
    assert read_numbers(tmp_path / name) == [0, 1, 2]


def test_frame_rate_must_be_possible(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [numbered_image(0)] * 2)
    for fps in (0, -1, float("nan"), 1e9):
        with pytest.raises(UserError, match="frames per second"):
            next(decode.read_frames(clip, fps))


def test_repeated_frames_can_be_drawn_on(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [numbered_image(i) for i in range(3)])
    for _, _, picture in decode.read_frames(clip, 50):
        assert picture[0, 0, 0] > 100
        picture[:] = 0


@pytest.mark.skipif(os.name == "nt", reason="needs the resource module")
def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    """500 frames of 640×360 are 346 MB; streaming them takes a small part of it."""
    pictures = [numbered_image(i, 640, 360) for i in range(5)]
    clip = write_clip(tmp_path / "clip.mp4", pictures * 100)
    script = (
        "import resource, sys; from pathlib import Path; from backend.media.decode import read_frames\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "walk = read_frames(Path(sys.argv[1])); [next(walk) for _ in range(30)]; before = peak()\n"
        "count = 30 + sum(1 for _ in walk); print(count, (peak() - before) // (1 if sys.platform == 'darwin' else 1))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(clip)], cwd=REPO, capture_output=True, text=True, check=True
    )
    count, grown = map(int, answer.stdout.split())
    if sys.platform == "darwin":
        grown //= 1024
    assert count == 500 and grown < 60_000, f"{grown} kB more for 470 frames"


def _clips() -> Path:
    return Path(os.environ.get("PORTRAIT_ACTOR_CLIPS", REPO.parent / "shared" / "data"))


@pytest.mark.parametrize(
    ("name", "size", "fps", "count"),
    [("hard/hard_no_face_vfr.mp4", (960, 540), 24, 95),
     ("hard/hard_noaudio_1080p_2997fps.mp4", (1920, 1080), 29.97, 300),
     ("hard/hard_face_then_noface_vfr.mov", (960, 540), 24, 154),
     ("extra/extra_trump_pd_10s.mp4", (512, 512), 25, 250)],
)  # fmt: skip
def test_real_clips(name: str, size: tuple[int, int], fps: float, count: int) -> None:
    path = _clips() / name
    if not path.exists():
        pytest.skip(f"{name} is not here (PORTRAIT_ACTOR_CLIPS)")
    info = decode.probe_video(path)
    assert (info.width, info.height) == size and info.fps == pytest.approx(fps, abs=0.05)
    assert sum(1 for _ in decode.read_frames(path)) == info.frame_count == pytest.approx(count, abs=2)
