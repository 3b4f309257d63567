"""The one door to the backend's shared modules: everything that both sides must agree on is imported from here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend import (
        actor,
        camera,
        channels,
        geometry,
        install_torch,
        live_link,
        performance,
        protocol,
        reading,
        whole_file,
    )
else:
    from ..backend import (
        actor,
        camera,
        channels,
        geometry,
        install_torch,
        live_link,
        performance,
        protocol,
        reading,
        whole_file,
    )

__all__ = [
    "PACKAGE",
    "ROOT",
    "actor",
    "camera",
    "channels",
    "geometry",
    "install_torch",
    "live_link",
    "performance",
    "protocol",
    "reading",
    "whole_file",
]

PACKAGE = __package__.rpartition(".")[0]  # the extension's own name, e.g. "bl_ext.user_default.portrait_actor"
ROOT = Path(__file__).resolve().parent.parent  # the folder that holds backend/: `python -m backend` runs here
