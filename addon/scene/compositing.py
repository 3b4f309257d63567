"""Rendered frames over the scene, in the compositor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from . import compat, merge_group

MARK = "portrait_actor"  # custom property of our nodes: the armature of the actor that they show
GROUP, IMAGE, LAYERS = "CompositorNodeGroup", "CompositorNodeImage", "CompositorNodeRLayers"


@dataclass(frozen=True)
class Sequence:
    """Image files numbered by scene frame, as the backend reports them.

    Attributes:
        folder: where they are.
        pattern: of their names, e.g. ``"jane_####.exr"``.
        first, last: frame numbers, inclusive.
    """

    folder: Path
    pattern: str
    first: int
    last: int

    def file(self, frame: int) -> Path:
        """The file of one frame."""
        return self.folder / self.pattern.replace("####", f"{frame:04d}")


@dataclass(frozen=True)
class Background:
    """What the actor was filmed before, as scene-linear means: where colour match and spill begin."""

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)


def place(
    scene: bpy.types.Scene, actor: bpy.types.Object, sequence: Sequence, background: Background = Background()
) -> bpy.types.Node:
    """Wires the frames over what the compositor shows; an actor that is wired already gets the new frames, and its
    sliders stay as they are.

    Args:
        actor: the armature; the nodes refer to it, so it may be renamed.

    Returns:
        the group node, whose inputs are the sliders.
    """
    tree = compat.compositor(scene)
    found = {node.bl_idname: node for node in tree.nodes if node.get(MARK) == actor}
    merge, image = found.get(GROUP), found.get(IMAGE)
    if merge is None or image is None:
        merge, image = _wire(scene, tree, actor, background)
    merge.node_tree, merge.mute = merge_group.group(scene), False
    _show(image, sequence)
    for name, target in (("Combined", "Actor"), ("Depth", "Actor Depth")):
        source = image.outputs.get(name)
        if source is None and name == "Combined":
            source = image.outputs["Image"]
        for link in list(merge.inputs[target].links):
            tree.links.remove(link)
        if source is not None:
            tree.links.new(source, merge.inputs[target])
    return merge


def _show(node: bpy.types.Node, sequence: Sequence) -> None:
    old = node.image
    node.image = load(sequence)
    if old is not None and old != node.image and old.users == 0:
        bpy.data.images.remove(old)
    node.frame_start = sequence.first
    node.frame_duration = sequence.last - sequence.first + 1
    node.frame_offset = sequence.first - 1  # the file's number is frame − frame_start + 1 + offset
    node.use_auto_refresh = True


def _wire(
    scene: bpy.types.Scene, tree: bpy.types.NodeTree, actor: bpy.types.Object, background: Background
) -> tuple[bpy.types.Node, bpy.types.Node]:
    """Puts the merge group in front of the compositor's output, and an Image node before it."""
    for node in [n for n in tree.nodes if n.get(MARK) == actor]:  # half of what was wired is left: begin anew
        tree.nodes.remove(node)
    output = compat.compositor_output(tree)
    merge, image = tree.nodes.new(GROUP), tree.nodes.new(IMAGE)
    for node in (merge, image):
        node[MARK] = actor
    image.label, merge.label = actor.name, f"{actor.name} over"
    merge.node_tree = merge_group.group(scene)
    merge.width = 220
    color = (*background.mean, 1.0)
    merge.inputs["Footage Light"].default_value = merge.inputs["Spill Color"].default_value = color
    x, y = output.node.location
    if output.links:
        before = output.links[0].from_node
        x = max(x, before.location.x + before.width + 340)  # room for the group between both
        tree.links.new(output.links[0].from_socket, merge.inputs["Scene"])
    tree.links.new(_depth(scene, tree), merge.inputs["Scene Depth"])
    tree.links.new(merge.outputs["Image"], output)
    output.node.location.x = x
    merge.location, image.location = (x - 280, y), (x - 560, y - 400)
    return merge, image


def _depth(scene: bpy.types.Scene, tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
    """The scene's depth: switches the pass on where it is off."""
    layers = next((n for n in tree.nodes if n.bl_idname == LAYERS and n.scene == scene), None)
    if layers is None:
        layers = tree.nodes.new(LAYERS)
        layers.scene = scene
    scene.view_layers[layers.layer].use_pass_z = True
    return layers.outputs["Depth"]


def is_outdated(scene: bpy.types.Scene, actor: bpy.types.Object) -> bool:
    """Whether an actor's group has an older format, or was made for another view transform than the scene has now."""
    tree = compat.existing_compositor(scene)
    nodes = [n for n in tree.nodes if n.get(MARK) == actor and n.bl_idname == GROUP and n.node_tree] if tree else []
    return any(node.node_tree.get(merge_group.MARK) != merge_group.mark(scene) for node in nodes)


def shown_file(scene: bpy.types.Scene, actor: bpy.types.Object) -> Path | None:
    """A file of the frames that the compositor shows of an actor; None where it shows none."""
    tree = compat.existing_compositor(scene)
    ours = {node.bl_idname: node for node in tree.nodes if node.get(MARK) == actor} if tree else {}
    merge, image = ours.get(GROUP), ours.get(IMAGE)
    return file_of(image.image) if merge is not None and image is not None and not merge.mute else None


def file_of(image: bpy.types.Image | None) -> Path | None:
    """Where an image is on disk, if it is a file."""
    named = image is not None and image.filepath
    return Path(bpy.path.abspath(image.filepath, library=image.library)) if named else None


def set_muted(scene: bpy.types.Scene, actor: bpy.types.Object, muted: bool) -> None:
    """Takes an actor out of the compositor's picture, or back in, when it is wired there."""
    tree = compat.existing_compositor(scene)
    for node in tree.nodes if tree else ():
        if node.get(MARK) == actor and node.bl_idname == GROUP:
            node.mute = muted


def load(sequence: Sequence, scene: bpy.types.Scene | None = None) -> bpy.types.Image:
    """The frames as one image sequence, with the colour space and alpha of how the backend writes them.

    Args:
        scene: display colours (PNG) are taken for what this scene's view transform shows; None takes them for sRGB.
    """
    file = sequence.file(sequence.first)
    image = bpy.data.images.load(str(file), check_existing=True)
    image.reload()
    image.source = "SEQUENCE"
    if file.suffix == ".exr":
        image.colorspace_settings.name = "Linear Rec.709"
        image.alpha_mode = "PREMUL"
    else:
        image.colorspace_settings.name = (merge_group.look_space(scene) if scene else "") or "sRGB"
        image.alpha_mode = "STRAIGHT"
    return image
