"""Paths of actor folders in a .blend that is saved elsewhere: Blender remaps only its own paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from .. import rna
from ..contract import safe_io


def resolve_actor_folder(armature: bpy.types.Object) -> Path:
    """Return the folder of an actor's armature, or the folder of its name beside the open .blend if it is gone."""
    origin = armature.override_library.reference if armature.override_library else armature
    library = origin.library if origin is not None else None
    folder = Path(bpy.path.abspath(rna.get_actor_settings(armature).folder, library=library))
    if not bpy.data.filepath or safe_io.is_accessible_folder(folder):
        return folder
    beside = Path(bpy.data.filepath).parent / folder.name
    return beside if safe_io.is_accessible_folder(beside) else folder


def format_actor_folder(folder: Path, blend_file: str) -> str:
    """Return a folder as a .blend stores it: relative to the .blend if the preferences and the drive allow it."""
    assert bpy.context.preferences is not None
    is_relative = bool(blend_file) and bpy.context.preferences.filepaths.use_relative_paths
    if not is_relative or os.path.splitdrive(folder)[0] != os.path.splitdrive(blend_file)[0]:
        return str(folder)
    return bpy.path.relpath(str(folder), start=str(Path(blend_file).parent))


class SaveHandlers:
    """Handlers that rewrite actor folders while a file is saved: it is written with paths relative to its new place."""

    def __init__(self) -> None:
        self._folders: dict[int, Path] = {}  # session_uid of an armature → its folder, during a save

    @persistent  # type: ignore[untyped-decorator]
    def before_save(self, blend_file: str, _unused: object = None) -> None:
        """Make the folders of the file's own actors relative to the file that is written."""
        self._folders.clear()
        for armature in bpy.data.objects:
            is_own = armature.library is None and armature.override_library is None and armature.is_editable
            if is_own and armature.type == "ARMATURE" and rna.get_actor_settings(armature).folder:
                folder = self._folders[armature.session_uid] = resolve_actor_folder(armature)
                rna.get_actor_settings(armature).folder = format_actor_folder(folder, blend_file)

    @persistent  # type: ignore[untyped-decorator]
    def after_save(self, _blend_file: str, _unused: object = None) -> None:
        """Make them relative to the open file again: a saved copy lies elsewhere."""
        for armature in bpy.data.objects:
            if armature.session_uid in self._folders:
                folder = self._folders[armature.session_uid]
                rna.get_actor_settings(armature).folder = format_actor_folder(folder, bpy.data.filepath)
        self._folders.clear()

    def pairs(self) -> list[tuple[list[Any], Any]]:
        """Return Blender's handler lists, each with the method that belongs there."""
        events = bpy.app.handlers
        return [
            (events.save_pre, self.before_save),
            (events.save_post, self.after_save),
            (events.save_post_fail, self.after_save),
        ]


_handlers: SaveHandlers | None = None  # while the extension is switched on


def register() -> None:
    """Add the handlers."""
    global _handlers
    _handlers = SaveHandlers()
    for functions, method in _handlers.pairs():
        functions.append(method)


def unregister() -> None:
    """Remove the handlers."""
    global _handlers
    for functions, method in _handlers.pairs() if _handlers is not None else ():
        functions.remove(method)
    _handlers = None
