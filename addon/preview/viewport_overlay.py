"""The picture in the viewport: over the camera's view, where the scene's camera frames it; in other views on a card."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import bpy
import numpy as np
from mathutils import Vector

from ..jobs import main_thread
from .preview_process import PreviewImage

SRGB_VALUES = np.arange(256, dtype=np.float32) / 255
# sRGB decoded (IEC 61966-2-1), for each of a byte's values
SRGB_TO_LINEAR = np.where(SRGB_VALUES <= 0.04045, SRGB_VALUES / 12.92, ((SRGB_VALUES + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)
ImageSource = Callable[[bpy.types.Scene], PreviewImage | None]
CardSource = Callable[[bpy.types.Scene], "Sequence[Vector] | None"]

_draw_handles: list[object] = []
_cached_texture: tuple[PreviewImage, object] | None = None


def add_draw_handlers(image_for: ImageSource, card_for: CardSource) -> None:
    """Draws `picture_for(scene)` over every camera view from now on, and in other views of the scene on the rectangle
    `card_for(scene)`: left bottom, right bottom, right top, left top."""
    if not _draw_handles:
        add = bpy.types.SpaceView3D.draw_handler_add
        _draw_handles.append(add(_draw_camera_view, (image_for,), "WINDOW", "POST_PIXEL"))
        _draw_handles.append(add(_draw_card, (image_for, card_for), "WINDOW", "POST_VIEW"))


def remove_draw_handlers() -> None:
    """Takes it away, with what it holds on the graphics card."""
    global _cached_texture
    for handle in _draw_handles:
        bpy.types.SpaceView3D.draw_handler_remove(handle, "WINDOW")
    _draw_handles.clear()
    _cached_texture = None


def redraw_viewports() -> None:
    """Draws the viewports again."""
    main_thread.redraw_areas(frozenset({"VIEW_3D"}))


def camera_frame(context: bpy.types.Context) -> tuple[float, float, float, float] | None:
    """Left, bottom, right, top in the region's pixels of what the camera sees; None in another view."""
    from bpy_extras.view3d_utils import location_3d_to_region_2d

    space, scene = context.space_data, context.scene
    view = space.region_3d
    camera = space.camera if space.use_local_camera else scene.camera
    if view is None or view.view_perspective != "CAMERA" or camera is None or camera != scene.camera:
        return None
    place = camera.matrix_world
    corners = [
        location_3d_to_region_2d(context.region, view, place @ corner) for corner in camera.data.view_frame(scene=scene)
    ]
    if None in corners:
        return None
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)


def _draw_camera_view(image_for: ImageSource) -> None:
    context = bpy.context
    picture = image_for(context.scene)
    frame = camera_frame(context) if picture is not None and context.space_data.overlay.show_overlays else None
    if picture is not None and frame is not None:
        left, bottom, right, top = frame
        _draw_image(picture, ((left, bottom), (right, bottom), (right, top), (left, top)))


def _draw_card(image_for: ImageSource, card_for: CardSource) -> None:
    import gpu

    context = bpy.context
    picture = image_for(context.scene)
    if picture is None or not context.space_data.overlay.show_overlays or camera_frame(context) is not None:
        return
    corners = card_for(context.scene)
    if corners is not None:
        gpu.state.depth_test_set("LESS_EQUAL")
        _draw_image(picture, corners)
        gpu.state.depth_test_set("NONE")


def _draw_image(image: PreviewImage, corners: Sequence[Sequence[float]]) -> None:
    """Draws the picture on a rectangle: left bottom, right bottom, right top, left top."""
    import gpu
    from gpu_extras.batch import batch_for_shader

    shader = gpu.shader.from_builtin("IMAGE")
    batch = batch_for_shader(shader, "TRI_FAN", {"pos": corners, "texCoord": ((0, 0), (1, 0), (1, 1), (0, 1))})
    gpu.state.blend_set("ALPHA")
    shader.bind()
    shader.uniform_sampler("image", _upload_texture(image))
    batch.draw(shader)
    gpu.state.blend_set("NONE")


def _upload_texture(image: PreviewImage) -> object:
    """The picture as a texture; each is sent to the graphics card once."""
    global _cached_texture
    import gpu

    if _cached_texture is None or _cached_texture[0] is not image:
        height, width = image.pixels.shape[:2]
        values = np.empty((height, width, 4), np.float32)
        # the shader takes scene linear, and encodes it for the screen
        values[..., :3] = SRGB_TO_LINEAR[image.pixels[::-1, :, :3]]
        values[..., 3] = image.pixels[::-1, :, 3] / np.float32(255)
        buffer = gpu.types.Buffer("FLOAT", values.size, values.ravel())
        _cached_texture = image, gpu.types.GPUTexture((width, height), format="RGBA16F", data=buffer)
    return _cached_texture[1]
