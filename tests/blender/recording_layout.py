"""A layout that keeps what a panel draws: Blender without a window draws nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from types import CellType, FunctionType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import bpy
from support import PACKAGE

CONTAINERS = {"row", "column", "box", "split", "grid_flow", "column_flow"}
# What wrapping text asks of the context: a sidebar without a window has no width, and its scale is 0.
WIDE_CONTEXT = SimpleNamespace(
    preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0)), region=SimpleNamespace(width=10_000)
)


@dataclass
class LayoutCall:
    """One call of a layout's function.

    Attributes:
        kind: the function's name, e.g. "operator".
        arguments: what it was called with, in order. options: what it was called with by name.
        siblings: all that is in the same row, column or box, this one included.
    """

    kind: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    siblings: list[LayoutCall] = field(repr=False)

    @property
    def text(self) -> str:
        """What is written on a button: the text that it was given, or its operator's name."""
        given = self.options.get("text")
        if given is not None or self.kind != "operator":
            return given or ""
        group, name = self.arguments[0].split(".")
        return getattr(getattr(bpy.ops, group), name).get_rna_type().name


class RecordingLayout:
    """Stands for a `bpy.types.UILayout`; `everything` is what all its parts drew, in order."""

    def __init__(self, everything: list[LayoutCall] | None = None) -> None:
        self.all_calls: list[LayoutCall] = [] if everything is None else everything
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
    """An object with a panel's functions and values and a recording layout: only Blender makes panels."""
    bases = tuple(base for base in panel.__bases__ if not issubclass(base, bpy.types.Panel))
    own = {name: value for name, value in vars(panel).items() if name in ("channel_names", "channel_group")}
    kind = type("StandIn", bases, own)
    code = panel.draw.__code__
    cells = tuple(CellType(kind) for name in code.co_freevars if name == "__class__")  # of super()
    if "draw" in vars(panel):
        kind.draw = FunctionType(code, panel.draw.__globals__, closure=cells)
    made = kind()
    made.layout = RecordingLayout()
    return made


def record_panel(panel: type[bpy.types.Panel]) -> list[LayoutCall]:
    """What a panel of the sidebar draws now."""
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "UI")
    stand_in = _make_panel_double(panel)
    common = import_module(f"{PACKAGE}.addon.panels.panel_base")
    with (
        patch.object(common, "bpy", SimpleNamespace(context=WIDE_CONTEXT)),
        bpy.context.temp_override(window=window, area=area, region=region),
    ):
        if hasattr(panel, "poll") and not panel.poll(bpy.context):
            return []
        stand_in.draw(bpy.context)
    return stand_in.layout.all_calls
