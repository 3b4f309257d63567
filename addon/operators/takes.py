"""Push Take to NLA: makes takes into strips that the artist can stack, shift and fade."""

from __future__ import annotations

import bpy

from .. import rna
from ..contract import errors
from ..scene import scene_actor, takes
from ..translations import rpt_, tip_
from ..translations.props import EnumProperty, IntProperty
from .operator_base import ActorOperator, OperatorResult

TAKE_PART_ITEMS = (
    ("BOTH", "Head & Face", "Bones and channels"),
    ("HEAD", "Head & Torso", "The bones alone"),
    ("FACE", "Face", "The channels alone"),
)


class PORTRAIT_ACTOR_OT_push_take(ActorOperator, bpy.types.Operator):
    """Move the take in use to its own NLA track above the others, with fades where it overlaps them"""

    bl_idname = "portrait_actor.push_take"
    bl_label = "Push Take to NLA"
    bl_options = {"REGISTER", "UNDO"}

    part: EnumProperty(
        name="Part", description="Part of the actor whose take is moved", items=TAKE_PART_ITEMS, default="BOTH"
    )
    fade: IntProperty(
        name="Fade", description="Frames of fades at overlaps", default=10, min=0, soft_max=100, subtype="TIME"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Return whether the actor has a take in use."""
        if not super().poll(context):
            return False
        found = scene_actor.require_actor(context)
        if not any(_has_take(owner) for owner in (found.armature, rna.get_shape_keys(found.face))):
            cls.poll_message_set(tip_("The actor has no take in use: choose one, or let it speak"))
            return False
        return True

    def run(self, context: bpy.types.Context) -> OperatorResult:
        found = scene_actor.require_actor(context)
        found.check_editable()
        owners: dict[str, bpy.types.ID | None] = {"HEAD": found.armature, "FACE": rna.get_shape_keys(found.face)}
        chosen = [owner for part, owner in owners.items() if owner and self.part in (part, "BOTH")]
        with_take = [owner for owner in chosen if _has_take(owner)]
        if not with_take:
            raise errors.UserError(
                "no_take", f"{found.name} has no take in use there.", "Choose one, or let the actor speak."
            )
        if any(rna.require_animation(owner).use_tweak_mode for owner in with_take):
            raise errors.UserError("tweak_mode", "A strip of the actor is being edited.", "Leave tweak mode first.")
        strips = [takes.push_to_nla(owner, self.fade) for owner in with_take]
        self.report({"INFO"}, rpt_("{} is on an NLA track.").format(strips[0].name))
        return {"FINISHED"}


def _has_take(owner: bpy.types.ID | None) -> bool:
    motion = rna.get_animation(owner)
    return motion is not None and motion.action is not None


CLASSES = (PORTRAIT_ACTOR_OT_push_take,)
