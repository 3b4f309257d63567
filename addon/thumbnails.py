"""Pictures in the sidebar, e.g. of the faces to choose from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy.utils.previews

_icons: Any = None  # Blender's collection of preview images, while the extension is switched on


def register() -> None:
    """Make the collection."""
    global _icons
    _icons = bpy.utils.previews.new()


def unregister() -> None:
    """Free all pictures."""
    global _icons
    if _icons is not None:
        bpy.utils.previews.remove(_icons)
    _icons = None


def load_icon(image_file: Path) -> int:
    """Return the icon number of a picture file, which is read once; 0, which is no icon, when there is no such file."""
    name = str(image_file)
    if name not in _icons:
        if not image_file.is_file():
            return 0
        _icons.load(name, name, "IMAGE")
    number: int = _icons[name].icon_id
    return number
