"""The sidebar tab and a menu: drawing only. Every button and slider belongs to an operator, a setting or the rig."""

from __future__ import annotations

from . import create, menu, overview, perform, pose, presets, render

CLASSES = (
    *menu.CLASSES,
    *presets.CLASSES,
    *overview.CLASSES,
    *create.CLASSES,
    *pose.CLASSES,
    *perform.CLASSES,
    *render.CLASSES,
)
