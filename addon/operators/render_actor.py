"""Render Actor: the performance through the scene's camera becomes image files, over the scene in the compositor."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ..contract import actor, protocol
from ..jobs import environment, job
from ..properties import FORMATS
from ..scene import actor as scene_actor
from ..scene import compositing, sampling, sound
from ..scene.versions import BLEND_RELATIVE
from .verb import JobVerb, Place, absolute, push_undo, start_backend

WHOLE_RANGE = -(2**31)  # of the operator's frame numbers: take the scene's


@dataclass(frozen=True)
class RenderRequest:
    """Everything that Render Actor needs.

    Attributes:
        output: folder for the files; `//` is the .blend's.
        file_format: "exr", "png" or "mp4".
        frame_start, frame_end: the range, inclusive; None takes the scene's.
        composite: wire the frames into the compositor (not for mp4).
        actor: name of the armature; empty: the actor that the artist means.
        device: "auto", "cpu" or "cuda"; empty: the preferences'.
    """

    output: str
    file_format: str = "exr"
    frame_start: int | None = None
    frame_end: int | None = None
    composite: bool = True
    actor: str = ""
    device: str = ""


def start(context: bpy.types.Context, request: RenderRequest) -> job.Job:
    """Reads the animation now and starts the job, so the scene may be changed while it renders.

    Raises:
        UserError: there is no actor or usable camera, the output cannot be written, the backend is not set up, or
            another job runs.
    """
    scene = context.scene
    shown = scene_actor.require(context, request.actor)
    first = scene.frame_start if request.frame_start is None else request.frame_start
    last = scene.frame_end if request.frame_end is None else request.frame_end
    if last < first:
        raise protocol.UserError(
            "empty_range", f"Frames {first} to {last} are no range.", "Let the last frame come after the first."
        )
    source = shown.folder().path
    output = _output_folder(request.output)
    environment.require_python()
    table, view = sampling.sample(scene, context.view_layer, shown.armature, shown.face, range(first, last + 1))
    folder = environment.job_folder("render")
    table.save(folder / "performance.npz")
    view.save(folder / "camera.json")
    place = Place.of(context, shown.armature)

    def finish(data: dict[str, Any]) -> str:
        outcome = _show(place, data, request)
        push_undo(f"Render {shown.name}")
        return outcome

    arguments = [str(source), str(folder / "performance.npz"), "--camera", str(folder / "camera.json")]
    arguments += ["--out", str(output), "--name", bpy.path.clean_name(shown.name), "--format", request.file_format]
    arguments += ["--device", request.device or environment.preferences().device]
    if request.file_format == "mp4" and (track := sound.mixdown(scene, first, last, folder / "sound.wav")):
        arguments += ["--sound", str(track)]
    return start_backend(f"Render {shown.name}", "render", arguments, folder, finish)


def _output_folder(path: str) -> Path:
    if not path:
        raise protocol.UserError("no_output", "No output folder was chosen.", "Choose a folder.")
    folder = Path(absolute(path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise actor.write_error(folder, error) from error
    return folder


def _show(place: Place, data: dict[str, Any], request: RenderRequest) -> str:
    """Puts the result of `backend render` into the compositor. Returns one sentence for the person."""
    if request.file_format == "mp4":
        return f"The film is {data['file']}."
    sequence = compositing.Sequence(Path(data["folder"]), data["pattern"], data["first"], data["last"])
    told = f"{data['count']} frames are in {sequence.folder}"
    scene, armature = place.find_scene(), place.find_actor()
    if not request.composite or scene is None or armature is None:
        return f"{told}."
    if sequence.first < 0:
        return f"{told}; Blender cannot show image sequences with negative frame numbers."
    compositing.place(scene, armature, sequence)
    return f"{told} and over the scene in the compositor."


class PORTRAIT_ACTOR_OT_render_actor(JobVerb, bpy.types.Operator):
    """Render the actor through the scene's camera, and place the frames in the compositor"""

    bl_idname = "portrait_actor.render_actor"
    bl_label = "Render Actor"

    output: StringProperty(name="Output", subtype="DIR_PATH", default="//actor_render/", options=BLEND_RELATIVE)
    file_format: EnumProperty(name="Format", items=FORMATS, default="exr")
    frame_start: IntProperty(name="First Frame", description="The scene's, when not set", default=WHOLE_RANGE)
    frame_end: IntProperty(name="Last Frame", description="The scene's, when not set", default=WHOLE_RANGE)
    composite: BoolProperty(name="Place in Compositor", default=True)
    actor: StringProperty(name="Actor", description="The armature's name; empty takes the active actor")

    def act(self, context: bpy.types.Context) -> set[str]:
        first, last = (None if f == WHOLE_RANGE else f for f in (self.frame_start, self.frame_end))
        request = RenderRequest(self.output, self.file_format, first, last, self.composite, self.actor)
        return self.follow(start(context, request))


CLASSES = (PORTRAIT_ACTOR_OT_render_actor,)
