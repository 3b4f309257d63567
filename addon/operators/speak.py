"""Speak: a sound becomes curves on the actor's channels, as a new take or in a stretch of the take in use."""

from pathlib import Path
from typing import Any

import bpy

from ..contract import channels, errors, performance
from ..jobs import environment, job
from ..properties import LINE, Line, values_of
from ..scene import compat, scene_actor, sound, takes
from ..translations import iface_, n_, rpt_
from ..translations.props import IntProperty, StringProperty
from .operator_base import ActorJobVerb, Place, existing_file, fill_in, push_undo, start_backend


def start(context: bpy.types.Context, wish: Any, frame_start: int = 1, actor: str = "") -> job.Job:
    """Starts the job; the take and the sound come into the scene when it is finished.

    Args:
        wish: has the attributes of `properties.Line`.
        frame_start: the scene frame where a sound file begins; a strip begins where it lies.
        actor: name of the armature; empty: the actor that the artist means.

    Raises:
        UserError: there is no actor that can be keyed, no sound or no take to speak into, the backend is not set up, or
            another job runs.
    """
    line, scene = values_of(wish, LINE), context.scene
    speaker = scene_actor.require(context, actor)
    speaker.check_editable()
    folder = environment.job_folder("speak")
    if line.strip:
        strip = sound.find(scene, line.strip)
        frame_start = round(compat.strip_span(strip)[0])
    if line.into_take:
        takes.check_in_use(speaker.armature, speaker.face, rigid=line.head)
    audio = heard(context, line, folder)
    table = folder / "performance.npz"
    place, title = Place.of(context, speaker.armature), iface_("Speak {}").format(audio.stem)

    def finish(data: dict[str, Any]) -> str:
        outcome = _apply(place, table, audio, line, frame_start)
        push_undo(title)
        return outcome

    arguments = [str(speaker.folder().path), str(audio), str(table), "--fps", f"{takes.scene_fps(scene):.6f}"]
    arguments += ["--first-frame", str(frame_start), "--seed", str(line.seed), *mouth_options(line)]
    for part in ("brows", "head", "blink"):
        arguments += [f"--{part}", f"{getattr(line, f'{part}_strength'):.4f}"]
    return start_backend(title, "speak", arguments, folder, finish)


def heard(context: bpy.types.Context, line: Any, folder: Path) -> Path:
    """The sound file of a line; what a strip sounds like is written into `folder`.

    Raises:
        UserError: there is none.
    """
    if not line.strip:
        return existing_file(line.audio, "sound")
    strip = sound.find(context.scene, line.strip)
    return sound.bounce(context.scene, strip, folder / f"{bpy.path.clean_name(strip.name)}.wav")


def mouth_options(line: Any) -> list[str]:
    """The backend's options for how a mouth speaks."""
    options = ["--smoothing", f"{line.smoothing:.4f}", "--lips", f"{line.lips_strength:.4f}"]
    if line.use_style:
        options += ["--style", f"{line.style_start:.3f}-{line.style_end:.3f}"]
    return options


def _apply(place: Place, file: Path, audio: Path, line: Any, frame_start: int) -> str:
    scene, speaker = place.find_scene(), scene_actor.of(place.find_actor())
    if scene is None or speaker is None:
        raise errors.UserError(
            "no_actor_in_scene", "The actor that should speak is not in the file any more.", "Speak again."
        )
    table = performance.Performance.load(file)
    armature, face = speaker.armature, speaker.face
    names = channels.CHANNELS if line.blink else channels.ORAL
    frames = table.frames.astype(float)  # the backend was told the scene's rate and first frame
    said = armature.name, line.strip or audio.name, frame_start, int(frames[-1])
    if line.into_take:
        take = takes.put_into_take(armature, face, table, frames, rigid=line.head, names=names)
        told = rpt_("{} speaks {} from frame {} to {}, in {}: its keys before and after are as they were.")
        told = told.format(*said, take)
    else:
        name = f"{armature.name} {line.strip or audio.stem}"
        takes.add_take(name, armature, face, table, frames, rigid=line.head, names=names)
        told = rpt_("{} speaks {} from frame {} to {}.").format(*said)
    if not line.strip:
        sound.add(scene, armature, audio, frame_start)
    elif any(strip.name == line.strip for strip in compat.existing_strips(scene)):
        sound.claim(scene, armature, sound.find(scene, line.strip))
    scene.frame_end = max(scene.frame_end, int(frames[-1]))
    scene.frame_set(scene.frame_current)
    return told


def missing(form: bpy.types.PropertyGroup) -> str:
    """Why the sidebar's form has nothing to say yet, or nothing."""
    return "" if form.line.audio or form.line.strip else n_("Choose a sound")


class PORTRAIT_ACTOR_OT_speak(Line, ActorJobVerb, bpy.types.Operator):
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
        name="Actor", description="The armature's name; empty takes the selected actor", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        line = context.scene.portrait_actor.line
        fill_in(self, frame_start=context.scene.frame_current, **vars(values_of(line, LINE)))
        return self.execute(context)

    def act(self, context: bpy.types.Context) -> set[str]:
        return self.follow(start(context, self, self.frame_start, self.actor))


CLASSES = (PORTRAIT_ACTOR_OT_speak,)
