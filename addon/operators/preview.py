"""Live Preview: on and off."""

import bpy

from ..contract import protocol
from ..preview import live
from ..scene import actor as scene_actor
from .verb import ActorVerb


class PORTRAIT_ACTOR_OT_live_preview(ActorVerb, bpy.types.Operator):
    """Draw the selected actor over the camera's view, anew whenever it moves; press again to switch it off"""

    bl_idname = "portrait_actor.live_preview"
    bl_label = "Live Preview"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return live.current() is not None or super().poll(context)

    def act(self, context: bpy.types.Context) -> set[str]:
        found = scene_actor.find(context)
        if live.current() is not None and (found is None or live.showing(found.armature)):
            live.stop()
            return {"FINISHED"}
        if context.scene.camera is None:
            raise protocol.UserError("no_camera", "The scene has no camera.", "Add a camera and make it active.")
        live.start(context)
        return {"FINISHED"}


CLASSES = (PORTRAIT_ACTOR_OT_live_preview,)
