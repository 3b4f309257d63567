"""Rendered frames over the scene, in the compositor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from . import compat, merge_group

TAG_PROPERTY = "portrait_actor"  # custom property of our nodes: the armature of the actor that they show
GROUP_NODE, IMAGE_NODE, RENDER_LAYERS_NODE = "CompositorNodeGroup", "CompositorNodeImage", "CompositorNodeRLayers"


@dataclass(frozen=True)
class FrameSequence:
    """Image files numbered by scene frame, as the backend reports them.

    Attributes:
        folder: where they are.
        pattern: of their names, e.g. ``"jane_####.exr"``.
        first, last: frame numbers, inclusive.
    """

    folder: Path
    pattern: str
    first_frame: int
    last_frame: int

    def frame_path(self, frame: int) -> Path:
        """The file of one frame."""
        return self.folder / self.pattern.replace("####", f"{frame:04d}")


@dataclass(frozen=True)
class FootageBackground:
    """What the actor was filmed before, as scene-linear means: where colour match and spill begin."""

    mean_color: tuple[float, float, float] = (0.5, 0.5, 0.5)


def place_frames(
    scene: bpy.types.Scene,
    armature: bpy.types.Object,
    sequence: FrameSequence,
    background: FootageBackground = FootageBackground(),
) -> bpy.types.Node:
    """Wires the frames over what the compositor shows; an actor that is wired already gets the new frames, and its
    sliders stay as they are.

    Args:
        actor: the armature; the nodes refer to it, so it may be renamed.

    Returns:
        the group node, whose inputs are the sliders.
    """
    tree = compat.ensure_compositor_tree(scene)
    found = {node.bl_idname: node for node in tree.nodes if node.get(TAG_PROPERTY) == armature}
    merge, image = found.get(GROUP_NODE), found.get(IMAGE_NODE)
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


def _assign_frames(node: bpy.types.Node, sequence: FrameSequence) -> None:
    old = node.image
    node.image = load_sequence(sequence)
    if old is not None and old != node.image and old.users == 0:
        bpy.data.images.remove(old)
    node.frame_start = sequence.first_frame
    node.frame_duration = sequence.last_frame - sequence.first_frame + 1
    node.frame_offset = sequence.first_frame - 1  # the file's number is frame − frame_start + 1 + offset
    node.use_auto_refresh = True


def _add_nodes(
    scene: bpy.types.Scene, tree: bpy.types.NodeTree, armature: bpy.types.Object, background: FootageBackground
) -> tuple[bpy.types.Node, bpy.types.Node]:
    """Puts the merge group in front of the compositor's output, and an Image node before it."""
    for node in [
        n for n in tree.nodes if n.get(TAG_PROPERTY) == armature
    ]:  # half of what was wired is left: begin anew
        tree.nodes.remove(node)
    output = compat.ensure_compositor_output(tree)
    merge, image = tree.nodes.new(GROUP_NODE), tree.nodes.new(IMAGE_NODE)
    for node in (merge, image):
        node[TAG_PROPERTY] = armature
    image.label, merge.label = armature.name, f"{armature.name} over"
    merge.node_tree = merge_group.get_merge_group(scene)
    merge.width = 220
    color = (*background.mean_color, 1.0)
    merge.inputs["Footage Light"].default_value = merge.inputs["Spill Color"].default_value = color
    x, y = output.node.location
    if output.links:
        before = output.links[0].from_node
        x = max(x, before.location.x + before.width + 340)  # room for the group between both
        tree.links.new(output.links[0].from_socket, merge.inputs["Scene"])
    tree.links.new(_scene_depth_socket(scene, tree), merge.inputs["Scene Depth"])
    tree.links.new(merge.outputs["Image"], output)
    output.node.location.x = x
    merge.location, image.location = (x - 280, y), (x - 560, y - 400)
    return merge, image


def _scene_depth_socket(scene: bpy.types.Scene, tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
    """The scene's depth: switches the pass on where it is off."""
    layers = next((n for n in tree.nodes if n.bl_idname == RENDER_LAYERS_NODE and n.scene == scene), None)
    if layers is None:
        layers = tree.nodes.new(RENDER_LAYERS_NODE)
        layers.scene = scene
    scene.view_layers[layers.layer].use_pass_z = True
    return layers.outputs["Depth"]


def is_outdated(scene: bpy.types.Scene, armature: bpy.types.Object) -> bool:
    """Whether an actor's group has an older format, or was made for another view transform than the scene has now."""
    tree = compat.find_compositor_tree(scene)
    nodes = (
        [n for n in tree.nodes if n.get(TAG_PROPERTY) == armature and n.bl_idname == GROUP_NODE and n.node_tree]
        if tree
        else []
    )
    return any(node.node_tree.get(merge_group.TAG_PROPERTY) != merge_group.group_tag(scene) for node in nodes)


def find_frame_file(scene: bpy.types.Scene, armature: bpy.types.Object) -> Path | None:
    """A file of the frames that the compositor shows of an actor; None where it shows none."""
    tree = compat.find_compositor_tree(scene)
    ours = {node.bl_idname: node for node in tree.nodes if node.get(TAG_PROPERTY) == armature} if tree else {}
    merge, image = ours.get(GROUP_NODE), ours.get(IMAGE_NODE)
    return image_path(image.image) if merge is not None and image is not None and not merge.mute else None


def image_path(image: bpy.types.Image | None) -> Path | None:
    """Where an image is on disk, if it is a file."""
    named = image is not None and image.filepath
    return Path(bpy.path.abspath(image.filepath, library=image.library)) if named else None


def set_muted(scene: bpy.types.Scene, armature: bpy.types.Object, is_muted: bool) -> None:
    """Takes an actor out of the compositor's picture, or back in, when it is wired there."""
    tree = compat.find_compositor_tree(scene)
    for node in tree.nodes if tree else ():
        if node.get(TAG_PROPERTY) == armature and node.bl_idname == GROUP_NODE:
            node.mute = is_muted


def load_sequence(sequence: FrameSequence, scene: bpy.types.Scene | None = None) -> bpy.types.Image:
    """The frames as one image sequence, with the colour space and alpha of how the backend writes them.

    Args:
        scene: display colours (PNG) are taken for what this scene's view transform shows; None takes them for sRGB.
    """
    file = sequence.frame_path(sequence.first_frame)
    image = bpy.data.images.load(str(file), check_existing=True)
    image.reload()
    image.source = "SEQUENCE"
    if file.suffix == ".exr":
        image.colorspace_settings.name = "Linear Rec.709"
        image.alpha_mode = "PREMUL"
    else:
        image.colorspace_settings.name = (merge_group.view_transform_space(scene) if scene else "") or "sRGB"
        image.alpha_mode = "STRAIGHT"
    return image
