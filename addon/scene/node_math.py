"""Compositor nodes as arithmetic: each function adds nodes to a tree and gives the socket that holds the result."""

from __future__ import annotations

from typing import Any

import bpy

from . import compat

NodeValue = Any  # a socket, or a number


class NodeMath:
    """Writes formulas into a compositor tree."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self.tree = tree

    def add_node(self, kind: str, *inputs: NodeValue) -> bpy.types.Node:
        """A new node with its first inputs linked or set."""
        made = self.tree.nodes.new(kind)
        for socket, value in zip(made.inputs, inputs, strict=False):
            self.connect(value, socket)
        return made

    def connect(self, value: NodeValue, socket: Any) -> None:
        """Links a socket, or sets a number."""
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        else:
            socket.default_value = value

    def math(self, operation: str, *values: NodeValue, clamp: bool = False) -> Any:
        """Blender's Math node; `clamp` holds the result in 0–1."""
        made = self.add_node(compat.MATH_NODE, *values)
        made.operation, made.use_clamp = operation, clamp
        return made.outputs[0]

    def add(self, *values: NodeValue) -> Any:
        """Their sum."""
        total = values[0]
        for value in values[1:]:
            total = self.math("ADD", total, value)
        return total

    def multiply(self, *values: NodeValue) -> Any:
        """Their product."""
        product = values[0]
        for value in values[1:]:
            product = self.math("MULTIPLY", product, value)
        return product

    def subtract(self, a: NodeValue, b: NodeValue) -> Any:
        """a − b."""
        return self.math("SUBTRACT", a, b)

    def divide(self, a: NodeValue, b: NodeValue, min_divisor: float = 1e-5) -> Any:
        """a / b, b held at `least` or more."""
        return self.math("DIVIDE", a, self.math("MAXIMUM", b, min_divisor))

    def mix(self, factor: NodeValue, a: NodeValue, b: NodeValue) -> Any:
        """a where the factor is 0, b where it is 1."""
        return self.add(a, self.multiply(factor, self.subtract(b, a)))

    def smooth_step(self, value: NodeValue, low: float, high: float) -> Any:
        """0 up to `low`, 1 from `high` on, between them 3 t² − 2 t³, without a kink at either end."""
        t = self.math("MULTIPLY_ADD", value, 1 / (high - low), -low / (high - low), clamp=True)
        return self.multiply(t, t, self.math("MULTIPLY_ADD", t, -2.0, 3.0))

    def split_channels(self, color: NodeValue) -> list[Any]:
        """Red, green, blue, alpha."""
        return list(self.add_node("CompositorNodeSeparateColor", color).outputs)

    def combine_channels(self, *channels: NodeValue) -> Any:
        """A colour of red, green, blue and, if given, alpha."""
        return self.add_node("CompositorNodeCombineColor", *channels).outputs[0]

    def mean_rgb(self, color: NodeValue) -> list[Any]:
        """Red, green and blue of a picture's mean."""
        return [
            compat.channel_mean_socket(self.add_node("CompositorNodeLevels", color), name)
            for name in ("RED", "GREEN", "BLUE")
        ]

    def blur(self, image: NodeValue, pixels: NodeValue, *, is_box: bool = False) -> Any:
        """A picture or a plane blurred, by a Gaussian or as the mean of the square of 2 · pixels + 1; 0 pixels leave it
        as it is."""
        made = self.add_node("CompositorNodeBlur", image)
        self.connect(self.multiply(pixels, compat.configure_blur(made, is_box=is_box)), made.inputs["Size"])
        return made.outputs[0]

    def minimum_filter(self, plane: NodeValue, pixels: int) -> Any:
        """The least value within some pixels of each pixel."""
        made = self.add_node("CompositorNodeDilateErode", plane)
        compat.set_dilation(made, -pixels)
        return made.outputs[0]

    def anti_alias(self, plane: NodeValue) -> Any:
        """Smooths the steps of an edge."""
        return self.add_node("CompositorNodeAntiAliasing", plane).outputs[0]

    def convert_color_space(self, color: NodeValue, source: str, target: str) -> Any:
        """From one colour space to another."""
        made = self.add_node("CompositorNodeConvertColorSpace", color)
        made.from_color_space, made.to_color_space = source, target
        return made.outputs[0]
