"""Import Actor: adds the actor of a finished actor folder to the scene."""

from pathlib import Path

import bpy

from .. import rna
from ..contract import actor_folder
from ..properties import MATCH_SCENE_OPTIONS
from ..scene import scene_actor
from ..scene.compat import BLEND_RELATIVE
from ..translations import rpt_
from ..translations.props import BoolProperty, IntProperty, StringProperty
from .operator_base import JobTarget, OperatorBase, OperatorResult, absolute_path, fill_unset_properties


def import_actor(context: bpy.types.Context, folder: Path, *, frame_start: int, match_scene: bool | None) -> str:
    """Add the actor of a folder to the context's scene. The mode and the object in edit stay as they are.

    Args:
        context: with the scene.
        folder: the actor's folder.
        frame_start: the scene frame where the footage begins.
        match_scene: whether the scene gets the footage's camera, size, rate and range; None: as
            `scene_actor.should_match_scene` decides.

    Returns:
        one or two sentences for the artist.

    Raises:
        UserError: the folder is not a finished actor.
    """
    opened = actor_folder.ActorFolder.open(folder)
    scene, view_layer = rna.get_scene(context), rna.get_view_layer(context)
    if match_scene is None:
        match_scene = scene_actor.should_match_scene(scene)
    objects = view_layer.objects
    edited = objects.active
    mode = edited.mode if edited else "OBJECT"
    if mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    try:
        actor = scene_actor.add_actor(scene, view_layer, opened, frame_start=frame_start, match_scene=match_scene)
    finally:
        if edited is not None and mode != "OBJECT":
            for selected in context.selected_objects:
                selected.select_set(False)
            edited.select_set(True)
            objects.active = edited
            bpy.ops.object.mode_set(mode=mode)
    outcome = rpt_("{} is in the scene.").format(actor.name)
    if match_scene:
        return outcome
    hint = rpt_("The scene keeps its settings; Match Scene sets the footage's camera, size and rate.")
    return f"{outcome} {hint}"


def import_into_target(target: JobTarget, folder: Path, *, frame_start: int, match_scene: bool | None) -> str:
    """Import at the end of a job into the scene where the job was started; see `import_actor`."""
    scene = target.find_scene()
    if scene is None:
        return rpt_("{} is ready. Import it: the scene where the job was started is not open.").format(folder.name)
    windows = rna.get_window_manager().windows
    window = next((w for w in windows if w.scene == scene), windows[0])
    scene_before = window.scene
    window.scene = scene  # making bones needs edit mode, and edit mode needs a window that shows the scene
    try:
        with bpy.context.temp_override(window=window):
            return import_actor(bpy.context, folder, frame_start=frame_start, match_scene=match_scene)
    finally:
        window.scene = scene_before


class PORTRAIT_ACTOR_OT_import_actor(OperatorBase, bpy.types.Operator):
    """Add an actor folder to the scene: rig, face, camera, the footage's performance and its sound"""

    bl_idname = "portrait_actor.import_actor"
    bl_label = "Import Actor"
    bl_options = {"REGISTER", "UNDO"}

    directory: StringProperty(
        name="Actor Folder", description="The .actor folder on disk", subtype="DIR_PATH", options=BLEND_RELATIVE
    )
    filter_folder: BoolProperty(default=True, options={"HIDDEN", "SKIP_SAVE"})
    frame_start: IntProperty(
        name="First Frame", description="The scene frame where the footage begins", default=1, subtype="TIME"
    )
    # SKIP_SAVE: a choice for one scene is no choice for the next.
    match_scene: BoolProperty(**MATCH_SCENE_OPTIONS, options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> OperatorResult:
        fill_unset_properties(self, match_scene=rna.get_scene_settings(rna.get_scene(context)).match_scene)
        rna.get_window_manager().fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: bpy.types.Context) -> OperatorResult:
        # Set the property, so that Adjust Last Operation (F9) shows what was done.
        fill_unset_properties(self, match_scene=scene_actor.should_match_scene(rna.get_scene(context)))
        outcome = import_actor(
            context, Path(absolute_path(self.directory)), frame_start=self.frame_start, match_scene=self.match_scene
        )
        self.report({"INFO"}, outcome)
        return {"FINISHED"}


CLASSES = (PORTRAIT_ACTOR_OT_import_actor,)
