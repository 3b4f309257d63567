"""Create Actor: a video becomes an actor folder in a backend job, then an actor in the scene."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy

from ..contract import actor_folder
from ..jobs import environment, job
from ..properties import CREATE_PROPERTIES, MATCH_SCENE_OPTIONS, CreateForm, copy_values
from ..scene.compat import BLEND_RELATIVE
from ..translations import iface_, n_, rpt_, tip_
from ..translations.props import BoolProperty, IntProperty, StringProperty
from .import_actor import import_into_target
from .operator_base import (
    JobOperator,
    JobTarget,
    absolute_path,
    fill_unset_properties,
    push_undo,
    require_file,
    start_backend_job,
)


@dataclass(frozen=True)
class CreateRequest:
    """Everything that Create Actor needs.

    Attributes:
        video: the footage.
        folder: the actor's folder; or the folder that shall hold it; or empty: beside the video.
        name: what the actor is called; empty: the video's name.
        preset: see `properties.PRESETS`.
        face: which face, from the left, beginning with 1; 0: the only one.
        consent_who: the person who is shown.
        frame_start: the scene frame where the footage begins.
        match_scene: whether the scene takes the footage's camera, size, rate and range; None: where it is expected
            when the actor is finished.
        device: "auto", "cpu" or "cuda"; empty: the preferences'.
        landmarker: MediaPipe's face_landmarker.task, to measure the channels; empty: the own fit.
        detached: it goes on when Blender ends; the next Create Actor waits for it and imports what it made.
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
    """Where the actor goes: a folder that ends in .actor, or that is one, is meant as it is; any other is its parent.

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
    """Starts the job; the actor comes into the context's scene when it is finished.

    Raises:
        UserError: the video is missing, the backend is not set up, or another job runs.
    """
    video = require_file(request.video, "video")
    name = request.name.strip() or video.stem
    path = choose_actor_path(video, request.folder, bpy.path.clean_name(name))
    place, title = JobTarget.from_context(context), iface_("Create {}").format(name)

    def finish(data: dict[str, Any]) -> str:
        if (scene := place.find_scene()) is not None:
            scene.portrait_actor.consent_given = False  # the next video may show somebody else
        outcome = import_into_target(place, path, frame_start=request.frame_start, match_scene=request.match_scene)
        push_undo(title)
        return outcome

    log_folder = environment.make_job_folder("create")
    arguments = [str(video), str(path), "--preset", request.preset, "--name", name, "--pictures", str(log_folder)]
    arguments += ["--device", request.device or environment.preferences().device]
    if request.face:
        arguments += ["--face", str(request.face)]
    if request.consent_who:
        arguments += ["--consent-who", request.consent_who]
    if request.landmarker:
        arguments += ["--landmarker", str(require_file(request.landmarker, "face landmarker"))]
    return start_backend_job(
        title,
        "create",
        arguments,
        log_folder,
        finish,
        actor_folder=path,
        request=request,
        is_detached=request.is_detached,
    )


def pending_face_request() -> CreateRequest | None:
    """What was asked for when the last job ended with the question which of several faces is meant."""
    last = job.current_job()
    asked = last is not None and last.error is not None and last.error.code == "several_faces"
    return last.request if asked and isinstance(last.request, CreateRequest) else None


def missing_input(form: bpy.types.PropertyGroup) -> str:
    """Why the sidebar's form is not enough for an actor yet, or nothing."""
    if not form.video:
        return n_("Choose a video")
    if not form.consent_who.strip():
        return n_("Say who is shown")
    return "" if form.consent_given else n_("Confirm that this person agreed")


class PORTRAIT_ACTOR_OT_create_actor(CreateForm, JobOperator, bpy.types.Operator):
    """Turn the video into an actor. Blender stays usable meanwhile, and a stopped job goes on where it was"""

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

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        form = context.scene.portrait_actor
        if not self.properties.is_property_set("video"):
            if why := missing_input(form):
                self.report({"ERROR"}, rpt_(why))
                return {"CANCELLED"}
            fill_unset_properties(
                self,
                video=form.video,
                frame_start=context.scene.frame_start,
                **vars(copy_values(form, CREATE_PROPERTIES)),
            )
            if form.match_choice != "AUTO":
                fill_unset_properties(self, match_scene=form.match_scene)
        return self.execute(context)

    def run(self, context: bpy.types.Context) -> set[str]:
        match_scene = self.match_scene if self.properties.is_property_set("match_scene") else None
        request = CreateRequest(
            self.video, self.folder, self.actor_name, self.preset, self.face, self.consent_who, self.frame_start,
            match_scene, landmarker=self.landmarker, is_detached=environment.preferences().on_quit == "GO_ON",
        )  # fmt: skip
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

    def run(self, context: bpy.types.Context) -> set[str]:
        request = replace(pending_face_request(), face=self.face)
        started = start_job(context, request)
        settings = context.scene.portrait_actor
        if settings.video == request.video:
            settings.face = self.face  # a later run over the same video goes on with the same face
        return self.watch_job(started)


CLASSES = (PORTRAIT_ACTOR_OT_create_actor, PORTRAIT_ACTOR_OT_choose_face)
