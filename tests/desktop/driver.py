"""Runs inside the Blender under test: answers the questions that `window.py` asks through files, from a timer.

    blender --python driver.py -- FOLDER

A question is `FOLDER/question.json` ({"number", "verb", …}), its answer `FOLDER/answer.json`. It only looks, and points
the sidebar and the file browser to where a test wants them: the work itself is done with the mouse.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import bpy
import numpy as np

FOLDER = Path(sys.argv[sys.argv.index("--") + 1])
POLLS_PER_SECOND = 50


def find_sidebar() -> tuple[bpy.types.Window, bpy.types.Area, bpy.types.Region]:
    """The first 3D view of the first window with its sidebar."""
    window = bpy.context.window_manager.windows[0]
    area = next(a for a in window.screen.areas if a.type == "VIEW_3D")
    return window, area, next(r for r in area.regions if r.type == "UI")


def screen_rectangle(region: bpy.types.Region, window: bpy.types.Window) -> list[int]:
    """Left, top, right, bottom of a region on the screen: x right, y down."""
    top = window.height - region.y - region.height
    return [region.x, top, region.x + region.width, top + region.height]


def show_tab(category: str) -> dict[str, Any]:
    """Opens the sidebar at the tab `category`, once it has been drawn; says where it is and which tab is open."""
    window, area, region = find_sidebar()
    area.spaces.active.show_region_ui = True
    if not region.is_property_readonly("active_panel_category"):
        region.active_panel_category = category
    area.tag_redraw()
    return {"rectangle": screen_rectangle(region, window), "category": region.active_panel_category}


def panels() -> list[str]:
    """The extension's panels that are registered."""
    return sorted(n for n in dir(bpy.types) if n.startswith("PORTRAIT_ACTOR_PT_"))


def clipboard(clear: bool = False) -> str:
    """What was copied last."""
    if clear:
        bpy.context.window_manager.clipboard = ""
    return bpy.context.window_manager.clipboard


def browse(directory: str) -> bool:
    """Points the open file browser to `directory`; False when none is open."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "FILE_BROWSER" and area.spaces.active.params is not None:
                area.spaces.active.params.directory = directory.encode()
                return True
    return False


def scene() -> dict[str, Any]:
    """What is in the scene: objects with their types, the face's channels, take and shape, the head's pose."""
    result: dict[str, Any] = {"objects": {o.name: o.type for o in bpy.context.scene.objects}, "channels": {}}
    depsgraph = bpy.context.evaluated_depsgraph_get()
    for thing in bpy.context.scene.objects:
        if thing.type == "MESH" and thing.data.shape_keys and "jawOpen" in thing.data.shape_keys.key_blocks:
            result["face"] = thing.name
            motion = thing.data.shape_keys.animation_data
            result["take"] = motion.action.name if motion is not None and motion.action is not None else ""
            result["channels"] = {k.name: k.value for k in thing.data.shape_keys.key_blocks}
            mesh = thing.evaluated_get(depsgraph).data
            points = np.empty(len(mesh.vertices) * 3, np.float32)
            mesh.vertices.foreach_get("co", points)
            result["shape"] = [float(points.sum()), float(np.abs(points).sum())]
        elif thing.type == "ARMATURE" and "head" in thing.pose.bones:
            result["head"] = [v for row in thing.pose.bones["head"].matrix_basis for v in row]
    result["frame"] = bpy.context.scene.frame_current
    return result


def fill(**values: Any) -> None:
    """Fills in the sidebar's form, as typing would; ``line.audio`` is a field of a part of it."""
    set_properties(bpy.context.scene.portrait_actor, values)


def fill_scene(**values: Any) -> None:
    """The same for Blender's own fields of the scene, e.g. ``render.engine``."""
    set_properties(bpy.context.scene, values)


def set_properties(owner: Any, values: dict[str, Any]) -> None:
    """Sets properties by their paths."""
    for path, value in values.items():
        *parts, name = path.split(".")
        target = owner
        for part in parts:
            target = getattr(target, part)
        setattr(target, name, value)


def timeline() -> list[int]:
    """Where the timeline is on the screen."""
    window = bpy.context.window_manager.windows[0]
    area = next(a for a in window.screen.areas if a.type == "DOPESHEET_EDITOR")
    return screen_rectangle(next(r for r in area.regions if r.type == "WINDOW"), window)


def rendering() -> bool:
    """Whether Blender renders."""
    return bpy.app.is_job_running("RENDER")


def save_render(path: str) -> None:
    """Saves what was rendered last, as Image > Save does."""
    bpy.context.scene.render.image_settings.file_format = "PNG"
    bpy.data.images["Render Result"].save_render(path)


def job() -> dict[str, Any]:
    """The job that runs or ran last, as the sidebar knows it."""
    shown = sys.modules["bl_ext.user_default.portrait_actor.addon.jobs.job"].current_job()
    if shown is None:
        return {"state": "none"}
    error = shown.error.message if shown.error else ""
    return {"state": shown.state.value, "line": shown.status_text, "outcome": shown.outcome, "error": error}


def preview() -> dict[str, Any]:
    """The live preview, and where its picture is on the screen: left, top, right, bottom."""
    live = sys.modules["bl_ext.user_default.portrait_actor.addon.preview.live_preview"].current_preview()
    if live is None:
        return {"on": False}
    drawn = live.compared_image(bpy.context.scene)
    window, area, _ = find_sidebar()
    region = next(r for r in area.regions if r.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        overlay = sys.modules["bl_ext.user_default.portrait_actor.addon.preview.viewport_overlay"]
        frame = overlay.camera_frame(bpy.context)
    if frame is not None:
        left, bottom, right, top = frame
        frame = [left + region.x, window.height - region.y - top, right + region.x, window.height - region.y - bottom]
    state = {
        "on": True,
        "trouble": live.error_text,
        "frame": frame,
        "waits": live.is_outdated or live.process.is_rendering,
    }
    if drawn is None:
        return state
    height, width = drawn.pixels.shape[:2]
    middle = drawn.pixels[height // 3 : 2 * height // 3, 2 * width // 5 : 3 * width // 5, :3]
    state |= {"shown": drawn.frame, "latency": drawn.latency_seconds, "colour": middle.mean((0, 1)).tolist()}
    return state | {"footage": drawn.footage is not None}


def reports() -> str:
    """Everything that Blender has told the person so far, as its info editor lists it."""
    window = bpy.context.window_manager.windows[0]
    area = next(a for a in window.screen.areas if a.type == "PROPERTIES")
    area.type = "INFO"
    region = next(r for r in area.regions if r.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.info.select_all(action="SELECT")
        bpy.ops.info.report_copy()
    area.type = "PROPERTIES"
    return clipboard()


def language(code: str, texts: dict[str, str]) -> list[str]:
    """Switches Blender's language, and looks texts up: each with its context."""
    bpy.context.preferences.view.language = code
    return [bpy.app.translations.pgettext_iface(text, context) for text, context in texts.items()]


COMMANDS = {
    f.__name__: f
    for f in (
        show_tab, panels, clipboard, browse, fill, fill_scene, timeline, rendering, save_render,
        job, scene, preview, reports, language,
    )
}  # fmt: skip


def answer_question() -> float | None:
    """Answers one question if there is one; called by Blender again and again."""
    question = FOLDER / "question.json"
    if not question.exists():
        return 1 / POLLS_PER_SECOND
    asked = json.loads(question.read_text(encoding="utf-8"))
    question.unlink()
    number, verb = asked.pop("number"), asked.pop("verb")
    if verb == "quit":
        bpy.ops.wm.quit_blender()
        return None
    try:
        given: dict[str, Any] = {"number": number, "value": COMMANDS[verb](**asked)}
    except Exception:  # told to the test, which fails with it
        given = {"number": number, "error": traceback.format_exc()}
    part = FOLDER / "answer.part"
    part.write_text(json.dumps(given), encoding="utf-8")
    part.replace(FOLDER / "answer.json")
    return 1 / POLLS_PER_SECOND


bpy.context.preferences.view.show_splash = False
bpy.context.preferences.view.filebrowser_display_type = "SCREEN"  # no second window on a screen without a manager
bpy.app.timers.register(answer_question, first_interval=1, persistent=True)
