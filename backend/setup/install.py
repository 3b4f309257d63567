"""Makes the backend's Python environment: a venv with the pinned packages of pyproject.toml.

Standard library only, and it runs as a plain script, since it runs before anything is installed:

    python3.11 backend/setup/install.py --target DIR [--device auto|cpu|cuda] [--again] [--wheels DIR] [--json-lines]

How the folder DIR stays consistent:

- The first installation happens in DIR itself, which has the marker `.incomplete` until the end. The next start
  recognizes an interrupted installation, deletes it and begins again; pip's download cache keeps that cheap.
- `.complete` contains the installed pins. Comparing them with the required ones takes milliseconds, so an up-to-date
  environment is never touched.
- An upgrade is built in the sibling `DIR.new` while the old environment stays in use. It is renamed only when it is
  complete, so a failed, cancelled or killed upgrade changes nothing. A venv finds its files through the path of its
  Python, so it survives the rename; only the first lines of its command scripts contain a path and are rewritten.
  (Windows' launchers `Scripts/*.exe` cannot be rewritten: use `python -m`, as this project does everywhere.)
- An environment that looks complete but is broken (a missing file) is rebuilt in the same way with `--again`.
- A folder that this program did not make is never deleted or changed. A venv made by hand is accepted if it contains
  exactly the pins.
- `DIR.log` records the output of the last installation.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

PROJECT_ROOT = Path(__file__).resolve().parents[2]
if not __package__:  # started as a plain script: the modules beside this file must not be importable as top-level ones
    sys.path[0] = str(PROJECT_ROOT)

from backend import __version__  # noqa: E402
from backend.contract.errors import Cancelled, UserError  # noqa: E402
from backend.contract.protocol import (  # noqa: E402
    JOB_ID,
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
from backend.setup.environment import (  # noqa: E402
    InstallState,
    adopt_environment,
    delete_environment,
    environment_python,
    inspect_environment,
    mark_complete,
    mark_incomplete,
    swap_environment,
)
from backend.setup.install_pip import ChildProcess, MessageSink, PipProgress, error_from_output  # noqa: E402

SUPPORTED_PYTHONS = ((3, 11), (3, 12))  # the versions for which every pinned package has a wheel
PIP_REQUIREMENT = "pip>=24.1"  # the first with machine-readable progress; the one in a new venv may be older


def read_requirements(root: Path = PROJECT_ROOT, *, include_dev: bool = False, include_cuda: bool = False) -> list[str]:
    """Return the pins of pyproject.toml, e.g. ``["torch==2.13.0", …]``."""
    import tomllib  # new in Python 3.11; imported here so that `check_python` can refuse older versions

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [
        *project["dependencies"],
        *(extras["cuda"] if include_cuda else []),
        *(extras["dev"] if include_dev else []),
    ]


def install_log_path(target: Path) -> Path:
    """Return where the output of the last installation is recorded."""
    return target.with_name(target.name + ".log")


@dataclass(frozen=True)
class PackageSource:
    """Where packages come from.

    Attributes:
        wheel_folder: a folder of wheels to install from without network; None uses pip's own settings.
        is_cuda: whether torch is the build for CUDA.
        torch_index_url: the index of torch; None chooses the one that has the build, unless pip has an index set.
    """

    wheel_folder: Path | None = None
    is_cuda: bool = False
    torch_index_url: str | None = None


@dataclass
class Installation:
    """One installation of packages into an environment.

    Attributes:
        target: the environment's folder.
        pins: requirement strings.
        source: where packages come from.
        send: receives the messages.
        child: runs the processes; cancelling it cancels the installation.
    """

    target: Path
    pins: Sequence[str]
    source: PackageSource
    send: MessageSink
    child: ChildProcess = field(default_factory=ChildProcess)

    @property
    def log_path(self) -> Path:
        """Where the output of the processes is recorded."""
        return install_log_path(self.target)

    def run(self, *, should_rebuild: bool = False) -> None:
        """Install the pins; does nothing if they are installed.

        Args:
            should_rebuild: rebuild even a complete environment; the old one stays in use until then.

        Raises:
            UserError: see `error_from_output`; or the folder is foreign, the disk too full, the wheel folder missing.
            Cancelled: the user asked to stop.
        """
        try:
            self._restore_interrupted_swap()
            state = inspect_environment(self.target, self.pins)
            if (state is InstallState.READY and not should_rebuild) or (
                state is InstallState.FOREIGN and adopt_environment(self.target, self.pins)
            ):
                return
            self._check(state)
            is_upgrade = state in (InstallState.OUTDATED, InstallState.READY)
            folder = self._sibling(".new") if is_upgrade else self.target
            delete_environment(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self.log_path.unlink(missing_ok=True)
            try:
                mark_incomplete(folder)
                self._build(folder)
                mark_complete(folder, self.pins)
                if is_upgrade:
                    swap_environment(folder, self.target, self._sibling(".old"))
            except BaseException:
                delete_environment(folder)
                raise
        except OSError as error:
            raise error_from_output(str(error), self.source.wheel_folder, self.log_path) from error

    def _sibling(self, suffix: str) -> Path:
        return self.target.with_name(self.target.name + suffix)

    def _restore_interrupted_swap(self) -> None:
        """Move the old environment back if an upgrade was killed between its two renames."""
        if not self.target.exists() and self._sibling(".old").exists():
            self._sibling(".old").rename(self.target)

    def _check(self, state: InstallState) -> None:
        """Raise UserError if the installation cannot start."""
        if state is InstallState.FOREIGN:
            raise UserError(
                "not_an_environment",
                f"{self.target} holds something that Portrait Actor did not make.",
                "Choose another folder, or move it away.",
            )
        wheels = self.source.wheel_folder
        if wheels is not None and not wheels.is_dir():
            raise UserError("missing_file", f"There is no folder of wheels at {wheels}.", "Choose another folder.")
        check_disk_space(self.target, install_torch.MIN_FREE_BYTES[self.source.is_cuda])

    def _build(self, folder: Path) -> None:
        """Make the venv and install the pins; torch comes first and alone, since it decides between CPU and CUDA."""
        message = f"Python {platform.python_version()} environment in {folder}"
        self.send(Progress(JOB_ID, "environment", 0, 1, message=message))
        self._run([sys.executable, "-I", "-m", "venv", str(folder)])
        self.send(Progress(JOB_ID, "environment", 1, 1))
        wheels = self.source.wheel_folder
        if wheels is None or any(wheels.glob("pip-*")):
            self._install_packages(folder, "pip", [PIP_REQUIREMENT])
        if torch := [pin for pin in self.pins if pin.startswith("torch==")]:
            self._install_packages(folder, "torch", torch)
        if self.pins:
            self._install_packages(folder, "packages", list(self.pins))

    def _install_packages(self, folder: Path, stage: str, requirements: list[str]) -> None:
        command = [str(environment_python(folder)), "-I", "-m", "pip", "install", "--no-input", "--upgrade"]
        if self.source.wheel_folder is not None:
            command += ["--no-index", "--find-links", str(self.source.wheel_folder)]
        elif stage != "pip":
            command += ["--progress-bar", "raw"]
            command += self._torch_index_options(folder) if stage == "torch" else []
        progress = PipProgress(stage, requirements, self.send)
        self._run([*command, *requirements], progress)
        progress.finish()

    def _torch_index_options(self, folder: Path) -> list[str]:
        """Return pip's options for the index of torch."""
        url = self.source.torch_index_url
        if url is not None:
            return ["--index-url", url] if url else []
        settings = self.child.run([str(environment_python(folder)), "-I", "-m", "pip", "config", "list"], self.log_path)
        return install_torch.pip_index_options(self.source.is_cuda, settings)

    def _run(self, command: Sequence[str], progress: PipProgress | None = None) -> None:
        """Run a command; raise the UserError for its output if it fails."""
        output = self.child.run(command, self.log_path, None if progress is None else progress.read_line)
        if self.child.exit_code != 0:
            raise error_from_output(output, self.source.wheel_folder, self.log_path)


def check_python() -> None:
    """Check the version of this Python.

    Raises:
        UserError: the pinned packages have no wheels for it.
    """
    if sys.version_info[:2] not in SUPPORTED_PYTHONS:
        raise UserError(
            "wrong_python",
            f"Python {platform.python_version()} cannot run the backend.",
            "Use Python 3.11 or 3.12.",
        )


def check_disk_space(target: Path, needed_bytes: float) -> None:
    """Check the free space for the environment.

    Raises:
        UserError: fewer than `needed_bytes` are free.
    """
    existing = next(path for path in (target, *target.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise UserError(
            "disk_full",
            f"The environment needs {needed_bytes / 1e9:.0f} GB, and only {free / 1e9:.1f} GB are free at {existing}.",
            "Free some space or choose another folder.",
        )


def watch_for_cancel(child: ChildProcess) -> None:
    """Cancel `child` on a request, or when standard input closes."""
    for line in sys.stdin:
        with contextlib.suppress(ValueError):
            request = decode_message(line)
            if isinstance(request, Request) and request.verb in ("cancel", "quit"):
                break
    child.cancel()


def write_to_terminal(message: Message) -> None:
    """Print a message for the user; progress without text is omitted."""
    if isinstance(message, Progress) and message.message:
        count = f" {message.done}/{message.total}" if message.total > 1 else ""
        sys.stdout.write(f"  [{message.stage}{count}] {message.message}\n")
    elif isinstance(message, Note):
        sys.stdout.write(f"  {message.message}\n")
    elif isinstance(message, Error):
        sys.stderr.write(f"{message.message} {message.remedy}".strip() + "\n")
    sys.stdout.flush()


def write_json_line(message: Message) -> None:
    """Print a message as one line of the protocol."""
    sys.stdout.write(encode_message(message) + "\n")
    sys.stdout.flush()


def raise_keyboard_interrupt(number: int, frame: FrameType | None) -> None:
    """Treat the system's request to end like Ctrl-C."""
    raise KeyboardInterrupt


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the script's options."""
    parser = argparse.ArgumentParser(prog="install.py", description="Installs Portrait Actor's backend environment.")
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="the environment's folder")
    parser.add_argument("--dev", action="store_true", help="with the developer tools")
    parser.add_argument("--pins", nargs="+", metavar="PIN", help="install these packages instead of the backend's")
    parser.add_argument(
        "--device", choices=install_torch.DEVICES, default="auto", help="which build of PyTorch; auto: what is here"
    )
    parser.add_argument("--torch-index", metavar="URL", help="the index that PyTorch comes from")
    parser.add_argument("--again", action="store_true", help="rebuild it even if it looks complete")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="install from this folder, without a network")
    parser.add_argument(
        "--json-lines", action="store_true", help="speak the protocol; cancel when standard input closes"
    )
    return parser


def run_installation(options: argparse.Namespace, target: Path, child: ChildProcess, send: MessageSink) -> None:
    """Check the Python, then install what the options ask for."""
    if options.pins is None:
        check_python()
    source = PackageSource(options.wheels, install_torch.wants_cuda(options.device), options.torch_index)
    pins = options.pins or read_requirements(include_dev=options.dev, include_cuda=source.is_cuda)
    if options.json_lines:
        threading.Thread(target=watch_for_cancel, args=(child,), daemon=True).start()
    if source.is_cuda and not install_torch.has_cuda_toolkit():
        send(Note(JOB_ID, install_torch.KERNEL_BUILD_NOTE))
    Installation(target, pins, source, send, child).run(should_rebuild=options.again)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; return 0 (done), 2 (the user can fix the error) or 130 (cancelled)."""
    options = build_parser().parse_args(arguments)
    send = write_json_line if options.json_lines else write_to_terminal
    target = options.target.expanduser().absolute()
    child = ChildProcess()
    signal.signal(signal.SIGTERM, raise_keyboard_interrupt)
    start = time.monotonic()
    if options.json_lines:
        send(Hello(version=__version__, pid=os.getpid()))
    try:
        run_installation(options, target, child, send)
    except UserError as error:
        log = str(install_log_path(target)) if install_log_path(target).exists() else ""
        send(Error(JOB_ID, error.code, error.message, error.remedy, log))
        return UserError.exit_code
    except (Cancelled, KeyboardInterrupt):
        child.cancel()
        send(Error(JOB_ID, "cancelled", "The installation was cancelled.", "Set up again to finish it."))
        return Cancelled.exit_code
    seconds = round(time.monotonic() - start, 3)
    send(Result(JOB_ID, {"target": str(target), "python": str(environment_python(target)), "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
