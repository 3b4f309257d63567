"""What to do in a scene that has no actor yet, in three steps."""

from __future__ import annotations

import bpy

from ..jobs import environment
from ..scene import actor as scene_actor
from .common import Sidebar, draw_text


class PORTRAIT_ACTOR_PT_first_steps(Sidebar, bpy.types.Panel):
    bl_label = "First Steps"
    bl_order = 0

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scene_actor.find(context) is None

    def draw(self, context: bpy.types.Context) -> None:
        column, settings = self.layout.column(), context.scene.portrait_actor
        ready, filmed = environment.state().usable, bool(settings.video)
        _step(column, ready, "1. Set up the backend, once")
        _step(column, filmed, "2. Choose a video of one person who talks, or make a sample clip")
        if ready and not filmed:
            column.operator("portrait_actor.sample_clip", icon="COMMUNITY")
        _step(column, False, "3. Say who is shown, and press Create Actor")


def _step(column: bpy.types.UILayout, done: bool, text: str) -> None:
    draw_text(column, text, "CHECKMARK" if done else "DOT")


CLASSES = (PORTRAIT_ACTOR_PT_first_steps,)
