"""The process that renders the preview: requests in, the newest image out. Independent of Blender's data."""

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
    """The footage to show beside the actor.

    Attributes:
        frame_index: number of the footage's frame.
        is_cut_out: whether to show the person alone, over black.
    """

    frame_index: int
    is_cut_out: bool


class PreviewImage(NamedTuple):
    """A rendered image.

    Attributes:
        pixels: (H, W, 4) uint8 display sRGB with straight alpha, top row first.
        frame: the scene frame.
        latency_seconds: from the request to the image.
        footage_request: the footage that was requested with it.
        footage: its image, as `pixels`.
    """

    pixels: NDArray[np.uint8]
    frame: int
    latency_seconds: float
    footage_request: FootageRequest | None = None
    footage: NDArray[np.uint8] | None = None


class PendingRequest(NamedTuple):
    """A request without an answer.

    Attributes:
        send_time: on the clock of `time.monotonic`.
        footage_request: the footage that was requested with it.
    """

    send_time: float
    footage_request: FootageRequest | None


class PreviewProcess:
    """One actor's preview process. No method waits for it."""

    def __init__(self, folder: Path) -> None:
        """Start the process.

        Raises:
            UserError: the backend is not set up, or cannot be started.
        """
        python = environment.require_python()
        job_folder = environment.make_job_folder("preview")  # deleted later, with the images of a killed process
        command = [str(python), "-m", "backend", "serve", str(folder), "--pictures", str(job_folder)]
        self.is_ready = False
        self.error: protocol.Error | None = None
        self.device = ""
        self._process = BackendProcess(command, job_folder / "log.txt", is_service=True)
        self._request_ids = itertools.count(1)
        self._pending_requests: dict[str, PendingRequest] = {}

    @property
    def is_rendering(self) -> bool:
        """Whether a request has no answer yet."""
        return bool(self._pending_requests)

    def request_image(
        self, table: performance.Performance, view: camera.CameraPath, footage_request: FootageRequest | None = None
    ) -> None:
        """Request an image. A newer request replaces one that has not been started.

        Args:
            table: the performance; its first frame is rendered.
            view: the camera; its first frame is used.
            footage_request: footage to return with the image.
        """
        number = str(next(self._request_ids))
        data = {name: getattr(table, name)[0].tolist() for name in (*performance.POSE_FIELDS, "channels")}
        data |= {"width": view.width, "height": view.height, "frame": int(table.frames[0])}
        data |= {"view": view.views[0].tolist(), "intrinsics": view.intrinsics[0].tolist()}
        if footage_request is not None:
            data |= {"footage": footage_request.frame_index, "cut_out": footage_request.is_cut_out}
        self._pending_requests[number] = PendingRequest(time.monotonic(), footage_request)
        self._process.send_request(protocol.Request(number, "frame", data))

    def receive_image(self) -> PreviewImage | None:
        """Return the newest image since the last call, if any."""
        newest, answered = None, PendingRequest(0.0, None)
        for message in self._process.receive_messages():
            if isinstance(message, protocol.Hello):
                self.device = message.device_name or message.device
            elif isinstance(message, protocol.Progress):
                self.is_ready = message.done == message.total
            elif isinstance(message, protocol.Preview):
                newest, answered = message, self._resolve_request(message.id)
            elif isinstance(message, protocol.Error):
                self.error = message
                self._resolve_request(message.id)
        if self._process.is_finished:
            self.is_ready, self._pending_requests = False, {}
        return self._load_image(newest, answered) if newest is not None else None

    def close(self) -> None:
        """End the process in the background."""
        self._process.close_in_background()

    def _resolve_request(self, request_id: str) -> PendingRequest:
        """Return the request of an answer, which also settles all earlier requests: the process has dropped them."""
        request = self._pending_requests.get(request_id, PendingRequest(time.monotonic(), None))
        if request_id.isdigit():
            self._pending_requests = {
                n: other for n, other in self._pending_requests.items() if int(n) > int(request_id)
            }
        return request

    def _load_image(self, message: protocol.Preview, request: PendingRequest) -> PreviewImage | None:
        try:
            pixels = _read_pixels(message.path, message)
            footage = _read_pixels(message.footage, message) if message.footage else None
        except (OSError, ValueError):
            return None  # the size has changed meanwhile: the next image follows
        return PreviewImage(
            pixels, message.frame, time.monotonic() - request.send_time, request.footage_request, footage
        )


def _read_pixels(path: str, message: protocol.Preview) -> NDArray[np.uint8]:
    shape = message.height, message.width, 4
    data = safe_io.read_bytes(Path(path), math.prod(shape))
    return np.frombuffer(data, np.uint8).reshape(shape)
