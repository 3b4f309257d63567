"""Open Report and Load Footage Overlay: the results of the footage's preparation, for people to check."""

from __future__ import annotations

from pathlib import Path

import bpy

from .. import rna
from ..contract import errors, safe_io
from ..jobs import job
from ..scene import actor_paths, footage, scene_actor
from ..scene.compat import BLEND_RELATIVE
from ..translations import rpt_, tip_
from ..translations.props import StringProperty
from .operator_base import OperatorBase, OperatorResult, absolute_path

REPORT_FILE = "report.html"
OVERLAY_FILE = "overlay.mp4"


def find_job_report() -> Path | None:
    """Return the report of the actor that the current job creates, if it is written already."""
    last = job.current_job()
    page = last.actor_folder / REPORT_FILE if last is not None and last.actor_folder is not None else None
    return page if page is not None and safe_io.is_accessible_file(page) else None


def find_actor_file(context: bpy.types.Context, name: str) -> Path | None:
    """Return a file in the folder of the actor in use; None when there is no actor or no such file."""
    found = scene_actor.find_actor(context)
    file = actor_paths.resolve_actor_folder(found.armature) / name if found is not None else None
    return file if file is not None and safe_io.is_accessible_file(file) else None


class PORTRAIT_ACTOR_OT_open_report(OperatorBase, bpy.types.Operator):
    """Show what was found in the footage: film with overlay, curves, warnings and figures, in the web browser"""

    bl_idname = "portrait_actor.open_report"
    bl_label = "Open Report"

    directory: StringProperty(
        name="Actor Folder",
        description="Actor whose report is shown; empty uses the scene's actor",
        subtype="DIR_PATH",
        options=BLEND_RELATIVE | {"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Return whether there is a report."""
        if find_actor_file(context, REPORT_FILE) is None and find_job_report() is None:
            cls.poll_message_set(tip_("There is no report: Create Actor writes one into the actor's folder"))
            return False
        return True

    def run(self, context: bpy.types.Context) -> OperatorResult:
        page = find_actor_file(context, REPORT_FILE) or find_job_report()
        if self.directory:
            page = Path(absolute_path(self.directory)) / REPORT_FILE
        if page is None or not safe_io.is_accessible_file(page):
            raise errors.UserError("no_report", f"There is no report at {page}.", "Create the actor again.")
        if not bpy.app.background:
            bpy.ops.wm.url_open(url=page.as_uri())
        self.report({"INFO"}, rpt_("The report is {}").format(page))
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_load_overlay(OperatorBase, bpy.types.Operator):
    """Load the footage with mesh, axes and mattes drawn over it as a movie clip, in time with the footage's take"""

    bl_idname = "portrait_actor.load_overlay"
    bl_label = "Load Footage Overlay"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Return whether the actor in use has an overlay."""
        if find_actor_file(context, OVERLAY_FILE) is None:
            reason = tip_("The actor has no footage overlay: Create Actor writes one into the actor's folder")
            cls.poll_message_set(reason)
            return False
        return True

    def run(self, context: bpy.types.Context) -> OperatorResult:
        found = scene_actor.require_actor(context)
        clip = footage.load_overlay(found, actor_paths.resolve_actor_folder(found.armature) / OVERLAY_FILE)
        if footage.show_in_clip_editors(clip):
            text = rpt_("{} is in the Clip Editor.")
        else:
            text = rpt_("{} is in the file; open a Movie Clip Editor to see it.")
        self.report({"INFO"}, text.format(clip.name))
        if footage.is_frame_rate_different(rna.get_scene(context), clip):
            text = rpt_("The overlay runs at {:g} fps, the scene at another rate: they drift apart.")
            self.report({"WARNING"}, text.format(clip.fps))
        return {"FINISHED"}


CLASSES = (PORTRAIT_ACTOR_OT_open_report, PORTRAIT_ACTOR_OT_load_overlay)
