"""Which actor is previewed, and when it is drawn anew.

Whatever moves marks the picture as old, and a timer asks for a new one: a frame change costs a flag. Poses, channels
and camera are read when the timer comes, from what Blender has evaluated. The footage at that frame is asked for along
with the picture when both shall be compared.
"""

from __future__ import annotations

import time

import bpy
from mathutils import Vector

from ..contract import camera as contract_camera
from ..contract import errors, performance, safe_io
from ..scene import actor_paths, camera, footage, rig, sampling, scene_actor
from ..translations import failure_text
from . import comparison, viewport_overlay
from .preview_process import FootageRequest, PreviewImage, PreviewProcess

BUSY_INTERVAL_SECONDS, IDLE_INTERVAL_SECONDS = 1 / 60, 1 / 15  # s between two looks while something moves, and else
FOLDER_CHECK_SECONDS = 2.0  # s between two looks at the actor's folder
COMPARISON_PROPERTIES = {
    comparison.ONION: "onion_opacity",
    comparison.WIPE: "wipe_position",
    comparison.DIFFERENCE: "difference_gain",
}


class LivePreview:
    """The preview that is on."""

    def __init__(self, scene: bpy.types.Scene, armature: bpy.types.Object) -> None:
        """Starts the process.

        Raises:
            UserError: the actor's folder or the backend cannot be used.
        """
        folder = scene_actor.SceneActor(armature, armature.portrait_actor.face).folder()
        folder.require_camera()
        self.scene_uid, self.armature_uid = scene.session_uid, armature.session_uid
        self.info = folder.info
        self.process = PreviewProcess(folder.path)
        self.is_outdated = True
        self.image: PreviewImage | None = None
        self.error_text = ""
        self.comparison_error = ""  # why the footage is not shown though it should be
        self._comparison_cache: tuple[PreviewImage, str, float, PreviewImage] | None = None
        self._folder_check_time = time.monotonic()

    def find_objects(self) -> tuple[bpy.types.Scene, bpy.types.Object] | None:
        """The scene and the armature, while both are in the file and the actor is in the scene."""
        scene = next((s for s in bpy.data.scenes if s.session_uid == self.scene_uid), None)
        if scene is None:
            return None
        armature = next((o for o in scene.objects if o.session_uid == self.armature_uid), None)
        return (scene, armature) if scene_actor.actor_from_armature(armature) is not None else None

    def update(self) -> bool:
        """Takes in what has been drawn, and asks for what has changed; whether there is something new to see."""
        drawn = self.process.receive_image()
        if drawn is not None:
            self.image = drawn
        told = self.process.error
        self.error_text = failure_text(told) if told else self.error_text
        if self.is_outdated and self.process.is_ready and not self.process.is_rendering:
            self._request_image()
        return drawn is not None

    def _request_image(self) -> None:
        found = self.find_objects()
        if found is None:
            return
        scene, armature = found
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
        """The footage to show beside the actor, if any."""
        mode = scene.portrait_actor.compare
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
        """The newest picture, compared with the footage as the scene's settings say."""
        picture, mode = self.image, scene.portrait_actor.compare
        if picture is None or picture.footage is None or mode == comparison.OFF:
            return picture
        if picture.footage_request.is_cut_out != (mode == comparison.DIFFERENCE):
            return picture  # of before the change; the next one is on its way
        amount = getattr(scene.portrait_actor, COMPARISON_PROPERTIES[mode])
        last = self._comparison_cache
        if last is None or last[0] is not picture or last[1:3] != (mode, amount):
            both = comparison.compare_images(mode, amount, picture.pixels, picture.footage)
            last = self._comparison_cache = picture, mode, amount, picture._replace(pixels=both)
        return last[3]

    def has_actor_folder(self, armature: bpy.types.Object) -> bool:
        """Whether the actor's folder is there, by a look that is not older than ON_DISK: disks may be far away."""
        if time.monotonic() - self._folder_check_time < FOLDER_CHECK_SECONDS:
            return True
        self._folder_check_time = time.monotonic()
        return safe_io.is_accessible_folder(actor_paths.resolve_actor_folder(armature))

    def _sample_scene(
        self, scene: bpy.types.Scene, armature: bpy.types.Object
    ) -> tuple[performance.Performance, contract_camera.CameraPath]:
        layer = next((v for v in scene.view_layers if armature.name in v.objects), scene.view_layers[0])
        table, view = sampling.sample_current_frame(scene, layer.depsgraph, armature, armature.portrait_actor.face)
        return table, resize_camera(view, int(scene.portrait_actor.preview_size))


def resize_camera(view: contract_camera.CameraPath, max_size: int) -> contract_camera.CameraPath:
    """The same camera with pictures whose longer side is `longest` pixels."""
    scale = max_size / max(view.width, view.height)
    width, height = (max(16, round(side * scale)) for side in (view.width, view.height))
    ratios = (width / view.width, height / view.height)
    return contract_camera.CameraPath(width, height, view.frames, view.views, view.intrinsics * [*ratios, *ratios])


_current_preview: LivePreview | None = None


def current_preview() -> LivePreview | None:
    """The preview that is on, if any."""
    return _current_preview


def find_preview(armature: bpy.types.Object) -> LivePreview | None:
    """The preview that is on, if it shows this actor."""
    return (
        _current_preview
        if _current_preview is not None and _current_preview.armature_uid == armature.session_uid
        else None
    )


def start_preview(context: bpy.types.Context) -> None:
    """Switches the preview on for the actor that the artist means.

    Raises:
        UserError: there is no actor, or its folder or the backend cannot be used.
    """
    global _current_preview
    stop_preview()
    _current_preview = LivePreview(context.scene, scene_actor.require_actor(context).armature)
    for handlers, mark in _handlers():
        handlers.append(mark)
    viewport_overlay.add_draw_handlers(_image_for_scene, _card_corners)
    if not bpy.app.background:
        bpy.app.timers.register(update_preview, first_interval=BUSY_INTERVAL_SECONDS)


def stop_preview() -> None:
    """Switches it off and leaves nothing behind."""
    global _current_preview
    if _current_preview is None:
        return
    ended, _current_preview = _current_preview, None
    for handlers, mark in _handlers():
        if mark in handlers:
            handlers.remove(mark)
    viewport_overlay.remove_draw_handlers()
    if bpy.app.timers.is_registered(update_preview):
        bpy.app.timers.unregister(update_preview)
    ended.process.close()
    viewport_overlay.redraw_viewports()


def update_preview() -> float | None:
    """The timer: seconds until the next look, None when the preview is over."""
    if _current_preview is None:
        return None
    found = _current_preview.find_objects()
    if found is None or not _current_preview.has_actor_folder(found[1]):
        stop_preview()  # the actor was deleted, or another file was opened
        return None
    moving = _current_preview.is_outdated or _current_preview.process.is_rendering
    if _current_preview.update():
        viewport_overlay.redraw_viewports()
    return BUSY_INTERVAL_SECONDS if moving else IDLE_INTERVAL_SECONDS


def _image_for_scene(scene: bpy.types.Scene) -> PreviewImage | None:
    """What the overlay draws in a view of this scene."""
    return (
        _current_preview.compared_image(scene)
        if _current_preview is not None and _current_preview.scene_uid == scene.session_uid
        else None
    )


def _card_corners(scene: bpy.types.Scene) -> list[Vector] | None:
    """Where other views of this scene show the picture: the camera's frame, at the face's front."""
    found = (
        _current_preview.find_objects() if _current_preview is not None and scene.portrait_actor.preview_card else None
    )
    if found is None or found[0] != scene:
        return None
    armature = found[1]
    return camera.view_plane_corners(
        scene, armature.matrix_world @ armature.pose.bones[rig.HEAD].matrix @ rig.FACE_FRONT
    )


def _mark_outdated(*_: object) -> None:
    if _current_preview is not None:
        _current_preview.is_outdated = True


def _handlers() -> tuple[tuple[list[object], object], ...]:
    events = bpy.app.handlers
    return (
        (events.depsgraph_update_post, _mark_outdated),
        (events.frame_change_post, _mark_outdated),
        (events.load_pre, _stop_on_load),
    )


def _stop_on_load(*_: object) -> None:
    stop_preview()
