"""Create Actor: a video becomes an actor folder in a backend job, then an actor in the scene."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy

from .. import rna
from ..contract import actor_folder
from ..jobs import environment, job
from ..properties import CREATE_PROPERTIES, MATCH_SCENE_OPTIONS, CreateForm, SceneSettings, copy_values
from ..scene.compat import BLEND_RELATIVE
from ..translations import iface_, n_, rpt_, tip_
from ..translations.props import BoolProperty, IntProperty, StringProperty
from .import_actor import import_into_target
from .operator_base import (
    JobOperator,
    JobTarget,
    OperatorResult,
    absolute_path,
    backend_command,
    choose_device,
    fill_unset_properties,
    push_undo,
    require_file,
)


@dataclass(frozen=True)
class CreateRequest:
    """The settings of Create Actor.

    Attributes:
        video: the footage.
        folder: the actor's folder, or the folder that holds it; empty: beside the video.
        name: the actor's name; empty: the video's name.
        preset: one of `properties.PRESET_ITEMS`.
        face: number of the face from the left, starting at 1; 0: the only one.
        consent_who: the person in the video.
        frame_start: the scene frame where the footage begins.
        match_scene: whether the scene gets the footage's camera, size, rate and range; None: as
            `scene_actor.should_match_scene` decides when the actor is finished.
        device: "auto", "cpu" or "cuda"; empty: the preferences'.
        landmarker: MediaPipe's face_landmarker.task to measure the channels with; empty: the built-in fit.
        is_detached: whether the job goes on when Blender ends. The next Create Actor then waits for it and imports
            the actor.
    """

    video: str
    folder: str = ""
    name: str = ""
    preset: str = "draft"
    face: int = 0
    consent_who: str = ""
    frame_start: int = 1
    match_scene: bool | None = None
    device: str = ""
    landmarker: str = ""
    is_detached: bool = False


def choose_actor_path(video: Path, folder: str, name: str) -> Path:
    """Return the actor's folder. A path that ends in .actor or is an actor stays as it is; any other is its parent.

    Raises:
        UserError: the folder is relative to a .blend that is not saved.
    """
    if not folder:
        return video.parent / f"{name}{actor_folder.ACTOR_SUFFIX}"
    path = Path(absolute_path(folder))
    if path.suffix == actor_folder.ACTOR_SUFFIX or (path / "actor.json").exists() or not path.exists():
        return path
    return path / f"{name}{actor_folder.ACTOR_SUFFIX}"


def start_job(context: bpy.types.Context, request: CreateRequest) -> job.Job:
    """Start the job. It imports the actor into the context's scene when it has finished.

    Raises:
        UserError: the video is missing, the backend is not set up, or another job runs.
    """
    video = require_file(request.video, "video")
    name = request.name.strip() or video.stem
    path = choose_actor_path(video, request.folder, bpy.path.clean_name(name))
    target, title = JobTarget.from_context(context), iface_("Create {}").format(name)

    def finish(data: dict[str, Any]) -> str:
        if (scene := target.find_scene()) is not None:
            rna.get_scene_settings(scene).consent_given = False  # the next video may show somebody else
        outcome = import_into_target(target, path, frame_start=request.frame_start, match_scene=request.match_scene)
        push_undo(title)
        return outcome

    job_folder = environment.make_job_folder("create")
    arguments = [str(video), str(path), "--preset", request.preset, "--name", name, "--pictures", str(job_folder)]
    arguments += ["--device", choose_device(request.device)]
    if request.face:
        arguments += ["--face", str(request.face)]
    if request.consent_who:
        arguments += ["--consent-who", request.consent_who]
    if request.landmarker:
        arguments += ["--landmarker", str(require_file(request.landmarker, "face landmarker"))]
    command = backend_command("create", *arguments)
    if request.is_detached:
        command.append("--detached")
    return job.start_job(
        job.JobRequest(
            title=title,
            command=command,
            folder=job_folder,
            finish=finish,
            actor_folder=path,
            settings=request,
            is_detached=request.is_detached,
        )
    )


def pending_face_request() -> CreateRequest | None:
    """Return the request of the last job if it ended because the video shows several faces."""
    last = job.current_job()
    if last is None or last.error is None or last.error.code != "several_faces":
        return None
    settings = last.request.settings
    return settings if isinstance(settings, CreateRequest) else None


def missing_input(form: SceneSettings) -> str:
    """Return what the sidebar's form still lacks, as a sentence to translate; empty when it lacks nothing."""
    if not form.video:
        return n_("Choose a video")
    if not form.consent_who.strip():
        return n_("Enter who is shown")
    return "" if form.consent_given else n_("Confirm that this person agreed")


class PORTRAIT_ACTOR_OT_create_actor(CreateForm, JobOperator, bpy.types.Operator):
    """Turn the video into an actor. Blender stays usable meanwhile, and a stopped job resumes where it stopped"""

    bl_idname = "portrait_actor.create_actor"
    bl_label = "Create Actor"

    video: StringProperty(
        name="Video",
        description="One person talking, facing the camera",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
    )
    frame_start: IntProperty(
        name="First Frame", description="The scene frame where the footage begins", default=1, subtype="TIME"
    )
    match_scene: BoolProperty(**MATCH_SCENE_OPTIONS, options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        scene = rna.get_scene(context)
        form = rna.get_scene_settings(scene)
        if not self.properties.is_property_set("video"):
            if problem := missing_input(form):
                self.report({"ERROR"}, rpt_(problem))
                return {"CANCELLED"}
            fill_unset_properties(
                self,
                video=form.video,
                frame_start=scene.frame_start,
                **vars(copy_values(form, CREATE_PROPERTIES)),
            )
            if form.match_choice != "AUTO":
                fill_unset_properties(self, match_scene=form.match_scene)
        return self.execute(context)

    def run(self, context: bpy.types.Context) -> OperatorResult:
        match_scene = self.match_scene if self.properties.is_property_set("match_scene") else None
        request = CreateRequest(
            video=self.video,
            folder=self.folder,
            name=self.actor_name,
            preset=self.preset,
            face=self.face,
            consent_who=self.consent_who,
            frame_start=self.frame_start,
            match_scene=match_scene,
            landmarker=self.landmarker,
            is_detached=rna.get_preferences().on_quit == "GO_ON",
        )
        return self.watch_job(start_job(context, request))


class PORTRAIT_ACTOR_OT_choose_face(JobOperator, bpy.types.Operator):
    """Create the actor from this face"""

    bl_idname = "portrait_actor.choose_face"
    bl_label = "Choose Face"
    bl_options = {"REGISTER", "INTERNAL"}  # its picture is in the sidebar

    face: IntProperty(name="Face", description="Which face, from the left", min=1, default=1, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if pending_face_request() is None:
            cls.poll_message_set(tip_("No video with several faces waits for a choice"))
            return False
        return True

    def run(self, context: bpy.types.Context) -> OperatorResult:
        pending = pending_face_request()
        assert pending is not None  # `poll` has checked it
        request = replace(pending, face=self.face)
        started = start_job(context, request)
        settings = rna.get_scene_settings(rna.get_scene(context))
        if settings.video == request.video:
            settings.face = self.face  # a later run over the same video goes on with the same face
        return self.watch_job(started)


CLASSES = (PORTRAIT_ACTOR_OT_create_actor, PORTRAIT_ACTOR_OT_choose_face)
