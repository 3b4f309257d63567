"""The one place that knows how Blender 4.2, 4.5, 5.0 and 5.2 differ. Everything else is written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy

HAS_SLOTTED_ACTIONS = bpy.app.version >= (4, 4, 0)
# Options of a path property that may begin with `//`; before 4.5 any path might.
BLEND_RELATIVE = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()
# In 5.0 a strip that fades in over nothing fades a shape key from 1, its default there.
REST_TRACK = "Rest"
NEEDS_REST_TRACK = bpy.types.ShapeKey.bl_rna.properties["value"].default != 0
IS_COMPOSITOR_NODE_GROUP = bpy.app.version >= (5, 0, 0)


def new_action(name: str, owners: Sequence[bpy.types.ID]) -> list[Any]:
    """A new take, assigned to each owner, and what holds each owner's curves (`.fcurves`, `.groups`), in their order.

    With slots the take is one Action with a slot per owner; before 4.4 it is one Action per owner.
    """
    for owner in owners:
        if owner.animation_data is None:
            owner.animation_data_create()
    if not HAS_SLOTTED_ACTIONS:
        return [_legacy_action(name, owner) for owner in owners]
    action = bpy.data.actions.new(name)
    action.use_fake_user = True
    for owner in owners:
        slot = action.slots.new(id_type=owner.id_type, name=owner.name)
        owner.animation_data.action = action
        owner.animation_data.action_slot = slot
    return [find_channelbag(owner) for owner in owners]


def find_channelbag(owner: bpy.types.ID) -> Any | None:
    """What holds an owner's curves of the take in use (`.fcurves`, `.groups`); None when it has no take."""
    motion = owner.animation_data
    if motion is None or motion.action is None or (HAS_SLOTTED_ACTIONS and motion.action_slot is None):
        return None
    if not HAS_SLOTTED_ACTIONS:
        return motion.action
    layers = motion.action.layers
    layer = layers[0] if layers else layers.new("Layer")
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(motion.action_slot, ensure=True)


def new_nla_strip(owner: bpy.types.ID, name: str) -> bpy.types.NlaStrip:
    """The take in use as a strip, frame for frame, on a new track over all others; the take is not in use any more."""
    motion = owner.animation_data
    if NEEDS_REST_TRACK and isinstance(owner, bpy.types.Key):
        _add_rest_track(owner)
    action, slot = motion.action, getattr(motion, "action_slot", None)
    first, last = action.frame_range
    track = motion.nla_tracks.new()
    track.name = name
    strip = track.strips.new(name, round(first), action)
    if slot is not None:
        strip.action_slot = slot
    strip.action_frame_start, strip.action_frame_end = first, last
    strip.frame_start_raw, strip.frame_end_raw = first, last  # frames of a capture may lie between whole ones
    motion.action = None
    return strip


def _legacy_action(name: str, owner: bpy.types.ID) -> bpy.types.Action:
    action = bpy.data.actions.new(name if owner.id_type == "OBJECT" else f"{name} face")
    action.id_root = owner.id_type
    action.use_fake_user = True  # a take that is not assigned at the moment is still the artist's work
    owner.animation_data.action = action
    return action


def _add_rest_track(keys: bpy.types.Key) -> None:
    """Holds the shape keys that the take in use moves at 0 on the lowest NLA track, for other tracks to fade from."""
    motion = keys.animation_data
    action, slot = motion.action, motion.action_slot
    paths = {curve.data_path for curve in find_channelbag(keys).fcurves}
    track = next((t for t in motion.nla_tracks if t.name == REST_TRACK), None)
    if track is None:
        new_action(f"{action.name} rest", [keys])
    else:
        motion.action, motion.action_slot = track.strips[0].action, track.strips[0].action_slot
    bag = find_channelbag(keys)
    for path in paths - {curve.data_path for curve in bag.fcurves}:
        bag.fcurves.new(path).keyframe_points.insert(0, 0)
    if track is None:
        below = motion.nla_tracks.new()
        below.name = REST_TRACK
        below.strips.new(REST_TRACK, 0, motion.action).action_slot = motion.action_slot
    motion.action, motion.action_slot = action, slot


def ensure_strips(scene: bpy.types.Scene) -> Any:
    """The sequencer's strips; makes the sequencer when the scene has none."""
    editor = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def list_strips(scene: bpy.types.Scene) -> list[Any]:
    """The sequencer's strips, none when the scene has no sequencer."""
    return list(ensure_strips(scene)) if scene.sequence_editor else []


def strip_span(strip: Any) -> tuple[float, float]:
    """First frame of a strip and the frame after its last."""
    if hasattr(strip, "left_handle"):
        return strip.left_handle, strip.right_handle
    return strip.frame_final_start, strip.frame_final_end


def find_compositor_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree | None:
    """The scene's compositor tree, if it has one."""
    return scene.compositing_node_group if IS_COMPOSITOR_NODE_GROUP else scene.node_tree


def ensure_compositor_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """The scene's compositor tree; switches the compositor on, with the render passed through, when it has none."""
    if not IS_COMPOSITOR_NODE_GROUP:
        scene.use_nodes = True  # fills a new tree with Render Layers → Composite
        return scene.node_tree
    tree = scene.compositing_node_group
    if tree is None:
        tree = bpy.data.node_groups.new(f"{scene.name} Compositing", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        layers, output = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("NodeGroupOutput")
        layers.scene = scene
        output.location = (600, 0)
        tree.links.new(layers.outputs["Image"], output.inputs["Image"])
        scene.compositing_node_group = tree
    return tree


def ensure_compositor_output(tree: bpy.types.NodeTree) -> Any:
    """The input socket that is the compositor's picture; makes its node when the tree has none."""
    kind = "NodeGroupOutput" if IS_COMPOSITOR_NODE_GROUP else "CompositorNodeComposite"
    found = [node for node in tree.nodes if node.bl_idname == kind]
    node = next((n for n in found if getattr(n, "is_active_output", True)), None) or tree.nodes.new(kind)
    if IS_COMPOSITOR_NODE_GROUP and not any(s.type == "RGBA" for s in node.inputs):
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    return next(s for s in node.inputs if s.type == "RGBA")


def alpha_over_inputs(node: bpy.types.Node) -> tuple[Any, Any]:
    """An Alpha Over node's background and foreground sockets."""
    if "Background" in node.inputs:
        return node.inputs["Background"], node.inputs["Foreground"]
    background, foreground = (s for s in node.inputs if s.type == "RGBA")
    return background, foreground


MATH_NODE = "ShaderNodeMath" if IS_COMPOSITOR_NODE_GROUP else "CompositorNodeMath"
_MAX_BLUR_PIXELS = 512  # pixels; before 4.5 a Blur node's size was a property, and its socket a factor


def configure_blur(node: bpy.types.Node, *, is_box: bool) -> float:
    """Makes a Blur node a plain mean over a square, or Gaussian. Returns what to multiply pixels with for its Size."""
    if hasattr(node, "filter_type"):
        node.filter_type = "FLAT" if is_box else "GAUSS"
    else:
        node.inputs["Type"].default_value = "Flat" if is_box else "Gaussian"
    if node.inputs["Size"].type == "VECTOR":  # from 4.5 on
        return 1.0
    node.size_x = node.size_y = _MAX_BLUR_PIXELS
    return 1 / _MAX_BLUR_PIXELS


def set_dilation(node: bpy.types.Node, pixels: int) -> None:
    """How far a Dilate/Erode node dilates; below 0 it erodes."""
    if "Size" in node.inputs:  # from 4.5 on
        node.inputs["Size"].default_value = pixels
    else:
        node.distance = pixels


def channel_mean_socket(node: bpy.types.Node, channel: str) -> Any:
    """The socket of a Levels node that holds the mean of "RED", "GREEN" or "BLUE"."""
    if hasattr(node, "channel"):
        node.channel = channel
    else:
        node.inputs["Channel"].default_value = channel.title()
    return node.outputs["Mean"]


def add_white_noise(tree: bpy.types.NodeTree, image: Any) -> Any:
    """A socket with values 0–1 that are independent from pixel to pixel of `picture` and from frame to frame."""
    if not IS_COMPOSITOR_NODE_GROUP:
        return _add_cell_noise(tree)
    place, time, noise = (
        tree.nodes.new(kind)
        for kind in ("CompositorNodeImageCoordinates", "CompositorNodeSceneTime", "ShaderNodeTexWhiteNoise")
    )
    noise.noise_dimensions = "4D"
    tree.links.new(image, place.inputs[0])
    tree.links.new(place.outputs["Pixel"], noise.inputs["Vector"])
    tree.links.new(time.outputs["Frame"], noise.inputs["W"])
    return noise.outputs["Value"]


def _add_cell_noise(tree: bpy.types.NodeTree) -> Any:
    """Before 5.0: cells that are far smaller than pixels, another layer of them at each frame."""
    cells = bpy.data.textures.new("Grain", "CLOUDS")
    cells.noise_basis, cells.noise_depth, cells.noise_scale = "CELL_NOISE", 0, 1.0
    time, place, noise = (
        tree.nodes.new(kind)
        for kind in ("CompositorNodeSceneTime", "CompositorNodeCombineXYZ", "CompositorNodeTexture")
    )
    noise.texture = cells
    noise.inputs["Scale"].default_value = 99_991.0, 99_989.0, 1.0  # primes: pixels never fall into step with the cells
    tree.links.new(time.outputs["Frame"], place.inputs["Z"])
    tree.links.new(place.outputs["Vector"], noise.inputs["Offset"])
    return noise.outputs["Value"]


def enable_alpha_blending(material: bpy.types.Material) -> None:
    """Lets EEVEE mix a clear surface with what is behind it smoothly."""
    if hasattr(material, "surface_render_method"):
        material.surface_render_method = "BLENDED"
    else:
        material.blend_method = "BLEND"
