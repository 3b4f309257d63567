"""The menu of all verbs, in Object and Pose: Blender's search (F3) finds what stands in menus."""

from __future__ import annotations

import bpy

from ..translations import CONTEXT

# Operators with their icons; None is a line between.
MENU_OPERATORS = (
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

    def draw(self, context: bpy.types.Context) -> None:
        for verb in MENU_OPERATORS:
            if verb is None:
                self.layout.separator()
            else:
                self.layout.operator(f"portrait_actor.{verb[0]}", icon=verb[1])


def _draw_submenu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu(PORTRAIT_ACTOR_MT_verbs.__name__, icon="USER")


CLASSES = (PORTRAIT_ACTOR_MT_verbs,)
PARENT_MENUS = ("VIEW3D_MT_object", "VIEW3D_MT_pose")


def register() -> None:
    """Hangs the menu into Blender's."""
    for place in PARENT_MENUS:
        getattr(bpy.types, place).append(_draw_submenu)


def unregister() -> None:
    """Takes it out."""
    for place in PARENT_MENUS:
        getattr(bpy.types, place).remove(_draw_submenu)
