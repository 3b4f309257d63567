"""Samples the animation: the evaluated rig, channels and camera at each frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import bpy
import numpy as np
from numpy.typing import NDArray

from .. import rna
from ..contract import camera as contract_camera
from ..contract import channels, errors, performance
from . import camera, rig, takes
from . import conventions as conv

Array = NDArray[np.float64]
# Time offsets of the samples of a frame, in frames from its own time.
FRAME_OFFSETS = (0.0,)  # the frame itself
MOTION_VECTOR_OFFSETS = (-1.0, 0.0, 1.0)  # motion vectors need the neighboring frames
MAX_NAMED_PARTS = 3  # of a damaged rig, in the error message


def shutter_offsets(scene: bpy.types.Scene, count: int) -> tuple[float, ...]:
    """Return the middles of `count` equal parts of the shutter's opening, in frames from the frame's own time."""
    render = scene.render
    length = render.motion_blur_shutter
    opens = {"START": 0.0, "CENTER": -length / 2, "END": -length}[render.motion_blur_position]
    return tuple(opens + length * (i + 0.5) / count for i in range(count))


def sample_frames(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    armature: bpy.types.Object,
    face: bpy.types.Object,
    frames: Sequence[int],
    time_offsets: Sequence[float] = FRAME_OFFSETS,
) -> tuple[performance.Performance, contract_camera.CameraPath]:
    """Step through the frames and sample the actor and the camera, with constraints, drivers, IK and NLA.

    Sample i of frame f has the frame number len(time_offsets) · f + i. The scene's current frame is restored.

    Args:
        scene: the scene to step.
        view_layer: the view layer with the actor.
        armature: the actor's armature.
        face: the actor's face.
        frames: scene frames.
        time_offsets: times of the samples of a frame, in frames from its own time.

    Returns:
        the performance, and the scene's camera relative to the actor at the render's size, within its border.

    Raises:
        UserError: a part of the actor is missing, or there is no usable camera.
    """
    count = len(time_offsets)
    views, lenses = np.tile(np.eye(4), (count * len(frames), 1, 1)), np.zeros((count * len(frames), 4))
    before = scene.frame_current, scene.frame_subframe
    cameras = camera.cameras_at_frames(scene, frames)
    scene.frame_set(before[0], subframe=before[1])

    def add_camera(row: int, body: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> None:
        views[row], lenses[row] = camera.sample_camera(
            scene, np.array(body.matrix_world), depsgraph, cameras[row // count]
        )

    table = sample_performance(scene, view_layer, armature, face, frames, add_camera, time_offsets)
    path = contract_camera.CameraPath(*camera.render_size(scene), table.frames, views, lenses)
    return table, camera.apply_render_border(scene, path).check(_camera_name(scene))


def sample_performance(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    armature: bpy.types.Object,
    face: bpy.types.Object,
    frames: Sequence[int],
    on_sample: Callable[[int, bpy.types.Object, bpy.types.Depsgraph], None] = lambda *_: None,
    time_offsets: Sequence[float] = FRAME_OFFSETS,
) -> performance.Performance:
    """Sample the performance without the camera; see `sample_frames`.

    Args:
        scene: the scene to step.
        view_layer: the view layer with the actor.
        armature: the actor's armature.
        face: the actor's face.
        frames: scene frames.
        on_sample: called at each sample with its row, the evaluated armature and the dependency graph.
        time_offsets: times of the samples of a frame, in frames from its own time.

    Returns:
        the performance.

    Raises:
        UserError: a part of the actor is missing.
    """
    _require_actor_parts(view_layer, armature, face)
    rows = []
    before = scene.frame_current, scene.frame_subframe
    cursor = rna.get_window_manager()
    times = [frame + offset for frame in frames for offset in time_offsets]
    cursor.progress_begin(0, len(times))  # a heavy scene takes long: the mouse pointer shows the progress
    try:
        for row, time in enumerate(times):
            cursor.progress_update(row)
            scene.frame_set(math.floor(time), subframe=time - math.floor(time))
            depsgraph = view_layer.depsgraph
            assert depsgraph is not None
            rows.append(_read_evaluated_state(armature, face, depsgraph))
            on_sample(row, armature.evaluated_get(depsgraph), depsgraph)
    finally:
        cursor.progress_end()
        scene.frame_set(before[0], subframe=before[1])
    numbers = [len(time_offsets) * frame + i for frame in frames for i in range(len(time_offsets))]
    return _build_performance(scene, armature, numbers, rows)


def sample_current_frame(
    scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph, armature: bpy.types.Object, face: bpy.types.Object
) -> tuple[performance.Performance, contract_camera.CameraPath]:
    """Sample the current frame without a step of the scene, for the live preview; see `sample_frames`.

    Raises:
        UserError: a part of the actor is missing, or there is no usable camera.
    """
    assert depsgraph.view_layer is not None
    _require_actor_parts(depsgraph.view_layer, armature, face)
    table = _build_performance(
        scene, armature, [scene.frame_current], [_read_evaluated_state(armature, face, depsgraph)]
    )
    body = np.array(armature.evaluated_get(depsgraph).matrix_world)
    view, lens = camera.sample_camera(scene, body, depsgraph, scene.camera)
    path = contract_camera.CameraPath(*camera.render_size(scene), table.frames, view[None], lens[None])
    return table, path.check(_camera_name(scene))


def _read_evaluated_state(
    armature: bpy.types.Object, face: bpy.types.Object, depsgraph: bpy.types.Depsgraph
) -> tuple[Array, Array, list[float]]:
    """Return the evaluated (4, 4) matrices of torso and head in the armature's space, and the channels."""
    bones = rna.get_pose_bones(armature.evaluated_get(depsgraph))
    torso, head = (np.array(bones[name].matrix) for name in (rig.TORSO, rig.HEAD))
    return torso, head, _read_channels(rna.require_shape_keys(face).evaluated_get(depsgraph))


def _build_performance(
    scene: bpy.types.Scene,
    armature: bpy.types.Object,
    frames: Sequence[int],
    states: Sequence[tuple[Array, Array, list[float]]],
) -> performance.Performance:
    torso, head, values = (np.array(column) for column in zip(*states, strict=True))
    moves = {
        name: conv.bone_delta(pose, np.array(rna.get_bones(armature)[name].matrix_local))
        for name, pose in ((rig.TORSO, torso), (rig.HEAD, head))
    }
    table = performance.Performance(
        fps=takes.scene_fps(scene),
        frames=np.asarray(frames, np.int64),
        head_rotation=conv.rotation_to_actor(moves[rig.HEAD][0]).astype(np.float32),
        head_translation=conv.to_actor(moves[rig.HEAD][1]).astype(np.float32),
        torso_rotation=conv.rotation_to_actor(moves[rig.TORSO][0]).astype(np.float32),
        torso_translation=conv.to_actor(moves[rig.TORSO][1]).astype(np.float32),
        channels=values.astype(np.float32),
    )
    return table.check(armature.name)


def _read_channels(keys: bpy.types.ID) -> list[float]:
    """Return the values in the order of CHANNELS. A muted shape key does not move the face, so it counts as 0."""
    assert isinstance(keys, bpy.types.Key)
    blocks = keys.key_blocks
    return [0.0 if blocks[name].mute else blocks[name].value for name in channels.CHANNELS]


def _require_actor_parts(view_layer: bpy.types.ViewLayer, armature: bpy.types.Object, face: bpy.types.Object) -> None:
    missing = [bone for bone in (rig.TORSO, rig.HEAD) if bone not in rna.get_bones(armature)]
    keys = rna.get_shape_keys(face)
    missing += [name for name in channels.CHANNELS if keys is None or name not in keys.key_blocks]
    if missing:
        raise errors.UserError(
            "damaged_rig",
            f"{armature.name} has lost {', '.join(missing[:MAX_NAMED_PARTS])}"
            f"{' and others' if len(missing) > MAX_NAMED_PARTS else ''}.",
            "Undo the change, or import the actor again.",
        )
    for part in (armature, face):
        if part.name not in view_layer.objects:
            raise errors.UserError(
                "not_in_view_layer",
                f"{part.name} is not part of the view layer {view_layer.name}.",
                "Switch its collection on in the Outliner.",
            )


def _camera_name(scene: bpy.types.Scene) -> str:
    """Return the name of the scene's camera for error messages."""
    return scene.camera.name if scene.camera is not None else scene.name
