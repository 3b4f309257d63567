"""Rendered frames in the compositor, over the scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from .. import rna
from . import compat, merge_group

TAG_PROPERTY = "portrait_actor"  # custom property of our nodes: the armature of the actor that they show
GROUP_NODE = "CompositorNodeGroup"
IMAGE_NODE = "CompositorNodeImage"
RENDER_LAYERS_NODE = "CompositorNodeRLayers"

# Layout of our nodes, in the units of the node editor.
GROUP_WIDTH = 220
GROUP_SPACE = 340  # between what the output was linked to and the output
GROUP_OFFSET = 280  # from the group to the output
IMAGE_OFFSET = (560, 400)  # from the image to the output


@dataclass(frozen=True)
class FrameSequence:
    """Image files numbered by scene frame, as the backend reports them.

    Attributes:
        folder: their folder.
        pattern: their names with # for digits, e.g. ``"jane_####.exr"``.
        first_frame: number of the first file.
        last_frame: number of the last file, inclusive.
    """

    folder: Path
    pattern: str
    first_frame: int
    last_frame: int

    def frame_path(self, frame: int) -> Path:
        """Return the file of a frame."""
        return self.folder / self.pattern.replace("####", f"{frame:04d}")


@dataclass(frozen=True)
class FootageBackground:
    """The footage behind the actor, from which color match and spill start.

    Attributes:
        mean_color: scene-linear mean.
    """

    mean_color: tuple[float, float, float] = (0.5, 0.5, 0.5)


def place_frames(
    scene: bpy.types.Scene,
    armature: bpy.types.Object,
    sequence: FrameSequence,
    background: FootageBackground = FootageBackground(),
) -> rna.AnyNode:
    """Show the frames over the compositor's image. An actor that is shown already keeps its sliders.

    Args:
        scene: the scene with the compositor.
        armature: the actor's armature. The nodes refer to it, so it may be renamed.
        sequence: the frames.
        background: start values for the sliders of a new group.

    Returns:
        the group node, whose inputs are the sliders.
    """
    tree = compat.ensure_compositor_tree(scene)
    merge, image = _find_nodes(tree, armature, GROUP_NODE, IMAGE_NODE)
    if merge is None or image is None:
        merge, image = _add_nodes(scene, tree, armature, background)
    merge.node_tree, merge.mute = merge_group.get_merge_group(scene), False
    _assign_frames(image, sequence)
    for name, target in (("Combined", "Actor"), ("Depth", "Actor Depth")):
        source = image.outputs.get(name)
        if source is None and name == "Combined":
            source = image.outputs["Image"]
        for link in list(merge.inputs[target].links):
            tree.links.remove(link)
        if source is not None:
            tree.links.new(source, merge.inputs[target])
    return merge


def _find_nodes(
    tree: bpy.types.NodeTree | None, armature: bpy.types.Object, *kinds: str
) -> Iterator[rna.AnyNode | None]:
    """Yield an actor's last node of each kind, None where it has none."""
    nodes = _list_nodes(tree, armature)
    for kind in kinds:
        yield next((node for node in reversed(nodes) if node.bl_idname == kind), None)


def _list_nodes(tree: bpy.types.NodeTree | None, armature: bpy.types.Object) -> list[rna.AnyNode]:
    """Return all nodes that show an actor."""
    return [node for node in tree.nodes if node.get(TAG_PROPERTY) == armature] if tree is not None else []


def _new_node(tree: bpy.types.NodeTree, kind: str) -> rna.AnyNode:
    return tree.nodes.new(kind)


def _assign_frames(node: rna.AnyNode, sequence: FrameSequence) -> None:
    replace_image(node, load_sequence(sequence))
    set_frame_range(node, sequence)


def replace_image(node: rna.AnyNode, image: bpy.types.Image) -> None:
    """Set a node's image and delete the former one if nothing else uses it."""
    old = node.image
    node.image = image
    if old is not None and old != image and old.users == 0:
        bpy.data.images.remove(old)


def set_frame_range(user: Any, sequence: FrameSequence) -> None:
    """Show each file at the scene frame of its number.

    Args:
        user: an image user, or a compositor node, which has the same properties.
        sequence: the files.
    """
    user.frame_start = sequence.first_frame
    user.frame_duration = sequence.last_frame - sequence.first_frame + 1
    user.frame_offset = sequence.first_frame - 1  # a file's number is frame − frame_start + 1 + offset
    user.use_auto_refresh = True


def _add_nodes(
    scene: bpy.types.Scene, tree: bpy.types.NodeTree, armature: bpy.types.Object, background: FootageBackground
) -> tuple[rna.AnyNode, rna.AnyNode]:
    """Insert the merge group before the compositor's output, and an Image node before the group."""
    for node in _list_nodes(tree, armature):  # remains of nodes that the artist has deleted in part
        tree.nodes.remove(node)
    output = compat.ensure_compositor_output(tree)
    merge, image = _new_node(tree, GROUP_NODE), _new_node(tree, IMAGE_NODE)
    for node in (merge, image):
        node[TAG_PROPERTY] = armature
    image.label, merge.label = armature.name, f"{armature.name} over"
    merge.node_tree = merge_group.get_merge_group(scene)
    merge.width = GROUP_WIDTH
    color = (*background.mean_color, 1.0)
    merge.inputs["Footage Light"].default_value = merge.inputs["Spill Color"].default_value = color
    x, y = output.node.location
    if output.links:
        before = output.links[0].from_node
        x = max(x, before.location.x + before.width + GROUP_SPACE)
        tree.links.new(output.links[0].from_socket, merge.inputs["Scene"])
    tree.links.new(_scene_depth_socket(scene, tree), merge.inputs["Scene Depth"])
    tree.links.new(merge.outputs["Image"], output)
    output.node.location.x = x
    merge.location = (x - GROUP_OFFSET, y)
    image.location = (x - IMAGE_OFFSET[0], y - IMAGE_OFFSET[1])
    return merge, image


def _scene_depth_socket(scene: bpy.types.Scene, tree: bpy.types.NodeTree) -> rna.AnySocket:
    """Return the scene's depth. Switches the pass on."""
    nodes: list[rna.AnyNode] = list(tree.nodes)
    layers = next((n for n in nodes if n.bl_idname == RENDER_LAYERS_NODE and n.scene == scene), None)
    if layers is None:
        layers = _new_node(tree, RENDER_LAYERS_NODE)
        layers.scene = scene
    scene.view_layers[layers.layer].use_pass_z = True
    return layers.outputs["Depth"]


def is_outdated(scene: bpy.types.Scene, armature: bpy.types.Object) -> bool:
    """Return whether an actor's group has an older version or was made for another view transform."""
    tree = compat.find_compositor_tree(scene)
    groups = (node.node_tree for node in _list_nodes(tree, armature) if node.bl_idname == GROUP_NODE)
    tag = merge_group.group_tag(scene)
    return any(group.get(merge_group.TAG_PROPERTY) != tag for group in groups if group is not None)


def find_frame_file(scene: bpy.types.Scene, armature: bpy.types.Object) -> Path | None:
    """Return a file of the frames that the compositor shows of an actor; None when it shows none."""
    merge, image = _find_nodes(compat.find_compositor_tree(scene), armature, GROUP_NODE, IMAGE_NODE)
    return image_path(image.image) if merge is not None and image is not None and not merge.mute else None


def image_path(image: bpy.types.Image | None) -> Path | None:
    """Return an image's file, if it has one."""
    if image is None or not image.filepath:
        return None
    return Path(bpy.path.abspath(image.filepath, library=image.library))


def set_muted(scene: bpy.types.Scene, armature: bpy.types.Object, *, is_muted: bool) -> None:
    """Hide an actor in the compositor, or show it again, if it has nodes there."""
    for node in _list_nodes(compat.find_compositor_tree(scene), armature):
        if node.bl_idname == GROUP_NODE:
            node.mute = is_muted


def load_sequence(sequence: FrameSequence, scene: bpy.types.Scene | None = None) -> bpy.types.Image:
    """Load the frames as one image sequence with the color space and alpha mode in which the backend writes them.

    Args:
        sequence: the frames.
        scene: PNG frames are read as colors that this scene's view transform shows; None: as sRGB.

    Returns:
        the image.
    """
    file = sequence.frame_path(sequence.first_frame)
    image = bpy.data.images.load(str(file), check_existing=True)
    color_space: Any = image.colorspace_settings  # the stubs do not know the names of color spaces
    image.reload()
    image.source = "SEQUENCE"
    if file.suffix == ".exr":
        color_space.name = "Linear Rec.709"
        image.alpha_mode = "PREMUL"
    else:
        color_space.name = (merge_group.view_transform_space(scene) if scene else "") or "sRGB"
        image.alpha_mode = "STRAIGHT"
    return image
