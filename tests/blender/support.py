"""Helpers of several tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from addon.jobs.process import BackendProcess
    from backend.contract.camera import CameraPath
    from backend.contract.performance import Performance

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "bl_ext.user_default.portrait_actor"
OPERATORS: Any = bpy.ops.portrait_actor  # type: ignore[attr-defined]  # made when the extension is switched on
CHILD_PRELUDE = (
    f"import sys, time\nsys.path.insert(0, {str(ROOT)!r})\n"
    "from backend.contract.errors import *\nfrom backend.contract.protocol import *\n"
    "def say(m): print(encode_message(m), flush=True)\nsay(Hello())\n"
)
TIMEOUT_SECONDS = 20.0  # for a test that waits; what it waits for takes a second or two
PREVIEW_TIMEOUT_SECONDS = 90.0  # for an image of the preview, whose process loads torch first
POLL_INTERVAL_SECONDS = 0.01


@dataclass(frozen=True)
class ImportedActor:
    """An actor in the scene.

    Attributes:
        armature: its armature.
        face: its face.
        folder: its folder on disk.
    """

    armature: Any
    face: Any
    folder: Path


@dataclass(frozen=True)
class SampledActor(ImportedActor):
    """An actor in the scene whose animation a test samples."""

    sample: Callable[[Sequence[int]], tuple[Performance, CameraPath]]


def run_backend(*arguments: str) -> str:
    """Run a command of the real backend and return its output."""
    return _run_backend_python("-m", "backend", *arguments)


def run_python(code: str, *arguments: str) -> str:
    """Run code with the backend's Python and return its output."""
    return _run_backend_python("-c", code, *arguments)


def _run_backend_python(*arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    command = [os.environ["PORTRAIT_ACTOR_PYTHON"], *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    ).stdout


def get_armature(name: str) -> bpy.types.Object:
    """Return an object that stands for an actor's armature."""
    return bpy.data.objects.get(name) or bpy.data.objects.new(name, None)


def read_pixels(file: str | Path) -> NDArray[np.float32]:
    """Return (H, W, 4) values as they are in an image file, top row first."""
    image: Any = bpy.data.images.load(str(file))
    image.colorspace_settings.name = "Non-Color"
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1]


def wait_for_preview(live: Any, timeout_seconds: float = PREVIEW_TIMEOUT_SECONDS) -> Any:
    """Update the live preview until its image shows the present state of the scene, and return the image.

    Args:
        live: the module `addon.preview.live_preview`.
        timeout_seconds: after which the test fails.
    """
    preview, before = live.current_preview(), live.current_preview().image
    end = time.monotonic() + timeout_seconds
    while time.monotonic() < end:
        preview.update()
        if preview.image is not before and not preview.is_outdated and not preview.process.is_rendering:
            return preview.image
        time.sleep(POLL_INTERVAL_SECONDS / 2)
    raise AssertionError(f"no image within {timeout_seconds:.0f} s: {preview.error_text}")


def handler_lists() -> list[list[Any]]:
    """Return all of Blender's lists of handlers."""
    candidates = (getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers))
    return [functions for functions in candidates if isinstance(functions, list)]


def receive_until(child: BackendProcess, is_done: Callable[[list[Any]], bool] = lambda messages: False) -> list[Any]:
    """Return the messages of a process until its end, or until a condition on them holds."""
    messages: list[Any] = []
    end = time.monotonic() + TIMEOUT_SECONDS
    while not child.is_finished and not is_done(messages):
        assert time.monotonic() < end, f"no end after {messages}"
        messages += child.receive_messages()
        time.sleep(POLL_INTERVAL_SECONDS)
    return messages


def is_alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True


def wait_for_exit(pid: int) -> bool:
    """Wait for a process to end and return whether it has."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(POLL_INTERVAL_SECONDS)
    return not is_alive(pid)


def write_child_script(tmp_path: Path, code: str) -> list[str]:
    """Write a backend process that greets and then runs some code; return its command."""
    file = tmp_path / "child.py"
    file.write_text(CHILD_PRELUDE + code, encoding="utf-8")
    return [sys.executable, str(file)]
