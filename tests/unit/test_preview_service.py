"""The preview service: newest request wins, one bad request ends nothing, pixels come through the mapped file."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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

REPO = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path, make_actor: Callable[[Path], ActorFolder]) -> ActorFolder:
    return make_actor(tmp_path / "tiny.actor")


class Slow:
    """A model that draws only when it is let, and remembers which heads it drew."""

    def __init__(self, portrait: Portrait) -> None:
        self.portrait = portrait
        self.drawn: list[float] = []
        self.may_draw, self.is_drawing = threading.Semaphore(1), threading.Semaphore(0)  # the warm-up is free

    def render(self, pose: Pose, camera: CameraView, **options: Any) -> RenderedFrame:
        self.drawn.append(round(float(pose.head_translation[0]), 3))
        self.is_drawing.release()
        assert self.may_draw.acquire(timeout=30)
        if pose.head_translation[0] > 0.5:
            raise RuntimeError("a bug in the model")
        return self.portrait.render(pose, camera, **options)


class Running:
    """A service in a thread of this process."""

    def __init__(self, folder: ActorFolder) -> None:
        self.said: list[Message] = []
        self.slow = Slow(Portrait.load(folder, CPU))
        self.service = PreviewService(folder, self.said.append, lambda error: error_from_exception(error, folder.path))
        load: Any = lambda *_: self.slow  # noqa: E731
        self.thread = threading.Thread(target=self.service.run, args=(load, CPU), daemon=True)
        self.thread.start()
        self.wait_for_drawing()

    def wait_for_drawing(self) -> None:
        assert self.slow.is_drawing.acquire(timeout=30)

    def ask(self, name: str, x: float) -> None:
        self.service.post_request(Request(name, "frame", {"head_translation": [x, 0, 0]}))

    def end(self) -> list[Message]:
        """Everything that was said, after quitting."""
        self.service.post_request(Request("bye", "quit"))
        self.slow.may_draw.release()
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.said


@pytest.fixture
def running(folder: ActorFolder) -> Iterator[Running]:
    made = Running(folder)
    yield made
    made.service.close()
    for _ in range(10):
        made.slow.may_draw.release()
    made.thread.join(30)


def test_newest_request_wins(running: Running) -> None:
    running.ask("a", 0.01)
    running.wait_for_drawing()
    for name, x in (("b", 0.02), ("c", 0.03), ("d", 0.04)):
        running.ask(name, x)
    running.slow.may_draw.release()
    running.wait_for_drawing()
    said = running.end()
    assert running.slow.drawn == [0.0, 0.01, 0.04], "the warm-up, the first, and only the newest of those that waited"
    assert [m.id for m in said if isinstance(m, Preview)] == ["a", "d"]
    assert isinstance(said[-1], Result) and said[-1].id == "bye"


def test_a_cancelled_request_is_not_drawn(running: Running) -> None:
    running.ask("a", 0.01)
    running.wait_for_drawing()
    running.ask("b", 0.02)
    running.service.post_request(Request("b", "cancel"))
    said = running.end()
    assert running.slow.drawn == [0.0, 0.01] and isinstance(said[-1], Result)


def test_one_bad_request_ends_nothing(running: Running, folder: ActorFolder) -> None:
    running.service.post_request(Request("unknown", "dance"))
    for name, data in (("short", {"channels": [1, 2]}), ("nan", {"head_translation": [float("nan"), 0, 0]}),
                       ("huge", {"width": 9000}), ("half", {"view": np.eye(4).tolist()})):  # fmt: skip
        running.service.post_request(Request(name, "frame", data))
        _until(lambda name=name: any(getattr(m, "id", "") == name for m in running.said))
    running.ask("bug", 0.9)
    running.wait_for_drawing()
    running.slow.may_draw.release()
    _until(lambda: any(getattr(m, "id", "") == "bug" for m in running.said))
    running.ask("good", 0.01)
    running.wait_for_drawing()
    said = running.end()
    errors = {m.id: m for m in said if isinstance(m, Error)}
    assert {name: e.code for name, e in errors.items()} == {
        "unknown": "bad_request", "short": "bad_request", "nan": "bad_performance", "huge": "bad_request",
        "half": "bad_request", "bug": "internal",
    }  # fmt: skip
    assert "a bug in the model" in Path(errors["bug"].log).read_text(encoding="utf-8")
    assert [m.id for m in said if isinstance(m, Preview)] == ["good"]


def _until(true: Callable[[], bool]) -> None:
    clock = threading.Event()
    for _ in range(3000):
        if true():
            return
        clock.wait(0.01)
    raise AssertionError("nothing happened for 30 s")


def test_a_request_is_read(folder: ActorFolder) -> None:
    view = np.diag([1.0, -1, -1, 1])
    view[2, 3] = 2
    data = {
        "width": 64, "height": 32, "frame": -7, "head_rotation": [0.6, 0.8, 0, 0], "channels": {"jawOpen": 0.5},
        "view": view.tolist(), "intrinsics": [50, 50, 32, 16],
    }  # fmt: skip
    shot = PreviewRequest.from_request(Request("a", "frame", data), folder)
    assert (shot.camera.width, shot.camera.height, shot.frame) == (64, 32, -7)
    assert shot.performance.channels[0, CHANNEL_INDEX["jawOpen"]] == 0.5 and shot.performance.channels.sum() == 0.5
    assert shot.performance.head_rotation[0].tolist() == pytest.approx([0.6, 0.8, 0, 0])
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
def test_unsound_requests_are_refused(folder: ActorFolder, data: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        PreviewRequest.from_request(Request("a", "frame", data), folder)


def with_footage(folder: ActorFolder) -> U8:
    """Gives the actor a footage frame 1, smooth, with the person in its upper half; the frame."""
    store, size = FrameStore(folder), folder.info.size
    store.make_folders()
    y, x = np.mgrid[:size, :size] / size
    picture = np.rint(255 * np.dstack([x, y, 0.5 + 0.5 * np.sin(3 * x + 2 * y)])).astype(np.uint8)
    store.write_frame(1, picture)
    matte = np.zeros((size, size, 4), np.float32)
    matte[: size // 2] = 1
    store.write_matte(1, matte)
    return store.read_frame(1)


def test_the_footage_is_seen_through_any_lens() -> None:
    """A dot of the footage lies where the lens puts its ray, between pixels too, in a smaller and a larger picture."""
    y, x = np.mgrid[:64, :64] + 0.5
    k = np.array([[90, 0, 30.0], [0, 90, 35], [0, 0, 1]])
    dot = np.exp(-((x - 37) ** 2 + (y - 31) ** 2) / 18) * 255
    picture = np.repeat(np.rint(dot).astype(np.uint8)[..., None], 3, 2)
    for scale in (0.37, 0.5, 1.0, 1.7):
        lens = np.array([[90 * scale, 93 * scale, 31.3, 29.8]])
        camera = CameraPath(70, 60, np.array([0]), np.eye(4)[None], lens)
        seen = warp_to_camera(camera, picture, k)
        assert seen.shape == (60, 70, 4)
        weight = seen[..., 0].astype(float)
        rows, columns = np.mgrid[:60, :70] + 0.5
        found = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        expected = lens[0, :2] * (np.array([37, 31]) - k[:2, 2]) / 90 + lens[0, 2:]
        assert np.abs(found - expected).max() < 0.05
        left, right = (lens[0, 0] * (edge - 30) / 90 + lens[0, 2] for edge in (0, 64))
        inside = seen[30, :, 3] > 127
        assert inside.sum() == pytest.approx(min(70, right) - max(0, left), abs=1.5)


def test_the_footage_comes_beside_the_picture(folder: ActorFolder) -> None:
    frame = with_footage(folder)
    said: list[Message] = []
    pictures: dict[str, U8] = {}

    def keep(message: Message) -> None:
        said.append(message)
        if isinstance(message, Preview) and message.footage:
            pictures[message.id] = np.fromfile(message.footage, np.uint8).reshape(message.height, message.width, 4)
        asked = {"a": ("b", {"footage": 1, "cut_out": True}), "b": ("c", {"footage": 2}), "c": ("d", {})}
        following = asked.get(getattr(message, "id", ""), ("bye", None))
        if isinstance(message, (Preview, Error)):
            service.post_request(
                Request(following[0], "frame" if following[1] is not None else "quit", following[1] or {})
            )

    service = PreviewService(folder, keep, lambda error: error_from_exception(error, folder.path))
    service.post_request(Request("a", "frame", {"footage": 1}))
    service.run(lambda actor, device: Portrait.load(actor, device), CPU)
    assert np.abs(pictures["a"][..., :3].astype(int) - frame).max() <= 1 and pictures["a"][..., 3].min() == 255
    assert np.abs(pictures["b"][:24, :, :3].astype(int) - frame[:24]).max() <= 1
    assert not pictures["b"][24:, :, :3].any() and pictures["b"][..., 3].min() == 255
    lost = next(m for m in said if isinstance(m, Error))
    assert (lost.id, lost.code) == ("c", "damaged_actor") and "000002.jpg" in lost.message
    plain = next(m for m in said if isinstance(m, Preview) and m.id == "d")
    assert plain.footage == ""


class Process:
    """`python -m backend serve`, as Blender runs it."""

    def __init__(self, folder: ActorFolder) -> None:
        command = [sys.executable, "-m", "backend", "serve", str(folder.path), "--device", "cpu"]
        self.child = subprocess.Popen(command, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self) -> Message:
        assert self.child.stdout is not None
        return decode_message(self.child.stdout.readline())

    def write(self, text: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(text + "\n")
        self.child.stdin.flush()

    def frame(self, name: str, **data: Any) -> tuple[Preview, U8]:
        self.write(encode_message(Request(name, "frame", data)))
        answer = self.read()
        assert isinstance(answer, Preview) and answer.id == name
        pixels = np.fromfile(answer.path, np.uint8).reshape(answer.height, answer.width, 4)
        return answer, pixels


def test_a_real_process_draws_and_ends(folder: ActorFolder) -> None:
    process = Process(folder)
    try:
        hello = process.read()
        assert isinstance(hello, Hello) and hello.device == "cpu" and hello.pid == process.child.pid
        while not (isinstance(message := process.read(), Progress) and message.done == message.total):
            pass
        process.write("this is no request")
        first, closed = process.frame("a", frame=3)
        assert (first.width, first.height, first.frame) == (48, 48, 3)
        assert closed[..., 3].max() == 255 and closed[0, 0, 3] == 0
        head = closed[18, 24]
        assert np.abs(head[:3].astype(int) - (204, 128, 102)).max() < 12, "straight display colours"
        second, opened = process.frame("b", channels={"jawOpen": 1.0})
        assert second.path != first.path, "the picture that Blender may still read is not overwritten"
        assert (np.fromfile(first.path, np.uint8).reshape(closed.shape) == closed).all()
        changed = np.abs(opened.astype(int) - closed).max(-1) > 8
        assert changed[26:].any() and not changed[:18].any(), "the jaw moves, the forehead does not"
        third, wide = process.frame("c", width=96)
        assert wide.shape == (96, 96, 4) and third.width == 96
        process.write(encode_message(Request("bye", "quit")))
        assert process.read() == Result("bye")
        assert process.child.wait(30) == 0
        assert not Path(first.path).parent.exists()
    finally:
        process.child.kill()
        process.child.communicate()


def test_it_ends_when_blender_is_gone(folder: ActorFolder) -> None:
    process = Process(folder)
    try:
        while not (isinstance(message := process.read(), Progress) and message.done == message.total):
            pass
        _, _ = process.frame("a")
        assert process.child.stdin is not None
        process.child.stdin.close()
        assert process.child.wait(30) == 0
    finally:
        process.child.kill()
        process.child.wait()
