"""The actor's sounds in the sequencer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from ..contract import errors
from . import compat

AUDIBLE_STRIP_TYPES = frozenset({"SOUND", "SCENE", "META"})
TAG_PROPERTY = "portrait_actor"  # custom property of our strips: the speaker's armature


def add_strip(
    scene: bpy.types.Scene, armature: bpy.types.Object, file: Path, frame: int, name: str = ""
) -> bpy.types.Strip | None:
    """Add an actor's line as a strip on the lowest channel that is free, and mute its other lines at that time.

    Args:
        scene: the scene with the sequencer.
        armature: the actor's armature. The strip refers to it, so it may be renamed.
        file: the sound.
        frame: the first frame of the strip.
        name: name of the strip; empty: the file's.

    Returns:
        the strip, or None when this Blender is built without sound.
    """
    if not has_audio_support():
        return None
    others = compat.list_strips(scene)
    used_channels = {s.channel for s in others if compat.strip_span(s)[1] > frame}
    channel = next(c for c in range(1, len(used_channels) + 2) if c not in used_channels)
    strip: bpy.types.Strip = compat.ensure_strips(scene).new_sound(name or file.stem, str(file), channel, frame)
    strip.show_waveform = True  # type: ignore[attr-defined]  # of a sound strip
    assign_strip(scene, armature, strip)
    return strip


def assign_strip(scene: bpy.types.Scene, armature: bpy.types.Object, strip: bpy.types.Strip) -> None:
    """Make a strip an actor's line: unmute it and mute the actor's other lines at the same time."""
    strip[TAG_PROPERTY] = armature
    strip.mute = False
    start, end = compat.strip_span(strip)
    for other in compat.list_strips(scene):
        first, last = compat.strip_span(other)
        if other != strip and other.get(TAG_PROPERTY) == armature and first < end and last > start:
            other.mute = True


def has_audio_support() -> bool:
    """Return whether this Blender is built with sound."""
    options: Any = bpy.app.build_options
    return bool(options.audaspace)


def find_strip(scene: bpy.types.Scene, name: str) -> bpy.types.Strip:
    """Return the strip of that name.

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
    """Write the sound of one strip as a WAV file, trimmed, retimed and as loud as in the sequencer.

    Raises:
        UserError: this Blender is built without sound.
    """
    was_muted = {other: other.mute for other in compat.list_strips(scene)}
    first, last = compat.strip_span(strip)
    try:
        for other in was_muted:
            other.mute = other != strip
        written = mixdown(scene, round(first), round(last) - 1, file)
    finally:
        for other, is_muted in was_muted.items():
            other.mute = is_muted
    if written is None:
        raise errors.UserError("no_sound", "This Blender is built without sound.", "Choose a sound file.")
    return written


def mixdown(scene: bpy.types.Scene, first: int, last: int, file: Path) -> Path | None:
    """Write the sequencer's sound from frame `first` to `last` as a WAV file.

    Returns:
        the file, or None when there is no sound in that range or this Blender is built without sound.
    """
    audible = [s for s in compat.list_strips(scene) if s.type in AUDIBLE_STRIP_TYPES and not s.mute]
    if not has_audio_support():
        return None
    if not any(start <= last and end > first for start, end in map(compat.strip_span, audible)):
        return None
    before = scene.frame_start, scene.frame_end
    try:
        scene.frame_start, scene.frame_end = first, last
        with bpy.context.temp_override(scene=scene):
            bpy.ops.sound.mixdown(filepath=str(file), container="WAV", codec="PCM", format="S16", relative_path=False)
    finally:
        scene.frame_start, scene.frame_end = before
    return file
