"""Rendered frames on a card: a rectangle that fills the camera's picture at the actor's distance, and what casts the
actor's shadow in its place. The way without a compositor, in Cycles and EEVEE."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bmesh
import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ..contract import camera as contract_camera
from ..contract import geometry, performance
from . import compat, merge_group, rig
from . import conventions as conv
from .compositing import FrameSequence, image_path, load_sequence
from .scene_actor import SceneActor

TAG_PROPERTY = "portrait_actor_card"  # custom property of our objects: "card" or "shadow"
HOLDOUT_NODE = "Card as Holdout"  # the node that turns the card into a hole
Array = NDArray[np.float64]

# Ellipsoids of the shadow that the face mesh, a mere front, does not cast: bone, centre and half axes in metres of
# actor space, from the proportions of an adult.
SHADOW_ELLIPSOIDS = (
    (rig.HEAD, (0.0, 0.01, -0.075), (0.078, 0.125, 0.1)),
    (rig.TORSO, (0.0, -0.16, -0.075), (0.06, 0.1, 0.06)),
    (rig.TORSO, (0.0, -0.42, -0.075), (0.21, 0.22, 0.11)),
)


@dataclass(frozen=True)
class CardAnimation:
    """Where the card stands at each frame, in the armature's space.

    Attributes:
        frames: (T,) scene frames.
        location: (T, 3), rotation: (T, 4) wxyz, scale: (T, 3) of a rectangle of 1 × 1.
    """

    frames: NDArray[np.int64]
    location: Array
    rotation: Array
    scale: Array

    @classmethod
    def from_camera(
        cls, table: performance.Performance, path: contract_camera.CameraPath, frames: range, samples_per_frame: int
    ) -> CardAnimation:
        """Fills the picture of a camera at the distance of the head.

        Args:
            table, path: what `sampling.sample` gave for `frames`, with so many moments for each.
        """
        middle = np.arange(len(frames)) * samples_per_frame + samples_per_frame // 2
        fx, fy, cx, cy = path.intrinsics[middle].T
        views = path.views[middle]
        head = np.einsum("tij,tj->ti", views[:, :3, :3], table.head_translation[middle]) + views[:, :3, 3]
        depth = np.maximum(head[:, 2], 1e-3)
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
    """Puts the frames on the actor's card; makes card and shadow when the actor has none.

    Returns:
        the card.
    """
    collection = actor.armature.users_collection[0]
    parts = {part.get(TAG_PROPERTY): part for part in actor.armature.children if part.get(TAG_PROPERTY)}
    card = parts.get("card") or _create_card(actor, collection)
    if "shadow" not in parts:
        _create_shadow(actor, collection)
    _assign_frames(card, sequence, scene)
    _key_card(card, animation)
    set_visible(actor, True)
    return card


def set_visible(actor: SceneActor, visible: bool) -> None:
    """Shows or hides an actor's card and shadow, in the viewport and in renders."""
    for part in actor.armature.children:
        if part.get(TAG_PROPERTY):
            part.hide_render = part.hide_viewport = not visible


def find_holdout_socket(armature: bpy.types.Object) -> Any | None:
    """The value that turns an actor's card from a picture (0) into a hole in the render's alpha (1), if it has one."""
    card = next((part for part in armature.children if part.get(TAG_PROPERTY) == "card"), None)
    if card is None or card.active_material is None or card.active_material.node_tree is None:
        return None
    node = card.active_material.node_tree.nodes.get(HOLDOUT_NODE)
    return node.outputs[0] if node else None


def find_frame_file(actor: SceneActor) -> Path | None:
    """A file of the frames on an actor's card; None where there is no visible card."""
    card = next((part for part in actor.armature.children if part.get(TAG_PROPERTY) == "card"), None)
    if card is None or card.hide_render or card.active_material is None or card.active_material.node_tree is None:
        return None
    nodes = card.active_material.node_tree.nodes
    return next((image_path(node.image) for node in nodes if node.bl_idname == "ShaderNodeTexImage"), None)


def _create_card(actor: SceneActor, collection: bpy.types.Collection) -> bpy.types.Object:
    name = f"{actor.name} card"
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([(-0.5, -0.5, 0), (0.5, -0.5, 0), (0.5, 0.5, 0), (-0.5, 0.5, 0)], [], [(0, 1, 2, 3)])
    corners = mesh.uv_layers.new(name="UVMap")
    corners.data.foreach_set("uv", [0, 0, 1, 0, 1, 1, 0, 1])
    mesh.materials.append(_create_material(name))
    card = bpy.data.objects.new(name, mesh)
    card[TAG_PROPERTY], card.parent, card.rotation_mode = "card", actor.armature, "QUATERNION"
    collection.objects.link(card)
    # The picture is light that was filmed already: it lights nothing, and its flat shape shades nothing.
    card.visible_diffuse = card.visible_volume_scatter = card.visible_shadow = False
    return card


def _create_material(name: str) -> bpy.types.Material:
    """Shines with the picture where it covers, is clear elsewhere; or a holdout there."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    compat.enable_alpha_blending(material)
    tree = material.node_tree
    tree.nodes.clear()
    kinds = ("TexImage", "Emission", "Holdout", "Value", "MixShader", "BsdfTransparent", "MixShader", "OutputMaterial")
    nodes = [tree.nodes.new(f"ShaderNode{kind}") for kind in kinds]
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


def _limited_light(tree: bpy.types.NodeTree, image: bpy.types.Node) -> bpy.types.NodeSocket:
    """The picture's light, held in 0–1 where alpha is thin: the card's counterpart of the group's Footage Look."""
    color, alpha = image.outputs["Color"], image.outputs["Alpha"]
    solid = tree.nodes.new("ShaderNodeMapRange")
    solid.interpolation_type = "SMOOTHSTEP"
    solid.inputs["From Min"].default_value, solid.inputs["From Max"].default_value = merge_group.LOOK_ALPHA
    tree.links.new(alpha, solid.inputs["Value"])
    positive = _vector_math(tree, "MAXIMUM", color, (0.0, 0.0, 0.0))
    held = _vector_math(tree, "MINIMUM", positive, (1.0, 1.0, 1.0))
    excess = _vector_math(tree, "SUBTRACT", color, held)
    return _vector_math(tree, "MULTIPLY_ADD", excess, solid.outputs[0], held)


def _vector_math(tree: bpy.types.NodeTree, operation: str, *values: Any) -> bpy.types.NodeSocket:
    """The result of a Vector Math node whose inputs are sockets or constants."""
    node = tree.nodes.new("ShaderNodeVectorMath")
    node.operation, node.location = operation, (100 * len(tree.nodes) - 800, 400)
    for value, socket in zip(values, node.inputs, strict=False):
        if isinstance(value, bpy.types.NodeSocket):
            tree.links.new(value, socket)
        else:
            socket.default_value = value
    return node.outputs[0]


def _assign_frames(card: bpy.types.Object, sequence: FrameSequence, scene: bpy.types.Scene) -> None:
    node = next(n for n in card.active_material.node_tree.nodes if n.bl_idname == "ShaderNodeTexImage")
    old = node.image
    node.image = load_sequence(sequence, scene)
    if old is not None and old != node.image and old.users == 0:
        bpy.data.images.remove(old)
    user = node.image_user
    user.frame_start, user.frame_duration = sequence.first_frame, sequence.last_frame - sequence.first_frame + 1
    user.frame_offset, user.use_auto_refresh = sequence.first_frame - 1, True


def _key_card(card: bpy.types.Object, animation: CardAnimation) -> None:
    """Keys the card's place at each frame, in place of what was keyed before."""
    if card.animation_data is not None and card.animation_data.action is not None:
        bpy.data.actions.remove(card.animation_data.action)
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
    """The face mesh once more, and a simple body, which only lights see."""
    face = actor.face.copy()  # shares mesh and channels with the face
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
    mesh, shapes, owners = bpy.data.meshes.new(name), bmesh.new(), []
    for bone, centre, axes in SHADOW_ELLIPSOIDS:
        x, y, z = axes  # actor space's y is Blender's z
        place = Matrix.Translation(conv.to_blender(centre).tolist()) @ Matrix.Diagonal((x, z, y, 1))
        made = bmesh.ops.create_uvsphere(shapes, u_segments=32, v_segments=16, radius=1, matrix=place)
        owners += [bone] * len(made["verts"])
    shapes.to_mesh(mesh)
    shapes.free()
    body = bpy.data.objects.new(name, mesh)
    for bone in (rig.HEAD, rig.TORSO):
        body.vertex_groups.new(name=bone).add([i for i, owner in enumerate(owners) if owner == bone], 1.0, "REPLACE")
    body.parent = actor.armature
    body.modifiers.new("Armature", "ARMATURE").object = actor.armature
    return body
