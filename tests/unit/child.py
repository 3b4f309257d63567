"""The backend as a real process: as a person runs it, and as Blender does."""

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
TIMEOUT_SECONDS = 120.0  # seconds after which a test process counts as hanging
requires_posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals or mounts")


def backend_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "backend", *map(str, arguments)]


def run_backend(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """As a person runs it; standard input is a terminal's, not closed."""
    return subprocess.run(
        backend_command(*arguments), cwd=REPO, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, **options
    )


def assert_one_sentence(completed: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2, one line on standard error that says what is wrong and what to do, and nothing else."""
    assert completed.returncode == 2, completed.stderr
    assert "Traceback" not in completed.stderr and completed.stdout == ""
    assert completed.stderr.startswith("Error: ") and completed.stderr.count("\n") == 1, completed.stderr
    assert completed.stderr.count(". ") >= 1, "a sentence, and a remedy"
    for part in parts:
        assert part in completed.stderr


def can_mount() -> bool:
    """Whether this person may mount things where nobody else sees them."""
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    return False


class BackendProcess:
    """A backend process at the other end of the protocol."""

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
        """Every line, as it comes; a line that is no message fails the test."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield decode_message(line)

    def read_until_frames(self, count: int) -> None:
        """Reads on until that many frames are done."""
        self.read_until(lambda message: isinstance(message, Progress) and message.done >= count)

    def read_until(self, condition: Callable[[Message], bool]) -> list[Message]:
        """What it says up to the message for which a condition holds."""
        said: list[Message] = []
        for message in self.read_messages():
            said.append(message)
            if condition(message):
                return said
        raise AssertionError(f"the job ended too early: {said[-1:]}")

    def kill(self) -> None:
        """As the system does when memory runs out; nothing that it started is left."""
        self.process.kill()
        self.process.wait(TIMEOUT_SECONDS)
        if os.name != "nt":
            with pytest.raises(ProcessLookupError):
                os.killpg(self.process.pid, 0)

    def send_request(self, verb: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(encode_message(Request("job", verb)) + "\n")
        self.process.stdin.flush()

    def read_to_end(self) -> tuple[list[Message], int]:
        """The rest of what it says, and its exit code."""
        rest = list(self.read_messages())
        return rest, self.process.wait(TIMEOUT_SECONDS)
