"""Export Job: the shot as an Open Job Description bundle for a render farm."""

import json
import shutil
from pathlib import Path

import bpy

from .. import open_job_description, rna
from ..contract import actor_folder as contract_actor
from ..contract import atomic_write, errors
from ..properties import FORMAT_ITEMS
from ..scene import sampling, scene_actor
from ..scene.compat import BLEND_RELATIVE
from ..translations import rpt_
from ..translations.props import BoolProperty, EnumProperty, IntProperty, StringProperty
from .operator_base import ActorOperator, OperatorResult, fill_unset_properties, save_blend
from .render_actor import (
    DEFAULT_BLUR_SAMPLES,
    RenderRequest,
    make_output_folder,
    requested_frames,
    sample_offsets,
    should_render_vectors,
)

SCENE_FILE = "scene.blend"
MAX_JOB_NAME_LENGTH = 128  # letters, by the specification
SEQUENCE_FORMAT_ITEMS = [kind for kind in FORMAT_ITEMS if kind[0] != "mp4"]  # a film cannot be made in parts


def export_farm_job(context: bpy.types.Context, request: RenderRequest, frames_per_task: int = 10) -> Path:
    """Write the bundle and return its folder.

    Args:
        context: with the actor's scene.
        request: what the tasks render; its `output` is the bundle's folder, new or of an earlier export.
        frames_per_task: at least 1.

    Raises:
        UserError: there is no actor or camera, the actor's folder is incomplete, or the bundle cannot be written.
    """
    scene, actor = rna.get_scene(context), scene_actor.require_actor(context, request.actor)
    frames = requested_frames(scene, request)
    # Read the first frame as a task will, so that what cannot be rendered fails here and not in each task.
    layer, offsets = rna.get_view_layer(context), sample_offsets(scene, request)
    sampling.sample_frames(scene, layer, actor.armature, actor.face, frames[:1], offsets)
    folder, bundle = actor.folder(), _make_bundle_folder(request.output)
    target = bundle / f"{bpy.path.clean_name(actor.name)}{contract_actor.ACTOR_SUFFIX}"
    _copy_actor(folder, target)
    save_blend(bundle / SCENE_FILE, copy=True, relative_remap=True, compress=True)
    options = ("--vectors",) if request.vectors else ("--blur-samples", str(request.blur_samples))
    job = open_job_description.FarmJob(
        name=f"{actor.name}, {scene.name}"[:MAX_JOB_NAME_LENGTH],
        blend_file=SCENE_FILE,
        actor_folder=target.name,
        actor=actor.name,
        first_frame=frames[0],
        last_frame=frames[-1],
        frame_step=frames.step,
        frames_per_task=max(frames_per_task, 1),
        file_format=request.file_format,
        render_options=options,
    )
    text = json.dumps(open_job_description.job_template(job), indent=1, ensure_ascii=False)
    atomic_write.write_bytes_atomically(bundle / open_job_description.TEMPLATE_FILE, text.encode("utf-8"))
    return bundle


def _make_bundle_folder(output: str) -> Path:
    bundle = make_output_folder(output)
    if any(bundle.iterdir()) and not (bundle / open_job_description.TEMPLATE_FILE).exists():
        raise errors.UserError("not_a_job", f"{bundle} holds other files.", "Choose an empty folder.")
    return bundle


def _copy_actor(actor_folder: contract_actor.ActorFolder, target: Path) -> None:
    """Copy what a render machine needs: neither the footage nor the files of training."""
    atomic_write.make_folder(target)
    for name in contract_actor.RENDER_FILES:
        source = actor_folder.file_path(name)
        if not source.is_file():
            raise contract_actor.damaged_file_error(source)
        with atomic_write.write_atomically(target / name) as part:
            shutil.copyfile(source, part)


class PORTRAIT_ACTOR_OT_export_job(ActorOperator, bpy.types.Operator):
    """Write this shot as an Open Job Description bundle for render managers"""

    bl_idname = "portrait_actor.export_job"
    bl_label = "Export Farm Job"

    directory: StringProperty(
        name="Folder",
        description="For the bundle: an empty folder, or one of an earlier export",
        subtype="DIR_PATH",
        options=BLEND_RELATIVE,
    )
    filter_folder: BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})
    chunk: IntProperty(
        name="Frames per Task",
        description="Frames that a machine renders in one task",
        default=10,
        min=1,
        soft_max=500,
    )
    file_format: EnumProperty(
        name="Format", description="File format of the rendered frames", items=SEQUENCE_FORMAT_ITEMS, default="exr"
    )
    blur_samples: IntProperty(
        name="Blur Samples",
        description="Samples per frame while the shutter is open; each takes as long as a frame without blur",
        default=DEFAULT_BLUR_SAMPLES,
        min=1,
        max=256,
        soft_max=32,
    )
    vectors: BoolProperty(
        name="Vector Pass", description="How far each pixel moves, for motion blur in the compositor; OpenEXR only"
    )
    actor: StringProperty(
        name="Actor", description="The armature's name; empty uses the selected actor", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        scene = rna.get_scene(context)
        form = rna.get_scene_settings(scene)
        fill_unset_properties(self, blur_samples=form.blur_samples, vectors=should_render_vectors(scene))
        if form.file_format != "mp4":
            fill_unset_properties(self, file_format=form.file_format)
        rna.get_window_manager().fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: bpy.types.Context) -> OperatorResult:
        request = RenderRequest(
            output=self.directory,
            file_format=self.file_format,
            actor=self.actor,
            blur_samples=self.blur_samples,
            vectors=self.vectors,
        )
        bundle = export_farm_job(context, request, self.chunk)
        self.report({"INFO"}, rpt_("The job is in {}.").format(bundle))
        return {"FINISHED"}


CLASSES = (PORTRAIT_ACTOR_OT_export_job,)
