"""Sounds in the sequencer."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..contract import errors
from . import compat

AUDIBLE_STRIP_TYPES = {"SOUND", "SCENE", "META"}  # types of strips
TAG_PROPERTY = "portrait_actor"  # custom property of our strips: the armature of who speaks


def add_strip(
    scene: bpy.types.Scene, armature: bpy.types.Object, file: Path, frame: int, name: str = ""
) -> bpy.types.Strip | None:
    """Adds what an actor says from `frame` on, on the lowest track that is free from there. What else that actor says
    at the same time is muted: one mouth speaks one line.

    Args:
        actor: the armature; a strip refers to it, so it may be renamed.
        file: the sound.
        name: of the strip; by default the file's.

    Returns:
        the strip, or None when this Blender is built without sound.
    """
    if not bpy.app.build_options.audaspace:
        return None
    others = compat.list_strips(scene)
    taken = {s.channel for s in others if compat.strip_span(s)[1] > frame}
    channel = next(c for c in range(1, len(taken) + 2) if c not in taken)
    strip = compat.ensure_strips(scene).new_sound(name or file.stem, str(file), channel, frame)
    strip.show_waveform = True
    assign_strip(scene, armature, strip)
    return strip


def assign_strip(scene: bpy.types.Scene, armature: bpy.types.Object, strip: bpy.types.Strip) -> None:
    """Makes a strip what an actor says: it is heard, and what else that actor says at the same time is muted."""
    strip[TAG_PROPERTY] = armature
    strip.mute = False
    start, end = compat.strip_span(strip)
    for other in compat.list_strips(scene):
        first, last = compat.strip_span(other)
        if other != strip and other.get(TAG_PROPERTY) == armature and first < end and last > start:
            other.mute = True


def find_strip(scene: bpy.types.Scene, name: str) -> bpy.types.Strip:
    """The strip of that name.

    Raises:
        UserError: there is none, or it has no sound.
    """
    strip = next((s for s in compat.list_strips(scene) if s.name == name), None)
    if strip is None:
        raise errors.UserError("no_strip", f"No strip called {name} is in the sequencer.", "Choose another strip.")
    if strip.type not in AUDIBLE_STRIP_TYPES:
        raise errors.UserError("no_sound", f"The strip {name} has no sound.", "Choose a sound strip.")
    return strip


def bounce_strip(scene: bpy.types.Scene, strip: bpy.types.Strip, file: Path) -> Path:
    """Writes what one strip alone sounds like, trimmed, retimed and as loud as it is in the sequencer, as a WAV file.

    Raises:
        UserError: this Blender is built without sound.
    """
    muted = {other: other.mute for other in compat.list_strips(scene)}
    first, last = compat.strip_span(strip)
    try:
        for other in muted:
            other.mute = other != strip
        written = mixdown(scene, round(first), round(last) - 1, file)
    finally:
        for other, was in muted.items():
            other.mute = was
    if written is None:
        raise errors.UserError("no_sound", "This Blender is built without sound.", "Choose a sound file.")
    return written


def mixdown(scene: bpy.types.Scene, first: int, last: int, file: Path) -> Path | None:
    """Writes what the sequencer sounds like from frame `first` to `last` as a WAV file.

    Returns:
        the file, or None when nothing sounds there or this Blender is built without sound.
    """
    heard = [s for s in compat.list_strips(scene) if s.type in AUDIBLE_STRIP_TYPES and not s.mute]
    if not bpy.app.build_options.audaspace:
        return None
    if not any(start <= last and end > first for start, end in map(compat.strip_span, heard)):
        return None
    before = scene.frame_start, scene.frame_end
    try:
        scene.frame_start, scene.frame_end = first, last
        with bpy.context.temp_override(scene=scene):
            bpy.ops.sound.mixdown(filepath=str(file), container="WAV", codec="PCM", format="S16", relative_path=False)
    finally:
        scene.frame_start, scene.frame_end = before
    return file
