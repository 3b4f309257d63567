"""The camera matched to the footage, and any scene camera as the backend understands it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import bpy
import numpy as np
from mathutils import Euler, Matrix, Vector
from numpy.typing import NDArray

from ..contract import actor_folder, errors
from ..contract import camera as contract_camera
from . import conventions as conv

Array = NDArray[np.float64]
SENSOR_WIDTH_MM = 36.0  # mm; the focal length in millimetres is relative to this width
# Of the scene that Blender starts with, since 2.80: where its camera stands (m; rad, XYZ), its lens (mm), and picture
# width and height, percentage, frames per second and their base, first and last frame.
STARTUP_LOCATION, STARTUP_ROTATION, STARTUP_LENS = (7.358891, -6.925791, 4.958309), (1.109319, 0.0, 0.814928), 50.0
STARTUP_SETTINGS = (1920, 1080, 100, 24, 1.0, 1, 250)
STARTUP_TOLERANCE = 1e-3  # m, rad and mm: above rounding, below what an artist does


def create_camera(
    name: str, footage: actor_folder.FootageCamera, armature: bpy.types.Object, collection: bpy.types.Collection
) -> bpy.types.Object:
    """A new camera object that sees the actor as the footage did, at the footage's aspect ratio."""
    data = bpy.data.cameras.new(name)
    data.sensor_fit, data.sensor_width = "HORIZONTAL", SENSOR_WIDTH_MM
    data.lens = footage.focal * SENSOR_WIDTH_MM / footage.width
    view = footage.view()
    camera = bpy.data.objects.new(name, data)
    camera.matrix_world = Matrix(conv.camera_to_blender(view, np.array(armature.matrix_world)).tolist())
    distance = float(np.linalg.norm(np.linalg.inv(view)[:3, 3]))
    data.clip_start, data.clip_end = min(0.1, distance / 10), max(100.0, distance * 10)
    data.display_size = distance / 5
    collection.objects.link(camera)
    return camera


def is_startup_scene(scene: bpy.types.Scene) -> bool:
    """Whether a scene has no shot set up: no camera or only the untouched one that Blender starts with, and the picture
    size, frame rate and range that Blender starts with.
    """
    render = scene.render
    settings = (
        render.resolution_x, render.resolution_y, render.resolution_percentage, render.fps, render.fps_base,
        scene.frame_start, scene.frame_end,
    )  # fmt: skip
    cameras = [thing for thing in scene.objects if thing.type == "CAMERA"]
    return settings == STARTUP_SETTINGS and len(cameras) < 2 and all(map(_is_startup_camera, cameras))


def _is_startup_camera(camera: bpy.types.Object) -> bool:
    data = camera.data
    if camera.parent or camera.constraints or camera.animation_data or data.animation_data or data.type != "PERSP":
        return False
    expected = Matrix.LocRotScale(Vector(STARTUP_LOCATION), Euler(STARTUP_ROTATION), None)
    distance = np.abs(np.array(camera.matrix_basis) - np.array(expected)).max()
    return bool(distance < STARTUP_TOLERANCE and abs(data.lens - STARTUP_LENS) < STARTUP_TOLERANCE)


def match_scene(scene: bpy.types.Scene, footage: actor_folder.FootageCamera, fps: float, frame_end: int) -> None:
    """Sets the scene's picture size, frame rate and last frame to the footage's."""
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = footage.width, footage.height, 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    whole = round(fps)
    if math.isclose(fps, whole, rel_tol=1e-6):
        render.fps, render.fps_base = whole, 1.0
    else:  # 29.97 and its kin are 30 / 1.001; any other rate is kept exactly too
        render.fps, render.fps_base = math.ceil(fps), math.ceil(fps) / fps
    scene.frame_end = frame_end


def render_size(scene: bpy.types.Scene) -> tuple[int, int]:
    """Width and height of a render in pixels."""
    render = scene.render
    percent = render.resolution_percentage
    return max(1, render.resolution_x * percent // 100), max(1, render.resolution_y * percent // 100)


def render_border(scene: bpy.types.Scene) -> contract_camera.Border | None:
    """Left, top, right and bottom of the render border in pixels, rows counted from the top; None without a border."""
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
    """The camera with the scene's border: a part of its picture, or a smaller picture when the scene crops to it."""
    part = render_border(scene)
    if part is None:
        return path
    return path.crop(part) if scene.render.use_crop_to_border else replace(path, border=part)


def cameras_at_frames(scene: bpy.types.Scene, frames: Sequence[int]) -> list[bpy.types.Object | None]:
    """The scene's camera at each frame: markers may cut from one to another, and an open shutter does not see a cut."""
    if not any(marker.camera for marker in scene.timeline_markers):
        return [scene.camera] * len(frames)
    cameras = []
    for frame in frames:
        scene.frame_set(frame)
        cameras.append(scene.camera)
    return cameras


def view_plane_corners(scene: bpy.types.Scene, point: Vector) -> list[Vector] | None:
    """Corners of what the scene's camera sees in the plane through a place: left bottom, right bottom, right top, left
    top, in world space. None when the place is not before a perspective camera.
    """
    camera = scene.camera
    if camera is None or camera.type != "CAMERA" or camera.data.type != "PERSP":
        return None
    stands = Matrix(conv.remove_scale(np.array(camera.matrix_world)).tolist())
    depth = -(stands.inverted() @ point).z
    if depth <= 0:
        return None
    right_top, right_bottom, left_bottom, left_top = camera.data.view_frame(scene=scene)
    corners = (left_bottom, right_bottom, right_top, left_top)
    return [stands @ (corner * (depth / -corner.z)) for corner in corners]


def sample_camera(
    scene: bpy.types.Scene,
    armature_matrix: Array,
    depsgraph: bpy.types.Depsgraph,
    camera_object: bpy.types.Object | None,
) -> tuple[Array, Array]:
    """A camera at the current time, as evaluated: constraints, drivers and animated lenses count.

    Args:
        scene: whose render size is meant.
        armature: (4, 4) evaluated matrix_world of the actor's armature.
        depsgraph: evaluated at that time.
        through: the camera, usually `scene.camera`.

    Returns:
        (4, 4) actor space → OpenCV camera, and (4,) fx, fy, cx, cy in pixels of the rendered picture.

    Raises:
        UserError: the scene has no camera, or one without perspective.
    """
    if camera_object is None:
        raise errors.UserError("no_camera", f"{scene.name} has no camera.", "Add a camera and make it active.")
    camera = camera_object.evaluated_get(depsgraph)
    if camera.type != "CAMERA" or camera.data.type != "PERSP":
        raise errors.UserError(
            "bad_camera", f"{camera_object.name} is not a perspective camera.", "Set its type to Perspective."
        )
    width, height = render_size(scene)
    render = scene.render
    p = np.array(
        camera.calc_matrix_camera(
            depsgraph, x=width, y=height, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
        )
    )
    # Blender's y and z are the negatives of OpenCV's, and its picture has y up: x_ndc = P00 x / z − P02 and
    # −y_ndc = P11 y / z + P12 in OpenCV's x, y, z.
    lens = np.array([p[0, 0] * width, p[1, 1] * height, (1 - p[0, 2]) * width, (1 + p[1, 2]) * height]) / 2
    return conv.camera_to_actor(np.array(camera.matrix_world), armature_matrix), lens
