"""Keeps actors' folders found when their .blend is saved elsewhere: Blender remaps only its own paths."""

from __future__ import annotations

import os
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from ..contract import safe_io


def resolve_actor_folder(armature: bpy.types.Object) -> Path:
    """The folder of an actor's armature. Where it is no more, one of its name beside the open .blend is meant."""
    origin = armature.override_library.reference if armature.override_library else armature
    folder = Path(bpy.path.abspath(armature.portrait_actor.folder, library=origin.library))
    beside = Path(bpy.data.filepath).parent / folder.name
    return (
        beside
        if bpy.data.filepath and not safe_io.is_accessible_folder(folder) and safe_io.is_accessible_folder(beside)
        else folder
    )


def format_actor_folder(folder: Path, blend_file: str) -> str:
    """How a .blend at `blend` names a folder: relative to itself if the person prefers that and the drive allows it."""
    wanted = bool(blend_file) and bpy.context.preferences.filepaths.use_relative_paths
    if not wanted or os.path.splitdrive(folder)[0] != os.path.splitdrive(blend_file)[0]:
        return str(folder)
    return bpy.path.relpath(str(folder), start=str(Path(blend_file).parent))


_folders_during_save: dict[int, Path] = {}  # session_uid of an armature → its folder, while a file is being written


@persistent
def _rewrite_before_save(blend: str, _unused: object = None) -> None:
    """The file is written with paths relative to where it goes."""
    _folders_during_save.clear()
    for thing in bpy.data.objects:
        own = thing.library is None and thing.override_library is None
        if own and thing.type == "ARMATURE" and thing.portrait_actor.folder and thing.is_editable:
            _folders_during_save[thing.session_uid] = resolve_actor_folder(thing)
            thing.portrait_actor.folder = format_actor_folder(_folders_during_save[thing.session_uid], blend)


@persistent
def _rewrite_after_save(_blend: str, _unused: object = None) -> None:
    """The open file goes on with paths relative to where it is: a saved copy lies elsewhere."""
    for thing in bpy.data.objects:
        if thing.session_uid in _folders_during_save:
            thing.portrait_actor.folder = format_actor_folder(
                _folders_during_save[thing.session_uid], bpy.data.filepath
            )
    _folders_during_save.clear()


def _handlers() -> list[tuple[list[object], object]]:
    handlers = bpy.app.handlers
    return [
        (handlers.save_pre, _rewrite_before_save),
        (handlers.save_post, _rewrite_after_save),
        (handlers.save_post_fail, _rewrite_after_save),
    ]


def register() -> None:
    """Begins to follow the file."""
    for functions, function in _handlers():
        functions.append(function)


def unregister() -> None:
    """Stops following it."""
    for functions, function in _handlers():
        functions.remove(function)
