"""The Python environments in the project's folder: `.venv` for the backend, `.venv-bpy-V` for Blender V as a module."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

from backend.contract.errors import UserError
from backend.setup import environment, install, install_torch

from . import pythons
from .processes import ROOT, run_step, write_line

# Blender as a Python module: its version on the package index and the only Python version that it runs in.
BPY_RELEASES: dict[str, tuple[str, tuple[int, int]]] = {
    "4.2": ("4.2.23", (3, 11)),
    "4.5": ("4.5.15", (3, 11)),
    "5.0": ("5.0.1", (3, 11)),
    "5.2": ("5.2.3", (3, 13)),
}
# Libraries that `import bpy` needs and a bare Linux lacks: file → package of Debian and Ubuntu.
DEBIAN_PACKAGES = {
    "libX11.so.6": "libx11-6", "libXext.so.6": "libxext6", "libXrender.so.1": "libxrender1",
    "libXfixes.so.3": "libxfixes3", "libXi.so.6": "libxi6", "libXxf86vm.so.1": "libxxf86vm1",
    "libxkbcommon.so.0": "libxkbcommon0", "libSM.so.6": "libsm6", "libICE.so.6": "libice6",
    "libGL.so.1": "libgl1", "libEGL.so.1": "libegl1", "libgomp.so.1": "libgomp1",
}  # fmt: skip


class MissingRequirementError(UserError):
    """This machine lacks a program or library that a tier of tests needs."""


def ensure_backend_python() -> Path:
    """Return the Python of `.venv`, which holds the backend's pins and the developer tools; make or upgrade it first.

    Raises:
        StepFailedError: the installation failed and has printed why.
    """
    target = ROOT / ".venv"
    pins = install.read_requirements(include_dev=True, include_cuda=install_torch.has_nvidia_driver())
    if environment.inspect_environment(target, pins) is not environment.InstallState.READY:
        write_line(f"Setting up {target} (about 2.5 GB, some minutes the first time)")
        run_step([sys.executable, ROOT / "backend" / "setup" / "install.py", "--target", target, "--dev"])
    return environment.environment_python(target)


def ensure_bpy_python(version: str) -> Path:
    """Return the Python of `.venv-bpy-VERSION`, which holds Blender `version` as a module, and pytest; make it first.

    Raises:
        MissingRequirementError: its Python or a system library is missing.
        StepFailedError: the installation failed and has printed why.
    """
    release, needed = BPY_RELEASES[version]
    target = ROOT / f".venv-bpy-{version}"
    pins = [
        f"bpy=={release}",
        *(pin for pin in install.read_requirements(include_dev=True) if pin.startswith("pytest==")),
    ]
    if environment.inspect_environment(target, pins) is not environment.InstallState.READY:
        python = pythons.find_python((needed,))
        if python is None:
            raise MissingRequirementError(
                "no_python",
                f"Blender {version} as a module needs Python {needed[0]}.{needed[1]}, which was not found.",
                "Install that Python, or name a Blender program with --blender.",
            )
        write_line(f"Setting up {target} (Blender {release} as a Python module, about 1 GB)")
        run_step([python, ROOT / "backend" / "setup" / "install.py", "--target", target, "--pins", *pins])
    require_libraries()
    return environment.environment_python(target)


def require_libraries() -> None:
    """Check that the system libraries that Blender needs are there.

    Raises:
        MissingRequirementError: one of them is missing.
    """
    missing = (
        [name for name in DEBIAN_PACKAGES if not is_library_loadable(name)] if platform.system() == "Linux" else []
    )
    if missing:
        raise MissingRequirementError(
            "no_library",
            f"Blender needs system libraries that are missing: {', '.join(missing)}.",
            f"Install them (on Debian and Ubuntu: apt install {' '.join(DEBIAN_PACKAGES[name] for name in missing)}).",
        )


def is_library_loadable(library: str) -> bool:
    """Whether the system can load this shared library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
