"""The warm process that draws: requests in, the newest picture out. Knows nothing of Blender's data."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contract import camera, performance, protocol, safe_io
from ..jobs import environment
from ..jobs.process import BackendProcess


class Still(NamedTuple):
    """The footage that is wanted beside a picture: its frame, and whether the person alone, over black."""

    index: int
    cut_out: bool


class Picture(NamedTuple):
    """(H, W, 4) uint8 display sRGB with straight alpha, top row first; scene frame; seconds from asking for it; what
    footage was asked for, and its picture."""

    pixels: NDArray[np.uint8]
    frame: int
    latency: float
    still: Still | None = None
    footage: NDArray[np.uint8] | None = None


class Asked(NamedTuple):
    """A request: when it was made, on `time.monotonic`'s clock, and the footage that it wants."""

    at: float
    still: Still | None


class Painter:
    """One actor's preview process. Nothing here waits: `look` takes in what has been said since."""

    def __init__(self, folder: Path) -> None:
        """Starts the process.

        Raises:
            UserError: the backend is not set up, or cannot be started.
        """
        python = environment.require_python()
        place = environment.job_folder(
            "preview"
        )  # cleared away some day, with the pictures of a process that was killed
        command = [str(python), "-m", "backend", "serve", str(folder), "--pictures", str(place)]
        self.is_ready = False
        self.error: protocol.Error | None = None
        self.device = ""
        self._process = BackendProcess(command, place / "log.txt", serves=True)
        self._numbers = itertools.count(1)
        self._asked: dict[str, Asked] = {}

    @property
    def is_drawing(self) -> bool:
        """Whether a request has no answer yet."""
        return bool(self._asked)

    def ask(self, table: performance.Performance, view: camera.CameraPath, still: Still | None = None) -> None:
        """Asks for the first row of a performance through a still camera, and for footage beside it. The newest request
        wins."""
        number = str(next(self._numbers))
        data = {name: getattr(table, name)[0].tolist() for name in (*performance.POSE, "channels")}
        data |= {"width": view.width, "height": view.height, "frame": int(table.frames[0])}
        data |= {"view": view.views[0].tolist(), "intrinsics": view.intrinsics[0].tolist()}
        if still is not None:
            data |= {"footage": still.index, "cut_out": still.cut_out}
        self._asked[number] = Asked(time.monotonic(), still)
        self._process.ask(protocol.Request(number, "frame", data))

    def look(self) -> Picture | None:
        """The newest picture that has come since the last call, if any."""
        newest, asked = None, Asked(0.0, None)
        for message in self._process.poll():
            if isinstance(message, protocol.Hello):
                self.device = message.device_name or message.device
            elif isinstance(message, protocol.Progress):
                self.is_ready = message.done == message.total
            elif isinstance(message, protocol.Preview):
                newest, asked = message, self._answered(message.id)
            elif isinstance(message, protocol.Error):
                self.error = message
                self._answered(message.id)
        if self._process.finished:
            self.is_ready, self._asked = False, {}
        return self._fetch(newest, asked) if newest is not None else None

    def close(self) -> None:
        """Ends the process, at once for the person: it may take a moment to leave."""
        self._process.leave()

    def _answered(self, number: str) -> Asked:
        """What was asked; an answer settles all earlier requests too, which were dropped for it."""
        asked = self._asked.get(number, Asked(time.monotonic(), None))
        if number.isdigit():
            self._asked = {n: other for n, other in self._asked.items() if int(n) > int(number)}
        return asked

    def _fetch(self, message: protocol.Preview, asked: Asked) -> Picture | None:
        try:
            pixels, footage = (_read(path, message) if path else None for path in (message.path, message.footage))
        except (OSError, ValueError):
            return None  # the size changed meanwhile: the next picture is on its way
        return Picture(pixels, message.frame, time.monotonic() - asked.at, asked.still, footage)


def _read(path: str, message: protocol.Preview) -> NDArray[np.uint8]:
    shape = message.height, message.width, 4
    data = safe_io.read_bytes(Path(path), math.prod(shape))
    return np.frombuffer(data, np.uint8).reshape(shape)
