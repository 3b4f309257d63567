"""Render Actor: the performance through the scene's camera becomes image files, over the scene in the compositor."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..contract import actor_folder as contract_actor
from ..contract import atomic_write, errors, safe_io
from ..jobs import environment, job
from ..properties import RENDER_PROPERTIES, RenderForm, copy_values
from ..scene import card, compositing, sampling, scene_actor, sound
from ..translations import iface_, rpt_
from ..translations.props import IntProperty, StringProperty
from .operator_base import (
    ActorJobOperator,
    JobTarget,
    absolute_path,
    fill_unset_properties,
    push_undo,
    start_backend_job,
)

SCENE_RANGE = -(2**31)  # of the operator's frame numbers: take the scene's
DEFAULT_BLUR_SAMPLES = 8


@dataclass(frozen=True)
class RenderRequest:
    """Everything that Render Actor needs.

    Attributes:
        output: folder for the files; `//` is the .blend's.
        file_format: "exr", "png" or "mp4".
        frame_start, frame_end: the range, inclusive; None takes the scene's.
        placement: "compositor", "card" or "none"; a film (mp4) is not placed.
        actor: name of the armature; empty: the actor that the artist means.
        device: "auto", "cpu" or "cuda"; empty: the preferences'.
        frame_step: every how many frames; None takes the scene's.
        blur_samples: moments that a frame is the mean of, where the scene has motion blur.
        vectors: EXR frames have a Vector pass; not with motion blur.
        chunk: render no more than so many frame numbers of the range; 0: all of them.
        actor_folder: where the actor's folder is on this machine; empty: where the scene says.
    """

    output: str
    file_format: str = "exr"
    frame_start: int | None = None
    frame_end: int | None = None
    placement: str = "compositor"
    actor: str = ""
    device: str = ""
    frame_step: int | None = None
    blur_samples: int = DEFAULT_BLUR_SAMPLES
    vectors: bool = False
    chunk: int = 0
    actor_folder: str = ""


def start_job(context: bpy.types.Context, request: RenderRequest) -> job.Job:
    """Reads the animation now and starts the job, so the scene may be changed while it renders.

    Raises:
        UserError: there is no actor or usable camera, the output cannot be written, the backend is not set up, or
            another job runs.
    """
    scene = context.scene
    shown = scene_actor.require_actor(context, request.actor)
    frames = requested_frames(scene, request)
    moments = sample_offsets(scene, request)
    source = _open_actor_folder(shown, request).path
    output = make_output_folder(request.output)
    environment.require_python()
    table, view = sampling.sample_frames(scene, context.view_layer, shown.armature, shown.face, frames, moments)
    folder = environment.make_job_folder("render")
    table.save(folder / "performance.npz")
    view.save(folder / "camera.json")
    place, title = JobTarget.from_context(context, shown.armature), iface_("Render {}").format(shown.name)
    where = card.CardAnimation.from_camera(table, view, frames, len(moments))
    background = _measure_background(source) if request.placement == "compositor" else compositing.FootageBackground()

    def finish(data: dict[str, Any]) -> str:
        outcome = _place_frames(place, data, request, where, background)
        push_undo(title)
        return outcome

    arguments = [str(source), str(folder / "performance.npz"), "--camera", str(folder / "camera.json")]
    arguments += ["--out", str(output), "--name", bpy.path.clean_name(shown.name), "--format", request.file_format]
    arguments += ["--device", request.device or environment.preferences().device]
    if request.vectors:
        arguments.append("--vectors")
    else:
        arguments += ["--blur", str(len(moments))]
    if request.file_format == "mp4":
        track = sound.mixdown(scene, frames[0], frames[-1] + frames.step - 1, folder / "sound.wav")
        arguments += ["--sound", str(track)] if track else []
    return start_backend_job(title, "render", arguments, folder, finish)


def find_placed_render(scene: bpy.types.Scene, actor: scene_actor.SceneActor) -> tuple[RenderRequest, Path] | None:
    """What was asked for when the frames were rendered that the scene shows of an actor, for the scene's range now, and
    one of those files; None where it shows none.
    """
    places = {"compositor": compositing.find_frame_file(scene, actor.armature), "card": card.find_frame_file(actor)}
    settings = actor.armature.portrait_actor
    for placement, file in places.items():
        if file is not None and file.suffix.lower() in (".exr", ".png"):
            vectors = settings.rendered_vectors and not scene.render.use_motion_blur
            request = RenderRequest(
                str(file.parent), file.suffix[1:].lower(), placement=placement, actor=actor.name,
                blur_samples=settings.rendered_blur, vectors=vectors,
            )  # fmt: skip
            return request, file
    return None


def _open_actor_folder(actor: scene_actor.SceneActor, request: RenderRequest) -> contract_actor.ActorFolder:
    if request.actor_folder:
        return contract_actor.ActorFolder.open(Path(absolute_path(request.actor_folder)))
    return actor.folder()


def requested_frames(scene: bpy.types.Scene, request: RenderRequest) -> range:
    """The frames that are asked for.

    Raises:
        UserError: there are none.
    """
    first = scene.frame_start if request.frame_start is None else request.frame_start
    last = scene.frame_end if request.frame_end is None else request.frame_end
    if last < first:
        raise errors.UserError(
            "empty_range", f"Frames {first} to {last} are no range.", "Let the last frame come after the first."
        )
    if request.chunk > 0:
        last = min(last, first + request.chunk - 1)
    return range(first, last + 1, request.frame_step or scene.frame_step)


def sample_offsets(scene: bpy.types.Scene, request: RenderRequest) -> tuple[float, ...]:
    """When each frame is looked at, in frames from its own time.

    Raises:
        UserError: vectors were asked for, and the scene has motion blur.
    """
    if not scene.render.use_motion_blur:
        return sampling.MOTION_VECTOR_OFFSETS if request.vectors else sampling.FRAME_OFFSETS
    if request.vectors:
        raise errors.UserError(
            "vectors_or_blur",
            "Frames with motion blur have no Vector pass: they would be blurred twice.",
            "Switch off the scene's motion blur, or the vectors.",
        )
    return sampling.shutter_offsets(scene, request.blur_samples)


def should_render_vectors(scene: bpy.types.Scene) -> bool:
    """Whether the sidebar's form asks for a Vector pass, and for frames that can have one."""
    form = scene.portrait_actor
    return form.vectors and form.file_format == "exr" and not scene.render.use_motion_blur


def make_output_folder(path: str) -> Path:
    """The folder that was chosen, made if it is not there.

    Raises:
        UserError: none was chosen, or it cannot be made.
    """
    if not path:
        raise errors.UserError("no_output", "No output folder was chosen.", "Choose a folder.")
    folder = Path(absolute_path(path))
    atomic_write.make_folder(folder)
    return folder


def _measure_background(folder: Path) -> compositing.FootageBackground:
    """The mean of what the footage shows behind the person."""
    plate = folder / "plate.png"
    if not safe_io.is_accessible_file(plate):
        return compositing.FootageBackground()
    image = bpy.data.images.load(str(plate))
    try:
        pixels = np.empty(4 * image.size[0] * image.size[1], np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    pixels = pixels.reshape(-1, 4)
    if not pixels[:, 3].any():
        return compositing.FootageBackground()
    red, green, blue = np.average(((pixels[:, :3] + 0.055) / 1.055) ** 2.4, axis=0, weights=pixels[:, 3])
    return compositing.FootageBackground((float(red), float(green), float(blue)))


def _place_frames(
    target: JobTarget,
    data: dict[str, Any],
    request: RenderRequest,
    card_animation: card.CardAnimation,
    background: compositing.FootageBackground,
) -> str:
    """Puts the result of `backend render` into the scene. Returns one sentence for the person."""
    if request.file_format == "mp4":
        return rpt_("The film is {}.").format(data["file"])
    sequence = compositing.FrameSequence(Path(data["folder"]), data["pattern"], data["first"], data["last"])
    written = data["count"], sequence.folder
    scene, shown = target.find_scene(), scene_actor.actor_from_armature(target.find_armature())
    if request.placement == "none" or scene is None or shown is None:
        return rpt_("{} frames are in {}.").format(*written)
    if sequence.first_frame < 0:
        told = rpt_("{} frames are in {}; Blender cannot show image sequences with negative frame numbers.")
        return told.format(*written)
    settings = shown.armature.portrait_actor
    settings.rendered_blur, settings.rendered_vectors = request.blur_samples, request.vectors
    if request.placement == "card":
        card.place_frames(shown, scene, sequence, card_animation)
        compositing.set_muted(scene, shown.armature, True)
        return rpt_("{} frames are in {} and on a card in the scene.").format(*written)
    compositing.place_frames(scene, shown.armature, sequence, background)
    card.set_visible(shown, False)
    return rpt_("{} frames are in {} and over the scene in the compositor.").format(*written)


class PORTRAIT_ACTOR_OT_render_actor(RenderForm, ActorJobOperator, bpy.types.Operator):
    """Render the actor through the scene's camera, and place the frames in the compositor"""

    bl_idname = "portrait_actor.render_actor"
    bl_label = "Render Actor"

    frame_start: IntProperty(
        name="First Frame", description="The scene's, when not set", default=SCENE_RANGE, subtype="TIME"
    )
    frame_end: IntProperty(
        name="Last Frame", description="The scene's, when not set", default=SCENE_RANGE, subtype="TIME"
    )
    frame_step: IntProperty(
        name="Step", description="Every how many frames; 0 takes the scene's", default=0, min=0, subtype="TIME"
    )
    actor: StringProperty(
        name="Actor", description="The armature's name; empty takes the selected actor", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        scene, form = context.scene, copy_values(context.scene.portrait_actor, RENDER_PROPERTIES)
        form.vectors = should_render_vectors(scene)
        fill_unset_properties(self, frame_start=scene.frame_start, frame_end=scene.frame_end, **vars(form))
        return self.execute(context)

    def run(self, context: bpy.types.Context) -> set[str]:
        first, last = (None if f == SCENE_RANGE else f for f in (self.frame_start, self.frame_end))
        request = RenderRequest(
            self.output, self.file_format, first, last, self.placement, self.actor, "", self.frame_step or None,
            self.blur_samples, self.vectors,
        )  # fmt: skip
        return self.watch_job(start_job(context, request))


CLASSES = (PORTRAIT_ACTOR_OT_render_actor,)
