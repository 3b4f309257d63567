"""A Blender window on a virtual screen that tests work with the mouse. Blender is this machine's or a chroot's."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from backend.contract.arrays import Image

HERE = Path(__file__).resolve().parent
WIDTH = 1280  # of the screen
HEIGHT = 1000
START_TIMEOUT_SECONDS = 120.0  # for a first window under software OpenGL with one busy core
QUERY_TIMEOUT_SECONDS = 30.0
QUIT_TIMEOUT_SECONDS = 30.0
BUTTON_STEP_PIXELS = 16  # between the points of the sidebar that are searched; a button is 20 pixels high
PARK_POINTER = "mousemove 300 500"  # over the 3D view, where the pointer covers no button


class Machine:
    """The machine or chroot on which Blender runs.

    Attributes:
        host_folder: a folder that both sides see.
        blender_folder: its path on Blender's side.
        environment: the variables of started programs.
    """

    def __init__(self, host_folder: Path, chroot: Path | None) -> None:
        self.host_folder, self.chroot = host_folder, chroot
        self.blender_folder = Path("/lab") if chroot else host_folder
        self.command_prefix = [str(HERE / "chroot.sh"), "run", str(chroot), str(host_folder)] if chroot else []
        self.user_folder = host_folder / "user"
        self.environment = {
            **os.environ,
            "BLENDER_USER_RESOURCES": str(self.blender_folder / "user"),
            "LIBGL_ALWAYS_SOFTWARE": "1",
        }
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            self.environment.pop(name, None)
        self.environment["PORTRAIT_ACTOR_PYTHON"] = sys.executable  # the tests run in the backend's environment
        if chroot:
            self.environment |= {"HOME": "/tmp", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
            self.environment["SEEN_IN_CHROOT"] = f"{sys.prefix}:{sys.base_prefix}"

    def run(self, *command: str, timeout_seconds: float = START_TIMEOUT_SECONDS) -> str:
        """Run a command on Blender's side and return its output. It must succeed."""
        done = subprocess.run(
            [*self.command_prefix, *command],
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout_seconds,
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    def start(self, log: str, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a command on Blender's side, with its output in the file `log` of the shared folder."""
        with (self.host_folder / log).open("wb") as file:
            return subprocess.Popen(
                [*self.command_prefix, *command], env=self.environment, stdout=file, stderr=file, **options
            )

    def install_extension(self, archive: Path) -> None:
        """Install and enable the extension's zip with Blender's command line."""
        shutil.copy(archive, self.host_folder / archive.name)
        inside = str(self.blender_folder / archive.name)
        self.run("blender", "--command", "extension", "install-file", "--repo", "user_default", "--enable", inside)


class Window:
    """A Blender window: asks the driver inside Blender, moves the mouse, and captures the screen."""

    def __init__(self, machine: Machine, script: Path = HERE / "driver.py") -> None:
        """Open the window.

        Args:
            machine: the machine with Blender.
            script: what Blender runs; a script other than `driver.py` imports it.
        """
        self.machine, self.question_ids = machine, itertools.count(1)
        self.screen = self._open_screen()
        for file in {HERE / "driver.py", script}:
            shutil.copy(file, machine.host_folder / file.name)
        command = ("blender", "--no-window-focus", "--window-geometry", "0", "0", str(WIDTH), str(HEIGHT))
        folder = str(machine.blender_folder)
        self.blender = machine.start("blender.log", *command, "--python", f"{folder}/{script.name}", "--", folder)
        self.query("scene", timeout_seconds=START_TIMEOUT_SECONDS)

    def _open_screen(self) -> subprocess.Popen[bytes]:
        """Start a virtual screen whose image is the file `Xvfb_screen0` in the shared folder."""
        read, write = os.pipe()
        screen = self.machine.start(
            "screen.log", "Xvfb", "-displayfd", str(write), "-screen", "0", f"{WIDTH}x{HEIGHT}x24",
            "-fbdir", str(self.machine.blender_folder), "-nolisten", "tcp", "+extension", "GLX", pass_fds=(write,),
        )  # fmt: skip
        os.close(write)
        with os.fdopen(read, encoding="ascii") as file:
            number = file.readline().strip()
        assert number, (self.machine.host_folder / "screen.log").read_text()
        self.machine.environment["DISPLAY"] = f":{number}"
        return screen

    def query(self, command: str, timeout_seconds: float = QUERY_TIMEOUT_SECONDS, **arguments: Any) -> Any:
        """Return the answer of the driver inside Blender to a command."""
        folder, number = self.machine.host_folder, next(self.question_ids)
        part = folder / "question.part"
        part.write_text(json.dumps({"number": number, "verb": command, **arguments}), encoding="utf-8")
        part.replace(folder / "question.json")
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            assert self.blender.poll() is None, f"Blender ended:\n{self.log()}"
            if (folder / "answer.json").exists():
                answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
                if answer["number"] == number:
                    assert "error" not in answer, answer["error"]
                    return answer["value"]
            time.sleep(0.01)
        raise AssertionError(f"Blender did not answer {command} within {timeout_seconds:.0f} s:\n{self.log()}")

    def log(self) -> str:
        """Return Blender's log."""
        return (self.machine.host_folder / "blender.log").read_text(encoding="utf-8", errors="replace")

    def run_xdotool(self, *actions: str) -> None:
        """Run xdotool's actions in one process, e.g. ``"mousemove 10 20", "click 1"``."""
        self.machine.run("xdotool", *" ".join(actions).split())

    def click(self, x: int, y: int) -> None:
        """Move the pointer, give Blender time to notice it, and click."""
        self.run_xdotool(f"mousemove {x} {y}", "sleep 0.4", "click 1", "sleep 0.4")

    def drag(self, x: int, y: int, distance: int) -> None:
        """Drag from a point `distance` pixels to the right, as slowly as a busy machine can follow."""
        steps = [f"mousemove_relative -- {distance // 6} 0 sleep 0.25" for _ in range(6)]
        self.run_xdotool(
            f"mousemove {x} {y}", "sleep 0.6", "mousedown 1", "sleep 0.6", *steps, "sleep 0.5", "mouseup 1"
        )
        self.run_xdotool("sleep 0.6")

    def open_tab(self, tab: str) -> tuple[int, int, int, int]:
        """Open the sidebar at a tab and return its left, top, right and bottom on the screen."""
        for _ in range(50):
            sidebar = self.query("show_tab", category=tab)
            if sidebar["category"] == tab:
                left, top, right, bottom = sidebar["rectangle"]
                return left, top, right, bottom
            time.sleep(0.2)
        raise AssertionError(f"The sidebar does not show {tab}, but {sidebar}")

    def find_control(
        self, pattern: str, keys: str, horizontal_share: float = 0.67, tab: str = "Portrait Actor"
    ) -> tuple[int, int]:
        """Return the position of a button or slider: the pointer goes down the sidebar and copies what is under it.

        Args:
            pattern: regular expression for the copied text.
            keys: ``"ctrl+c"`` copies a button's command, ``"ctrl+shift+c"`` a slider's data path.
            horizontal_share: horizontal position of the pointer, from 0 (the sidebar's left) to 1 (its right).
            tab: the sidebar's tab.

        Returns:
            x and y on the screen.
        """
        left, top, right, bottom = self.open_tab(tab)
        x, copied_texts = left + round(horizontal_share * (right - left)), [""]
        wheel = f"mousemove {x} {top + 12} sleep 0.3 click --repeat {{}} --delay 20 {{}} {PARK_POINTER} sleep 0.5"
        self.run_xdotool("key Escape", wheel.format(60, 4))  # leave a text field, and scroll to the sidebar's top
        self.query("clipboard", clear=True)
        page, last = self.capture_screen(), None
        while last is None or not np.array_equal(page[top:bottom, left:right], last[top:bottom, left:right]):
            for y in range(top + 10, bottom - 10, BUTTON_STEP_PIXELS):
                self.run_xdotool(f"mousemove {x} {y}", "sleep 0.1", f"key {keys}", "sleep 0.05")
                copied = self.query("clipboard")
                if re.search(pattern, copied):
                    return x, y + 3
                if copied != copied_texts[-1]:
                    copied_texts.append(copied)
            self.run_xdotool(PARK_POINTER, "sleep 0.5")
            last = self.capture_screen()
            self.run_xdotool(wheel.format(12, 5))  # further down
            page = self.capture_screen()
        raise AssertionError(f"{pattern} is not in the sidebar; it has:" + "\n".join(dict.fromkeys(copied_texts)))

    def capture_screen(self, name: str = "") -> Image:
        """Return (H, W, 3) pixels of the screen, and save them as `name`.png for people."""
        raw = (self.machine.host_folder / "Xvfb_screen0").read_bytes()
        header = np.frombuffer(raw[:100], ">u4")  # the X window dump format
        size, width, height, row_bytes, color_count = (int(header[i]) for i in (0, 4, 5, 12, 19))
        start = size + 12 * color_count
        rows = np.frombuffer(raw[start : start + height * row_bytes], np.uint8).reshape(height, row_bytes)
        image = rows[:, : width * 4].reshape(height, width, 4)[:, :, 2::-1].copy()
        if name:
            save_screenshot(image, name)
        return image

    def close(self) -> int:
        """Quit Blender as a person does, and return its exit code."""
        part = self.machine.host_folder / "question.part"
        part.write_text(json.dumps({"number": 0, "verb": "quit"}), encoding="utf-8")
        part.replace(self.machine.host_folder / "question.json")
        try:
            return self.blender.wait(QUIT_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            for process in (self.blender, self.screen):
                if process.poll() is None:
                    process.kill()
                process.wait()


def save_screenshot(image: Image, name: str) -> None:
    """Write a screenshot to the folder that CI keeps."""
    import cv2

    folder = HERE.parents[1] / "artefacts" / "desktop"
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"{name}.png"), image[:, :, ::-1])
