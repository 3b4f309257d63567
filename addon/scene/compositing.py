"""Rendered frames over the scene, in the compositor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from . import versions

MARK = "portrait_actor"  # custom property of our nodes: the armature of the actor that they show


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


def place(scene: bpy.types.Scene, actor: bpy.types.Object, sequence: Sequence) -> bpy.types.Node:
    """Wires the frames over what the compositor shows; an actor that is wired already gets the new frames.

    Args:
        actor: the armature; the nodes refer to it, so it may be renamed.

    Returns:
        the Image node.
    """
    tree = versions.compositor(scene)
    node = next((n for n in tree.nodes if n.get(MARK) == actor and n.bl_idname == "CompositorNodeImage"), None)
    if node is None:
        node = _wire(tree, actor)
    old = node.image
    node.image = _load(sequence)
    if old is not None and old != node.image and old.users == 0:
        bpy.data.images.remove(old)
    node.frame_start = sequence.first
    node.frame_duration = sequence.last - sequence.first + 1
    node.frame_offset = sequence.first - 1  # the file's number is frame − frame_start + 1 + offset
    node.use_auto_refresh = True
    over = next(n for n in tree.nodes if n.get(MARK) == actor and n.bl_idname == "CompositorNodeAlphaOver")
    picture = node.outputs.get("Combined") or node.outputs["Image"]
    tree.links.new(picture, versions.alpha_over_inputs(over)[1])
    return node


def _wire(tree: bpy.types.NodeTree, actor: bpy.types.Object) -> bpy.types.Node:
    """Puts an Alpha Over in front of the compositor's output, and an Image node before it."""
    output = versions.compositor_output(tree)
    over, image = tree.nodes.new("CompositorNodeAlphaOver"), tree.nodes.new("CompositorNodeImage")
    for node in (over, image):
        node[MARK] = actor
    image.label, over.label = actor.name, f"{actor.name} over"
    background, _ = versions.alpha_over_inputs(over)
    below = output.links[0].from_socket if output.links else None
    if below is not None:
        tree.links.new(below, background)
    tree.links.new(over.outputs[0], output)
    x, y = output.node.location
    over.location, image.location = (x - 220, y), (x - 460, y - 260)
    return image


def _load(sequence: Sequence) -> bpy.types.Image:
    """The frames as one image sequence, with the colour space and alpha of how the backend writes them."""
    file = sequence.file(sequence.first)
    image = bpy.data.images.load(str(file), check_existing=True)
    image.reload()
    image.source = "SEQUENCE"
    if file.suffix == ".exr":
        image.colorspace_settings.name = "Linear Rec.709"
        image.alpha_mode = "PREMUL"
    else:
        image.colorspace_settings.name = "sRGB"
        image.alpha_mode = "STRAIGHT"
    return image
