"""Which actor is previewed, and when it is drawn anew.

Whatever moves marks the picture as old, and a timer asks for a new one: a frame change costs a flag. Poses, channels
and camera are read when the timer comes, from what Blender has evaluated. The footage at that frame is asked for along
with the picture when both shall be compared.
"""

from __future__ import annotations

import time

import bpy
from mathutils import Vector

from ..contract import actor_folder, errors, performance, safe_io
from ..contract import camera as contract_camera
from ..scene import actor_paths, camera, footage, rig, sampling, scene_actor
from ..translations import failure
from . import comparison, viewport_overlay
from .preview_process import Painter, Picture, Still

BUSY, IDLE = 1 / 60, 1 / 15  # s between two looks while something moves, and else
ON_DISK = 2.0  # s between two looks at the actor's folder
AMOUNTS = {
    comparison.ONION: "onion_opacity",
    comparison.WIPE: "wipe_position",
    comparison.DIFFERENCE: "difference_gain",
}


class Live:
    """The preview that is on."""

    def __init__(self, scene: bpy.types.Scene, armature: bpy.types.Object) -> None:
        """Starts the process.

        Raises:
            UserError: the actor's folder or the backend cannot be used.
        """
        folder = scene_actor.SceneActor(armature, armature.portrait_actor.face).folder()
        if folder.info.camera is None:
            raise actor_folder.damaged(folder.file("actor.json"))
        self.scene, self.armature = scene.session_uid, armature.session_uid
        self.info = folder.info
        self.painter = Painter(folder.path)
        self.is_old = True
        self.picture: Picture | None = None
        self.trouble = ""
        self.incomparable = ""  # why the footage is not shown though it should be
        self._compared: tuple[Picture, str, float, Picture] | None = None
        self._seen_on_disk = time.monotonic()

    def things(self) -> tuple[bpy.types.Scene, bpy.types.Object] | None:
        """The scene and the armature, while both are in the file and the actor is in the scene."""
        scene = next((s for s in bpy.data.scenes if s.session_uid == self.scene), None)
        if scene is None:
            return None
        armature = next((o for o in scene.objects if o.session_uid == self.armature), None)
        return (scene, armature) if scene_actor.of(armature) is not None else None

    def update(self) -> bool:
        """Takes in what has been drawn, and asks for what has changed; whether there is something new to see."""
        drawn = self.painter.look()
        if drawn is not None:
            self.picture = drawn
        told = self.painter.error
        self.trouble = failure(told) if told else self.trouble
        if self.is_old and self.painter.is_ready and not self.painter.is_drawing:
            self._ask()
        return drawn is not None

    def _ask(self) -> None:
        found = self.things()
        if found is None:
            return
        scene, armature = found
        self.is_old = False
        try:
            table, view = self._sample(scene, armature)
        except errors.UserError as error:
            self.trouble = failure(error)
            return
        self.trouble = self.incomparable = ""
        self.painter.error = None
        self.painter.ask(table, view, self._still(scene, armature, view))

    def _still(
        self, scene: bpy.types.Scene, armature: bpy.types.Object, view: contract_camera.CameraPath
    ) -> Still | None:
        """The footage to show beside the actor, if any."""
        mode = scene.portrait_actor.compare
        if mode == comparison.OFF:
            return None
        try:
            return Still(footage.frame_at(scene, armature, self.info, view), mode == comparison.DIFFERENCE)
        except errors.UserError as error:
            self.incomparable = failure(error)
            return None

    def shown(self, scene: bpy.types.Scene) -> Picture | None:
        """The newest picture, compared with the footage as the scene's settings say."""
        picture, mode = self.picture, scene.portrait_actor.compare
        if picture is None or picture.footage is None or mode == comparison.OFF:
            return picture
        if picture.still.cut_out != (mode == comparison.DIFFERENCE):
            return picture  # of before the change; the next one is on its way
        amount = getattr(scene.portrait_actor, AMOUNTS[mode])
        last = self._compared
        if last is None or last[0] is not picture or last[1:3] != (mode, amount):
            both = comparison.compare(mode, amount, picture.pixels, picture.footage)
            last = self._compared = picture, mode, amount, picture._replace(pixels=both)
        return last[3]

    def is_on_disk(self, armature: bpy.types.Object) -> bool:
        """Whether the actor's folder is there, by a look that is not older than ON_DISK: disks may be far away."""
        if time.monotonic() - self._seen_on_disk < ON_DISK:
            return True
        self._seen_on_disk = time.monotonic()
        return safe_io.is_folder(actor_paths.absolute(armature))

    def _sample(
        self, scene: bpy.types.Scene, armature: bpy.types.Object
    ) -> tuple[performance.Performance, contract_camera.CameraPath]:
        layer = next((v for v in scene.view_layers if armature.name in v.objects), scene.view_layers[0])
        table, view = sampling.sample_now(scene, layer.depsgraph, armature, armature.portrait_actor.face)
        return table, resized(view, int(scene.portrait_actor.preview_size))


def resized(view: contract_camera.CameraPath, longest: int) -> contract_camera.CameraPath:
    """The same camera with pictures whose longer side is `longest` pixels."""
    scale = longest / max(view.width, view.height)
    width, height = (max(16, round(side * scale)) for side in (view.width, view.height))
    ratios = (width / view.width, height / view.height)
    return contract_camera.CameraPath(width, height, view.frames, view.views, view.intrinsics * [*ratios, *ratios])


_live: Live | None = None


def current() -> Live | None:
    """The preview that is on, if any."""
    return _live


def showing(armature: bpy.types.Object) -> Live | None:
    """The preview that is on, if it shows this actor."""
    return _live if _live is not None and _live.armature == armature.session_uid else None


def start(context: bpy.types.Context) -> None:
    """Switches the preview on for the actor that the artist means.

    Raises:
        UserError: there is no actor, or its folder or the backend cannot be used.
    """
    global _live
    stop()
    _live = Live(context.scene, scene_actor.require(context).armature)
    for handlers, mark in _handlers():
        handlers.append(mark)
    viewport_overlay.show(_picture_for, _card_for)
    if not bpy.app.background:
        bpy.app.timers.register(tick, first_interval=BUSY)


def stop() -> None:
    """Switches it off and leaves nothing behind."""
    global _live
    if _live is None:
        return
    ended, _live = _live, None
    for handlers, mark in _handlers():
        if mark in handlers:
            handlers.remove(mark)
    viewport_overlay.hide()
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    ended.painter.close()
    viewport_overlay.redraw()


def tick() -> float | None:
    """The timer: seconds until the next look, None when the preview is over."""
    if _live is None:
        return None
    found = _live.things()
    if found is None or not _live.is_on_disk(found[1]):
        stop()  # the actor was deleted, or another file was opened
        return None
    moving = _live.is_old or _live.painter.is_drawing
    if _live.update():
        viewport_overlay.redraw()
    return BUSY if moving else IDLE


def _picture_for(scene: bpy.types.Scene) -> Picture | None:
    """What the overlay draws in a view of this scene."""
    return _live.shown(scene) if _live is not None and _live.scene == scene.session_uid else None


def _card_for(scene: bpy.types.Scene) -> list[Vector] | None:
    """Where other views of this scene show the picture: the camera's frame, at the face's front."""
    found = _live.things() if _live is not None and scene.portrait_actor.preview_card else None
    if found is None or found[0] != scene:
        return None
    armature = found[1]
    return camera.picture_plane(scene, armature.matrix_world @ armature.pose.bones[rig.HEAD].matrix @ rig.FACE_FRONT)


def _mark(*_: object) -> None:
    if _live is not None:
        _live.is_old = True


def _handlers() -> tuple[tuple[list[object], object], ...]:
    events = bpy.app.handlers
    return (
        (events.depsgraph_update_post, _mark),
        (events.frame_change_post, _mark),
        (events.load_pre, _leave),
    )


def _leave(*_: object) -> None:
    stop()
