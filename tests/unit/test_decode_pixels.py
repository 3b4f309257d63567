"""Decoded pixels against clips made by code: turned, interlaced, deep, wide, coloured and bright as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from video_clips import HEIGHT, WIDTH, assert_upright, numbered_image, read_number, write_clip

from backend.contract.arrays import Image
from backend.media import decode, encode


@pytest.mark.parametrize(("degrees", "rotation"), [(-90, 90), (90, 270), (180, 180), (0, 0)])
@pytest.mark.parametrize("mirror", [False, True])
def test_display_matrix_is_applied(tmp_path: Path, degrees: int, rotation: int, mirror: bool) -> None:
    """The stored picture is turned the other way, as a phone does, so the result must stand upright."""
    upright = numbered_image(5)
    # The matrix turns first and mirrors then; np.rot90 turns counter-clockwise.
    stored = np.rot90(upright[:, ::-1] if mirror else upright, rotation // 90)
    clip = write_clip(
        tmp_path / "clip.mov",
        [np.ascontiguousarray(stored)] * 5,
        configure_stream=lambda stream: stream.set_display_rotation(degrees, hflip=mirror),
    )
    info = decode.probe_video(clip)
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    _, _, picture = next(decode.read_frames(clip))
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

    def combing(picture: Image) -> float:
        grey = picture.astype(float).mean(-1)
        return float(np.abs(grey[2:] + grey[:-2] - 2 * grey[1:-1]).mean())

    clip = write_clip(tmp_path / "clip.mp4", woven, options={"x264-params": "tff=1", "crf": "5", "preset": "ultrafast"})
    assert decode.probe_video(clip).is_interlaced
    got = [picture for _, _, picture in decode.read_frames(clip)]
    assert len(got) == len(woven)
    assert combing(woven[5]) > 10
    assert max(combing(p) for p in got[1:-1]) < 0.25 * combing(woven[5])


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "source"),
    [("libx265", "yuv420p10le", "rgb24"), ("libx265", "yuv420p", "rgb24"), ("ffv1", "gray", "gray"),
     ("ffv1", "gray16le", "gray"), ("libx264", "yuv444p", "rgb24"), ("ffv1", "bgr0", "rgb24")],
)  # fmt: skip
def test_codecs_and_depths(tmp_path: Path, codec: str, pix_fmt: str, source: str) -> None:
    pictures = [numbered_image(i) for i in range(12)]
    stored = [p.mean(-1).astype(np.uint8) for p in pictures] if source == "gray" else pictures
    options = {"x265-params": "log-level=none", "crf": "8", "preset": "ultrafast"} if codec == "libx265" else {}
    clip = write_clip(
        tmp_path / "clip.mkv", stored, codec=codec, pix_fmt=pix_fmt, options=options, source_format=source
    )
    got = [p for _, _, p in decode.read_frames(clip)]
    assert [read_number(p) for p in got] == list(range(12))
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

    clip = write_clip(tmp_path / "clip.mkv", [numbered_image(i) for i in range(4)], configure_stream=setup)
    info = decode.probe_video(clip)
    assert (info.width, info.height) == size
    _, _, picture = next(decode.read_frames(clip))
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
    _, _, picture = next(decode.read_frames(path))
    assert np.abs(picture.reshape(-1, 3).mean(0) - wanted).max() < 2.5


def write_hlg(path: Path, signals: Sequence[float]) -> Path:
    """A grey 10-bit HLG clip in BT.2020, one frame for each signal level 0..1, as phones record it."""
    with av.open(str(path), "w") as container:
        options = {"x265-params": "log-level=none", "qp": "2", "preset": "ultrafast"}
        stream = container.add_stream("libx265", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_trc, context.color_primaries, context.color_range = 9, 18, 9, 1
        for i, signal in enumerate(signals):
            planes = np.full((HEIGHT * 3 // 2, WIDTH), 512, np.uint16)
            planes[:HEIGHT] = round(64 + signal * 876)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p10le")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            frame.colorspace, frame.color_trc, frame.color_primaries, frame.color_range = 9, 18, 9, 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_hdr_is_brought_to_display_range(tmp_path: Path) -> None:
    """HLG reference white (75 % signal, BT.2408) must look nearly white, not 75 % grey."""
    path = write_hlg(tmp_path / "clip.mkv", [0.75] * 3)
    _, _, picture = next(decode.read_frames(path))
    assert picture.mean() > 230 and np.ptp(picture.reshape(-1, 3).mean(0)) < 4


class FreshReformatter:
    """Converts like `VideoReformatter`, but with a new one for every frame."""

    def reformat(self, frame: av.VideoFrame, *args: Any, **options: Any) -> av.VideoFrame:
        return VideoReformatter().reformat(frame, *args, **options)


def test_hlg_frames_equal_those_converted_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_hlg(tmp_path / "clip.mkv", [0.2, 0.5, 0.35])
    pictures = [picture for _, _, picture in decode.read_frames(path)]
    monkeypatch.setattr(decode, "VideoReformatter", FreshReformatter)
    expected = [picture for _, _, picture in decode.read_frames(path)]
    assert len({round(float(picture.mean())) for picture in expected}) == 3, "every frame must differ from the others"
    np.testing.assert_array_equal(pictures, expected)


def count_reformatters(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[VideoReformatter]:
    """The list that every reformatter which the module makes from now on is added to."""
    made: list[VideoReformatter] = []

    def make_reformatter() -> VideoReformatter:
        made.append(VideoReformatter())
        return made[-1]

    monkeypatch.setattr(module, "VideoReformatter", make_reformatter)
    return made


def test_one_reformatter_converts_all_frames_of_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDR tables take seconds to build, so a reformatter per frame makes footage from phones unusable."""
    made = count_reformatters(monkeypatch, decode)
    clip = write_clip(tmp_path / "clip.mp4", [numbered_image(i) for i in range(12)])
    assert len(list(decode.read_frames(clip, fps=25))) == 12
    assert len(made) == 1


def test_one_reformatter_converts_all_frames_of_a_written_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = count_reformatters(monkeypatch, encode)
    with encode.VideoWriter(tmp_path / "film.mp4", WIDTH, HEIGHT, 25) as film:
        for i in range(12):
            film.write_frame(numbered_image(i))
    assert len(made) == 1
