"""Tests inside Blender (`pip install bpy`): the extension's zip, installed into a fresh user folder and used there.

    PYTHON_WITH_BPY -m pytest tests/blender

PORTRAIT_ACTOR_ZIP names the zip (default: one is built), PORTRAIT_ACTOR_PYTHON the backend's Python (default: `.venv`).
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
_SCRATCH_FOLDER = Path(tempfile.mkdtemp(prefix="portrait_actor_tests_"))
atexit.register(shutil.rmtree, _SCRATCH_FOLDER, ignore_errors=True)

# Both must be set before Blender starts: it reads its folders once.
os.environ["BLENDER_USER_RESOURCES"] = str(_SCRATCH_FOLDER / "user")
_python = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
os.environ.setdefault("PORTRAIT_ACTOR_PYTHON", str(_python))

import bpy  # noqa: E402
import small_actor  # noqa: E402
from addon_modules import ADDON_MODULES, AddonModules  # noqa: E402
from support import PACKAGE, run_backend  # noqa: E402


def _find_archive() -> Path:
    if named := os.environ.get("PORTRAIT_ACTOR_ZIP"):
        return Path(named)
    from tools import package

    return package.build_archive(_SCRATCH_FOLDER)


@pytest.fixture(scope="session")
def archive() -> Path:
    """The extension's zip."""
    return _find_archive()


@pytest.fixture(scope="session", autouse=True)
def installed(archive: Path) -> Callable[[str], ModuleType]:
    """Installs and enables the extension; gives its modules by name, e.g. ``installed("addon.scene.rig")``."""
    bpy.ops.extensions.package_install_files(filepath=str(archive), repo="user_default", enable_on_install=True)
    return lambda name: import_module(f"{PACKAGE}.{name}")


@pytest.fixture(scope="session")
def addon(installed: Callable[[str], ModuleType]) -> AddonModules:
    """The extension's modules that tests call."""
    paths = (f"addon.{name}" for name in ADDON_MODULES)
    modules = AddonModules()
    for path in paths:
        setattr(modules, path.rpartition(".")[2], installed(path))
    return modules


@pytest.fixture(autouse=True)
def empty_file(addon: AddonModules) -> Iterator[None]:
    """Each test begins in an empty, unsaved file and leaves no job behind."""
    bpy.ops.wm.read_homefile(use_empty=True)
    yield
    addon.job.stop_job()


@pytest.fixture(scope="session")
def actor_folder(addon: AddonModules, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished actor with a face made by code: everything that Blender reads, no trained model."""
    return small_actor.write_actor(tmp_path_factory.mktemp("actors") / "Nora Ünlü.actor")


@pytest.fixture
def nora(addon: AddonModules, actor_folder: Path) -> SimpleNamespace:
    """That actor, in the scene: `.armature`, `.face`, `.folder`, `.sample(frames)`."""
    bpy.ops.portrait_actor.import_actor(directory=str(actor_folder))
    found = addon.scene_actor.require_actor(bpy.context)

    def sample(frames: Iterable[int]) -> Any:
        return addon.sampling.sample_frames(
            bpy.context.scene, bpy.context.view_layer, found.armature, found.face, frames
        )

    return SimpleNamespace(armature=found.armature, face=found.face, folder=actor_folder, sample=sample)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample actor, trained with the preset "tiny" by the real backend through the operator Create Actor."""
    folder = tmp_path_factory.mktemp("trained")
    video = folder / "sample.mp4"
    run_backend("sample", str(video), "--seconds", "4", "--size", "192")
    bpy.ops.portrait_actor.create_actor(
        video=str(video), folder=str(folder / "sample.actor"), preset="tiny", consent_who="nobody: drawn by code"
    )
    return folder / "sample.actor"


@pytest.fixture
def sam(addon: AddonModules, trained: Path) -> SimpleNamespace:
    """The trained sample actor in the scene: `.armature`, `.face`, `.folder`."""
    bpy.ops.portrait_actor.import_actor(directory=str(trained))
    found = addon.scene_actor.require_actor(bpy.context)
    return SimpleNamespace(armature=found.armature, face=found.face, folder=trained)


@pytest.fixture
def live(sam: SimpleNamespace, installed: Callable[[str], ModuleType]) -> Iterator[ModuleType]:
    """The live preview's module, at 256 pixels; switched off afterwards."""
    module = installed("addon.preview.live_preview")
    bpy.context.scene.portrait_actor.preview_size = "256"
    yield module
    module.stop_preview()


_exit_code = 0


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    global _exit_code
    _exit_code = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leaves without Blender's own exit, which crashes 4.2 and may hang 4.5 after everything has passed."""
    shutil.rmtree(_SCRATCH_FOLDER, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_exit_code)
