"""The actor in the scene as one thing: its armature, which knows its folder, its face and its camera."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..contract import actor_folder, channels, errors
from . import actor_paths, camera, proxy, rig, sound, takes

FOOTAGE_TAKE = "footage"


@dataclass(frozen=True)
class SceneActor:
    """An actor that is in the file."""

    armature: bpy.types.Object
    face: bpy.types.Object

    @property
    def name(self) -> str:
        return self.armature.name

    def folder(self, *, must_be_complete: bool = True) -> actor_folder.ActorFolder:
        """The actor's folder, checked.

        Raises:
            UserError: it is missing, damaged or not finished.
        """
        return actor_folder.ActorFolder.open(
            actor_paths.resolve_actor_folder(self.armature), must_be_complete=must_be_complete
        )

    @property
    def linked_datablock(self) -> bpy.types.ID | None:
        """What of the actor's channels and takes is linked from another file, so that Blender lets nobody key it."""
        keys = self.face.data.shape_keys
        takes_in_use = (
            owner.animation_data.action for owner in (self.armature, keys) if owner and owner.animation_data
        )
        parts = (self.armature, self.face, self.face.data, *takes_in_use)
        return next((part for part in parts if part is not None and part.library is not None), None)

    def check_editable(self) -> None:
        """Raises:
        UserError: a part of it is linked from another file.
        """
        part = self.linked_datablock
        if part is not None:
            remedy = "Make a Library Override of it first."
            if self.face.override_library:
                remedy = "Press Make Channels Editable."
            source = bpy.path.basename(part.library.filepath)
            raise errors.UserError("linked_actor", f"{part.name} is linked from {source}.", remedy)

    def make_editable(self) -> None:
        """Goes on where Blender's Library Override ends: the face's mesh, which holds the channels, and the takes in
        use become this file's own.
        """
        if self.face.data.library is not None:
            self.face.data.override_create(remap_local_usages=True)
        copies: dict[bpy.types.Action, bpy.types.Action] = {}
        for owner in (self.armature, self.face.data.shape_keys):
            data = owner.animation_data
            if data is not None and data.action is not None and data.action.library is not None:
                linked = data.action
                copies[linked] = copies.get(linked) or linked.copy()
                data.action = copies[linked]


def is_actor_armature(candidate: bpy.types.Object | None) -> bool:
    """Whether an object is an actor's armature."""
    return candidate is not None and candidate.type == "ARMATURE" and bool(candidate.portrait_actor.folder)


def actor_from_armature(armature: bpy.types.Object | None) -> SceneActor | None:
    """The actor of an armature; None for another object, and for a copy of an armature whose face was not copied."""
    face = armature.portrait_actor.face if is_actor_armature(armature) else None
    if face is None:
        return None
    movers = {face.parent, *(m.object for m in face.modifiers if m.type == "ARMATURE")}
    return SceneActor(armature, face) if armature in movers else None


def is_in_scene(scene: bpy.types.Scene, candidate: bpy.types.Object) -> bool:
    """Whether an object is in a scene: one that was deleted is still in the file while something refers to it."""
    return scene.objects.get(candidate.name) == candidate or candidate in scene.objects.values()


def has_actor(scene: bpy.types.Scene) -> bool:
    """Whether the scene has an actor."""
    return any(actor_from_armature(thing) is not None for thing in scene.objects)


def should_match_scene(scene: bpy.types.Scene) -> bool:
    """Whether an actor that comes into a scene sets its camera, size, rate and range unless the artist says otherwise:
    only where that overwrites nothing, so the scene has neither an actor nor a shot set up.
    """
    return not has_actor(scene) and camera.is_startup_scene(scene)


def find_actor(context: bpy.types.Context) -> SceneActor | None:
    """The actor that the artist means: the selected one, else the one that the sidebar's form names, else the scene's
    last. Panels and operators all ask this function.
    """
    found = find_selected(context)
    if found is not None:
        return found
    scene = context.scene
    named = actor_from_armature(scene.portrait_actor.actor)
    if named is not None and is_in_scene(scene, named.armature):
        return named
    others = find_actors(scene) if bpy.data.armatures else []  # panels ask often, most scenes have no actor
    return others[-1] if others else None


def find_selected(context: bpy.types.Context) -> SceneActor | None:
    """The actor of the active object if it is selected or in a mode of its own, else of a selected object, else of the
    active object. None when all of these belong to no actor.
    """
    active, selected = getattr(context, "object", None), list(getattr(context, "selected_objects", None) or ())
    if active is not None:
        first = active in selected or active.mode != "OBJECT"
        selected.insert(0 if first else len(selected), active)
    found = (find_owner(thing, context.scene) for thing in selected)
    return next((owner for owner in found if owner is not None), None)


def find_owner(obj: bpy.types.Object, scene: bpy.types.Scene) -> SceneActor | None:
    """The actor in the scene that an object belongs to: as its armature, as anything parented to it or deformed by it,
    or as its camera.
    """
    part: bpy.types.Object | None = obj
    while part is not None:
        for candidate in (part, *(m.object for m in part.modifiers if m.type == "ARMATURE")):
            found = actor_from_armature(candidate)
            if found is not None and is_in_scene(scene, found.armature):
                return found
        part = part.parent
    if obj.type != "CAMERA":
        return None
    return next((found for found in find_actors(scene) if found.armature.portrait_actor.camera == obj), None)


def find_actors(scene: bpy.types.Scene) -> list[SceneActor]:
    """Every actor of a scene."""
    return [found for found in map(actor_from_armature, scene.objects) if found is not None]


def require_actor(context: bpy.types.Context, name: str = "") -> SceneActor:
    """The actor called `name` (its armature's name), or the one that the artist means.

    Raises:
        UserError: there is none.
    """
    if name:
        named = actor_from_armature(context.scene.objects.get(name))
        if named is not None:
            return named
        raise errors.UserError("no_actor_in_scene", f"No actor called {name} is in the scene.", "Import it first.")
    found = find_actor(context)
    if found is None:
        raise errors.UserError("no_actor_in_scene", "There is no actor in the scene.", "Create or import one.")
    return found


def add_actor(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    folder: actor_folder.ActorFolder,
    *,
    frame_start: int,
    match_scene: bool,
) -> SceneActor:
    """Puts the actor into the scene at the 3D cursor: rig, face, camera, the footage's performance and its sound. Like
    anything that Blender imports, the actor is selected then.

    Args:
        scene, view_layer: where it goes; they are the context's, in object mode, because bones need edit mode.
        folder: a finished actor.
        frame_start: the scene frame of the footage's frame 0.
        match_scene: set camera, picture size, frame rate and last frame to the footage's.

    Raises:
        UserError: a file of the actor is missing or damaged. Nothing has been added then.
    """
    info, mesh, footage = folder.info, folder.load_proxy(), folder.load_footage_performance()
    footage_camera = folder.require_camera()
    name = info.name or folder.path.stem
    if match_scene:
        length = round(float(footage.frames[-1]))
        camera.match_scene(scene, footage_camera, info.fps, frame_start + length)
    collection = bpy.data.collections.new(name)
    scene.collection.children.link(collection)
    armature = rig.create_armature(name, collection, view_layer)
    armature.location = scene.cursor.location
    view_layer.update()
    highs = {channel: float(values.max()) for channel, values in zip(footage.names, footage.channels.T, strict=True)}
    face = proxy.create_face(f"{name} face", mesh, highs, armature, collection)
    view = camera.create_camera(f"{name} camera", footage_camera, armature, collection)
    _store_settings(armature, face, view, folder, frame_start)
    frames = takes.scene_frames(footage, scene, frame_start)
    takes.add_take(f"{name} {FOOTAGE_TAKE}", armature, face, footage, frames)
    if info.has_audio:
        sound.add_strip(scene, armature, folder.file_path("audio.wav"), frame_start, f"{name} {FOOTAGE_TAKE}")
    scene.portrait_actor.actor = armature
    scene.portrait_actor.property_unset("match_choice")  # it was about this actor
    if match_scene or scene.camera is None:
        scene.camera = view
    return SceneActor(armature, face)


def _store_settings(
    armature: bpy.types.Object,
    face: bpy.types.Object,
    camera_object: bpy.types.Object,
    folder: actor_folder.ActorFolder,
    frame_start: int,
) -> None:
    """What the .blend knows of the actor."""
    settings = armature.portrait_actor
    settings.folder = actor_paths.format_actor_folder(folder.path.resolve(), bpy.data.filepath)
    settings.face, settings.camera, settings.footage_start = face, camera_object, frame_start
    for name in channels.CHANNELS:
        item = settings.channels.add()
        item.name = name
        span = folder.info.channel_ranges.get(name)
        item.measured = span is not None
        if span is not None:
            item.low, item.high = span
