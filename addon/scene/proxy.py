"""The proxy face, which the viewport moves at full speed: its shape keys are the channels."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from .. import rna
from ..contract import actor_folder, channels
from . import rig
from .conventions import to_blender

WEIGHT_DIGITS = 3  # decimals of a vertex weight: each distinct weight costs a call of Blender
F32 = NDArray[np.float32]
COLOR_ATTRIBUTE = "Footage"  # name of the color attribute, stored in .blend files


def create_face(
    name: str,
    proxy: actor_folder.Proxy,
    channel_maxima: dict[str, float],
    armature: bpy.types.Object,
    collection: bpy.types.Collection,
) -> bpy.types.Object:
    """Return a new mesh object, skinned to the armature.

    Args:
        name: name of the object and its data.
        proxy: the actor's face mesh.
        channel_maxima: largest measured value of each channel; a slider ends at 1 or there, whichever is larger.
        armature: as `rig.create_armature` makes it.
        collection: collection for the object.
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
    face.hide_render = True  # the rendered frames show the actor instead
    return face


def _add_color_attribute(mesh: bpy.types.Mesh, colors: F32) -> None:
    """Store the footage's sRGB colors per vertex, so that solid view and materials show them."""
    attribute: Any = mesh.color_attributes.new(COLOR_ATTRIBUTE, "BYTE_COLOR", "POINT")
    rgba = np.ones((len(colors), 4), np.float32)
    rgba[:, :3] = colors
    attribute.data.foreach_set("color_srgb", rgba.ravel())
    mesh.color_attributes.active_color_index = mesh.color_attributes.render_color_index = 0
    material: Any = mesh.materials[0]
    linear = np.empty(4 * len(colors), np.float32)
    attribute.data.foreach_get("color", linear)
    material.diffuse_color = np.median(linear.reshape(-1, 4), axis=0).tolist()


def _create_material(name: str) -> bpy.types.Material:
    """Return a material that emits the color attribute: the footage's light is in it already."""
    material = bpy.data.materials.new(name)
    tree = rna.get_node_tree(material)
    nodes, links = tree.nodes, tree.links
    nodes.clear()
    color: rna.AnyNode = nodes.new("ShaderNodeVertexColor")
    light, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    color.layer_name = COLOR_ATTRIBUTE
    light.location, output.location = (200, 0), (400, 0)
    links.new(color.outputs["Color"], light.inputs["Color"])
    links.new(light.outputs["Emission"], output.inputs["Surface"])
    return material


def _skin_to_armature(face: bpy.types.Object, head_weight: F32, armature: bpy.types.Object) -> None:
    """Add vertex groups and the armature modifier. Blender sets the weight of many vertices only to one value."""
    levels = np.round(head_weight, WEIGHT_DIGITS)
    for bone, weights in ((rig.HEAD, levels), (rig.TORSO, 1 - levels)):
        group = face.vertex_groups.new(name=bone)
        for weight in np.unique(weights):
            if weight > 0:
                group.add(np.flatnonzero(weights == weight).tolist(), float(weight), "REPLACE")
    face.parent = armature
    modifier: Any = face.modifiers.new("Armature", "ARMATURE")
    modifier.object = armature


def _add_channels(face: bpy.types.Object, proxy: actor_folder.Proxy, channel_maxima: dict[str, float]) -> None:
    face.shape_key_add(name="Basis", from_mix=False)
    for name, offsets in zip(channels.CHANNELS, proxy.shapes, strict=True):
        key: Any = face.shape_key_add(name=name, from_mix=False)
        key.slider_min, key.slider_max = 0.0, max(1.0, channel_maxima.get(name, 1.0))
        key.data.foreach_set("co", to_blender(proxy.vertices + offsets).astype(np.float32).ravel())
    rna.require_shape_keys(face).name = face.name
