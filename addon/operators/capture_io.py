"""Import Capture and Export Capture: performances of other programs as takes, and the actor's for them."""

from pathlib import Path

import bpy

from .. import rna
from ..contract import errors, live_link, performance
from ..scene import sampling, scene_actor, takes
from ..scene.compat import BLEND_RELATIVE
from ..translations import rpt_
from ..translations.props import BoolProperty, FloatProperty, IntProperty, StringProperty
from .operator_base import ActorOperator, OperatorResult, absolute_path, fill_unset_properties, require_file

CAPTURE_FILE_GLOB = "*.csv;*.npz"


def add_capture_take(
    scene: bpy.types.Scene,
    actor: scene_actor.SceneActor,
    file: Path,
    table: performance.Performance,
    frame_start: int,
    *,
    should_key_bones: bool,
) -> str:
    """Key a performance that came from a file as a new take. Return one sentence for the artist."""
    frames = takes.scene_frames(table, scene, 0)
    frames += frame_start - frames[0]
    takes.add_take(
        f"{actor.name} {file.stem}", actor.armature, actor.face, table, frames, should_key_bones=should_key_bones
    )
    takes.extend_scene_range(scene, int(frames[-1]))
    text = rpt_("{} plays {} from frame {} to {}.")
    return text.format(actor.name, file.name, frame_start, int(frames[-1]))


class CaptureFileOperator(ActorOperator):
    """Base of both operators, with their common properties."""

    filepath: StringProperty(
        name="File", description="The .csv or .npz on disk", subtype="FILE_PATH", options=BLEND_RELATIVE
    )
    filter_glob: StringProperty(default=CAPTURE_FILE_GLOB, options={"HIDDEN", "SKIP_SAVE"})
    actor: StringProperty(
        name="Actor", description="The armature's name; empty uses the selected actor", options={"SKIP_SAVE"}
    )
    flip_yaw: BoolProperty(name="Flip Yaw", description="The file counts turns to the actor's right as positive")
    flip_pitch: BoolProperty(name="Flip Pitch", description="The file counts upward nods as positive")
    flip_roll: BoolProperty(name="Flip Roll", description="The file counts tilts to the left shoulder as positive")

    def rotation_signs(self) -> tuple[int, int, int]:
        """Return 1, or −1 where the file counts the other way, for yaw, pitch and roll."""
        yaw, pitch, roll = (-1 if flip else 1 for flip in (self.flip_yaw, self.flip_pitch, self.flip_roll))
        return yaw, pitch, roll

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        rna.get_window_manager().fileselect_add(self)
        return {"RUNNING_MODAL"}


class PORTRAIT_ACTOR_OT_import_capture(CaptureFileOperator, bpy.types.Operator):
    """Read a performance as a new take: a capture of Live Link Face (.csv) or a saved performance (.npz)"""

    bl_idname = "portrait_actor.import_capture"
    bl_label = "Import Capture"
    bl_options = {"REGISTER", "UNDO", "PRESET"}

    frame_start: IntProperty(
        name="First Frame", description="The scene frame where the performance begins", default=1, subtype="TIME"
    )
    head: BoolProperty(
        name="Head Motion", description="Key the head too; otherwise it keeps its own take", default=True
    )
    use_neutral: BoolProperty(
        name="Take Out Neutral", description="Subtract the relaxed face that the capture shows once"
    )
    neutral: FloatProperty(
        name="Neutral At", description="Second of the capture with the relaxed face", min=0, subtype="TIME_ABSOLUTE"
    )
    capture_fps: FloatProperty(
        name="Capture Rate",
        description="Frames per second of its timecodes; 0 derives the rate from them",
        min=0,
        max=1000,
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        fill_unset_properties(self, frame_start=rna.get_scene(context).frame_current)
        return super().invoke(context, event)

    def run(self, context: bpy.types.Context) -> OperatorResult:
        found = scene_actor.require_actor(context, self.actor)
        found.check_editable()
        file = require_file(self.filepath, "capture")
        table = self._read_performance(file)
        scene = rna.get_scene(context)
        outcome = add_capture_take(scene, found, file, table, self.frame_start, should_key_bones=self.head)
        self.report({"INFO"}, outcome)
        return {"FINISHED"}

    def _read_performance(self, file: Path) -> performance.Performance:
        if file.suffix.lower() == ".npz":
            return performance.Performance.load(file)
        options = live_link.CaptureOptions(
            capture_fps=self.capture_fps or None,
            signs=self.rotation_signs(),
            neutral_seconds=self.neutral if self.use_neutral else None,
            has_head_motion=self.head,
        )
        return live_link.read_live_link(file, options)


class PORTRAIT_ACTOR_OT_export_capture(CaptureFileOperator, bpy.types.Operator):
    """Write the actor's performance in the frame range as a Live Link Face capture (.csv) or as a performance (.npz)"""

    bl_idname = "portrait_actor.export_capture"
    bl_label = "Export Capture"
    bl_options = {"REGISTER", "PRESET"}

    check_existing: BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        if not self.filepath:
            self.filepath = f"{scene_actor.require_actor(context).name}.csv"
        return super().invoke(context, event)

    def run(self, context: bpy.types.Context) -> OperatorResult:
        found, scene = scene_actor.require_actor(context, self.actor), rna.get_scene(context)
        if not self.filepath:
            raise errors.UserError("missing_file", "No file was named.", "Name a .csv or an .npz.")
        file = Path(absolute_path(self.filepath))
        file = file if file.suffix.lower() in (".csv", ".npz") else file.with_name(file.name + ".csv")
        frames = range(scene.frame_start, scene.frame_end + 1)
        table = sampling.sample_performance(scene, rna.get_view_layer(context), found.armature, found.face, frames)
        if file.suffix.lower() == ".npz":
            table.save(file)
        else:
            live_link.write_live_link(table, file, self.rotation_signs())
        self.report({"INFO"}, rpt_("{} frames of {} are in {}.").format(len(table), found.name, file))
        return {"FINISHED"}


CLASSES = (PORTRAIT_ACTOR_OT_import_capture, PORTRAIT_ACTOR_OT_export_capture)
