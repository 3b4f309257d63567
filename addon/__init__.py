"""Portrait Actor: a video of a person talking becomes an actor in the scene. This file registers everything."""

from __future__ import annotations

import atexit
from types import ModuleType

import bpy

from . import cli, panels, preferences, properties, render_handlers, thumbnails, translations
from .jobs import environment, job, main_thread
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

# Modules with classes for Blender.
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
# Modules with state, handlers or menu items. They are switched on in this order and off in the reverse one.
STATEFUL_MODULES: tuple[ModuleType, ...] = (
    properties,
    thumbnails,
    job,
    live_preview,
    actor_paths,
    render_handlers,
    cli,
    menu,
)


def register() -> None:
    """Switch the extension on. Called by Blender."""
    translations.register()
    for module in MODULES:
        for item in module.CLASSES:
            bpy.utils.register_class(item)
    for stateful in STATEFUL_MODULES:
        stateful.register()
    atexit.register(_stop_background_work)


def unregister() -> None:
    """Switch the extension off and leave nothing behind: no job, timer, menu item or setting. Called by Blender."""
    atexit.unregister(_stop_background_work)
    _stop_background_work()
    for stateful in reversed(STATEFUL_MODULES):
        stateful.unregister()
    for module in reversed(MODULES):
        for item in reversed(module.CLASSES):
            bpy.utils.unregister_class(item)
    environment.unregister()
    translations.unregister()


def _stop_background_work() -> None:
    """End processes and timers: Blender must not wait for them at its exit."""
    live_preview.stop_preview()
    main_thread.stop_timer()
    job.stop_job()
