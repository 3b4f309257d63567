"""Outside data of every kind, bent on purpose: what reads it ends in a sound object or in one sentence, takes little
memory, and looks at nothing else than the file. Damage by chance is in test_untrusted.py, and `tests.fuzz` goes on."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import struct
import tracemalloc
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import outside_data as outside
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outside_data import READERS, Reader
from safetensors.torch import save

from backend import protocol
from backend.actor import PROXY, TRACKING, ActorFolder
from backend.audio.plugged import load_plugged
from backend.audio.sound import load_sound
from backend.camera import CameraPath
from backend.live_link import Reading, read_live_link
from backend.performance import Performance
from backend.pictures import decoded
from backend.protocol import UserError
from backend.reading import SMALL, read_array, read_arrays, read_bytes, read_json
from backend.rendering.ledger import Ledger
from backend.training.create import SCANNED
from backend.whole_file import save_whole

FUZZ = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TABLES: dict[str, Callable[[], dict[str, Any]]] = {
    "proxy": outside.proxy, "performance": outside.performance, "truth": outside.truth,
    "tracking": lambda: outside.of_layout(dict(TRACKING)), "scan": lambda: outside.of_layout(dict(SCANNED)),
    "features": lambda: {"features": np.ones((50, 4), np.float32)},
}  # fmt: skip
HEADER = "{{'descr': {!r}, 'fortran_order': False, 'shape': {}, }}"
LIES = [
    ("<f4", "(1099511627776,)"), ("<f4", "(-1, 4)"), ("<f8", "(4611686018427387904, 4)"), ("|V0", "(1099511627776,)"),
    ("<U0", "(1099511627776,)"), ("<f4", "(4611686018427387904, 0)"), ("|O", "(3,)"), ("<c16", "(3,)"),
    ([("a", "<f4"), ("b", "|O")], "(3,)"), ("<M8[s]", "(3,)"), ("<f4", "(" + "1, " * 40 + ")"), ("<f4", "('a',)"),
]  # fmt: skip


def refused(reader: Reader, path: Path, data: bytes) -> UserError:
    """The sentence with which the reader refuses these bytes."""
    path.write_bytes(data)
    found = outside.outcome(reader, path)
    assert isinstance(found, UserError), f"{reader.file} was read"
    return found


def npy(descr: object, shape: str, data: bytes = b"") -> bytes:
    """An `.npy` whose header says so."""
    header = HEADER.format(descr, shape).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


def zipped(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    """The most memory that Python and numpy held since the test began, in bytes."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("name", READERS)
def test_the_files_that_the_tests_begin_from_are_sound(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    assert not isinstance(outside.outcome(reader, outside.place(reader, tmp_path)), UserError)


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    path = outside.place(reader, tmp_path)
    path.unlink()
    path.mkdir()
    if name != "messages":  # these come through a pipe
        assert isinstance(outside.outcome(reader, path), UserError)
        path.rmdir()
        os.mkfifo(path)
        assert isinstance(outside.outcome(reader, path), UserError)


@st.composite
def bent(draw: st.DrawFn) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A change of one array of a table: its type, its shape, a value, or that it is there at all."""
    which, seed = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(0, 99))
    change = draw(
        st.sampled_from(["O", "c16", "M8[s]", "S4", "U4", "?", "f2", "i8", "u8", "f8", "drop", "flat", "deep", "none"])
        | st.sampled_from(["scalar", "twice", "turned", np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**62, -1.0, 0.0])
    )

    def bend(table: dict[str, Any]) -> dict[str, Any]:
        name = sorted(table)[int(which * len(table))]
        array = np.array(table.pop(name))
        shapes = {
            "flat": array.ravel, "deep": lambda: array[None], "none": lambda: array[:0] if array.ndim else array[None],
            "scalar": lambda: array.ravel()[:1].reshape(()), "twice": lambda: np.concatenate([array[None]] * 2, 1)[0],
            "turned": lambda: array.T,
        }  # fmt: skip
        if change == "drop":
            return table
        if isinstance(change, float):
            array = array.astype(float) if array.dtype.kind not in "U" else np.zeros(array.shape)
            array.ravel()[seed % max(array.size, 1) :][:1] = change
        elif change in shapes:
            array = shapes[change]() if array.ndim or change != "twice" else array[None]
        else:
            try:
                array = array.astype(change)
            except (ValueError, TypeError):
                array = np.zeros(array.shape, change)
        return {**table, name: array}

    return bend


@pytest.mark.parametrize("name", TABLES)
@FUZZ
@given(bend=bent())
def test_a_bent_table_is_read_or_told(tmp_path: Path, name: str, bend: Callable[[dict[str, Any]], Any]) -> None:
    reader = READERS[name]
    path = outside.place(reader, tmp_path)
    path.write_bytes(outside.npz(bend(TABLES[name]())))
    found = outside.outcome(reader, path)
    if isinstance(found, Performance):
        assert all(np.isfinite(getattr(found, column)).all() for column in ("head_translation", "channels"))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_promises_more_than_it_holds_takes_no_memory(
    tmp_path: Path, name: str, peak: Callable[[], int]
) -> None:
    reader = READERS[name]
    path = outside.place(reader, tmp_path)
    first, *others = members(reader.seed())
    for lie in LIES:
        refused(reader, path, zipped([(first[0], npy(*lie, b"\0" * 48)), *others]))
    assert peak() < 2**24


def test_an_npy_that_promises_more_than_it_holds_takes_no_memory(tmp_path: Path, peak: Callable[[], int]) -> None:
    path = tmp_path / "features.npy"
    for lie in LIES:
        path.write_bytes(npy(*lie, b"\0" * 48))
        with pytest.raises(ValueError):
            read_array(path)
        with pytest.raises(UserError):
            load_plugged(path, 1.0, 100, 100)
    path.write_bytes(npy("<f4", "(6, 2)", b"\0" * 48))
    assert read_array(path).shape == (6, 2)
    assert peak() < 2**24


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path, peak: Callable[[], int]) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as stream:
        stream.write(npy("|u1", f"({SMALL + 1},)"))
        for _ in range(SMALL // 2**20 + 1):
            stream.write(bytes(2**20))
    assert path.stat().st_size < 2**17
    with pytest.raises(ValueError, match="unpacks"):
        read_arrays(path)
    assert read_arrays(path, ["b"]) == {} and peak() < 2**24


def test_an_archive_with_a_name_twice_or_a_long_table_of_contents_is_refused(tmp_path: Path) -> None:
    path, (first, *_) = tmp_path / "two.npz", members(READERS["performance"].seed())
    with pytest.warns(UserWarning):
        path.write_bytes(zipped([first, first]))
    with pytest.raises(ValueError, match="twice"):
        read_arrays(path)
    path.write_bytes(zipped([("n" * 60000 + str(i), b"") for i in range(20)]))
    with pytest.raises(ValueError):
        read_arrays(path)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "C:\\a", "a\0b", "CON", "a/../../b"])
def test_names_within_an_archive_lead_nowhere(tmp_path: Path, name: str) -> None:
    reader = READERS["performance"]
    path = outside.place(reader, tmp_path / "in")
    path.write_bytes(zipped([*members(reader.seed()), (name, b"x")]))
    assert isinstance(reader.read(path), Performance)  # it is not asked for, so it is not unpacked
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["actor.json", "footage.npz", "in"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from([10**30, -(10**400), 1e308, -1, 0, "\0", "../..", "a" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def replaced(data: Any, value: Any, rng: random.Random) -> Any:
    """A copy in which something, anywhere, is another value."""
    if rng.random() < 0.2 or not isinstance(data, (dict, list)) or not data:
        return value
    copy = data.copy()
    key = rng.choice(sorted(copy) if isinstance(copy, dict) else range(len(copy)))
    copy[key] = replaced(copy[key], value, rng)
    return copy


@pytest.mark.parametrize("name", ["actor", "camera", "messages", "ledger"])
@settings(FUZZ, max_examples=60)
@given(value=values, seed=st.integers(0, 2**32))
def test_json_with_a_strange_value_is_read_or_told(tmp_path: Path, name: str, value: Any, seed: int) -> None:
    reader = READERS[name]
    path = outside.place(reader, tmp_path)
    path.write_text(json.dumps(replaced(json.loads(reader.seed()), value, random.Random(seed))))
    found = outside.outcome(reader, path)
    if isinstance(found, ActorFolder):  # what was read can be written, and shown by whoever reports on it
        from backend.report.figures import figure_rows, stage_rows

        assert list(figure_rows(found.info, 1.0)) and list(stage_rows(found.info)) is not None
        found.save()
        assert ActorFolder.open(found.path).info == found.info


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b"1e999", b"NaN", b"-Infinity",
        b"1" * 5000, b'"\\ud800"', b'"a\\u0000b"', "{}".encode("utf-16"), b"\xff{}", b"", b"{} {}",
    ],
)  # fmt: skip
def test_json_that_cannot_be_used_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "actor.json"
    path.write_bytes(data)
    with pytest.raises(ValueError):
        read_json(path)
    with pytest.raises(UserError):
        ActorFolder.open(tmp_path)
    with pytest.raises(UserError):
        CameraPath.load(path)
    with pytest.raises(ValueError):
        protocol.decode(data.decode("latin-1"))
    path.write_bytes(b'{"file": "a", "inputs": "b"}\n' + data)
    if data.isascii():
        assert Ledger(path).marks == {"a": "b"}


def test_json_with_a_byte_order_mark_is_read_and_a_large_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "a.json") == {}
    with pytest.raises(ValueError, match="larger"):
        read_json(tmp_path / "a.json", 4)


def test_a_line_without_an_end_is_not_kept(peak: Callable[[], int]) -> None:
    note = protocol.encode(protocol.Note("job", "still there")).encode()
    pieces = iter([b"x" * 2**16] * 1600 + [b"\n" + note[:5], note[5:] + b"\n\n", note, b""])
    found = list(protocol.lines(lambda: next(pieces)))
    assert peak() < 2**24
    assert [len(line) for line in found] == [protocol.MAX_LINE + 1, len(note), 0, len(note)]
    with pytest.raises(ValueError, match="longer"):
        protocol.decode(found[0].decode())
    assert protocol.decode(found[-1].decode()) == protocol.Note("job", "still there")


@pytest.mark.parametrize("event", ["[]", "{}", "null", "1", '"request "'])
def test_an_event_that_is_no_name_is_refused(event: str) -> None:
    with pytest.raises(ValueError, match="not a Portrait Actor message"):
        protocol.decode(f'{{"event": {event}, "id": "a"}}')


cells = st.sampled_from(["", "nan", "1e999", "-1e308", "x", '"', '"a\nb"', "\0", "9" * 4000, "a" * 200_000, "²", "1_0"])


@settings(FUZZ, max_examples=50)
@given(cell=cells, row=st.integers(0, 4), column=st.integers(0, 56), more=st.integers(0, 2), code=st.booleans())
def test_a_bent_capture_is_read_or_told(
    tmp_path: Path, cell: str, row: int, column: int, more: int, code: bool
) -> None:
    reader = READERS["capture"]
    rows = [line.split(",") for line in reader.seed().decode().split()]
    rows[row][0 if code else column % len(rows[0])] = cell
    rows[row] += [cell] * more
    path = tmp_path / "capture.csv"
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8")
    outside.outcome(reader, path)


@pytest.mark.parametrize("how", [{"capture_fps": np.nan}, {"capture_fps": np.inf}, {"fps": np.nan}, {"fps": -1.0}])
def test_a_rate_that_is_no_number_is_refused(tmp_path: Path, how: dict[str, float]) -> None:
    path = outside.place(READERS["capture"], tmp_path)
    with pytest.raises(UserError):
        read_live_link(path, Reading(**how))


def test_captures_of_other_encodings_and_long_lines(tmp_path: Path, peak: Callable[[], int]) -> None:
    reader, path = READERS["capture"], tmp_path / "capture.csv"
    path.write_bytes(b"\xef\xbb\xbf" + reader.seed())
    assert len(read_live_link(path)) == 73
    refused(reader, path, reader.seed().decode().encode("utf-16"))
    refused(reader, path, b"," * 2**21)
    refused(reader, path, b"a" * 2**21)
    refused(reader, path, reader.seed() + b'"' + b"\n" * 2**20)
    refused(reader, path, reader.seed().replace(b"00:00:03", b"11:00:03"))  # a million frames between two rows
    assert peak() < 2**28


@pytest.mark.parametrize("name", ["frame", "matte"])
def test_only_pictures_of_the_actors_size_are_decoded(tmp_path: Path, name: str, peak: Callable[[], int]) -> None:
    reader = READERS[name]
    path = outside.place(reader, tmp_path)
    good = np.full((outside.SIDE, outside.SIDE, 4), 255, np.uint8)
    huge = bytearray(reader.seed())
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
        refused(reader, path, data)
    assert peak() < 2**24
    with pytest.raises(ValueError):
        decoded(bytes(huge), 4096)
    if name == "matte":  # a chunk that claims two gigabytes
        for rest in (8, 0):
            refused(reader, path, reader.seed()[:-12] + b"\x7f\xff\xff\xffIDAT" + bytes(rest))


def changed(**changes: torch.Tensor) -> bytes:
    return outside.model_file(
        {**outside.model(), **{name.replace("__", "."): value for name, value in changes.items()}}
    )


@pytest.mark.parametrize(
    "data",
    [
        lambda: changed(means=torch.full((12, 3), torch.nan)), lambda: changed(means=torch.zeros(12, 3).double()),
        lambda: changed(means=torch.zeros(0, 3)), lambda: changed(means=torch.zeros(12, 3, dtype=torch.complex64)),
        lambda: changed(label=torch.full((12,), 200, dtype=torch.uint8)), lambda: changed(more=torch.zeros(1)),
        lambda: changed(facial__members=torch.full((6,), -1)), lambda: changed(prior__where=torch.zeros(2**40, 0)),
        lambda: changed(prior__where=torch.zeros(300_000, 2, dtype=torch.uint8)),
        lambda: changed(rigid__basis__scale=torch.zeros(1, 500_000, 1)),
        lambda: outside.model_file(outside.model(), {"gaussians": 2_000_000, "facial_members": 1, "oral_members": 1}),
        lambda: outside.model_file(outside.model(), {"gaussians": True}),
        lambda: outside.model_file(outside.model(), []),
        lambda: outside.model_file(outside.model(), {"hidden": 10**30}), lambda: save(outside.model()),
        lambda: struct.pack("<Q", 2**60) + b"{}", lambda: struct.pack("<Q", 2) + b"[]",
    ],
)  # fmt: skip
def test_a_bent_model_is_refused_and_takes_no_memory(tmp_path: Path, data: Callable[[], bytes]) -> None:
    reader = READERS["model"]
    path = outside.place(reader, tmp_path)
    before = Path("/proc/self/statm").read_text().split()[0] if Path("/proc").exists() else "0"
    refused(reader, path, data())
    after = Path("/proc/self/statm").read_text().split()[0] if Path("/proc").exists() else "0"
    assert int(after) - int(before) < 2**16  # pages: a quarter of a gigabyte


@FUZZ
@given(name=st.integers(0, 99), value=st.sampled_from([1e30, -1e30, 6e4, -6e4, 1e-30, 80.0, -80.0, 0.0]))
def test_a_model_of_extreme_values_is_drawn_or_refused(tmp_path: Path, name: int, value: float) -> None:
    reader, state = READERS["model"], outside.model()
    path = outside.place(reader, tmp_path)
    numbers = [n for n in state if state[n].is_floating_point()]
    chosen = numbers[name % len(numbers)]
    limits = torch.finfo(state[chosen].dtype)
    state[chosen].fill_(min(max(value, limits.min), limits.max))
    path.write_bytes(outside.model_file(state))
    outside.outcome(reader, path)


@FUZZ
@given(name=st.integers(0, 99), shape=st.lists(st.sampled_from([0, 1, 2, 3, 500]), max_size=3))
def test_a_bent_speaker_is_read_or_told(tmp_path: Path, name: int, shape: list[int]) -> None:
    reader, arrays = READERS["speech"], outside.speech()
    path = outside.place(reader, tmp_path)
    arrays[sorted(arrays)[name % len(arrays)]] = np.ones(shape, np.float32)
    path.write_bytes(outside.speech_file(arrays))
    outside.outcome(reader, path)


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:1,\nline.wav\n", "ffconcat version 1.0\nfile line.wav\n", "[playlist]\nFile1=line.wav\n"]
)
@pytest.mark.parametrize("name", ["list.m3u8", "list.wav", "list.ffconcat"])
def test_a_list_of_sounds_is_no_sound(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "line.wav").write_bytes(outside.sound())
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError):
        load_sound(tmp_path / name)


@pytest.mark.parametrize("count", [1, 2, 8, 16, 63])
def test_a_sound_of_many_channels_is_heard(tmp_path: Path, count: int) -> None:
    with wave.open(str(tmp_path / "many.wav"), "wb") as out:
        out.setparams((count, 2, 16000, 0, "NONE", ""))
        out.writeframes(np.full((1600, count), 8000, "<i2").tobytes())
    assert np.allclose(load_sound(tmp_path / "many.wav"), 8000 / 32768)


@pytest.mark.parametrize(("stamps", "told"), [([0, 40, 47], ""), ([0, 40, 10**12], "bad_times"), ([0, 40, 80], "")])
def test_frames_at_strange_times_are_read_or_told(tmp_path: Path, stamps: list[int], told: str) -> None:
    path = tmp_path / "clip.mkv"
    path.write_bytes(outside.video(stamps))
    found = outside.outcome(READERS["video"], path)
    assert found.code == told if isinstance(found, UserError) else not told


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """An actor's folder, and beside it a secret and a folder."""
    reader = READERS["frame"]
    folder = tmp_path / "jane.actor"
    outside.place(reader, folder)
    (folder / "proxy.npz").write_bytes(outside.npz(outside.proxy()))
    (tmp_path / "secret").write_text("secret")
    shutil.copytree(folder / "frames", tmp_path / "frames")
    return folder


@pytest.mark.parametrize("name", ["plate.png", "model.safetensors", "mattes", "anything"])
@pytest.mark.parametrize("target", ["../secret", "../frames", "/dev/zero", "../nothing"])
def test_a_link_that_leads_out_of_an_actor_is_refused(linked: Path, name: str, target: str) -> None:
    (linked / name).symlink_to(target)
    with pytest.raises(UserError) as caught:
        ActorFolder.open(linked)
    assert caught.value.code == "foreign_link" and name in caught.value.message


def test_an_actor_that_is_linked_as_a_whole_and_links_within_are_fine(linked: Path, tmp_path: Path) -> None:
    (linked / "again.npz").symlink_to("proxy.npz")
    (tmp_path / "other.actor").symlink_to(linked)
    folder = ActorFolder.open(tmp_path / "other.actor")
    assert len(folder.proxy().vertices) == outside.FRAMES and set(PROXY) <= set(read_arrays(folder.file("again.npz")))


def test_a_frame_that_is_a_link_is_refused(linked: Path) -> None:
    (linked / "frames" / "000000.jpg").unlink()
    (linked / "frames" / "000000.jpg").symlink_to("../../frames/000000.jpg")
    found = outside.outcome(READERS["frame"], linked / "frames" / "000000.jpg")
    assert isinstance(found, UserError) and found.code == "foreign_link"


def test_nothing_is_written_through_a_link(tmp_path: Path, linked: Path) -> None:
    from backend.console import explain

    (tmp_path / "new.json.part").symlink_to("secret")
    save_whole(tmp_path / "new.json", b"new")
    (linked / "portrait_actor_error.log").symlink_to("../secret")
    assert explain(RuntimeError("bug"), linked).log != str(linked / "portrait_actor_error.log")
    assert (tmp_path / "secret").read_text() == "secret" and read_bytes(tmp_path / "new.json") == b"new"
    assert not (tmp_path / "new.json").is_symlink()
