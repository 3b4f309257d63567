"""Takes: performances as Actions on the armature's bones and the proxy's shape keys."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from .. import rna
from ..contract import channels, errors, performance
from . import compat, rig
from . import conventions as conv

LINEAR_INTERPOLATION = 1  # number of Keyframe.interpolation "LINEAR", for `foreach_set`
AUTO_CLAMPED_HANDLE = 4  # number of Keyframe.handle_left_type "AUTO_CLAMPED"
# Duration of the fade where speech in a take begins and ends: about a syllable. A longer one blurs the first sound, a
# shorter one jerks. Not tuned.
FADE_SECONDS = 0.16
Array = NDArray[np.float64]


@dataclass
class KeyedCurve:
    """A column of a performance as it is keyed.

    Attributes:
        data_path: RNA path of the property.
        index: index in the property, 0 for a scalar.
        values: (T,) a value per frame.
        group: name of the channel group.
    """

    data_path: str
    index: int
    values: Array
    group: str


def scene_fps(scene: bpy.types.Scene) -> float:
    """Return the frames per second, NTSC rates included."""
    return float(scene.render.fps / scene.render.fps_base)


def scene_frames(table: performance.Performance, scene: bpy.types.Scene, frame_start: float) -> Array:
    """Return (T,) scene frames of a performance whose frame 0 lies at `frame_start`, at the performance's speed."""
    return frame_start + table.frames * (scene_fps(scene) / table.fps)


def extend_scene_range(scene: bpy.types.Scene, last_frame: int) -> None:
    """Move the scene's last frame to at least that frame, and evaluate the current frame with its new keys."""
    scene.frame_end = max(scene.frame_end, last_frame)
    scene.frame_set(scene.frame_current)


def channel_group(channel: str) -> str:
    """Return the name of the group that holds a channel's curve."""
    return "Oral" if channel in channels.ORAL_CHANNELS else "Facial"


def add_take(
    name: str,
    armature: bpy.types.Object,
    face: bpy.types.Object,
    table: performance.Performance,
    frames: Array,
    *,
    should_key_bones: bool = True,
    channel_names: Iterable[str] = channels.CHANNELS,
) -> None:
    """Key a performance as a new take, which becomes the take in use.

    Args:
        name: name of the take.
        armature: the actor's armature.
        face: the actor's face.
        table: the performance.
        frames: (T,) scene frames, increasing.
        should_key_bones: whether head and torso are part of the take; if not, the armature keeps its animation.
        channel_names: the channels that are part of the take; the others are set to 0.
    """
    channel_names = set(channel_names)
    for channel in set(channels.CHANNELS) - channel_names:
        rna.require_shape_keys(face).key_blocks[channel].value = 0.0
    curves_by_owner = _curves_by_owner(
        armature, face, table, should_key_bones=should_key_bones, channel_names=channel_names
    )
    for bag, curves in zip(compat.new_action(name, list(curves_by_owner)), curves_by_owner.values(), strict=True):
        for curve in curves:
            _write_keys(_create_fcurve(bag, curve), frames, curve.values)


def require_editable_take(armature: bpy.types.Object, face: bpy.types.Object, *, should_key_bones: bool) -> None:
    """Check that there is a take in use that `merge_into_take` can change.

    Raises:
        UserError: there is none, or its bones are keyed as other angles.
    """
    keys = rna.require_shape_keys(face)
    owners = [keys, armature] if should_key_bones else [keys]
    if any(compat.find_channelbag(owner) is None for owner in owners):
        raise errors.UserError(
            "no_take", f"{armature.name} has no take in use to speak into.", "Choose one, or make a new take."
        )
    bones = rna.get_pose_bones(armature)
    other_order = [name for name in (rig.TORSO, rig.HEAD) if bones[name].rotation_mode != rig.ROTATION_ORDER]
    if should_key_bones and other_order:
        raise errors.UserError(
            "other_angles",
            f"The bone {other_order[0]} of {armature.name} is not keyed in the order {rig.ROTATION_ORDER}.",
            f"Set its rotation mode to {rig.ROTATION_ORDER} Euler, or speak without head motion.",
        )


def merge_into_take(
    armature: bpy.types.Object,
    face: bpy.types.Object,
    table: performance.Performance,
    frames: Array,
    *,
    should_key_bones: bool = True,
    channel_names: Iterable[str] = channels.CHANNELS,
) -> str:
    """Key a performance into the take in use, in place of the keys between its first and last frame.

    Where the take goes on before or after, the performance fades in or out within its own frames. Keys outside stay.

    Args:
        armature: the actor's armature.
        face: the actor's face.
        table: the performance.
        frames: (T,) scene frames, increasing.
        should_key_bones: whether head and torso are keyed.
        channel_names: the channels that are keyed.

    Returns:
        the take's name.

    Raises:
        UserError: as `require_editable_take`.
    """
    require_editable_take(armature, face, should_key_bones=should_key_bones)
    curves_by_owner = _curves_by_owner(
        armature, face, table, should_key_bones=should_key_bones, channel_names=set(channel_names)
    )
    for owner, curves in curves_by_owner.items():
        bag: Any = compat.find_channelbag(owner)
        spans = [curve.range() for curve in bag.fcurves if len(curve.keyframe_points)]
        weight = _fade_weights(frames, FADE_SECONDS * table.fps, spans)
        before = [_sample_curve(owner, bag, curve, frames) for curve in curves]
        for curve, old in zip(curves, before, strict=True):
            found = bag.fcurves.find(curve.data_path, index=curve.index) or _create_fcurve(bag, curve)
            _remove_keys(found, frames[0], frames[-1])
            _write_keys(found, frames, old + weight * (curve.values - old))
    action = rna.require_animation(rna.require_shape_keys(face)).action
    assert action is not None
    return action.name


def _fade_weights(frames: Array, fade_frames: float, curve_ranges: Iterable[tuple[float, float]]) -> Array:
    """Return (T,) weights 0–1 of the new values: they rise where a curve begins before, fall where one ends after."""
    curve_ranges = list(curve_ranges)
    fade_frames = max(1.0, min(fade_frames, (frames[-1] - frames[0]) / 2))
    weight = np.ones(len(frames))
    if any(first < frames[0] for first, _ in curve_ranges):
        weight = np.minimum(weight, (frames - frames[0]) / fade_frames)
    if any(last > frames[-1] for _, last in curve_ranges):
        weight = np.minimum(weight, (frames[-1] - frames) / fade_frames)
    return weight * weight * (3 - 2 * weight)


def _sample_curve(owner: bpy.types.ID, channelbag: Any, curve: KeyedCurve, frames: Array) -> Array:
    """Return (T,) values of what is keyed now, or of the property where nothing is keyed."""
    found = channelbag.fcurves.find(curve.data_path, index=curve.index)
    if found is not None and len(found.keyframe_points):
        return np.array([found.evaluate(frame) for frame in frames])
    value: Any = owner.path_resolve(curve.data_path)
    return np.full(len(frames), value if isinstance(value, float) else value[curve.index])


def _remove_keys(curve: bpy.types.FCurve, first: float, last: float) -> None:
    points = curve.keyframe_points
    for index in reversed([i for i, point in enumerate(points) if first <= point.co.x <= last]):
        points.remove(points[index], fast=True)


def push_to_nla(owner: bpy.types.ID, fade_frames: float) -> bpy.types.NlaStrip:
    """Make the take in use an NLA strip above all others.

    The strip fades in where another began before it. It fades out where another goes on after it; otherwise its last
    pose is held.

    Args:
        owner: an armature or the shape keys of a face, with a take in use.
        fade_frames: duration of a fade in frames, at most half the strip's.

    Returns:
        the strip.
    """
    motion = rna.require_animation(owner)
    assert motion.action is not None
    tracks = [track for track in motion.nla_tracks if not track.mute and track.name != compat.REST_TRACK]
    below = [(s.frame_start, s.frame_end) for track in tracks for s in track.strips if not s.mute]
    strip = compat.new_nla_strip(owner, motion.action.name)
    fade_frames = min(fade_frames, (strip.frame_end - strip.frame_start) / 2)
    goes_on = any(start < strip.frame_end < end for start, end in below)
    strip.use_auto_blend = False
    strip.blend_in = fade_frames if any(start < strip.frame_start for start, _ in below) else 0
    strip.blend_out = fade_frames if goes_on else 0
    strip.extrapolation = "NOTHING" if goes_on else "HOLD_FORWARD" if below else "HOLD"
    return strip


def _curves_by_owner(
    armature: bpy.types.Object,
    face: bpy.types.Object,
    table: performance.Performance,
    *,
    should_key_bones: bool,
    channel_names: Container[str],
) -> dict[bpy.types.ID, list[KeyedCurve]]:
    """Return the curves of a performance by the datablock that they belong to."""
    columns = zip(channels.CHANNELS, table.channels.T.astype(np.float64), strict=True)
    curves_by_owner: dict[bpy.types.ID, list[KeyedCurve]] = {
        rna.require_shape_keys(face): [
            KeyedCurve(f'key_blocks["{name}"].value', 0, values, channel_group(name))
            for name, values in columns
            if name in channel_names
        ]
    }
    if should_key_bones:
        curves_by_owner[armature] = _bone_curves(armature, table)
    return curves_by_owner


def _bone_curves(armature: bpy.types.Object, table: performance.Performance) -> list[KeyedCurve]:
    """Return the curves of torso and head, set to `rig.ROTATION_ORDER`. The root stays free for the artist."""
    curves = []
    parent_turn = np.tile([1.0, 0, 0, 0], (len(table), 1))
    parent_shift = np.zeros((len(table), 3))
    for bone, rotation, translation in (
        (rig.TORSO, table.torso_rotation, table.torso_translation),
        (rig.HEAD, table.head_rotation, table.head_translation),
    ):
        unit = rotation / np.linalg.norm(rotation, axis=1, keepdims=True)
        turn, shift = conv.rotation_to_blender(unit), conv.to_blender(translation)
        rest = np.array(rna.get_bones(armature)[bone].matrix_local)
        keyed_turn, keyed_shift = conv.bone_basis(turn, shift, parent_turn, parent_shift, rest)
        rna.get_pose_bones(armature)[bone].rotation_mode = rig.ROTATION_ORDER
        path = f'pose.bones["{bone}"]'
        curves += [KeyedCurve(f"{path}.rotation_euler", i, keyed_turn[:, i], bone) for i in range(3)]
        curves += [KeyedCurve(f"{path}.location", i, keyed_shift[:, i], bone) for i in range(3)]
        parent_turn, parent_shift = turn, shift
    return curves


def _create_fcurve(channelbag: Any, curve: KeyedCurve) -> bpy.types.FCurve:
    created: bpy.types.FCurve = channelbag.fcurves.new(curve.data_path, index=curve.index)
    created.group = channelbag.groups.get(curve.group) or channelbag.groups.new(curve.group)
    return created


def _write_keys(curve: bpy.types.FCurve, frames: Array, values: Array) -> None:
    """Add a key per frame, or only at the ends when the value never changes, in a few array copies."""
    if np.ptp(values) == 0 and len(frames) > 2:
        frames, values = frames[[0, -1]], values[[0, -1]]
    points, new = curve.keyframe_points, len(frames)
    points.add(new)
    keyed: dict[str, NDArray[Any]] = {"co": np.stack([frames, values], axis=1).ravel().astype(np.float32)}
    keyed["interpolation"] = np.full(new, LINEAR_INTERPOLATION, np.uint8)
    keyed["handle_left_type"] = keyed["handle_right_type"] = np.full(new, AUTO_CLAMPED_HANDLE, np.uint8)
    for name, value in keyed.items():
        whole = np.empty(len(points) * (len(value) // new), value.dtype)
        points.foreach_get(name, whole)
        whole[-len(value) :] = value
        points.foreach_set(name, whole)
    curve.update()  # sorts the keys
