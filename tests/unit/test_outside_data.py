"""Outside data of every kind, bent on purpose: what reads it ends in a sound object or in one sentence, takes little
memory, and looks at nothing else than the file. Damage by chance is in test_untrusted.py, and `tests.fuzz` goes on."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import outside_data as outside
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outside_data import READERS, assert_refused

from backend.contract import protocol
from backend.contract.actor_folder import TRACKING_LAYOUT, ActorFolder
from backend.contract.camera import CameraPath
from backend.contract.errors import UserError
from backend.contract.live_link import CaptureOptions, read_live_link
from backend.contract.performance import Performance
from backend.contract.safe_io import ALWAYS_ALLOWED_UNPACKED_BYTES, read_array, read_arrays, read_json
from backend.pipeline.create import SCAN_LAYOUT
from backend.rendering.frame_cache import FrameCache
from backend.speech.external_features import load_external_features

FUZZ = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
TABLES: dict[str, Callable[[], dict[str, Any]]] = {
    "proxy": outside.proxy_arrays,
    "performance": outside.performance_arrays,
    "truth": outside.ground_truth_arrays,
    "tracking": lambda: outside.arrays_from_layout(dict(TRACKING_LAYOUT)),
    "scan": lambda: outside.arrays_from_layout(dict(SCAN_LAYOUT)),
    "features": lambda: {"features": np.ones((50, 4), np.float32)},
}
HEADER = "{{'descr': {!r}, 'fortran_order': False, 'shape': {}, }}"
LIES = [
    ("<f4", "(1099511627776,)"), ("<f4", "(-1, 4)"), ("<f8", "(4611686018427387904, 4)"), ("|V0", "(1099511627776,)"),
    ("<U0", "(1099511627776,)"), ("<f4", "(4611686018427387904, 0)"), ("|O", "(3,)"), ("<c16", "(3,)"),
    ([("a", "<f4"), ("b", "|O")], "(3,)"), ("<M8[s]", "(3,)"), ("<f4", "(" + "1, " * 40 + ")"), ("<f4", "('a',)"),
]  # fmt: skip


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


@pytest.mark.parametrize("name", READERS)
def test_the_files_that_the_tests_begin_from_are_sound(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    assert not isinstance(outside.read_or_error(reader, outside.write_valid_file(reader, tmp_path)), UserError)


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    path = outside.write_valid_file(reader, tmp_path)
    path.unlink()
    path.mkdir()
    if name != "messages":  # these come through a pipe
        assert isinstance(outside.read_or_error(reader, path), UserError)
        path.rmdir()
        os.mkfifo(path)
        assert isinstance(outside.read_or_error(reader, path), UserError)


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
    path = outside.write_valid_file(reader, tmp_path)
    path.write_bytes(outside.npz_bytes(bend(TABLES[name]())))
    found = outside.read_or_error(reader, path)
    if isinstance(found, Performance):
        assert all(np.isfinite(getattr(found, column)).all() for column in ("head_translation", "channels"))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_promises_more_than_it_holds_takes_no_memory(
    tmp_path: Path, name: str, peak: Callable[[], int]
) -> None:
    reader = READERS[name]
    path = outside.write_valid_file(reader, tmp_path)
    first, *others = members(reader.make_valid_bytes())
    for lie in LIES:
        assert_refused(reader, path, zipped([(first[0], npy(*lie, b"\0" * 48)), *others]))
    assert peak() < 2**24


def test_an_npy_that_promises_more_than_it_holds_takes_no_memory(tmp_path: Path, peak: Callable[[], int]) -> None:
    path = tmp_path / "features.npy"
    for lie in LIES:
        path.write_bytes(npy(*lie, b"\0" * 48))
        with pytest.raises(ValueError):
            read_array(path)
        with pytest.raises(UserError):
            load_external_features(path, 1.0, 100, 100)
    path.write_bytes(npy("<f4", "(6, 2)", b"\0" * 48))
    assert read_array(path).shape == (6, 2)
    assert peak() < 2**24


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path, peak: Callable[[], int]) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as stream:
        stream.write(npy("|u1", f"({ALWAYS_ALLOWED_UNPACKED_BYTES + 1},)"))
        for _ in range(ALWAYS_ALLOWED_UNPACKED_BYTES // 2**20 + 1):
            stream.write(bytes(2**20))
    assert path.stat().st_size < 2**17
    with pytest.raises(ValueError, match="unpacks"):
        read_arrays(path)
    assert read_arrays(path, ["b"]) == {} and peak() < 2**24


def test_an_archive_with_a_name_twice_or_a_long_table_of_contents_is_refused(tmp_path: Path) -> None:
    path, (first, *_) = tmp_path / "two.npz", members(READERS["performance"].make_valid_bytes())
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
    path = outside.write_valid_file(reader, tmp_path / "in")
    path.write_bytes(zipped([*members(reader.make_valid_bytes()), (name, b"x")]))
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
    path = outside.write_valid_file(reader, tmp_path)
    path.write_text(json.dumps(replaced(json.loads(reader.make_valid_bytes()), value, random.Random(seed))))
    found = outside.read_or_error(reader, path)
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
        protocol.decode_message(data.decode("latin-1"))
    path.write_bytes(b'{"file": "a", "inputs": "b"}\n' + data)
    if data.isascii():
        assert FrameCache(path).fingerprints == {"a": "b"}


def test_json_with_a_byte_order_mark_is_read_and_a_large_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "a.json") == {}
    with pytest.raises(ValueError, match="larger"):
        read_json(tmp_path / "a.json", 4)


def test_a_line_without_an_end_is_not_kept(peak: Callable[[], int]) -> None:
    note = protocol.encode_message(protocol.Note("job", "still there")).encode()
    pieces = iter([b"x" * 2**16] * 1600 + [b"\n" + note[:5], note[5:] + b"\n\n", note, b""])
    found = list(protocol.split_lines(lambda: next(pieces)))
    assert peak() < 2**24
    assert [len(line) for line in found] == [protocol.MAX_LINE_BYTES + 1, len(note), 0, len(note)]
    with pytest.raises(ValueError, match="longer"):
        protocol.decode_message(found[0].decode())
    assert protocol.decode_message(found[-1].decode()) == protocol.Note("job", "still there")


@pytest.mark.parametrize("event", ["[]", "{}", "null", "1", '"request "'])
def test_an_event_that_is_no_name_is_refused(event: str) -> None:
    with pytest.raises(ValueError, match="not a Portrait Actor message"):
        protocol.decode_message(f'{{"event": {event}, "id": "a"}}')


cells = st.sampled_from(["", "nan", "1e999", "-1e308", "x", '"', '"a\nb"', "\0", "9" * 4000, "a" * 200_000, "²", "1_0"])


@settings(FUZZ, max_examples=50)
@given(cell=cells, row=st.integers(0, 4), column=st.integers(0, 56), more=st.integers(0, 2), code=st.booleans())
def test_a_bent_capture_is_read_or_told(
    tmp_path: Path, cell: str, row: int, column: int, more: int, code: bool
) -> None:
    reader = READERS["capture"]
    rows = [line.split(",") for line in reader.make_valid_bytes().decode().split()]
    rows[row][0 if code else column % len(rows[0])] = cell
    rows[row] += [cell] * more
    path = tmp_path / "capture.csv"
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8")
    outside.read_or_error(reader, path)


@pytest.mark.parametrize("how", [{"capture_fps": np.nan}, {"capture_fps": np.inf}, {"fps": np.nan}, {"fps": -1.0}])
def test_a_rate_that_is_no_number_is_refused(tmp_path: Path, how: dict[str, float]) -> None:
    path = outside.write_valid_file(READERS["capture"], tmp_path)
    with pytest.raises(UserError):
        read_live_link(path, CaptureOptions(**how))


def test_captures_of_other_encodings_and_long_lines(tmp_path: Path, peak: Callable[[], int]) -> None:
    reader, path = READERS["capture"], tmp_path / "capture.csv"
    path.write_bytes(b"\xef\xbb\xbf" + reader.make_valid_bytes())
    assert len(read_live_link(path)) == 73
    assert_refused(reader, path, reader.make_valid_bytes().decode().encode("utf-16"))
    assert_refused(reader, path, b"," * 2**21)
    assert_refused(reader, path, b"a" * 2**21)
    assert_refused(reader, path, reader.make_valid_bytes() + b'"' + b"\n" * 2**20)
    assert_refused(
        reader, path, reader.make_valid_bytes().replace(b"00:00:03", b"11:00:03")
    )  # a million frames between two rows
    assert peak() < 2**28
