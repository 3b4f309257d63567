"""The manual's pictures of Blender's window: the sidebar's steps, the rig, curves, strips, the compositor's group.

Blender is worked as in tests/desktop, in the same chroot where this machine has no Blender of its own.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools import package, run_tests
from tools.processes import ROOT, run_step

sys.path.insert(0, str(ROOT / "tests" / "desktop"))
from window import Machine, Window

Image = NDArray[np.uint8]
SaveImage = Callable[[str, Image], None]
TAB = "Portrait Actor"
PARK_POINTER = "mousemove 1275 995"  # where the pointer hides nothing
USUAL_LATENCY_SECONDS = 0.1  # seconds that a picture of the preview takes when nothing else runs
PROPERTIES_LEFT_PIXELS = 1057  # where Outliner and Properties begin
FORM_HEIGHT_PIXELS = 520  # pixels of the sidebar that its panels fill without an actor
NOBODY = "nobody: drawn by code"
SPEECH_FRAME = 34  # a frame of the line with an open mouth
FOOTAGE_FRAME = 109  # one of the footage


def capture_steps(save_image: SaveImage) -> None:
    """The sidebar in each of the first three steps, side by side."""
    with open_window(with_backend=False) as window:
        steps = [capture_sidebar(window)]
    with open_window() as window:
        save_image("steps", join_side_by_side(steps + capture_first_steps(window)))


def capture_work(actor: Path, line: Path, save_image: SaveImage) -> None:
    """The actor at work, from the import to the composite.

    Args:
        actor: the finished sample actor. line: the sound that it speaks. keep: gets each picture under its name.
    """
    with open_window() as window:
        lab, there = window.machine.host_folder, window.machine.blender_folder
        shutil.copytree(actor, lab / "sample.actor")
        shutil.copyfile(line, lab / "line.wav")
        window.query("operate", name="portrait_actor.import_actor", directory=str(there / "sample.actor"))
        close_panel(window, r"portrait_actor\.video$", 32)
        window.query("select_face")
        window.query("operate", name="portrait_actor.live_preview")
        window.query("fill", preview_size="512", compare="WIPE")
        show_preview_frame(window, FOOTAGE_FRAME, has_footage=True)
        save_image("compare", capture_window(window))
        window.query("fill", compare="OFF", **{"line.audio": str(there / "line.wav")})
        window.query("operate", name="portrait_actor.push_take")
        window.query("operate", name="portrait_actor.speak", audio=str(there / "line.wav"))
        wait_for_job(window)
        show_preview_frame(window, SPEECH_FRAME)
        save_image("window", capture_window(window))
        for take in (capture_rig, capture_panels, capture_composite, capture_editors):
            take(window, save_image)


@contextmanager
def open_window(*, with_backend: bool = True) -> Iterator[Window]:
    """A window with the extension installed in a user folder of its own, and an empty scene."""
    lab = Path(tempfile.mkdtemp(prefix="portrait_actor_manual_"))
    machine = Machine(lab, None if run_tests.has_desktop_tools() else make_chroot())
    if not with_backend:
        del machine.environment["PORTRAIT_ACTOR_PYTHON"]
    machine.install_extension(package.build_archive())
    window = Window(machine, Path(__file__).with_name("window_commands.py"))
    try:
        window.query("empty")
        window.open_tab(TAB)
        yield window
    finally:
        window.close()
        shutil.rmtree(lab, ignore_errors=True)


def make_chroot() -> Path:
    """The desktop tests' chroot, made when it is not there."""
    run_tests.require_chroot_support()
    run_step([ROOT / "tests" / "desktop" / "chroot.sh", "make", run_tests.CHROOT_FOLDER])
    return run_tests.CHROOT_FOLDER


def capture_first_steps(window: Window) -> list[Image]:
    """The sidebar with the sample clip filled in, and while the actor is created."""
    clip = window.machine.blender_folder / "sample.mp4"
    window.query("operate", name="portrait_actor.sample_clip", filepath=str(clip), seconds=6.0, size=256)
    wait_for_job(window)
    filled = capture_sidebar(window)
    window.query("operate", name="portrait_actor.create_actor", video=str(clip), consent_who=NOBODY)
    wait_until(lambda: window.query("job")["line"].startswith("Train") and window.query("job")["line"].endswith("left"))
    running = capture_sidebar(window)
    window.query("operate", name="portrait_actor.cancel_job")
    wait_for_job(window)
    return [filled, running]


def capture_rig(window: Window, save_image: SaveImage) -> None:
    """The bones and the face from beside, the head bone selected."""
    window.query("fill", preview_card=False)
    window.query("pose", bone="head")
    window.query("view", frame=SPEECH_FRAME, turn=38.0)
    save_image("rig", capture_window(window))
    window.query("select_face")
    window.query("view", frame=SPEECH_FRAME)


def capture_panels(window: Window, save_image: SaveImage) -> None:
    """Oral Channels and Speak, each on top of the sidebar."""
    left, top, *_ = window.open_tab(TAB)
    window.click(left + 60, top + 13)
    close_panel(window, r'bones\["head"\]\.rotation_euler\[0\]', 61)
    save_image("channels", capture_window(window)[sidebar_rows(window, 84, 700)])
    close_panel(window, r'key_blocks\["jawForward"\]\.value', 136, across=0.4)
    save_image("speak", capture_window(window)[sidebar_rows(window, 126, 510)])


def close_panel(window: Window, pattern: str, offset_pixels: int, across: float = 0.6) -> None:
    """Closes the panel whose heading lies so many pixels above a field, which is so far across the sidebar."""
    _, y = window.find_control(pattern, "ctrl+shift+c", across)
    window.click(window.open_tab(TAB)[0] + 60, y - offset_pixels)
    window.run_xdotool(PARK_POINTER, "sleep 1")


def sidebar_rows(window: Window, first: int, last: int) -> tuple[slice, slice]:
    """Rows of the sidebar, counted from its top."""
    left, top, right, _ = window.open_tab(TAB)
    return slice(top + first, top + last), slice(left, right)


def capture_composite(window: Window, save_image: SaveImage) -> None:
    """The group that Render Actor puts before the compositor's output."""
    frames = str(window.machine.blender_folder / "frames")
    window.query(
        "operate", name="portrait_actor.render_actor", output=frames, frame_start=SPEECH_FRAME, frame_end=SPEECH_FRAME
    )
    wait_for_job(window)
    window.query("become", kind="CompositorNodeTree")
    for _ in range(2):  # nodes that were never drawn have no size yet
        window.query("fit", kind="CompositorNodeTree", operator="node.view_all")
        window.run_xdotool("sleep 1")
    window.run_xdotool("mousemove 528 470", "sleep 0.5", "click --repeat 5 --delay 100 4", "sleep 1")  # nearer
    save_image("group", capture_window(window))
    window.query("become", kind="VIEW_3D")


def capture_editors(window: Window, save_image: SaveImage) -> None:
    """Curves and strips beneath the actor."""
    window.query("split", kind="FCURVES", share=0.45)
    window.query("curves", names=["jawOpen", "mouthFunnel", "mouthPucker", "mouthSmileLeft"])
    window.query("fit", kind="FCURVES", operator="graph.view_all")
    show_preview_frame(window, SPEECH_FRAME)
    save_image("curves", capture_window(window))
    window.query("operate", name="portrait_actor.push_take")
    window.query("strips")
    window.query("fit", kind="NLA_EDITOR", operator="nla.view_all")
    show_preview_frame(window, SPEECH_FRAME)
    save_image("nla", capture_window(window))


def show_preview_frame(window: Window, frame: int, *, has_footage: bool = False) -> None:
    """Waits until the live preview shows a frame through the camera, and tells how fast it is, not how it started."""
    for _ in range(10):
        for each in (frame - 1, frame):
            window.query("view", frame=each)
            wait_until(partial(is_preview_current, window, each, has_footage))
        if window.query("preview")["latency"] < USUAL_LATENCY_SECONDS:
            break
    window.run_xdotool("mousemove 300 300", "sleep 0.5", "key Home", "sleep 1")


def is_preview_current(window: Window, frame: int, has_footage: bool) -> bool:
    """Whether the preview is of that frame, with or without the footage."""
    state = window.query("preview")
    return state.get("shown") == frame and not state["waits"] and state["footage"] == has_footage


def wait_for_job(window: Window) -> None:
    """For the job's end.

    Raises:
        AssertionError: it failed.
    """
    wait_until(lambda: window.query("job")["state"] not in ("running", "cancelling"))
    job = window.query("job")
    assert job["state"] in ("done", "cancelled"), job


def wait_until(condition: Callable[[], Any], timeout_seconds: float = 600.0) -> None:
    """Waits for something to be so."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.3)


def capture_window(window: Window) -> Image:
    """The window without its right column, with the pointer aside in the status bar, which is left out."""
    window.run_xdotool(PARK_POINTER, "sleep 1.5")
    return window.capture_screen()[:975, :PROPERTIES_LEFT_PIXELS]


def capture_sidebar(window: Window) -> Image:
    """The sidebar of a scene without an actor."""
    left, top, right, _ = window.open_tab(TAB)
    return capture_window(window)[top : top + FORM_HEIGHT_PIXELS, left:right]


def join_side_by_side(images: list[Image]) -> Image:
    """Pictures side by side, with gaps between them."""
    return np.hstack([np.pad(picture, ((0, 0), (8, 8), (0, 0)), constant_values=255) for picture in images])
