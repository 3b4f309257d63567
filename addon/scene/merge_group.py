"""The compositor group that lays an actor over the scene. Every slider but three leaves the picture as it is until it
is moved: Depth Merge, which hides the actor behind what stands before it, Footage Look, and Edge, which hides the thin
rim of a matte, see docs/user/COMPOSITING.md."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import bpy

from . import compat
from .node_math import Arithmetic

FORMAT = 2  # of the group; one of another format is built anew
MARK = "portrait_actor_merge"
FAR = 1e10
DEPTH_SOFTNESS = 0.01  # metres over which the scene and the actor cross
HALO = 4  # pixels around the actor where its edge's depth counts
LINEAR, DISPLAY = "Linear Rec.709", "sRGB"
# Alpha over which Footage Look sets in. AgX needs 16 times the light for white, and negative light for some violets:
# a twentieth of that is a bright rim around the actor. Half the coverage and less shows as with Standard.
LOOK_ALPHA = 0.5, 1.0
LEAST_ALPHA = 1e-3  # below it a half float's alpha says little about the colour

# Name, type (F number, C colour, P picture, D depth), default, least, most, what it does; a lone string begins a panel.
INPUTS: tuple[Any, ...] = (
    ("Scene", "P", (0.0, 0.0, 0.0, 0.0), None, None, "What the actor stands before"),
    ("Scene Depth", "D", FAR, 0, FAR, "The Depth pass of the scene"),
    ("Actor", "P", (0.0, 0.0, 0.0, 0.0), None, None, "Combined of the actor's frames"),
    ("Actor Depth", "D", 0.0, 0, FAR, "Depth of the actor's frames; 0 is in front of everything"),
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
TYPES = {"F": "NodeSocketFloat", "D": "NodeSocketFloat", "C": "NodeSocketColor", "P": "NodeSocketColor"}


def group(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """The group for a scene's view transform, made when the file has none."""
    wanted = mark(scene)
    found = next((t for t in bpy.data.node_groups if t.get(MARK) == wanted and t.library is None), None)
    if found is not None:
        return found
    tree = bpy.data.node_groups.new("Portrait Actor Merge", "CompositorNodeTree")
    tree[MARK] = wanted
    _declare(tree)
    _build(tree, look_space(scene))
    return tree


def mark(scene: bpy.types.Scene) -> str:
    """What a group that fits the scene carries as its `MARK`."""
    return f"{FORMAT} {look_space(scene)}"


def look_space(scene: bpy.types.Scene) -> str:
    """The colour space that the scene's view transform shows as it is; empty where scene-linear sRGB already is, and
    where the configuration has none."""
    transform = scene.view_settings.view_transform
    names = bpy.types.ColorManagedInputColorspaceSettings.bl_rna.properties["name"].enum_items.keys()
    return next((n for n in (f"{transform} Base sRGB", f"{transform} sRGB") if n in names), "")


def _declare(tree: bpy.types.NodeTree) -> None:
    interface = tree.interface
    interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor", description="Scene and actor")
    interface.new_socket("Actor", in_out="OUTPUT", socket_type="NodeSocketColor", description="The actor alone")
    panel = None
    for entry in INPUTS:
        if isinstance(entry, str):
            panel = interface.new_panel(entry)
            continue
        name, kind, default, least, most, description = entry
        socket = interface.new_socket(
            name, in_out="INPUT", socket_type=TYPES[kind], parent=panel, description=description
        )
        socket.default_value = default
        if least is not None:
            socket.min_value, socket.max_value = least, most
        socket.hide_value = kind in "PD"


def _build(tree: bpy.types.NodeTree, look: str) -> None:
    formula = Arithmetic(tree)
    given = tree.nodes.new("NodeGroupInput").outputs
    output = tree.nodes.new("NodeGroupOutput")
    *color, alpha = formula.split(given["Actor"])
    for step in (_look(look), _despill, _match, _gain):
        color = step(formula, given, color, alpha)
    color, alpha = _edge(formula, given, color, alpha)
    for step in (_wrap, _grain):
        color = step(formula, given, color, alpha)
    seen = _seen(formula, given)
    actor = formula.join(*(formula.multiply(channel, seen) for channel in (*color, alpha)))
    over = tree.nodes.new("CompositorNodeAlphaOver")
    background, foreground = compat.alpha_over_inputs(over)
    formula.feed(given["Scene"], background)
    formula.feed(actor, foreground)
    formula.feed(over.outputs[0], output.inputs["Image"])
    formula.feed(actor, output.inputs["Actor"])
    for column, node in enumerate(tree.nodes):  # nobody reads two hundred nodes: a tidy block is enough
        node.location = (180 * (column // 12), -160 * (column % 12))
    output.location = (180 * (len(tree.nodes) // 12 + 2), 0)


Channels = list[Any]
Step = Callable[[Arithmetic, Any, Channels, Any], Channels]


def _look(space: str) -> Step:
    """Replaces the light that sRGB means by the light that the view transform shows as the same colour. Where alpha is
    thin, the light that sRGB means stays, see `LOOK_ALPHA`."""

    def step(formula: Arithmetic, given: Any, color: Channels, alpha: Any) -> Channels:
        if not space:
            return color
        straight = formula.join(*(_straight(formula, channel, alpha) for channel in color), 1.0)
        shown = formula.convert(straight, LINEAR, DISPLAY)
        light = formula.split(formula.convert(shown, space, LINEAR))[:3]
        amount = formula.multiply(given["Footage Look"], formula.smooth_step(alpha, *LOOK_ALPHA))
        return [
            formula.mix(amount, before, formula.multiply(after, alpha))
            for before, after in zip(color, light, strict=True)
        ]

    return step


def _straight(formula: Arithmetic, channel: Any, alpha: Any) -> Any:
    """A channel freed from its alpha, within what a display shows: no rounding of a thin alpha leaves 0–1."""
    return formula.math("DIVIDE", channel, formula.math("MAXIMUM", alpha, LEAST_ALPHA), clamp=True)


def _despill(formula: Arithmetic, given: Any, color: Channels, alpha: Any) -> Channels:
    """Takes out what leans towards the spill's hue, near the edge; the mean of the channels stays."""
    spill = formula.split(given["Spill Color"])[:3]
    mean = formula.multiply(formula.add(*spill), 1 / 3)
    hue = [formula.subtract(channel, mean) for channel in spill]
    length = formula.add(*(formula.multiply(h, h) for h in hue))
    lean = formula.add(*(formula.multiply(c, h) for c, h in zip(color, hue, strict=True)))
    inside = formula.blur(alpha, given["Spill Reach"])
    edge = formula.math("MULTIPLY", formula.subtract(1.0, inside), 2.0, clamp=True)
    amount = formula.multiply(formula.divide(formula.math("MAXIMUM", lean, 0.0), length), edge, given["Spill"])
    return [formula.subtract(c, formula.multiply(amount, h)) for c, h in zip(color, hue, strict=True)]


def _match(formula: Arithmetic, given: Any, color: Channels, alpha: Any) -> Channels:
    """Multiplies by how the scene's mean differs from the footage's background: its hue and its brightness apart."""
    here, there = formula.mean(given["Scene"]), formula.split(given["Footage Light"])[:3]
    ratios = [formula.divide(formula.math("MAXIMUM", a, 1e-4), b, 1e-4) for a, b in zip(here, there, strict=True)]
    exposure = formula.divide(formula.math("MAXIMUM", formula.add(*here), 3e-4), formula.add(*there), 3e-4)
    brighter = formula.math("POWER", exposure, given["Match Exposure"])
    return [
        formula.multiply(c, brighter, formula.math("POWER", formula.divide(r, exposure), given["Match Color"]))
        for c, r in zip(color, ratios, strict=True)
    ]


def _gain(formula: Arithmetic, given: Any, color: Channels, alpha: Any) -> Channels:
    gain, offset = formula.split(given["Gain"])[:3], formula.split(given["Offset"])[:3]
    return [
        formula.add(formula.multiply(c, g), formula.multiply(o, alpha))
        for c, g, o in zip(color, gain, offset, strict=True)
    ]


def _edge(formula: Arithmetic, given: Any, color: Channels, alpha: Any) -> tuple[Channels, Any]:
    """Moves and softens the edge. What the matte gains gets the colour of its neighbourhood. What is thin goes first:
    at half a pixel inwards alpha beyond the edge is squared and halved, so a rim of 0.2 is gone and a hair is not."""
    edge, soften = given["Edge"], given["Soften"]
    reach = formula.math("ABSOLUTE", edge)
    window = formula.add(formula.math("CEIL", reach), 1.0)
    # The mean over a window of 2 w + 1 pixels across a straight edge grows by 1 / (2 w + 1) with each pixel.
    mean = formula.blur(alpha, window, flat=True)
    distance = formula.multiply(formula.subtract(mean, 0.5), formula.math("MULTIPLY_ADD", window, 2.0, 1.0))
    moved = formula.math("ADD", distance, formula.add(edge, 0.5), clamp=True)
    grown, shrunk = formula.math("MAXIMUM", alpha, moved), formula.math("MINIMUM", alpha, moved)
    grows = formula.math("GREATER_THAN", edge, 0.0)
    changed = formula.mix(grows, shrunk, grown)
    haste = formula.mix(grows, formula.subtract(2.0, alpha), 1.0)
    changed = formula.mix(formula.math("MINIMUM", formula.multiply(reach, haste), 1.0), alpha, changed)
    changed = formula.blur(changed, soften)
    kept = formula.math("MINIMUM", formula.divide(changed, alpha), 1.0)
    gained = formula.math("MAXIMUM", formula.subtract(changed, alpha), 0.0)
    around = formula.add(formula.multiply(formula.add(reach, soften), 2.0), 1.0)
    *spread, cover = formula.split(formula.blur(formula.join(*color, alpha), around))
    color = [
        formula.add(formula.multiply(c, kept), formula.multiply(formula.divide(s, cover), gained))
        for c, s in zip(color, spread, strict=True)
    ]
    return color, changed


def _wrap(formula: Arithmetic, given: Any, color: Channels, alpha: Any) -> Channels:
    """Adds the blurred light of what is beside the actor."""
    open_ = formula.subtract(1.0, alpha)
    behind = [formula.multiply(channel, open_) for channel in formula.split(given["Scene"])[:3]]
    light = formula.split(formula.blur(formula.join(*behind, 1.0), given["Wrap Reach"]))[:3]
    amount = formula.multiply(given["Light Wrap"], alpha)
    return [formula.add(c, formula.multiply(channel, amount)) for c, channel in zip(color, light, strict=True)]


def _grain(formula: Arithmetic, given: Any, color: Channels, alpha: Any) -> Channels:
    """Noise of mean 0 that grows with the root of the light, which looks even in display values."""
    noise = formula.subtract(compat.white_noise(formula.tree, given["Actor"]), 0.5)
    size = given["Grain Size"]
    noise = formula.multiply(
        formula.blur(noise, size), formula.math("MAXIMUM", formula.multiply(size, GRAIN_GAIN), 1.0), 12**0.5
    )
    amount = formula.multiply(noise, given["Grain"])
    return [
        formula.add(
            c, formula.multiply(amount, formula.math("SQRT", formula.multiply(formula.math("MAXIMUM", c, 0.0), alpha)))
        )
        for c in color
    ]


# A Gaussian of deviation s divides the noise's by 2 √π s, which is given back; Blender's reaches to 3 s.
GRAIN_GAIN = 2 * math.pi**0.5 / 3


def _seen(formula: Arithmetic, given: Any) -> Any:
    """1 where the actor is nearer than the scene, 0 where it is hidden, for both at once in between. Beyond the
    actor's edge its depth is that of the edge, so smoothing the mask's steps eats nothing of the edge itself."""
    actor = formula.add(formula.least_within(given["Actor Depth"], HALO), given["Depth Offset"])
    apart = formula.subtract(given["Scene Depth"], actor)
    front = formula.math("MULTIPLY_ADD", apart, 1 / DEPTH_SOFTNESS, 0.5, clamp=True)
    return formula.mix(given["Depth Merge"], 1.0, formula.anti_alias(front))
