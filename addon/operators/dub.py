"""Dub: the original shot stays, the actor's lips say another line. The backend makes a film of it."""

from pathlib import Path
from typing import Any

import bpy

from ..contract import actor_folder as contract_actor
from ..contract import errors, safe_io
from ..jobs import environment, job
from ..properties import SPEECH_PROPERTIES, SpeechForm, copy_values
from ..scene import footage as footage_clips
from ..scene import scene_actor
from ..scene.compat import BLEND_RELATIVE
from ..translations import iface_, n_, rpt_
from ..translations.props import FloatProperty, StringProperty
from .operator_base import ActorJobOperator, absolute_path, fill_unset_properties, require_file, start_backend_job
from .speak import prepare_audio, speech_arguments


def start_job(
    context: bpy.types.Context,
    options: Any,
    film: str,
    footage: str = "",
    start_seconds: float = 0.0,
    actor: str = "",
    device: str = "",
) -> job.Job:
    """Starts the job.

    Args:
        wish: has the attributes of `properties.Mouth`.
        film: the .mp4 to write; `//` is the .blend's folder.
        footage: the video that the actor was made from; empty: the one that the sidebar names, if it is that, else the
            crops that the actor's folder keeps.
        start_seconds: into the footage, where the line begins.
        actor: name of the armature; empty: the actor that the artist means.
        device: "auto", "cpu" or "cuda"; empty: the preferences'.

    Raises:
        UserError: there is no actor or no sound, the film cannot be written, the backend is not set up, or another job
            runs.
    """
    line, shown = copy_values(options, SPEECH_PROPERTIES), scene_actor.require_actor(context, actor)
    folder = shown.folder()
    if not film:
        raise errors.UserError("no_output", "No film was named.", "Name an .mp4.")
    target = Path(absolute_path(film)).with_suffix(".mp4")
    video = require_file(footage, "video") if footage else _find_source_video(context, folder)
    place = environment.make_job_folder("dub")
    audio = prepare_audio(context, line, place)
    arguments = [str(folder.path), str(audio), "--out", str(target), "--start", f"{start_seconds:.4f}"]
    arguments += ["--device", device or environment.preferences().device, *speech_arguments(line)]
    if video is not None:
        arguments += ["--footage", str(video)]

    def finish(data: dict[str, Any]) -> str:
        clip = footage_clips.load_movie_clip(Path(data["file"]), "Dub again.")
        footage_clips.show_in_clip_editors(clip)
        told = rpt_("The dub over {} is {}; Clip Editor and camera backgrounds list it as {}.")
        return told.format(video.name if video else rpt_("the actor's own crops"), data["file"], clip.name)

    return start_backend_job(iface_("Dub {}").format(shown.name), "dub", arguments, place, finish)


def _find_source_video(context: bpy.types.Context, folder: contract_actor.ActorFolder) -> Path | None:
    """The video in Create Actor's form when it is the one that this actor was made from."""
    named = context.scene.portrait_actor.video
    if not named or (named.startswith("//") and not bpy.data.filepath):
        return None
    video, source = Path(absolute_path(named)), folder.info.source
    same = safe_io.is_accessible_file(video) and (video.name, video.stat().st_size) == (
        source.get("name"),
        source.get("bytes"),
    )
    return video if same else None


def missing_input(form: bpy.types.PropertyGroup) -> str:
    """Why the sidebar's form is not enough for a dub yet, or nothing."""
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
        description="The video that the actor was made from; empty takes the actor's own crops of it",
        subtype="FILE_PATH",
        options=BLEND_RELATIVE,
    )
    start: FloatProperty(
        name="Start", description="Second of the footage at which the line begins", min=0, subtype="TIME_ABSOLUTE"
    )
    actor: StringProperty(
        name="Actor", description="The armature's name; empty takes the selected actor", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        form = context.scene.portrait_actor
        fill_unset_properties(self, footage=form.dub_footage, start=form.dub_start, film=form.dub_film)
        fill_unset_properties(self, **vars(copy_values(form.line, SPEECH_PROPERTIES)))
        return self.execute(context)

    def run(self, context: bpy.types.Context) -> set[str]:
        return self.watch_job(start_job(context, self, self.film, self.footage, self.start, self.actor))


CLASSES = (PORTRAIT_ACTOR_OT_dub,)
