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


class FootageRequest(NamedTuple):
    """The footage that is wanted beside a picture: its frame, and whether the person alone, over black."""

    frame_index: int
    is_cut_out: bool


class PreviewImage(NamedTuple):
    """(H, W, 4) uint8 display sRGB with straight alpha, top row first; scene frame; seconds from asking for it; what
    footage was asked for, and its picture."""

    pixels: NDArray[np.uint8]
    frame: int
    latency_seconds: float
    footage_request: FootageRequest | None = None
    footage: NDArray[np.uint8] | None = None


class PendingRequest(NamedTuple):
    """A request: when it was made, on `time.monotonic`'s clock, and the footage that it wants."""

    send_time: float
    footage_request: FootageRequest | None


class PreviewProcess:
    """One actor's preview process. Nothing here waits: `look` takes in what has been said since."""

    def __init__(self, folder: Path) -> None:
        """Starts the process.

        Raises:
            UserError: the backend is not set up, or cannot be started.
        """
        python = environment.require_python()
        place = environment.make_job_folder(
            "preview"
        )  # cleared away some day, with the pictures of a process that was killed
        command = [str(python), "-m", "backend", "serve", str(folder), "--pictures", str(place)]
        self.is_ready = False
        self.error: protocol.Error | None = None
        self.device = ""
        self._process = BackendProcess(command, place / "log.txt", is_service=True)
        self._request_ids = itertools.count(1)
        self._pending_requests: dict[str, PendingRequest] = {}

    @property
    def is_rendering(self) -> bool:
        """Whether a request has no answer yet."""
        return bool(self._pending_requests)

    def request_image(
        self, table: performance.Performance, view: camera.CameraPath, footage_request: FootageRequest | None = None
    ) -> None:
        """Asks for the first row of a performance through a still camera, and for footage beside it. The newest request
        wins."""
        number = str(next(self._request_ids))
        data = {name: getattr(table, name)[0].tolist() for name in (*performance.POSE_FIELDS, "channels")}
        data |= {"width": view.width, "height": view.height, "frame": int(table.frames[0])}
        data |= {"view": view.views[0].tolist(), "intrinsics": view.intrinsics[0].tolist()}
        if footage_request is not None:
            data |= {"footage": footage_request.frame_index, "cut_out": footage_request.is_cut_out}
        self._pending_requests[number] = PendingRequest(time.monotonic(), footage_request)
        self._process.send_request(protocol.Request(number, "frame", data))

    def receive_image(self) -> PreviewImage | None:
        """The newest picture that has come since the last call, if any."""
        newest, asked = None, PendingRequest(0.0, None)
        for message in self._process.receive_messages():
            if isinstance(message, protocol.Hello):
                self.device = message.device_name or message.device
            elif isinstance(message, protocol.Progress):
                self.is_ready = message.done == message.total
            elif isinstance(message, protocol.Preview):
                newest, asked = message, self._resolve_request(message.id)
            elif isinstance(message, protocol.Error):
                self.error = message
                self._resolve_request(message.id)
        if self._process.is_finished:
            self.is_ready, self._pending_requests = False, {}
        return self._load_image(newest, asked) if newest is not None else None

    def close(self) -> None:
        """Ends the process, at once for the person: it may take a moment to leave."""
        self._process.close_in_background()

    def _resolve_request(self, request_id: str) -> PendingRequest:
        """What was asked; an answer settles all earlier requests too, which were dropped for it."""
        asked = self._pending_requests.get(request_id, PendingRequest(time.monotonic(), None))
        if request_id.isdigit():
            self._pending_requests = {
                n: other for n, other in self._pending_requests.items() if int(n) > int(request_id)
            }
        return asked

    def _load_image(self, message: protocol.Preview, request: PendingRequest) -> PreviewImage | None:
        try:
            pixels, footage = (
                _read_pixels(path, message) if path else None for path in (message.path, message.footage)
            )
        except (OSError, ValueError):
            return None  # the size changed meanwhile: the next picture is on its way
        return PreviewImage(
            pixels, message.frame, time.monotonic() - request.send_time, request.footage_request, footage
        )


def _read_pixels(path: str, message: protocol.Preview) -> NDArray[np.uint8]:
    shape = message.height, message.width, 4
    data = safe_io.read_bytes(Path(path), math.prod(shape))
    return np.frombuffer(data, np.uint8).reshape(shape)
