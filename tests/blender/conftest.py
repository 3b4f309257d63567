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
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from addon.scene.scene_actor import SceneActor
    from backend.contract.camera import CameraPath
    from backend.contract.performance import Performance

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
from support import OPERATORS, PACKAGE, ImportedActor, SampledActor, run_backend  # noqa: E402


def _find_archive() -> Path:
    """Return the zip that the environment names, or build one."""
    if named := os.environ.get("PORTRAIT_ACTOR_ZIP"):
        return Path(named)
    from tools import package

    return package.build_archive(_SCRATCH_FOLDER)


@pytest.fixture(scope="session")
def archive() -> Path:
    """Return the extension's zip."""
    return _find_archive()


@pytest.fixture(scope="session", autouse=True)
def installed(archive: Path) -> Callable[[str], ModuleType]:
    """Install and enable the extension; return a function that imports its modules, e.g. ``installed("addon.cli")``."""
    bpy.ops.extensions.package_install_files(filepath=str(archive), repo="user_default", enable_on_install=True)
    return lambda name: import_module(f"{PACKAGE}.{name}")


@pytest.fixture(scope="session")
def addon(installed: Callable[[str], ModuleType]) -> AddonModules:
    """Return the extension's modules that tests call."""
    modules = AddonModules()
    for path in ADDON_MODULES:
        setattr(modules, path.rpartition(".")[2], installed(f"addon.{path}"))
    return modules


@pytest.fixture(autouse=True)
def empty_file(addon: AddonModules) -> Iterator[None]:
    """Start each test in an empty, unsaved file, and leave no job behind."""
    bpy.ops.wm.read_homefile(use_empty=True)
    yield
    addon.job.stop_job()


@pytest.fixture(scope="session")
def actor_folder(addon: AddonModules, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished actor made by code: everything that Blender reads, but no trained model."""
    return small_actor.write_actor(tmp_path_factory.mktemp("actors") / "Nora Ünlü.actor")


def _import_actor(addon: AddonModules, folder: Path) -> SceneActor:
    OPERATORS.import_actor(directory=str(folder))
    return addon.scene_actor.require_actor(bpy.context)


@pytest.fixture
def nora(addon: AddonModules, actor_folder: Path) -> SampledActor:
    """Import the actor made by code."""
    actor = _import_actor(addon, actor_folder)

    def sample(frames: Sequence[int]) -> tuple[Performance, CameraPath]:
        context = bpy.context
        return addon.sampling.sample_frames(
            addon.rna.get_scene(context), addon.rna.get_view_layer(context), actor.armature, actor.face, frames
        )

    return SampledActor(actor.armature, actor.face, actor_folder, sample)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the sample actor, trained with the preset "tiny" through the operator Create Actor."""
    folder = tmp_path_factory.mktemp("trained")
    video = folder / "sample.mp4"
    run_backend("sample", str(video), "--seconds", "4", "--size", "192")
    OPERATORS.create_actor(
        video=str(video), folder=str(folder / "sample.actor"), preset="tiny", consent_who="nobody: drawn by code"
    )
    return folder / "sample.actor"


@pytest.fixture
def sam(addon: AddonModules, trained: Path) -> ImportedActor:
    """Import the trained sample actor."""
    actor = _import_actor(addon, trained)
    return ImportedActor(actor.armature, actor.face, trained)


@pytest.fixture
def live(sam: ImportedActor, addon: AddonModules) -> Iterator[ModuleType]:
    """Return the live preview's module with a preview size of 256 pixels; switch the preview off afterwards."""
    addon.rna.get_scene_settings(addon.rna.get_scene(bpy.context)).preview_size = "256"
    yield addon.live_preview
    addon.live_preview.stop_preview()


_exit_code = 0


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the exit code for `pytest_unconfigure`."""
    global _exit_code
    _exit_code = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Exit without Blender's own exit, which crashes 4.2 and may hang 4.5 after all tests have passed."""
    shutil.rmtree(_SCRATCH_FOLDER, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_exit_code)
