"""Compositor nodes as arithmetic: each method adds nodes to a tree and returns the socket with the result."""

from __future__ import annotations

from typing import Any

import bpy

from .. import rna
from . import compat

NodeValue = Any  # a socket or a number


class NodeMath:
    """Builder of formulas in a compositor tree."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self.tree = tree

    def add_node(self, kind: str, *inputs: NodeValue) -> rna.AnyNode:
        """Return a new node with its first inputs linked or set."""
        node = self.tree.nodes.new(kind)
        for socket, value in zip(node.inputs, inputs, strict=False):
            self.connect(value, socket)
        return node

    def connect(self, value: NodeValue, socket: Any) -> None:
        """Link a socket, or set a number."""
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        else:
            socket.default_value = value

    def math(self, operation: str, *values: NodeValue, clamp: bool = False) -> Any:
        """Return the result of a Math node; `clamp` limits it to 0–1."""
        node = self.add_node(compat.MATH_NODE, *values)
        node.operation, node.use_clamp = operation, clamp
        return node.outputs[0]

    def add(self, *values: NodeValue) -> Any:
        """Return the sum."""
        total = values[0]
        for value in values[1:]:
            total = self.math("ADD", total, value)
        return total

    def multiply(self, *values: NodeValue) -> Any:
        """Return the product."""
        product = values[0]
        for value in values[1:]:
            product = self.math("MULTIPLY", product, value)
        return product

    def subtract(self, a: NodeValue, b: NodeValue) -> Any:
        """Return a − b."""
        return self.math("SUBTRACT", a, b)

    def divide(self, a: NodeValue, b: NodeValue, min_divisor: float = 1e-5) -> Any:
        """Return a / b with b raised to at least `min_divisor`."""
        return self.math("DIVIDE", a, self.math("MAXIMUM", b, min_divisor))

    def mix(self, factor: NodeValue, a: NodeValue, b: NodeValue) -> Any:
        """Return a where the factor is 0, b where it is 1, and a mixture between."""
        return self.add(a, self.multiply(factor, self.subtract(b, a)))

    def smooth_step(self, value: NodeValue, low: float, high: float) -> Any:
        """Return 0 up to `low`, 1 from `high` on, and 3 t² − 2 t³ between them, smooth at both ends."""
        t = self.math("MULTIPLY_ADD", value, 1 / (high - low), -low / (high - low), clamp=True)
        return self.multiply(t, t, self.math("MULTIPLY_ADD", t, -2.0, 3.0))

    def split_channels(self, color: NodeValue) -> list[Any]:
        """Return red, green, blue and alpha."""
        return list(self.add_node("CompositorNodeSeparateColor", color).outputs)

    def combine_channels(self, *channels: NodeValue) -> Any:
        """Return a color of red, green, blue and, if given, alpha."""
        return self.add_node("CompositorNodeCombineColor", *channels).outputs[0]

    def mean_rgb(self, color: NodeValue) -> list[Any]:
        """Return red, green and blue of an image's mean."""
        return [
            compat.channel_mean_socket(self.add_node("CompositorNodeLevels", color), name)
            for name in ("RED", "GREEN", "BLUE")
        ]

    def blur(self, image: NodeValue, pixels: NodeValue, *, is_box: bool = False) -> Any:
        """Return an image or a plane blurred by a Gaussian, or by a box of 2 · pixels + 1; 0 pixels change nothing."""
        node = self.add_node("CompositorNodeBlur", image)
        self.connect(self.multiply(pixels, compat.configure_blur(node, is_box=is_box)), node.inputs["Size"])
        return node.outputs[0]

    def minimum_filter(self, plane: NodeValue, pixels: int) -> Any:
        """Return the minimum within some pixels of each pixel."""
        node = self.add_node("CompositorNodeDilateErode", plane)
        compat.set_dilation(node, -pixels)
        return node.outputs[0]

    def anti_alias(self, plane: NodeValue) -> Any:
        """Smooth the steps of an edge."""
        return self.add_node("CompositorNodeAntiAliasing", plane).outputs[0]

    def convert_color_space(self, color: NodeValue, source: str, target: str) -> Any:
        """Convert a color from one color space to another."""
        node = self.add_node("CompositorNodeConvertColorSpace", color)
        node.from_color_space, node.to_color_space = source, target
        return node.outputs[0]
