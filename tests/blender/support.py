"""What several tests need and is no fixture."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "bl_ext.user_default.portrait_actor"
CHILD_PRELUDE = (
    f"import sys, time\nsys.path.insert(0, {str(ROOT)!r})\n"
    "from backend.contract.errors import *\nfrom backend.contract.protocol import *\n"
    "def say(m): print(encode_message(m), flush=True)\nsay(Hello())\n"
)
TIMEOUT_SECONDS = 20.0  # s, for a test that waits; what is tested ends in a second or two


def run_backend(*arguments: str) -> str:
    """Runs a command of the real backend; gives what it printed."""
    return _run_backend_python("-m", "backend", *arguments)


def run_python(code: str, *arguments: str) -> str:
    """Runs some code with the backend's Python; gives what it printed."""
    return _run_backend_python("-c", code, *arguments)


def _run_backend_python(*arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    command = [os.environ["PORTRAIT_ACTOR_PYTHON"], *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    ).stdout


def get_armature(name: str) -> bpy.types.Object:
    """Stands for an actor's armature."""
    return bpy.data.objects.get(name) or bpy.data.objects.new(name, None)


def read_pixels(file: str | Path) -> NDArray[Any]:
    """(H, W, 4) of a picture, top row first, in the values that are in the file."""
    image = bpy.data.images.load(str(file))
    image.colorspace_settings.name = "Non-Color"
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1]


def wait_for_preview(preview_module: ModuleType, timeout_seconds: float = 90.0) -> Any:
    """The live preview's picture that shows what the scene is now."""
    shown, before = preview_module.current_preview(), preview_module.current_preview().image
    end = time.monotonic() + timeout_seconds
    while time.monotonic() < end:
        shown.update()
        if shown.image is not before and not shown.is_outdated and not shown.process.is_rendering:
            return shown.image
        time.sleep(0.005)
    raise AssertionError(f"no picture: {shown.error_text}")


def handler_lists() -> list[list[Any]]:
    found = (getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers))
    return [functions for functions in found if isinstance(functions, list)]


def receive_until(child: Any, is_done: Callable[[list[Any]], bool] = lambda said: False) -> list[Any]:
    """All messages until the end, or until a condition holds."""
    said: list[Any] = []
    end = time.monotonic() + TIMEOUT_SECONDS
    while not child.is_finished and not is_done(said):
        assert time.monotonic() < end, f"no end after {said}"
        said += child.receive_messages()
        time.sleep(0.01)
    return said


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True


def wait_for_exit(pid: int) -> bool:
    end = time.monotonic() + TIMEOUT_SECONDS
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_alive(pid)


def write_child_script(tmp_path: Path, code: str) -> list[str]:
    file = tmp_path / "child.py"
    file.write_text(CHILD_PRELUDE + code, encoding="utf-8")
    return [sys.executable, str(file)]
