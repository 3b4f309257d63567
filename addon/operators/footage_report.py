"""Open Report and Load Footage Overlay: what preparation saw in the footage, to look at."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..contract import errors, safe_io
from ..jobs import job
from ..scene import actor_paths, footage, scene_actor
from ..scene.compat import BLEND_RELATIVE
from ..translations import rpt_, tip_
from ..translations.props import StringProperty
from .operator_base import Verb, absolute

PAGE, FILM = "report.html", "overlay.mp4"


def page_of_job() -> Path | None:
    """The report of the actor that is in the making or was made last, once there is one."""
    last = job.current()
    page = last.folder / PAGE if last is not None and last.folder is not None else None
    return page if page is not None and safe_io.is_file(page) else None


def file_of_actor(context: bpy.types.Context, name: str) -> Path | None:
    """The file of that name of the actor that the artist means; None when there is no actor or no such file."""
    found = scene_actor.find(context)
    file = actor_paths.absolute(found.armature) / name if found is not None else None
    return file if file is not None and safe_io.is_file(file) else None


class PORTRAIT_ACTOR_OT_open_report(Verb, bpy.types.Operator):
    """Read what was found in the footage: film with overlay, curves, warnings and figures, in the web browser"""

    bl_idname = "portrait_actor.open_report"
    bl_label = "Open Report"

    directory: StringProperty(
        name="Actor Folder",
        description="Whose report; empty: the scene's actor",
        subtype="DIR_PATH",
        options=BLEND_RELATIVE | {"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if file_of_actor(context, PAGE) is None and page_of_job() is None:
            cls.poll_message_set(tip_("There is no report: Create Actor writes one into the actor's folder"))
            return False
        return True

    def act(self, context: bpy.types.Context) -> set[str]:
        if self.directory:
            page = Path(absolute(self.directory)) / PAGE
        else:
            page = file_of_actor(context, PAGE) or page_of_job()
        if page is None or not safe_io.is_file(page):
            raise errors.UserError("no_report", f"There is no report at {page}.", "Create the actor again.")
        if not bpy.app.background:
            bpy.ops.wm.url_open(url=page.as_uri())
        self.report({"INFO"}, rpt_("The report is {}").format(page))
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_load_overlay(Verb, bpy.types.Operator):
    """Load the footage with mesh, axes and mattes drawn over it as a movie clip, in time with the footage's take"""

    bl_idname = "portrait_actor.load_overlay"
    bl_label = "Load Footage Overlay"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if file_of_actor(context, FILM) is None:
            why = tip_("The actor has no footage overlay: Create Actor writes one into the actor's folder")
            cls.poll_message_set(why)
            return False
        return True

    def act(self, context: bpy.types.Context) -> set[str]:
        found = scene_actor.require(context)
        clip = footage.load_overlay(found, actor_paths.absolute(found.armature) / FILM)
        if footage.show(clip):
            told = rpt_("{} is in the Clip Editor.")
        else:
            told = rpt_("{} is in the file; open a Movie Clip Editor to see it.")
        self.report({"INFO"}, told.format(clip.name))
        if footage.drifts(context.scene, clip):
            told = rpt_("The overlay runs at {:g} fps, the scene at another rate: they drift apart.")
            self.report({"WARNING"}, told.format(clip.fps))
        return {"FINISHED"}


CLASSES = (PORTRAIT_ACTOR_OT_open_report, PORTRAIT_ACTOR_OT_load_overlay)
