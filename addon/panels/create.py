"""The panel that makes or imports an actor."""

from __future__ import annotations

import bpy

from ..operators import create_actor
from ..translations import iface_
from .panel_base import SidebarPanel


class PORTRAIT_ACTOR_PT_create(SidebarPanel, bpy.types.Panel):
    bl_label = "Create Actor"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.portrait_actor
        layout.use_property_split, layout.use_property_decorate = True, False
        for name in ("video", "actor_name", "folder", "preset", "match_scene"):
            layout.prop(settings, name)
        header, body = layout.panel("portrait_actor_advanced", default_closed=True)
        header.label(text=iface_("Advanced"))
        if body is not None:
            body.prop(settings, "face")
            body.prop(settings, "landmarker")
        box = layout.box()
        box.prop(settings, "consent_who")
        box.prop(settings, "consent_given")
        why = create_actor.missing_input(settings)
        if why:
            layout.label(text=iface_(why), icon="INFO")
        row = layout.row()
        row.enabled, row.scale_y = not why, 1.4
        row.operator("portrait_actor.create_actor", icon="USER")
        layout.operator("portrait_actor.import_actor", icon="FILE_FOLDER")
        if not settings.video:
            layout.operator("portrait_actor.sample_clip", icon="COMMUNITY")


CLASSES = (PORTRAIT_ACTOR_PT_create,)
