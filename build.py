#!/usr/bin/env python3
"""Portrait Actor's one entry for people.

    python3 build.py demo                    a sample actor, from its video to a speaking head in a Blender scene
    python3 build.py run VIDEO               the same with your video
    python3 build.py test                    every test that this machine can run
    python3 build.py setup                   only the set-up: the Python environment that everything else uses
    python3 build.py package                 dist/portrait_actor-VERSION.zip, the extension for Blender
    python3 build.py install                 puts that zip into your Blender
    python3 build.py bench                   speed and accuracy, as a table
    python3 build.py wheels DIR              everything that a machine without a network needs for its set-up

Each of them sets up what it needs. `python3 build.py VERB --help` tells more.
"""

from __future__ import annotations  # Python 3.8 reads this far: nothing newer stands in this file or tools/pythons.py

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from tools import pythons

ROOT = Path(__file__).resolve().parent
BLENDER_VERSIONS = ("4.2", "4.5", "5.0", "5.2")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The verb and its options."""
    parser = argparse.ArgumentParser(
        prog="build.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    verbs.add_parser("setup", help="make .venv and install the pinned packages")

    demo = verbs.add_parser("demo", help="a sample actor, from its video to a Blender scene")
    run = verbs.add_parser("run", help="your video becomes an actor")
    run.add_argument("video", type=Path, metavar="VIDEO")
    run.add_argument("--audio", type=Path, metavar="FILE", help="what the actor shall say; else the video's own sound")
    run.add_argument("--consent-who", default="", metavar="NAME", help="who is shown, and agreed; kept with the actor")
    run.add_argument("--face", type=int, metavar="N", help="which of several faces, from the left, starting at 1")
    run.add_argument("--name", help="what the actor is called; else the video's name")
    for verb in (demo, run):
        verb.add_argument(
            "--out", type=Path, metavar="DIR", help="where the results go (portrait_actor_demo, or beside VIDEO)"
        )
        verb.add_argument("--preset", choices=("tiny", "draft", "standard", "final"), default="draft")
        verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
        verb.add_argument(
            "--blender", type=Path, metavar="FILE", help="make the scene with this Blender, not with bpy 5.0"
        )

    test = verbs.add_parser("test", help="run the tests; what follows -- goes to pytest")
    test.add_argument("tier", nargs="?", choices=("unit", "blender", "desktop", "all"), default="all")
    test.add_argument("--bpy", choices=BLENDER_VERSIONS, default="5.0", help="the Blender version of the blender tests")
    test.add_argument("--without-desktop", action="store_true", help="say that no window can be opened here")

    package = verbs.add_parser("package", help="build the extension's zip")
    package.add_argument("--repository", type=Path, metavar="DIR", help="offer it in a static repository there as well")
    install = verbs.add_parser("install", help="build the zip and install it in Blender")
    install.add_argument("--blender", type=Path, metavar="FILE", help="the Blender program; else the one on PATH")
    bench = verbs.add_parser("bench", help="measure speed and accuracy")
    bench.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; else all")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as one flat object")
    wheels = verbs.add_parser("wheels", help="collect the pinned packages for a machine without a network")
    wheels.add_argument("folder", type=Path, metavar="DIR")
    wheels.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="what PyTorch is built for")
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    options = parser.parse_args(own)
    options.rest = arguments[len(own) + 1 :]
    return options


def rerun_with_python(python: str) -> int:
    """Runs this same command with `python`, and returns its exit code."""
    process = subprocess.Popen([python, str(ROOT / "build.py"), *sys.argv[1:]])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child, which ends in order
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    return process.wait()


def main() -> int:
    """The command's exit code: 0, the failing step's, 2 (a person can act on it), or 130 (Ctrl-C)."""
    options = parse_arguments(sys.argv[1:])
    if sys.version_info[:2] not in pythons.BACKEND_VERSIONS:
        python = pythons.find_python(pythons.BACKEND_VERSIONS)
        if python is None:
            sys.stderr.write(
                "Python 3.11 or 3.12 is needed and was not found on this machine. "
                "Install one of them from python.org or your system's packages and run this again.\n"
            )
            return 2
        return rerun_with_python(python)

    from tools import commands

    code: int = commands.run_command(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
