"""Finds the Python interpreters of this machine. Runs on Python 3.8 and later."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

BACKEND_VERSIONS = ((3, 11), (3, 12))  # as in backend/setup/install.py; a test compares them
QUERY_TIMEOUT_SECONDS = 30  # a cold start on a busy machine takes seconds


def find_python(versions: tuple[tuple[int, int], ...]) -> str | None:
    """Return a Python of one of `versions`, or None: the running one if it fits, else the first that is found."""
    if sys.version_info[:2] in versions:
        return sys.executable
    for version in versions:
        for command in candidate_commands(f"{version[0]}.{version[1]}"):
            answer = query_python(command, "import sys; print('%d %d' % sys.version_info[:2], sys.executable)").split(
                maxsplit=2
            )
            if len(answer) == 3 and (int(answer[0]), int(answer[1])) == version:
                return answer[2].strip()  # the executable itself, not a shim or launcher
    return None


def candidate_commands(version: str) -> list[list[str]]:
    """Return commands that may start Python `version` ("3.11"): on PATH, py.exe, pyenv, and where installers put it."""
    home = Path.home()
    commands = [[name] for name in ("python" + version, "python3", "python") if shutil.which(name)]
    if os.name == "nt":
        commands += [["py", "-" + version]] if shutil.which("py") else []
        programs = Path(os.environ.get("LOCALAPPDATA", str(home))) / "Programs" / "Python"
        commands += [[str(python)] for python in programs.glob(f"Python{version.replace('.', '')}*/python.exe")]
    pyenv = Path(os.environ.get("PYENV_ROOT", str(home / ".pyenv")))
    commands += [[str(python)] for python in sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)]
    framework = f"/Library/Frameworks/Python.framework/Versions/{version}/bin"
    commands += [[f"{folder}/python{version}"] for folder in ("/usr/local/bin", "/opt/homebrew/bin", framework)]
    return commands


def query_python(command: list[str], code: str) -> str:
    """Return what the Python `command` prints for `code`, or "" when it cannot be started."""
    try:
        run = subprocess.run(
            [*command, "-I", "-c", code], capture_output=True, encoding="utf-8", timeout=QUERY_TIMEOUT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout if run.returncode == 0 else ""
