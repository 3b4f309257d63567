"""A video with two faces in the window: the sidebar shows both, and a click on one goes on with it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from window import Machine, Window

ROOT = Path(__file__).resolve().parents[2]
CREATE = r"bpy\.ops\.portrait_actor\.create_actor\("
CHOOSE = r"bpy\.ops\.portrait_actor\.choose_face\(face=2"
TWO_FACES = """
import sys
from pathlib import Path
import numpy as np
from backend.media.decode import read_frames
from backend.media.encode import VideoWriter
one, two = Path(sys.argv[1]), Path(sys.argv[2])
with VideoWriter(two, 384, 192, 25.0) as film:
    for _, _, rgb in read_frames(one):
        film.write_frame(np.ascontiguousarray(np.hstack([rgb, rgb[:, ::-1]])))
"""


@pytest.fixture(scope="module")
def clip(machine: Machine) -> Path:
    """Return a clip with the sample actor beside its mirror image, as Blender's side names it."""
    one, two = machine.host_folder / "one.mp4", machine.host_folder / "two.mp4"
    sample = ["-m", "backend", "sample", str(one), "--seconds", "4", "--size", "192"]
    for arguments in (sample, ["-c", TWO_FACES, str(one), str(two)]):
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True)
    return machine.blender_folder / "two.mp4"


def wait_for_state(window: Window, states: set[str], timeout_seconds: float) -> dict[str, str]:
    """Wait until the job is in one of these states, and return it."""
    deadline = time.monotonic() + timeout_seconds
    while (job := window.query("job"))["state"] not in states:
        assert time.monotonic() < deadline, f"the job is {job}, not {states}"
        time.sleep(0.2)
    result: dict[str, str] = job
    return result


def test_clicking_a_face_creates_that_actor(window: Window, machine: Machine, clip: Path) -> None:
    form: dict[str, Any] = {
        "video": str(clip),
        "folder": str(machine.blender_folder / "Two.actor"),
        "actor_name": "Two",
        "preset": "tiny",
    }
    window.query("fill", **form, consent_who="nobody: drawn by code", consent_given=True)
    window.click(*window.find_control(CREATE, "ctrl+c"))
    wait_for_state(window, {"running"}, 10)
    failed = wait_for_state(window, {"failed", "done"}, 300)
    assert "2 faces at once" in failed["error"], failed
    x, y = window.find_control(CHOOSE, "ctrl+c", horizontal_share=0.75)
    window.run_xdotool("mousemove 300 500", "sleep 1")
    window.capture_screen("two_faces")
    window.click(x, y)
    done = wait_for_state(window, {"failed", "done"}, 600)
    assert done["state"] == "done", done
    assert window.query("scene")["objects"].get("Two") == "ARMATURE"
    window.find_control(r"bpy\.ops\.portrait_actor\.open_report\(", "ctrl+c")
    window.find_control(r"bpy\.ops\.portrait_actor\.load_overlay\(", "ctrl+c")
    window.run_xdotool("mousemove 300 500", "sleep 1")
    window.capture_screen("report_buttons")
