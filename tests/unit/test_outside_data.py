"""Outside data of every kind with deliberate errors: it is read or refused, within little memory.

Random damage is in test_untrusted.py; `tests.fuzz` tries many more inputs.
"""

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
from numpy.typing import NDArray
from outside_data import READERS, assert_refused

from backend.contract import protocol
from backend.contract.actor_folder import TRACKING_LAYOUT, ActorFolder
from backend.contract.camera import CameraPath
from backend.contract.errors import UserError
from backend.contract.live_link import CaptureOptions, read_live_link
from backend.contract.performance import Performance
from backend.contract.safe_io import UNPACK_ALLOWANCE_BYTES, read_array, read_arrays, read_json
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
FALSE_HEADERS = [
    ("<f4", "(1099511627776,)"), ("<f4", "(-1, 4)"), ("<f8", "(4611686018427387904, 4)"), ("|V0", "(1099511627776,)"),
    ("<U0", "(1099511627776,)"), ("<f4", "(4611686018427387904, 0)"), ("|O", "(3,)"), ("<c16", "(3,)"),
    ([("a", "<f4"), ("b", "|O")], "(3,)"), ("<M8[s]", "(3,)"), ("<f4", "(" + "1, " * 40 + ")"), ("<f4", "('a',)"),
]  # fmt: skip


def npy_bytes(descr: object, shape: str, data: bytes = b"") -> bytes:
    """Return an `.npy` with this header, true or not."""
    header = HEADER.format(descr, shape).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data


def zip_bytes(members: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def zip_members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


@pytest.mark.parametrize("name", READERS)
def test_undamaged_files_are_read(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    assert not isinstance(outside.read_or_error(reader, outside.write_valid_file(reader, tmp_path)), UserError)


@pytest.mark.parametrize("name", READERS)
def test_path_that_is_not_a_regular_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    path = outside.write_valid_file(reader, tmp_path)
    path.unlink()
    path.mkdir()
    if name != "messages":  # messages are read from a pipe
        assert isinstance(outside.read_or_error(reader, path), UserError)
        path.rmdir()
        os.mkfifo(path)
        assert isinstance(outside.read_or_error(reader, path), UserError)


@st.composite
def array_changes(draw: st.DrawFn) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A change of one array of a table: of its type, its shape or a value, or its removal."""
    which, seed = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(0, 99))
    kind: Any = draw(
        st.sampled_from(["O", "c16", "M8[s]", "S4", "U4", "?", "f2", "i8", "u8", "f8", "drop", "flat", "deep", "none"])
        | st.sampled_from(["scalar", "twice", "turned", np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**62, -1.0, 0.0])
    )

    def change(table: dict[str, Any]) -> dict[str, Any]:
        name = sorted(table)[int(which * len(table))]
        array = np.array(table.pop(name))
        shapes: dict[str, Callable[[], NDArray[Any]]] = {
            "flat": array.ravel, "deep": lambda: array[None], "none": lambda: array[:0] if array.ndim else array[None],
            "scalar": lambda: array.ravel()[:1].reshape(()), "twice": lambda: np.concatenate([array[None]] * 2, 1)[0],
            "turned": lambda: array.T,
        }  # fmt: skip
        if kind == "drop":
            return table
        if isinstance(kind, float):
            array = array.astype(float) if array.dtype.kind not in "U" else np.zeros(array.shape)
            array.ravel()[seed % max(array.size, 1) :][:1] = kind
        elif kind in shapes:
            array = shapes[kind]() if array.ndim or kind != "twice" else array[None]
        else:
            try:
                array = array.astype(kind)
            except (ValueError, TypeError):
                array = np.zeros(array.shape, kind)
        return {**table, name: array}

    return change


@pytest.mark.parametrize("name", TABLES)
@FUZZ
@given(change=array_changes())
def test_changed_table_is_read_or_refused(tmp_path: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    reader = READERS[name]
    path = outside.write_valid_file(reader, tmp_path)
    path.write_bytes(outside.npz_bytes(change(TABLES[name]())))
    found = outside.read_or_error(reader, path)
    if isinstance(found, Performance):
        assert all(np.isfinite(getattr(found, column)).all() for column in ("head_translation", "channels"))


@pytest.mark.parametrize("name", TABLES)
def test_npz_header_beyond_the_data_allocates_no_memory(
    tmp_path: Path, name: str, peak_memory_bytes: Callable[[], int]
) -> None:
    reader = READERS[name]
    path = outside.write_valid_file(reader, tmp_path)
    first, *others = zip_members(reader.make_valid_bytes())
    for header in FALSE_HEADERS:
        assert_refused(reader, path, zip_bytes([(first[0], npy_bytes(*header, b"\0" * 48)), *others]))
    assert peak_memory_bytes() < 2**24


def test_npy_header_beyond_the_data_allocates_no_memory(tmp_path: Path, peak_memory_bytes: Callable[[], int]) -> None:
    path = tmp_path / "features.npy"
    for header in FALSE_HEADERS:
        path.write_bytes(npy_bytes(*header, b"\0" * 48))
        with pytest.raises(ValueError):
            read_array(path)
        with pytest.raises(UserError):
            load_external_features(path, 1.0, 100, 100)
    path.write_bytes(npy_bytes("<f4", "(6, 2)", b"\0" * 48))
    assert read_array(path).shape == (6, 2)
    assert peak_memory_bytes() < 2**24


def test_archive_that_unpacks_to_far_more_than_its_size_is_refused(
    tmp_path: Path, peak_memory_bytes: Callable[[], int]
) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as stream:
        stream.write(npy_bytes("|u1", f"({UNPACK_ALLOWANCE_BYTES + 1},)"))
        for _ in range(UNPACK_ALLOWANCE_BYTES // 2**20 + 1):
            stream.write(bytes(2**20))
    assert path.stat().st_size < 2**17
    with pytest.raises(ValueError, match="unpacks"):
        read_arrays(path)
    assert read_arrays(path, ["b"]) == {} and peak_memory_bytes() < 2**24


def test_archive_with_duplicate_names_or_long_directory_is_refused(tmp_path: Path) -> None:
    path, (first, *_) = tmp_path / "two.npz", zip_members(READERS["performance"].make_valid_bytes())
    with pytest.warns(UserWarning):
        path.write_bytes(zip_bytes([first, first]))
    with pytest.raises(ValueError, match="same name"):
        read_arrays(path)
    path.write_bytes(zip_bytes([("n" * 60000 + str(i), b"") for i in range(20)]))
    with pytest.raises(ValueError):
        read_arrays(path)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "C:\\a", "a\0b", "CON", "a/../../b"])
def test_paths_in_an_archive_write_nothing(tmp_path: Path, name: str) -> None:
    reader = READERS["performance"]
    path = outside.write_valid_file(reader, tmp_path / "in")
    path.write_bytes(zip_bytes([*zip_members(reader.make_valid_bytes()), (name, b"x")]))
    assert isinstance(reader.read(path), Performance)  # the entry is not requested, so it is not unpacked
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["actor.json", "footage.npz", "in"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from([10**30, -(10**400), 1e308, -1, 0, "\0", "../..", "a" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def replace_random_value(data: Any, value: Any, rng: random.Random) -> Any:
    """Return a copy of nested JSON with `value` at a random position."""
    if rng.random() < 0.2 or not isinstance(data, (dict, list)) or not data:
        return value
    copy = data.copy()
    key = rng.choice(sorted(copy) if isinstance(copy, dict) else range(len(copy)))
    copy[key] = replace_random_value(copy[key], value, rng)
    return copy


@pytest.mark.parametrize("name", ["actor", "camera", "messages", "ledger"])
@settings(FUZZ, max_examples=60)
@given(value=values, seed=st.integers(0, 2**32))
def test_json_with_an_odd_value_is_read_or_refused(tmp_path: Path, name: str, value: Any, seed: int) -> None:
    reader = READERS[name]
    path = outside.write_valid_file(reader, tmp_path)
    path.write_text(json.dumps(replace_random_value(json.loads(reader.make_valid_bytes()), value, random.Random(seed))))
    found = outside.read_or_error(reader, path)
    if isinstance(found, ActorFolder):  # what was read can be written again and shown in the report
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
def test_unsafe_json_is_refused(tmp_path: Path, data: bytes) -> None:
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


def test_json_with_a_byte_order_mark_is_read_and_a_large_one_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "a.json") == {}
    with pytest.raises(ValueError, match="larger"):
        read_json(tmp_path / "a.json", 4)


def test_endless_line_is_not_kept_in_memory(peak_memory_bytes: Callable[[], int]) -> None:
    note = protocol.encode_message(protocol.Note("job", "still there")).encode()
    pieces = iter([b"x" * 2**16] * 1600 + [b"\n" + note[:5], note[5:] + b"\n\n", note, b""])
    found = list(protocol.split_lines(lambda: next(pieces)))
    assert peak_memory_bytes() < 2**24
    assert [len(line) for line in found] == [protocol.MAX_LINE_BYTES + 1, len(note), 0, len(note)]
    with pytest.raises(ValueError, match="longer"):
        protocol.decode_message(found[0].decode())
    assert protocol.decode_message(found[-1].decode()) == protocol.Note("job", "still there")


@pytest.mark.parametrize("event", ["[]", "{}", "null", "1", '"request "'])
def test_event_that_is_not_a_name_is_refused(event: str) -> None:
    with pytest.raises(ValueError, match="not a Portrait Actor message"):
        protocol.decode_message(f'{{"event": {event}, "id": "a"}}')


cells = st.sampled_from(["", "nan", "1e999", "-1e308", "x", '"', '"a\nb"', "\0", "9" * 4000, "a" * 200_000, "²", "1_0"])


@settings(FUZZ, max_examples=50)
@given(cell=cells, row=st.integers(0, 4), column=st.integers(0, 56), more=st.integers(0, 2), code=st.booleans())
def test_changed_capture_is_read_or_refused(
    tmp_path: Path, cell: str, row: int, column: int, more: int, code: bool
) -> None:
    reader = READERS["capture"]
    rows = [line.split(",") for line in reader.make_valid_bytes().decode().split()]
    rows[row][0 if code else column % len(rows[0])] = cell
    rows[row] += [cell] * more
    path = tmp_path / "capture.csv"
    path.write_text("\n".join(map(",".join, rows)), encoding="utf-8")
    outside.read_or_error(reader, path)


@pytest.mark.parametrize("options", [{"capture_fps": np.nan}, {"capture_fps": np.inf}, {"fps": np.nan}, {"fps": -1.0}])
def test_frame_rate_that_is_not_a_number_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    path = outside.write_valid_file(READERS["capture"], tmp_path)
    with pytest.raises(UserError):
        read_live_link(path, CaptureOptions(**options))


def test_captures_in_other_encodings_or_with_long_lines_are_refused(
    tmp_path: Path, peak_memory_bytes: Callable[[], int]
) -> None:
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
    assert peak_memory_bytes() < 2**28
