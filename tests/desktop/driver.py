"""Runs inside the Blender under test: a timer answers the questions that `window.py` asks through files.

    blender --python driver.py -- FOLDER

A question is `FOLDER/question.json` ({"number", "verb", …}), its answer `FOLDER/answer.json`. Commands read Blender's
state, fill in forms, and open a tab or a folder. Buttons and sliders are worked with the mouse.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

FOLDER = Path(sys.argv[sys.argv.index("--") + 1])
POLLS_PER_SECOND = 50  # looks for a question
ADDON = "bl_ext.user_default.portrait_actor.addon"


def first_window() -> Any:
    """Return the first window."""
    manager: Any = bpy.context.window_manager
    return manager.windows[0]


def current_scene() -> Any:
    """Return the scene in the window."""
    return bpy.context.scene


def find_sidebar() -> tuple[Any, Any, Any]:
    """Return the first window, its first 3D view, and that view's sidebar."""
    window = first_window()
    area = next(a for a in window.screen.areas if a.type == "VIEW_3D")
    return window, area, next(r for r in area.regions if r.type == "UI")


def screen_rectangle(region: Any, window: Any) -> list[int]:
    """Return left, top, right and bottom of a region on the screen: x right, y down."""
    top = window.height - region.y - region.height
    return [region.x, top, region.x + region.width, top + region.height]


def show_tab(category: str) -> dict[str, Any]:
    """Open the sidebar at a tab, once it has been drawn; return its rectangle and the tab that is open."""
    window, area, region = find_sidebar()
    area.spaces.active.show_region_ui = True
    if not region.is_property_readonly("active_panel_category"):
        region.active_panel_category = category
    area.tag_redraw()
    return {"rectangle": screen_rectangle(region, window), "category": region.active_panel_category}


def panels() -> list[str]:
    """Return the registered panels of the extension."""
    return sorted(n for n in dir(bpy.types) if n.startswith("PORTRAIT_ACTOR_PT_"))


def clipboard(*, clear: bool = False) -> str:
    """Return what was copied last, or clear it first."""
    manager: Any = bpy.context.window_manager
    if clear:
        manager.clipboard = ""
    return str(manager.clipboard)


def browse(directory: str) -> bool:
    """Show a folder in the open file browser; return whether one is open."""
    manager: Any = bpy.context.window_manager
    for window in manager.windows:
        for area in window.screen.areas:
            if area.type == "FILE_BROWSER" and area.spaces.active.params is not None:
                area.spaces.active.params.directory = directory.encode()
                return True
    return False


def scene() -> dict[str, Any]:
    """Return the scene's objects with their types, the face's channels, take and shape, and the head's pose."""
    objects = current_scene().objects
    result: dict[str, Any] = {"objects": {o.name: o.type for o in objects}, "channels": {}}
    depsgraph = bpy.context.evaluated_depsgraph_get()
    for candidate in objects:
        if candidate.type == "MESH" and candidate.data.shape_keys and "jawOpen" in candidate.data.shape_keys.key_blocks:
            result["face"] = candidate.name
            motion = candidate.data.shape_keys.animation_data
            result["take"] = motion.action.name if motion is not None and motion.action is not None else ""
            result["channels"] = {k.name: k.value for k in candidate.data.shape_keys.key_blocks}
            mesh = candidate.evaluated_get(depsgraph).data
            points = np.empty(len(mesh.vertices) * 3, np.float32)
            mesh.vertices.foreach_get("co", points)
            result["shape"] = [float(points.sum()), float(np.abs(points).sum())]
        elif candidate.type == "ARMATURE" and "head" in candidate.pose.bones:
            result["head"] = [v for row in candidate.pose.bones["head"].matrix_basis for v in row]
    result["frame"] = current_scene().frame_current
    return result


def fill(**values: Any) -> None:
    """Fill in the sidebar's forms as typing would; a name may be a path, e.g. ``line.audio``."""
    set_properties(current_scene().portrait_actor, values)


def fill_scene(**values: Any) -> None:
    """Set Blender's own properties of the scene, e.g. ``render.engine``."""
    set_properties(current_scene(), values)


def set_properties(owner: Any, values: dict[str, Any]) -> None:
    """Set properties by their paths."""
    for path, value in values.items():
        *parts, name = path.split(".")
        target = owner
        for part in parts:
            target = getattr(target, part)
        setattr(target, name, value)


def timeline() -> list[int]:
    """Return the timeline's rectangle on the screen."""
    window = first_window()
    area = next(a for a in window.screen.areas if a.type == "DOPESHEET_EDITOR")
    return screen_rectangle(next(r for r in area.regions if r.type == "WINDOW"), window)


def rendering() -> bool:
    """Return whether Blender renders."""
    return bool(bpy.app.is_job_running("RENDER"))


def save_render(path: str) -> None:
    """Save the last render, as Image > Save does."""
    current_scene().render.image_settings.file_format = "PNG"
    bpy.data.images["Render Result"].save_render(path)


def job() -> dict[str, Any]:
    """Return the state of the current job as the sidebar shows it."""
    current = sys.modules[f"{ADDON}.jobs.job"].current_job()
    if current is None:
        return {"state": "none"}
    error = current.error.message if current.error else ""
    return {"state": current.state.value, "status": current.status_text, "outcome": current.outcome, "error": error}


def preview() -> dict[str, Any]:
    """Return the state of the live preview, its image's mean color, and the camera's rectangle on the screen."""
    live = sys.modules[f"{ADDON}.preview.live_preview"].current_preview()
    if live is None:
        return {"is_on": False}
    image = live.compared_image(current_scene())
    window, area, _ = find_sidebar()
    region = next(r for r in area.regions if r.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        rectangle = sys.modules[f"{ADDON}.preview.viewport_overlay"].camera_frame(bpy.context)
    if rectangle is not None:
        left, bottom, right, top = rectangle
        x, y = region.x, window.height - region.y
        rectangle = [left + x, y - top, right + x, y - bottom]
    state = {
        "is_on": True,
        "error": live.error_text,
        "rectangle": rectangle,
        "is_waiting": live.is_outdated or live.process.is_rendering,
    }
    if image is None:
        return state
    height, width = image.pixels.shape[:2]
    middle = image.pixels[height // 3 : 2 * height // 3, 2 * width // 5 : 3 * width // 5, :3]
    state |= {"frame": image.frame, "latency": image.latency_seconds, "color": middle.mean((0, 1)).tolist()}
    return state | {"has_footage": image.footage is not None}


def reports() -> str:
    """Return all reports so far, as the Info editor lists them."""
    window = first_window()
    area = next(a for a in window.screen.areas if a.type == "PROPERTIES")
    area.type = "INFO"
    region = next(r for r in area.regions if r.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.info.select_all(action="SELECT")
        bpy.ops.info.report_copy()
    area.type = "PROPERTIES"
    return clipboard()


def language(code: str, texts: dict[str, str]) -> list[str]:
    """Switch Blender's language and return the translations of texts, each given with its context."""
    preferences: Any = bpy.context.preferences
    preferences.view.language = code
    return [bpy.app.translations.pgettext_iface(text, context) for text, context in texts.items()]


COMMANDS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        show_tab, panels, clipboard, browse, fill, fill_scene, timeline, rendering, save_render,
        job, scene, preview, reports, language,
    )
}  # fmt: skip


def answer_question() -> float | None:
    """Answer a question if there is one. Blender calls this repeatedly."""
    question = FOLDER / "question.json"
    if not question.exists():
        return 1 / POLLS_PER_SECOND
    arguments = json.loads(question.read_text(encoding="utf-8"))
    question.unlink()
    number, command = arguments.pop("number"), arguments.pop("verb")
    if command == "quit":
        bpy.ops.wm.quit_blender()
        return None
    try:
        answer: dict[str, Any] = {"number": number, "value": COMMANDS[command](**arguments)}
    except Exception:  # the test fails with it
        answer = {"number": number, "error": traceback.format_exc()}
    part = FOLDER / "answer.part"
    part.write_text(json.dumps(answer), encoding="utf-8")
    part.replace(FOLDER / "answer.json")
    return 1 / POLLS_PER_SECOND


_preferences: Any = bpy.context.preferences
_preferences.view.show_splash = False
_preferences.view.filebrowser_display_type = "SCREEN"  # no second window on a screen without a manager
bpy.app.timers.register(answer_question, first_interval=1, persistent=True)
