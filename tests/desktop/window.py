"""A real Blender window on a virtual screen, worked with a real mouse; Blender is this machine's or a chroot's."""

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
WIDTH, HEIGHT = 1280, 1000
START_TIMEOUT_SECONDS = 120.0  # seconds: a first window under software OpenGL with one busy core


class Machine:
    """Where Blender lives. `lab` is a folder that both sides see; `there` names it as Blender's side does."""

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
        self.environment["PORTRAIT_ACTOR_PYTHON"] = sys.executable  # the backend's environment is the tests' own
        if chroot:
            self.environment |= {"HOME": "/tmp", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
            self.environment["SEEN_IN_CHROOT"] = f"{sys.prefix}:{sys.base_prefix}"

    def run(self, *command: str, timeout_seconds: float = START_TIMEOUT_SECONDS) -> str:
        """What a command prints on Blender's side; it must succeed."""
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
        """Starts a command on Blender's side, with its output in the lab's file `log`."""
        with (self.host_folder / log).open("wb") as file:
            return subprocess.Popen(
                [*self.command_prefix, *command], env=self.environment, stdout=file, stderr=file, **options
            )

    def install_extension(self, archive: Path) -> None:
        """Installs and enables the extension's zip, as a person does from a terminal."""
        shutil.copy(archive, self.host_folder / archive.name)
        inside = str(self.blender_folder / archive.name)
        self.run("blender", "--command", "extension", "install-file", "--repo", "user_default", "--enable", inside)


class Window:
    """The window: asks Blender, moves the mouse, looks at the screen.

    Args:
        script: what Blender runs; another one than `driver.py` lies beside it there, and imports it.
    """

    def __init__(self, machine: Machine, script: Path = HERE / "driver.py") -> None:
        self.machine, self.question_ids = machine, itertools.count(1)
        self.screen = self._open_screen()
        for file in {HERE / "driver.py", script}:
            shutil.copy(file, machine.host_folder / file.name)
        command = ("blender", "--no-window-focus", "--window-geometry", "0", "0", str(WIDTH), str(HEIGHT))
        there = str(machine.blender_folder)
        self.blender = machine.start("blender.log", *command, "--python", f"{there}/{script.name}", "--", there)
        self.query("scene", timeout_seconds=START_TIMEOUT_SECONDS)

    def _open_screen(self) -> subprocess.Popen[bytes]:
        """A virtual screen whose picture is the file `Xvfb_screen0` in the lab."""
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

    def query(self, command: str, timeout_seconds: Any = 30.0, **arguments: Any) -> Any:
        """What the driver inside Blender answers."""
        lab, number = self.machine.host_folder, next(self.question_ids)
        part = lab / "question.part"
        part.write_text(json.dumps({"number": number, "verb": command, **arguments}), encoding="utf-8")
        part.replace(lab / "question.json")
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            assert self.blender.poll() is None, f"Blender ended:\n{self.log()}"
            if (lab / "answer.json").exists():
                answer = json.loads((lab / "answer.json").read_text(encoding="utf-8"))
                if answer["number"] == number:
                    assert "error" not in answer, answer["error"]
                    return answer["value"]
            time.sleep(0.01)
        raise AssertionError(f"Blender did not answer {command} within {timeout_seconds:.0f} s:\n{self.log()}")

    def log(self) -> str:
        """What Blender has written."""
        return (self.machine.host_folder / "blender.log").read_text(encoding="utf-8", errors="replace")

    def run_xdotool(self, *actions: str) -> None:
        """Does xdotool's actions in one go, e.g. ``"mousemove 10 20", "click 1"``."""
        self.machine.run("xdotool", *" ".join(actions).split())

    def click(self, x: int, y: int) -> None:
        """Moves there, lets Blender notice, and clicks."""
        self.run_xdotool(f"mousemove {x} {y}", "sleep 0.4", "click 1", "sleep 0.4")

    def drag(self, x: int, y: int, distance: int) -> None:
        """Drags from a point `distance` pixels to the right, as slowly as a busy machine can follow."""
        steps = [f"mousemove_relative -- {distance // 6} 0 sleep 0.25" for _ in range(6)]
        self.run_xdotool(
            f"mousemove {x} {y}", "sleep 0.6", "mousedown 1", "sleep 0.6", *steps, "sleep 0.5", "mouseup 1"
        )
        self.run_xdotool("sleep 0.6")

    def open_tab(self, tab: str) -> tuple[int, int, int, int]:
        """Opens the sidebar at `tab` and says where it is on the screen: left, top, right, bottom."""
        for _ in range(50):
            shown = self.query("show_tab", category=tab)
            if shown["category"] == tab:
                left, top, right, bottom = shown["rectangle"]
                return left, top, right, bottom
            time.sleep(0.2)
        raise AssertionError(f"The sidebar does not show {tab}, but {shown}")

    def find_control(
        self, pattern: str, keys: str, horizontal_share: float = 0.67, tab: str = "Portrait Actor"
    ) -> tuple[int, int]:
        """Where in the sidebar a button or slider is: the pointer goes down it and copies what it stands on.

        Args:
            pattern: regular expression for what is copied.
            keys: ``"ctrl+c"`` copies a button's command, ``"ctrl+shift+c"`` a slider's data path.
            across: where the pointer goes down, from 0 (the sidebar's left) to 1 (its right).
            tab: the sidebar's tab.
        """
        left, top, right, bottom = self.open_tab(tab)
        x, seen = left + round(horizontal_share * (right - left)), [""]
        wheel = f"mousemove {x} {top + 12} sleep 0.3 click --repeat {{}} --delay 20 {{}} mousemove 300 500 sleep 0.5"
        self.run_xdotool(
            "key Escape", wheel.format(60, 4)
        )  # out of a field that is being typed in; to the sidebar's top
        self.query("clipboard", clear=True)
        page, last = self.capture_screen(), None
        while last is None or not np.array_equal(page[top:bottom, left:right], last[top:bottom, left:right]):
            for y in range(top + 10, bottom - 10, 16):  # a button is 20 pixels high
                self.run_xdotool(f"mousemove {x} {y}", "sleep 0.1", f"key {keys}", "sleep 0.05")
                copied = self.query("clipboard")
                if re.search(pattern, copied):
                    return x, y + 3
                if copied != seen[-1]:
                    seen.append(copied)
            self.run_xdotool("mousemove 300 500", "sleep 0.5")
            last = self.capture_screen()
            self.run_xdotool(wheel.format(12, 5))  # further down
            page = self.capture_screen()
        raise AssertionError(f"{pattern} is not in the sidebar; it has:" + "\n".join(dict.fromkeys(seen)))

    def capture_screen(self, name: str = "") -> Image:
        """(H, W, 3) what the screen shows; kept as `name`.png for people."""
        raw = (self.machine.host_folder / "Xvfb_screen0").read_bytes()
        header = np.frombuffer(raw[:100], ">u4")  # the X window dump format
        size, width, height, row_bytes, colours = (int(header[i]) for i in (0, 4, 5, 12, 19))
        start = size + 12 * colours
        rows = np.frombuffer(raw[start : start + height * row_bytes], np.uint8).reshape(height, row_bytes)
        picture = rows[:, : width * 4].reshape(height, width, 4)[:, :, 2::-1].copy()
        if name:
            save_screenshot(picture, name)
        return picture

    def close(self) -> int:
        """Quits Blender as a person does, and returns its exit code."""
        part = self.machine.host_folder / "question.part"
        part.write_text(json.dumps({"number": 0, "verb": "quit"}), encoding="utf-8")
        part.replace(self.machine.host_folder / "question.json")
        try:
            return self.blender.wait(30)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            for process in (self.blender, self.screen):
                if process.poll() is None:
                    process.kill()
                process.wait()


def save_screenshot(image: Image, name: str) -> None:
    """Writes a screenshot where people and CI find it."""
    import cv2

    folder = HERE.parents[1] / "artefacts" / "desktop"
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"{name}.png"), image[:, :, ::-1])
