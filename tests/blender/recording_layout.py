"""A layout that records what a panel draws: Blender without a window draws nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from types import CellType, FunctionType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import bpy
from support import PACKAGE

CONTAINERS = frozenset({"row", "column", "box", "split", "grid_flow", "column_flow"})
# Stands for the context when texts are wrapped: without a window a sidebar has no width, and its scale is 0.
WIDE_CONTEXT = SimpleNamespace(
    preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0)), region=SimpleNamespace(width=10_000)
)


@dataclass
class LayoutCall:
    """One call of a layout's function.

    Attributes:
        kind: the function's name, e.g. "operator".
        arguments: its positional arguments.
        options: its keyword arguments.
        siblings: all calls in the same row, column or box, this one included.
    """

    kind: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    siblings: list[LayoutCall] = field(repr=False)

    @property
    def text(self) -> str:
        """The text on a button: the given one, or its operator's name."""
        given = self.options.get("text")
        if given is not None or self.kind != "operator":
            return given or ""
        group, name = self.arguments[0].split(".")
        label: str = getattr(getattr(bpy.ops, group), name).get_rna_type().name
        return label


class RecordingLayout:
    """Test double of a `bpy.types.UILayout`.

    Attributes:
        all_calls: the calls of the layout and all its parts, in order.
        siblings: the calls of this part.
    """

    def __init__(self, all_calls: list[LayoutCall] | None = None) -> None:
        self.all_calls: list[LayoutCall] = [] if all_calls is None else all_calls
        self.siblings: list[LayoutCall] = []

    def __getattr__(self, kind: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if kind in CONTAINERS:
                return RecordingLayout(self.all_calls)
            if kind == "panel":
                return RecordingLayout(self.all_calls), RecordingLayout(self.all_calls)
            drawn = LayoutCall(kind, arguments, options, self.siblings)
            self.siblings.append(drawn)
            self.all_calls.append(drawn)
            return SimpleNamespace()

        return call


def _make_panel_double(panel: type[bpy.types.Panel]) -> Any:
    """Return an object with a panel's functions, values and a recording layout. Only Blender can make panels."""
    bases = tuple(base for base in panel.__bases__ if not issubclass(base, bpy.types.Panel))
    own = {name: value for name, value in vars(panel).items() if name in ("channel_names", "channel_group")}
    double: Any = type("PanelDouble", bases, own)
    draw: Any = panel.draw
    code = draw.__code__
    cells = tuple(CellType(double) for name in code.co_freevars if name == "__class__")  # of super()
    if "draw" in vars(panel):
        double.draw = FunctionType(code, draw.__globals__, closure=cells)
    instance = double()
    instance.layout = RecordingLayout()
    return instance


def record_panel(panel: type[bpy.types.Panel]) -> list[LayoutCall]:
    """Return the calls with which a panel of the sidebar is drawn now."""
    manager: Any = bpy.context.window_manager
    window = manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "UI")
    double = _make_panel_double(panel)
    panel_base = import_module(f"{PACKAGE}.addon.panels.panel_base")
    with (
        patch.object(panel_base, "bpy", SimpleNamespace(context=WIDE_CONTEXT)),
        bpy.context.temp_override(window=window, area=area, region=region),
    ):
        if hasattr(panel, "poll") and not panel.poll(bpy.context):
            return []
        double.draw(bpy.context)
    calls: list[LayoutCall] = double.layout.all_calls
    return calls
