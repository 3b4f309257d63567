"""Starts the programs that `build.py` uses. They write to the terminal themselves, and end with it."""

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
INTERRUPT_GRACE_SECONDS = 15.0  # seconds that an interrupted program has to write down what it has
Command = Sequence[str | Path]


class Terminated(KeyboardInterrupt):
    """The system, not a person at the keyboard, asked this program to end: its child has not been told."""


class StepFailed(Exception):
    """A program failed and has said why itself. `code` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def write_line(text: str) -> None:
    """Tells the person what happens, before the next program writes."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def child_environment(**changes: str | Path) -> dict[str, str]:
    """This process's environment without what would leak into another Python, with `changes`."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")}
    return kept | {name: str(value) for name, value in changes.items()}


def run_program(
    command: Command,
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> int:
    """Runs `command` with this terminal and returns its exit code, 124 when it ran longer than `limit` seconds.

    Raises:
        KeyboardInterrupt: Ctrl-C, or the system's request to end; the program has ended by then.
        StepFailed: the same, when the program has said so itself (exit code 130).
    """
    words = [str(word) for word in command]
    process = subprocess.Popen(words, cwd=cwd, env=child_environment() if env is None else dict(env))
    try:
        return process.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        write_line(f"{Path(words[0]).name} was ended: it ran longer than {timeout_seconds:.0f} s.")
        return 124
    except KeyboardInterrupt as stop:
        if isinstance(stop, Terminated):
            process.terminate()
        wait_after_interrupt(process)
        if process.returncode == Cancelled.exit_code:
            raise StepFailed(Cancelled.exit_code) from None  # it has told the person
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_after_interrupt(process: subprocess.Popen[bytes]) -> None:
    """Gives an interrupted program its time, whatever else is pressed meanwhile."""
    try:
        process.wait(INTERRUPT_GRACE_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.terminate()


def run_step(command: Command, *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
    """Runs `command`, which must succeed.

    Raises:
        StepFailed: it ended with another code than 0, and has said why.
        UserError: the system ended it.
    """
    code = run_program(command, cwd=cwd, env=env)
    if code < 0:
        raise UserError(
            "killed",
            f"{Path(str(command[0])).name} was ended by the system (signal {-code}).",
            "If memory ran out, close other programs; then run it again: it goes on where it stopped.",
        )
    if code != 0:
        raise StepFailed(code)


def raise_on_sigterm() -> None:
    """From now on the system's request to end is treated as Ctrl-C is."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
