"""Typed access to Blender's data.

Blender's type stubs declare nearly every pointer optional and an object's data a union of all its kinds. The functions
here return what the add-on knows to be there, and fail loudly where it is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import bpy

from .contract import PACKAGE

if TYPE_CHECKING:
    from .preferences import PortraitActorPreferences
    from .properties import ActorSettings, SceneSettings

AnyNode = Any  # the stubs know a new node only as `Node`, which has none of its kind's properties
AnySocket = Any  # likewise: `NodeSocket` has no `default_value`


class LayoutOwner(Protocol):
    """A panel, a menu or the preferences: whatever has a layout while it is drawn."""

    @property
    def layout(self) -> bpy.types.UILayout | None:
        """The layout that is drawn into."""


def get_scene(context: bpy.types.Context) -> bpy.types.Scene:
    """Return the context's scene."""
    assert context.scene is not None
    return context.scene


def get_view_layer(context: bpy.types.Context) -> bpy.types.ViewLayer:
    """Return the context's view layer."""
    assert context.view_layer is not None
    return context.view_layer


def get_window_manager() -> bpy.types.WindowManager:
    """Return the window manager, which is there without a window too."""
    assert bpy.context.window_manager is not None
    return bpy.context.window_manager


def get_layout(owner: LayoutOwner) -> bpy.types.UILayout:
    """Return the layout of a panel, a menu or the preferences while they are drawn."""
    assert owner.layout is not None
    return owner.layout


def get_preferences() -> PortraitActorPreferences:
    """Return the extension's preferences."""
    assert bpy.context.preferences is not None
    preferences: Any = bpy.context.preferences.addons[PACKAGE].preferences
    return preferences  # type: ignore[no-any-return]


def get_scene_settings(scene: bpy.types.Scene) -> SceneSettings:
    """Return what the sidebar's forms hold in a scene."""
    settings: SceneSettings = scene.portrait_actor  # type: ignore[attr-defined]
    return settings


def get_actor_settings(armature: bpy.types.Object) -> ActorSettings:
    """Return what an armature knows of its actor."""
    settings: ActorSettings = armature.portrait_actor  # type: ignore[attr-defined]
    return settings


def get_mesh(mesh_object: bpy.types.Object) -> bpy.types.Mesh:
    """Return the data of a mesh object."""
    assert isinstance(mesh_object.data, bpy.types.Mesh)
    return mesh_object.data


def get_shape_keys(face: bpy.types.Object) -> bpy.types.Key | None:
    """Return the shape keys of a mesh object; None when it has none."""
    return get_mesh(face).shape_keys


def require_shape_keys(face: bpy.types.Object) -> bpy.types.Key:
    """Return the shape keys of a mesh object that has some."""
    keys = get_shape_keys(face)
    assert keys is not None
    return keys


def get_bones(armature: bpy.types.Object) -> bpy.types.ArmatureBones:
    """Return the bones of an armature object, at rest."""
    assert isinstance(armature.data, bpy.types.Armature)
    return armature.data.bones


def get_pose_bones(armature: bpy.types.Object) -> Any:
    """Return the pose bones of an armature object, a collection by name."""
    assert armature.pose is not None
    return armature.pose.bones


def get_camera(camera_object: bpy.types.Object) -> bpy.types.Camera:
    """Return the data of a camera object."""
    assert isinstance(camera_object.data, bpy.types.Camera)
    return camera_object.data


def get_animation(owner: bpy.types.ID | None) -> bpy.types.AnimData | None:
    """Return what animates a datablock; None when nothing does."""
    return getattr(owner, "animation_data", None)


def require_animation(owner: bpy.types.ID) -> bpy.types.AnimData:
    """Return what animates a datablock, made when there is nothing yet."""
    animation = get_animation(owner) or owner.animation_data_create()
    assert animation is not None
    return animation


def get_node_tree(material: bpy.types.Material) -> bpy.types.NodeTree:
    """Return a material's node tree, switched on where Blender has not done so."""
    if material.node_tree is None:
        material.use_nodes = True
    assert material.node_tree is not None
    return material.node_tree


def get_interface(tree: bpy.types.NodeTree) -> Any:
    """Return the sockets of a node group; the stubs do not know the types that they may have."""
    assert tree.interface is not None
    return tree.interface
