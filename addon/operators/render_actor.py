"""Render Actor: renders the performance through the scene's camera and places the frames in the scene."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .. import rna
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
    OperatorResult,
    absolute_path,
    backend_command,
    choose_device,
    fill_unset_properties,
    push_undo,
)

SCENE_RANGE = -(2**31)  # value of the operator's frame numbers that stands for the scene's range
DEFAULT_BLUR_SAMPLES = 8  # more samples make motion blur smoother and the render longer; not tuned


@dataclass(frozen=True)
class RenderRequest:
    """The settings of Render Actor.

    Attributes:
        output: folder for the files; `//` is the .blend's.
        file_format: "exr", "png" or "mp4".
        frame_start: first frame; None: the scene's.
        frame_end: last frame, inclusive; None: the scene's.
        placement: "compositor", "card" or "none"; a film (mp4) is not placed.
        actor: name of the armature; empty: the actor in use.
        device: "auto", "cpu" or "cuda"; empty: the preferences'.
        frame_step: distance between rendered frames; None: the scene's.
        blur_samples: samples per frame while the shutter is open, where the scene has motion blur.
        vectors: whether EXR frames get a Vector pass; not with motion blur.
        chunk: maximum count of frame numbers in the range; 0: no limit.
        actor_folder: the actor's folder on this machine; empty: as the scene says.
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
    """Sample the animation now and start the job, so that the scene may be changed while it renders.

    Raises:
        UserError: there is no actor or usable camera, the output cannot be written, the backend is not set up, or
            another job runs.
    """
    scene = rna.get_scene(context)
    actor = scene_actor.require_actor(context, request.actor)
    frames = requested_frames(scene, request)
    offsets = sample_offsets(scene, request)
    source = _open_actor_folder(actor, request).path
    output = make_output_folder(request.output)
    environment.require_python()
    layer = rna.get_view_layer(context)
    table, view = sampling.sample_frames(scene, layer, actor.armature, actor.face, frames, offsets)
    folder = environment.make_job_folder("render")
    table.save(folder / "performance.npz")
    view.save(folder / "camera.json")
    target, title = JobTarget.from_context(context, actor.armature), iface_("Render {}").format(actor.name)
    animation = card.CardAnimation.from_camera(table, view, frames, len(offsets))
    background = _measure_background(source) if request.placement == "compositor" else compositing.FootageBackground()

    def finish(data: dict[str, Any]) -> str:
        outcome = _place_frames(target, data, request, animation, background)
        push_undo(title)
        return outcome

    arguments = [str(source), str(folder / "performance.npz"), "--camera", str(folder / "camera.json")]
    arguments += ["--out", str(output), "--name", bpy.path.clean_name(actor.name), "--format", request.file_format]
    arguments += ["--device", choose_device(request.device)]
    if request.vectors:
        arguments.append("--vectors")
    else:
        arguments += ["--blur", str(len(offsets))]
    if request.file_format == "mp4":
        track = sound.mixdown(scene, frames[0], frames[-1] + frames.step - 1, folder / "sound.wav")
        arguments += ["--sound", str(track)] if track else []
    return job.start_job(job.JobRequest(title, backend_command("render", *arguments), folder, finish))


def find_placed_render(scene: bpy.types.Scene, actor: scene_actor.SceneActor) -> tuple[RenderRequest, Path] | None:
    """Return a request that renders the frames of an actor in the scene again, for the scene's present range.

    Returns:
        the request and one of the files that the scene shows; None when the scene shows none.
    """
    files = {"compositor": compositing.find_frame_file(scene, actor.armature), "card": card.find_frame_file(actor)}
    settings = rna.get_actor_settings(actor.armature)
    for placement, file in files.items():
        if file is not None and file.suffix.lower() in (".exr", ".png"):
            vectors = settings.rendered_vectors and not scene.render.use_motion_blur
            request = RenderRequest(
                output=str(file.parent),
                file_format=file.suffix[1:].lower(),
                placement=placement,
                actor=actor.name,
                blur_samples=settings.rendered_blur,
                vectors=vectors,
            )
            return request, file
    return None


def _open_actor_folder(actor: scene_actor.SceneActor, request: RenderRequest) -> contract_actor.ActorFolder:
    if request.actor_folder:
        return contract_actor.ActorFolder.open(Path(absolute_path(request.actor_folder)))
    return actor.folder()


def requested_frames(scene: bpy.types.Scene, request: RenderRequest) -> range:
    """Return the frames to render.

    Raises:
        UserError: the range is empty.
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
    """Return the times at which a frame is sampled, in frames from its own time.

    Raises:
        UserError: the request has vectors, and the scene motion blur.
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
    """Return whether the sidebar's form asks for a Vector pass and for frames that can have one."""
    form = rna.get_scene_settings(scene)
    return bool(form.vectors) and form.file_format == "exr" and not scene.render.use_motion_blur


def make_output_folder(path: str) -> Path:
    """Return the chosen folder, made if it does not exist.

    Raises:
        UserError: none was chosen, or it cannot be made.
    """
    if not path:
        raise errors.UserError("no_output", "No output folder was chosen.", "Choose a folder.")
    folder = Path(absolute_path(path))
    atomic_write.make_folder(folder)
    return folder


def _measure_background(folder: Path) -> compositing.FootageBackground:
    """Return the mean scene-linear color of the footage behind the person."""
    plate = folder / "plate.png"
    if not safe_io.is_accessible_file(plate):
        return compositing.FootageBackground()
    image: Any = bpy.data.images.load(str(plate))
    try:
        pixels = np.empty(4 * image.size[0] * image.size[1], np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    pixels = pixels.reshape(-1, 4)
    if not pixels[:, 3].any():
        return compositing.FootageBackground()
    # sRGB decoded without its linear part near black, where a mean does not notice the difference.
    red, green, blue = np.average(((pixels[:, :3] + 0.055) / 1.055) ** 2.4, axis=0, weights=pixels[:, 3])
    return compositing.FootageBackground((float(red), float(green), float(blue)))


def _place_frames(
    target: JobTarget,
    data: dict[str, Any],
    request: RenderRequest,
    card_animation: card.CardAnimation,
    background: compositing.FootageBackground,
) -> str:
    """Put the result of `backend render` into the scene. Return one sentence for the artist."""
    if request.file_format == "mp4":
        return rpt_("The film is {}.").format(data["file"])
    sequence = compositing.FrameSequence(Path(data["folder"]), data["pattern"], data["first"], data["last"])
    counted = data["count"], sequence.folder
    scene, actor = target.find_scene(), scene_actor.actor_from_armature(target.find_armature())
    if request.placement == "none" or scene is None or actor is None:
        return rpt_("{} frames are in {}.").format(*counted)
    if sequence.first_frame < 0:
        text = rpt_("{} frames are in {}; Blender cannot show image sequences with negative frame numbers.")
        return text.format(*counted)
    settings = rna.get_actor_settings(actor.armature)
    settings.rendered_blur, settings.rendered_vectors = request.blur_samples, request.vectors
    if request.placement == "card":
        card.place_frames(actor, scene, sequence, card_animation)
        compositing.set_muted(scene, actor.armature, is_muted=True)
        return rpt_("{} frames are in {} and on a card in the scene.").format(*counted)
    compositing.place_frames(scene, actor.armature, sequence, background)
    card.set_visible(actor, is_visible=False)
    return rpt_("{} frames are in {} and over the scene in the compositor.").format(*counted)


class PORTRAIT_ACTOR_OT_render_actor(RenderForm, ActorJobOperator, bpy.types.Operator):
    """Render the actor through the scene's camera, and place the frames in the compositor"""

    bl_idname = "portrait_actor.render_actor"
    bl_label = "Render Actor"

    frame_start: IntProperty(
        name="First Frame", description="The scene's if not set", default=SCENE_RANGE, subtype="TIME"
    )
    frame_end: IntProperty(name="Last Frame", description="The scene's if not set", default=SCENE_RANGE, subtype="TIME")
    frame_step: IntProperty(
        name="Step",
        description="Distance between rendered frames; 0 uses the scene's",
        default=0,
        min=0,
        subtype="TIME",
    )
    actor: StringProperty(
        name="Actor", description="The armature's name; empty uses the selected actor", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        scene = rna.get_scene(context)
        form = copy_values(rna.get_scene_settings(scene), RENDER_PROPERTIES)
        form.vectors = should_render_vectors(scene)
        fill_unset_properties(self, frame_start=scene.frame_start, frame_end=scene.frame_end, **vars(form))
        return self.execute(context)

    def run(self, context: bpy.types.Context) -> OperatorResult:
        first, last = (None if f == SCENE_RANGE else f for f in (self.frame_start, self.frame_end))
        request = RenderRequest(
            output=self.output,
            file_format=self.file_format,
            frame_start=first,
            frame_end=last,
            placement=self.placement,
            actor=self.actor,
            frame_step=self.frame_step or None,
            blur_samples=self.blur_samples,
            vectors=self.vectors,
        )
        return self.watch_job(start_job(context, request))


CLASSES = (PORTRAIT_ACTOR_OT_render_actor,)
