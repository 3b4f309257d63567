"""The backend as a real process, as users and as Blender run it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.contract.protocol import Message, Progress, Request, decode_message, encode_message

REPO = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 600.0  # a test process that takes longer hangs; generous, since the machine may be busy
requires_posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals or mounts")


def backend_command(*arguments: object) -> list[str]:
    """Return the command line that runs the backend."""
    return [sys.executable, "-m", "backend", *map(str, arguments)]


def run_backend(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the backend as a user does, with standard input open."""
    return subprocess.run(
        backend_command(*arguments), cwd=REPO, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, **options
    )


def assert_one_line_error(completed: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Check for exit code 2 and a single line on standard error that says what is wrong and what to do."""
    assert completed.returncode == 2, completed.stderr
    assert "Traceback" not in completed.stderr and completed.stdout == ""
    assert completed.stderr.startswith("Error: ") and completed.stderr.count("\n") == 1, completed.stderr
    assert completed.stderr.count(". ") >= 1, "a message and a remedy"
    for part in parts:
        assert part in completed.stderr


def can_mount() -> bool:
    """Whether this user may mount file systems in a private namespace."""
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    return False


class BackendProcess:
    """A backend process and the protocol to it."""

    def __init__(self, *arguments: object, **options: Any) -> None:
        self.process = subprocess.Popen(
            backend_command(*arguments, "--json-lines"), cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True, **options,
        )  # fmt: skip

    def __enter__(self) -> BackendProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        self.process.wait()

    def read_messages(self) -> Iterator[Message]:
        """Yield every line as it comes; one that is not a message fails the test."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield decode_message(line)

    def read_until_frames(self, count: int) -> None:
        """Read until that many frames are done."""
        self.read_until(lambda message: isinstance(message, Progress) and message.done >= count)

    def read_until(self, condition: Callable[[Message], bool]) -> list[Message]:
        """Return the messages up to the first for which `condition` holds."""
        received: list[Message] = []
        for message in self.read_messages():
            received.append(message)
            if condition(message):
                return received
        raise AssertionError(f"the job ended too early: {received[-1:]}")

    def kill(self) -> None:
        """Kill the process, as the system does when memory runs out; none of its children may remain."""
        self.process.kill()
        self.process.wait(TIMEOUT_SECONDS)
        if os.name != "nt":
            with pytest.raises(ProcessLookupError):
                os.killpg(self.process.pid, 0)

    def send_request(self, verb: str) -> None:
        """Send a request to the job."""
        assert self.process.stdin is not None
        self.process.stdin.write(encode_message(Request("job", verb)) + "\n")
        self.process.stdin.flush()

    def read_to_end(self) -> tuple[list[Message], int]:
        """Return the remaining messages and the exit code."""
        rest = list(self.read_messages())
        return rest, self.process.wait(TIMEOUT_SECONDS)
