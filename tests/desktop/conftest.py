"""Fixtures: a Blender window with the extension's zip installed. `build.py test desktop` makes what they need."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent / "blender")]

import small_actor  # noqa: E402
from window import Machine, Window  # noqa: E402


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """Return the machine with Blender, the zip installed and enabled in a fresh user folder."""
    chroot = os.environ.get("PORTRAIT_ACTOR_CHROOT")
    folder = Path(tempfile.mkdtemp(prefix="portrait_actor_desktop_"))
    opened = Machine(folder, Path(chroot) if chroot else None)
    archive = os.environ.get("PORTRAIT_ACTOR_ZIP")
    if archive is None:
        from tools import package

        archive = str(package.build_archive())
    opened.install_extension(Path(archive))
    yield opened
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def window(machine: Machine) -> Iterator[Window]:
    """Return the window. After the tests Blender must exit with code 0 and without a traceback in its log."""
    opened = Window(machine)
    try:
        yield opened
    finally:
        opened.capture_screen("last")
        code = opened.close()
    assert code == 0, opened.log()
    assert "Traceback" not in opened.log(), opened.log()


@pytest.fixture(scope="session")
def nora(machine: Machine) -> Path:
    """Return the folder of a finished actor made by code, as Blender's side names it."""
    small_actor.write_actor(machine.host_folder / "Nora Ünlü.actor")
    return machine.blender_folder / "Nora Ünlü.actor"
