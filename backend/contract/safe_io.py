"""Reading files from unknown sources safely. Needs only numpy, so Blender reads through it too.

A file is checked before memory is allocated for it. Refused are files that are not regular, whose headers declare more
data than there is, or that unpack to far more than their own size. Nothing is unpickled.
"""

from __future__ import annotations

import json
import math
import os
import stat
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from .protocol import MAX_EXACT_INTEGER

MAX_FILE_BYTES = 16 * 2**30  # of a file that is read completely
MAX_JSON_BYTES = 128 * 2**20
# An .npz of S bytes may unpack to the allowance or to ratio · S bytes, whichever is more. Both far exceed real files.
UNPACK_ALLOWANCE_BYTES = 64 * 2**20
MAX_UNPACK_RATIO = 300
MAX_ZIP_DIRECTORY_BYTES = 2**20  # of a zip's table of contents; Python needs ten times as much memory to read it
MAX_EMPTY_ARRAY_SIDE = 2**16  # side length of an array without elements, whose size no file length confirms
ALLOWED_DTYPE_KINDS = "biufU"  # numpy's booleans, integers, real numbers and text
ArrayLayout = Mapping[str, tuple[int | str, ...]]


def is_accessible_file(path: Path) -> bool:
    """Whether a file exists and may be accessed; unlike pathlib, this never raises (name too long, closed folder)."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_accessible_folder(path: Path) -> bool:
    """Whether a folder exists and may be accessed; never raises."""
    try:
        return path.is_dir()
    except OSError:
        return False


@contextmanager
def open_regular_file(path: Path, max_bytes: int = MAX_FILE_BYTES, *, follow_links: bool = True) -> Iterator[BinaryIO]:
    """Open a regular file for reading. Pipes and devices are refused: opening or reading one may block forever.

    Args:
        path: the file.
        max_bytes: largest accepted size.
        follow_links: whether it may be a symbolic link.

    Raises:
        OSError: it does not exist or is not a regular file.
        ValueError: it is too large.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags if follow_links else flags | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is not a regular file")
        if status.st_size > max_bytes:
            raise ValueError(f"{path} is larger than {max_bytes} bytes")
        yield file


def read_bytes(path: Path, max_bytes: int = MAX_FILE_BYTES, *, follow_links: bool = True) -> bytes:
    """Read a regular file completely; arguments and exceptions are those of `open_regular_file`."""
    with open_regular_file(path, max_bytes, follow_links=follow_links) as file:
        return file.read()


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read the JSON value in a file and check it with `is_json_safe`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is too large, not JSON or not safe.
    """
    try:
        data = json.loads(read_bytes(path, max_bytes).decode("utf-8-sig"))
        is_safe = is_json_safe(data)
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply") from error
    if not is_safe:
        raise ValueError(f"{path} contains a number or a text that cannot be used")
    return data


def read_array(path: Path) -> NDArray[Any]:
    """Read the array of an `.npy` file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or its elements are neither numbers nor text.
    """
    with open_regular_file(path) as file, _raise_as_value_error(path):
        return _read_array_stream(file, os.fstat(file.fileno()).st_size)


def read_arrays(path: Path, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read the arrays of an `.npz` file by their names.

    Args:
        path: the file.
        names: which arrays to read, of those that exist; None reads all.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, unpacks to too much, or its elements are neither numbers nor text.
    """
    with open_regular_file(path) as file, _raise_as_value_error(path):
        size = os.fstat(file.fileno()).st_size
        _check_zip_directory(file, size)
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            if len(entries) < len(archive.infolist()):
                raise ValueError("two arrays have the same name")
            wanted = {name: entry for name, entry in entries.items() if names is None or name in names}
            unpacked_size = sum(entry.file_size for entry in wanted.values())
            if unpacked_size > max(UNPACK_ALLOWANCE_BYTES, MAX_UNPACK_RATIO * size):
                raise ValueError("it unpacks to far more than its size")
            arrays = {}
            for name, entry in wanted.items():
                with archive.open(entry) as stream:
                    arrays[name] = _read_array_stream(stream, entry.file_size)
            return arrays


def is_json_safe(value: object) -> bool:
    """Whether a decoded JSON value can be used and written again.

    It may contain numbers up to `MAX_EXACT_INTEGER`, text without NUL or lone surrogates, and lists and dicts of those.

    Raises:
        RecursionError: it is nested too deeply.
    """
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, (int, float)):
        return -MAX_EXACT_INTEGER <= value <= MAX_EXACT_INTEGER  # False for NaN, too
    if isinstance(value, dict):
        return all(map(is_json_safe, value)) and all(map(is_json_safe, value.values()))
    if isinstance(value, list):
        return all(map(is_json_safe, value))
    return value is None


def has_valid_fields(record: Any) -> bool:
    """Whether every field of a dataclass instance matches its annotation, for one that was read from JSON."""
    return all(matches_type(getattr(record, name), hint) for name, hint in get_type_hints(type(record)).items())


def matches_type(value: Any, hint: Any) -> bool:
    """Whether `value` is of the type `hint`: numbers, str, bool, list, dict or tuple of those, Any or a union."""
    parts = get_args(hint)
    if hint is Any or not parts:
        if hint is float:
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        return hint is Any or (isinstance(value, hint) and (hint is bool or not isinstance(value, bool)))
    if get_origin(hint) is list:
        return isinstance(value, list) and all(matches_type(item, parts[0]) for item in value)
    if get_origin(hint) is dict:
        return isinstance(value, dict) and all(matches_type(item, parts[1]) for item in value.values())
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and len(value) == len(parts) and all(map(matches_type, value, parts))
    return any(matches_type(value, part) for part in parts)


def matches_layout(arrays: Mapping[str, NDArray[Any]], layout: ArrayLayout) -> bool:
    """Whether all arrays of a layout exist, contain finite numbers and have the given shapes.

    A letter in a shape stands for any length, the same wherever it is used.
    """
    lengths: dict[str, int] = {}
    for name, shape in layout.items():
        array = arrays.get(name)
        if array is None or array.ndim != len(shape) or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            return False
        for length, expected in zip(array.shape, shape, strict=True):
            if length != (lengths.setdefault(expected, length) if isinstance(expected, str) else expected):
                return False
    return True


def _read_array_stream(stream: IO[bytes], size: int) -> NDArray[Any]:
    """Read the array in a stream of `size` bytes; its header is checked before memory is allocated."""
    version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = readers[version](stream)  # type: ignore[no-untyped-call]
    if dtype.kind not in ALLOWED_DTYPE_KINDS or dtype.itemsize == 0 or any(side < 0 for side in shape):
        raise ValueError(f"{dtype} {shape} is not an array of numbers or text")
    if math.prod(shape) * dtype.itemsize > size or (0 in shape and max(shape) > MAX_EMPTY_ARRAY_SIDE):
        raise ValueError(f"{dtype} {shape} needs more bytes than the file has")
    stream.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)  # type: ignore[no-untyped-call]
    return array


def _check_zip_directory(file: BinaryIO, size: int) -> None:
    """Refuse a zip whose table of contents is too long.

    Its last 22 bytes give that length (APPNOTE 4.3.16). numpy writes neither a comment after them nor the longer form
    of very large archives (4.3.15).
    """
    file.seek(max(0, size - 42))
    end = file.read()
    if (
        end[-22:-18] != b"PK\5\6"
        or end[:4] == b"PK\6\7"
        or int.from_bytes(end[-10:-6], "little") > MAX_ZIP_DIRECTORY_BYTES
    ):
        raise ValueError("not an .npz file")
    file.seek(0)


@contextmanager
def _raise_as_value_error(path: Path) -> Iterator[None]:
    """Turn the various exceptions of numpy, zipfile and zlib for a damaged file into ValueError."""
    try:
        yield
    except (OSError, MemoryError, ValueError):
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged") from error
