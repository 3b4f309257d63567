"""Pictures in the sidebar, e.g. of the faces to choose from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy.utils.previews

_pictures: Any = None


def icon(file: Path) -> int:
    """The icon of a picture file, read when it is first asked for; 0, no icon, when there is no such file."""
    global _pictures
    if _pictures is None:
        _pictures = bpy.utils.previews.new()
    name = str(file)
    if name not in _pictures:
        if not file.is_file():
            return 0
        _pictures.load(name, name, "IMAGE")
    number: int = _pictures[name].icon_id
    return number


def clear() -> None:
    """Forgets all pictures."""
    global _pictures
    if _pictures is not None:
        bpy.utils.previews.remove(_pictures)
        _pictures = None
