"""The compositor group that lays an actor over the scene, with all its sliders.

Most sliders change nothing until they are moved. The exceptions are Depth Merge, which hides the actor behind what
stands in front of it, Footage Look, and Edge, which hides the thin rim of a matte; see docs/user/COMPOSITING.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import bpy

from .. import rna
from . import compat
from .node_math import NodeMath

GROUP_VERSION = 2  # a group of another version is replaced by a new one
TAG_PROPERTY = "portrait_actor_merge"  # custom property of our groups: version and color space
GROUP_NAME = "Portrait Actor Merge"
FAR_DEPTH_METERS = 1e10  # depth where there is nothing, as Blender writes it
DEPTH_SOFTNESS_METERS = 0.01  # over which scene and actor cross; larger is softer and shows more of what is behind
EDGE_DEPTH_RADIUS_PIXELS = 4  # around the actor where its edge's depth counts: covers what Depth Merge smooths
LINEAR_SPACE = "Linear Rec.709"
DISPLAY_SPACE = "sRGB"
# Alpha over which Footage Look sets in. AgX needs 16 times the light for white, and negative light for some violets:
# a twentieth of that is a bright rim around the actor. Half coverage and less looks as with Standard.
LOOK_ALPHA = (0.5, 1.0)
MIN_ALPHA = 1e-3  # below it a half float's alpha is too coarse to divide a color by
MIN_MEAN_LIGHT = 1e-4  # of a channel, in the ratio of scene to footage: keeps a black scene's ratio finite
MIN_SUM_LIGHT = 3e-4  # the same for the sum of the three channels
# A Gaussian blur of deviation s divides the deviation of noise by 2 √π s, which the grain gets back; Blender's blur
# reaches to 3 s.
GRAIN_GAIN = 2 * math.pi**0.5 / 3
NOISE_GAIN = 12**0.5  # makes the deviation of noise between 0 and 1 a whole
NODES_PER_COLUMN = 12  # a tidy block is enough: nobody reads two hundred nodes
NODE_SPACING = (180, 160)  # in the units of the node editor

# Name, kind (F number, C color, P image, D depth), default, minimum, maximum, tooltip; a lone string begins a panel.
GROUP_INPUTS: tuple[Any, ...] = (
    ("Scene", "P", (0.0, 0.0, 0.0, 0.0), None, None, "Image behind the actor"),
    ("Scene Depth", "D", FAR_DEPTH_METERS, 0, FAR_DEPTH_METERS, "The Depth pass of the scene"),
    ("Actor", "P", (0.0, 0.0, 0.0, 0.0), None, None, "Combined of the actor's frames"),
    ("Actor Depth", "D", 0.0, 0, FAR_DEPTH_METERS, "Depth of the actor's frames; 0 is in front of everything"),
    ("Footage Look", "F", 1.0, 0, 1, "1 shows the footage's own colors through the scene's view transform"),
    "Depth",
    ("Depth Merge", "F", 1.0, 0, 1, "Hides the actor behind what is in front of it"),
    ("Depth Offset", "F", 0.0, -10, 10, "Metres added to the actor's depth"),
    "Edge",
    ("Edge", "F", -0.5, -20, 20, "Pixels by which the edge grows, or shrinks below 0"),
    ("Soften", "F", 0.0, 0, 50, "Pixels over which the edge is blurred"),
    ("Spill", "F", 0.0, 0, 1, "Removes the color of the footage's background from the edge"),
    ("Spill Color", "C", (0.0, 1.0, 0.0, 1.0), None, None, "Color to remove; at first the background's mean"),
    ("Spill Reach", "F", 8.0, 1, 100, "Pixels from the edge inwards"),
    "Match",
    ("Match Color", "F", 0.0, 0, 1, "Tints the actor as the scene's light differs from the footage's"),
    ("Match Exposure", "F", 0.0, 0, 1, "Brightens or darkens the actor in the same way"),
    ("Footage Light", "C", (0.5, 0.5, 0.5, 1.0), None, None, "The mean of the footage's background"),
    ("Gain", "C", (1.0, 1.0, 1.0, 1.0), None, None, "Multiplies the actor's light"),
    ("Offset", "C", (0.0, 0.0, 0.0, 1.0), None, None, "Added to the actor's light"),
    "Light Wrap",
    ("Light Wrap", "F", 0.0, 0, 2, "Lets the light behind the actor spread over its edge"),
    ("Wrap Reach", "F", 16.0, 1, 200, "Pixels from the edge inwards"),
    "Grain",
    ("Grain", "F", 0.0, 0, 1, "Noise like that of film or a sensor"),
    ("Grain Size", "F", 0.0, 0, 10, "Pixels over which the grain is blurred"),
)
SOCKET_TYPES: Final = {"F": "NodeSocketFloat", "D": "NodeSocketFloat", "C": "NodeSocketColor", "P": "NodeSocketColor"}


def get_merge_group(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """Return the group for a scene's view transform, made when the file has none."""
    tag = group_tag(scene)
    for group in bpy.data.node_groups:
        if group.get(TAG_PROPERTY) == tag and group.library is None:
            return group
    tree: rna.AnyNode = bpy.data.node_groups.new(GROUP_NAME, "CompositorNodeTree")
    tree[TAG_PROPERTY] = tag
    _add_sockets(tree)
    _add_nodes(tree, view_transform_space(scene))
    new_group: bpy.types.NodeTree = tree
    return new_group


def group_tag(scene: bpy.types.Scene) -> str:
    """Return the value of `TAG_PROPERTY` of a group that fits the scene."""
    return f"{GROUP_VERSION} {view_transform_space(scene)}"


def view_transform_space(scene: bpy.types.Scene) -> str:
    """Return the color space whose values the scene's view transform shows unchanged.

    Empty where scene-linear sRGB is that space already, and where the color configuration has none.
    """
    assert scene.view_settings is not None
    transform = scene.view_settings.view_transform
    space_property: Any = bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"]
    names = space_property.enum_items.keys()
    return next((n for n in (f"{transform} Base sRGB", f"{transform} sRGB") if n in names), "")


def _add_sockets(tree: bpy.types.NodeTree) -> None:
    """Add the sockets of `GROUP_INPUTS` and the two outputs."""
    interface = rna.get_interface(tree)
    interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor", description="Scene and actor")
    interface.new_socket("Actor", in_out="OUTPUT", socket_type="NodeSocketColor", description="The actor alone")
    panel = None
    for entry in GROUP_INPUTS:
        if isinstance(entry, str):
            panel = interface.new_panel(entry)
            continue
        name, kind, default, minimum, maximum, description = entry
        socket = interface.new_socket(
            name, in_out="INPUT", socket_type=SOCKET_TYPES[kind], parent=panel, description=description
        )
        socket.default_value = default
        if minimum is not None:
            socket.min_value, socket.max_value = minimum, maximum
        socket.hide_value = kind in "PD"


Channels = list[Any]
Step = Callable[[NodeMath, Any, Channels, Any], Channels]


def _add_nodes(tree: bpy.types.NodeTree, color_space: str) -> None:
    node_math = NodeMath(tree)
    inputs = tree.nodes.new("NodeGroupInput").outputs
    output = tree.nodes.new("NodeGroupOutput")
    *color, alpha = node_math.split_channels(inputs["Actor"])
    for step in (_apply_view_transform(color_space), _despill, _match_scene_light, _apply_gain):
        color = step(node_math, inputs, color, alpha)
    color, alpha = _adjust_edge(node_math, inputs, color, alpha)
    for step in (_add_light_wrap, _add_grain):
        color = step(node_math, inputs, color, alpha)
    visibility = _depth_visibility(node_math, inputs)
    actor = node_math.combine_channels(*(node_math.multiply(channel, visibility) for channel in (*color, alpha)))
    over = tree.nodes.new("CompositorNodeAlphaOver")
    background, foreground = compat.alpha_over_inputs(over)
    node_math.connect(inputs["Scene"], background)
    node_math.connect(actor, foreground)
    node_math.connect(over.outputs[0], output.inputs["Image"])
    node_math.connect(actor, output.inputs["Actor"])
    width, height = NODE_SPACING
    for number, node in enumerate(tree.nodes):
        node.location = (width * (number // NODES_PER_COLUMN), -height * (number % NODES_PER_COLUMN))
    output.location = (width * (len(tree.nodes) // NODES_PER_COLUMN + 2), 0)


def _apply_view_transform(color_space: str) -> Step:
    """Return the step that makes the view transform show the footage's colors.

    It replaces the light of an sRGB color by the light that the view transform shows as that color. Where alpha is
    thin, the color's own light stays, see `LOOK_ALPHA`.
    """

    def step(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> Channels:
        if not color_space:
            return color
        straight = node_math.combine_channels(*(_straight(node_math, channel, alpha) for channel in color), 1.0)
        display = node_math.convert_color_space(straight, LINEAR_SPACE, DISPLAY_SPACE)
        light = node_math.split_channels(node_math.convert_color_space(display, color_space, LINEAR_SPACE))[:3]
        amount = node_math.multiply(inputs["Footage Look"], node_math.smooth_step(alpha, *LOOK_ALPHA))
        return [
            node_math.mix(amount, before, node_math.multiply(after, alpha))
            for before, after in zip(color, light, strict=True)
        ]

    return step


def _straight(node_math: NodeMath, channel: Any, alpha: Any) -> Any:
    """Divide a channel by alpha, limited to 0–1 because the rounding of a thin alpha may exceed it."""
    return node_math.math("DIVIDE", channel, node_math.math("MAXIMUM", alpha, MIN_ALPHA), clamp=True)


def _despill(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> Channels:
    """Remove the spill's hue near the edge. The mean of the channels stays."""
    spill = node_math.split_channels(inputs["Spill Color"])[:3]
    mean = node_math.multiply(node_math.add(*spill), 1 / 3)
    hue = [node_math.subtract(channel, mean) for channel in spill]
    length = node_math.add(*(node_math.multiply(h, h) for h in hue))
    projection = node_math.add(*(node_math.multiply(c, h) for c, h in zip(color, hue, strict=True)))
    inside = node_math.blur(alpha, inputs["Spill Reach"])
    edge = node_math.math("MULTIPLY", node_math.subtract(1.0, inside), 2.0, clamp=True)
    amount = node_math.multiply(
        node_math.divide(node_math.math("MAXIMUM", projection, 0.0), length), edge, inputs["Spill"]
    )
    return [node_math.subtract(c, node_math.multiply(amount, h)) for c, h in zip(color, hue, strict=True)]


def _match_scene_light(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> Channels:
    """Multiply by the ratio of the scene's mean to the footage's background, hue and exposure separately."""
    scene_mean, footage_mean = (
        node_math.mean_rgb(inputs["Scene"]),
        node_math.split_channels(inputs["Footage Light"])[:3],
    )
    ratios = [
        node_math.divide(node_math.math("MAXIMUM", a, MIN_MEAN_LIGHT), b, MIN_MEAN_LIGHT)
        for a, b in zip(scene_mean, footage_mean, strict=True)
    ]
    scene_sum, footage_sum = node_math.add(*scene_mean), node_math.add(*footage_mean)
    exposure = node_math.divide(node_math.math("MAXIMUM", scene_sum, MIN_SUM_LIGHT), footage_sum, MIN_SUM_LIGHT)
    brighter = node_math.math("POWER", exposure, inputs["Match Exposure"])
    return [
        node_math.multiply(c, brighter, node_math.math("POWER", node_math.divide(r, exposure), inputs["Match Color"]))
        for c, r in zip(color, ratios, strict=True)
    ]


def _apply_gain(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> Channels:
    """Multiply by Gain and add Offset."""
    gain, offset = node_math.split_channels(inputs["Gain"])[:3], node_math.split_channels(inputs["Offset"])[:3]
    return [
        node_math.add(node_math.multiply(c, g), node_math.multiply(o, alpha))
        for c, g, o in zip(color, gain, offset, strict=True)
    ]


def _adjust_edge(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> tuple[Channels, Any]:
    """Move and soften the edge.

    Where the matte grows it gets the color of its neighborhood. Thin alpha goes first when it shrinks: at half a pixel
    inwards, alpha beyond the edge is squared and halved, so that a rim of 0.2 is gone and a hair is not.
    """
    edge, soften = inputs["Edge"], inputs["Soften"]
    reach = node_math.math("ABSOLUTE", edge)
    window = node_math.add(node_math.math("CEIL", reach), 1.0)
    # The mean over a window of 2 w + 1 pixels across a straight edge grows by 1 / (2 w + 1) with each pixel.
    mean = node_math.blur(alpha, window, is_box=True)
    distance = node_math.multiply(node_math.subtract(mean, 0.5), node_math.math("MULTIPLY_ADD", window, 2.0, 1.0))
    shifted = node_math.math("ADD", distance, node_math.add(edge, 0.5), clamp=True)
    grown, shrunk = node_math.math("MAXIMUM", alpha, shifted), node_math.math("MINIMUM", alpha, shifted)
    grows = node_math.math("GREATER_THAN", edge, 0.0)
    changed = node_math.mix(grows, shrunk, grown)
    shrink_rate = node_math.mix(grows, node_math.subtract(2.0, alpha), 1.0)
    changed = node_math.mix(node_math.math("MINIMUM", node_math.multiply(reach, shrink_rate), 1.0), alpha, changed)
    changed = node_math.blur(changed, soften)
    kept = node_math.math("MINIMUM", node_math.divide(changed, alpha), 1.0)
    gained = node_math.math("MAXIMUM", node_math.subtract(changed, alpha), 0.0)
    around = node_math.add(node_math.multiply(node_math.add(reach, soften), 2.0), 1.0)
    *spread, cover = node_math.split_channels(node_math.blur(node_math.combine_channels(*color, alpha), around))
    color = [
        node_math.add(node_math.multiply(c, kept), node_math.multiply(node_math.divide(s, cover), gained))
        for c, s in zip(color, spread, strict=True)
    ]
    return color, changed


def _add_light_wrap(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> Channels:
    """Add the blurred light of what is beside the actor."""
    uncovered = node_math.subtract(1.0, alpha)
    behind = [node_math.multiply(channel, uncovered) for channel in node_math.split_channels(inputs["Scene"])[:3]]
    light = node_math.split_channels(node_math.blur(node_math.combine_channels(*behind, 1.0), inputs["Wrap Reach"]))[:3]
    amount = node_math.multiply(inputs["Light Wrap"], alpha)
    return [node_math.add(c, node_math.multiply(channel, amount)) for c, channel in zip(color, light, strict=True)]


def _add_grain(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> Channels:
    """Add noise of mean 0. It grows with the square root of the light, which looks even in display values."""
    noise = node_math.subtract(compat.add_white_noise(node_math.tree, inputs["Actor"]), 0.5)
    size = inputs["Grain Size"]
    noise = node_math.multiply(
        node_math.blur(noise, size), node_math.math("MAXIMUM", node_math.multiply(size, GRAIN_GAIN), 1.0), NOISE_GAIN
    )
    amount = node_math.multiply(noise, inputs["Grain"])
    return [
        node_math.add(
            c,
            node_math.multiply(
                amount, node_math.math("SQRT", node_math.multiply(node_math.math("MAXIMUM", c, 0.0), alpha))
            ),
        )
        for c in color
    ]


def _depth_visibility(node_math: NodeMath, inputs: Any) -> Any:
    """Return 1 where the actor is nearer than the scene, 0 where it is hidden, and a value between where they cross.

    Beyond the actor's edge its depth is that of the edge, so that smoothing the mask does not shrink the edge.
    """
    actor = node_math.add(
        node_math.minimum_filter(inputs["Actor Depth"], EDGE_DEPTH_RADIUS_PIXELS), inputs["Depth Offset"]
    )
    distance = node_math.subtract(inputs["Scene Depth"], actor)
    front = node_math.math("MULTIPLY_ADD", distance, 1 / DEPTH_SOFTNESS_METERS, 0.5, clamp=True)
    return node_math.mix(inputs["Depth Merge"], 1.0, node_math.anti_alias(front))
