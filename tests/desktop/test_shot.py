"""A shot in the window, from the video to the composite: create the actor, look through its camera, preview, compare,
turn the head, speak, scrub, render."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from window import Machine, Window

from backend.contract.arrays import Image

ROOT = Path(__file__).resolve().parents[2]
CYCLES: dict[str, Any] = {
    "render.engine": "CYCLES",
    "cycles.samples": 1,
    "cycles.use_denoising": False,
}  # Debian's cannot denoise
CANCEL = r"bpy\.ops\.portrait_actor\.cancel_job\("
PREVIEW = r"bpy\.ops\.portrait_actor\.live_preview\("
SPEAK = r"bpy\.ops\.portrait_actor\.speak\("
RENDER = r"bpy\.ops\.portrait_actor\.render_actor\("
CREATE = r"bpy\.ops\.portrait_actor\.create_actor\("


@pytest.fixture(scope="module")
def clip(machine: Machine) -> Path:
    """Return a short clip of the sample actor, made by the real backend, as Blender's side names it."""
    video = str(machine.host_folder / "clip.mp4")
    command = [sys.executable, "-m", "backend", "sample", video, "--seconds", "4", "--size", "192"]
    subprocess.run(command, cwd=ROOT, check=True)
    return machine.blender_folder / "clip.mp4"


def wait_until(condition: Callable[[], bool], event: str, timeout_seconds: float) -> None:
    """Wait for a condition, or fail with the name of the event."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"{event} did not happen within {timeout_seconds:.0f} s"
        time.sleep(0.2)


def is_backend_running(video: str) -> bool:
    """Return whether a backend process works on `video`. A chroot's processes are visible here."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it has just ended
            if b"backend" in command and os.fsencode(video) in command:
                return True
    return False


def test_running_job_keeps_blender_usable_and_can_be_cancelled(window: Window, machine: Machine, clip: Path) -> None:
    folder = machine.blender_folder / "Dora.actor"
    form: dict[str, Any] = {"video": str(clip), "folder": str(folder), "actor_name": "Dora", "preset": "tiny"}
    window.query("fill", **form, consent_who="nobody: drawn by code", consent_given=True)
    window.click(*window.find_control(CREATE, "ctrl+c"))
    wait_until(lambda: window.query("job")["state"] == "running", "the job's start", 10)
    wait_until(lambda: window.query("job")["status"] != "Starting…", "the first progress", 120)
    assert is_backend_running(str(clip))

    x, y = window.find_control(CANCEL, "ctrl+c", horizontal_share=0.3)
    window.capture_screen("job_running")
    assert window.query("job")["state"] == "running", window.query("job")
    window.click(x, y)
    wait_until(lambda: window.query("job")["state"] == "cancelled", "the end of the job", 15)
    wait_until(lambda: not is_backend_running(str(clip)), "the end of the process", 15)
    assert "Dora" not in window.query("scene")["objects"]


def test_create_actor_pressed_again_resumes_and_adds_the_actor(window: Window, machine: Machine, clip: Path) -> None:
    # Another actor may be in the scene, which then keeps its own size and camera by default.
    window.query("fill", match_scene=True)
    window.click(*window.find_control(CREATE, "ctrl+c"))
    wait_until(lambda: window.query("job")["state"] not in ("running", "cancelling"), "the end of the job", 600)
    window.capture_screen("job_done")
    job = window.query("job")
    assert job["state"] == "done", job
    assert window.query("scene")["objects"].get("Dora") == "ARMATURE"
    assert (machine.host_folder / "Dora.actor" / "model.safetensors").exists()


def test_camera_button_shows_the_actor_from_the_footage(window: Window) -> None:
    """One click on Camera: the view is the footage's, with the face large in its middle."""
    window.run_xdotool("mousemove 300 500", "sleep 1")
    before = window.capture_screen()
    window.click(*window.find_control(r"view_camera", "ctrl+c", horizontal_share=0.3))
    window.run_xdotool("mousemove 300 500", "sleep 2")
    after = window.capture_screen("actor_through_the_camera")
    middle = slice(300, 600), slice(400, 650)
    changed = np.abs(after[middle].astype(int) - before[middle]).max(2) > 16
    assert changed.mean() > 0.3


def test_live_preview_follows_sliders_and_frames_in_the_camera_view(window: Window) -> None:
    """One click shows the trained actor; a dragged slider and another frame are drawn again; another click ends it."""
    proxy = window.capture_screen()
    window.click(*window.find_control(PREVIEW, "ctrl+c", horizontal_share=0.3))
    first = wait_for_preview(window, proxy, "live_preview")
    x, y = window.find_control(r"jawOpen", "ctrl+shift+c", horizontal_share=0.4)
    window.drag(x, y, 60)
    assert window.query("scene")["channels"]["jawOpen"] > 0.1
    second = wait_for_preview(window, first, "live_preview_jaw", min_change=0.004)
    before = window.query("scene")["frame"]
    window.run_xdotool("mousemove 300 500", "sleep 0.5", "key Right", "key Right")
    wait_until(lambda: window.query("preview")["frame"] == before + 2, "the picture of two frames later", 30)
    wait_for_preview(window, second, "live_preview_later", min_change=0.0)
    window.click(*window.find_control(PREVIEW, "ctrl+c", horizontal_share=0.3))
    assert not window.query("preview")["is_on"]
    wait_until(lambda: not is_backend_running("Dora.actor"), "the end of the preview's process", 30)


def test_each_comparison_mode_shows_the_footage(window: Window) -> None:
    """Onion, wipe and difference by a click each, in the right colors."""
    window.run_xdotool("mousemove 300 500", "sleep 0.5")
    before = window.capture_screen()
    window.click(*window.find_control(PREVIEW, "ctrl+c", horizontal_share=0.3))
    before = wait_for_preview(window, before, "compare_off")
    # a difference is dark and speckled: enlarged in linear light its mean becomes brighter
    for across, name, tolerance in ((0.34, "onion", 6), (0.55, "wipe", 6), (0.76, "difference", 12)):
        window.click(*window.find_control(r"portrait_actor\.compare", "ctrl+shift+c", horizontal_share=across))
        wait_until(lambda: window.query("preview").get("has_footage", False), "the footage", 30)
        before = wait_for_preview(window, before, f"compare_{name}", min_change=0.01, color_tolerance=tolerance)
    window.click(*window.find_control(r"portrait_actor\.compare", "ctrl+shift+c", horizontal_share=0.13))
    wait_for_preview(window, before, "compare_off_again", min_change=0.01)
    window.click(*window.find_control(PREVIEW, "ctrl+c", horizontal_share=0.3))
    wait_until(lambda: not is_backend_running("Dora.actor"), "the end of the preview's process", 30)


def wait_for_preview(
    window: Window, before: Image, name: str, min_change: float = 0.02, color_tolerance: float = 6
) -> Image:
    """Return the screen once the preview shows the present scene, and check it.

    At least the share `min_change` of the camera's frame differs from `before`, and its mean color is that of the
    preview's image.
    """
    window.run_xdotool("mousemove 300 500", "sleep 0.5")
    wait_until(
        lambda: "frame" in window.query("preview") and not window.query("preview")["is_waiting"], "the preview", 120
    )
    state = window.query("preview")
    assert not state["error"] and state["latency"] < 5, state
    left, top, right, bottom = (round(v) for v in state["rectangle"])
    after = window.capture_screen(name)
    part = slice(max(top, 0), bottom), slice(max(left, 0), right)
    changed = np.abs(after[part].astype(int) - before[part]).max(2) > 12
    assert changed.mean() > min_change, f"{changed.mean():.3f} of the camera's frame has changed"
    height, width = bottom - top, right - left
    middle = after[top + height // 3 : top + 2 * height // 3, left + 2 * width // 5 : left + 3 * width // 5]
    assert np.abs(middle.mean((0, 1)) - state["color"]).max() < color_tolerance, (
        "the screen shows the preview's own colors"
    )
    return after


def test_keyed_head_rotation_is_kept_after_frame_changes(window: Window) -> None:
    """A field of the head's rotation is dragged and keyed with I; it stays when the playhead comes back."""
    x, y = window.find_control(r'bones\["head"\]\.rotation_euler\[1\]', "ctrl+shift+c", horizontal_share=0.7)
    before = window.query("scene")
    window.drag(x, y, 30)
    turned = window.query("scene")["head"]
    assert not np.allclose(turned, before["head"], atol=0.01)
    window.run_xdotool(f"mousemove {x} {y}", "sleep 0.5", "key i", "sleep 0.5", "mousemove 300 500", "sleep 0.5")
    window.run_xdotool("key Right", "key Right", "sleep 1", "key Left", "key Left", "sleep 1")
    after = window.query("scene")
    assert after["frame"] == before["frame"]
    assert np.allclose(after["head"], turned, atol=1e-3), "what is keyed is what is shown"
    window.capture_screen("head_turned")


def test_speak_button_makes_a_new_take(window: Window, machine: Machine) -> None:
    """One click on Speak: a take of its own, and a mouth that moves."""
    line = machine.host_folder / "line.wav"
    subprocess.run([sys.executable, "-m", "backend", "sample", str(line), "--seconds", "3"], cwd=ROOT, check=True)
    before = window.query("scene")
    form: dict[str, Any] = {"line.audio": str(machine.blender_folder / "line.wav")}
    window.query("fill", **form)
    window.click(*window.find_control(SPEAK, "ctrl+c"))
    wait_until(lambda: window.query("job")["state"] not in ("running", "cancelling"), "the end of the job", 300)
    job = window.query("job")
    assert job["state"] == "done", job
    after = window.query("scene")
    assert after["take"] != before["take"]
    window.capture_screen("spoken")


def test_preview_follows_the_scrubbed_playhead(window: Window) -> None:
    """The playhead is dragged along the timeline; the preview follows and ends on the frame that is shown."""
    window.run_xdotool("mousemove 300 500", "sleep 0.5")
    before = window.capture_screen()
    window.click(*window.find_control(PREVIEW, "ctrl+c", horizontal_share=0.3))
    before = wait_for_preview(window, before, "scrub_before")
    left, top, right, _ = window.query("timeline")
    start, y, shown, jaws = window.query("scene")["frame"], top + 12, set(), set()
    x = left + (right - left) // 4
    window.run_xdotool(f"mousemove {x} {y}", "sleep 0.5", "mousedown 1", "sleep 0.5")
    for _ in range(8):
        window.run_xdotool("mousemove_relative -- 25 0", "sleep 0.4")
        shown.add(window.query("preview")["frame"])
        jaws.add(round(window.query("scene")["channels"]["jawOpen"], 3))
    window.run_xdotool("mouseup 1", "sleep 1")
    now = window.query("scene")["frame"]
    assert now != start and len(shown) >= 4, f"frames {shown} were drawn while the playhead moved"
    assert len(jaws) >= 3, "the mouth moves with the line"
    wait_until(lambda: window.query("preview")["frame"] == now, "the picture of the frame where the playhead rests", 30)
    wait_for_preview(window, before, "scrubbed", min_change=0.002)
    window.click(*window.find_control(PREVIEW, "ctrl+c", horizontal_share=0.3))
    wait_until(lambda: not is_backend_running("Dora.actor"), "the end of the preview's process", 30)


def test_rendered_actor_appears_in_the_composite(window: Window, machine: Machine) -> None:
    """Render Actor, then F12: the picture that Blender saves holds the actor over the scene's world."""
    frame = window.query("scene")["frame"]
    window.query("fill_scene", frame_start=frame, frame_end=frame + 1, **CYCLES)
    window.query("fill", output=str(machine.blender_folder / "frames"), file_format="exr", placement="compositor")
    window.click(*window.find_control(RENDER, "ctrl+c"))
    wait_until(lambda: window.query("job")["state"] not in ("running", "cancelling"), "the end of the job", 300)
    job = window.query("job")
    assert job["state"] == "done", job
    window.run_xdotool("mousemove 300 500", "sleep 0.5", "key F12", "sleep 2")
    wait_until(lambda: not window.query("rendering"), "the end of the render", 300)
    window.run_xdotool("sleep 2")
    window.capture_screen("composite")
    saved = machine.host_folder / "composite.png"
    window.query("save_render", path=str(machine.blender_folder / "composite.png"))
    picture = cv2.imread(str(saved)).astype(float)
    height, width = picture.shape[:2]
    face = picture[height // 3 : 2 * height // 3, 2 * width // 5 : 3 * width // 5]
    corner = picture[: height // 12, : width // 12]
    assert face.std() > 8 and corner.std() < 4, "a face in the middle, the plain world in the corner"
    assert face.mean((0, 1))[2] > face.mean((0, 1))[0] + 10, "skin is redder than it is blue"
