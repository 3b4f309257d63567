"""What an artist sees and clicks, in the order of a first visit: the tab, an actor from disk, a slider, an undo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from window import Image, Machine, Window, save_screenshot

TAB = "Portrait Actor"


def contrast(picture: Image) -> float:
    """Standard deviation of the grey levels, 0–127: text and buttons give some, an empty area none."""
    return float(picture.mean(2).std())


def difference(a: Image, b: Image) -> float:
    """Share of pixels that differ visibly."""
    return float((np.abs(a.astype(int) - b).max(2) > 16).mean())


def shown(window: Window, tab: str) -> Image:
    """The sidebar's picture with `tab` open."""
    left, top, right, bottom = window.open_tab(tab)
    window.run_xdotool("mousemove 300 500", "sleep 1.5")
    return window.capture_screen()[top:bottom, left:right]


def choose(window: Window, folder: Path) -> None:
    """Presses Import Actor and chooses `folder` in the file browser."""
    window.click(*window.find_control(r"bpy\.ops\.portrait_actor\.import_actor\(", "ctrl+c"))
    window.run_xdotool("sleep 1")
    assert window.query("browse", directory=f"{folder}/"), "Import Actor opens the file browser"
    window.run_xdotool("mousemove 640 500", "sleep 1")
    window.capture_screen("import_file_browser")
    window.run_xdotool("key Return", "sleep 2", "mousemove 300 500", "sleep 1")


def test_the_window_is_drawn(window: Window) -> None:
    picture = window.capture_screen("window")
    assert picture.shape == (1000, 1280, 3)
    assert contrast(picture) > 5 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_the_tab_is_there_and_drawn(window: Window) -> None:
    assert {"PORTRAIT_ACTOR_PT_job", "PORTRAIT_ACTOR_PT_create"} <= set(window.query("panels"))
    other = shown(window, "View")
    ours = shown(window, TAB)
    save_screenshot(ours, "tab_before_an_actor")
    assert contrast(ours) > 5
    assert difference(ours, other) > 0.02


def test_a_click_that_cannot_work_says_why(window: Window, machine: Machine) -> None:
    """Import Actor on a folder that is none: a sentence in the window, no traceback, nothing in the scene."""
    (machine.host_folder / "holiday").mkdir()
    before = window.query("scene")
    choose(window, machine.blender_folder / "holiday")
    window.capture_screen("import_of_a_folder_that_is_no_actor")
    said = window.query("reports")
    assert "There is no actor" in said and "Traceback" not in said
    assert window.query("scene") == before


def test_import_actor_by_mouse(window: Window, nora: Path) -> None:
    choose(window, nora)
    scene = window.query("scene")
    assert "ARMATURE" in scene["objects"].values() and "CAMERA" in scene["objects"].values()
    assert scene["face"] and len(scene["channels"]) == 53  # Basis and the 52
    assert {"PORTRAIT_ACTOR_PT_pose", "PORTRAIT_ACTOR_PT_oral"} <= set(window.query("panels"))
    save_screenshot(shown(window, TAB), "tab_with_an_actor")
    window.capture_screen("window_with_an_actor")


@pytest.mark.parametrize(("channel", "distance"), [("jawOpen", 60), ("mouthFunnel", -60)])
def test_a_slider_moves_the_face(window: Window, nora: Path, channel: str, distance: int) -> None:
    x, y = window.find_control(rf'key_blocks\["{channel}"\]\.value', "ctrl+shift+c", horizontal_share=0.4)
    before = window.query("scene")
    window.drag(x, y, distance)
    after = window.query("scene")
    assert np.sign(after["channels"][channel] - before["channels"][channel]) == np.sign(distance)
    assert after["shape"] != before["shape"]
    others = [name for name in before["channels"] if name != channel]
    assert [after["channels"][name] for name in others] == [before["channels"][name] for name in others]
    window.capture_screen(f"slider_{channel}")
    window.run_xdotool("mousemove 300 500", "sleep 0.3", "key ctrl+z", "sleep 1")
    assert window.query("scene")["channels"] == before["channels"], "one undo takes it back"


def test_search_finds_what_the_sidebar_has(window: Window, nora: Path) -> None:
    """F3, a word, Enter: the operator runs as its button would."""
    window.run_xdotool("mousemove 300 500", "sleep 0.3", "key F3", "sleep 1")
    window.run_xdotool("type --delay 100 Farm")
    window.run_xdotool("sleep 1")
    window.capture_screen("search")
    window.run_xdotool("key Return", "sleep 1")
    assert window.query("browse", directory=f"{nora.parent}/"), "Export Farm Job asks for a folder"
    window.run_xdotool("mousemove 640 500", "key Escape", "sleep 1")


def test_it_speaks_german_where_blender_does(window: Window) -> None:
    """Our own word where Blender has another of the same name: its "Face" is a polygon, "Fläche"."""
    texts = {"Face": TAB, "Import Actor": TAB, "No {} was chosen.": f"{TAB} message", "Camera": "*"}
    try:
        told = window.query("language", code="de_DE", texts=texts)
        assert told == ["Gesicht", "Darsteller importieren", "Nichts gewählt: {}.", "Kamera"]
        save_screenshot(shown(window, TAB), "tab_in_german")
    finally:
        window.query("language", code="en_US", texts={})
