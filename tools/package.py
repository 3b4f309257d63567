"""The extension's zip, `dist/portrait_actor-VERSION.zip`: the same bytes for the same sources."""

from __future__ import annotations

import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from backend import __version__
from backend.install import python_of
from backend.protocol import UserError

from .processes import ROOT, say, step

ENTRY = """# What Blender loads first; written by build.py.
from .addon import register, unregister

__all__ = ["register", "unregister"]
"""
SINGLE = ("LICENSE", "blender_manifest.toml", "pyproject.toml")
FOLDERS = ("addon", "backend")
UNWANTED_SUFFIXES = (".pyc", ".pyo", ".part")
TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold


def build(folder: Path = ROOT / "dist") -> Path:
    """Writes the zip into `folder` and returns its path.

    Raises:
        UserError: the manifest names another version than the backend.
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
        for name, content in sorted(contents()):
            info = zipfile.ZipInfo(name, TIMESTAMP)
            info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            pack.writestr(info, content)
    part.replace(archive)
    return archive


def contents() -> Iterator[tuple[str, bytes]]:
    """The name in the zip and the bytes of every file that Blender needs."""
    yield "__init__.py", ENTRY.encode()
    for name in SINGLE:
        yield name, (ROOT / name).read_bytes()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(ROOT).parts)
            if path.is_file() and not hidden and path.suffix not in UNWANTED_SUFFIXES:
                yield path.relative_to(ROOT).as_posix(), path.read_bytes()


def validator() -> list[str | Path] | None:
    """The command for Blender's own check of an extension, out of a Blender module that is set up here, or None."""
    for environment in sorted(ROOT.glob(".venv-bpy-*"), reverse=True):
        python = python_of(environment)
        pattern = "**/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
        script = next(environment.glob(pattern), None)
        if python.exists() and script is not None:
            return [python, script, "validate"]
    return None


def validate(archive: Path) -> None:
    """Lets Blender itself check the zip.

    Raises:
        StepFailed: Blender refuses it, and has said why.
    """
    command = validator()
    if command is None:
        say("Not checked by Blender: no Blender module is set up here (`build.py test blender` sets one up).")
        return
    step([*command, archive])
