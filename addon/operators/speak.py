"""Speak: a sound file becomes curves on the actor's channels, as a new take."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, FloatProperty, IntProperty, StringProperty

from ..contract import channels, performance, protocol
from ..jobs import environment, job
from ..properties import STRENGTH
from ..scene import actor as scene_actor
from ..scene import sound, takes
from ..scene.versions import BLEND_RELATIVE
from .verb import JobVerb, Place, existing_file, push_undo, start_backend


@dataclass(frozen=True)
class SpeakRequest:
    """Everything that Speak needs.

    Attributes:
        audio: the line to speak.
        frame_start: the scene frame where it begins.
        seed: another seed gives another reading.
        head: key head and torso motion too; else the armature keeps its own.
        blink: key the facial channels too; else only the oral ones are part of the take.
        actor: name of the armature; empty: the actor that the artist means.
        lips_strength, brows_strength, head_strength, blink_strength: 1 is the actor's own, 0 is still.
        style: seconds of the footage, from and to, whose manner the line has; None: all of it.
    """

    audio: str
    frame_start: int = 1
    seed: int = 0
    head: bool = True
    blink: bool = True
    actor: str = ""
    lips_strength: float = 1.0
    brows_strength: float = 1.0
    head_strength: float = 1.0
    blink_strength: float = 1.0
    style: tuple[float, float] | None = None


def start(context: bpy.types.Context, request: SpeakRequest) -> job.Job:
    """Starts the job; the take and the sound come into the scene when it is finished.

    Raises:
        UserError: there is no actor that can be keyed, or no sound, the backend is not set up, or another job runs.
    """
    speaker = scene_actor.require(context, request.actor)
    speaker.check_editable()
    audio = existing_file(request.audio, "sound")
    folder = environment.job_folder("speak")
    table = folder / "performance.npz"
    place = Place.of(context, speaker.armature)

    def finish(data: dict[str, Any]) -> str:
        outcome = _apply(place, table, audio, request)
        push_undo(f"Speak {audio.stem}")
        return outcome

    fps = takes.scene_fps(context.scene)
    arguments = [str(speaker.folder().path), str(audio), str(table), "--fps", f"{fps:.6f}"]
    arguments += ["--first-frame", str(request.frame_start), "--seed", str(request.seed)]
    for part in ("lips", "brows", "head", "blink"):
        arguments += [f"--{part}", f"{getattr(request, f'{part}_strength'):.4f}"]
    if request.style:
        arguments += ["--style", f"{request.style[0]:.3f}-{request.style[1]:.3f}"]
    return start_backend(f"Speak {audio.stem}", "speak", arguments, folder, finish)


def _apply(place: Place, table: Path, audio: Path, request: SpeakRequest) -> str:
    scene, speaker = place.find_scene(), scene_actor.of(place.find_actor())
    if scene is None or speaker is None:
        raise protocol.UserError(
            "no_actor_in_scene", "The actor that should speak is not in the file any more.", "Speak again."
        )
    armature, face = speaker.armature, speaker.face
    line = performance.Performance.load(table)
    names = channels.CHANNELS if request.blink else channels.ORAL
    frames = line.frames.astype(float)  # the backend was told the scene's rate and first frame
    takes.add_take(f"{armature.name} {audio.stem}", armature, face, line, frames, rigid=request.head, names=names)
    sound.add(scene, armature, audio, request.frame_start)
    scene.frame_end = max(scene.frame_end, int(line.frames[-1]))
    scene.frame_set(scene.frame_current)
    return f"{armature.name} speaks {audio.name} from frame {request.frame_start} to {int(line.frames[-1])}."


class PORTRAIT_ACTOR_OT_speak(JobVerb, bpy.types.Operator):
    """Let the actor speak a sound file: makes a new take with curves that you can edit, and adds the sound"""

    bl_idname = "portrait_actor.speak"
    bl_label = "Speak"

    audio: StringProperty(name="Sound", subtype="FILE_PATH", options=BLEND_RELATIVE)
    frame_start: IntProperty(name="First Frame", default=1)
    seed: IntProperty(name="Seed", min=0)
    head: BoolProperty(name="Head Motion", default=True)
    blink: BoolProperty(name="Blinks", default=True)
    actor: StringProperty(name="Actor", description="The armature's name; empty takes the active actor")
    lips_strength: FloatProperty(name="Lips", **STRENGTH)
    brows_strength: FloatProperty(name="Brows", **STRENGTH)
    head_strength: FloatProperty(name="Head", **STRENGTH)
    blink_strength: FloatProperty(name="Lids", **STRENGTH)
    use_style: BoolProperty(name="Style of a Part")
    style_start: FloatProperty(name="From", min=0)
    style_end: FloatProperty(name="To", min=0, default=5)

    def act(self, context: bpy.types.Context) -> set[str]:
        request = SpeakRequest(
            self.audio, self.frame_start, self.seed, self.head, self.blink, self.actor, self.lips_strength,
            self.brows_strength, self.head_strength, self.blink_strength,
            (self.style_start, self.style_end) if self.use_style else None,
        )  # fmt: skip
        return self.follow(start(context, request))


CLASSES = (PORTRAIT_ACTOR_OT_speak,)
