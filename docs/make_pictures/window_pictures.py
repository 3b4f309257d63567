"""The manual's pictures of Blender's window: the sidebar's steps, the rig, curves, strips, the compositor's group.

Blender is controlled as in tests/desktop, in the same chroot where this machine has no Blender of its own.
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

from backend.contract.arrays import Image
from tools import package, pipeline, run_tests
from tools.processes import ROOT, run_step

sys.path.insert(0, str(ROOT / "tests" / "desktop"))
from window import Machine, Window

SaveImage = Callable[[str, Image], None]
TAB = "Portrait Actor"
CONSENT = pipeline.DEMO_CONSENT  # the answer to who is shown and agreed
USUAL_LATENCY_SECONDS = 0.1  # that the preview takes for a frame when nothing else runs
WAIT_INTERVAL_SECONDS = 0.3
SPEECH_FRAME = 34  # a frame of the line with an open mouth
FOOTAGE_FRAME = 109  # a frame of the footage

# Places in the window of 1280 × 1000 pixels; measured in Blender's default theme and scale.
PARK_POINTER = "mousemove 1275 995"  # where the pointer hides nothing
VIEW_POINTER = "mousemove 300 300"  # over the 3D view
NODE_POINTER = "mousemove 528 470"  # over the merge group's node
STATUS_BAR_TOP = 975
PROPERTIES_LEFT = 1057  # where Outliner and Properties begin
FORM_HEIGHT = 520  # of the sidebar that its panels fill without an actor
PANEL_TITLE = (60, 13)  # of the first panel, from the sidebar's upper left corner
VIDEO_PANEL_OFFSET = 32  # from the first control of a panel up to its title
ROTATION_PANEL_OFFSET = 61
JAW_PANEL_OFFSET = 136
CHANNELS_ROWS = (84, 700)  # of the sidebar that each picture shows
SPEAK_ROWS = (126, 510)


def capture_steps(save_image: SaveImage) -> None:
    """Save the sidebar in each of the first three steps, side by side."""
    with open_window(with_backend=False) as window:
        steps = [capture_sidebar(window)]
    with open_window() as window:
        save_image("steps", join_side_by_side(steps + capture_first_steps(window)))


def capture_work(actor: Path, line: Path, save_image: SaveImage) -> None:
    """Save the pictures of an actor at work, from the import to the composite.

    Args:
        actor: the finished sample actor.
        line: the sound that it speaks.
        save_image: saves a picture under its name.
    """
    with open_window() as window:
        host, blender = window.machine.host_folder, window.machine.blender_folder
        shutil.copytree(actor, host / "sample.actor")
        shutil.copyfile(line, host / "line.wav")
        window.query("operate", name="portrait_actor.import_actor", directory=str(blender / "sample.actor"))
        close_panel(window, r"portrait_actor\.video$", VIDEO_PANEL_OFFSET)
        window.query("select_face")
        window.query("operate", name="portrait_actor.live_preview")
        window.query("fill", preview_size="512", compare="WIPE")
        show_preview_frame(window, FOOTAGE_FRAME, has_footage=True)
        save_image("compare", capture_window(window))
        settings: dict[str, Any] = {"compare": "OFF", "line.audio": str(blender / "line.wav")}
        window.query("fill", **settings)
        window.query("operate", name="portrait_actor.push_take")
        window.query("operate", name="portrait_actor.speak", audio=str(blender / "line.wav"))
        wait_for_job(window)
        show_preview_frame(window, SPEECH_FRAME)
        save_image("window", capture_window(window))
        for capture in (capture_rig, capture_panels, capture_composite, capture_editors):
            capture(window, save_image)


@contextmanager
def open_window(*, with_backend: bool = True) -> Iterator[Window]:
    """Open a window with the extension installed in a user folder of its own, and an empty scene."""
    folder = Path(tempfile.mkdtemp(prefix="portrait_actor_manual_"))
    machine = Machine(folder, None if run_tests.has_desktop_tools() else make_chroot())
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
        shutil.rmtree(folder, ignore_errors=True)


def make_chroot() -> Path:
    """Return the desktop tests' chroot; make it when it is missing."""
    run_tests.require_chroot_support()
    run_step([ROOT / "tests" / "desktop" / "chroot.sh", "make", run_tests.CHROOT_FOLDER])
    return run_tests.CHROOT_FOLDER


def capture_first_steps(window: Window) -> list[Image]:
    """The sidebar with the sample clip filled in, and the sidebar while the actor is created."""
    clip = window.machine.blender_folder / "sample.mp4"
    window.query("operate", name="portrait_actor.sample_clip", filepath=str(clip), seconds=6.0, size=256)
    wait_for_job(window)
    filled = capture_sidebar(window)
    window.query("operate", name="portrait_actor.create_actor", video=str(clip), consent_who=CONSENT)
    wait_until(
        lambda: window.query("job")["status"].startswith("Train") and window.query("job")["status"].endswith("left")
    )
    running = capture_sidebar(window)
    window.query("operate", name="portrait_actor.cancel_job")
    wait_for_job(window)
    return [filled, running]


def capture_rig(window: Window, save_image: SaveImage) -> None:
    """Save bones and face seen from the side, the head bone selected."""
    window.query("fill", preview_card=False)
    window.query("pose", bone="head")
    window.query("view", frame=SPEECH_FRAME, turn=38.0)
    save_image("rig", capture_window(window))
    window.query("select_face")
    window.query("view", frame=SPEECH_FRAME)


def capture_panels(window: Window, save_image: SaveImage) -> None:
    """Save the panels Oral Channels and Speak, each at the top of the sidebar."""
    left, top, *_ = window.open_tab(TAB)
    window.click(left + PANEL_TITLE[0], top + PANEL_TITLE[1])
    close_panel(window, r'bones\["head"\]\.rotation_euler\[0\]', ROTATION_PANEL_OFFSET)
    save_image("channels", capture_window(window)[sidebar_rows(window, *CHANNELS_ROWS)])
    close_panel(window, r'key_blocks\["jawForward"\]\.value', JAW_PANEL_OFFSET, horizontal_share=0.4)
    save_image("speak", capture_window(window)[sidebar_rows(window, *SPEAK_ROWS)])


def close_panel(window: Window, pattern: str, offset: int, horizontal_share: float = 0.6) -> None:
    """Close the panel whose title lies `offset` pixels above a control.

    Args:
        window: the window.
        pattern: regular expression for the control's data path.
        offset: pixels.
        horizontal_share: where the control lies in the sidebar, 0 left to 1 right.
    """
    _, y = window.find_control(pattern, "ctrl+shift+c", horizontal_share)
    window.click(window.open_tab(TAB)[0] + PANEL_TITLE[0], y - offset)
    window.run_xdotool(PARK_POINTER, "sleep 1")


def sidebar_rows(window: Window, first: int, last: int) -> tuple[slice, slice]:
    """Rows and columns of the window that show the sidebar from row `first` to row `last`, counted from its top."""
    left, top, right, _ = window.open_tab(TAB)
    return slice(top + first, top + last), slice(left, right)


def capture_composite(window: Window, save_image: SaveImage) -> None:
    """Save the merge group that Render Actor puts before the compositor's output."""
    frames = str(window.machine.blender_folder / "frames")
    window.query(
        "operate", name="portrait_actor.render_actor", output=frames, frame_start=SPEECH_FRAME, frame_end=SPEECH_FRAME
    )
    wait_for_job(window)
    window.query("become", kind="CompositorNodeTree")
    for _ in range(2):  # nodes that were never drawn have no size yet
        window.query("fit", kind="CompositorNodeTree", operator="node.view_all")
        window.run_xdotool("sleep 1")
    window.run_xdotool(NODE_POINTER, "sleep 0.5", "click --repeat 5 --delay 100 4", "sleep 1")  # zoom in
    save_image("group", capture_window(window))
    window.query("become", kind="VIEW_3D")


def capture_editors(window: Window, save_image: SaveImage) -> None:
    """Save the actor above the Graph Editor, and above the NLA Editor."""
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
    """Wait until the live preview shows a frame through the camera at its usual latency, which the sidebar displays."""
    for _ in range(10):
        for number in (frame - 1, frame):
            window.query("view", frame=number)
            wait_until(partial(is_preview_current, window, number, has_footage))
        if window.query("preview")["latency"] < USUAL_LATENCY_SECONDS:
            break
    window.run_xdotool(VIEW_POINTER, "sleep 0.5", "key Home", "sleep 1")


def is_preview_current(window: Window, frame: int, has_footage: bool) -> bool:
    """Whether the preview shows this frame, with or without the footage."""
    state = window.query("preview")
    return bool(state.get("frame") == frame and not state["is_waiting"] and state["has_footage"] == has_footage)


def wait_for_job(window: Window) -> None:
    """Wait for the job's end.

    Raises:
        AssertionError: the job failed.
    """
    wait_until(lambda: window.query("job")["state"] not in ("running", "cancelling"))
    job = window.query("job")
    assert job["state"] in ("done", "cancelled"), job


def wait_until(condition: Callable[[], Any], timeout_seconds: float = 600.0) -> None:
    """Wait until `condition` holds.

    Raises:
        AssertionError: it does not hold in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {timeout_seconds:.0f} s"
        time.sleep(WAIT_INTERVAL_SECONDS)


def capture_window(window: Window) -> Image:
    """Capture the window without its right column and its status bar, where the pointer is parked."""
    window.run_xdotool(PARK_POINTER, "sleep 1.5")
    return window.capture_screen()[:STATUS_BAR_TOP, :PROPERTIES_LEFT]


def capture_sidebar(window: Window) -> Image:
    """Capture the sidebar of a scene without an actor."""
    left, top, right, _ = window.open_tab(TAB)
    return capture_window(window)[top : top + FORM_HEIGHT, left:right]


def join_side_by_side(images: list[Image]) -> Image:
    """Join images side by side, with gaps between them."""
    padded = [np.pad(image, ((0, 0), (8, 8), (0, 0)), constant_values=255) for image in images]
    return np.asarray(np.hstack(padded), np.uint8)
