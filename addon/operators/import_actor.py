"""Import Actor: a finished actor folder comes into the scene."""

from pathlib import Path

import bpy

from ..contract import actor_folder
from ..properties import MATCH_SCENE_OPTIONS
from ..scene import scene_actor
from ..scene.compat import BLEND_RELATIVE
from ..translations import iface_, rpt_
from ..translations.props import BoolProperty, IntProperty, StringProperty
from .operator_base import JobTarget, OperatorBase, absolute_path, fill_unset_properties


def import_actor(context: bpy.types.Context, folder: Path, *, frame_start: int, match_scene: bool | None) -> str:
    """Puts the actor of a folder into the context's scene. Who edits or sculpts something goes on with it afterwards.

    Args:
        match_scene: whether the scene takes the footage's camera, size, rate and range; None: where it is expected.

    Returns:
        what has happened, for the person.

    Raises:
        UserError: the folder is not a finished actor.
    """
    opened = actor_folder.ActorFolder.open(folder)
    if match_scene is None:
        match_scene = scene_actor.should_match_scene(context.scene)
    objects = context.view_layer.objects
    edited = objects.active
    mode = edited.mode if edited else "OBJECT"
    if mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    try:
        made = scene_actor.add_actor(
            context.scene, context.view_layer, opened, frame_start=frame_start, match_scene=match_scene
        )
    finally:
        if mode != "OBJECT":
            for thing in context.selected_objects:
                thing.select_set(False)
            edited.select_set(True)
            objects.active = edited
            bpy.ops.object.mode_set(mode=mode)
    told = rpt_("{} is in the scene.").format(made.name)
    if match_scene:
        return told
    kept = rpt_("The scene keeps its settings; Match Scene sets the footage's camera, size and rate.")
    return f"{told} {kept}"


def import_into_target(target: JobTarget, folder: Path, *, frame_start: int, match_scene: bool | None) -> str:
    """Imports at the end of a job, into the scene where it was started; see `import_actor`."""
    scene = target.find_scene()
    if scene is None:
        return rpt_("{} is ready. Import it: the scene where it was begun is not open.").format(folder.name)
    windows = bpy.context.window_manager.windows
    window = next((w for w in windows if w.scene == scene), windows[0])
    shown = window.scene
    window.scene = scene  # making bones needs edit mode, and that needs a window that shows the scene
    try:
        with bpy.context.temp_override(window=window):
            return import_actor(bpy.context, folder, frame_start=frame_start, match_scene=match_scene)
    finally:
        window.scene = shown


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
    match_scene: BoolProperty(
        **MATCH_SCENE_OPTIONS, options={"SKIP_SAVE"}
    )  # a choice for one scene is none for the next

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        fill_unset_properties(self, match_scene=context.scene.portrait_actor.match_scene)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: bpy.types.Context) -> set[str]:
        fill_unset_properties(self, match_scene=scene_actor.should_match_scene(context.scene))  # F9 shows what was done
        told = import_actor(
            context, Path(absolute_path(self.directory)), frame_start=self.frame_start, match_scene=self.match_scene
        )
        self.report({"INFO"}, told)
        return {"FINISHED"}


def draw_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    """The line in File ▸ Import."""
    self.layout.operator(PORTRAIT_ACTOR_OT_import_actor.bl_idname, text=iface_("Portrait Actor (.actor)"))


CLASSES = (PORTRAIT_ACTOR_OT_import_actor,)
