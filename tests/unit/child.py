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

from backend.contract.protocol import Message, Progress, Request, decode, encode

REPO = Path(__file__).resolve().parents[2]
LIMIT = 120.0  # seconds after which a test process counts as hanging
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals or mounts")


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "backend", *map(str, words)]


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """As a person runs it; standard input is a terminal's, not closed."""
    return subprocess.run(command(*words), cwd=REPO, capture_output=True, text=True, timeout=LIMIT, **options)


def assert_one_sentence(answer: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2, one line on standard error that says what is wrong and what to do, and nothing else."""
    assert answer.returncode == 2, answer.stderr
    assert "Traceback" not in answer.stderr and answer.stdout == ""
    assert answer.stderr.startswith("Error: ") and answer.stderr.count("\n") == 1, answer.stderr
    assert answer.stderr.count(". ") >= 1, "a sentence, and a remedy"
    for part in parts:
        assert part in answer.stderr


def can_mount() -> bool:
    """Whether this person may mount things where nobody else sees them."""
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    return False


class Blender:
    """A backend process at the other end of the protocol."""

    def __init__(self, *words: object, **options: Any) -> None:
        self.child = subprocess.Popen(
            command(*words, "--json-lines"), cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True, **options,
        )  # fmt: skip

    def __enter__(self) -> Blender:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            assert pipe is not None
            pipe.close()
        self.child.wait()

    def messages(self) -> Iterator[Message]:
        """Every line, as it comes; a line that is no message fails the test."""
        assert self.child.stdout is not None
        for line in self.child.stdout:
            yield decode(line)

    def until_frames(self, count: int) -> None:
        """Reads on until that many frames are done."""
        self.until(lambda message: isinstance(message, Progress) and message.done >= count)

    def until(self, condition: Callable[[Message], bool]) -> list[Message]:
        """What it says up to the message for which a condition holds."""
        said: list[Message] = []
        for message in self.messages():
            said.append(message)
            if condition(message):
                return said
        raise AssertionError(f"the job ended too early: {said[-1:]}")

    def kill(self) -> None:
        """As the system does when memory runs out; nothing that it started is left."""
        self.child.kill()
        self.child.wait(LIMIT)
        if os.name != "nt":
            with pytest.raises(ProcessLookupError):
                os.killpg(self.child.pid, 0)

    def ask(self, verb: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(encode(Request("job", verb)) + "\n")
        self.child.stdin.flush()

    def ended(self) -> tuple[list[Message], int]:
        """The rest of what it says, and its exit code."""
        rest = list(self.messages())
        return rest, self.child.wait(LIMIT)
