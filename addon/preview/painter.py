"""The warm process that draws: requests in, the newest picture out. Knows nothing of Blender's data."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..contract import camera, performance, protocol
from ..jobs import environment
from ..jobs.process import BackendProcess


class Picture(NamedTuple):
    """(H, W, 4) uint8 display sRGB with straight alpha, top row first; scene frame; seconds from asking for it."""

    pixels: NDArray[np.uint8]
    frame: int
    latency: float


class Painter:
    """One actor's preview process. Nothing here waits: `look` takes in what has been said since."""

    def __init__(self, folder: Path) -> None:
        """Starts the process.

        Raises:
            UserError: the backend is not set up, or cannot be started.
        """
        command = [str(environment.require_python()), "-m", "backend", "serve", str(folder)]
        self.is_ready = False
        self.error: protocol.Error | None = None
        self.device = ""
        self._process = BackendProcess(command, environment.job_folder("preview") / "log.txt", serves=True)
        self._numbers = itertools.count(1)
        self._asked: dict[str, float] = {}

    @property
    def is_drawing(self) -> bool:
        """Whether a request has no answer yet."""
        return bool(self._asked)

    def ask(self, table: performance.Performance, view: camera.CameraPath) -> None:
        """Asks for the first row of a performance through a still camera. The newest request wins."""
        number = str(next(self._numbers))
        data = {name: getattr(table, name)[0].tolist() for name in (*performance.POSE, "channels")}
        data |= {"width": view.width, "height": view.height, "frame": int(table.frames[0])}
        data |= {"view": view.views[0].tolist(), "intrinsics": view.intrinsics[0].tolist()}
        self._asked[number] = time.monotonic()
        self._process.ask(protocol.Request(number, "frame", data))

    def look(self) -> Picture | None:
        """The newest picture that has come since the last call, if any."""
        newest, asked = None, 0.0
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
        return self._fetch(newest, asked) if newest is not None else None

    def close(self) -> None:
        """Ends the process, at once for the person: it may take a moment to leave."""
        self._process.leave()

    def _answered(self, number: str) -> float:
        """When a request was made; an answer settles all earlier ones too, which were dropped for it."""
        asked = self._asked.get(number, time.monotonic())
        if number.isdigit():
            self._asked = {n: at for n, at in self._asked.items() if int(n) > int(number)}
        return asked

    def _fetch(self, message: protocol.Preview, asked: float) -> Picture | None:
        try:
            pixels = np.fromfile(message.path, np.uint8).reshape(message.height, message.width, 4)
        except (OSError, ValueError):
            return None  # the size changed meanwhile: the next picture is on its way
        return Picture(pixels, message.frame, time.monotonic() - asked)
