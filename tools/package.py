"""Builds the extension's zip, `dist/portrait_actor-VERSION.zip`: the same bytes for the same sources."""

from __future__ import annotations

import shutil
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from backend import __version__
from backend.contract.errors import UserError
from backend.setup.environment import environment_python

from .processes import ROOT, run_step, write_line

ENTRY_SOURCE = """# The module that Blender imports; written by build.py.
from .addon import register, unregister

__all__ = ["register", "unregister"]
"""
SINGLE_FILES = ("LICENSE", "blender_manifest.toml", "pyproject.toml")
FOLDERS = ("addon", "backend")
UNWANTED_SUFFIXES = (".pyc", ".pyo", ".part")
TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold


def build_archive(folder: Path = ROOT / "dist") -> Path:
    """Write the zip into `folder` and return its path.

    Raises:
        UserError: the manifest and the backend have different versions.
    """
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    if manifest["version"] != __version__:
        raise UserError(
            "versions_differ",
            f"blender_manifest.toml says version {manifest['version']}, backend/__init__.py says {__version__}.",
            "Give both the same version.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"portrait_actor-{__version__}.zip"
    part = archive.with_name(archive.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as pack:
        for name, content in sorted(read_contents()):
            info = zipfile.ZipInfo(name, TIMESTAMP)
            info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            pack.writestr(info, content)
    part.replace(archive)
    return archive


def read_contents() -> Iterator[tuple[str, bytes]]:
    """Yield the name in the zip and the bytes of every file that Blender needs."""
    yield "__init__.py", ENTRY_SOURCE.encode()
    for name in SINGLE_FILES:
        yield name, (ROOT / name).read_bytes()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            is_hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts)
            if path.is_file() and not is_hidden and path.suffix not in UNWANTED_SUFFIXES:
                yield path.relative_to(ROOT).as_posix(), path.read_bytes()


def find_extension_tool() -> list[str | Path] | None:
    """Return the command of Blender's own extension tool, from a Blender module that is set up here, or None."""
    for environment in sorted(ROOT.glob(".venv-bpy-*"), reverse=True):
        python = environment_python(environment)
        pattern = "**/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
        script = next(environment.glob(pattern), None)
        if python.exists() and script is not None:
            return [python, script]
    return None


def validate_archive(archive: Path) -> None:
    """Let Blender check the zip.

    Raises:
        StepFailedError: Blender refused it and has printed why.
    """
    tool = find_extension_tool()
    if tool is None:
        write_line(
            "Blender did not check the zip: no Blender module is set up here (`build.py test blender` sets one up)."
        )
        return
    run_step([*tool, "validate", archive])


def make_repository(archive: Path, folder: Path, tool: list[str | Path] | None = None) -> None:
    """Make a folder a static repository of extensions that offers the zip.

    Copy it to any web server or shared disk, and name its `index.json` in Blender's preferences.

    Args:
        archive: the zip.
        folder: the repository; made when missing.
        tool: command of Blender's extension tool; by default that of `find_extension_tool`.

    Raises:
        UserError: there is no such tool.
        StepFailedError: it failed and has printed why.
    """
    tool = tool or find_extension_tool()
    if tool is None:
        raise UserError(
            "no_blender",
            "Blender makes the repository, and no Blender module is set up here.",
            "Run `python3 build.py test blender`, which sets one up.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(archive, folder / archive.name)
    run_step([*tool, "server-generate", "--repo-dir", folder.absolute(), "--html"])
