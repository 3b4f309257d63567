"""Makes the backend's own Python environment: a venv that holds the pinned packages of pyproject.toml.

Standard library only, and it runs as a plain script, because it runs before anything is installed:

    python3.11 backend/setup/install.py --target DIR [--device auto|cpu|cuda] [--again] [--wheels DIR] [--json-lines]

How the folder DIR stays trustworthy:

- The first installation happens in DIR itself, which carries the marker `.incomplete` until all is done. A killed
  installation is seen at the next start, cleared and begun again; pip's download cache keeps that cheap.
- `.complete` holds the pins that were installed. Comparing it with the wanted pins takes milliseconds, so an
  environment that is up to date is never touched.
- An upgrade is built in the sibling `DIR.new` while the old environment stays in use, and takes its place by renaming
  only when it is complete: a failed, cancelled or killed upgrade changes nothing. A venv finds itself through where
  it is started, so it survives the rename; only the first lines of its command scripts name a path: rewritten.
  (Windows' launchers `Scripts/*.exe` cannot be: use `python -m`, as this project does everywhere.)
- What is broken although it looks complete (a file that went missing) is made anew in the same way (`--again`).
- A folder that this program did not make is never deleted or changed. A venv made by hand that holds exactly the pins
  is accepted as it is.
- `DIR.log` records what the last installation's programs said.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
if not __package__:  # started as a plain script: the packages beside this file are not top-level modules
    sys.path[0] = str(ROOT)

from backend import __version__  # noqa: E402
from backend.contract.errors import Cancelled, UserError  # noqa: E402
from backend.contract.protocol import Error, Hello, Message, Note, Progress, Request, Result, decode, encode  # noqa: E402
from backend.setup import install_torch  # noqa: E402
from backend.setup.install_pip import JOB, Child, PipWatch, Report, explain, normal  # noqa: E402

PYTHONS = ((3, 11), (3, 12))  # the versions for which every pinned package has a wheel
PIP = "pip>=24.1"  # the first that reports its progress to programs; the one that Python brings may be older


class State(enum.Enum):
    """What is at the target folder."""

    ABSENT = "absent"
    INCOMPLETE = "incomplete"  # an installation was interrupted, or its Python has gone
    OUTDATED = "outdated"  # complete, for other pins
    FOREIGN = "foreign"  # not made by this program
    READY = "ready"


def requirements(root: Path = ROOT, *, dev: bool = False, cuda: bool = False) -> list[str]:
    """The pins of pyproject.toml, e.g. ``["torch==2.13.0", …]``."""
    import tomllib  # Python 3.11 and later: imported here so that older ones can still say that they are too old

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(extras["cuda"] if cuda else []), *(extras["dev"] if dev else [])]


def python_of(target: Path) -> Path:
    """The Python of the environment at `target`."""
    return target / "Scripts" / "python.exe" if os.name == "nt" else target / "bin" / "python"


def log_of(target: Path) -> Path:
    """Where the last installation's output is recorded."""
    return target.with_name(target.name + ".log")


def state(target: Path, pins: Sequence[str]) -> State:
    """What is at `target`, measured against the wanted `pins`. Reads two small files at most."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return State.ABSENT
    if (target / ".incomplete").exists():
        return State.INCOMPLETE
    try:
        installed = set(json.loads((target / ".complete").read_text(encoding="utf-8"))["pins"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return State.FOREIGN
    if not python_of(target).exists():
        return State.INCOMPLETE
    return State.READY if set(pins) <= installed else State.OUTDATED


@dataclass(frozen=True)
class Source:
    """Where packages come from.

    Attributes:
        wheels: a folder of wheels to install from without any network; None for pip's own settings.
        cuda: whether torch is the build for CUDA.
        torch_index: the index for torch; None takes the one that has its build, unless pip's settings name an index.
    """

    wheels: Path | None = None
    cuda: bool = False
    torch_index: str | None = None


def install(
    target: Path, pins: Sequence[str], source: Source, report: Report, child: Child, *, again: bool = False
) -> None:
    """Brings the environment at `target` to `pins`; does nothing when it is there already.

    Args:
        target: the environment's folder.
        pins: requirement strings.
        again: makes it anew even if it looks complete; the old one stays in use until then.
        report: receives `Progress` messages.
        child: runs the processes, and can be cancelled.

    Raises:
        UserError: see `explain`; or the folder is not ours, the disk is too full, the Python is unsuitable.
        Cancelled: the person asked to stop.
    """
    log, old, wheels = log_of(target), target.with_name(target.name + ".old"), source.wheels
    try:
        if not target.exists() and old.exists():
            old.rename(target)  # an upgrade was killed between its two renames
        found = state(target, pins)
        if (found is State.READY and not again) or (found is State.FOREIGN and adopt(target, pins)):
            return
        if found is State.FOREIGN:
            raise UserError(
                "not_an_environment",
                f"{target} holds something that Portrait Actor did not make.",
                "Choose another folder, or move it away.",
            )
        if wheels is not None and not wheels.is_dir():
            raise UserError("missing_file", f"There is no folder of wheels at {wheels}.", "Choose another folder.")
        check_disk(target, install_torch.NEEDED_BYTES[source.cuda])
        place = target.with_name(target.name + ".new") if found in (State.OUTDATED, State.READY) else target
        clear(place)
        place.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        try:
            (place / ".incomplete").touch()
            build(place, pins, source, log, report, child)
            installed = {"pins": sorted(pins), "python": platform.python_version()}
            (place / ".complete").write_text(json.dumps(installed), encoding="utf-8")
            (place / ".incomplete").unlink()
            if place != target:
                swap(place, target, old)
        except BaseException:
            clear(place)
            raise
    except OSError as error:
        raise explain(str(error), wheels, log) from error


def build(place: Path, pins: Sequence[str], source: Source, log: Path, report: Report, child: Child) -> None:
    """The venv at `place` with `pins` in it. torch goes first and alone: it decides CPU or CUDA for the rest."""
    report(Progress(JOB, "environment", 0, 1, message=f"Python {platform.python_version()} environment in {place}"))
    output = child.run([sys.executable, "-I", "-m", "venv", str(place)], log)
    if child.code != 0:
        raise explain(output, source.wheels, log)
    report(Progress(JOB, "environment", 1, 1))
    torch = [pin for pin in pins if pin.startswith("torch==")]
    for stage, wanted in (("pip", [PIP]), ("torch", torch), ("packages", list(pins))):
        if not wanted or (stage == "pip" and source.wheels is not None and not any(source.wheels.glob("pip-*"))):
            continue
        command = [str(python_of(place)), "-I", "-m", "pip", "install", "--no-input", "--upgrade"]
        if source.wheels is not None:
            command += ["--no-index", "--find-links", str(source.wheels)]
        elif stage != "pip":
            command += ["--progress-bar", "raw"]
            command += index_options(place, source, log, child) if stage == "torch" else []
        watch = PipWatch(stage, wanted, report)
        output = child.run([*command, *wanted], log, watch.line)
        if child.code != 0:
            raise explain(output, source.wheels, log)
        watch.end()


def index_options(place: Path, source: Source, log: Path, child: Child) -> list[str]:
    """pip's options for the index that torch comes from."""
    if source.torch_index is not None:
        return ["--index-url", source.torch_index] if source.torch_index else []
    settings = child.run([str(python_of(place)), "-I", "-m", "pip", "config", "list"], log)
    return install_torch.index_options(source.cuda, settings)


def adopt(target: Path, pins: Sequence[str]) -> bool:
    """Accepts a venv made by hand when it holds exactly the pins (a build tag such as ``+cpu`` aside)."""
    python = python_of(target)
    if not (target / "pyvenv.cfg").exists() or not python.exists():
        return False
    code = "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"
    answer = subprocess.run([str(python), "-I", "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    if answer.returncode != 0:
        return False
    held = {f"{normal(name)}=={version.split('+')[0]}" for name, version in json.loads(answer.stdout)}
    if not {f"{normal(pin.split('==')[0])}=={pin.split('==')[1]}" for pin in pins} <= held:
        return False
    (target / ".complete").write_text(json.dumps({"pins": sorted(pins), "python": "made by hand"}), encoding="utf-8")
    return True


def check_python() -> None:
    """Raises:
    UserError: this Python cannot hold the pinned packages.
    """
    if sys.version_info[:2] not in PYTHONS:
        raise UserError(
            "wrong_python",
            f"Python {platform.python_version()} cannot run the backend.",
            "Use Python 3.11 or 3.12.",
        )


def check_disk(target: Path, needed: float) -> None:
    """Raises:
    UserError: there are fewer than `needed` bytes free for the environment.
    """
    place = next(p for p in (target, *target.parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise UserError(
            "disk_full",
            f"The environment needs {needed / 1e9:.0f} GB, and only {free / 1e9:.1f} GB are free at {place}.",
            "Free some space or choose another folder.",
        )


def clear(place: Path) -> None:
    """Deletes the environment at `place` if this program made it; of a link to one, only the link."""
    if (place / ".incomplete").exists() or (place / ".complete").exists():
        if place.is_symlink():
            place.unlink()
            return
        (place / ".incomplete").touch()
        for entry in place.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
        shutil.rmtree(place)  # the marker goes last: a deletion that was killed is taken up again


def swap(place: Path, target: Path, old: Path) -> None:
    """Puts the finished environment at `place` where the old one stands, and deletes that one, meanwhile at `old`."""
    for script in python_of(place).parent.iterdir():
        if script.is_file() and not script.is_symlink() and script.suffix != ".exe":
            text = script.read_bytes()
            if str(place).encode() in text:
                script.write_bytes(text.replace(str(place).encode(), str(target).encode()))
    clear(old)
    target.rename(old)
    try:
        place.rename(target)
    except OSError:
        old.rename(target)
        raise
    with contextlib.suppress(OSError):  # what Windows still has in use stays until the next upgrade
        clear(old)


def listen(child: Child) -> None:
    """Cancels `child` when standard input says so, or ends."""
    for line in sys.stdin:
        with contextlib.suppress(ValueError):
            request = decode(line)
            if isinstance(request, Request) and request.verb in ("cancel", "quit"):
                break
    child.cancel()


def to_terminal(message: Message) -> None:
    """Shows a message to a person: one line whenever there is something new to say."""
    if isinstance(message, Progress) and message.message:
        count = f" {message.done}/{message.total}" if message.total > 1 else ""
        sys.stdout.write(f"  [{message.stage}{count}] {message.message}\n")
    elif isinstance(message, Note):
        sys.stdout.write(f"  {message.message}\n")
    elif isinstance(message, Error):
        sys.stderr.write(f"{message.message} {message.remedy}".strip() + "\n")
    sys.stdout.flush()


def to_json_lines(message: Message) -> None:
    """Writes a message as one line of the protocol."""
    sys.stdout.write(encode(message) + "\n")
    sys.stdout.flush()


def interrupt(number: int, frame: FrameType | None) -> None:
    """A request of the system to end counts as Ctrl-C."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns 0 (done), 2 (a person can act on it) or 130 (cancelled)."""
    parser = argparse.ArgumentParser(prog="install.py", description="Installs Portrait Actor's backend environment.")
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="the environment's folder")
    parser.add_argument("--dev", action="store_true", help="with the developer tools")
    parser.add_argument("--pins", nargs="+", metavar="PIN", help="install these packages instead of the backend's")
    parser.add_argument(
        "--device", choices=install_torch.DEVICES, default="auto", help="which build of PyTorch; auto: what is here"
    )
    parser.add_argument("--torch-index", metavar="URL", help="the index that PyTorch comes from")
    parser.add_argument("--again", action="store_true", help="make it anew even if it looks complete")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="install from this folder, without a network")
    parser.add_argument(
        "--json-lines", action="store_true", help="speak the protocol; cancel when standard input closes"
    )
    options = parser.parse_args(arguments)
    report = to_json_lines if options.json_lines else to_terminal
    target = options.target.expanduser().absolute()
    child = Child()
    signal.signal(signal.SIGTERM, interrupt)
    start = time.monotonic()
    if options.json_lines:
        report(Hello(version=__version__, pid=os.getpid()))
    try:
        if options.pins is None:
            check_python()
        source = Source(options.wheels, install_torch.wants_cuda(options.device), options.torch_index)
        pins = options.pins or requirements(dev=options.dev, cuda=source.cuda)
        if options.json_lines:
            threading.Thread(target=listen, args=(child,), daemon=True).start()
        if source.cuda and not install_torch.has_compiler():
            report(Note(JOB, install_torch.KERNELS))
        install(target, pins, source, report, child, again=options.again)
    except UserError as error:
        log = str(log_of(target)) if log_of(target).exists() else ""
        report(Error(JOB, error.code, error.message, error.remedy, log))
        return UserError.exit_code
    except (Cancelled, KeyboardInterrupt):
        child.cancel()
        report(Error(JOB, "cancelled", "The installation was cancelled.", "Set up again to finish it."))
        return Cancelled.exit_code
    seconds = round(time.monotonic() - start, 3)
    report(Result(JOB, {"target": str(target), "python": str(python_of(target)), "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
