"""The preview in the viewport: over the camera's frame in its view, and on a card in other views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from .. import rna
from ..jobs import main_thread
from .preview_process import PreviewImage

SRGB_VALUES = np.arange(256, dtype=np.float32) / 255
# The light of each byte value (IEC 61966-2-1).
SRGB_TO_LINEAR = np.where(SRGB_VALUES <= 0.04045, SRGB_VALUES / 12.92, ((SRGB_VALUES + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)
ImageSource = Callable[[bpy.types.Scene], PreviewImage | None]
CardSource = Callable[[bpy.types.Scene], "Sequence[Vector] | None"]


class ViewportOverlay:
    """The drawing of an image in the viewports, from its construction until `close`."""

    def __init__(self, image_for: ImageSource, card_for: CardSource) -> None:
        """Start drawing.

        Args:
            image_for: returns the image for a scene's views, or None.
            card_for: returns the rectangle in world space on which views other than the camera's show the image (left
                bottom, right bottom, right top, left top), or None.
        """
        self._image_for, self._card_for = image_for, card_for
        self._texture: tuple[PreviewImage, Any] | None = None  # of the image that was drawn last
        add = bpy.types.SpaceView3D.draw_handler_add
        self._handles = [
            add(self._draw_camera_view, (), "WINDOW", "POST_PIXEL"),
            add(self._draw_card, (), "WINDOW", "POST_VIEW"),
        ]

    def close(self) -> None:
        """Stop drawing and free the texture."""
        for handle in self._handles:
            bpy.types.SpaceView3D.draw_handler_remove(handle, "WINDOW")
        self._handles, self._texture = [], None

    def _draw_camera_view(self) -> None:
        context = bpy.context
        image = self._image_for(rna.get_scene(context))
        if image is None or not _has_overlays(context):
            return
        frame = camera_frame(context)
        if frame is not None:
            left, bottom, right, top = frame
            self._draw_image(image, ((left, bottom), (right, bottom), (right, top), (left, top)))

    def _draw_card(self) -> None:
        import gpu

        context = bpy.context
        scene = rna.get_scene(context)
        image = self._image_for(scene)
        if image is None or not _has_overlays(context) or camera_frame(context) is not None:
            return
        corners = self._card_for(scene)
        if corners is not None:
            gpu.state.depth_test_set("LESS_EQUAL")
            self._draw_image(image, corners)
            gpu.state.depth_test_set("NONE")

    def _draw_image(self, image: PreviewImage, corners: Sequence[Sequence[float] | Vector]) -> None:
        """Draw the image on a rectangle: left bottom, right bottom, right top, left top."""
        import gpu
        from gpu_extras.batch import batch_for_shader

        shader = gpu.shader.from_builtin("IMAGE")
        vertices: Any = {"pos": corners, "texCoord": ((0, 0), (1, 0), (1, 1), (0, 1))}
        primitive: Any = "TRI_FAN"
        batch = batch_for_shader(shader, primitive, vertices)
        gpu.state.blend_set("ALPHA")
        shader.bind()
        shader.uniform_sampler("image", self._upload_texture(image))
        batch.draw(shader)
        gpu.state.blend_set("NONE")

    def _upload_texture(self, image: PreviewImage) -> Any:
        """Return the image as a texture. Each image is sent to the graphics card once."""
        import gpu

        if self._texture is None or self._texture[0] is not image:
            height, width = image.pixels.shape[:2]
            values = np.empty((height, width, 4), np.float32)
            # The shader expects scene-linear values and encodes them for the screen.
            values[..., :3] = SRGB_TO_LINEAR[image.pixels[::-1, :, :3]]
            values[..., 3] = image.pixels[::-1, :, 3] / np.float32(255)
            flat: Any = values.ravel()
            buffer = gpu.types.Buffer("FLOAT", values.size, flat)
            self._texture = image, gpu.types.GPUTexture((width, height), format="RGBA16F", data=buffer)
        return self._texture[1]


def redraw_viewports() -> None:
    """Redraw all 3D viewports."""
    main_thread.redraw_areas(frozenset({"VIEW_3D"}))


def camera_frame(context: bpy.types.Context) -> tuple[float, float, float, float] | None:
    """Return left, bottom, right and top of the camera's frame in the region's pixels; None in another view."""
    from bpy_extras.view3d_utils import location_3d_to_region_2d

    space: Any = context.space_data
    scene = rna.get_scene(context)
    view = space.region_3d
    camera = space.camera if space.use_local_camera else scene.camera
    if view is None or view.view_perspective != "CAMERA" or camera is None or camera != scene.camera:
        return None
    to_world, region = camera.matrix_world, context.region
    assert region is not None
    corners = [
        location_3d_to_region_2d(region, view, to_world @ corner)
        for corner in rna.get_camera(camera).view_frame(scene=scene)
    ]
    if None in corners:
        return None
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)


def _has_overlays(context: bpy.types.Context) -> bool:
    """Return whether the view's overlays are switched on."""
    space: Any = context.space_data
    return bool(space.overlay.show_overlays)
