"""The preview service: the newest request wins, bad requests are reported, pixels arrive in the mapped file."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from child import REPO, TIMEOUT_SECONDS

from backend.cli.failures import error_from_exception
from backend.cli.preview_service import PreviewRequest, PreviewService, warp_to_camera
from backend.contract.actor_folder import ActorFolder
from backend.contract.arrays import U8
from backend.contract.camera import CameraPath
from backend.contract.channels import CHANNEL_INDEX, CHANNELS
from backend.contract.errors import UserError
from backend.contract.protocol import (
    Error,
    Hello,
    Message,
    Preview,
    Progress,
    Request,
    Result,
    decode_message,
    encode_message,
)
from backend.dataset.frame_store import FrameStore
from backend.portrait.model import Portrait, Pose, RenderedFrame
from backend.rasterizer import CameraView

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, make_actor: Callable[[Path], ActorFolder]) -> ActorFolder:
    return make_actor(tmp_path / "tiny.actor")


class GatedModel:
    """Renders only when the test allows it, and records the head's x of each rendering."""

    def __init__(self, portrait: Portrait) -> None:
        self.portrait = portrait
        self.rendered_positions: list[float] = []
        self.permits = threading.Semaphore(1)  # one for the warm-up
        self.started = threading.Semaphore(0)

    def render(self, pose: Pose, camera: CameraView, **options: Any) -> RenderedFrame:
        """Render when a permit is available; a head far to the left raises a bug."""
        self.rendered_positions.append(round(float(pose.head_translation[0]), 3))
        self.started.release()
        assert self.permits.acquire(timeout=TIMEOUT_SECONDS)
        if pose.head_translation[0] > 0.5:
            raise RuntimeError("a bug in the model")
        return self.portrait.render(pose, camera, **options)


class ServiceThread:
    """A preview service in a thread of this process."""

    def __init__(self, folder: ActorFolder) -> None:
        self.messages: list[Message] = []
        self.model = GatedModel(Portrait.load(folder, CPU))
        self.service = PreviewService(
            folder, self.messages.append, lambda error: error_from_exception(error, folder.path)
        )
        load: Any = lambda *_: self.model  # noqa: E731
        self.thread = threading.Thread(target=self.service.run, args=(load, CPU), daemon=True)
        self.thread.start()
        self.wait_for_rendering()

    def wait_for_rendering(self) -> None:
        """Wait until the next rendering starts."""
        assert self.model.started.acquire(timeout=TIMEOUT_SECONDS)

    def request(self, name: str, x: float) -> None:
        """Request a preview with the head at x."""
        self.service.post_request(Request(name, "frame", {"head_translation": [x, 0, 0]}))

    def end(self) -> list[Message]:
        """Quit the service and return all messages."""
        self.service.post_request(Request("bye", "quit"))
        self.model.permits.release()
        self.thread.join(TIMEOUT_SECONDS)
        assert not self.thread.is_alive()
        return self.messages


@pytest.fixture
def service(folder: ActorFolder) -> Iterator[ServiceThread]:
    thread = ServiceThread(folder)
    yield thread
    thread.service.close()
    for _ in range(10):
        thread.model.permits.release()
    thread.thread.join(TIMEOUT_SECONDS)


def test_only_the_newest_waiting_request_is_rendered(service: ServiceThread) -> None:
    service.request("a", 0.01)
    service.wait_for_rendering()
    for name, x in (("b", 0.02), ("c", 0.03), ("d", 0.04)):
        service.request(name, x)
    service.model.permits.release()
    service.wait_for_rendering()
    messages = service.end()
    assert service.model.rendered_positions == [0.0, 0.01, 0.04], (
        "the warm-up, the first, and the newest of those that waited"
    )
    assert [m.id for m in messages if isinstance(m, Preview)] == ["a", "d"]
    assert isinstance(messages[-1], Result) and messages[-1].id == "bye"


def test_cancelled_request_is_not_rendered(service: ServiceThread) -> None:
    service.request("a", 0.01)
    service.wait_for_rendering()
    service.request("b", 0.02)
    service.service.post_request(Request("b", "cancel"))
    messages = service.end()
    assert service.model.rendered_positions == [0.0, 0.01] and isinstance(messages[-1], Result)


def test_invalid_requests_are_reported_and_the_service_continues(service: ServiceThread, folder: ActorFolder) -> None:
    service.service.post_request(Request("unknown", "dance"))
    for name, data in (("short", {"channels": [1, 2]}), ("nan", {"head_translation": [float("nan"), 0, 0]}),
                       ("huge", {"width": 9000}), ("half", {"view": np.eye(4).tolist()})):  # fmt: skip
        service.service.post_request(Request(name, "frame", data))
        wait_for_message(service, name)
    service.request("bug", 0.9)
    service.wait_for_rendering()
    service.model.permits.release()
    wait_for_message(service, "bug")
    service.request("good", 0.01)
    service.wait_for_rendering()
    messages = service.end()
    errors = {m.id: m for m in messages if isinstance(m, Error)}
    assert {name: e.code for name, e in errors.items()} == {
        "unknown": "bad_request", "short": "bad_request", "nan": "bad_performance", "huge": "bad_request",
        "half": "bad_request", "bug": "internal",
    }  # fmt: skip
    assert "a bug in the model" in Path(errors["bug"].log).read_text(encoding="utf-8")
    assert [m.id for m in messages if isinstance(m, Preview)] == ["good"]


def wait_for_message(service: ServiceThread, name: str) -> None:
    """Wait for a message with the id `name`."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not any(getattr(message, "id", "") == name for message in list(service.messages)):
        assert time.monotonic() < deadline, f"no message {name}"
        time.sleep(0.01)


def test_request_is_parsed(folder: ActorFolder) -> None:
    view = np.diag([1.0, -1, -1, 1])
    view[2, 3] = 2
    data = {
        "width": 64, "height": 32, "frame": -7, "head_rotation": [0.6, 0.8, 0, 0], "channels": {"jawOpen": 0.5},
        "view": view.tolist(), "intrinsics": [50, 50, 32, 16],
    }  # fmt: skip
    preview = PreviewRequest.from_request(Request("a", "frame", data), folder)
    assert (preview.camera.width, preview.camera.height, preview.frame) == (64, 32, -7)
    assert (
        preview.performance.channels[0, CHANNEL_INDEX["jawOpen"]] == 0.5 and preview.performance.channels.sum() == 0.5
    )
    assert preview.performance.head_rotation[0].tolist() == pytest.approx([0.6, 0.8, 0, 0])
    row = list(np.linspace(0, 1, len(CHANNELS)))
    again = PreviewRequest.from_request(Request("a", "frame", {**data, "channels": row}), folder)
    assert again.performance.channels[0].tolist() == pytest.approx(row)


@pytest.mark.parametrize(
    "data",
    [{"head_rotation": [2, 0, 0, 0]}, {"head_rotation": [1, 0, 0]}, {"channels": {"jawDrop": 1}}, {"channels": "all"},
     {"width": 0}, {"width": "wide"}, {"view": np.eye(4).tolist(), "intrinsics": [0, 0, 0, 0]},
     {"view": [[1]], "intrinsics": [1, 1, 1, 1]}, {"frame": 1e400}, {"frame": [1]}, {"footage": 3}, {"footage": -1},
     {"footage": "first"}],
)  # fmt: skip
def test_invalid_request_is_refused(folder: ActorFolder, data: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        PreviewRequest.from_request(Request("a", "frame", data), folder)


def add_footage(folder: ActorFolder) -> U8:
    """Write a smooth footage frame 1 with the person in its upper half, and return it."""
    store, size = FrameStore(folder), folder.info.size
    store.make_folders()
    y, x = np.mgrid[:size, :size] / size
    image = np.rint(255 * np.dstack([x, y, 0.5 + 0.5 * np.sin(3 * x + 2 * y)])).astype(np.uint8)
    store.write_frame(1, image)
    matte = np.zeros((size, size, 4), np.float32)
    matte[: size // 2] = 1
    store.write_matte(1, matte)
    return store.read_frame(1)


def test_warp_moves_a_dot_to_its_projection() -> None:
    """The dot is at the projection of its ray, at subpixel positions, in smaller and larger images."""
    y, x = np.mgrid[:64, :64] + 0.5
    k = np.array([[90, 0, 30.0], [0, 90, 35], [0, 0, 1]])
    dot = np.exp(-((x - 37) ** 2 + (y - 31) ** 2) / 18) * 255
    image = np.repeat(np.rint(dot).astype(np.uint8)[..., None], 3, 2)
    for scale in (0.37, 0.5, 1.0, 1.7):
        lens_intrinsics = np.array([[90 * scale, 93 * scale, 31.3, 29.8]])
        camera = CameraPath(70, 60, np.array([0]), np.eye(4)[None], lens_intrinsics)
        warped = warp_to_camera(camera, image, k)
        assert warped.shape == (60, 70, 4)
        weight = warped[..., 0].astype(float)
        rows, columns = np.mgrid[:60, :70] + 0.5
        found = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        expected = lens_intrinsics[0, :2] * (np.array([37, 31]) - k[:2, 2]) / 90 + lens_intrinsics[0, 2:]
        assert np.abs(found - expected).max() < 0.05
        left, right = (lens_intrinsics[0, 0] * (edge - 30) / 90 + lens_intrinsics[0, 2] for edge in (0, 64))
        inside = warped[30, :, 3] > 127
        assert inside.sum() == pytest.approx(min(70, right) - max(0, left), abs=1.5)


def test_footage_is_sent_beside_the_preview(folder: ActorFolder) -> None:
    frame = add_footage(folder)
    messages: list[Message] = []
    images: dict[str, U8] = {}

    def on_message(message: Message) -> None:
        """Keep the message and send the request that follows it."""
        messages.append(message)
        if isinstance(message, Preview) and message.footage:
            images[message.id] = np.fromfile(message.footage, np.uint8).reshape(message.height, message.width, 4)
        next_requests = {"a": ("b", {"footage": 1, "cut_out": True}), "b": ("c", {"footage": 2}), "c": ("d", {})}
        name, data = next_requests.get(getattr(message, "id", ""), ("bye", None))
        if isinstance(message, (Preview, Error)):
            preview_service.post_request(Request(name, "quit" if data is None else "frame", data or {}))

    preview_service = PreviewService(folder, on_message, lambda error: error_from_exception(error, folder.path))
    preview_service.post_request(Request("a", "frame", {"footage": 1}))
    preview_service.run(lambda actor, device: Portrait.load(actor, device), CPU)
    assert np.abs(images["a"][..., :3].astype(int) - frame).max() <= 1 and images["a"][..., 3].min() == 255
    assert np.abs(images["b"][:24, :, :3].astype(int) - frame[:24]).max() <= 1
    assert not images["b"][24:, :, :3].any() and images["b"][..., 3].min() == 255
    error = next(m for m in messages if isinstance(m, Error))
    assert (error.id, error.code) == ("c", "damaged_actor") and "000002.jpg" in error.message
    without_footage = next(m for m in messages if isinstance(m, Preview) and m.id == "d")
    assert without_footage.footage == ""


class ServiceProcess:
    """`python -m backend serve`, as Blender runs it."""

    def __init__(self, folder: ActorFolder) -> None:
        command = [sys.executable, "-m", "backend", "serve", str(folder.path), "--device", "cpu"]
        self.child = subprocess.Popen(command, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self) -> Message:
        """Read the next message."""
        assert self.child.stdout is not None
        return decode_message(self.child.stdout.readline())

    def write(self, text: str) -> None:
        """Write a line."""
        assert self.child.stdin is not None
        self.child.stdin.write(text + "\n")
        self.child.stdin.flush()

    def render(self, name: str, **data: Any) -> tuple[Preview, U8]:
        """Request a preview and return the answer with its pixels."""
        self.write(encode_message(Request(name, "frame", data)))
        answer = self.read()
        assert isinstance(answer, Preview) and answer.id == name
        pixels = np.fromfile(answer.path, np.uint8).reshape(answer.height, answer.width, 4)
        return answer, pixels


def test_service_process_renders_and_ends_on_quit(folder: ActorFolder) -> None:
    process = ServiceProcess(folder)
    try:
        hello = process.read()
        assert isinstance(hello, Hello) and hello.device == "cpu" and hello.pid == process.child.pid
        while not (isinstance(message := process.read(), Progress) and message.done == message.total):
            pass
        process.write("this is no request")
        first, closed = process.render("a", frame=3)
        assert (first.width, first.height, first.frame) == (48, 48, 3)
        assert closed[..., 3].max() == 255 and closed[0, 0, 3] == 0
        head = closed[18, 24]
        assert np.abs(head[:3].astype(int) - (204, 128, 102)).max() < 12, "display colours with straight alpha"
        second, opened = process.render("b", channels={"jawOpen": 1.0})
        assert second.path != first.path, "the image that Blender may still read must not be overwritten"
        assert (np.fromfile(first.path, np.uint8).reshape(closed.shape) == closed).all()
        changed = np.abs(opened.astype(int) - closed).max(-1) > 8
        assert changed[26:].any() and not changed[:18].any(), "only the jaw may move"
        third, wide = process.render("c", width=96)
        assert wide.shape == (96, 96, 4) and third.width == 96
        process.write(encode_message(Request("bye", "quit")))
        assert process.read() == Result("bye")
        assert process.child.wait(TIMEOUT_SECONDS) == 0
        assert not Path(first.path).parent.exists()
    finally:
        process.child.kill()
        process.child.communicate()


def test_service_process_ends_when_its_input_closes(folder: ActorFolder) -> None:
    process = ServiceProcess(folder)
    try:
        while not (isinstance(message := process.read(), Progress) and message.done == message.total):
            pass
        _, _ = process.render("a")
        assert process.child.stdin is not None
        process.child.stdin.close()
        assert process.child.wait(TIMEOUT_SECONDS) == 0
    finally:
        process.child.kill()
        process.child.wait()
