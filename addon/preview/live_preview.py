"""The live preview of one actor: which actor is shown, and when it is rendered again.

Every change in the scene marks the image as outdated, and a timer requests a new one, so a frame change costs a flag.
Poses, channels and camera are read when the timer fires, from Blender's evaluated data. For a comparison, the footage's
frame is requested with the image.
"""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import Any, Final

import bpy
from mathutils import Vector

from .. import rna
from ..contract import camera as contract_camera
from ..contract import errors, performance, safe_io
from ..scene import actor_paths, camera, footage, rig, sampling, scene_actor
from ..translations import failure_text
from . import comparison
from .preview_process import FootageRequest, PreviewImage, PreviewProcess
from .viewport_overlay import ViewportOverlay, redraw_viewports

BUSY_INTERVAL_SECONDS = 1 / 60  # between two looks while something moves: one screen refresh
IDLE_INTERVAL_SECONDS = 1 / 15  # between two looks otherwise: the first image of a motion comes that much later
FOLDER_CHECK_SECONDS = 2.0  # between two checks of the actor's folder, which may be on a slow network drive
MIN_SIDE_PIXELS = 16  # of a preview image
# The scene's property that controls each kind of comparison.
COMPARISON_PROPERTIES: Final = MappingProxyType(
    {
        comparison.ONION: "onion_opacity",
        comparison.WIPE: "wipe_position",
        comparison.DIFFERENCE: "difference_gain",
    }
)


class LivePreview:
    """The preview of an actor in a scene, with its process.

    Attributes:
        scene_uid: session id of the scene.
        armature_uid: session id of the actor's armature.
        info: the actor's info.
        process: the process that renders.
        is_outdated: whether something has changed since the last request.
        image: the newest image.
        error_text: why there is no new image.
        comparison_error: why the footage is not shown although a comparison is chosen.
    """

    def __init__(self, scene: bpy.types.Scene, armature: bpy.types.Object) -> None:
        """Start the process.

        Raises:
            UserError: the actor's folder or the backend cannot be used.
        """
        folder = scene_actor.SceneActor(armature, rna.get_actor_settings(armature).face).folder()
        folder.require_camera()
        self.scene_uid, self.armature_uid = scene.session_uid, armature.session_uid
        self.info = folder.info
        self.process = PreviewProcess(folder.path)
        self.is_outdated = True
        self.image: PreviewImage | None = None
        self.error_text = ""
        self.comparison_error = ""
        self._comparison_cache: tuple[PreviewImage, str, float, PreviewImage] | None = None
        self._folder_check_time = time.monotonic()

    def find_objects(self) -> tuple[bpy.types.Scene, bpy.types.Object] | None:
        """Return the scene and the armature while both are in the file and the actor is in the scene."""
        scene = next((s for s in bpy.data.scenes if s.session_uid == self.scene_uid), None)
        if scene is None:
            return None
        armature = next((o for o in scene.objects if o.session_uid == self.armature_uid), None)
        if armature is None or scene_actor.actor_from_armature(armature) is None:
            return None
        return scene, armature

    def update(self) -> bool:
        """Receive images and request a new one if something has changed. Return whether there is a new image."""
        image = self.process.receive_image()
        if image is not None:
            self.image = image
        error = self.process.error
        self.error_text = failure_text(error) if error else self.error_text
        if self.is_outdated and self.process.is_ready and not self.process.is_rendering:
            self._request_image()
        return image is not None

    def _request_image(self) -> None:
        objects = self.find_objects()
        if objects is None:
            return
        scene, armature = objects
        self.is_outdated = False
        try:
            table, view = self._sample_scene(scene, armature)
        except errors.UserError as error:
            self.error_text = failure_text(error)
            return
        self.error_text = self.comparison_error = ""
        self.process.error = None
        self.process.request_image(table, view, self._footage_request(scene, armature, view))

    def _footage_request(
        self, scene: bpy.types.Scene, armature: bpy.types.Object, view: contract_camera.CameraPath
    ) -> FootageRequest | None:
        """Return the footage to show beside the actor, if any."""
        mode = rna.get_scene_settings(scene).compare
        if mode == comparison.OFF:
            return None
        try:
            return FootageRequest(
                footage.find_footage_frame(scene, armature, self.info, view), mode == comparison.DIFFERENCE
            )
        except errors.UserError as error:
            self.comparison_error = failure_text(error)
            return None

    def compared_image(self, scene: bpy.types.Scene) -> PreviewImage | None:
        """Return the newest image, compared with the footage as the scene's settings say."""
        settings = rna.get_scene_settings(scene)
        image, mode = self.image, settings.compare
        if image is None or image.footage is None or image.footage_request is None or mode == comparison.OFF:
            return image
        if image.footage_request.is_cut_out != (mode == comparison.DIFFERENCE):
            return image  # from before a change of the mode; the next image follows
        amount = getattr(settings, COMPARISON_PROPERTIES[mode])
        last = self._comparison_cache
        if last is None or last[0] is not image or last[1:3] != (mode, amount):
            pixels = comparison.compare_images(mode, amount, image.pixels, image.footage)
            last = self._comparison_cache = image, mode, amount, image._replace(pixels=pixels)
        return last[3]

    def has_actor_folder(self, armature: bpy.types.Object) -> bool:
        """Return whether the actor's folder exists, checked at most every FOLDER_CHECK_SECONDS."""
        if time.monotonic() - self._folder_check_time < FOLDER_CHECK_SECONDS:
            return True
        self._folder_check_time = time.monotonic()
        return safe_io.is_accessible_folder(actor_paths.resolve_actor_folder(armature))

    def _sample_scene(
        self, scene: bpy.types.Scene, armature: bpy.types.Object
    ) -> tuple[performance.Performance, contract_camera.CameraPath]:
        layer = next((v for v in scene.view_layers if armature.name in v.objects), scene.view_layers[0])
        assert layer.depsgraph is not None
        face = rna.get_actor_settings(armature).face
        table, view = sampling.sample_current_frame(scene, layer.depsgraph, armature, face)
        return table, resize_camera(view, int(rna.get_scene_settings(scene).preview_size))


def resize_camera(view: contract_camera.CameraPath, max_size: int) -> contract_camera.CameraPath:
    """Return the same camera for images whose longer side has `max_size` pixels."""
    scale = max_size / max(view.width, view.height)
    width, height = (max(MIN_SIDE_PIXELS, round(side * scale)) for side in (view.width, view.height))
    ratios = (width / view.width, height / view.height)
    return contract_camera.CameraPath(width, height, view.frames, view.views, view.intrinsics * [*ratios, *ratios])


class PreviewManager:
    """Owner of the one preview that is on, with its overlay, its timer and its handlers.

    Attributes:
        current: the preview that is on, if any.
    """

    def __init__(self) -> None:
        self.current: LivePreview | None = None
        self._overlay: ViewportOverlay | None = None
        # Blender recognizes a timer by its object, and each access to a method makes a new one.
        self._timer = self.update

    def start(self, context: bpy.types.Context) -> None:
        """Switch the preview on for the actor in use.

        Raises:
            UserError: there is no actor, or its folder or the backend cannot be used.
        """
        self.stop()
        self.current = LivePreview(rna.get_scene(context), scene_actor.require_actor(context).armature)
        for handlers, method in self._handlers():
            handlers.append(method)
        self._overlay = ViewportOverlay(self._image_for, self._card_corners)
        if not bpy.app.background:
            bpy.app.timers.register(self._timer, first_interval=BUSY_INTERVAL_SECONDS)

    def stop(self) -> None:
        """Switch the preview off."""
        ended, self.current = self.current, None
        if ended is None:
            return
        for handlers, method in self._handlers():
            if method in handlers:
                handlers.remove(method)
        if self._overlay is not None:
            self._overlay.close()
            self._overlay = None
        if bpy.app.timers.is_registered(self._timer):
            bpy.app.timers.unregister(self._timer)
        ended.process.close()
        redraw_viewports()

    def update(self) -> float | None:
        """Update the preview. Return the seconds until the next call, or None when the preview has ended."""
        preview = self.current
        if preview is None:
            return None
        objects = preview.find_objects()
        if objects is None or not preview.has_actor_folder(objects[1]):
            self.stop()  # the actor was deleted, or another file was opened
            return None
        is_busy = preview.is_outdated or preview.process.is_rendering
        if preview.update():
            redraw_viewports()
        return BUSY_INTERVAL_SECONDS if is_busy else IDLE_INTERVAL_SECONDS

    def _image_for(self, scene: bpy.types.Scene) -> PreviewImage | None:
        """Return the image for the views of a scene."""
        if self.current is None or self.current.scene_uid != scene.session_uid:
            return None
        return self.current.compared_image(scene)

    def _card_corners(self, scene: bpy.types.Scene) -> list[Vector] | None:
        """Return the corners of the card in other views of a scene: the camera's frame at the face's front."""
        if self.current is None or not rna.get_scene_settings(scene).preview_card:
            return None
        objects = self.current.find_objects()
        if objects is None or objects[0] != scene:
            return None
        _, armature = objects
        head = rna.get_pose_bones(armature)[rig.HEAD]
        return camera.view_plane_corners(scene, armature.matrix_world @ head.matrix @ rig.FACE_FRONT)

    def _handlers(self) -> tuple[tuple[list[Any], Any], ...]:
        """Return Blender's handler lists, each with the method that belongs there."""
        events = bpy.app.handlers
        return (
            (events.depsgraph_update_post, self._mark_outdated),
            (events.frame_change_post, self._mark_outdated),
            (events.load_pre, self._stop_on_load),
        )

    def _mark_outdated(self, *_: object) -> None:
        if self.current is not None:
            self.current.is_outdated = True

    def _stop_on_load(self, *_: object) -> None:
        self.stop()


_manager: PreviewManager | None = None  # while the extension is switched on


def register() -> None:
    """Make the preview manager."""
    global _manager
    _manager = PreviewManager()


def unregister() -> None:
    """Switch the preview off and drop the manager."""
    global _manager
    stop_preview()
    _manager = None


def _get_manager() -> PreviewManager:
    assert _manager is not None, "the extension is switched off"
    return _manager


def current_preview() -> LivePreview | None:
    """Return the preview that is on, if any."""
    return _manager.current if _manager is not None else None


def find_preview(armature: bpy.types.Object) -> LivePreview | None:
    """Return the preview that is on, if it shows this actor."""
    preview = current_preview()
    return preview if preview is not None and preview.armature_uid == armature.session_uid else None


def start_preview(context: bpy.types.Context) -> None:
    """Switch the preview on for the actor in use.

    Raises:
        UserError: there is no actor, or its folder or the backend cannot be used.
    """
    _get_manager().start(context)


def stop_preview() -> None:
    """Switch the preview off."""
    if _manager is not None:
        _manager.stop()


def update_preview() -> float | None:
    """Update the preview. Return the seconds until the next call, or None when the preview has ended."""
    return _get_manager().update()
