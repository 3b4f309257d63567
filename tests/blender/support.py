"""What several tests need and is no fixture."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "bl_ext.user_default.portrait_actor"


def backend(*arguments: str) -> None:
    """Runs a command of the real backend."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    subprocess.run(
        [os.environ["PORTRAIT_ACTOR_PYTHON"], "-m", "backend", *arguments], cwd=ROOT, env=environment, check=True
    )
