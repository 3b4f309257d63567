"""The panel that makes or imports an actor."""

from __future__ import annotations

import bpy

from .common import Sidebar


class PORTRAIT_ACTOR_PT_create(Sidebar, bpy.types.Panel):
    bl_label = "Create Actor"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait_actor
        layout.use_property_split, layout.use_property_decorate = True, False
        for name in ("video", "actor_name", "folder", "preset", "match_scene"):
            layout.prop(settings, name)
        header, body = layout.panel("portrait_actor_advanced", default_closed=True)
        header.label(text="Advanced")
        if body is not None:
            body.prop(settings, "face")
            body.prop(settings, "landmarker")
        box = layout.box()
        box.prop(settings, "consent_who")
        box.prop(settings, "consent_given")
        missing = _missing(settings)
        if missing:
            layout.label(text=missing, icon="INFO")
        row = layout.row()
        row.enabled, row.scale_y = not missing, 1.4
        button = row.operator("portrait_actor.create_actor", icon="USER")
        for name in ("video", "folder", "actor_name", "preset", "face", "consent_who", "match_scene", "landmarker"):
            setattr(button, name, getattr(settings, name))
        button.frame_start = context.scene.frame_start
        layout.operator("portrait_actor.import_actor", icon="FILE_FOLDER").match_scene = settings.match_scene
        if not settings.video:
            layout.operator("portrait_actor.sample_clip", icon="COMMUNITY")


def _missing(settings: bpy.types.PropertyGroup) -> str:
    """Why an actor cannot be created yet, or nothing."""
    if not settings.video:
        return "Choose a video"
    if not settings.consent_who.strip():
        return "Say who is shown"
    return "" if settings.consent_given else "Confirm that this person agreed"


CLASSES = (PORTRAIT_ACTOR_PT_create,)
