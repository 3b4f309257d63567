"""The proxy face, which moves at full speed: its shape keys are the channels, its colours the footage's."""

from __future__ import annotations

import bpy
import numpy as np

from ..contract import actor_folder, channels
from . import rig
from .conventions import to_blender

COLOR_ATTRIBUTE = "Footage"


def create_face(
    name: str,
    proxy: actor_folder.Proxy,
    channel_maxima: dict[str, float],
    armature: bpy.types.Object,
    collection: bpy.types.Collection,
) -> bpy.types.Object:
    """A new mesh object, skinned to `armature`.

    Args:
        name: of the object and its data.
        proxy: the actor's face mesh.
        highs: largest measured value per channel; a slider ends at 1 or there, whichever is larger.
        armature: built by `rig.build`.
        collection: where the object goes.
    """
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(to_blender(proxy.vertices).tolist(), [], proxy.faces.tolist())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
    mesh.materials.append(_create_material(name))
    _add_color_attribute(mesh, proxy.colors)
    face = bpy.data.objects.new(name, mesh)
    collection.objects.link(face)
    _skin_to_armature(face, proxy.head_weight, armature)
    _add_channels(face, proxy, channel_maxima)
    face.hide_render = True  # the photorealistic frames stand in its place
    return face


def _add_color_attribute(mesh: bpy.types.Mesh, colors: np.ndarray) -> None:
    """Stores the footage's sRGB colours per vertex, so that solid view and materials show them."""
    attribute = mesh.color_attributes.new(COLOR_ATTRIBUTE, "BYTE_COLOR", "POINT")
    rgba = np.ones((len(colors), 4), np.float32)
    rgba[:, :3] = colors
    attribute.data.foreach_set("color_srgb", rgba.ravel())
    mesh.color_attributes.active_color_index = mesh.color_attributes.render_color_index = 0
    material = mesh.materials[0]
    linear = np.empty(4 * len(colors), np.float32)
    attribute.data.foreach_get("color", linear)
    material.diffuse_color = np.median(linear.reshape(-1, 4), axis=0).tolist()


def _create_material(name: str) -> bpy.types.Material:
    """Shows the colour attribute as it is: the footage's light is in it already."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    color, light, output = (
        nodes.new(kind) for kind in ("ShaderNodeVertexColor", "ShaderNodeEmission", "ShaderNodeOutputMaterial")
    )
    color.layer_name = COLOR_ATTRIBUTE
    light.location, output.location = (200, 0), (400, 0)
    links.new(color.outputs["Color"], light.inputs["Color"])
    links.new(light.outputs["Emission"], output.inputs["Surface"])
    return material


def _skin_to_armature(face: bpy.types.Object, head_weight: np.ndarray, armature: bpy.types.Object) -> None:
    """Vertex groups and the armature modifier. Blender sets weights only vertex by vertex, or many to one value."""
    levels = np.round(head_weight, 3)
    for bone, weights in ((rig.HEAD, levels), (rig.TORSO, 1 - levels)):
        group = face.vertex_groups.new(name=bone)
        for weight in np.unique(weights):
            if weight > 0:
                group.add(np.flatnonzero(weights == weight).tolist(), float(weight), "REPLACE")
    face.parent = armature
    modifier = face.modifiers.new("Armature", "ARMATURE")
    modifier.object = armature


def _add_channels(face: bpy.types.Object, proxy: actor_folder.Proxy, channel_maxima: dict[str, float]) -> None:
    face.shape_key_add(name="Basis", from_mix=False)
    for name, offsets in zip(channels.CHANNELS, proxy.shapes, strict=True):
        key = face.shape_key_add(name=name, from_mix=False)
        key.slider_min, key.slider_max = 0.0, max(1.0, channel_maxima.get(name, 1.0))
        key.data.foreach_set("co", to_blender(proxy.vertices + offsets).astype(np.float32).ravel())
    face.data.shape_keys.name = face.name
