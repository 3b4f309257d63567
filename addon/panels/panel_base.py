"""Base classes of the panels, and what several of them draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bpy

from ..scene import scene_actor
from ..translations import CONTEXT

LETTER_WIDTH_PIXELS = 6.6  # of an average letter of the interface at scale 1, measured
TEXT_MARGIN_PIXELS = 70.0  # of a sidebar beside text in a box at scale 1, its icon included
MIN_LINE_LETTERS = 16  # a narrower sidebar cuts its texts off
LINE_SPACING = 0.8  # of a row's height: lines of one sentence stand closer than rows
MAIN_BUTTON_SCALE = 1.4  # of a row's height, for the main button of a panel

if TYPE_CHECKING:
    _BlenderPanel = bpy.types.Panel
else:
    _BlenderPanel = object  # Blender registers only classes that derive from Panel themselves


class SidebarPanel(_BlenderPanel):
    """Base of all panels: their place in the sidebar."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Portrait Actor"
    bl_translation_context = CONTEXT


class ActorPanel(SidebarPanel):
    """Base of the panels that are shown when there is an actor."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Return whether there is an actor."""
        return scene_actor.find_actor(context) is not None


def draw_wrapped_text(layout: bpy.types.UILayout, text: str, icon: Any = "NONE") -> None:
    """Draw a sentence in as many lines as it needs: Blender's labels do not wrap."""
    preferences, region = bpy.context.preferences, bpy.context.region
    assert preferences is not None and region is not None
    scale = preferences.system.ui_scale
    width = max(MIN_LINE_LETTERS, (region.width / scale - TEXT_MARGIN_PIXELS) / LETTER_WIDTH_PIXELS)
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    column = layout.column(align=True)
    column.scale_y = LINE_SPACING
    for number, line in enumerate(lines if text else []):
        column.label(text=line, icon=icon if number == 0 else "NONE", translate=False)


def draw_main_button(layout: bpy.types.UILayout, operator: str, problem: str, **options: Any) -> None:
    """Draw a panel's main button.

    Args:
        layout: where to draw.
        operator: its bl_idname.
        problem: what the form still lacks, as a translated sentence that is drawn above the disabled button; or empty.
        options: further arguments of `UILayout.operator`.
    """
    if problem:
        layout.label(text=problem, icon="INFO", translate=False)
    row = layout.row()
    row.enabled, row.scale_y = not problem, MAIN_BUTTON_SCALE
    row.operator(operator, **options)
