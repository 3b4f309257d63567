"""Pictures in the sidebar, e.g. of the faces to choose from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy.utils.previews

_preview_collection: Any = None


def load_icon(image_file: Path) -> int:
    """The icon of a picture file, read when it is first asked for; 0, no icon, when there is no such file."""
    global _preview_collection
    if _preview_collection is None:
        _preview_collection = bpy.utils.previews.new()
    name = str(image_file)
    if name not in _preview_collection:
        if not image_file.is_file():
            return 0
        _preview_collection.load(name, name, "IMAGE")
    number: int = _preview_collection[name].icon_id
    return number


def clear_icons() -> None:
    """Forgets all pictures."""
    global _preview_collection
    if _preview_collection is not None:
        bpy.utils.previews.remove(_preview_collection)
        _preview_collection = None
