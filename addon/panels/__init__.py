"""The sidebar tab: drawing only. Every button and slider belongs to an operator, a setting or the rig itself."""

from __future__ import annotations

from . import create, overview, perform, pose, render

CLASSES = (*overview.CLASSES, *create.CLASSES, *pose.CLASSES, *perform.CLASSES, *render.CLASSES)
