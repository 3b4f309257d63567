"""Runs inside Blender: installs the extension, imports an actor into the scene, lets it speak, saves the .blend.

python make_scene.py -- ZIP ACTOR BLEND [AUDIO]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import bpy


def make_scene(archive: str, actor: str, blend: str, audio: str = "") -> None:
    """Make the scene and save it.

    Args:
        archive: the extension's zip.
        actor: the actor's folder.
        blend: the file that is written.
        audio: what the actor speaks; "" leaves its own performance.

    Raises:
        RuntimeError: an operator failed; the message is the one that Blender shows.
    """
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    operators: Any = bpy.ops.portrait_actor  # type: ignore[attr-defined]
    operators.import_actor(directory=actor)
    if audio:
        operators.speak(audio=audio)
    show_camera_view()
    Path(blend).unlink(missing_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=blend)


def show_camera_view() -> None:
    """Show the footage camera's view, the footage's colors and the sidebar in every 3D view of the file."""
    for screen in bpy.data.screens:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                space: Any = area.spaces.active
                space.region_3d.view_perspective = "CAMERA"
                space.shading.color_type = "VERTEX"
                space.show_region_ui = True


def main() -> int:
    """Make the scene. Return 0, or 2 with one line on standard error."""
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
    os._exit(code)  # Blender as a module may hang or crash while it exits
