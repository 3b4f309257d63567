"""The messages Blender and the backend exchange: one JSON object per line, over standard input and output.

The backend writes events, Blender writes requests. Both sides import this module, so it needs only the standard
library. Pixels never travel as JSON: a message names a file that holds them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 1 << 20  # bytes; a longer line is not one of ours
MAX_EXACT_INTEGER = 2**53  # the largest number in a field: every reader of JSON holds whole ones up to it exactly


@dataclass(frozen=True)
class Hello:
    """First line of every backend process."""

    event: ClassVar[str] = "hello"
    protocol: int = PROTOCOL_VERSION
    version: str = ""
    device: str = "cpu"  # "cpu" or "cuda"
    device_name: str = ""
    pid: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a stage is. `done` of `total` units; `eta` seconds for the whole job, negative when unknown."""

    event: ClassVar[str] = "progress"
    id: str
    stage: str
    done: int
    total: int
    eta: float = -1.0
    message: str = ""


@dataclass(frozen=True)
class Note:
    """A plain statement for the person, e.g. what was left out of the footage."""

    event: ClassVar[str] = "note"
    id: str
    message: str


@dataclass(frozen=True)
class Preview:
    """A picture. `path` names an image, or a memory-mapped file of `width`×`height` RGBA uint8, top row first;
    `footage` another one like it with the footage at that frame, when it was asked for."""

    event: ClassVar[str] = "preview"
    id: str
    path: str
    width: int = 0
    height: int = 0
    frame: int = 0
    footage: str = ""


@dataclass(frozen=True)
class Result:
    """The request `id` ended well; `data` is what it made (paths, figures)."""

    event: ClassVar[str] = "result"
    id: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Error:
    """The request `id` failed, or was cancelled (code ``"cancelled"``).

    `data` is `UserError.data`: for ``"several_faces"`` {"faces": [[x, y, width, height], …] in footage pixels from the
    left, "frame": where all are seen, "pictures": [path, …] of each face when a place for pictures was given}.
    """

    event: ClassVar[str] = "error"
    id: str
    code: str
    message: str
    remedy: str = ""
    log: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What Blender asks of a running backend: ``cancel``, ``frame`` (the preview service) or ``quit``."""

    event: ClassVar[str] = "request"
    id: str
    verb: str
    data: dict[str, Any] = field(default_factory=dict)


Message = Hello | Progress | Note | Preview | Result | Error | Request
_MESSAGE_TYPES: dict[str, type[Any]] = {k.event: k for k in (Hello, Progress, Note, Preview, Result, Error, Request)}


def encode_message(message: Message) -> str:
    """One line of JSON without its newline; ASCII only, so no console encoding can break it."""
    return json.dumps({"event": message.event, **asdict(message)}, ensure_ascii=True, allow_nan=False)


def decode_message(line: str) -> Message:
    """The message in one line.

    Raises:
        ValueError: the line is too long, is not JSON, or is not one of the messages above.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ValueError("message longer than 1 MiB")
    try:
        data = json.loads(line)
    except RecursionError as error:
        raise ValueError("message nested too deeply") from error
    kind = _MESSAGE_TYPES.get(str(data.pop("event", ""))) if isinstance(data, dict) else None
    if kind is None:
        raise ValueError("not a Portrait Actor message")
    known = {k: v for k, v in data.items() if k in kind.__dataclass_fields__}
    try:
        message: Message = kind(**known)
    except TypeError as error:
        raise ValueError(str(error)) from error
    for name, value in known.items():
        expected = kind.__dataclass_fields__[name].type
        if not _matches_annotation(value, str(expected)):
            raise ValueError(f"{kind.event}.{name} should be {expected}")
    return message


def split_lines(read: Callable[[], bytes]) -> Iterator[bytes]:
    """The lines that come in pieces from `read`, which gives nothing at the end. Of a line that is too long for a
    message only the beginning is kept, enough for `decode` to refuse it."""
    rest = b""
    while piece := read():
        *whole, last = piece.split(b"\n")
        for line in whole:
            yield (rest + line)[: MAX_LINE_BYTES + 1]
            rest = b""
        rest += last[: MAX_LINE_BYTES + 1 - len(rest)]
    if rest:
        yield rest


def _matches_annotation(value: object, annotation: str) -> bool:
    """Whether a decoded JSON value may stand in a field of this annotation."""
    if annotation == "str":
        return isinstance(value, str)
    if annotation == "int":
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_EXACT_INTEGER
    if annotation == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MAX_EXACT_INTEGER
    return isinstance(value, dict)
