"""Takes: performances as Actions on the armature's bones and the proxy's shape keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..contract import channels, performance
from . import conventions as conv
from . import rig, versions

LINEAR, AUTO_CLAMPED = 1, 4  # RNA values of Keyframe.interpolation and .handle_left_type
Array = NDArray[np.float64]


def scene_fps(scene: bpy.types.Scene) -> float:
    """Frames per second, NTSC rates included."""
    return float(scene.render.fps / scene.render.fps_base)


def scene_frames(table: performance.Performance, scene: bpy.types.Scene, frame_start: float) -> Array:
    """(T,) the scene frames of a performance whose frame 0 lies at `frame_start`; time, not frames, is kept."""
    return frame_start + table.frames * (scene_fps(scene) / table.fps)


def add_take(
    name: str,
    armature: bpy.types.Object,
    face: bpy.types.Object,
    table: performance.Performance,
    frames: Array,
    *,
    rigid: bool = True,
    names: Iterable[str] = channels.CHANNELS,
) -> None:
    """Keys a performance as a new take, which becomes the one in use.

    Args:
        name: of the take.
        armature, face: the actor.
        table: what to key.
        frames: (T,) scene frames, increasing.
        rigid: head and torso are part of the take; else the armature keeps what moves it.
        names: the channels that are part of the take; the others are put to rest.
    """
    keys = face.data.shape_keys
    owners = [keys, armature] if rigid else [keys]
    bags = versions.new_action(name, owners)
    wanted = set(names)
    for index, channel in enumerate(channels.CHANNELS):
        if channel in wanted:
            path = f'key_blocks["{channel}"].value'
            group = "Oral" if channel in channels.ORAL else "Facial"
            _write_curve(bags[0], path, 0, frames, table.channels[:, index], group)
        else:
            keys.key_blocks[channel].value = 0.0
    if rigid:
        _write_bones(bags[1], armature, table, frames)


def push(owner: bpy.types.ID, fade: float) -> bpy.types.NlaStrip:
    """Turns the take in use into an NLA strip over all others. It fades in over what began beneath it; where that goes
    on after its end it fades out again, else its end is held.

    Args:
        owner: an armature or the shape keys of a face; it has a take.
        fade: frames of a fade, at most half the strip's.
    """
    motion = owner.animation_data
    tracks = [track for track in motion.nla_tracks if not track.mute and track.name != versions.REST_TRACK]
    beneath = [(s.frame_start, s.frame_end) for track in tracks for s in track.strips if not s.mute]
    strip = versions.new_nla_strip(owner, motion.action.name)
    fade = min(fade, (strip.frame_end - strip.frame_start) / 2)
    goes_on = any(start < strip.frame_end < end for start, end in beneath)
    strip.use_auto_blend = False
    strip.blend_in = fade if any(start < strip.frame_start for start, _ in beneath) else 0
    strip.blend_out = fade if goes_on else 0
    strip.extrapolation = "NOTHING" if goes_on else "HOLD_FORWARD" if beneath else "HOLD"
    return strip


def _write_bones(bag: Any, armature: bpy.types.Object, table: performance.Performance, frames: Array) -> None:
    """Keys torso and head; the root stays free for the artist."""
    parent_turn = np.tile([1.0, 0, 0, 0], (len(table), 1))
    parent_shift = np.zeros((len(table), 3))
    for bone, rotation, translation in (
        (rig.TORSO, table.torso_rotation, table.torso_translation),
        (rig.HEAD, table.head_rotation, table.head_translation),
    ):
        unit = rotation / np.linalg.norm(rotation, axis=1, keepdims=True)
        turn, shift = conv.rotation_to_blender(unit), conv.to_blender(translation)
        rest = np.array(armature.data.bones[bone].matrix_local)
        keyed_turn, keyed_shift = conv.bone_basis(turn, shift, parent_turn, parent_shift, rest)
        armature.pose.bones[bone].rotation_mode = "QUATERNION"
        path = f'pose.bones["{bone}"]'
        for index in range(4):
            _write_curve(bag, f"{path}.rotation_quaternion", index, frames, keyed_turn[:, index], bone)
        for index in range(3):
            _write_curve(bag, f"{path}.location", index, frames, keyed_shift[:, index], bone)
        parent_turn, parent_shift = turn, shift


def _write_curve(bag: Any, path: str, index: int, frames: Array, values: Array, group: str) -> None:
    """One curve with a key per frame (only at its ends when the value never changes), in a few array copies."""
    if np.ptp(values) == 0 and len(frames) > 2:
        frames, values = frames[[0, -1]], values[[0, -1]]
    curve = bag.fcurves.new(path, index=index)
    curve.group = bag.groups.get(group) or bag.groups.new(group)
    points = curve.keyframe_points
    points.add(len(frames))
    points.foreach_set("co", np.stack([frames, values], axis=1).astype(np.float32).ravel())
    points.foreach_set("interpolation", np.full(len(frames), LINEAR, np.uint8))
    for side in ("handle_left_type", "handle_right_type"):
        points.foreach_set(side, np.full(len(frames), AUTO_CLAMPED, np.uint8))
    curve.update()
