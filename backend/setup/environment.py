"""A Python environment on disk: its state, and adopting, deleting and replacing it. Standard library only."""

from __future__ import annotations

import contextlib
import enum
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from backend.setup.install_pip import normalize_package_name

COMPLETE_MARKER = ".complete"  # JSON with the installed pins
INCOMPLETE_MARKER = ".incomplete"
LIST_TIMEOUT_SECONDS = 60  # for listing an environment's packages; a broken Python may hang


class InstallState(enum.Enum):
    """What is at the target folder."""

    ABSENT = "absent"
    INCOMPLETE = "incomplete"  # an installation was interrupted, or its Python is gone
    OUTDATED = "outdated"  # complete, for other pins
    FOREIGN = "foreign"  # not made by this program
    READY = "ready"


def environment_python(target: Path) -> Path:
    """Return the Python of the environment at `target`."""
    return target / "Scripts" / "python.exe" if os.name == "nt" else target / "bin" / "python"


def inspect_environment(target: Path, pins: Sequence[str]) -> InstallState:
    """Return the state of `target` with respect to `pins`. Reads at most two small files."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return InstallState.ABSENT
    if (target / INCOMPLETE_MARKER).exists():
        return InstallState.INCOMPLETE
    try:
        installed = set(json.loads((target / COMPLETE_MARKER).read_text(encoding="utf-8"))["pins"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return InstallState.FOREIGN
    if not environment_python(target).exists():
        return InstallState.INCOMPLETE
    return InstallState.READY if set(pins) <= installed else InstallState.OUTDATED


def mark_incomplete(folder: Path) -> None:
    """Mark that an installation or a deletion in `folder` is in progress."""
    (folder / INCOMPLETE_MARKER).touch()


def mark_complete(folder: Path, pins: Sequence[str], python: str = "") -> None:
    """Record the installed pins and the Python version, by default the one that runs."""
    record = {"pins": sorted(pins), "python": python or platform.python_version()}
    (folder / COMPLETE_MARKER).write_text(json.dumps(record), encoding="utf-8")
    (folder / INCOMPLETE_MARKER).unlink(missing_ok=True)


def adopt_environment(target: Path, pins: Sequence[str]) -> bool:
    """Accept a venv made by hand if it contains exactly the pins (apart from a build tag such as ``+cpu``)."""
    python = environment_python(target)
    if not (target / "pyvenv.cfg").exists() or not python.exists():
        return False
    code = "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"
    listing = subprocess.run(
        [str(python), "-I", "-c", code], capture_output=True, encoding="utf-8", timeout=LIST_TIMEOUT_SECONDS
    )
    if listing.returncode != 0:
        return False
    installed = {
        f"{normalize_package_name(name)}=={version.split('+')[0]}" for name, version in json.loads(listing.stdout)
    }
    if not {f"{normalize_package_name(pin.split('==')[0])}=={pin.split('==')[1]}" for pin in pins} <= installed:
        return False
    mark_complete(target, pins, python="made by hand")
    return True


def delete_environment(folder: Path) -> None:
    """Delete the environment at `folder` if this program made it; if it is a link, delete only the link."""
    if (folder / INCOMPLETE_MARKER).exists() or (folder / COMPLETE_MARKER).exists():
        if folder.is_symlink():
            folder.unlink()
            return
        mark_incomplete(folder)
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
        shutil.rmtree(folder)  # the marker is deleted last, so an interrupted deletion is continued


def swap_environment(new: Path, target: Path, old: Path) -> None:
    """Move the environment `new` to `target`; the previous one moves to `old` and is deleted."""
    for script in environment_python(new).parent.iterdir():
        if script.is_file() and not script.is_symlink() and script.suffix != ".exe":
            text = script.read_bytes()
            if str(new).encode() in text:
                script.write_bytes(text.replace(str(new).encode(), str(target).encode()))
    delete_environment(old)
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    with contextlib.suppress(OSError):  # files that Windows still has in use stay until the next upgrade
        delete_environment(old)
