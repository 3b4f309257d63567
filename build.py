#!/usr/bin/env python3
"""The command for everything that one does with the sources of Portrait Actor.

    python3 build.py demo                    make a sample actor, from its video to a speaking head in Blender
    python3 build.py run VIDEO               do the same with your video
    python3 build.py test                    run every test that this machine can run
    python3 build.py setup                   only make the Python environment that all other commands use
    python3 build.py package                 dist/portrait_actor-VERSION.zip, the extension for Blender
    python3 build.py install                 install that zip in your Blender
    python3 build.py bench                   measure speed and accuracy, as a table
    python3 build.py wheels DIR              collect the packages for a machine without a network

Each command sets up what it needs. `python3 build.py VERB --help` lists its options.
"""

from __future__ import annotations  # this file and tools/pythons.py run on Python 3.8

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from tools import pythons

ROOT = Path(__file__).resolve().parent
BLENDER_VERSIONS = ("4.2", "4.5", "5.0", "5.2")  # as in tools/environments.py; a test compares them


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the verb and its options; what follows `--` goes into `rest`."""
    parser = argparse.ArgumentParser(
        prog="build.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    verbs.add_parser("setup", help="make .venv and install the pinned packages")

    demo = verbs.add_parser("demo", help="make a sample actor, from its video to a Blender scene")
    run = verbs.add_parser("run", help="make an actor from your video")
    run.add_argument("video", type=Path, metavar="VIDEO")
    run.add_argument("--audio", type=Path, metavar="FILE", help="what the actor says (the video's own sound)")
    run.add_argument("--consent-who", default="", metavar="NAME", help="who is shown and agreed; kept with the actor")
    run.add_argument("--face", type=int, metavar="N", help="which of several faces, counted from the left, from 1")
    run.add_argument("--name", help="the actor's name (the video's name)")
    for verb in (demo, run):
        verb.add_argument(
            "--out",
            type=Path,
            metavar="DIR",
            help="folder of the results (portrait_actor_demo, or NAME_portrait_actor)",
        )
        verb.add_argument("--preset", choices=("tiny", "draft", "standard", "final"), default="draft")
        verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
        verb.add_argument(
            "--blender", type=Path, metavar="FILE", help="make the scene with this Blender program (bpy 5.0)"
        )

    test = verbs.add_parser("test", help="run the tests; arguments after -- go to pytest")
    test.add_argument("tier", nargs="?", choices=("unit", "blender", "desktop", "all"), default="all")
    test.add_argument("--bpy", choices=BLENDER_VERSIONS, default="5.0", help="Blender version of the blender tests")
    test.add_argument("--without-desktop", action="store_true", help="leave out the tests that open a window")

    package = verbs.add_parser("package", help="build the extension's zip")
    package.add_argument(
        "--repository", type=Path, metavar="DIR", help="also make DIR a static repository that offers the zip"
    )
    install = verbs.add_parser("install", help="build the zip and install it in Blender")
    install.add_argument("--blender", type=Path, metavar="FILE", help="the Blender program (the one on PATH)")
    bench = verbs.add_parser("bench", help="measure speed and accuracy")
    bench.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run (all)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as one flat object")
    wheels = verbs.add_parser("wheels", help="collect the pinned packages for a machine without a network")
    wheels.add_argument("folder", type=Path, metavar="DIR")
    wheels.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="the device that PyTorch is built for"
    )
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:split])
    options.rest = arguments[split + 1 :]
    return options


def rerun_with_python(python: str) -> int:
    """Run this same command with `python` and return its exit code."""
    process = subprocess.Popen([python, str(ROOT / "build.py"), *sys.argv[1:]])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends Ctrl-C to the child too, which ends in order
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    return process.wait()


def main() -> int:
    """Run the command. Return 0, the failing step's exit code, 2 (an error with a remedy) or 130 (Ctrl-C)."""
    options = parse_arguments(sys.argv[1:])
    if sys.version_info[:2] not in pythons.BACKEND_VERSIONS:
        python = pythons.find_python(pythons.BACKEND_VERSIONS)
        if python is None:
            sys.stderr.write(
                "Neither Python 3.11 nor 3.12 was found on this machine. "
                "Install one of them from python.org or your system's packages, and run this command again.\n"
            )
            return 2
        return rerun_with_python(python)

    from tools import commands

    code: int = commands.run_command(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
