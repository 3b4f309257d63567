"""Decoding against clips made by code: every clip's frames carry their own number, corners and colours."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backend.protocol import UserError
from backend.video import decode, timing

Picture = NDArray[np.uint8]
WIDTH, HEIGHT = 96, 64
CORNERS = {
    "top left": (220, 30, 30),
    "top right": (30, 200, 30),
    "bottom left": (30, 30, 220),
    "bottom right": (230, 230, 230),
}
REPO = Path(__file__).resolve().parents[2]


def numbered(index: int, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """A picture with its own colour in each corner and its number as eight black or white bars in the middle."""
    picture = np.full((height, width, 3), 90, np.uint8)
    h, w = height // 4, width // 4
    picture[:h, :w] = CORNERS["top left"]
    picture[:h, -w:] = CORNERS["top right"]
    picture[-h:, :w] = CORNERS["bottom left"]
    picture[-h:, -w:] = CORNERS["bottom right"]
    for bit, x in enumerate(np.arange(8) * width // 8):
        picture[h + 4 : -h - 4, x : x + width // 8] = 255 if index >> bit & 1 else 0
    return picture


def number(picture: Picture) -> int:
    height, width = picture.shape[:2]
    bars = picture[height // 2, width // 16 :: width // 8].mean(axis=-1)
    return sum(1 << bit for bit, bar in enumerate(bars[:8]) if bar > 127)


def write_clip(
    path: Path,
    pictures: Sequence[Picture],
    *,
    times: Sequence[float] | None = None,
    rate: Fraction | int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    setup: Callable[[av.VideoStream], None] | None = None,
    container_options: dict[str, str] | None = None,
    source: str = "rgb24",
) -> Path:
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], pix_fmt
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 90000)
        if setup:
            setup(stream)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format=source)
            if times is None:
                frame.pts, frame.time_base = i, 1 / Fraction(rate)
            else:
                frame.pts, frame.time_base = round(times[i] * 90000), Fraction(1, 90000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbers(path: Path, fps: float | None = None) -> list[int]:
    return [number(picture) for _, _, picture in decode.frames(path, fps)]


def corner(picture: Picture, name: str) -> NDArray[np.float64]:
    y = 4 if "top" in name else picture.shape[0] - 5
    x = 4 if "left" in name else picture.shape[1] - 5
    return picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(0)


def assert_upright(picture: Picture) -> None:
    for name, colour in CORNERS.items():
        assert np.abs(corner(picture, name) - colour).max() < 12, name


@pytest.mark.parametrize("rate", [25, 30, Fraction(30000, 1001), 50, Fraction(24000, 1001)])
def test_a_constant_clip_comes_through_frame_by_frame(tmp_path: Path, rate: Fraction) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [numbered(i) for i in range(40)], rate=rate)
    info = decode.probe(clip)
    assert info.fps == pytest.approx(float(rate), rel=1e-6) and not info.variable
    assert (info.width, info.height, info.codec, info.has_audio) == (WIDTH, HEIGHT, "h264", False)
    got = list(decode.frames(clip))
    assert [i for i, _, _ in got] == list(range(40)) == [number(p) for _, _, p in got]
    assert info.frame_count == 40 and info.duration == pytest.approx(40 / float(rate))
    assert [t for _, t, _ in got] == pytest.approx([i / float(rate) for i in range(40)])


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".mov", ".ts"])
def test_containers(tmp_path: Path, suffix: str) -> None:
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    options = (
        {"deadline": "realtime", "cpu-used": "8", "crf": "10"} if codec == "libvpx-vp9" else {"qmin": "1", "qmax": "3"}
    )
    clip = write_clip(tmp_path / f"clip{suffix}", [numbered(i) for i in range(20)], rate=Fraction(30000, 1001),
                      codec=codec, options=options)  # fmt: skip
    assert decode.probe(clip).fps == pytest.approx(30000 / 1001, rel=1e-5)
    assert numbers(clip) == list(range(20))


def test_variable_rate_takes_the_nearest_frame(tmp_path: Path) -> None:
    steps = [0.04] * 10 + [0.08, 0.02, 0.12, 0.04] + [0.04] * 10
    times = [0.0, *itertools.accumulate(steps)]
    clip = write_clip(tmp_path / "clip.mp4", [numbered(i) for i in range(len(times))], times=times)
    info = decode.probe(clip)
    assert info.variable and info.fps == 25
    got = numbers(clip)
    assert len(got) == info.frame_count
    stored = np.array(times)
    for i, shown in enumerate(got):
        distance = np.abs(stored - i / 25)
        assert distance[shown] <= distance.min() + 1e-4, (i, shown)


@pytest.mark.parametrize("fps", [12.5, 24, 50])
def test_asked_rate(tmp_path: Path, fps: float) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [numbered(i) for i in range(30)])
    got = numbers(clip, fps)
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
    kept = []  # stamps that run backwards are ignored
    for time, frame in stamped:
        if not kept or time > kept[-1][0]:
            kept.append((time, frame))
    when = {id(frame): time for time, frame in kept}
    got = list(timing.at_constant_rate(iter(stamped), fps))  # type: ignore[arg-type]
    assert [i for i, _ in got] == list(range(len(got))) and got
    for index, frame in got:
        best = min(abs(time - index / fps) for time, _ in kept)
        assert abs(when[id(frame)] - index / fps) <= best + 1e-6


@pytest.mark.parametrize(("degrees", "rotation"), [(-90, 90), (90, 270), (180, 180), (0, 0)])
@pytest.mark.parametrize("mirror", [False, True])
def test_display_matrix_is_applied(tmp_path: Path, degrees: int, rotation: int, mirror: bool) -> None:
    """The stored picture is turned the other way, as a phone does, so the result must stand upright."""
    upright = numbered(5)
    # The matrix turns first and mirrors then; np.rot90 turns counter-clockwise.
    stored = np.rot90(upright[:, ::-1] if mirror else upright, rotation // 90)
    clip = write_clip(
        tmp_path / "clip.mov",
        [np.ascontiguousarray(stored)] * 5,
        setup=lambda stream: stream.set_display_rotation(degrees, hflip=mirror),
    )
    info = decode.probe(clip)
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    _, _, picture = next(decode.frames(clip))
    assert picture.flags.c_contiguous
    assert_upright(picture)
    if not mirror:
        assert info.rotation == rotation


def test_interlaced_is_deinterlaced(tmp_path: Path) -> None:
    """A bar moves 6 px between the fields: woven together it combs; deinterlaced it must not."""
    fields = []
    for i in range(40):
        field = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        field[:, 2 * i : 2 * i + 12] = 220
        fields.append(field)
    woven = []
    for even, odd in zip(fields[::2], fields[1::2], strict=True):
        picture = even.copy()
        picture[1::2] = odd[1::2]
        woven.append(picture)

    def combing(picture: Picture) -> float:
        grey = picture.astype(float).mean(-1)
        return float(np.abs(grey[2:] + grey[:-2] - 2 * grey[1:-1]).mean())

    clip = write_clip(tmp_path / "clip.mp4", woven, options={"x264-params": "tff=1", "crf": "5", "preset": "ultrafast"})
    assert decode.probe(clip).interlaced
    got = [picture for _, _, picture in decode.frames(clip)]
    assert len(got) == len(woven)
    assert combing(woven[5]) > 10
    assert max(combing(p) for p in got[1:-1]) < 0.25 * combing(woven[5])


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "source"),
    [("libx265", "yuv420p10le", "rgb24"), ("libx265", "yuv420p", "rgb24"), ("ffv1", "gray", "gray"),
     ("ffv1", "gray16le", "gray"), ("libx264", "yuv444p", "rgb24"), ("ffv1", "bgr0", "rgb24")],
)  # fmt: skip
def test_codecs_and_depths(tmp_path: Path, codec: str, pix_fmt: str, source: str) -> None:
    pictures = [numbered(i) for i in range(12)]
    stored = [p.mean(-1).astype(np.uint8) for p in pictures] if source == "gray" else pictures
    options = {"x265-params": "log-level=none", "crf": "8", "preset": "ultrafast"} if codec == "libx265" else {}
    clip = write_clip(tmp_path / "clip.mkv", stored, codec=codec, pix_fmt=pix_fmt, options=options, source=source)
    got = [p for _, _, p in decode.frames(clip)]
    assert [number(p) for p in got] == list(range(12))
    assert all(p.shape == (HEIGHT, WIDTH, 3) and p.dtype == np.uint8 for p in got)
    if source == "rgb24":
        assert_upright(got[3])
    else:
        assert np.abs(got[3].astype(int) - stored[3][..., None]).max() <= 2


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(2), (192, 64)), (Fraction(1, 2), (96, 128)), (Fraction(64, 45), (137, 64))]
)
def test_pixels_are_squared(tmp_path: Path, aspect: Fraction, size: tuple[int, int]) -> None:
    def setup(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = aspect
        stream.sample_aspect_ratio = aspect

    clip = write_clip(tmp_path / "clip.mkv", [numbered(i) for i in range(4)], setup=setup)
    info = decode.probe(clip)
    assert (info.width, info.height) == size
    _, _, picture = next(decode.frames(clip))
    assert picture.shape == (size[1], size[0], 3)
    assert_upright(picture)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("space", "kr", "kb"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (9, 0.2627, 0.0593), (2, 0.299, 0.114)]
)
def test_colour_matrix_and_range(tmp_path: Path, space: int, kr: float, kb: float, full: bool) -> None:
    """A colour coded by hand with each matrix (ITU-R BT.709, BT.601, BT.2020; unspecified SD is BT.601) comes back."""
    wanted = np.array([200, 60, 30])
    r, g, b = wanted / 255
    luma = kr * r + (1 - kr - kb) * g + kb * b
    chroma = np.array([(b - luma) / 2 / (1 - kb), (r - luma) / 2 / (1 - kr)])
    yuv = [255 * luma, *(255 * chroma + 128)] if full else [16 + 219 * luma, *(128 + 224 * chroma)]
    planes = np.concatenate(
        [np.full((HEIGHT, WIDTH), round(yuv[0])), np.full((HEIGHT // 4, WIDTH), round(yuv[1])),
         np.full((HEIGHT // 4, WIDTH), round(yuv[2]))]
    ).astype(np.uint8)  # fmt: skip
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.colorspace = space
        stream.codec_context.color_range = 2 if full else 1
        for i in range(3):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.colorspace, frame.color_range, frame.pts, frame.time_base = (
                space,
                2 if full else 1,
                i,
                Fraction(1, 25),
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _, _, picture = next(decode.frames(path))
    assert np.abs(picture.reshape(-1, 3).mean(0) - wanted).max() < 2.5


def test_hdr_is_brought_to_display_range(tmp_path: Path) -> None:
    """HLG reference white (75 % signal, BT.2408) must look nearly white, not 75 % grey."""
    signal = np.full((HEIGHT * 3 // 2, WIDTH), 512, np.uint16)
    signal[:HEIGHT] = round(64 + 0.75 * 876)
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        options = {"x265-params": "log-level=none", "qp": "2", "preset": "ultrafast"}
        stream = container.add_stream("libx265", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_trc, context.color_primaries, context.color_range = 9, 18, 9, 1
        for i in range(3):
            frame = av.VideoFrame.from_ndarray(signal, format="yuv420p10le")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            frame.colorspace, frame.color_trc, frame.color_primaries, frame.color_range = 9, 18, 9, 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _, _, picture = next(decode.frames(path))
    assert picture.mean() > 230 and np.ptp(picture.reshape(-1, 3).mean(0)) < 4


def test_broken_tail_ends_with_a_note(tmp_path: Path) -> None:
    pictures = [numbered(i, 192, 128) for i in range(100)]
    clip = write_clip(tmp_path / "clip.mp4", pictures, container_options={"movflags": "faststart"})
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) * 6 // 10])
    notes: list[str] = []
    got = [number(p) for _, _, p in decode.frames(clip, note=notes.append)]
    assert 20 < len(got) < 90 and got == list(range(len(got)))
    assert len(notes) == 1 and "breaks off" in notes[0]
    assert decode.probe(clip).frame_count == pytest.approx(len(got), abs=5)


def test_damaged_middle_is_survived(tmp_path: Path) -> None:
    pictures = [numbered(i, 192, 128) for i in range(100)]
    clip = write_clip(tmp_path / "clip.mkv", pictures, options={"crf": "10", "preset": "ultrafast", "g": "10"})
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1000] = np.random.default_rng(0).bytes(1000)
    clip.write_bytes(bytes(data))
    got = [number(p) for _, _, p in decode.frames(clip, fps=25)]
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
        decode.probe(path)
    assert failure.value.code == "not_a_video" and "no moving picture" in failure.value.message


def _text(path: Path) -> None:
    path.write_text("This is a shopping list.\n" * 50, encoding="utf-8")


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(20000))


def _play_list(path: Path) -> None:
    """ffmpeg's own play list: opening it would read whatever file it names."""
    write_clip(path.with_name("other.mp4"), [numbered(i) for i in range(3)])
    path.write_text("ffconcat version 1.0\nfile other.mp4\n", encoding="utf-8")


def _picture(path: Path) -> None:
    frame = av.VideoFrame.from_ndarray(numbered(1), format="rgb24")
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
    for read in (decode.probe, lambda p: next(decode.frames(p))):
        with pytest.raises(UserError) as failure:
            read(path)
        assert failure.value.code == code
        assert failure.value.message.endswith(".") and failure.value.remedy
        assert "clip.mp4" in failure.value.message


def test_a_header_without_pictures_is_refused(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [numbered(0, 192, 128)] * 3, container_options={"movflags": "faststart"})
    data = clip.read_bytes()
    clip.write_bytes(data[: data.index(b"mdat") + 4])
    with pytest.raises(UserError) as failure:
        decode.probe(clip)
    assert failure.value.code in ("no_frames", "not_a_video")


@pytest.mark.parametrize("name", ["a b 'c' \"d\".mp4", "портрет 肖像.mp4", "%03d.mp4", "concat:x.mp4", "-i.mp4"])
def test_any_file_name(tmp_path: Path, name: str) -> None:
    if os.name == "nt" and set(name) & set('":'):
        pytest.skip("not a file name on Windows")
    write_clip(tmp_path / "plain.mp4", [numbered(i) for i in range(3)]).rename(tmp_path / name)
    assert numbers(tmp_path / name) == [0, 1, 2]


def test_frame_rate_must_be_possible(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [numbered(0)] * 2)
    for fps in (0, -1, float("nan"), 1e9):
        with pytest.raises(UserError, match="frames per second"):
            next(decode.frames(clip, fps))


def test_repeated_frames_can_be_drawn_on(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [numbered(i) for i in range(3)])
    for _, _, picture in decode.frames(clip, 50):
        assert picture[0, 0, 0] > 100
        picture[:] = 0


@pytest.mark.skipif(os.name == "nt", reason="needs the resource module")
def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    """500 frames of 640×360 are 346 MB; streaming them takes a small part of it."""
    pictures = [numbered(i, 640, 360) for i in range(5)]
    clip = write_clip(tmp_path / "clip.mp4", pictures * 100)
    script = (
        "import resource, sys; from pathlib import Path; from backend.video.decode import frames\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "walk = frames(Path(sys.argv[1])); [next(walk) for _ in range(30)]; before = peak()\n"
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
    info = decode.probe(path)
    assert (info.width, info.height) == size and info.fps == pytest.approx(fps, abs=0.05)
    assert sum(1 for _ in decode.frames(path)) == info.frame_count == pytest.approx(count, abs=2)
