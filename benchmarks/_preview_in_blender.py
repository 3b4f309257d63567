"""Measures what the live preview costs Blender; `benchmarks.preview` starts it in the Python of a Blender module.

    PYTHON_WITH_BPY _preview_in_blender.py ZIP ACTOR BACKEND_PYTHON OUT

Writes `proxy_fps` and `frame_change_ms` as JSON to the file OUT.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy

PACKAGE = "bl_ext.user_default.portrait_actor"
ROUNDS = 5  # over the performance, of which the fastest counts
TIMEOUT_SECONDS = 120.0  # until the first image
FIRST_IMAGE_INTERVAL_SECONDS = 0.01  # between two looks for the first image
IMAGE_INTERVAL_SECONDS = 0.002  # between two looks for a frame's image

context: Any = bpy.context  # the type stubs make every member optional
operators: Any = bpy.ops


def main(archive: str, actor: str, backend: str, out: str) -> None:
    """Install the extension, import the actor, and play its performance without the preview and with it.

    Args:
        archive: the extension's zip.
        actor: the actor's folder.
        backend: the backend's Python.
        out: the JSON file that is written.
    """
    operators.wm.read_homefile(use_empty=True)
    operators.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    context.preferences.addons[PACKAGE].preferences.backend_python = backend
    operators.portrait_actor.import_actor(directory=actor)
    live = import_module(f"{PACKAGE}.addon.preview.live_preview")
    time_playback(None)  # Blender computes some data only once
    without_preview = min(time_playback(None) for _ in range(ROUNDS))
    live.start_preview(context)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while live.current_preview().image is None:
        is_running = live.update_preview() is not None and time.monotonic() < deadline
        assert is_running, live.current_preview().error_text
        time.sleep(FIRST_IMAGE_INTERVAL_SECONDS)
    with_preview = min(time_playback(live) for _ in range(ROUNDS))
    live.stop_preview()
    figures = {"proxy_fps": 1 / without_preview, "frame_change_ms": 1000 * (with_preview - without_preview)}
    Path(out).write_text(json.dumps(figures), encoding="utf-8")


def time_playback(live: Any) -> float:
    """Return the median of the seconds that a frame change takes in Blender.

    Proxy and bones are evaluated. With the module of the live preview as `live`, the time counts too that the preview
    takes in Blender's main thread: reading the pose, sending the request, receiving the image.
    """
    scene, durations = context.scene, []
    for frame in range(scene.frame_start, scene.frame_end + 1):
        start = time.perf_counter()
        scene.frame_set(frame)
        if live is not None:
            live.update_preview()
        duration = time.perf_counter() - start
        while live is not None and live.current_preview().image.frame != frame:
            time.sleep(IMAGE_INTERVAL_SECONDS)
            start = time.perf_counter()
            live.update_preview()
            duration += time.perf_counter() - start
        durations.append(duration)
    return statistics.median(durations)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # Blender as a module may hang or crash while it exits
