"""Live Preview: on and off."""

import bpy

from ..contract import errors
from ..preview import live_preview
from ..scene import scene_actor
from .operator_base import ActorVerb


class PORTRAIT_ACTOR_OT_live_preview(ActorVerb, bpy.types.Operator):
    """Draw the selected actor over the camera's view, anew whenever it moves; press again to switch it off"""

    bl_idname = "portrait_actor.live_preview"
    bl_label = "Live Preview"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return live_preview.current() is not None or super().poll(context)

    def act(self, context: bpy.types.Context) -> set[str]:
        found = scene_actor.find(context)
        if live_preview.current() is not None and (found is None or live_preview.showing(found.armature)):
            live_preview.stop()
            return {"FINISHED"}
        if context.scene.camera is None:
            raise errors.UserError("no_camera", "The scene has no camera.", "Add a camera and make it active.")
        live_preview.start(context)
        return {"FINISHED"}


CLASSES = (PORTRAIT_ACTOR_OT_live_preview,)
