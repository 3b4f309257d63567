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

PROJECT_ROOT = Path(__file__).resolve().parents[2]
if not __package__:  # started as a plain script: the packages beside this file are not top-level modules
    sys.path[0] = str(PROJECT_ROOT)

from backend import __version__  # noqa: E402
from backend.contract.errors import Cancelled, UserError  # noqa: E402
from backend.contract.protocol import (  # noqa: E402
    Error,
    Hello,
    Message,
    Note,
    Progress,
    Request,
    Result,
    decode_message,
    encode_message,
)
from backend.setup import install_torch  # noqa: E402
from backend.setup.install_pip import (  # noqa: E402
    JOB_ID,
    ChildProcess,
    MessageSink,
    PipProgress,
    error_from_output,
    normalize_package_name,
)

SUPPORTED_PYTHONS = ((3, 11), (3, 12))  # the versions for which every pinned package has a wheel
PIP_REQUIREMENT = (
    "pip>=24.1"  # the first that reports its progress to programs; the one that Python brings may be older
)


class InstallState(enum.Enum):
    """What is at the target folder."""

    ABSENT = "absent"
    INCOMPLETE = "incomplete"  # an installation was interrupted, or its Python has gone
    OUTDATED = "outdated"  # complete, for other pins
    FOREIGN = "foreign"  # not made by this program
    READY = "ready"


def read_requirements(root: Path = PROJECT_ROOT, *, include_dev: bool = False, include_cuda: bool = False) -> list[str]:
    """The pins of pyproject.toml, e.g. ``["torch==2.13.0", …]``."""
    import tomllib  # Python 3.11 and later: imported here so that older ones can still say that they are too old

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [
        *project["dependencies"],
        *(extras["cuda"] if include_cuda else []),
        *(extras["dev"] if include_dev else []),
    ]


def environment_python(target: Path) -> Path:
    """The Python of the environment at `target`."""
    return target / "Scripts" / "python.exe" if os.name == "nt" else target / "bin" / "python"


def install_log_path(target: Path) -> Path:
    """Where the last installation's output is recorded."""
    return target.with_name(target.name + ".log")


def inspect_environment(target: Path, pins: Sequence[str]) -> InstallState:
    """What is at `target`, measured against the wanted `pins`. Reads two small files at most."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return InstallState.ABSENT
    if (target / ".incomplete").exists():
        return InstallState.INCOMPLETE
    try:
        installed = set(json.loads((target / ".complete").read_text(encoding="utf-8"))["pins"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return InstallState.FOREIGN
    if not environment_python(target).exists():
        return InstallState.INCOMPLETE
    return InstallState.READY if set(pins) <= installed else InstallState.OUTDATED


@dataclass(frozen=True)
class PackageSource:
    """Where packages come from.

    Attributes:
        wheels: a folder of wheels to install from without any network; None for pip's own settings.
        cuda: whether torch is the build for CUDA.
        torch_index: the index for torch; None takes the one that has its build, unless pip's settings name an index.
    """

    wheel_folder: Path | None = None
    is_cuda: bool = False
    torch_index_url: str | None = None


def install(
    target: Path,
    pins: Sequence[str],
    source: PackageSource,
    send: MessageSink,
    child: ChildProcess,
    *,
    should_rebuild: bool = False,
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
    log, old, wheels = install_log_path(target), target.with_name(target.name + ".old"), source.wheel_folder
    try:
        if not target.exists() and old.exists():
            old.rename(target)  # an upgrade was killed between its two renames
        found = inspect_environment(target, pins)
        if (found is InstallState.READY and not should_rebuild) or (
            found is InstallState.FOREIGN and adopt_environment(target, pins)
        ):
            return
        if found is InstallState.FOREIGN:
            raise UserError(
                "not_an_environment",
                f"{target} holds something that Portrait Actor did not make.",
                "Choose another folder, or move it away.",
            )
        if wheels is not None and not wheels.is_dir():
            raise UserError("missing_file", f"There is no folder of wheels at {wheels}.", "Choose another folder.")
        check_disk_space(target, install_torch.MIN_FREE_BYTES[source.is_cuda])
        place = (
            target.with_name(target.name + ".new") if found in (InstallState.OUTDATED, InstallState.READY) else target
        )
        delete_environment(place)
        place.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        try:
            (place / ".incomplete").touch()
            build_environment(place, pins, source, log, send, child)
            installed = {"pins": sorted(pins), "python": platform.python_version()}
            (place / ".complete").write_text(json.dumps(installed), encoding="utf-8")
            (place / ".incomplete").unlink()
            if place != target:
                swap_environment(place, target, old)
        except BaseException:
            delete_environment(place)
            raise
    except OSError as error:
        raise error_from_output(str(error), wheels, log) from error


def build_environment(
    folder: Path, pins: Sequence[str], source: PackageSource, log_path: Path, send: MessageSink, child: ChildProcess
) -> None:
    """The venv at `place` with `pins` in it. torch goes first and alone: it decides CPU or CUDA for the rest."""
    send(Progress(JOB_ID, "environment", 0, 1, message=f"Python {platform.python_version()} environment in {folder}"))
    output = child.run([sys.executable, "-I", "-m", "venv", str(folder)], log_path)
    if child.exit_code != 0:
        raise error_from_output(output, source.wheel_folder, log_path)
    send(Progress(JOB_ID, "environment", 1, 1))
    torch = [pin for pin in pins if pin.startswith("torch==")]
    for stage, wanted in (("pip", [PIP_REQUIREMENT]), ("torch", torch), ("packages", list(pins))):
        if not wanted or (
            stage == "pip" and source.wheel_folder is not None and not any(source.wheel_folder.glob("pip-*"))
        ):
            continue
        command = [str(environment_python(folder)), "-I", "-m", "pip", "install", "--no-input", "--upgrade"]
        if source.wheel_folder is not None:
            command += ["--no-index", "--find-links", str(source.wheel_folder)]
        elif stage != "pip":
            command += ["--progress-bar", "raw"]
            command += torch_index_options(folder, source, log_path, child) if stage == "torch" else []
        watch = PipProgress(stage, wanted, send)
        output = child.run([*command, *wanted], log_path, watch.read_line)
        if child.exit_code != 0:
            raise error_from_output(output, source.wheel_folder, log_path)
        watch.finish()


def torch_index_options(folder: Path, source: PackageSource, log_path: Path, child: ChildProcess) -> list[str]:
    """pip's options for the index that torch comes from."""
    if source.torch_index_url is not None:
        return ["--index-url", source.torch_index_url] if source.torch_index_url else []
    settings = child.run([str(environment_python(folder)), "-I", "-m", "pip", "config", "list"], log_path)
    return install_torch.pip_index_options(source.is_cuda, settings)


def adopt_environment(target: Path, pins: Sequence[str]) -> bool:
    """Accepts a venv made by hand when it holds exactly the pins (a build tag such as ``+cpu`` aside)."""
    python = environment_python(target)
    if not (target / "pyvenv.cfg").exists() or not python.exists():
        return False
    code = "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"
    answer = subprocess.run([str(python), "-I", "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    if answer.returncode != 0:
        return False
    held = {f"{normalize_package_name(name)}=={version.split('+')[0]}" for name, version in json.loads(answer.stdout)}
    if not {f"{normalize_package_name(pin.split('==')[0])}=={pin.split('==')[1]}" for pin in pins} <= held:
        return False
    (target / ".complete").write_text(json.dumps({"pins": sorted(pins), "python": "made by hand"}), encoding="utf-8")
    return True


def check_python() -> None:
    """Raises:
    UserError: this Python cannot hold the pinned packages.
    """
    if sys.version_info[:2] not in SUPPORTED_PYTHONS:
        raise UserError(
            "wrong_python",
            f"Python {platform.python_version()} cannot run the backend.",
            "Use Python 3.11 or 3.12.",
        )


def check_disk_space(target: Path, needed_bytes: float) -> None:
    """Raises:
    UserError: there are fewer than `needed` bytes free for the environment.
    """
    place = next(p for p in (target, *target.parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise UserError(
            "disk_full",
            f"The environment needs {needed_bytes / 1e9:.0f} GB, and only {free / 1e9:.1f} GB are free at {place}.",
            "Free some space or choose another folder.",
        )


def delete_environment(folder: Path) -> None:
    """Deletes the environment at `place` if this program made it; of a link to one, only the link."""
    if (folder / ".incomplete").exists() or (folder / ".complete").exists():
        if folder.is_symlink():
            folder.unlink()
            return
        (folder / ".incomplete").touch()
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
        shutil.rmtree(folder)  # the marker goes last: a deletion that was killed is taken up again


def swap_environment(new: Path, target: Path, old: Path) -> None:
    """Puts the finished environment at `place` where the old one stands, and deletes that one, meanwhile at `old`."""
    for script in environment_python(new).parent.iterdir():
        if script.is_file() and not script.is_symlink() and script.suffix != ".exe":
            text = script.read_bytes()
            if str(new).encode() in text:
                script.write_bytes(text.replace(str(new).encode(), str(target).encode()))
    delete_environment(old)
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    with contextlib.suppress(OSError):  # what Windows still has in use stays until the next upgrade
        delete_environment(old)


def watch_for_cancel(child: ChildProcess) -> None:
    """Cancels `child` when standard input says so, or ends."""
    for line in sys.stdin:
        with contextlib.suppress(ValueError):
            request = decode_message(line)
            if isinstance(request, Request) and request.verb in ("cancel", "quit"):
                break
    child.cancel()


def write_to_terminal(message: Message) -> None:
    """Shows a message to a person: one line whenever there is something new to say."""
    if isinstance(message, Progress) and message.message:
        count = f" {message.done}/{message.total}" if message.total > 1 else ""
        sys.stdout.write(f"  [{message.stage}{count}] {message.message}\n")
    elif isinstance(message, Note):
        sys.stdout.write(f"  {message.message}\n")
    elif isinstance(message, Error):
        sys.stderr.write(f"{message.message} {message.remedy}".strip() + "\n")
    sys.stdout.flush()


def write_json_line(message: Message) -> None:
    """Writes a message as one line of the protocol."""
    sys.stdout.write(encode_message(message) + "\n")
    sys.stdout.flush()


def raise_keyboard_interrupt(number: int, frame: FrameType | None) -> None:
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
    report = write_json_line if options.json_lines else write_to_terminal
    target = options.target.expanduser().absolute()
    child = ChildProcess()
    signal.signal(signal.SIGTERM, raise_keyboard_interrupt)
    start = time.monotonic()
    if options.json_lines:
        report(Hello(version=__version__, pid=os.getpid()))
    try:
        if options.pins is None:
            check_python()
        source = PackageSource(options.wheels, install_torch.wants_cuda(options.device), options.torch_index)
        pins = options.pins or read_requirements(include_dev=options.dev, include_cuda=source.is_cuda)
        if options.json_lines:
            threading.Thread(target=watch_for_cancel, args=(child,), daemon=True).start()
        if source.is_cuda and not install_torch.has_cuda_toolkit():
            report(Note(JOB_ID, install_torch.KERNEL_BUILD_NOTE))
        install(target, pins, source, report, child, should_rebuild=options.again)
    except UserError as error:
        log = str(install_log_path(target)) if install_log_path(target).exists() else ""
        report(Error(JOB_ID, error.code, error.message, error.remedy, log))
        return UserError.exit_code
    except (Cancelled, KeyboardInterrupt):
        child.cancel()
        report(Error(JOB_ID, "cancelled", "The installation was cancelled.", "Set up again to finish it."))
        return Cancelled.exit_code
    seconds = round(time.monotonic() - start, 3)
    report(Result(JOB_ID, {"target": str(target), "python": str(environment_python(target)), "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
