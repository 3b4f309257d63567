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
from tools.processes import ROOT, step

sys.path.insert(0, str(ROOT / "tests" / "desktop"))
from window import Machine, Window

Picture = NDArray[np.uint8]
Keep = Callable[[str, Picture], None]
TAB = "Portrait Actor"
ASIDE = "mousemove 1275 995"  # where the pointer hides nothing
USUAL = 0.1  # seconds that a picture of the preview takes when nothing else runs
COLUMN = 1057  # where Outliner and Properties begin
FORM = 520  # pixels of the sidebar that its panels fill without an actor
NOBODY = "nobody: drawn by code"
SPOKEN = 34  # a frame of the line with an open mouth
FILMED = 109  # one of the footage


def take_steps(keep: Keep) -> None:
    """The sidebar in each of the first three steps, side by side."""
    with opened(with_backend=False) as window:
        steps = [panel(window)]
    with opened() as window:
        keep("steps", beside(steps + first_steps(window)))


def take_work(actor: Path, line: Path, keep: Keep) -> None:
    """The actor at work, from the import to the composite.

    Args:
        actor: the finished sample actor. line: the sound that it speaks. keep: gets each picture under its name.
    """
    with opened() as window:
        lab, there = window.machine.lab, window.machine.there
        shutil.copytree(actor, lab / "sample.actor")
        shutil.copyfile(line, lab / "line.wav")
        window.ask("operate", name="portrait_actor.import_actor", directory=str(there / "sample.actor"))
        fold(window, r"portrait_actor\.video$", 32)
        window.ask("select_face")
        window.ask("operate", name="portrait_actor.live_preview")
        window.ask("fill", preview_size="512", compare="WIPE")
        show(window, FILMED, compared=True)
        keep("compare", still(window))
        window.ask("fill", compare="OFF", **{"line.audio": str(there / "line.wav")})
        window.ask("operate", name="portrait_actor.push_take")
        window.ask("operate", name="portrait_actor.speak", audio=str(there / "line.wav"))
        wait(window)
        show(window, SPOKEN)
        keep("window", still(window))
        for take in (rig, panels, composite, edit):
            take(window, keep)


@contextmanager
def opened(*, with_backend: bool = True) -> Iterator[Window]:
    """A window with the extension installed in a user folder of its own, and an empty scene."""
    lab = Path(tempfile.mkdtemp(prefix="portrait_actor_manual_"))
    machine = Machine(lab, None if run_tests.desktop_on_host() else chroot())
    if not with_backend:
        del machine.environment["PORTRAIT_ACTOR_PYTHON"]
    machine.install(package.build())
    window = Window(machine, Path(__file__).with_name("window_commands.py"))
    try:
        window.ask("empty")
        window.open_tab(TAB)
        yield window
    finally:
        window.close()
        shutil.rmtree(lab, ignore_errors=True)


def chroot() -> Path:
    """The desktop tests' chroot, made when it is not there."""
    run_tests.check_chroot()
    step([ROOT / "tests" / "desktop" / "chroot.sh", "make", run_tests.CHROOT])
    return run_tests.CHROOT


def first_steps(window: Window) -> list[Picture]:
    """The sidebar with the sample clip filled in, and while the actor is created."""
    clip = window.machine.there / "sample.mp4"
    window.ask("operate", name="portrait_actor.sample_clip", filepath=str(clip), seconds=6.0, size=256)
    wait(window)
    filled = panel(window)
    window.ask("operate", name="portrait_actor.create_actor", video=str(clip), consent_who=NOBODY)
    until(lambda: window.ask("job")["line"].startswith("Train") and window.ask("job")["line"].endswith("left"))
    running = panel(window)
    window.ask("operate", name="portrait_actor.cancel_job")
    wait(window)
    return [filled, running]


def rig(window: Window, keep: Keep) -> None:
    """The bones and the face from beside, the head bone selected."""
    window.ask("fill", preview_card=False)
    window.ask("pose", bone="head")
    window.ask("view", frame=SPOKEN, turn=38.0)
    keep("rig", still(window))
    window.ask("select_face")
    window.ask("view", frame=SPOKEN)


def panels(window: Window, keep: Keep) -> None:
    """Oral Channels and Speak, each on top of the sidebar."""
    left, top, *_ = window.open_tab(TAB)
    window.click(left + 60, top + 13)
    fold(window, r'bones\["head"\]\.rotation_euler\[0\]', 61)
    keep("channels", still(window)[part_of(window, 84, 700)])
    fold(window, r'key_blocks\["jawForward"\]\.value', 136, across=0.4)
    keep("speak", still(window)[part_of(window, 126, 510)])


def fold(window: Window, pattern: str, above: int, across: float = 0.6) -> None:
    """Closes the panel whose heading lies so many pixels above a field, which is so far across the sidebar."""
    _, y = window.find(pattern, "ctrl+shift+c", across)
    window.click(window.open_tab(TAB)[0] + 60, y - above)
    window.mouse(ASIDE, "sleep 1")


def part_of(window: Window, first: int, last: int) -> tuple[slice, slice]:
    """Rows of the sidebar, counted from its top."""
    left, top, right, _ = window.open_tab(TAB)
    return slice(top + first, top + last), slice(left, right)


def composite(window: Window, keep: Keep) -> None:
    """The group that Render Actor puts before the compositor's output."""
    frames = str(window.machine.there / "frames")
    window.ask("operate", name="portrait_actor.render_actor", output=frames, frame_start=SPOKEN, frame_end=SPOKEN)
    wait(window)
    window.ask("become", kind="CompositorNodeTree")
    for _ in range(2):  # nodes that were never drawn have no size yet
        window.ask("fit", kind="CompositorNodeTree", operator="node.view_all")
        window.mouse("sleep 1")
    window.mouse("mousemove 528 470", "sleep 0.5", "click --repeat 5 --delay 100 4", "sleep 1")  # nearer
    keep("group", still(window))
    window.ask("become", kind="VIEW_3D")


def edit(window: Window, keep: Keep) -> None:
    """Curves and strips beneath the actor."""
    window.ask("split", kind="FCURVES", share=0.45)
    window.ask("curves", names=["jawOpen", "mouthFunnel", "mouthPucker", "mouthSmileLeft"])
    window.ask("fit", kind="FCURVES", operator="graph.view_all")
    show(window, SPOKEN)
    keep("curves", still(window))
    window.ask("operate", name="portrait_actor.push_take")
    window.ask("strips")
    window.ask("fit", kind="NLA_EDITOR", operator="nla.view_all")
    show(window, SPOKEN)
    keep("nla", still(window))


def show(window: Window, frame: int, *, compared: bool = False) -> None:
    """Waits until the live preview shows a frame through the camera, and tells how fast it is, not how it started."""
    for _ in range(10):
        for each in (frame - 1, frame):
            window.ask("view", frame=each)
            until(partial(is_shown, window, each, compared))
        if window.ask("preview")["latency"] < USUAL:
            break
    window.mouse("mousemove 300 300", "sleep 0.5", "key Home", "sleep 1")


def is_shown(window: Window, frame: int, compared: bool) -> bool:
    """Whether the preview is of that frame, with or without the footage."""
    state = window.ask("preview")
    return state.get("shown") == frame and not state["waits"] and state["footage"] == compared


def wait(window: Window) -> None:
    """For the job's end.

    Raises:
        AssertionError: it failed.
    """
    until(lambda: window.ask("job")["state"] not in ("running", "cancelling"))
    job = window.ask("job")
    assert job["state"] in ("done", "cancelled"), job


def until(said: Callable[[], Any], patience: float = 600.0) -> None:
    """Waits for something to be so."""
    deadline = time.monotonic() + patience
    while not said():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.3)


def still(window: Window) -> Picture:
    """The window without its right column, with the pointer aside in the status bar, which is left out."""
    window.mouse(ASIDE, "sleep 1.5")
    return window.look()[:975, :COLUMN]


def panel(window: Window) -> Picture:
    """The sidebar of a scene without an actor."""
    left, top, right, _ = window.open_tab(TAB)
    return still(window)[top : top + FORM, left:right]


def beside(pictures: list[Picture]) -> Picture:
    """Pictures side by side, with gaps between them."""
    return np.hstack([np.pad(picture, ((0, 0), (8, 8), (0, 0)), constant_values=255) for picture in pictures])
