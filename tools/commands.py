"""The verbs of `build.py`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from backend.contract.errors import Cancelled, UserError
from backend.setup import install, install_torch

from . import environments, package, pipeline, run_tests
from .processes import StepFailedError, raise_on_sigterm, run_step, write_line

CommandFunction = Callable[[argparse.Namespace], int | None]  # returns an exit code, or None for 0


def run_command(options: argparse.Namespace) -> int:
    """Run `options.verb` and return the exit code. A failure prints one line to standard error."""
    verbs: dict[str, CommandFunction] = {
        "setup": set_up_backend,
        "demo": pipeline.run_demo,
        "run": pipeline.run_video,
        "test": run_tests.run_tiers,
        "package": make_package,
        "install": install_extension,
        "bench": run_benchmarks,
        "wheels": download_wheels,
    }
    raise_on_sigterm()
    try:
        return verbs[options.verb](options) or 0
    except StepFailedError as failure:
        return failure.code
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return UserError.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. Run the same command again to continue.\n")
        return Cancelled.exit_code
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        sys.stderr.write(f"The file{name} could not be used: {error.strerror}. Check the disk and the permissions.\n")
        return UserError.exit_code


def set_up_backend(options: argparse.Namespace) -> None:
    """Make or upgrade `.venv`."""
    write_line(f"Ready: {environments.ensure_backend_python()}")


def make_package(options: argparse.Namespace) -> None:
    """Build the extension's zip, let Blender check it if one is set up, and offer it in a repository if asked to."""
    archive = package.build_archive()
    package.validate_archive(archive)
    write_line(f"{archive} ({archive.stat().st_size / 1e6:.1f} MB)")
    if options.repository:
        package.make_repository(archive, options.repository)
        write_line(f"The repository for Blender is {options.repository.absolute() / 'index.json'}")


def install_extension(options: argparse.Namespace) -> None:
    """Install the zip in the user's own Blender and enable it.

    Raises:
        UserError: no Blender program was found.
    """
    blender = str(options.blender or shutil.which("blender") or "")
    if not shutil.which(blender):
        raise UserError(
            "no_blender",
            f"There is no Blender program at {blender}." if blender else "No Blender program was found on PATH.",
            "Name one with --blender, or install the zip in Blender: Preferences ▸ Get Extensions ▸ Install from Disk.",
        )
    archive = package.build_archive()
    run_step([blender, "--command", "extension", "install-file", "--repo", "user_default", "--enable", archive])
    write_line("Installed. In Blender, open 3D Viewport ▸ Sidebar (N) ▸ Portrait Actor.")


def run_benchmarks(options: argparse.Namespace) -> None:
    """Run the benchmarks."""
    command: list[str | Path] = [environments.ensure_backend_python(), "-m", "benchmarks.table", *options.names]
    run_step(command + (["--json", options.json.absolute()] if options.json else []))


def download_wheels(options: argparse.Namespace) -> None:
    """Collect every pinned package and its dependencies as wheels for this kind of machine."""
    folder = options.folder.absolute()
    python = environments.ensure_backend_python()
    cuda = install_torch.wants_cuda(options.device)
    pins = install.read_requirements(include_cuda=cuda)
    pip: list[str | Path] = [python, "-m", "pip"]
    settings = subprocess.run([*pip, "config", "list"], capture_output=True, encoding="utf-8", check=True).stdout
    collect = [*pip, "wheel", "--no-input", "--wheel-dir", folder]
    index = install_torch.pip_index_options(cuda, settings)
    if index:
        run_step([*collect, *index, *(pin for pin in pins if pin.startswith("torch=="))])
    run_step([*collect, "--find-links", folder, "pip", *pins])  # wheels with +cpu or +cu130 in the folder win
    write_line(f"{folder} is complete. On the other machine, run in this project's folder:")
    write_line(
        f"  python3.11 backend/setup/install.py --target .venv --device {'cuda' if cuda else 'cpu'} --wheels DIR"
    )
