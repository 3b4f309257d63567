"""Where panels are, and what several of them draw."""

from __future__ import annotations

import bpy

from ..scene import scene_actor
from ..translations import CONTEXT

LETTER_WIDTH_PIXELS = 6.6  # pixels of an average letter of the interface at scale 1
TEXT_MARGIN_PIXELS = 70.0  # pixels of a sidebar that text in a box leaves free at scale 1, its icon included


class SidebarPanel:
    """Where all panels are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Portrait Actor"
    bl_translation_context = CONTEXT


class ActorPanel(SidebarPanel):
    """A panel that is there when an actor is."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scene_actor.find_actor(context) is not None


def draw_wrapped_text(layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """A sentence over as many lines as it needs: Blender's labels do not wrap."""
    scale = bpy.context.preferences.system.ui_scale
    width = max(16, (bpy.context.region.width / scale - TEXT_MARGIN_PIXELS) / LETTER_WIDTH_PIXELS)
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(lines if text else []):
        column.label(text=line, icon=icon if number == 0 else "NONE", translate=False)
