"""`build.py test`: the tiers of tests, as far as this machine can run them."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from . import environments, package
from .processes import ROOT, child_environment, run_program, run_step, write_line

TIER_TIMEOUT_SECONDS = 1500.0  # seconds for one tier: a Blender that hangs at its end must not hold up everything
CHROOT_FOLDER = Path.home() / ".cache" / "portrait_actor" / "desktop-trixie"


def run_tiers(options: argparse.Namespace) -> int:
    """Runs the tiers that were asked for, each even if another fails. Returns 0, or the first failure's exit code.

    A tier that this machine cannot run is left out with a reason, unless it was asked for by name, or this is CI.
    """
    tiers: dict[str, Callable[[argparse.Namespace], int]] = {
        "unit": run_unit_tests,
        "blender": run_blender_tests,
        "desktop": run_desktop_tests,
    }
    summary, codes = [], []
    for tier in tiers if options.tier == "all" else [options.tier]:
        if tier == "desktop" and options.without_desktop:
            summary.append("desktop: not run (--without-desktop)")
            continue
        try:
            code = tiers[tier](options)
            codes.append(code)
            summary.append(f"{tier}: passed" if code == 0 else f"{tier}: FAILED")
        except environments.MissingRequirement as reason:
            fails = options.tier == tier or bool(os.environ.get("CI"))
            codes.append(reason.exit_code if fails else 0)
            summary.append(f"{tier}: {'FAILED, could not be run' if fails else 'not run'}. {reason}")
    write_line("\n" + "\n".join(summary))
    return next((code for code in codes if code != 0), 0)


def write_title(text: str) -> None:
    """Says which tests come next."""
    write_line(f"\n== {text} ==")


def run_unit_tests(options: argparse.Namespace) -> int:
    """Style, types and the tests without Blender."""
    python = environments.ensure_backend_python()
    write_title("style and types")
    style = [
        run_program([python, "-m", "ruff", "check", "."]),
        run_program([python, "-m", "ruff", "format", "--check", "."]),
        run_program([python, "-m", "mypy"]),
        run_program([python, "-m", "mypy", "build.py", "tools"]),
    ]
    write_title("tests/unit")
    return run_in_two_processes(python, "unit", options.rest, {}) or next((code for code in style if code != 0), 0)


def run_in_two_processes(
    python: Path, tier: str, pytest_arguments: list[str], env_changes: dict[str, str | Path]
) -> int:
    """The files of tests/`kind`, every second one in a process beside this: hardly a test uses more than one core. What
    the other half wrote is shown at the end. Returns 0, or a failure's exit code.

    Args:
        rest: of pytest's arguments; somebody looks for something then: one process, one report, and what the tests
            leave behind stays. changes: to the environment.
    """
    tests = ROOT / "tests" / tier
    files = sorted(tests.glob("test_*.py"))
    with tempfile.TemporaryDirectory(prefix="portrait_actor_") as name, (Path(name) / "log").open("w+b") as log:
        folder = Path(name)
        if pytest_arguments:
            env = child_environment(**env_changes, BLENDER_USER_RESOURCES=folder)
            return run_program(
                [python, "-m", "pytest", tests, *pytest_arguments], env=env, timeout_seconds=TIER_TIMEOUT_SECONDS
            )
        one, other = ([str(python), "-m", "pytest", *map(str, files[start::2])] for start in (0, 1))
        places = child_environment(**env_changes, **make_isolated_folders(folder / "other"))
        beside = subprocess.Popen(other, cwd=ROOT, env=places, stdout=log, stderr=log)
        try:
            first = run_program(
                one,
                env=child_environment(**env_changes, **make_isolated_folders(folder / "one")),
                timeout_seconds=TIER_TIMEOUT_SECONDS,
            )
            second = beside.wait(TIER_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            second = 124
        finally:
            beside.kill()
            beside.wait()
        log.seek(0)
        write_line(log.read().decode("utf-8", "replace"))
    return first or second


def make_isolated_folders(folder: Path) -> dict[str, Path]:
    """A half's folders for temporary files (actors that are created wait for others that share it) and for Blender's
    settings, as variables of its environment."""
    places = {"TMPDIR": folder / "tmp", "BLENDER_USER_RESOURCES": folder / "blender"}
    for place in places.values():
        place.mkdir(parents=True)
    return places


def run_blender_tests(options: argparse.Namespace) -> int:
    """The tests inside Blender as a Python module, with the zip installed in a user folder of their own."""
    backend, bpy = environments.ensure_backend_python(), environments.ensure_bpy_python(options.bpy)
    archive = package.build_archive()
    write_title(f"tests/blender, Blender {options.bpy}")
    package.validate_archive(archive)
    return run_in_two_processes(
        bpy, "blender", options.rest, {"PORTRAIT_ACTOR_PYTHON": backend, "PORTRAIT_ACTOR_ZIP": archive}
    )


def run_desktop_tests(options: argparse.Namespace) -> int:
    """The tests in a real Blender window on a virtual screen.

    Raises:
        NotHere: see `check_chroot`.
    """
    backend = environments.ensure_backend_python()
    archive = package.build_archive()
    changes = child_environment(PORTRAIT_ACTOR_PYTHON=backend, PORTRAIT_ACTOR_ZIP=archive)
    if not has_desktop_tools():
        require_chroot_support()
        if not (CHROOT_FOLDER / ".complete").exists():
            write_line(f"Making a Debian with a desktop Blender in {CHROOT_FOLDER} (1.5 GB, once)")
        run_step([ROOT / "tests" / "desktop" / "chroot.sh", "make", CHROOT_FOLDER])
        changes["PORTRAIT_ACTOR_CHROOT"] = str(CHROOT_FOLDER)
    write_title("tests/desktop")
    return run_program(
        [backend, "-m", "pytest", "tests/desktop", *options.rest], env=changes, timeout_seconds=TIER_TIMEOUT_SECONDS
    )


def has_desktop_tools() -> bool:
    """Whether this machine has a Blender, a virtual screen and a hand for the mouse itself."""
    return all(shutil.which(program) for program in ("blender", "Xvfb", "xdotool"))


def require_chroot_support() -> None:
    """Raises:
    NotHere: no chroot with a desktop Blender can be made on this machine.
    """
    namespace = ["unshare", "-m", "true"]
    if platform.system() != "Linux":
        what = "The desktop tests need Linux."
    elif os.geteuid() != 0 or not shutil.which("apt-get") or not shutil.which("unshare"):
        what = "The desktop tests need Blender, Xvfb and xdotool on PATH, or root on Debian to make a chroot with them."
    elif subprocess.run(namespace, capture_output=True).returncode != 0:
        what = "This container may not mount anything, so it cannot make a chroot for the desktop tests."
    else:
        return
    raise environments.MissingRequirement(
        "no_desktop", what, "Install Blender, Xvfb and xdotool, or pass --without-desktop."
    )
