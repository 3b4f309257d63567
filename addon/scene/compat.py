"""The differences between Blender 4.2, 4.5, 5.0 and 5.2. No other module asks for the version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy

from .. import rna

HAS_SLOTTED_ACTIONS = bpy.app.version >= (4, 4, 0)
# Options of a path property that may begin with `//`; before 4.5 any path might.
BLEND_RELATIVE: set[str] = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set()
REST_TRACK = "Rest"  # name of the NLA track that holds shape keys at 0
# In 5.0 a strip that fades in over nothing fades a shape key from its default there, which is 1.
_SHAPE_KEY_VALUE: Any = bpy.types.ShapeKey.bl_rna.properties["value"]
NEEDS_REST_TRACK: bool = _SHAPE_KEY_VALUE.default != 0
OUTPUT_NODE_X = 600  # of a new compositor tree, in the units of the node editor
IS_COMPOSITOR_NODE_GROUP = bpy.app.version >= (5, 0, 0)


def new_action(name: str, owners: Sequence[bpy.types.ID]) -> list[Any]:
    """Make a new take and assign it to each owner.

    With slots the take is one Action with a slot per owner; before 4.4 it is one Action per owner.

    Returns:
        what holds each owner's curves (`.fcurves`, `.groups`), in the order of the owners.
    """
    motions = [rna.require_animation(owner) for owner in owners]
    if not HAS_SLOTTED_ACTIONS:
        return [_legacy_action(name, owner) for owner in owners]
    action = bpy.data.actions.new(name)
    action.use_fake_user = True
    for owner, motion in zip(owners, motions, strict=True):
        slot = action.slots.new(id_type=owner.id_type, name=owner.name)
        motion.action = action
        motion.action_slot = slot
    return [find_channelbag(owner) for owner in owners]


def find_channelbag(owner: bpy.types.ID) -> Any | None:
    """Return what holds an owner's curves of the take in use (`.fcurves`, `.groups`); None when it has no take."""
    motion = rna.get_animation(owner)
    if motion is None or motion.action is None or (HAS_SLOTTED_ACTIONS and motion.action_slot is None):
        return None
    if not HAS_SLOTTED_ACTIONS:
        return motion.action
    layers = motion.action.layers
    layer = layers[0] if layers else layers.new("Layer")
    strip: Any = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(motion.action_slot, ensure=True)


def new_nla_strip(owner: bpy.types.ID, name: str) -> bpy.types.NlaStrip:
    """Move the take in use to a strip, frame for frame, on a new track above all others."""
    motion = rna.require_animation(owner)
    if NEEDS_REST_TRACK and isinstance(owner, bpy.types.Key):
        _add_rest_track(owner)
    action, slot = motion.action, getattr(motion, "action_slot", None)
    assert action is not None
    first, last = action.frame_range[0], action.frame_range[1]
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
    """Make a take for one owner, before 4.4."""
    action: bpy.types.Action = bpy.data.actions.new(name if owner.id_type == "OBJECT" else f"{name} face")
    action.id_root = owner.id_type  # type: ignore[attr-defined]  # before 5.0
    action.use_fake_user = True  # keeps a take that is not assigned: it is the artist's work
    rna.require_animation(owner).action = action
    return action


def _add_rest_track(keys: bpy.types.Key) -> None:
    """Hold the shape keys of the take in use at 0 on the lowest NLA track, from which other tracks fade."""
    motion = rna.require_animation(keys)
    action, slot = motion.action, motion.action_slot
    bag: Any = find_channelbag(keys)
    paths = {curve.data_path for curve in bag.fcurves}
    track = next((t for t in motion.nla_tracks if t.name == REST_TRACK), None)
    if track is None:
        assert action is not None
        new_action(f"{action.name} rest", [keys])
    else:
        motion.action, motion.action_slot = track.strips[0].action, track.strips[0].action_slot
    bag = find_channelbag(keys)
    for path in paths - {curve.data_path for curve in bag.fcurves}:
        bag.fcurves.new(path).keyframe_points.insert(0, 0)
    if track is None:
        below = motion.nla_tracks.new()
        below.name = REST_TRACK
        rest_action = motion.action
        assert rest_action is not None
        below.strips.new(REST_TRACK, 0, rest_action).action_slot = motion.action_slot
    motion.action, motion.action_slot = action, slot


def ensure_strips(scene: bpy.types.Scene) -> Any:
    """Return the sequencer's strips, which are `sequences` before 4.4. Makes the sequencer if there is none."""
    editor: Any = scene.sequence_editor or scene.sequence_editor_create()
    return editor.strips if hasattr(editor, "strips") else editor.sequences


def list_strips(scene: bpy.types.Scene) -> list[Any]:
    """Return the sequencer's strips, none when the scene has no sequencer."""
    return list(ensure_strips(scene)) if scene.sequence_editor else []


def strip_span(strip: Any) -> tuple[float, float]:
    """Return the first frame of a strip and the frame after its last."""
    if hasattr(strip, "left_handle"):
        return strip.left_handle, strip.right_handle
    return strip.frame_final_start, strip.frame_final_end


def find_compositor_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree | None:
    """Return the scene's compositor tree, if it has one."""
    if IS_COMPOSITOR_NODE_GROUP:
        return scene.compositing_node_group
    return getattr(scene, "node_tree", None)


def ensure_compositor_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """Return the scene's compositor tree. Switches the compositor on, with the render passed through, if it is off."""
    if not IS_COMPOSITOR_NODE_GROUP:
        scene.use_nodes = True  # fills a new tree with Render Layers → Composite
        legacy_tree: bpy.types.NodeTree = scene.node_tree  # type: ignore[attr-defined]  # before 5.0
        return legacy_tree
    tree = scene.compositing_node_group
    if tree is None:
        tree = bpy.data.node_groups.new(f"{scene.name} Compositing", "CompositorNodeTree")
        assert tree is not None
        rna.get_interface(tree).new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        layers: rna.AnyNode = tree.nodes.new("CompositorNodeRLayers")
        output = tree.nodes.new("NodeGroupOutput")
        layers.scene = scene
        output.location = (OUTPUT_NODE_X, 0)
        tree.links.new(layers.outputs["Image"], output.inputs["Image"])
        scene.compositing_node_group = tree
    return tree


def ensure_compositor_output(tree: bpy.types.NodeTree) -> rna.AnySocket:
    """Return the socket that takes the compositor's result. Makes its node if the tree has none."""
    kind = "NodeGroupOutput" if IS_COMPOSITOR_NODE_GROUP else "CompositorNodeComposite"
    outputs = [node for node in tree.nodes if node.bl_idname == kind]
    node = next((n for n in outputs if getattr(n, "is_active_output", True)), None) or tree.nodes.new(kind)
    if IS_COMPOSITOR_NODE_GROUP and not any(s.type == "RGBA" for s in node.inputs):
        rna.get_interface(tree).new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    return next(s for s in node.inputs if s.type == "RGBA")


def alpha_over_inputs(node: rna.AnyNode) -> tuple[rna.AnySocket, rna.AnySocket]:
    """Return an Alpha Over node's background and foreground sockets."""
    if "Background" in node.inputs:
        return node.inputs["Background"], node.inputs["Foreground"]
    background, foreground = (s for s in node.inputs if s.type == "RGBA")
    return background, foreground


MATH_NODE = "ShaderNodeMath" if IS_COMPOSITOR_NODE_GROUP else "CompositorNodeMath"
CELLS_PER_IMAGE = (99_991.0, 99_989.0, 1.0)  # primes, so that pixels never fall into step with the cells
_MAX_BLUR_PIXELS = 512  # before 4.5 a Blur node's size was a property of whole pixels, and its socket a factor


def configure_blur(node: rna.AnyNode, *, is_box: bool) -> float:
    """Make a Blur node a mean over a square, or Gaussian. Return the factor from pixels to its Size."""
    if hasattr(node, "filter_type"):
        node.filter_type = "FLAT" if is_box else "GAUSS"
    else:
        node.inputs["Type"].default_value = "Flat" if is_box else "Gaussian"
    if node.inputs["Size"].type == "VECTOR":  # from 4.5 on
        return 1.0
    node.size_x = node.size_y = _MAX_BLUR_PIXELS
    return 1 / _MAX_BLUR_PIXELS


def set_dilation(node: rna.AnyNode, pixels: int) -> None:
    """Set by how many pixels a Dilate/Erode node dilates; below 0 it erodes."""
    if "Size" in node.inputs:  # from 4.5 on
        node.inputs["Size"].default_value = pixels
    else:
        node.distance = pixels


def channel_mean_socket(node: rna.AnyNode, channel: str) -> rna.AnySocket:
    """Return the socket of a Levels node that holds the mean of "RED", "GREEN" or "BLUE"."""
    if hasattr(node, "channel"):
        node.channel = channel
    else:
        node.inputs["Channel"].default_value = channel.title()
    return node.outputs["Mean"]


def add_white_noise(tree: bpy.types.NodeTree, image: rna.AnySocket) -> rna.AnySocket:
    """Return a socket with values 0–1 that are independent between pixels of `image` and between frames."""
    if not IS_COMPOSITOR_NODE_GROUP:
        return _add_cell_noise(tree)
    coordinates = tree.nodes.new("CompositorNodeImageCoordinates")
    time = tree.nodes.new("CompositorNodeSceneTime")
    noise: rna.AnyNode = tree.nodes.new("ShaderNodeTexWhiteNoise")
    noise.noise_dimensions = "4D"
    tree.links.new(image, coordinates.inputs[0])
    tree.links.new(coordinates.outputs["Pixel"], noise.inputs["Vector"])
    tree.links.new(time.outputs["Frame"], noise.inputs["W"])
    return noise.outputs["Value"]


def _add_cell_noise(tree: bpy.types.NodeTree) -> rna.AnySocket:
    """Return white noise before 5.0: cells far smaller than pixels, another layer of them at each frame."""
    cells: Any = bpy.data.textures.new("Grain", "CLOUDS")
    cells.noise_basis, cells.noise_depth, cells.noise_scale = "CELL_NOISE", 0, 1.0
    time, offset = tree.nodes.new("CompositorNodeSceneTime"), tree.nodes.new("CompositorNodeCombineXYZ")
    noise: rna.AnyNode = tree.nodes.new("CompositorNodeTexture")
    noise.texture = cells
    noise.inputs["Scale"].default_value = CELLS_PER_IMAGE
    tree.links.new(time.outputs["Frame"], offset.inputs["Z"])
    tree.links.new(offset.outputs["Vector"], noise.inputs["Offset"])
    return noise.outputs["Value"]


def enable_alpha_blending(material: bpy.types.Material) -> None:
    """Let EEVEE blend a clear surface with what is behind it."""
    if hasattr(material, "surface_render_method"):
        material.surface_render_method = "BLENDED"
    else:
        material.blend_method = "BLEND"  # before 4.2
