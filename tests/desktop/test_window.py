"""The first steps of an artist in the window: the tab, an actor from disk, a slider, an undo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from window import Machine, Window, save_screenshot

from backend.contract.arrays import Image

TAB = "Portrait Actor"


def contrast(picture: Image) -> float:
    """Return the standard deviation of the gray levels, 0–127: text and buttons give some, an empty area none."""
    return float(picture.mean(2).std())


def difference(a: Image, b: Image) -> float:
    """Return the share of pixels that differ visibly."""
    return float((np.abs(a.astype(int) - b).max(2) > 16).mean())


def capture_sidebar(window: Window, tab: str) -> Image:
    """Return the sidebar's image with a tab open."""
    left, top, right, bottom = window.open_tab(tab)
    window.run_xdotool("mousemove 300 500", "sleep 1.5")
    return window.capture_screen()[top:bottom, left:right]


def import_folder(window: Window, folder: Path) -> None:
    """Press Import Actor and choose a folder in the file browser."""
    window.click(*window.find_control(r"bpy\.ops\.portrait_actor\.import_actor\(", "ctrl+c"))
    window.run_xdotool("sleep 1")
    assert window.query("browse", directory=f"{folder}/"), "Import Actor opens the file browser"
    window.run_xdotool("mousemove 640 500", "sleep 1")
    window.capture_screen("import_file_browser")
    window.run_xdotool("key Return", "sleep 2", "mousemove 300 500", "sleep 1")


def test_window_is_not_empty(window: Window) -> None:
    picture = window.capture_screen("window")
    assert picture.shape == (1000, 1280, 3)
    assert contrast(picture) > 5 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_tab_is_registered_and_not_empty(window: Window) -> None:
    assert {"PORTRAIT_ACTOR_PT_job", "PORTRAIT_ACTOR_PT_create"} <= set(window.query("panels"))
    other = capture_sidebar(window, "View")
    own = capture_sidebar(window, TAB)
    save_screenshot(own, "tab_before_an_actor")
    assert contrast(own) > 5
    assert difference(own, other) > 0.02


def test_import_of_another_folder_reports_the_reason(window: Window, machine: Machine) -> None:
    """Import Actor on a folder that is none: a sentence in the window, no traceback, nothing in the scene."""
    (machine.host_folder / "holiday").mkdir()
    before = window.query("scene")
    import_folder(window, machine.blender_folder / "holiday")
    window.capture_screen("import_of_a_folder_that_is_no_actor")
    reports = window.query("reports")
    assert "There is no actor" in reports and "Traceback" not in reports
    assert window.query("scene") == before


def test_import_actor_by_mouse_adds_rig_face_and_camera(window: Window, nora: Path) -> None:
    import_folder(window, nora)
    scene = window.query("scene")
    assert "ARMATURE" in scene["objects"].values() and "CAMERA" in scene["objects"].values()
    assert scene["face"] and len(scene["channels"]) == 53  # Basis and the 52
    assert {"PORTRAIT_ACTOR_PT_pose", "PORTRAIT_ACTOR_PT_oral"} <= set(window.query("panels"))
    save_screenshot(capture_sidebar(window, TAB), "tab_with_an_actor")
    window.capture_screen("window_with_an_actor")


@pytest.mark.parametrize(("channel", "distance"), [("jawOpen", 60), ("mouthFunnel", -60)])
def test_dragged_slider_moves_the_face_and_undo_restores_it(
    window: Window, nora: Path, channel: str, distance: int
) -> None:
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


def test_operator_search_finds_export_farm_job(window: Window, nora: Path) -> None:
    """F3, a word, Enter: the operator runs as its button would."""
    window.run_xdotool("mousemove 300 500", "sleep 0.3", "key F3", "sleep 1")
    window.run_xdotool("type --delay 100 Farm")
    window.run_xdotool("sleep 1")
    window.capture_screen("search")
    window.run_xdotool("key Return", "sleep 1")
    assert window.query("browse", directory=f"{nora.parent}/"), "Export Farm Job asks for a folder"
    window.run_xdotool("mousemove 640 500", "key Escape", "sleep 1")


def test_german_texts_follow_blenders_language(window: Window) -> None:
    """Our own word where Blender has another of the same name: its "Face" is a polygon, "Fläche"."""
    texts = {"Face": TAB, "Import Actor": TAB, "No {} was chosen.": f"{TAB} message", "Camera": "*"}
    try:
        translations = window.query("language", code="de_DE", texts=texts)
        assert translations == ["Gesicht", "Darsteller importieren", "Nichts gewählt: {}.", "Kamera"]
        save_screenshot(capture_sidebar(window, TAB), "tab_in_german")
    finally:
        window.query("language", code="en_US", texts={})
