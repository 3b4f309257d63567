"""Live Preview: switches the preview on and off."""

import bpy

from .. import rna
from ..contract import errors
from ..preview import live_preview
from ..scene import scene_actor
from .operator_base import ActorOperator, OperatorResult


class PORTRAIT_ACTOR_OT_live_preview(ActorOperator, bpy.types.Operator):
    """Draw the selected actor over the camera's view and update it whenever it moves. Press again to switch it off"""

    bl_idname = "portrait_actor.live_preview"
    bl_label = "Live Preview"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Return whether the preview is on or there is an actor to preview."""
        return live_preview.current_preview() is not None or super().poll(context)

    def run(self, context: bpy.types.Context) -> OperatorResult:
        found = scene_actor.find_actor(context)
        if live_preview.current_preview() is not None and (found is None or live_preview.find_preview(found.armature)):
            live_preview.stop_preview()
            return {"FINISHED"}
        if rna.get_scene(context).camera is None:
            raise errors.UserError("no_camera", "The scene has no camera.", "Add a camera and make it active.")
        live_preview.start_preview(context)
        return {"FINISHED"}


CLASSES = (PORTRAIT_ACTOR_OT_live_preview,)
