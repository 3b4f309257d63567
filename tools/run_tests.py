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
from .processes import ROOT, environment, run, say, step

LIMIT = 1500.0  # seconds for one tier: a Blender that hangs at its end must not hold up everything
CHROOT = Path.home() / ".cache" / "portrait_actor" / "desktop-trixie"


def test(options: argparse.Namespace) -> int:
    """Runs the tiers that were asked for, each even if another fails. Returns 0, or the first failure's exit code.

    A tier that this machine cannot run is left out with a reason, unless it was asked for by name, or this is CI.
    """
    tiers: dict[str, Callable[[argparse.Namespace], int]] = {"unit": unit, "blender": blender, "desktop": desktop}
    summary, codes = [], []
    for tier in tiers if options.tier == "all" else [options.tier]:
        if tier == "desktop" and options.without_desktop:
            summary.append("desktop: not run (--without-desktop)")
            continue
        try:
            code = tiers[tier](options)
            codes.append(code)
            summary.append(f"{tier}: passed" if code == 0 else f"{tier}: FAILED")
        except environments.NotHere as reason:
            fails = options.tier == tier or bool(os.environ.get("CI"))
            codes.append(reason.exit_code if fails else 0)
            summary.append(f"{tier}: {'FAILED, could not be run' if fails else 'not run'}. {reason}")
    say("\n" + "\n".join(summary))
    return next((code for code in codes if code != 0), 0)


def title(text: str) -> None:
    """Says which tests come next."""
    say(f"\n== {text} ==")


def unit(options: argparse.Namespace) -> int:
    """Style, types and the tests without Blender."""
    python = environments.backend()
    title("style and types")
    style = [
        run([python, "-m", "ruff", "check", "."]),
        run([python, "-m", "ruff", "format", "--check", "."]),
        run([python, "-m", "mypy"]),
        run([python, "-m", "mypy", "build.py", "tools"]),
    ]
    title("tests/unit")
    return both_halves(python, "unit", options.rest, {}) or next((code for code in style if code != 0), 0)


def both_halves(python: Path, kind: str, rest: list[str], changes: dict[str, str | Path]) -> int:
    """The files of tests/`kind`, every second one in a process beside this: hardly a test uses more than one core. What
    the other half wrote is shown at the end. Returns 0, or a failure's exit code.

    Args:
        rest: of pytest's arguments; somebody looks for something then: one process, one report, and what the tests
            leave behind stays. changes: to the environment.
    """
    tests = ROOT / "tests" / kind
    files = sorted(tests.glob("test_*.py"))
    with tempfile.TemporaryDirectory(prefix="portrait_actor_") as name, (Path(name) / "log").open("w+b") as log:
        folder = Path(name)
        if rest:
            env = environment(**changes, BLENDER_USER_RESOURCES=folder)
            return run([python, "-m", "pytest", tests, *rest], env=env, limit=LIMIT)
        one, other = ([str(python), "-m", "pytest", *map(str, files[start::2])] for start in (0, 1))
        places = environment(**changes, **own_places(folder / "other"))
        beside = subprocess.Popen(other, cwd=ROOT, env=places, stdout=log, stderr=log)
        try:
            first = run(one, env=environment(**changes, **own_places(folder / "one")), limit=LIMIT)
            second = beside.wait(LIMIT)
        except subprocess.TimeoutExpired:
            second = 124
        finally:
            beside.kill()
            beside.wait()
        log.seek(0)
        say(log.read().decode("utf-8", "replace"))
    return first or second


def own_places(folder: Path) -> dict[str, Path]:
    """A half's folders for temporary files (actors that are created wait for others that share it) and for Blender's
    settings, as variables of its environment."""
    places = {"TMPDIR": folder / "tmp", "BLENDER_USER_RESOURCES": folder / "blender"}
    for place in places.values():
        place.mkdir(parents=True)
    return places


def blender(options: argparse.Namespace) -> int:
    """The tests inside Blender as a Python module, with the zip installed in a user folder of their own."""
    backend, bpy = environments.backend(), environments.bpy(options.bpy)
    archive = package.build()
    title(f"tests/blender, Blender {options.bpy}")
    package.validate(archive)
    return both_halves(bpy, "blender", options.rest, {"PORTRAIT_ACTOR_PYTHON": backend, "PORTRAIT_ACTOR_ZIP": archive})


def desktop(options: argparse.Namespace) -> int:
    """The tests in a real Blender window on a virtual screen.

    Raises:
        NotHere: see `check_chroot`.
    """
    backend = environments.backend()
    archive = package.build()
    changes = environment(PORTRAIT_ACTOR_PYTHON=backend, PORTRAIT_ACTOR_ZIP=archive)
    if not desktop_on_host():
        check_chroot()
        if not (CHROOT / ".complete").exists():
            say(f"Making a Debian with a desktop Blender in {CHROOT} (1.5 GB, once)")
        step([ROOT / "tests" / "desktop" / "chroot.sh", "make", CHROOT])
        changes["PORTRAIT_ACTOR_CHROOT"] = str(CHROOT)
    title("tests/desktop")
    return run([backend, "-m", "pytest", "tests/desktop", *options.rest], env=changes, limit=LIMIT)


def desktop_on_host() -> bool:
    """Whether this machine has a Blender, a virtual screen and a hand for the mouse itself."""
    return all(shutil.which(program) for program in ("blender", "Xvfb", "xdotool"))


def check_chroot() -> None:
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
    raise environments.NotHere("no_desktop", what, "Install Blender, Xvfb and xdotool, or pass --without-desktop.")
