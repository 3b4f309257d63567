"""Keeps actors' folders found when their .blend is saved elsewhere: Blender remaps only its own paths."""

from __future__ import annotations

import os
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from ..contract import safe_io


def absolute(armature: bpy.types.Object) -> Path:
    """The folder of an actor's armature. Where it is no more, one of its name beside the open .blend is meant."""
    origin = armature.override_library.reference if armature.override_library else armature
    folder = Path(bpy.path.abspath(armature.portrait_actor.folder, library=origin.library))
    beside = Path(bpy.data.filepath).parent / folder.name
    return beside if bpy.data.filepath and not safe_io.is_folder(folder) and safe_io.is_folder(beside) else folder


def stored(folder: Path, blend: str) -> str:
    """How a .blend at `blend` names a folder: relative to itself if the person prefers that and the drive allows it."""
    wanted = bool(blend) and bpy.context.preferences.filepaths.use_relative_paths
    if not wanted or os.path.splitdrive(folder)[0] != os.path.splitdrive(blend)[0]:
        return str(folder)
    return bpy.path.relpath(str(folder), start=str(Path(blend).parent))


_meant: dict[int, Path] = {}  # session_uid of an armature → its folder, while a file is being written


@persistent
def _before_saving(blend: str, _unused: object = None) -> None:
    """The file is written with paths relative to where it goes."""
    _meant.clear()
    for thing in bpy.data.objects:
        own = thing.library is None and thing.override_library is None
        if own and thing.type == "ARMATURE" and thing.portrait_actor.folder and thing.is_editable:
            _meant[thing.session_uid] = absolute(thing)
            thing.portrait_actor.folder = stored(_meant[thing.session_uid], blend)


@persistent
def _after_saving(_blend: str, _unused: object = None) -> None:
    """The open file goes on with paths relative to where it is: a saved copy lies elsewhere."""
    for thing in bpy.data.objects:
        if thing.session_uid in _meant:
            thing.portrait_actor.folder = stored(_meant[thing.session_uid], bpy.data.filepath)
    _meant.clear()


def _lists() -> list[tuple[list[object], object]]:
    handlers = bpy.app.handlers
    return [
        (handlers.save_pre, _before_saving),
        (handlers.save_post, _after_saving),
        (handlers.save_post_fail, _after_saving),
    ]


def register() -> None:
    """Begins to follow the file."""
    for functions, function in _lists():
        functions.append(function)


def unregister() -> None:
    """Stops following it."""
    for functions, function in _lists():
        functions.remove(function)
