"""Runs inside Blender: installs the extension, brings an actor into the scene, lets it speak, saves the .blend.

python make_scene.py -- ZIP ACTOR BLEND [AUDIO]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import bpy


def make_scene(archive: str, actor: str, blend: str, audio: str = "") -> None:
    """The scene, saved at `blend`.

    Raises:
        RuntimeError: an operator failed; its message is the one that Blender shows.
    """
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    operators: Any = bpy.ops.portrait_actor  # type: ignore[attr-defined]  # of the extension that has just been installed
    operators.import_actor(directory=actor)
    if audio:
        operators.speak(audio=audio)
    show_camera_view()
    Path(blend).unlink(missing_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=blend)


def show_camera_view() -> None:
    """Lets every 3D view of the file show what the footage's camera saw, in the footage's colours, with the sidebar."""
    for screen in bpy.data.screens:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                space: Any = area.spaces.active
                space.region_3d.view_perspective = "CAMERA"
                space.shading.color_type = "VERTEX"
                space.show_region_ui = True


def main() -> int:
    """0, or 2 with one sentence on standard error."""
    try:
        make_scene(*sys.argv[sys.argv.index("--") + 1 :])
    except RuntimeError as error:
        sys.stderr.write(str(error).strip().removeprefix("Error: ") + "\n")
        return 2
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Blender as a module may hang or crash while it ends
