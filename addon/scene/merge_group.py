"""The compositor group that lays an actor over the scene. Every slider but three leaves the picture as it is until it
is moved: Depth Merge, which hides the actor behind what stands before it, Footage Look, and Edge, which hides the thin
rim of a matte, see docs/user/COMPOSITING.md."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import bpy

from . import compat
from .node_math import NodeMath

GROUP_VERSION = 2  # of the group; one of another format is built anew
TAG_PROPERTY = "portrait_actor_merge"
FAR_DEPTH = 1e10
DEPTH_SOFTNESS_METERS = 0.01  # metres over which the scene and the actor cross
EDGE_DEPTH_RADIUS_PIXELS = 4  # pixels around the actor where its edge's depth counts
LINEAR_SPACE, DISPLAY_SPACE = "Linear Rec.709", "sRGB"
# Alpha over which Footage Look sets in. AgX needs 16 times the light for white, and negative light for some violets:
# a twentieth of that is a bright rim around the actor. Half the coverage and less shows as with Standard.
LOOK_ALPHA = 0.5, 1.0
LEAST_ALPHA = 1e-3  # below it a half float's alpha says little about the colour

# Name, type (F number, C colour, P picture, D depth), default, least, most, what it does; a lone string begins a panel.
GROUP_INPUTS: tuple[Any, ...] = (
    ("Scene", "P", (0.0, 0.0, 0.0, 0.0), None, None, "What the actor stands before"),
    ("Scene Depth", "D", FAR_DEPTH, 0, FAR_DEPTH, "The Depth pass of the scene"),
    ("Actor", "P", (0.0, 0.0, 0.0, 0.0), None, None, "Combined of the actor's frames"),
    ("Actor Depth", "D", 0.0, 0, FAR_DEPTH, "Depth of the actor's frames; 0 is in front of everything"),
    ("Footage Look", "F", 1.0, 0, 1, "1 shows the footage's own colors through the scene's view transform"),
    "Depth",
    ("Depth Merge", "F", 1.0, 0, 1, "Hides the actor behind what stands before it"),
    ("Depth Offset", "F", 0.0, -10, 10, "Metres by which the actor counts as farther away"),
    "Edge",
    ("Edge", "F", -0.5, -20, 20, "Pixels by which the edge grows, or shrinks below 0"),
    ("Soften", "F", 0.0, 0, 50, "Pixels over which the edge is blurred"),
    ("Spill", "F", 0.0, 0, 1, "Takes the color of the footage's background out of the edge"),
    ("Spill Color", "C", (0.0, 1.0, 0.0, 1.0), None, None, "What is taken out; at first the background's mean"),
    ("Spill Reach", "F", 8.0, 1, 100, "Pixels from the edge inwards"),
    "Match",
    ("Match Color", "F", 0.0, 0, 1, "Tints the actor as the scene's light differs from the footage's"),
    ("Match Exposure", "F", 0.0, 0, 1, "Brightens or darkens it likewise"),
    ("Footage Light", "C", (0.5, 0.5, 0.5, 1.0), None, None, "The mean of the footage's background"),
    ("Gain", "C", (1.0, 1.0, 1.0, 1.0), None, None, "Multiplies the actor's light"),
    ("Offset", "C", (0.0, 0.0, 0.0, 1.0), None, None, "Is added to the actor's light"),
    "Light Wrap",
    ("Light Wrap", "F", 0.0, 0, 2, "Lets the light behind the actor spread over its edge"),
    ("Wrap Reach", "F", 16.0, 1, 200, "Pixels from the edge inwards"),
    "Grain",
    ("Grain", "F", 0.0, 0, 1, "Noise as of a film or a sensor"),
    ("Grain Size", "F", 0.0, 0, 10, "Pixels over which it is blurred"),
)
SOCKET_TYPES = {"F": "NodeSocketFloat", "D": "NodeSocketFloat", "C": "NodeSocketColor", "P": "NodeSocketColor"}


def get_merge_group(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """The group for a scene's view transform, made when the file has none."""
    wanted = group_tag(scene)
    found = next((t for t in bpy.data.node_groups if t.get(TAG_PROPERTY) == wanted and t.library is None), None)
    if found is not None:
        return found
    tree = bpy.data.node_groups.new("Portrait Actor Merge", "CompositorNodeTree")
    tree[TAG_PROPERTY] = wanted
    _add_sockets(tree)
    _add_nodes(tree, view_transform_space(scene))
    return tree


def group_tag(scene: bpy.types.Scene) -> str:
    """What a group that fits the scene carries as its `MARK`."""
    return f"{GROUP_VERSION} {view_transform_space(scene)}"


def view_transform_space(scene: bpy.types.Scene) -> str:
    """The colour space that the scene's view transform shows as it is; empty where scene-linear sRGB already is, and
    where the configuration has none."""
    transform = scene.view_settings.view_transform
    names = bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"].enum_items.keys()
    return next((n for n in (f"{transform} Base sRGB", f"{transform} sRGB") if n in names), "")


def _add_sockets(tree: bpy.types.NodeTree) -> None:
    interface = tree.interface
    interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor", description="Scene and actor")
    interface.new_socket("Actor", in_out="OUTPUT", socket_type="NodeSocketColor", description="The actor alone")
    panel = None
    for entry in GROUP_INPUTS:
        if isinstance(entry, str):
            panel = interface.new_panel(entry)
            continue
        name, kind, default, least, most, description = entry
        socket = interface.new_socket(
            name, in_out="INPUT", socket_type=SOCKET_TYPES[kind], parent=panel, description=description
        )
        socket.default_value = default
        if least is not None:
            socket.min_value, socket.max_value = least, most
        socket.hide_value = kind in "PD"


def _add_nodes(tree: bpy.types.NodeTree, color_space: str) -> None:
    formula = NodeMath(tree)
    given = tree.nodes.new("NodeGroupInput").outputs
    output = tree.nodes.new("NodeGroupOutput")
    *color, alpha = formula.split_channels(given["Actor"])
    for step in (_apply_view_transform(color_space), _despill, _match_scene_light, _apply_gain):
        color = step(formula, given, color, alpha)
    color, alpha = _adjust_edge(formula, given, color, alpha)
    for step in (_add_light_wrap, _add_grain):
        color = step(formula, given, color, alpha)
    seen = _depth_visibility(formula, given)
    actor = formula.combine_channels(*(formula.multiply(channel, seen) for channel in (*color, alpha)))
    over = tree.nodes.new("CompositorNodeAlphaOver")
    background, foreground = compat.alpha_over_inputs(over)
    formula.connect(given["Scene"], background)
    formula.connect(actor, foreground)
    formula.connect(over.outputs[0], output.inputs["Image"])
    formula.connect(actor, output.inputs["Actor"])
    for column, node in enumerate(tree.nodes):  # nobody reads two hundred nodes: a tidy block is enough
        node.location = (180 * (column // 12), -160 * (column % 12))
    output.location = (180 * (len(tree.nodes) // 12 + 2), 0)


Channels = list[Any]
Step = Callable[[NodeMath, Any, Channels, Any], Channels]


def _apply_view_transform(color_space: str) -> Step:
    """Replaces the light that sRGB means by the light that the view transform shows as the same colour. Where alpha is
    thin, the light that sRGB means stays, see `LOOK_ALPHA`."""

    def step(formula: NodeMath, given: Any, color: Channels, alpha: Any) -> Channels:
        if not color_space:
            return color
        straight = formula.combine_channels(*(_straight(formula, channel, alpha) for channel in color), 1.0)
        shown = formula.convert_color_space(straight, LINEAR_SPACE, DISPLAY_SPACE)
        light = formula.split_channels(formula.convert_color_space(shown, color_space, LINEAR_SPACE))[:3]
        amount = formula.multiply(given["Footage Look"], formula.smooth_step(alpha, *LOOK_ALPHA))
        return [
            formula.mix(amount, before, formula.multiply(after, alpha))
            for before, after in zip(color, light, strict=True)
        ]

    return step


def _straight(formula: NodeMath, channel: Any, alpha: Any) -> Any:
    """A channel freed from its alpha, within what a display shows: no rounding of a thin alpha leaves 0–1."""
    return formula.math("DIVIDE", channel, formula.math("MAXIMUM", alpha, LEAST_ALPHA), clamp=True)


def _despill(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> Channels:
    """Takes out what leans towards the spill's hue, near the edge; the mean of the channels stays."""
    spill = node_math.split_channels(inputs["Spill Color"])[:3]
    mean = node_math.multiply(node_math.add(*spill), 1 / 3)
    hue = [node_math.subtract(channel, mean) for channel in spill]
    length = node_math.add(*(node_math.multiply(h, h) for h in hue))
    lean = node_math.add(*(node_math.multiply(c, h) for c, h in zip(color, hue, strict=True)))
    inside = node_math.blur(alpha, inputs["Spill Reach"])
    edge = node_math.math("MULTIPLY", node_math.subtract(1.0, inside), 2.0, clamp=True)
    amount = node_math.multiply(node_math.divide(node_math.math("MAXIMUM", lean, 0.0), length), edge, inputs["Spill"])
    return [node_math.subtract(c, node_math.multiply(amount, h)) for c, h in zip(color, hue, strict=True)]


def _match_scene_light(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> Channels:
    """Multiplies by how the scene's mean differs from the footage's background: its hue and its brightness apart."""
    here, there = node_math.mean_rgb(inputs["Scene"]), node_math.split_channels(inputs["Footage Light"])[:3]
    ratios = [node_math.divide(node_math.math("MAXIMUM", a, 1e-4), b, 1e-4) for a, b in zip(here, there, strict=True)]
    exposure = node_math.divide(node_math.math("MAXIMUM", node_math.add(*here), 3e-4), node_math.add(*there), 3e-4)
    brighter = node_math.math("POWER", exposure, inputs["Match Exposure"])
    return [
        node_math.multiply(c, brighter, node_math.math("POWER", node_math.divide(r, exposure), inputs["Match Color"]))
        for c, r in zip(color, ratios, strict=True)
    ]


def _apply_gain(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> Channels:
    gain, offset = node_math.split_channels(inputs["Gain"])[:3], node_math.split_channels(inputs["Offset"])[:3]
    return [
        node_math.add(node_math.multiply(c, g), node_math.multiply(o, alpha))
        for c, g, o in zip(color, gain, offset, strict=True)
    ]


def _adjust_edge(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> tuple[Channels, Any]:
    """Moves and softens the edge. What the matte gains gets the colour of its neighbourhood. What is thin goes first:
    at half a pixel inwards alpha beyond the edge is squared and halved, so a rim of 0.2 is gone and a hair is not."""
    edge, soften = inputs["Edge"], inputs["Soften"]
    reach = node_math.math("ABSOLUTE", edge)
    window = node_math.add(node_math.math("CEIL", reach), 1.0)
    # The mean over a window of 2 w + 1 pixels across a straight edge grows by 1 / (2 w + 1) with each pixel.
    mean = node_math.blur(alpha, window, is_box=True)
    distance = node_math.multiply(node_math.subtract(mean, 0.5), node_math.math("MULTIPLY_ADD", window, 2.0, 1.0))
    moved = node_math.math("ADD", distance, node_math.add(edge, 0.5), clamp=True)
    grown, shrunk = node_math.math("MAXIMUM", alpha, moved), node_math.math("MINIMUM", alpha, moved)
    grows = node_math.math("GREATER_THAN", edge, 0.0)
    changed = node_math.mix(grows, shrunk, grown)
    haste = node_math.mix(grows, node_math.subtract(2.0, alpha), 1.0)
    changed = node_math.mix(node_math.math("MINIMUM", node_math.multiply(reach, haste), 1.0), alpha, changed)
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
    """Adds the blurred light of what is beside the actor."""
    open_ = node_math.subtract(1.0, alpha)
    behind = [node_math.multiply(channel, open_) for channel in node_math.split_channels(inputs["Scene"])[:3]]
    light = node_math.split_channels(node_math.blur(node_math.combine_channels(*behind, 1.0), inputs["Wrap Reach"]))[:3]
    amount = node_math.multiply(inputs["Light Wrap"], alpha)
    return [node_math.add(c, node_math.multiply(channel, amount)) for c, channel in zip(color, light, strict=True)]


def _add_grain(node_math: NodeMath, inputs: Any, color: Channels, alpha: Any) -> Channels:
    """Noise of mean 0 that grows with the root of the light, which looks even in display values."""
    noise = node_math.subtract(compat.add_white_noise(node_math.tree, inputs["Actor"]), 0.5)
    size = inputs["Grain Size"]
    noise = node_math.multiply(
        node_math.blur(noise, size), node_math.math("MAXIMUM", node_math.multiply(size, GRAIN_GAIN), 1.0), 12**0.5
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


# A Gaussian of deviation s divides the noise's by 2 √π s, which is given back; Blender's reaches to 3 s.
GRAIN_GAIN = 2 * math.pi**0.5 / 3


def _depth_visibility(node_math: NodeMath, inputs: Any) -> Any:
    """1 where the actor is nearer than the scene, 0 where it is hidden, for both at once in between. Beyond the
    actor's edge its depth is that of the edge, so smoothing the mask's steps eats nothing of the edge itself."""
    actor = node_math.add(
        node_math.minimum_filter(inputs["Actor Depth"], EDGE_DEPTH_RADIUS_PIXELS), inputs["Depth Offset"]
    )
    apart = node_math.subtract(inputs["Scene Depth"], actor)
    front = node_math.math("MULTIPLY_ADD", apart, 1 / DEPTH_SOFTNESS_METERS, 0.5, clamp=True)
    return node_math.mix(inputs["Depth Merge"], 1.0, node_math.anti_alias(front))
