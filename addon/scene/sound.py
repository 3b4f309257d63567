"""Sounds in the sequencer."""

from __future__ import annotations

from pathlib import Path

import bpy

from . import versions

MARK = "portrait_actor"  # custom property of our strips: the armature of who speaks


def add(
    scene: bpy.types.Scene, actor: bpy.types.Object, file: Path, frame: int, name: str = ""
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
    others = versions.existing_strips(scene)
    taken = {s.channel for s in others if versions.strip_span(s)[1] > frame}
    channel = next(c for c in range(1, len(taken) + 2) if c not in taken)
    strip = versions.strips(scene).new_sound(name or file.stem, str(file), channel, frame)
    strip.show_waveform = True
    strip[MARK] = actor
    start, end = versions.strip_span(strip)
    for other in others:
        first, last = versions.strip_span(other)
        if other.get(MARK) == actor and first < end and last > start:
            other.mute = True
    return strip


def mixdown(scene: bpy.types.Scene, first: int, last: int, file: Path) -> Path | None:
    """Writes what the sequencer sounds like from frame `first` to `last` as a WAV file.

    Returns:
        the file, or None when nothing sounds there or this Blender is built without sound.
    """
    heard = [s for s in versions.existing_strips(scene) if s.type in {"SOUND", "SCENE", "META"} and not s.mute]
    if not bpy.app.build_options.audaspace:
        return None
    if not any(start <= last and end > first for start, end in map(versions.strip_span, heard)):
        return None
    before = scene.frame_start, scene.frame_end
    try:
        scene.frame_start, scene.frame_end = first, last
        with bpy.context.temp_override(scene=scene):
            bpy.ops.sound.mixdown(filepath=str(file), container="WAV", codec="PCM", format="S16", relative_path=False)
    finally:
        scene.frame_start, scene.frame_end = before
    return file
