"""The backend's Python environment: where it is, its state, and folders for jobs."""

from __future__ import annotations

import enum
import functools
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from .. import rna
from ..contract import PACKAGE, ROOT, errors, install_torch, safe_io
from ..translations import iface_

PYTHON_OVERRIDE_VARIABLE = "PORTRAIT_ACTOR_PYTHON"
PYTHON_VERSIONS = ("3.12", "3.11")  # every pinned package has wheels for these
PYTHON_ANSWER_TIMEOUT_SECONDS = 10.0  # for a candidate to tell its version; a healthy one needs less than a second
MAX_INSTALL_RECORD_BYTES = 2**20  # a record is some kilobytes; a larger file is not one
MAX_JOB_FOLDERS = 20  # kept for their logs; older ones are deleted


class BackendState(enum.Enum):
    """The state of the backend's environment. The values are words of a message to the artist."""

    READY = "ready"
    NOT_INSTALLED = "not set up"
    INCOMPLETE = "set up only in part"
    OUTDATED = "set up for another version"
    PYTHON_NOT_FOUND = "not found"  # the chosen Python does not exist

    @property
    def is_usable(self) -> bool:
        """Whether jobs can run. They also run with another version's packages, until an upgrade has succeeded."""
        return self in (BackendState.READY, BackendState.OUTDATED)


def cache_folder() -> Path:
    """Return the folder for the backend and the files of jobs."""
    chosen = rna.get_preferences().cache_folder
    return Path(bpy.path.abspath(chosen) if chosen else bpy.utils.extension_path_user(PACKAGE, create=True))


def environment_folder() -> Path:
    """Return the folder where Set Up Backend makes the environment."""
    return cache_folder() / "backend"


def configured_python() -> Path | None:
    """Return the Python that the environment variable or the preferences name; None: the one that Set Up made."""
    named = os.environ.get(PYTHON_OVERRIDE_VARIABLE) or bpy.path.abspath(rna.get_preferences().backend_python)
    return Path(named) if named else None


def python_path() -> Path:
    """Return the path of the Python that runs the backend, whether it exists or not."""
    executable = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return configured_python() or environment_folder().joinpath(*executable)


def read_state() -> BackendState:
    """Return the state of the backend. Reads at most two small files, so panels may call this."""
    if configured_python() is not None:
        return BackendState.READY if safe_io.is_accessible_file(python_path()) else BackendState.PYTHON_NOT_FOUND
    folder = environment_folder()
    if not safe_io.is_accessible_folder(folder):
        return BackendState.NOT_INSTALLED
    if (folder / ".incomplete").exists() or not safe_io.is_accessible_file(python_path()):
        return BackendState.INCOMPLETE
    try:
        installed = set(safe_io.read_json(folder / ".complete", MAX_INSTALL_RECORD_BYTES)["pins"])
    except (OSError, ValueError, KeyError, TypeError):
        return BackendState.INCOMPLETE
    required = set(required_packages(has_cuda=rna.get_preferences().device == "cuda"))
    return BackendState.READY if required <= installed else BackendState.OUTDATED


def describe_setup_cost() -> str:
    """Return one sentence about what Set Up Backend downloads and stores."""
    cuda = install_torch.wants_cuda(rna.get_preferences().device)
    download, disk = (sizes[cuda] / 1e9 for sizes in (install_torch.DOWNLOAD_BYTES, install_torch.INSTALLED_BYTES))
    text = iface_("{} GB to download, {} GB on disk, for the {}")
    return text.format(f"{download:g}", f"{disk:g}", "GPU" if cuda else "CPU")


def require_python() -> Path:
    """Return the Python that runs the backend.

    Raises:
        UserError: the backend cannot be used yet.
    """
    state = read_state()
    if state is BackendState.PYTHON_NOT_FOUND:
        raise errors.UserError(
            "no_backend",
            f"The backend's Python {python_path()} does not exist.",
            "Choose another, or set up the backend.",
        )
    if not state.is_usable:
        raise errors.UserError(
            "no_backend",
            f"The backend is {state.value}.",
            "Press Set Up Backend, or use --command portrait_actor setup.",
        )
    return python_path()


def find_host_python() -> Path:
    """Return a Python that can make the backend's environment. Starts candidates, so panels must not call this.

    Raises:
        UserError: there is none.
    """
    for command in _host_python_commands():
        code = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        try:
            answer = subprocess.run(
                [*command, "-I", "-c", code],
                capture_output=True,
                encoding="utf-8",
                timeout=PYTHON_ANSWER_TIMEOUT_SECONDS,
                creationflags=flags,
            )
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
            continue  # not a Python that runs
        version, _, executable = answer.stdout.strip().partition(" ")
        if answer.returncode == 0 and version in PYTHON_VERSIONS:
            return Path(executable)
    raise errors.UserError(
        "no_python",
        "No Python 3.11 or 3.12 was found to run the backend with.",
        "Install one from python.org, or choose it in the preferences.",
    )


def make_job_folder(subcommand: str) -> Path:
    """Make a folder for a job's files and log, and delete old ones. Folders are numbered, because clocks may jump.

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
    """Make the first folder from that number on that no other Blender has made at the same time."""
    while True:
        folder = jobs_folder / f"{number:08d}-{subcommand}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def _host_python_commands() -> Iterator[list[str]]:
    chosen = bpy.path.abspath(rna.get_preferences().host_python)
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


def required_packages(*, has_cuda: bool) -> list[str]:
    """Return the packages that this version of the backend needs, as pip's requirements."""
    file = ROOT / "pyproject.toml"
    project = _read_project(file, file.stat().st_mtime_ns)
    return [*project["dependencies"], *(project["optional-dependencies"]["cuda"] if has_cuda else [])]


@functools.lru_cache(maxsize=1)
def _read_project(file: Path, modified_ns: int) -> dict[str, Any]:
    """Return pyproject.toml's table `project`. Panels ask at each redraw, so it is read once per time of change."""
    project: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    return project


def unregister() -> None:
    """Drop what has been read."""
    _read_project.cache_clear()
