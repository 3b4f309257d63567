"""Rendered frames on a card: a rectangle that fills the camera's picture at the actor's distance.

Invisible meshes cast the actor's shadow. A card needs no compositor and works in Cycles and EEVEE.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bmesh
import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from .. import rna
from ..contract import camera as contract_camera
from ..contract import geometry, performance
from . import compat, merge_group, rig
from . import conventions as conv
from .compositing import FrameSequence, image_path, load_sequence, replace_image, set_frame_range
from .scene_actor import SceneActor

TAG_PROPERTY = "portrait_actor_card"  # custom property of our objects: "card" or "shadow"
HOLDOUT_NODE = "Card as Holdout"  # name of the node that makes the card a holdout
MIN_DEPTH_METERS = 1e-3  # in front of the camera: keeps a card behind it from turning over
Array = NDArray[np.float64]

# Ellipsoids for the shadow of what the face mesh lacks: bone, center and half axes in metres of actor space, from the
# proportions of an adult.
SHADOW_ELLIPSOIDS = (
    (rig.HEAD, (0.0, 0.01, -0.075), (0.078, 0.125, 0.1)),
    (rig.TORSO, (0.0, -0.16, -0.075), (0.06, 0.1, 0.06)),
    (rig.TORSO, (0.0, -0.42, -0.075), (0.21, 0.22, 0.11)),
)


ELLIPSOID_SEGMENTS = 32  # around an ellipsoid: enough for a smooth shadow
ELLIPSOID_RINGS = 16

# Nodes of the card's material; their links are in `_create_material`.
MATERIAL_NODES = (
    "TexImage", "Emission", "Holdout", "Value", "MixShader", "BsdfTransparent", "MixShader", "OutputMaterial",
)  # fmt: skip


@dataclass(frozen=True)
class CardAnimation:
    """The card's transform at each frame, in the armature's space.

    Attributes:
        frames: (T,) scene frames.
        location: (T, 3) metres.
        rotation: (T, 4) quaternions wxyz.
        scale: (T, 3) of a rectangle of 1 × 1.
    """

    frames: NDArray[np.int64]
    location: Array
    rotation: Array
    scale: Array

    @classmethod
    def from_camera(
        cls, table: performance.Performance, path: contract_camera.CameraPath, frames: range, samples_per_frame: int
    ) -> CardAnimation:
        """Return the animation that fills the camera's picture at the distance of the head.

        Args:
            table: the performance of `sampling.sample_frames` for these frames.
            path: the camera of the same call.
            frames: scene frames.
            samples_per_frame: count of time offsets in that call.
        """
        middle = np.arange(len(frames)) * samples_per_frame + samples_per_frame // 2
        fx, fy, cx, cy = path.intrinsics[middle].T
        views = path.views[middle]
        head = np.einsum("tij,tj->ti", views[:, :3, :3], table.head_translation[middle]) + views[:, :3, 3]
        depth = np.maximum(head[:, 2], MIN_DEPTH_METERS)
        card = np.tile(np.eye(4), (len(frames), 1, 1))  # in the camera's space, Blender's axes
        card[:, 0, 3] = (path.width / 2 - cx) / fx * depth
        card[:, 1, 3] = -(path.height / 2 - cy) / fy * depth
        card[:, 2, 3] = -depth
        placed = conv.ACTOR_TO_BLENDER @ np.linalg.inv(views) @ conv.CAMERA_FLIP @ card
        size = np.linalg.norm(placed[:, :3, 0], axis=1)
        scale = np.stack([path.width / fx * depth * size, path.height / fy * depth * size, size], -1)
        turns = geometry.align_quaternion_signs(
            geometry.quaternion_from_matrix(placed[:, :3, :3] / size[:, None, None])
        )
        return cls(np.array(frames), placed[:, :3, 3], turns, scale)


def place_frames(
    actor: SceneActor, scene: bpy.types.Scene, sequence: FrameSequence, animation: CardAnimation
) -> bpy.types.Object:
    """Put the frames on the actor's card. Make card and shadow when the actor has none.

    Returns:
        the card.
    """
    collection = actor.armature.users_collection[0]
    parts = {part.get(TAG_PROPERTY): part for part in _find_parts(actor.armature)}
    card = parts.get("card") or _create_card(actor, collection)
    if "shadow" not in parts:
        _create_shadow(actor, collection)
    _assign_frames(card, sequence, scene)
    _key_card(card, animation)
    set_visible(actor, is_visible=True)
    return card


def set_visible(actor: SceneActor, *, is_visible: bool) -> None:
    """Show or hide an actor's card and shadow, in the viewport and in renders."""
    for part in _find_parts(actor.armature):
        part.hide_render = part.hide_viewport = not is_visible


def find_holdout_socket(armature: bpy.types.Object) -> rna.AnySocket | None:
    """Return the value that makes an actor's card an image (0) or a hole in the render's alpha (1), if any."""
    card = _find_card(armature)
    node = _material_nodes(card).get(HOLDOUT_NODE) if card is not None else None
    return node.outputs[0] if node else None


def find_frame_file(actor: SceneActor) -> Path | None:
    """Return a file of the frames on an actor's card; None when there is no visible card."""
    card = _find_card(actor.armature)
    if card is None or card.hide_render:
        return None
    nodes = _material_nodes(card).values()
    return next((image_path(node.image) for node in nodes if node.bl_idname == "ShaderNodeTexImage"), None)


def _find_parts(armature: bpy.types.Object) -> list[bpy.types.Object]:
    """Return an actor's card and shadow casters."""
    return [part for part in armature.children if part.get(TAG_PROPERTY)]


def _find_card(armature: bpy.types.Object) -> bpy.types.Object | None:
    return next((part for part in _find_parts(armature) if part.get(TAG_PROPERTY) == "card"), None)


def _material_nodes(card: bpy.types.Object) -> dict[str, rna.AnyNode]:
    """Return the nodes of the card's material by name; none when the artist has taken it off."""
    material = card.active_material
    if material is None or material.node_tree is None:
        return {}
    return {node.name: node for node in material.node_tree.nodes}


def _create_card(actor: SceneActor, collection: bpy.types.Collection) -> bpy.types.Object:
    """Return a new rectangle of 1 × 1 with the material, a child of the armature."""
    name = f"{actor.name} card"
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(-0.5, -0.5, 0), (0.5, -0.5, 0), (0.5, 0.5, 0), (-0.5, 0.5, 0)], [], [(0, 1, 2, 3)])
    uv_layer: Any = mesh.uv_layers.new(name="UVMap")
    uv_layer.data.foreach_set("uv", [0, 0, 1, 0, 1, 1, 0, 1])
    mesh.materials.append(_create_material(name))
    card = bpy.data.objects.new(name, mesh)
    card[TAG_PROPERTY], card.parent, card.rotation_mode = "card", actor.armature, "QUATERNION"
    collection.objects.link(card)
    # The image is light that was filmed already, so the card lights nothing, and its flat shape casts no shadow.
    card.visible_diffuse = card.visible_volume_scatter = card.visible_shadow = False
    return card


def _create_material(name: str) -> bpy.types.Material:
    """Return a material that emits the image, or is a holdout, where the image is opaque and is clear elsewhere."""
    material = bpy.data.materials.new(name)
    tree = rna.get_node_tree(material)
    compat.enable_alpha_blending(material)
    tree.nodes.clear()
    nodes: list[rna.AnyNode] = [tree.nodes.new(f"ShaderNode{kind}") for kind in MATERIAL_NODES]
    image, light, hole, switch, solid, clear, surface, output = nodes
    switch.name = switch.label = HOLDOUT_NODE
    switch.outputs[0].default_value = 0.0
    image.extension = "CLIP"
    for source, target in (
        (_limited_light(tree, image), light.inputs["Color"]),
        (switch.outputs[0], solid.inputs[0]),
        (light.outputs[0], solid.inputs[1]),
        (hole.outputs[0], solid.inputs[2]),
        (image.outputs["Alpha"], surface.inputs[0]),
        (clear.outputs[0], surface.inputs[1]),
        (solid.outputs[0], surface.inputs[2]),
        (surface.outputs[0], output.inputs["Surface"]),
    ):
        tree.links.new(source, target)
    for column, node in enumerate(nodes):
        node.location = (200 * (column // 2), -260 * (column % 2))
    return material


def _limited_light(tree: bpy.types.NodeTree, image: rna.AnyNode) -> rna.AnySocket:
    """Return the image's light, limited to 0–1 where alpha is thin, as the merge group's Footage Look does."""
    color, alpha = image.outputs["Color"], image.outputs["Alpha"]
    solid: rna.AnyNode = tree.nodes.new("ShaderNodeMapRange")
    solid.interpolation_type = "SMOOTHSTEP"
    solid.inputs["From Min"].default_value, solid.inputs["From Max"].default_value = merge_group.LOOK_ALPHA
    tree.links.new(alpha, solid.inputs["Value"])
    positive = _vector_math(tree, "MAXIMUM", color, (0.0, 0.0, 0.0))
    limited = _vector_math(tree, "MINIMUM", positive, (1.0, 1.0, 1.0))
    excess = _vector_math(tree, "SUBTRACT", color, limited)
    return _vector_math(tree, "MULTIPLY_ADD", excess, solid.outputs[0], limited)


def _vector_math(tree: bpy.types.NodeTree, operation: str, *values: Any) -> rna.AnySocket:
    """Return the result of a Vector Math node whose inputs are sockets or constants."""
    node: rna.AnyNode = tree.nodes.new("ShaderNodeVectorMath")
    node.operation, node.location = operation, (100 * len(tree.nodes) - 800, 400)
    for value, socket in zip(values, node.inputs, strict=False):
        if isinstance(value, bpy.types.NodeSocket):
            tree.links.new(value, socket)
        else:
            socket.default_value = value
    return node.outputs[0]


def _assign_frames(card: bpy.types.Object, sequence: FrameSequence, scene: bpy.types.Scene) -> None:
    nodes = _material_nodes(card).values()
    node = next(n for n in nodes if n.bl_idname == "ShaderNodeTexImage")
    replace_image(node, load_sequence(sequence, scene))
    set_frame_range(node.image_user, sequence)


def _key_card(card: bpy.types.Object, animation: CardAnimation) -> None:
    """Key the card's transform at each frame, in place of earlier keys."""
    motion = card.animation_data
    if motion is not None and motion.action is not None:
        bpy.data.actions.remove(motion.action)
    (bag,) = compat.new_action(card.name, [card])
    columns = {"location": animation.location, "rotation_quaternion": animation.rotation, "scale": animation.scale}
    for path, values in columns.items():
        for index, column in enumerate(values.T):
            curve = bag.fcurves.new(path, index=index)
            curve.keyframe_points.add(len(animation.frames))
            curve.keyframe_points.foreach_set("co", np.stack([animation.frames, column], -1).astype(np.float32).ravel())
            for point in curve.keyframe_points:
                point.interpolation = "LINEAR"
            curve.update()


def _create_shadow(actor: SceneActor, collection: bpy.types.Collection) -> None:
    """Add a copy of the face and a simple body that only shadows show."""
    face: Any = actor.face.copy()  # shares mesh and channels with the face
    face.name = f"{actor.name} face shadow"
    body = _create_shadow_body(actor)
    for part in (face, body):
        part[TAG_PROPERTY], part.display_type, part.hide_select = "shadow", "BOUNDS", True
        part.visible_camera = part.visible_diffuse = part.visible_glossy = False
        part.visible_transmission = part.visible_volume_scatter = False
        part.visible_shadow = True
        collection.objects.link(part)


def _create_shadow_body(actor: SceneActor) -> bpy.types.Object:
    name = f"{actor.name} body shadow"
    mesh, shapes = bpy.data.meshes.new(name), bmesh.new()
    vertex_bones: list[str] = []
    for bone, center, axes in SHADOW_ELLIPSOIDS:
        x, y, z = axes  # actor space's y is Blender's z
        matrix = Matrix.Translation(conv.to_blender(center).tolist()) @ Matrix.Diagonal((x, z, y, 1))
        created = bmesh.ops.create_uvsphere(
            shapes, u_segments=ELLIPSOID_SEGMENTS, v_segments=ELLIPSOID_RINGS, radius=1, matrix=matrix
        )
        vertex_bones += [bone] * len(created["verts"])
    shapes.to_mesh(mesh)
    shapes.free()
    body = bpy.data.objects.new(name, mesh)
    for bone in (rig.HEAD, rig.TORSO):
        members = [i for i, vertex_bone in enumerate(vertex_bones) if vertex_bone == bone]
        body.vertex_groups.new(name=bone).add(members, 1.0, "REPLACE")
    body.parent = actor.armature
    modifier: Any = body.modifiers.new("Armature", "ARMATURE")
    modifier.object = actor.armature
    return body
