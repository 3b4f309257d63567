"""A Blender window with the extension's zip installed. `build.py test desktop` makes what is needed and says so."""

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
    """Where Blender lives, with the zip installed and enabled in a fresh user folder."""
    chroot = os.environ.get("PORTRAIT_ACTOR_CHROOT")
    lab = Path(tempfile.mkdtemp(prefix="portrait_actor_desktop_"))
    here = Machine(lab, Path(chroot) if chroot else None)
    archive = os.environ.get("PORTRAIT_ACTOR_ZIP")
    if archive is None:
        from tools import package

        archive = str(package.build_archive())
    here.install_extension(Path(archive))
    yield here
    shutil.rmtree(lab, ignore_errors=True)


@pytest.fixture(scope="session")
def window(machine: Machine) -> Iterator[Window]:
    """The window; when the tests are over Blender must end well and have written no traceback."""
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
    """A finished actor's folder, made by code; the path as Blender's side names it."""
    small_actor.write_actor(machine.host_folder / "Nora Ünlü.actor")
    return machine.blender_folder / "Nora Ünlü.actor"
