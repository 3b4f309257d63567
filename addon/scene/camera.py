"""The camera matched to the footage, and scene cameras in the backend's convention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector
from numpy.typing import NDArray

from .. import rna
from ..contract import actor_folder, errors
from ..contract import camera as contract_camera
from . import conventions as conv

Array = NDArray[np.float64]
SENSOR_WIDTH_MM = 36.0  # Blender's default; the focal length in millimetres is relative to it
MAX_CLIP_START_METERS = 0.1  # Blender's default; a camera close to the actor gets less
MIN_CLIP_END_METERS = 100.0  # Blender's default; a camera far from the actor gets more
CLIP_RANGE_FACTOR = 10  # the clip range reaches from a tenth of the actor's distance to ten times that
DISPLAY_SIZE_RATIO = 1 / 5  # drawn size of the camera relative to the actor's distance
WHOLE_FPS_TOLERANCE = 1e-6  # relative; below it a frame rate is a whole number

# The scene that Blender starts with since 2.80.
STARTUP_LOCATION = (7.358891, -6.925791, 4.958309)  # metres
STARTUP_ROTATION = (1.109319, 0.0, 0.814928)  # radians, XYZ
STARTUP_LENS_MM = 50.0
# Picture width and height, percentage, frames per second and their base, first and last frame.
STARTUP_SETTINGS = (1920, 1080, 100, 24, 1.0, 1, 250)
STARTUP_TOLERANCE = 1e-3  # metres, radians and millimetres: above rounding errors, below what an artist changes


def create_camera(
    name: str, footage: actor_folder.FootageCamera, armature: bpy.types.Object, collection: bpy.types.Collection
) -> bpy.types.Object:
    """Return a new camera object that sees the actor as the footage's camera did, at the footage's aspect ratio."""
    data: bpy.types.Camera = bpy.data.cameras.new(name)
    data.sensor_fit, data.sensor_width = "HORIZONTAL", SENSOR_WIDTH_MM
    data.lens = footage.focal * SENSOR_WIDTH_MM / footage.width
    view = footage.view()
    camera = bpy.data.objects.new(name, data)
    camera.matrix_world = Matrix(conv.camera_to_blender(view, np.array(armature.matrix_world)).tolist())
    distance = float(np.linalg.norm(np.linalg.inv(view)[:3, 3]))
    data.clip_start = min(MAX_CLIP_START_METERS, distance / CLIP_RANGE_FACTOR)
    data.clip_end = max(MIN_CLIP_END_METERS, distance * CLIP_RANGE_FACTOR)
    data.display_size = distance * DISPLAY_SIZE_RATIO
    collection.objects.link(camera)
    return camera


def is_startup_scene(scene: bpy.types.Scene) -> bool:
    """Return whether no shot is set up: at most the untouched startup camera, and the startup size, rate and range."""
    render = scene.render
    settings = (
        render.resolution_x, render.resolution_y, render.resolution_percentage, render.fps, render.fps_base,
        scene.frame_start, scene.frame_end,
    )  # fmt: skip
    cameras = [candidate for candidate in scene.objects if candidate.type == "CAMERA"]
    return settings == STARTUP_SETTINGS and len(cameras) < 2 and all(map(_is_startup_camera, cameras))


def _is_startup_camera(camera: bpy.types.Object) -> bool:
    data = rna.get_camera(camera)
    if camera.parent or camera.constraints or camera.animation_data or data.animation_data or data.type != "PERSP":
        return False
    expected = Matrix.LocRotScale(STARTUP_LOCATION, Euler(STARTUP_ROTATION), None)
    distance = np.abs(np.array(camera.matrix_basis) - np.array(expected)).max()
    return bool(distance < STARTUP_TOLERANCE and abs(data.lens - STARTUP_LENS_MM) < STARTUP_TOLERANCE)


def match_scene(scene: bpy.types.Scene, footage: actor_folder.FootageCamera, fps: float, frame_end: int) -> None:
    """Set the scene's picture size, frame rate and last frame to the footage's."""
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = footage.width, footage.height, 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    whole = round(fps)
    if math.isclose(fps, whole, rel_tol=WHOLE_FPS_TOLERANCE):
        render.fps, render.fps_base = whole, 1.0
    else:  # e.g. 29.97, which is 30 / 1.001; the base keeps any rate exactly
        render.fps, render.fps_base = math.ceil(fps), math.ceil(fps) / fps
    scene.frame_end = frame_end


def render_size(scene: bpy.types.Scene) -> tuple[int, int]:
    """Return width and height of a render in pixels."""
    render = scene.render
    percent = render.resolution_percentage
    return max(1, render.resolution_x * percent // 100), max(1, render.resolution_y * percent // 100)


def render_border(scene: bpy.types.Scene) -> contract_camera.Border | None:
    """Return left, top, right and bottom of the render border in pixels, y down; None without a border.

    Raises:
        UserError: the border is empty.
    """
    render = scene.render
    if not render.use_border:
        return None
    width, height = render_size(scene)
    left, right = int(np.float32(render.border_min_x) * width), int(np.float32(render.border_max_x) * width)
    low, high = int(np.float32(render.border_min_y) * height), int(np.float32(render.border_max_y) * height)
    if right <= left or high <= low:
        raise errors.UserError("empty_border", "The render border has no pixel in it.", "Draw it larger, or clear it.")
    return left, height - high, right, height - low


def apply_render_border(scene: bpy.types.Scene, path: contract_camera.CameraPath) -> contract_camera.CameraPath:
    """Return the camera with the scene's border: a part of its picture, or a smaller picture if the scene crops."""
    border = render_border(scene)
    if border is None:
        return path
    return path.crop(border) if scene.render.use_crop_to_border else replace(path, border=border)


def cameras_at_frames(scene: bpy.types.Scene, frames: Sequence[int]) -> list[bpy.types.Object | None]:
    """Return the scene's camera at each frame. Markers may switch cameras; an open shutter does not see the cut."""
    if not any(marker.camera for marker in scene.timeline_markers):
        return [scene.camera] * len(frames)
    cameras: list[bpy.types.Object | None] = []
    for frame in frames:
        scene.frame_set(frame)
        cameras.append(scene.camera)
    return cameras


def view_plane_corners(scene: bpy.types.Scene, point: Vector) -> list[Vector] | None:
    """Return the corners of the camera's picture in the plane through a point.

    Args:
        scene: its camera is used.
        point: in world space.

    Returns:
        left bottom, right bottom, right top, left top in world space; None when the point is not in front of a
        perspective camera.
    """
    camera = scene.camera
    if camera is None or not _is_perspective_camera(camera):
        return None
    camera_to_world = Matrix(conv.remove_scale(np.array(camera.matrix_world)).tolist())
    depth = -(camera_to_world.inverted() @ point).z
    if depth <= 0:
        return None
    right_top, right_bottom, left_bottom, left_top = rna.get_camera(camera).view_frame(scene=scene)
    corners = (left_bottom, right_bottom, right_top, left_top)
    return [camera_to_world @ (corner * (depth / -corner.z)) for corner in corners]


def sample_camera(
    scene: bpy.types.Scene,
    armature_matrix: Array,
    depsgraph: bpy.types.Depsgraph,
    camera_object: bpy.types.Object | None,
) -> tuple[Array, Array]:
    """Return a camera's pose and lens at the current time, with constraints, drivers and animation.

    Args:
        scene: with the render size.
        armature_matrix: (4, 4) evaluated matrix_world of the actor's armature.
        depsgraph: evaluated at that time.
        camera_object: the camera, usually `scene.camera`.

    Returns:
        (4, 4) actor space → OpenCV camera, and (4,) fx, fy, cx, cy in pixels of the rendered picture.

    Raises:
        UserError: the scene has no camera, or one without perspective.
    """
    if camera_object is None:
        raise errors.UserError("no_camera", f"{scene.name} has no camera.", "Add a camera and make it active.")
    camera = camera_object.evaluated_get(depsgraph)
    if not _is_perspective_camera(camera):
        raise errors.UserError(
            "bad_camera", f"{camera_object.name} is not a perspective camera.", "Set its type to Perspective."
        )
    width, height = render_size(scene)
    render = scene.render
    projection = np.array(
        camera.calc_matrix_camera(
            depsgraph, x=width, y=height, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
        )
    )
    # Blender's y and z are the negatives of OpenCV's, and its picture has y up, so with the projection matrix P
    # x_ndc = P00 x / z − P02 and −y_ndc = P11 y / z + P12 in OpenCV's x, y, z.
    p = projection
    lens = np.array([p[0, 0] * width, p[1, 1] * height, (1 - p[0, 2]) * width, (1 + p[1, 2]) * height]) / 2
    return conv.camera_to_actor(np.array(camera.matrix_world), armature_matrix), lens


def _is_perspective_camera(candidate: bpy.types.Object) -> bool:
    return isinstance(candidate.data, bpy.types.Camera) and candidate.data.type == "PERSP"
