"""A video with two faces in the window: the sidebar shows both, and a click on one goes on with it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from window import Machine, Window

ROOT = Path(__file__).resolve().parents[2]
CREATE = r"bpy\.ops\.portrait_actor\.create_actor\("
CHOOSE = r"bpy\.ops\.portrait_actor\.choose_face\(face=2"
TWO = """
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
    """The sample actor beside its mirror image; the path as Blender's side names it."""
    one, two = machine.host_folder / "one.mp4", machine.host_folder / "two.mp4"
    sample = ["-m", "backend", "sample", str(one), "--seconds", "4", "--size", "192"]
    for arguments in (sample, ["-c", TWO, str(one), str(two)]):
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True)
    return machine.blender_folder / "two.mp4"


def wait_for(window: Window, states: set[str], patience: float) -> dict[str, str]:
    """The job, when it has come to one of these states."""
    deadline = time.monotonic() + patience
    while (job := window.query("job"))["state"] not in states:
        assert time.monotonic() < deadline, f"the job is {job}, not {states}"
        time.sleep(0.2)
    return job


def test_a_click_on_a_face_goes_on_with_it(window: Window, machine: Machine, clip: Path) -> None:
    form = {
        "video": str(clip),
        "folder": str(machine.blender_folder / "Two.actor"),
        "actor_name": "Two",
        "preset": "tiny",
    }
    window.query("fill", **form, consent_who="nobody: drawn by code", consent_given=True)
    window.click(*window.find_control(CREATE, "ctrl+c"))
    wait_for(window, {"running"}, 10)
    failed = wait_for(window, {"failed", "done"}, 300)
    assert "2 faces at once" in failed["error"], failed
    x, y = window.find_control(CHOOSE, "ctrl+c", horizontal_share=0.75)
    window.run_xdotool("mousemove 300 500", "sleep 1")
    window.capture_screen("two_faces")
    window.click(x, y)
    done = wait_for(window, {"failed", "done"}, 600)
    assert done["state"] == "done", done
    assert window.query("scene")["objects"].get("Two") == "ARMATURE"
    window.find_control(r"bpy\.ops\.portrait_actor\.open_report\(", "ctrl+c")
    window.find_control(r"bpy\.ops\.portrait_actor\.load_overlay\(", "ctrl+c")
    window.run_xdotool("mousemove 300 500", "sleep 1")
    window.capture_screen("report_buttons")
