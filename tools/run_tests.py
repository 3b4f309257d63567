"""`build.py test`: style, types and the tiers of tests, as far as this machine can run them."""

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
from .processes import ROOT, TIMEOUT_EXIT_CODE, child_environment, run_program, run_step, write_line

TIER_TIMEOUT_SECONDS = 1500.0  # for one tier: a Blender that hangs at its exit must not stop the others
REPORT_SLOWEST = "--durations=50"  # pytest's option: which tests to make faster
CHROOT_FOLDER = Path.home() / ".cache" / "portrait_actor" / "desktop-trixie"

STYLE_CHECKS = (("ruff", "check", "."), ("ruff", "format", "--check", "."))
# mypy's arguments and the folders of the top-level modules. The folders of tests/ have modules of the same names
# (conftest), so each is a run of its own.
TYPE_CHECKS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    ((), ()),  # the packages that pyproject.toml names
    (("build.py", "tools"), ()),
    (("tests/unit",), ("tests/unit",)),
    (("--config-file", "tests/blender/mypy.ini", "tests/blender"), ("tests/blender",)),
    (("tests/desktop", "docs/make_pictures"), ("tests/desktop", "tests/blender")),
)


def run_tiers(options: argparse.Namespace) -> int:
    """Run the requested tiers, each even if another fails. Return 0, or the first failure's exit code.

    A tier that this machine cannot run is left out with a reason; where it was requested by name, and in CI, that is a
    failure.
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
        except environments.MissingRequirementError as reason:
            is_failure = options.tier == tier or bool(os.environ.get("CI"))
            codes.append(reason.exit_code if is_failure else 0)
            summary.append(f"{tier}: {'FAILED, could not be run' if is_failure else 'not run'}. {reason}")
    write_line("\n" + "\n".join(summary))
    return next((code for code in codes if code != 0), 0)


def write_title(text: str) -> None:
    """Print a title above the next program's output."""
    write_line(f"\n== {text} ==")


def run_unit_tests(options: argparse.Namespace) -> int:
    """Check style and types and run the tests without Blender."""
    python = environments.ensure_backend_python()
    write_title("style and types")
    codes = [run_program([python, "-m", *check]) for check in STYLE_CHECKS]
    for arguments, search_path in TYPE_CHECKS:
        environment = child_environment(MYPYPATH=os.pathsep.join(search_path))
        codes.append(run_program([python, "-m", "mypy", *arguments], env=environment))
    write_title("tests/unit")
    codes.insert(0, run_in_two_processes(python, "unit", options.rest, {}))
    return next((code for code in codes if code != 0), 0)


def run_in_two_processes(
    python: Path, tier: str, pytest_arguments: list[str], env_changes: dict[str, str | Path]
) -> int:
    """Run the files of a tier, every second one in a second process: hardly any test uses more than one core.

    The second process's output is shown at the end. With arguments for pytest there is only one process, one report,
    and the tests' temporary files stay.

    Args:
        python: runs pytest.
        tier: folder of tests/.
        pytest_arguments: the user's own.
        env_changes: changes to the environment.

    Returns:
        0, or a failure's exit code.
    """
    tests = ROOT / "tests" / tier
    files = sorted(tests.glob("test_*.py"))
    pytest = [str(python), "-m", "pytest", REPORT_SLOWEST]
    with tempfile.TemporaryDirectory(prefix="portrait_actor_") as name, (Path(name) / "log").open("w+b") as log:
        folder = Path(name)
        if pytest_arguments:
            env = child_environment(**env_changes, BLENDER_USER_RESOURCES=folder)
            return run_program([*pytest, tests, *pytest_arguments], env=env, timeout_seconds=TIER_TIMEOUT_SECONDS)
        first_half, second_half = ([*pytest, *map(str, files[start::2])] for start in (0, 1))
        environments_of_halves = [
            child_environment(**env_changes, **make_isolated_folders(folder / half)) for half in ("first", "second")
        ]
        second = subprocess.Popen(second_half, cwd=ROOT, env=environments_of_halves[1], stdout=log, stderr=log)
        try:
            first_code = run_program(first_half, env=environments_of_halves[0], timeout_seconds=TIER_TIMEOUT_SECONDS)
            second_code = second.wait(TIER_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            second_code = TIMEOUT_EXIT_CODE
        finally:
            second.kill()
            second.wait()
        log.seek(0)
        write_line(log.read().decode("utf-8", "replace"))
    return first_code or second_code


def make_isolated_folders(folder: Path) -> dict[str, Path]:
    """Make folders for temporary files and for Blender's settings, and return them as environment variables.

    Processes that share a folder for temporary files wait for each other's actors.
    """
    folders = {"TMPDIR": folder / "tmp", "BLENDER_USER_RESOURCES": folder / "blender"}
    for path in folders.values():
        path.mkdir(parents=True)
    return folders


def run_blender_tests(options: argparse.Namespace) -> int:
    """Run the tests inside Blender as a Python module, with the zip installed in a user folder of their own."""
    backend, bpy = environments.ensure_backend_python(), environments.ensure_bpy_python(options.bpy)
    archive = package.build_archive()
    write_title(f"tests/blender, Blender {options.bpy}")
    package.validate_archive(archive)
    env_changes: dict[str, str | Path] = {"PORTRAIT_ACTOR_PYTHON": backend, "PORTRAIT_ACTOR_ZIP": archive}
    return run_in_two_processes(bpy, "blender", options.rest, env_changes)


def run_desktop_tests(options: argparse.Namespace) -> int:
    """Run the tests in a real Blender window on a virtual screen.

    Raises:
        MissingRequirementError: as in `require_chroot_support`.
    """
    backend = environments.ensure_backend_python()
    archive = package.build_archive()
    environment = child_environment(PORTRAIT_ACTOR_PYTHON=backend, PORTRAIT_ACTOR_ZIP=archive)
    if not has_desktop_tools():
        require_chroot_support()
        if not (CHROOT_FOLDER / ".complete").exists():
            write_line(f"Making a Debian with a desktop Blender in {CHROOT_FOLDER} (1.5 GB, once)")
        run_step([ROOT / "tests" / "desktop" / "chroot.sh", "make", CHROOT_FOLDER])
        environment["PORTRAIT_ACTOR_CHROOT"] = str(CHROOT_FOLDER)
    write_title("tests/desktop")
    command = [backend, "-m", "pytest", REPORT_SLOWEST, "tests/desktop", *options.rest]
    return run_program(command, env=environment, timeout_seconds=TIER_TIMEOUT_SECONDS)


def has_desktop_tools() -> bool:
    """Whether this machine itself has a Blender, a virtual screen and xdotool."""
    return all(shutil.which(program) for program in ("blender", "Xvfb", "xdotool"))


def require_chroot_support() -> None:
    """Check that a chroot with a desktop Blender can be made on this machine.

    Raises:
        MissingRequirementError: it cannot.
    """
    if platform.system() != "Linux":
        problem = "The desktop tests need Linux."
    elif os.geteuid() != 0 or not shutil.which("apt-get") or not shutil.which("unshare"):
        problem = (
            "The desktop tests need Blender, Xvfb and xdotool on PATH, or root on Debian to make a chroot with them."
        )
    elif subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        problem = "This container may not mount anything, so it cannot make a chroot for the desktop tests."
    else:
        return
    raise environments.MissingRequirementError(
        "no_desktop", problem, "Install Blender, Xvfb and xdotool, or pass --without-desktop."
    )
