"""What the live preview costs Blender; run by the Python of a Blender module, which `benchmarks.preview` starts.

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
ROUNDS, TIMEOUT_SECONDS = 5, 120.0  # passes over the performance; seconds until the first picture


def main(archive: str, actor: str, backend: str, out: str) -> None:
    """Installs the extension, imports the actor, plays its performance without the preview and with it."""
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    bpy.context.preferences.addons[PACKAGE].preferences.backend_python = backend
    bpy.ops.portrait_actor.import_actor(directory=actor)
    live = import_module(f"{PACKAGE}.addon.preview.live_preview")
    time_playback(None)  # what Blender computes once
    alone = min(time_playback(None) for _ in range(ROUNDS))
    live.start_preview(bpy.context)
    begun = time.monotonic()
    while live.current_preview().image is None:
        assert live.update_preview() is not None and time.monotonic() < begun + TIMEOUT_SECONDS, (
            live.current_preview().error_text
        )
        time.sleep(0.01)
    watched = min(time_playback(live) for _ in range(ROUNDS))
    live.stop_preview()
    figures = {"proxy_fps": 1 / alone, "frame_change_ms": 1000 * (watched - alone)}
    Path(out).write_text(json.dumps(figures), encoding="utf-8")


def time_playback(live: Any) -> float:
    """Seconds of a frame change, the median over the scene's frames: proxy and bones are evaluated. With the preview
    all counts that it does in Blender for each: the mark, reading the pose and asking, taking in the picture."""
    scene, taken = bpy.context.scene, []
    for frame in range(scene.frame_start, scene.frame_end + 1):
        begun = time.perf_counter()
        scene.frame_set(frame)
        if live is not None:
            live.update_preview()
        spent = time.perf_counter() - begun
        while live is not None and live.current_preview().image.frame != frame:
            time.sleep(0.002)
            begun = time.perf_counter()
            live.update_preview()
            spent += time.perf_counter() - begun
        taken.append(spent)
    return statistics.median(taken)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # Blender's own exit may crash or hang after all is done
