"""Speak: a sound becomes curves on the actor's channels, as a new take or in a range of the take in use."""

from pathlib import Path
from typing import Any

import bpy

from .. import rna
from ..contract import channels, errors, performance
from ..jobs import environment, job
from ..properties import LINE_PROPERTIES, LineForm, SceneSettings, copy_values
from ..scene import compat, scene_actor, sound, takes
from ..translations import iface_, n_, rpt_
from ..translations.props import IntProperty, StringProperty
from .operator_base import (
    ActorJobOperator,
    JobTarget,
    OperatorResult,
    backend_command,
    fill_unset_properties,
    push_undo,
    require_file,
)


def start_job(context: bpy.types.Context, line_form: Any, frame_start: int = 1, actor: str = "") -> job.Job:
    """Start the job. It adds the take and the sound to the scene when it has finished.

    Args:
        context: with the scene of the actor.
        line_form: object with the attributes of `properties.LineForm`.
        frame_start: the scene frame where a sound file begins; a strip is spoken where it lies.
        actor: name of the armature; empty: the actor in use.

    Raises:
        UserError: there is no actor that can be keyed, no sound or no take to speak into, the backend is not set up, or
            another job runs.
    """
    line, scene = copy_values(line_form, LINE_PROPERTIES), rna.get_scene(context)
    speaker = scene_actor.require_actor(context, actor)
    speaker.check_editable()
    folder = environment.make_job_folder("speak")
    if line.strip:
        strip = sound.find_strip(scene, line.strip)
        frame_start = round(compat.strip_span(strip)[0])
    if line.into_take:
        takes.require_editable_take(speaker.armature, speaker.face, should_key_bones=line.head)
    audio = prepare_audio(context, line, folder)
    performance_file = folder / "performance.npz"
    target, title = JobTarget.from_context(context, speaker.armature), iface_("Speak {}").format(audio.stem)

    def finish(data: dict[str, Any]) -> str:
        outcome = _key_speech(target, performance_file, audio, line, frame_start)
        push_undo(title)
        return outcome

    arguments = [
        str(speaker.folder().path),
        str(audio),
        str(performance_file),
        "--fps",
        f"{takes.scene_fps(scene):.6f}",
    ]
    arguments += ["--first-frame", str(frame_start), "--seed", str(line.seed), *speech_arguments(line)]
    for part in ("brows", "head", "blink"):
        arguments += [f"--{part}", f"{getattr(line, f'{part}_strength'):.4f}"]
    return job.start_job(job.JobRequest(title, backend_command("speak", *arguments), folder, finish))


def prepare_audio(context: bpy.types.Context, line: Any, folder: Path) -> Path:
    """Return the sound file of a line. The sound of a strip is written into `folder`.

    Raises:
        UserError: there is none.
    """
    if not line.strip:
        return require_file(line.audio, "sound")
    scene = rna.get_scene(context)
    strip = sound.find_strip(scene, line.strip)
    return sound.bounce_strip(scene, strip, folder / f"{bpy.path.clean_name(strip.name)}.wav")


def speech_arguments(line: Any) -> list[str]:
    """Return the backend's options for the mouth's motion."""
    options = ["--smoothing", f"{line.smoothing:.4f}", "--lips", f"{line.lips_strength:.4f}"]
    if line.use_style:
        options += ["--style", f"{line.style_start:.3f}-{line.style_end:.3f}"]
    return options


def _key_speech(target: JobTarget, performance_file: Path, audio: Path, line: Any, frame_start: int) -> str:
    """Key the spoken performance and add its sound. Return one sentence for the artist."""
    scene, speaker = target.find_scene(), scene_actor.actor_from_armature(target.find_armature())
    if scene is None or speaker is None:
        raise errors.UserError(
            "no_actor_in_scene", "The actor that should speak is not in the file any more.", "Speak again."
        )
    table = performance.Performance.load(performance_file)
    armature, face = speaker.armature, speaker.face
    names = channels.CHANNELS if line.blink else channels.ORAL_CHANNELS
    frames = table.frames.astype(float)  # already in the scene's frames
    values = armature.name, line.strip or audio.name, frame_start, int(frames[-1])
    if line.into_take:
        take = takes.merge_into_take(armature, face, table, frames, should_key_bones=line.head, channel_names=names)
        text = rpt_("{} speaks {} from frame {} to {}, in {}: its keys before and after are unchanged.")
        outcome = text.format(*values, take)
    else:
        name = f"{armature.name} {line.strip or audio.stem}"
        takes.add_take(name, armature, face, table, frames, should_key_bones=line.head, channel_names=names)
        outcome = rpt_("{} speaks {} from frame {} to {}.").format(*values)
    if not line.strip:
        sound.add_strip(scene, armature, audio, frame_start)
    elif any(strip.name == line.strip for strip in compat.list_strips(scene)):
        sound.assign_strip(scene, armature, sound.find_strip(scene, line.strip))
    takes.extend_scene_range(scene, int(frames[-1]))
    return outcome


def missing_input(form: SceneSettings) -> str:
    """Return what the sidebar's form still lacks, as a sentence to translate; empty when it lacks nothing."""
    return "" if form.line.audio or form.line.strip else n_("Choose a sound")


class PORTRAIT_ACTOR_OT_speak(LineForm, ActorJobOperator, bpy.types.Operator):
    """Let the actor speak a sound file or a strip: makes curves that you can edit, and adds the sound"""

    bl_idname = "portrait_actor.speak"
    bl_label = "Speak"

    frame_start: IntProperty(
        name="First Frame",
        description="The scene frame where a sound file begins; a strip is spoken where it lies",
        default=1,
        subtype="TIME",
    )
    actor: StringProperty(
        name="Actor", description="The armature's name; empty uses the selected actor", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        scene = rna.get_scene(context)
        line = rna.get_scene_settings(scene).line
        fill_unset_properties(self, frame_start=scene.frame_current, **vars(copy_values(line, LINE_PROPERTIES)))
        return self.execute(context)

    def run(self, context: bpy.types.Context) -> OperatorResult:
        return self.watch_job(start_job(context, self, self.frame_start, self.actor))


CLASSES = (PORTRAIT_ACTOR_OT_speak,)
