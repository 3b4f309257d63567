"""Pictures, models, speakers, sounds and films from outside, bent on purpose; see test_outside_data.py."""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import outside_data as outside
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outside_data import READERS, assert_refused
from safetensors.torch import save

from backend.contract.errors import UserError
from backend.media.audio_io import load_audio
from backend.media.image_io import decode_image

FUZZ = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", ["frame", "matte"])
def test_only_pictures_of_the_actors_size_are_decoded(
    tmp_path: Path, name: str, peak_memory_bytes: Callable[[], int]
) -> None:
    reader = READERS[name]
    path = outside.write_valid_file(reader, tmp_path)
    good = np.full((outside.IMAGE_SIDE, outside.IMAGE_SIDE, 4), 255, np.uint8)
    huge = bytearray(reader.make_valid_bytes())
    place = 16 if name == "matte" else huge.index(b"\xff\xc0") + 5
    huge[place : place + 8] = (
        struct.pack(">II", 60000, 60000) if name == "matte" else b"\xea\x60\xea\x60" + huge[place + 4 : place + 8]
    )
    others = [cv2.imencode(kind, good[..., :3])[1].tobytes() for kind in (".bmp", ".tiff", ".webp", ".ppm")]
    small = cv2.imencode(".png", good[:5])[1].tobytes()
    deep = cv2.imencode(".png", good.astype(np.uint16))[1].tobytes()
    for data in (
        bytes(huge),
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        small,
        *others,
        *([deep] if name == "matte" else []),
    ):
        assert_refused(reader, path, data)
    assert peak_memory_bytes() < 2**24
    with pytest.raises(ValueError):
        decode_image(bytes(huge), 4096)
    if name == "matte":  # a chunk that claims two gigabytes
        for rest in (8, 0):
            assert_refused(reader, path, reader.make_valid_bytes()[:-12] + b"\x7f\xff\xff\xffIDAT" + bytes(rest))


def changed(**changes: torch.Tensor) -> bytes:
    return outside.model_bytes(
        {**outside.model_tensors(), **{name.replace("__", "."): value for name, value in changes.items()}}
    )


@pytest.mark.parametrize(
    "data",
    [
        lambda: changed(means=torch.full((12, 3), torch.nan)),
        lambda: changed(means=torch.zeros(12, 3).double()),
        lambda: changed(means=torch.zeros(0, 3)),
        lambda: changed(means=torch.zeros(12, 3, dtype=torch.complex64)),
        lambda: changed(label=torch.full((12,), 200, dtype=torch.uint8)),
        lambda: changed(more=torch.zeros(1)),
        lambda: changed(facial__members=torch.full((6,), -1)),
        lambda: changed(prior__where=torch.zeros(2**40, 0)),
        lambda: changed(prior__where=torch.zeros(300_000, 2, dtype=torch.uint8)),
        lambda: changed(rigid__basis__scale=torch.zeros(1, 500_000, 1)),
        lambda: outside.model_bytes(
            outside.model_tensors(), {"gaussians": 2_000_000, "facial_members": 1, "oral_members": 1}
        ),
        lambda: outside.model_bytes(outside.model_tensors(), {"gaussians": True}),
        lambda: outside.model_bytes(outside.model_tensors(), []),
        lambda: outside.model_bytes(outside.model_tensors(), {"hidden": 10**30}),
        lambda: save(outside.model_tensors()),
        lambda: struct.pack("<Q", 2**60) + b"{}",
        lambda: struct.pack("<Q", 2) + b"[]",
    ],
)
def test_a_bent_model_is_refused_and_takes_no_memory(tmp_path: Path, data: Callable[[], bytes]) -> None:
    reader = READERS["model"]
    path = outside.write_valid_file(reader, tmp_path)
    before = Path("/proc/self/statm").read_text().split()[0] if Path("/proc").exists() else "0"
    assert_refused(reader, path, data())
    after = Path("/proc/self/statm").read_text().split()[0] if Path("/proc").exists() else "0"
    assert int(after) - int(before) < 2**16  # pages: a quarter of a gigabyte


@FUZZ
@given(name=st.integers(0, 99), value=st.sampled_from([1e30, -1e30, 6e4, -6e4, 1e-30, 80.0, -80.0, 0.0]))
def test_a_model_of_extreme_values_is_drawn_or_refused(tmp_path: Path, name: int, value: float) -> None:
    reader, state = READERS["model"], outside.model_tensors()
    path = outside.write_valid_file(reader, tmp_path)
    numbers = [n for n in state if state[n].is_floating_point()]
    chosen = numbers[name % len(numbers)]
    limits = torch.finfo(state[chosen].dtype)
    state[chosen].fill_(min(max(value, limits.min), limits.max))
    path.write_bytes(outside.model_bytes(state))
    outside.read_or_error(reader, path)


@FUZZ
@given(name=st.integers(0, 99), shape=st.lists(st.sampled_from([0, 1, 2, 3, 500]), max_size=3))
def test_a_bent_speaker_is_read_or_told(tmp_path: Path, name: int, shape: list[int]) -> None:
    reader, arrays = READERS["speech"], outside.speech_arrays()
    path = outside.write_valid_file(reader, tmp_path)
    arrays[sorted(arrays)[name % len(arrays)]] = np.ones(shape, np.float32)
    path.write_bytes(outside.speech_bytes(arrays))
    outside.read_or_error(reader, path)


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:1,\nline.wav\n", "ffconcat version 1.0\nfile line.wav\n", "[playlist]\nFile1=line.wav\n"]
)
@pytest.mark.parametrize("name", ["list.m3u8", "list.wav", "list.ffconcat"])
def test_a_list_of_sounds_is_no_sound(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "line.wav").write_bytes(outside.audio_bytes())
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError):
        load_audio(tmp_path / name)


@pytest.mark.parametrize("count", [1, 2, 8, 16, 63])
def test_a_sound_of_many_channels_is_heard(tmp_path: Path, count: int) -> None:
    with wave.open(str(tmp_path / "many.wav"), "wb") as out:
        out.setparams((count, 2, 16000, 0, "NONE", ""))
        out.writeframes(np.full((1600, count), 8000, "<i2").tobytes())
    assert np.allclose(load_audio(tmp_path / "many.wav"), 8000 / 32768)


@pytest.mark.parametrize(("stamps", "told"), [([0, 40, 47], ""), ([0, 40, 10**12], "bad_times"), ([0, 40, 80], "")])
def test_frames_at_strange_times_are_read_or_told(tmp_path: Path, stamps: list[int], told: str) -> None:
    path = tmp_path / "clip.mkv"
    path.write_bytes(outside.video_bytes(stamps))
    found = outside.read_or_error(READERS["video"], path)
    assert found.code == told if isinstance(found, UserError) else not told
