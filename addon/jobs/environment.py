"""Where the backend's Python is, and whether it can be used."""

from __future__ import annotations

import enum
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from ..contract import PACKAGE, ROOT, errors, install_torch, safe_io
from ..translations import iface_

PYTHON_OVERRIDE_VARIABLE = "PORTRAIT_ACTOR_PYTHON"
PYTHON_VERSIONS = ("3.12", "3.11")  # of Python: every package of the backend has wheels for them
MAX_INSTALL_RECORD_BYTES = 2**20  # bytes of what an installation says of itself
MAX_JOB_FOLDERS = 20  # job folders that stay for their logs


class BackendState(enum.Enum):
    """What the preferences say of the backend."""

    READY = "ready"
    NOT_INSTALLED = "not set up"
    INCOMPLETE = "set up only in part"
    OUTDATED = "set up for another version"
    PYTHON_NOT_FOUND = "not found"  # the Python that was chosen does not exist

    @property
    def is_usable(self) -> bool:
        """Whether jobs may run: with the packages of another version they still do, until an upgrade has succeeded."""
        return self in (BackendState.READY, BackendState.OUTDATED)


def preferences() -> bpy.types.AddonPreferences:
    """The extension's preferences."""
    return bpy.context.preferences.addons[PACKAGE].preferences


def cache_folder() -> Path:
    """Where the backend and the jobs' files are kept."""
    chosen = preferences().cache_folder
    return Path(bpy.path.abspath(chosen) if chosen else bpy.utils.extension_path_user(PACKAGE, create=True))


def environment_folder() -> Path:
    """Where Set Up Backend makes the backend's environment."""
    return cache_folder() / "backend"


def configured_python() -> Path | None:
    """The Python that the environment variable or the preferences name; None means the one that Set Up made."""
    named = os.environ.get(PYTHON_OVERRIDE_VARIABLE) or bpy.path.abspath(preferences().backend_python)
    return Path(named) if named else None


def python_path() -> Path:
    """The Python that runs the backend, whether it exists or not."""
    made = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return configured_python() or environment_folder().joinpath(*made)


def read_state() -> BackendState:
    """Whether the backend can be used; reads two small files at most, so panels may ask."""
    if configured_python() is not None:
        return BackendState.READY if safe_io.is_accessible_file(python_path()) else BackendState.PYTHON_NOT_FOUND
    place = environment_folder()
    if not safe_io.is_accessible_folder(place):
        return BackendState.NOT_INSTALLED
    if (place / ".incomplete").exists() or not safe_io.is_accessible_file(python_path()):
        return BackendState.INCOMPLETE
    try:
        installed = safe_io.read_json(place / ".complete", MAX_INSTALL_RECORD_BYTES)["pins"]
        return (
            BackendState.READY
            if set(_required_packages(preferences().device == "cuda")) <= set(installed)
            else BackendState.OUTDATED
        )
    except (OSError, ValueError, KeyError, TypeError):
        return BackendState.INCOMPLETE


def describe_setup_cost() -> str:
    """What Set Up Backend takes, for a person who decides."""
    cuda = install_torch.wants_cuda(preferences().device)
    download, disk = (sizes[cuda] / 1e9 for sizes in (install_torch.DOWNLOAD_BYTES, install_torch.INSTALLED_BYTES))
    told = iface_("{} GB to download, {} GB on disk, for the {}")
    return told.format(f"{download:g}", f"{disk:g}", "GPU" if cuda else "CPU")


def require_python() -> Path:
    """The Python that runs the backend.

    Raises:
        UserError: the backend cannot be used yet.
    """
    found = read_state()
    if found is BackendState.PYTHON_NOT_FOUND:
        raise errors.UserError(
            "no_backend",
            f"The backend's Python {python_path()} does not exist.",
            "Choose another, or set up the backend.",
        )
    if not found.is_usable:
        raise errors.UserError(
            "no_backend",
            f"The backend is {found.value}.",
            "Press Set Up Backend, or use --command portrait_actor setup.",
        )
    return python_path()


def find_host_python() -> Path:
    """A Python that can make the backend's environment; starts candidates to ask for their version, so not for panels.

    Raises:
        UserError: there is none.
    """
    for command in _host_python_commands():
        code = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        try:
            answer = subprocess.run(
                [*command, "-I", "-c", code], capture_output=True, encoding="utf-8", timeout=10, creationflags=flags
            )
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
            continue  # not a Python that runs: ask the next one
        version, _, executable = answer.stdout.strip().partition(" ")
        if answer.returncode == 0 and version in PYTHON_VERSIONS:
            return Path(executable)
    raise errors.UserError(
        "no_python",
        "No Python 3.11 or 3.12 was found to run the backend with.",
        "Install one from python.org, or choose it in the preferences.",
    )


def make_job_folder(subcommand: str) -> Path:
    """A new folder for a job's files and log; old ones are cleared away. Numbers tell the order, as clocks may jump.

    Raises:
        UserError: the cache folder cannot be written.
    """
    jobs = cache_folder() / "jobs"
    try:
        jobs.mkdir(parents=True, exist_ok=True)
        before = sorted(p for p in jobs.iterdir() if p.name.split("-")[0].isdecimal())
        number = int(before[-1].name.split("-")[0]) if before else 0
        folder = _make_next_folder(jobs, number + 1, subcommand)
        for old in before[: 1 - MAX_JOB_FOLDERS]:
            shutil.rmtree(old, ignore_errors=True)  # one that another Blender still uses may stay
    except OSError as error:
        raise errors.UserError(
            "read_only", f"The cache folder {jobs} cannot be written.", "Choose another in the preferences."
        ) from error
    return folder


def _make_next_folder(jobs_folder: Path, number: int, subcommand: str) -> Path:
    """Makes the first folder from that number on that no other Blender has made at the same time."""
    while True:
        folder = jobs_folder / f"{number:08d}-{subcommand}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def _host_python_commands() -> Iterator[list[str]]:
    chosen = bpy.path.abspath(preferences().host_python)
    if chosen:
        yield [chosen]
        return
    for version in PYTHON_VERSIONS:
        yield [f"python{version}"]
        if os.name == "nt":
            yield ["py", f"-{version}"]
    yield ["python3"]
    yield ["python"]
    bundled = Path(sys.prefix) / "bin"  # Blender's own, where it is complete enough to make environments
    yield from ([str(p)] for p in sorted(bundled.glob("python*")) if p.is_file())


_project_cache: tuple[int, dict[str, Any]] | None = None


def _required_packages(has_cuda: bool) -> list[str]:
    """The packages that this version of the backend needs, read again only when pyproject.toml has changed."""
    global _project_cache
    file = ROOT / "pyproject.toml"
    stamp = file.stat().st_mtime_ns
    if _project_cache is None or _project_cache[0] != stamp:
        _project_cache = stamp, tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    project = _project_cache[1]
    return [*project["dependencies"], *(project["optional-dependencies"]["cuda"] if has_cuda else [])]
