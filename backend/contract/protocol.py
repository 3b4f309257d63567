"""The messages between Blender and the backend: one JSON object per line, over standard input and output.

The backend writes events, Blender writes requests. Both import this module, so it needs only the standard library.
Pixels are never sent as JSON: a message names the file that contains them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

PROTOCOL_VERSION = 1
JOB_ID = "job"  # id of the job in messages of a process that runs only one
MAX_LINE_BYTES = 1 << 20  # a longer line is refused; the longest real message is some kilobytes
MAX_EXACT_INTEGER = 2**53  # largest number in a field: every JSON reader represents integers up to it exactly


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
    """The progress of a stage.

    Attributes:
        id: the job's id.
        stage: the stage's name, a key of the translations.
        done: finished units.
        total: all units.
        eta: seconds until the whole job ends, negative when unknown.
        message: text that replaces the stage's name in the interface.
    """

    event: ClassVar[str] = "progress"
    id: str
    stage: str
    done: int
    total: int
    eta: float = -1.0
    message: str = ""


@dataclass(frozen=True)
class Note:
    """A statement for the user, e.g. what was left out of the footage."""

    event: ClassVar[str] = "note"
    id: str
    message: str


@dataclass(frozen=True)
class Preview:
    """A preview image.

    Attributes:
        id: the request's id.
        path: an image file, or a memory-mapped file of `width`×`height` RGBA uint8, top row first.
        width: pixels of the memory-mapped file.
        height: pixels of the memory-mapped file.
        frame: the frame number of the request.
        footage: a second file of that form with the footage at that frame, if the request asked for it.
    """

    event: ClassVar[str] = "preview"
    id: str
    path: str
    width: int = 0
    height: int = 0
    frame: int = 0
    footage: str = ""


@dataclass(frozen=True)
class Result:
    """The request `id` succeeded; `data` contains its results (paths, figures)."""

    event: ClassVar[str] = "result"
    id: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Error:
    """The request `id` failed, or was cancelled (code ``"cancelled"``).

    `data` is `UserError.data`. For ``"several_faces"`` it is {"faces": [[x, y, width, height], …] in footage pixels,
    left to right, "frame": a frame that shows all of them, "pictures": [path, …] of the faces if a folder was given}.
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
    """A request of Blender to a running backend: ``cancel``, ``frame`` (the preview service) or ``quit``."""

    event: ClassVar[str] = "request"
    id: str
    verb: str
    data: dict[str, Any] = field(default_factory=dict)


Message = Hello | Progress | Note | Preview | Result | Error | Request
_MESSAGE_TYPES: dict[str, type[Any]] = {
    message_type.event: message_type for message_type in (Hello, Progress, Note, Preview, Result, Error, Request)
}


def encode_message(message: Message) -> str:
    """Return one line of JSON without its newline; ASCII only, so no console encoding can break it."""
    return json.dumps({"event": message.event, **asdict(message)}, ensure_ascii=True, allow_nan=False)


def decode_message(line: str) -> Message:
    """Return the message in a line; unknown fields are ignored.

    Raises:
        ValueError: the line is too long, not JSON, or not one of the messages above.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ValueError("message longer than 1 MiB")
    try:
        data = json.loads(line)
    except RecursionError as error:
        raise ValueError("message nested too deeply") from error
    message_type = _MESSAGE_TYPES.get(str(data.pop("event", ""))) if isinstance(data, dict) else None
    if message_type is None:
        raise ValueError("not a Portrait Actor message")
    known = {name: value for name, value in data.items() if name in message_type.__dataclass_fields__}
    try:
        message: Message = message_type(**known)
    except TypeError as error:
        raise ValueError(str(error)) from error
    for name, value in known.items():
        annotation = str(message_type.__dataclass_fields__[name].type)
        if not _matches_annotation(value, annotation):
            raise ValueError(f"{message_type.event}.{name} should be {annotation}")
    return message


def split_lines(read: Callable[[], bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream.

    Of a line that is too long for a message only the beginning is kept, enough for `decode_message` to refuse it.

    Args:
        read: returns the next part of the stream, empty at its end.
    """
    rest = b""
    while piece := read():
        *complete_lines, last = piece.split(b"\n")
        for line in complete_lines:
            yield (rest + line)[: MAX_LINE_BYTES + 1]
            rest = b""
        rest += last[: MAX_LINE_BYTES + 1 - len(rest)]
    if rest:
        yield rest


def _matches_annotation(value: object, annotation: str) -> bool:
    """Whether a decoded JSON value is valid in a field of this annotation."""
    if annotation == "str":
        return isinstance(value, str)
    if annotation == "int":
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_EXACT_INTEGER
    if annotation == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MAX_EXACT_INTEGER
    return isinstance(value, dict)
