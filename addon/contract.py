"""The only module of the add-on that imports from the backend: what both sides share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.contract import (
        actor_folder,
        atomic_write,
        camera,
        channels,
        errors,
        geometry,
        live_link,
        performance,
        protocol,
        safe_io,
    )
    from backend.setup import install_torch
else:
    from ..backend.contract import (
        actor_folder,
        atomic_write,
        camera,
        channels,
        errors,
        geometry,
        live_link,
        performance,
        protocol,
        safe_io,
    )
    from ..backend.setup import install_torch

__all__ = [
    "PACKAGE",
    "ROOT",
    "actor_folder",
    "atomic_write",
    "camera",
    "channels",
    "errors",
    "geometry",
    "install_torch",
    "live_link",
    "performance",
    "protocol",
    "safe_io",
]

PACKAGE = __package__.rpartition(".")[0]  # the extension's own name, e.g. "bl_ext.user_default.portrait_actor"
ROOT = Path(__file__).resolve().parent.parent  # the folder that holds backend/: `python -m backend` runs here
