"""The panel that creates or imports an actor."""

from __future__ import annotations

import bpy

from .. import rna
from ..operators import create_actor
from ..translations import iface_
from .panel_base import SidebarPanel, draw_main_button


class PORTRAIT_ACTOR_PT_create(SidebarPanel, bpy.types.Panel):
    bl_label = "Create Actor"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the form, what it still lacks, and the buttons."""
        layout, settings = rna.get_layout(self), rna.get_scene_settings(rna.get_scene(context))
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
        problem = create_actor.missing_input(settings)
        draw_main_button(layout, "portrait_actor.create_actor", iface_(problem) if problem else "", icon="USER")
        layout.operator("portrait_actor.import_actor", icon="FILE_FOLDER")
        if not settings.video:
            layout.operator("portrait_actor.sample_clip", icon="COMMUNITY")


CLASSES = (PORTRAIT_ACTOR_PT_create,)
