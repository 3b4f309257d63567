"""Where the backend's Python is, and whether it can be used."""

from __future__ import annotations

import enum
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import bpy

from ..contract import PACKAGE, ROOT, protocol, reading

OVERRIDE = "PORTRAIT_ACTOR_PYTHON"
VERSIONS = ("3.12", "3.11")  # of Python: every package of the backend has wheels for them
MOST_RECORD = 2**20  # bytes of what an installation says of itself
KEPT_JOBS = 20  # job folders that stay for their logs


class State(enum.Enum):
    """What the preferences say of the backend."""

    READY = "ready"
    ABSENT = "not set up"
    INCOMPLETE = "set up only in part"
    OUTDATED = "set up for another version"
    MISSING = "not found"  # the Python that was chosen does not exist


def preferences() -> bpy.types.AddonPreferences:
    """The extension's preferences."""
    return bpy.context.preferences.addons[PACKAGE].preferences


def cache_folder() -> Path:
    """Where the backend and the jobs' files are kept."""
    chosen = preferences().cache_folder
    return Path(bpy.path.abspath(chosen) if chosen else bpy.utils.extension_path_user(PACKAGE, create=True))


def target() -> Path:
    """Where Set Up Backend makes the backend's environment."""
    return cache_folder() / "backend"


def chosen_python() -> Path | None:
    """The Python that the environment variable or the preferences name; None means the one that Set Up made."""
    named = os.environ.get(OVERRIDE) or bpy.path.abspath(preferences().backend_python)
    return Path(named) if named else None


def python() -> Path:
    """The Python that runs the backend, whether it exists or not."""
    made = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return chosen_python() or target().joinpath(*made)


def state() -> State:
    """Whether the backend can be used; reads two small files at most, so panels may ask."""
    if chosen_python() is not None:
        return State.READY if reading.is_file(python()) else State.MISSING
    place = target()
    if not reading.is_folder(place):
        return State.ABSENT
    if (place / ".incomplete").exists() or not reading.is_file(python()):
        return State.INCOMPLETE
    try:
        installed = reading.read_json(place / ".complete", MOST_RECORD)["pins"]
        return State.READY if set(_pins()) <= set(installed) else State.OUTDATED
    except (OSError, ValueError, KeyError, TypeError):
        return State.INCOMPLETE


def require_python() -> Path:
    """The Python that runs the backend.

    Raises:
        UserError: the backend cannot be used yet.
    """
    found = state()
    if found is State.MISSING:
        raise protocol.UserError(
            "no_backend", f"The backend's Python {python()} does not exist.", "Choose another, or set up the backend."
        )
    if found is not State.READY:
        raise protocol.UserError(
            "no_backend",
            f"The backend is {found.value}.",
            "Press Set Up Backend, or use --command portrait_actor setup.",
        )
    return python()


def find_host_python() -> Path:
    """A Python that can make the backend's environment; starts candidates to ask for their version, so not for panels.

    Raises:
        UserError: there is none.
    """
    for command in _candidates():
        code = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        try:
            answer = subprocess.run(
                [*command, "-I", "-c", code], capture_output=True, encoding="utf-8", timeout=10, creationflags=flags
            )
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
            continue  # not a Python that runs: ask the next one
        version, _, executable = answer.stdout.strip().partition(" ")
        if answer.returncode == 0 and version in VERSIONS:
            return Path(executable)
    raise protocol.UserError(
        "no_python",
        "No Python 3.11 or 3.12 was found to run the backend with.",
        "Install one from python.org, or choose it in the preferences.",
    )


def job_folder(verb: str) -> Path:
    """A new folder for a job's files and log; old ones are cleared away.

    Raises:
        UserError: the cache folder cannot be written.
    """
    jobs = cache_folder() / "jobs"
    folder = jobs / f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() // 1000 % 10**6:06d}-{verb}"
    try:
        folder.mkdir(parents=True)
        for old in sorted(p for p in jobs.iterdir() if p.is_dir())[:-KEPT_JOBS]:
            shutil.rmtree(old, ignore_errors=True)  # one that another Blender still uses may stay
    except OSError as error:
        raise protocol.UserError(
            "read_only", f"The cache folder {jobs} cannot be written.", "Choose another in the preferences."
        ) from error
    return folder


def _candidates() -> Iterator[list[str]]:
    chosen = bpy.path.abspath(preferences().host_python)
    if chosen:
        yield [chosen]
        return
    for version in VERSIONS:
        yield [f"python{version}"]
        if os.name == "nt":
            yield ["py", f"-{version}"]
    yield ["python3"]
    yield ["python"]
    bundled = Path(sys.prefix) / "bin"  # Blender's own, where it is complete enough to make environments
    yield from ([str(p)] for p in sorted(bundled.glob("python*")) if p.is_file())


_pins_read: tuple[int, list[str]] | None = None


def _pins() -> list[str]:
    """The packages that this version of the backend needs, read again only when pyproject.toml has changed."""
    global _pins_read
    file = ROOT / "pyproject.toml"
    stamp = file.stat().st_mtime_ns
    if _pins_read is None or _pins_read[0] != stamp:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        _pins_read = stamp, list(project["dependencies"])
    return _pins_read[1]
