"""Track Video: the performance of a person in another video becomes a take of the actor."""

from pathlib import Path
from typing import Any

import bpy

from .. import rna
from ..contract import errors, performance
from ..jobs import environment, job
from ..scene import scene_actor
from ..scene.compat import BLEND_RELATIVE
from ..translations import iface_
from ..translations.props import BoolProperty, IntProperty, StringProperty
from .capture_io import add_capture_take
from .operator_base import (
    ActorJobOperator,
    JobTarget,
    OperatorResult,
    backend_command,
    fill_unset_properties,
    push_undo,
    require_file,
)


class PORTRAIT_ACTOR_OT_track_video(ActorJobOperator, bpy.types.Operator):
    """Let the person in another video drive the actor: head, torso and face become a new take"""

    bl_idname = "portrait_actor.track_video"
    bl_label = "Track Video"

    filepath: StringProperty(
        name="Video",
        description="One person talking, facing the camera",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
    )
    actor: StringProperty(
        name="Actor", description="The armature's name; empty uses the selected actor", options={"SKIP_SAVE"}
    )
    frame_start: IntProperty(
        name="First Frame", description="The scene frame where the video begins", default=1, subtype="TIME"
    )
    head: BoolProperty(
        name="Head Motion", description="Key the head too; otherwise it keeps its own take", default=True
    )
    face: IntProperty(
        name="Face", description="Which face, from the left, when the video shows several; 0: the only one", min=0
    )
    match_range: BoolProperty(
        name="Match Range", description="Scale each channel to what the actor's own footage shows of it"
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        fill_unset_properties(self, frame_start=rna.get_scene(context).frame_current)
        rna.get_window_manager().fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: bpy.types.Context) -> OperatorResult:
        found = scene_actor.require_actor(context, self.actor)
        found.check_editable()
        video, folder = require_file(self.filepath, "video"), environment.make_job_folder("track")
        target, performance_file = JobTarget.from_context(context, found.armature), folder / "performance.npz"
        frame_start, should_key_bones = self.frame_start, self.head  # the operator is gone when the job ends
        title = iface_("Track {}").format(video.name)

        def finish(data: dict[str, Any]) -> str:
            outcome = _key_tracked_performance(
                target, performance_file, video, frame_start, should_key_bones=should_key_bones
            )
            push_undo(title)
            return outcome

        arguments = [str(video), str(performance_file), "--for", str(found.folder().path)]
        arguments += ["--face", str(self.face)] if self.face else []
        arguments += ["--match-range"] if self.match_range else []
        command = backend_command("track", *arguments)
        return self.watch_job(job.start_job(job.JobRequest(title, command, folder, finish)))


def _key_tracked_performance(
    target: JobTarget, performance_file: Path, video: Path, frame_start: int, *, should_key_bones: bool
) -> str:
    """Key what was tracked as a new take. Return one sentence for the artist."""
    scene, actor = target.find_scene(), scene_actor.actor_from_armature(target.find_armature())
    if scene is None or actor is None:
        raise errors.UserError(
            "no_actor_in_scene", "The actor that should move is not in the file any more.", "Track the video again."
        )
    table = performance.Performance.load(performance_file)
    return add_capture_take(scene, actor, video, table, frame_start, should_key_bones=should_key_bones)


CLASSES = (PORTRAIT_ACTOR_OT_track_video,)
