"""Portrait Actor: a video of a person talking becomes an actor in the scene. This file registers, nothing else."""

from __future__ import annotations

import atexit

import bpy

from . import cli, panels, preferences, properties, render_ahead, thumbnails, translations
from .jobs import job, main_thread
from .operators import (
    backend,
    channels,
    create_actor,
    dub,
    exchange,
    export_job,
    import_actor,
    preview,
    render_actor,
    report,
    sample_clip,
    speak,
    takes,
    track_video,
)
from .panels import menu
from .preview import live
from .scene import paths

MODULES = (
    preferences,
    properties,
    backend,
    create_actor,
    import_actor,
    report,
    sample_clip,
    channels,
    speak,
    dub,
    takes,
    exchange,
    track_video,
    preview,
    render_actor,
    export_job,
    panels,
)


def register() -> None:
    """Called by Blender when the extension is switched on."""
    translations.register()
    for module in MODULES:
        for item in module.CLASSES:
            bpy.utils.register_class(item)
    properties.register()
    paths.register()
    render_ahead.register()
    cli.register()
    bpy.types.TOPBAR_MT_file_import.append(import_actor.draw_menu)
    menu.register()
    atexit.register(_stop)


def unregister() -> None:
    """Called by Blender when it is switched off: leaves nothing behind, no job, timer, menu line or setting."""
    atexit.unregister(_stop)
    _stop()
    menu.unregister()
    bpy.types.TOPBAR_MT_file_import.remove(import_actor.draw_menu)
    cli.unregister()
    render_ahead.unregister()
    paths.unregister()
    properties.unregister()
    thumbnails.clear()
    for module in reversed(MODULES):
        for item in reversed(module.CLASSES):
            bpy.utils.unregister_class(item)
    translations.unregister()


def _stop() -> None:
    live.stop()
    main_thread.stop()
    job.stop()
