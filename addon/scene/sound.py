"""Sounds in the sequencer."""

from __future__ import annotations

from pathlib import Path

import bpy

from . import versions


def add(scene: bpy.types.Scene, name: str, file: Path, frame: float) -> bpy.types.Strip | None:
    """Adds the sound `file` at `frame`, on the lowest track that is free from there on."""
    strips = versions.strips(scene)
    taken = {s.channel for s in versions.existing_strips(scene) if s.frame_final_end > frame}
    channel = next(c for c in range(1, len(taken) + 2) if c not in taken)
    strip = strips.new_sound(name, str(file), channel, round(frame))
    strip.show_waveform = True
    return strip


def mixdown(scene: bpy.types.Scene, first: int, last: int, file: Path) -> Path | None:
    """Writes what the sequencer sounds like from frame `first` to `last` as a WAV file.

    Returns:
        the file, or None when nothing sounds there or this Blender is built without sound.
    """
    heard = [s for s in versions.existing_strips(scene) if s.type in {"SOUND", "SCENE", "META"} and not s.mute]
    if not bpy.app.build_options.audaspace:
        return None
    if not any(s.frame_final_start <= last and s.frame_final_end > first for s in heard):
        return None
    before = scene.frame_start, scene.frame_end
    try:
        scene.frame_start, scene.frame_end = first, last
        with bpy.context.temp_override(scene=scene):
            bpy.ops.sound.mixdown(filepath=str(file), container="WAV", codec="PCM", format="S16", relative_path=False)
    finally:
        scene.frame_start, scene.frame_end = before
    return file
