"""Starts the programs that `build.py` uses. They write to the same terminal and end with `build.py`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from backend.contract.errors import Cancelled, UserError

ROOT = Path(__file__).resolve().parents[1]
INTERRUPT_GRACE_SECONDS = 15.0  # that an interrupted program has to save its work
TIMEOUT_EXIT_CODE = 124  # as of coreutils' timeout
Command = Sequence[str | Path]


class TerminationRequest(KeyboardInterrupt):
    """SIGTERM: unlike Ctrl-C, it has not reached the child processes."""


class StepFailedError(Exception):
    """A program failed and has printed why.

    Attributes:
        code: its exit code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def write_line(text: str) -> None:
    """Print a line and flush it, so that it stands before the next program's output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def child_environment(**changes: str | Path) -> dict[str, str]:
    """Return this process's environment without the variables that would redirect another Python, plus `changes`."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")}
    return kept | {name: str(value) for name, value in changes.items()}


def run_program(
    command: Command,
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> int:
    """Run `command` in this terminal and return its exit code, 124 when it ran longer than `timeout_seconds`.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the program has ended by then.
        StepFailedError: the same, when the program has printed so itself (exit code 130).
    """
    words = [str(word) for word in command]
    process = subprocess.Popen(words, cwd=cwd, env=child_environment() if env is None else dict(env))
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        write_line(f"{Path(words[0]).name} was stopped: it ran longer than {timeout_seconds:.0f} s.")
        return TIMEOUT_EXIT_CODE
    except KeyboardInterrupt as stop:
        if isinstance(stop, TerminationRequest):
            process.terminate()
        wait_after_interrupt(process)
        if process.returncode == Cancelled.exit_code:
            raise StepFailedError(Cancelled.exit_code) from None
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_after_interrupt(process: subprocess.Popen[bytes]) -> None:
    """Wait for an interrupted program; terminate it after a while or at a second Ctrl-C."""
    try:
        process.wait(INTERRUPT_GRACE_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.terminate()


def run_step(command: Command, *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
    """Run `command`, which must succeed.

    Raises:
        StepFailedError: it ended with another code than 0 and has printed why.
        UserError: a signal ended it.
    """
    code = run_program(command, cwd=cwd, env=env)
    if code < 0:
        raise UserError(
            "killed",
            f"{Path(str(command[0])).name} was killed by the system (signal {-code}).",
            "If memory ran out, close other programs. Then run the same command again to continue.",
        )
    if code != 0:
        raise StepFailedError(code)


def raise_on_sigterm() -> None:
    """Treat SIGTERM as Ctrl-C from now on."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TerminationRequest

    signal.signal(signal.SIGTERM, stop)
