"""Make Sample Clip: footage of a head drawn by code, to try the extension with before there is a video."""

from pathlib import Path
from typing import Any

import bpy

from .. import rna
from ..contract import errors
from ..jobs import environment, job
from ..scene.compat import BLEND_RELATIVE
from ..translations import iface_, rpt_
from ..translations.props import FloatProperty, IntProperty, StringProperty
from .operator_base import JobOperator, JobTarget, OperatorResult, absolute_path, backend_command, push_undo

SAMPLE_CONSENT_WHO = "nobody: drawn by code"


def start_job(context: bpy.types.Context, file: str, seconds: float, size: int) -> job.Job:
    """Start the job. It fills in Create Actor's form with the clip when it has finished.

    Args:
        context: with the scene of the form.
        file: the .mp4 to write; `//` is the .blend's folder.
        seconds: length of the clip.
        size: side of the frame in pixels.

    Raises:
        UserError: no file was named, the backend is not set up, or another job runs.
    """
    if not file:
        raise errors.UserError("no_output", "No file was named for the clip.", "Name an .mp4.")
    clip, target = Path(absolute_path(file)).with_suffix(".mp4"), JobTarget.from_context(context)
    title = iface_("Make Sample Clip")

    def finish(data: dict[str, Any]) -> str:
        scene = target.find_scene()
        if scene is None:
            return rpt_("The sample clip is {}.").format(clip)
        settings = rna.get_scene_settings(scene)
        settings.video, settings.actor_name, settings.folder, settings.face = str(clip), "", "", 0
        settings.consent_who, settings.consent_given = SAMPLE_CONSENT_WHO, True
        push_undo(title)
        return rpt_("{} is filled in below: press Create Actor.").format(clip.name)

    command = backend_command("sample", str(clip), "--seconds", f"{seconds:.3f}", "--size", str(size))
    return job.start_job(job.JobRequest(title, command, environment.make_job_folder("sample"), finish))


class PORTRAIT_ACTOR_OT_sample_clip(JobOperator, bpy.types.Operator):
    """Draw a clip of a talking head that is no real person, to try the extension without a video"""

    bl_idname = "portrait_actor.sample_clip"
    bl_label = "Make Sample Clip"

    filepath: StringProperty(
        name="File",
        description="The .mp4 to write",
        subtype="FILE_PATH",
        default="sample.mp4",
        options=BLEND_RELATIVE,
    )
    filter_glob: StringProperty(default="*.mp4", options={"HIDDEN"})
    seconds: FloatProperty(
        name="Length", description="Seconds that the head talks", min=1, max=120, default=12, subtype="TIME_ABSOLUTE"
    )
    size: IntProperty(name="Size", description="Side of the frame", min=96, max=1024, default=512, subtype="PIXEL")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        rna.get_window_manager().fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: bpy.types.Context) -> OperatorResult:
        return self.watch_job(start_job(context, self.filepath, self.seconds, self.size))


CLASSES = (PORTRAIT_ACTOR_OT_sample_clip,)
