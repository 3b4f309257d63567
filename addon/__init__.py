"""Portrait Actor: a video of a person talking becomes an actor in the scene. This file registers, nothing else."""

from __future__ import annotations

import atexit

import bpy

from . import cli, panels, preferences, properties, render_handlers, thumbnails, translations
from .jobs import job, main_thread
from .operators import (
    backend,
    capture_io,
    channels,
    create_actor,
    dub,
    export_job,
    footage_report,
    import_actor,
    preview,
    render_actor,
    sample_clip,
    speak,
    takes,
    track_video,
)
from .panels import menu
from .preview import live_preview
from .scene import actor_paths

MODULES = (
    preferences,
    properties,
    backend,
    create_actor,
    import_actor,
    footage_report,
    sample_clip,
    channels,
    speak,
    dub,
    takes,
    capture_io,
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
    actor_paths.register()
    render_handlers.register()
    cli.register()
    bpy.types.TOPBAR_MT_file_import.append(import_actor.draw_menu)
    menu.register()
    atexit.register(_stop_background_work)


def unregister() -> None:
    """Called by Blender when it is switched off: leaves nothing behind, no job, timer, menu line or setting."""
    atexit.unregister(_stop_background_work)
    _stop_background_work()
    menu.unregister()
    bpy.types.TOPBAR_MT_file_import.remove(import_actor.draw_menu)
    cli.unregister()
    render_handlers.unregister()
    actor_paths.unregister()
    properties.unregister()
    thumbnails.clear_icons()
    for module in reversed(MODULES):
        for item in reversed(module.CLASSES):
            bpy.utils.unregister_class(item)
    translations.unregister()


def _stop_background_work() -> None:
    live_preview.stop_preview()
    main_thread.stop_timer()
    job.stop_job()
