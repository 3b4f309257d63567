"""An actor in the scene: its armature, which knows its folder, its face and its camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy

from .. import rna
from ..contract import actor_folder, channels, errors
from . import actor_paths, camera, proxy, rig, sound, takes

FOOTAGE_TAKE = "footage"  # last word of the name of the take from the footage


@dataclass(frozen=True)
class SceneActor:
    """An actor in the .blend."""

    armature: bpy.types.Object
    face: bpy.types.Object

    @property
    def name(self) -> str:
        """The armature's name."""
        return self.armature.name

    def folder(self, *, must_be_complete: bool = True) -> actor_folder.ActorFolder:
        """Open and check the actor's folder.

        Raises:
            UserError: it is missing, damaged or not finished.
        """
        return actor_folder.ActorFolder.open(
            actor_paths.resolve_actor_folder(self.armature), must_be_complete=must_be_complete
        )

    @property
    def linked_datablock(self) -> bpy.types.ID | None:
        """The first linked datablock that prevents keying, or None."""
        animations = (rna.get_animation(owner) for owner in (self.armature, rna.get_shape_keys(self.face)))
        takes_in_use = (animation.action for animation in animations if animation is not None)
        parts = (self.armature, self.face, self.face.data, *takes_in_use)
        return next((part for part in parts if part is not None and part.library is not None), None)

    def check_editable(self) -> None:
        """Check that the actor can be keyed.

        Raises:
            UserError: a part of it is linked from another file.
        """
        part = self.linked_datablock
        if part is not None and part.library is not None:
            remedy = "Make a Library Override of it first."
            if self.face.override_library:
                remedy = "Press Make Channels Editable."
            source = bpy.path.basename(part.library.filepath)
            raise errors.UserError("linked_actor", f"{part.name} is linked from {source}.", remedy)

    def make_editable(self) -> None:
        """Override the face's mesh, which Blender's Library Override leaves linked, and copy the takes in use."""
        mesh = rna.get_mesh(self.face)
        if mesh.library is not None:
            mesh.override_create(remap_local_usages=True)
        copies: dict[bpy.types.Action, bpy.types.Action] = {}
        for owner in (self.armature, rna.get_shape_keys(self.face)):
            motion = rna.get_animation(owner)
            if motion is not None and motion.action is not None and motion.action.library is not None:
                linked = motion.action
                copy: Any = copies.get(linked) or linked.copy()
                copies[linked] = copy
                motion.action = copy


def is_actor_armature(candidate: bpy.types.Object | None) -> bool:
    """Return whether an object is an actor's armature."""
    if candidate is None or candidate.type != "ARMATURE":
        return False
    return bool(rna.get_actor_settings(candidate).folder)


def actor_from_armature(armature: bpy.types.Object | None) -> SceneActor | None:
    """Return the actor of an armature; None for another object, and for a copied armature without a face of its own."""
    if armature is None or not is_actor_armature(armature):
        return None
    face: bpy.types.Object | None = rna.get_actor_settings(armature).face
    if face is None or armature not in (face.parent, *_deforming_objects(face)):
        return None
    return SceneActor(armature, face)


def _deforming_objects(deformed: bpy.types.Object) -> list[bpy.types.Object | None]:
    """Return the armatures of an object's armature modifiers."""
    return [m.object for m in deformed.modifiers if isinstance(m, bpy.types.ArmatureModifier)]


def is_in_scene(scene: bpy.types.Scene, candidate: bpy.types.Object) -> bool:
    """Return whether an object is in a scene. A deleted object stays in the file while something refers to it."""
    return scene.objects.get(candidate.name) == candidate or candidate in scene.objects.values()


def has_actor(scene: bpy.types.Scene) -> bool:
    """Return whether the scene has an actor."""
    return any(actor_from_armature(candidate) is not None for candidate in scene.objects)


def should_match_scene(scene: bpy.types.Scene) -> bool:
    """Return whether an imported actor sets the scene's camera, size, rate and range by default.

    It does where that overwrites nothing: the scene has no actor, and no shot is set up.
    """
    return not has_actor(scene) and camera.is_startup_scene(scene)


def find_actor(context: bpy.types.Context) -> SceneActor | None:
    """Return the actor in use: the selected one, else the one that the sidebar's form names, else the scene's last."""
    selected = find_selected(context)
    if selected is not None:
        return selected
    scene = rna.get_scene(context)
    named = actor_from_armature(rna.get_scene_settings(scene).actor)
    if named is not None and is_in_scene(scene, named.armature):
        return named
    others = find_actors(scene) if bpy.data.armatures else []  # panels call this often, and most scenes have no actor
    return others[-1] if others else None


def find_selected(context: bpy.types.Context) -> SceneActor | None:
    """Return the actor of the selected objects; None when none of them belongs to an actor.

    The active object comes first if it is selected or in a mode such as Pose, and last otherwise.
    """
    active, selected = getattr(context, "object", None), list(getattr(context, "selected_objects", None) or ())
    if active is not None:
        is_first = active in selected or active.mode != "OBJECT"
        selected.insert(0 if is_first else len(selected), active)
    owners = (find_owner(candidate, rna.get_scene(context)) for candidate in selected)
    return next((owner for owner in owners if owner is not None), None)


def find_owner(obj: bpy.types.Object, scene: bpy.types.Scene) -> SceneActor | None:
    """Return the actor that an object belongs to: as armature, as its child, as deformed by it, or as its camera."""
    part: bpy.types.Object | None = obj
    while part is not None:
        for candidate in (part, *_deforming_objects(part)):
            found = actor_from_armature(candidate)
            if found is not None and is_in_scene(scene, found.armature):
                return found
        part = part.parent
    if obj.type != "CAMERA":
        return None
    actors = find_actors(scene)
    return next((actor for actor in actors if rna.get_actor_settings(actor.armature).camera == obj), None)


def find_actors(scene: bpy.types.Scene) -> list[SceneActor]:
    """Return all actors of a scene."""
    return [actor for actor in map(actor_from_armature, scene.objects) if actor is not None]


def require_actor(context: bpy.types.Context, name: str = "") -> SceneActor:
    """Return the actor whose armature has that name; without a name the actor in use.

    Raises:
        UserError: there is none.
    """
    if name:
        named = actor_from_armature(rna.get_scene(context).objects.get(name))
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
    """Add an actor to the scene at the 3D cursor: rig, face, camera, the footage's performance and its sound.

    The actor is selected afterwards, as after any import of Blender.

    Args:
        scene: the context's scene, in object mode: making bones needs edit mode.
        view_layer: the context's view layer.
        folder: a finished actor.
        frame_start: the scene frame of the footage's frame 0.
        match_scene: whether to set camera, picture size, frame rate and last frame to the footage's.

    Returns:
        the actor.

    Raises:
        UserError: a file of the actor is missing or damaged; nothing has been added.
    """
    info, mesh, footage = folder.info, folder.load_proxy(), folder.load_footage_performance()
    footage_camera = folder.require_camera()
    name = info.name or folder.path.stem
    if match_scene:
        last_frame = frame_start + round(float(footage.frames[-1]))
        camera.match_scene(scene, footage_camera, info.fps, last_frame)
    collection = bpy.data.collections.new(name)
    scene.collection.children.link(collection)
    armature = rig.create_armature(name, collection, view_layer)
    armature.location = scene.cursor.location
    view_layer.update()
    maxima = {channel: float(values.max()) for channel, values in zip(footage.names, footage.channels.T, strict=True)}
    face = proxy.create_face(f"{name} face", mesh, maxima, armature, collection)
    view = camera.create_camera(f"{name} camera", footage_camera, armature, collection)
    _store_settings(armature, face, view, folder, frame_start)
    frames = takes.scene_frames(footage, scene, frame_start)
    takes.add_take(f"{name} {FOOTAGE_TAKE}", armature, face, footage, frames)
    if info.has_audio:
        sound.add_strip(scene, armature, folder.file_path("audio.wav"), frame_start, f"{name} {FOOTAGE_TAKE}")
    settings = rna.get_scene_settings(scene)
    settings.actor = armature
    settings.property_unset("match_choice")  # the choice was for this actor
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
    """Store in the .blend what it knows of the actor."""
    settings = rna.get_actor_settings(armature)
    settings.folder = actor_paths.format_actor_folder(folder.path.resolve(), bpy.data.filepath)
    settings.face, settings.camera, settings.footage_start = face, camera_object, frame_start
    for name in channels.CHANNELS:
        item = settings.channels.add()
        item.name = name
        measured_range = folder.info.channel_ranges.get(name)
        item.measured = measured_range is not None
        if measured_range is not None:
            item.low, item.high = measured_range
