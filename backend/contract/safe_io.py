"""Reading files that nobody vouches for. numpy only, so Blender reads through it too.

A file is measured before it is taken into memory: one that is no plain file, that promises more than it holds, or that
unpacks to far more than its own size, is refused. Nothing is unpickled.
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

MAX_FILE_BYTES = 16 * 2**30  # of any file that is read whole
MAX_JSON_BYTES = 128 * 2**20  # bytes
ALWAYS_ALLOWED_UNPACKED_BYTES, MAX_UNPACK_RATIO = (
    64 * 2**20,
    300,
)  # an .npz of S bytes may unpack to SMALL bytes or RATIO · S, whichever is more
MAX_ZIP_DIRECTORY_BYTES = 2**20  # bytes of a zip's table of contents
MAX_EMPTY_ARRAY_SIDE = 2**16  # length of any side of an array that holds nothing
ALLOWED_DTYPE_KINDS = "biufU"  # of numpy's types: truth values, whole and real numbers, text
ArrayLayout = Mapping[str, tuple[int | str, ...]]


def is_accessible_file(path: Path) -> bool:
    """Whether a file is there that may be looked at. pathlib raises where a name is too long or a folder is closed."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_accessible_folder(path: Path) -> bool:
    """Whether a folder is there that may be looked at."""
    try:
        return path.is_dir()
    except OSError:
        return False


@contextmanager
def open_regular_file(path: Path, max_bytes: int = MAX_FILE_BYTES, *, follow_links: bool = True) -> Iterator[BinaryIO]:
    """A file to read. Pipes and devices are refused: to open or read one may take for ever.

    Args:
        most: bytes that it may have.
        follow: whether it may be a link.

    Raises:
        OSError: it is not there, or is no plain file. ValueError: it is too large.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags if follow_links else flags | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is no plain file")
        if found.st_size > max_bytes:
            raise ValueError(f"{path} is larger than {max_bytes} bytes")
        yield file


def read_bytes(path: Path, max_bytes: int = MAX_FILE_BYTES, *, follow_links: bool = True) -> bytes:
    """What is in a file; see `opened`."""
    with open_regular_file(path, max_bytes, follow_links=follow_links) as file:
        return file.read()


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """The JSON value in a file; `is_plain` holds for it.

    Raises:
        OSError: it cannot be read. ValueError: it holds none.
    """
    try:
        data = json.loads(read_bytes(path, max_bytes).decode("utf-8-sig"))
        plain = is_json_safe(data)
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply") from error
    if not plain:
        raise ValueError(f"{path} holds a number or a text that cannot be used")
    return data


def read_array(path: Path) -> NDArray[Any]:
    """The array of an `.npy` file.

    Raises:
        OSError: it cannot be read. ValueError: it is damaged, or not of numbers or text.
    """
    with open_regular_file(path) as file, _raise_as_value_error(path):
        return _read_array_stream(file, os.fstat(file.fileno()).st_size)


def read_arrays(path: Path, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file by their names, or those of `only` that are there.

    Raises:
        OSError: it cannot be read. ValueError: it is damaged, would unpack to too much, or is not of numbers or text.
    """
    with open_regular_file(path) as file, _raise_as_value_error(path):
        size = os.fstat(file.fileno()).st_size
        _check_zip_directory(file, size)
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            if len(entries) < len(archive.infolist()):
                raise ValueError("a name is given twice")
            wanted = {name: entry for name, entry in entries.items() if names is None or name in names}
            if sum(entry.file_size for entry in wanted.values()) > max(
                ALWAYS_ALLOWED_UNPACKED_BYTES, MAX_UNPACK_RATIO * size
            ):
                raise ValueError("it unpacks to far more than its size")
            arrays = {}
            for name, entry in wanted.items():
                with archive.open(entry) as stream:
                    arrays[name] = _read_array_stream(stream, entry.file_size)
            return arrays


def is_json_safe(value: object) -> bool:
    """Whether what JSON gave can be used and written again: numbers up to `LARGEST`, text without NUL that UTF-8 can
    say, and lists and tables of those.

    Raises:
        RecursionError: it is nested too deeply.
    """
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, (int, float)):
        return -MAX_EXACT_INTEGER <= value <= MAX_EXACT_INTEGER  # false for what is not a number, too
    if isinstance(value, dict):
        return all(map(is_json_safe, value)) and all(map(is_json_safe, value.values()))
    if isinstance(value, list):
        return all(map(is_json_safe, value))
    return value is None


def has_valid_fields(record: Any) -> bool:
    """Whether every field of a dataclass instance that was read from JSON holds what its annotation says."""
    return all(matches_type(getattr(record, name), hint) for name, hint in get_type_hints(type(record)).items())


def matches_type(value: Any, hint: Any) -> bool:
    """Whether `value` is of the type `hint`: numbers, str, bool, list, dict or tuple of those, or either."""
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
    """Whether all that a layout names is there, of finite numbers and of that shape. A letter in a shape stands for
    any length, the same wherever it is used."""
    lengths: dict[str, int] = {}
    for name, shape in layout.items():
        array = arrays.get(name)
        if array is None or array.ndim != len(shape) or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            return False
        for found, wanted in zip(array.shape, shape, strict=True):
            if found != (lengths.setdefault(wanted, found) if isinstance(wanted, str) else wanted):
                return False
    return True


def _read_array_stream(stream: IO[bytes], size: int) -> NDArray[Any]:
    """The array in a stream of `size` bytes, whose header is looked at before memory is taken."""
    version = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = readers[version](stream)  # type: ignore[no-untyped-call]
    if dtype.kind not in ALLOWED_DTYPE_KINDS or dtype.itemsize == 0 or any(side < 0 for side in shape):
        raise ValueError(f"{dtype} {shape} is no array of numbers or text")
    if math.prod(shape) * dtype.itemsize > size or (0 in shape and max(shape) > MAX_EMPTY_ARRAY_SIDE):
        raise ValueError(f"{dtype} {shape} is more than there is")
    stream.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)  # type: ignore[no-untyped-call]
    return array


def _check_zip_directory(file: BinaryIO, size: int) -> None:
    """Refuses a zip with a table of contents that is too long: Python would make ten times its size of it.

    The last 22 bytes say how long it is (APPNOTE 4.3.16); a comment after them, or the longer form of very large
    archives (4.3.15), is nothing that numpy writes.
    """
    file.seek(max(0, size - 42))
    end = file.read()
    if (
        end[-22:-18] != b"PK\5\6"
        or end[:4] == b"PK\6\7"
        or int.from_bytes(end[-10:-6], "little") > MAX_ZIP_DIRECTORY_BYTES
    ):
        raise ValueError("no .npz")
    file.seek(0)


@contextmanager
def _raise_as_value_error(path: Path) -> Iterator[None]:
    """numpy, zipfile and zlib each raise their own kinds on a damaged file."""
    try:
        yield
    except (OSError, MemoryError, ValueError):
        raise
    except Exception as error:
        raise ValueError(f"{path} is damaged") from error
