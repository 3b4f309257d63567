"""What each verb of `build.py` does."""

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
from .processes import StepFailed, raise_on_sigterm, run_step, write_line

CommandFunction = Callable[[argparse.Namespace], int | None]  # returns an exit code, or None for 0


def run_command(options: argparse.Namespace) -> int:
    """Does `options.verb` and returns the exit code. A failure is one sentence on standard error."""
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
    except StepFailed as failure:
        return failure.code
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return UserError.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("Stopped. The same command goes on where this one stopped.\n")
        return Cancelled.exit_code
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        sys.stderr.write(f"A file could not be used: {error.strerror}{place}. Check the disk and the permissions.\n")
        return UserError.exit_code


def set_up_backend(options: argparse.Namespace) -> None:
    """`.venv` with everything in it."""
    write_line(f"Ready: {environments.ensure_backend_python()}")


def make_package(options: argparse.Namespace) -> None:
    """The extension's zip, checked by Blender where there is one."""
    archive = package.build_archive()
    package.validate_archive(archive)
    write_line(f"{archive} ({archive.stat().st_size / 1e6:.1f} MB)")
    if options.repository:
        package.make_repository(archive, options.repository)
        write_line(f"Blender finds it in the repository {options.repository.absolute() / 'index.json'}")


def install_extension(options: argparse.Namespace) -> None:
    """The zip in the person's own Blender, switched on.

    Raises:
        UserError: there is no Blender.
    """
    blender = str(options.blender or shutil.which("blender") or "")
    if not shutil.which(blender):
        raise UserError(
            "no_blender",
            f"There is no Blender program at {blender}." if blender else "No Blender program was found on PATH.",
            "Name it with --blender, or install the zip in Blender: Preferences ▸ Get Extensions ▸ Install from Disk.",
        )
    archive = package.build_archive()
    run_step([blender, "--command", "extension", "install-file", "--repo", "user_default", "--enable", archive])
    write_line("Installed. Open Blender, then 3D Viewport ▸ Sidebar (N) ▸ Portrait Actor.")


def run_benchmarks(options: argparse.Namespace) -> None:
    """The benchmarks' table, and the figures as JSON when asked for."""
    command: list[str | Path] = [environments.ensure_backend_python(), "-m", "benchmarks.table", *options.names]
    run_step(command + (["--json", options.json.absolute()] if options.json else []))


def download_wheels(options: argparse.Namespace) -> None:
    """Every pinned package with what it needs, as wheels for this kind of machine."""
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
    run_step([*collect, "--find-links", folder, "pip", *pins])  # what has been collected counts as newer: +cpu, +cu130
    write_line(f"{folder} is complete. On the other machine, in this project's folder:")
    write_line(
        f"  python3.11 backend/setup/install.py --target .venv --device {'cuda' if cuda else 'cpu'} --wheels DIR"
    )
