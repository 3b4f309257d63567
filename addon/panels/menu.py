"""The menu of all operators, in Object and Pose: Blender's search (F3) finds what is in menus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

from .. import rna
from ..translations import CONTEXT, iface_

# Operators with their icons; None is a separator.
MENU_OPERATORS: tuple[tuple[str, Any] | None, ...] = (
    ("create_actor", "USER"),
    ("import_actor", "FILE_FOLDER"),
    ("sample_clip", "COMMUNITY"),
    None,
    ("live_preview", "HIDE_OFF"),
    ("reset_channels", "LOOP_BACK"),
    ("mirror_channels", "MOD_MIRROR"),
    ("key_channels", "KEY_HLT"),
    ("override_channels", "LIBRARY_DATA_OVERRIDE"),
    None,
    ("speak", "PLAY_SOUND"),
    ("dub", "RENDER_ANIMATION"),
    ("push_take", "NLA_PUSHDOWN"),
    ("import_capture", "IMPORT"),
    ("export_capture", "EXPORT"),
    ("track_video", "TRACKING"),
    None,
    ("render_actor", "RENDER_ANIMATION"),
    ("export_job", "NETWORK_DRIVE"),
    None,
    ("open_report", "DOCUMENTS"),
    ("load_overlay", "FILE_MOVIE"),
    ("setup_backend", "IMPORT"),
    ("cancel_job", "CANCEL"),
    ("open_log", "TEXT"),
)


class PORTRAIT_ACTOR_MT_verbs(bpy.types.Menu):
    bl_label = "Portrait Actor"
    bl_translation_context = CONTEXT

    def draw(self, context: bpy.types.Context | None) -> None:
        """Draw all operators."""
        layout = rna.get_layout(self)
        for entry in MENU_OPERATORS:
            if entry is None:
                layout.separator()
            else:
                name, icon = entry
                layout.operator(f"portrait_actor.{name}", icon=icon)


def _draw_submenu(self: Any, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu(PORTRAIT_ACTOR_MT_verbs.__name__, icon="USER")


def _draw_import(self: Any, context: bpy.types.Context) -> None:
    self.layout.operator("portrait_actor.import_actor", text=iface_("Portrait Actor (.actor)"))


CLASSES = (PORTRAIT_ACTOR_MT_verbs,)
# Blender's menus, each with the function that draws our items at its end.
EXTENDED_MENUS: tuple[tuple[str, Callable[[Any, bpy.types.Context], None]], ...] = (
    ("VIEW3D_MT_object", _draw_submenu),
    ("VIEW3D_MT_pose", _draw_submenu),
    ("TOPBAR_MT_file_import", _draw_import),
)


def register() -> None:
    """Add our items to Blender's menus."""
    for menu, draw in EXTENDED_MENUS:
        getattr(bpy.types, menu).append(draw)


def unregister() -> None:
    """Remove them."""
    for menu, draw in EXTENDED_MENUS:
        getattr(bpy.types, menu).remove(draw)
