"""Dub: the backend writes a film of the original shot in which the actor's lips say another line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from .. import rna
from ..contract import actor_folder as contract_actor
from ..contract import errors, safe_io
from ..jobs import environment, job
from ..properties import SPEECH_PROPERTIES, SceneSettings, SpeechForm, copy_values
from ..scene import footage as footage_clips
from ..scene import scene_actor
from ..scene.compat import BLEND_RELATIVE
from ..translations import iface_, n_, rpt_
from ..translations.props import FloatProperty, StringProperty
from .operator_base import (
    ActorJobOperator,
    OperatorResult,
    absolute_path,
    backend_command,
    choose_device,
    fill_unset_properties,
    require_file,
)
from .speak import prepare_audio, speech_arguments


@dataclass(frozen=True)
class DubRequest:
    """The settings of Dub.

    Attributes:
        film: the .mp4 to write; `//` is the .blend's folder.
        speech: object with the attributes of `properties.SpeechForm`.
        footage: the video that the actor was made from; empty: the one in Create Actor's form if it is that video,
            else the crops in the actor's folder.
        start_seconds: second of the footage at which the line begins.
        actor: name of the armature; empty: the actor in use.
        device: "auto", "cpu" or "cuda"; empty: the preferences'.
    """

    film: str
    speech: Any
    footage: str = ""
    start_seconds: float = 0.0
    actor: str = ""
    device: str = ""


def start_job(context: bpy.types.Context, request: DubRequest) -> job.Job:
    """Start the job.

    Raises:
        UserError: there is no actor or no sound, the film cannot be written, the backend is not set up, or another job
            runs.
    """
    line, speaker = copy_values(request.speech, SPEECH_PROPERTIES), scene_actor.require_actor(context, request.actor)
    folder = speaker.folder()
    if not request.film:
        raise errors.UserError("no_output", "No film was named.", "Name an .mp4.")
    target = Path(absolute_path(request.film)).with_suffix(".mp4")
    video = require_file(request.footage, "video") if request.footage else _find_source_video(context, folder)
    job_folder = environment.make_job_folder("dub")
    audio = prepare_audio(context, line, job_folder)
    arguments = [str(folder.path), str(audio), "--out", str(target), "--start", f"{request.start_seconds:.4f}"]
    arguments += ["--device", choose_device(request.device), *speech_arguments(line)]
    if video is not None:
        arguments += ["--footage", str(video)]

    def finish(data: dict[str, Any]) -> str:
        clip = footage_clips.load_movie_clip(Path(data["file"]), "Dub again.")
        footage_clips.show_in_clip_editors(clip)
        text = rpt_("The dub over {} is {}; Clip Editor and camera backgrounds list it as {}.")
        return text.format(video.name if video else rpt_("the actor's own crops"), data["file"], clip.name)

    title, command = iface_("Dub {}").format(speaker.name), backend_command("dub", *arguments)
    return job.start_job(job.JobRequest(title, command, job_folder, finish))


def _find_source_video(context: bpy.types.Context, folder: contract_actor.ActorFolder) -> Path | None:
    """Return the video in Create Actor's form if this actor was made from it."""
    named = rna.get_scene_settings(rna.get_scene(context)).video
    if not named or (named.startswith("//") and not bpy.data.filepath):
        return None
    video, source = Path(absolute_path(named)), folder.info.source
    if not safe_io.is_accessible_file(video):
        return None
    is_source = (video.name, video.stat().st_size) == (source.get("name"), source.get("bytes"))
    return video if is_source else None


def missing_input(form: SceneSettings) -> str:
    """Return what the sidebar's form still lacks, as a sentence to translate; empty when it lacks nothing."""
    if not (form.line.audio or form.line.strip):
        return n_("Choose a sound under Speak")
    return "" if form.dub_film else n_("Name the film")


class PORTRAIT_ACTOR_OT_dub(SpeechForm, ActorJobOperator, bpy.types.Operator):
    """Let the person in the original footage say another line: the shot stays, mouth and jaw are the actor's"""

    bl_idname = "portrait_actor.dub"
    bl_label = "Dub"

    film: StringProperty(
        name="Film",
        description="The .mp4 to write",
        subtype="FILE_PATH",
        default="//dub.mp4",
        options=BLEND_RELATIVE,
    )
    footage: StringProperty(
        name="Original",
        description="The video that the actor was made from; empty uses the crops in the actor's folder",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
    )
    start: FloatProperty(
        name="Start", description="Second of the footage at which the line begins", min=0, subtype="TIME_ABSOLUTE"
    )
    actor: StringProperty(
        name="Actor", description="The armature's name; empty uses the selected actor", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        form = rna.get_scene_settings(rna.get_scene(context))
        fill_unset_properties(self, footage=form.dub_footage, start=form.dub_start, film=form.dub_film)
        fill_unset_properties(self, **vars(copy_values(form.line, SPEECH_PROPERTIES)))
        return self.execute(context)

    def run(self, context: bpy.types.Context) -> OperatorResult:
        request = DubRequest(
            film=self.film, speech=self, footage=self.footage, start_seconds=self.start, actor=self.actor
        )
        return self.watch_job(start_job(context, request))


CLASSES = (PORTRAIT_ACTOR_OT_dub,)
