"""Import Actor: a finished actor folder comes into the scene."""

from pathlib import Path

import bpy

from ..contract import actor
from ..scene import actor as scene_actor
from ..scene.versions import BLEND_RELATIVE
from ..translations import iface_, rpt_
from ..translations.props import BoolProperty, IntProperty, StringProperty
from .verb import Place, Verb, absolute


def import_actor(
    context: bpy.types.Context, folder: Path, *, frame_start: int, match_scene: bool
) -> scene_actor.SceneActor:
    """Puts the actor of a folder into the context's scene. Who edits or sculpts something goes on with it afterwards.

    Raises:
        UserError: the folder is not a finished actor.
    """
    opened = actor.ActorFolder.open(folder)
    objects = context.view_layer.objects
    edited = objects.active
    mode = edited.mode if edited else "OBJECT"
    if mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    try:
        return scene_actor.build(
            context.scene, context.view_layer, opened, frame_start=frame_start, match_scene=match_scene
        )
    finally:
        if mode != "OBJECT":
            for thing in context.selected_objects:
                thing.select_set(False)
            edited.select_set(True)
            objects.active = edited
            bpy.ops.object.mode_set(mode=mode)


def import_into(place: Place, folder: Path, *, frame_start: int, match_scene: bool) -> str:
    """Imports at the end of a job, into the scene where it was started.

    Returns:
        one sentence for the person.
    """
    scene = place.find_scene()
    if scene is None:
        return rpt_("{} is ready. Import it: the scene where it was begun is not open.").format(folder.name)
    windows = bpy.context.window_manager.windows
    window = next((w for w in windows if w.scene == scene), windows[0])
    shown = window.scene
    window.scene = scene  # making bones needs edit mode, and that needs a window that shows the scene
    try:
        with bpy.context.temp_override(window=window):
            made = import_actor(bpy.context, folder, frame_start=frame_start, match_scene=match_scene)
    finally:
        window.scene = shown
    return rpt_("{} is in the scene.").format(made.name)


class PORTRAIT_ACTOR_OT_import_actor(Verb, bpy.types.Operator):
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
        name="Match Scene",
        description="Set the scene's camera, resolution, frame rate and last frame to the footage's",
        default=True,
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def act(self, context: bpy.types.Context) -> set[str]:
        made = import_actor(
            context, Path(absolute(self.directory)), frame_start=self.frame_start, match_scene=self.match_scene
        )
        self.report({"INFO"}, rpt_("{} is in the scene.").format(made.name))
        return {"FINISHED"}


def draw_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    """The line in File ▸ Import."""
    self.layout.operator(PORTRAIT_ACTOR_OT_import_actor.bl_idname, text=iface_("Portrait Actor (.actor)"))


CLASSES = (PORTRAIT_ACTOR_OT_import_actor,)
