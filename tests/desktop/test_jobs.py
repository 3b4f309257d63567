"""A job of the real backend in the window: Blender stays usable, Cancel ends it, pressing again finishes it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from window import Machine, Window

ROOT = Path(__file__).resolve().parents[2]
CANCEL = r"bpy\.ops\.portrait_actor\.cancel_job\("
CREATE = r"bpy\.ops\.portrait_actor\.create_actor\("


@pytest.fixture(scope="module")
def clip(machine: Machine) -> Path:
    """A short clip of the sample actor, made by the real backend; the path as Blender's side names it."""
    video = str(machine.lab / "clip.mp4")
    command = [sys.executable, "-m", "backend", "sample", video, "--seconds", "4", "--size", "192"]
    subprocess.run(command, cwd=ROOT, check=True)
    return machine.there / "clip.mp4"


def until(said: Callable[[], bool], what: str, patience: float) -> None:
    """Waits for something to happen."""
    deadline = time.monotonic() + patience
    while not said():
        assert time.monotonic() < deadline, f"{what} did not happen within {patience:.0f} s"
        time.sleep(0.2)


def backend_runs(video: str) -> bool:
    """Whether a backend process works on `video`. The chroot's processes are the machine's."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it has just ended
            if b"backend" in command and os.fsencode(video) in command:
                return True
    return False


def test_a_job_leaves_blender_usable_and_can_be_cancelled(window: Window, machine: Machine, clip: Path) -> None:
    folder = machine.there / "Dora.actor"
    form = {"video": str(clip), "folder": str(folder), "actor_name": "Dora", "preset": "tiny"}
    window.ask("fill", **form, consent_who="nobody: drawn by code", consent_given=True)
    window.click(*window.find(CREATE, "ctrl+c"))
    until(lambda: window.ask("job")["state"] == "running", "the job's start", 10)
    until(lambda: window.ask("job")["line"] != "Starting…", "the first progress", 120)
    assert backend_runs(str(clip))

    x, y = window.find(CANCEL, "ctrl+c", across=0.3)
    window.look("job_running")
    assert window.ask("job")["state"] == "running", window.ask("job")
    window.click(x, y)
    until(lambda: window.ask("job")["state"] == "cancelled", "the end of the job", 15)
    until(lambda: not backend_runs(str(clip)), "the end of the process", 15)
    assert "Dora" not in window.ask("scene")["objects"]


def test_pressed_again_it_goes_on_and_the_actor_appears(window: Window, machine: Machine, clip: Path) -> None:
    window.click(*window.find(CREATE, "ctrl+c"))
    until(lambda: window.ask("job")["state"] not in ("running", "cancelling"), "the end of the job", 600)
    window.look("job_done")
    job = window.ask("job")
    assert job["state"] == "done", job
    assert window.ask("scene")["objects"].get("Dora") == "ARMATURE"
    assert (machine.lab / "Dora.actor" / "model.safetensors").exists()


def test_the_actor_is_seen_through_the_camera(window: Window) -> None:
    """One click on Camera: the view is the footage's, with the face large in its middle."""
    window.mouse("mousemove 300 500", "sleep 1")
    before = window.look()
    window.click(*window.find(r"view_camera", "ctrl+c", across=0.3))
    window.mouse("mousemove 300 500", "sleep 2")
    after = window.look("actor_through_the_camera")
    middle = slice(300, 600), slice(400, 650)
    changed = np.abs(after[middle].astype(int) - before[middle]).max(2) > 16
    assert changed.mean() > 0.3
