"""The process lock: creations wait for each other, but never for a process that has ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.contract.errors import Cancelled
from backend.contract.progress import Reporter
from backend.setup.process_lock import WAIT_STAGE, hold_process_lock

ROOT = Path(__file__).resolve().parents[2]
HOLD_LOCK = """
import sys, threading
from pathlib import Path
from backend.contract.progress import Reporter
from backend.setup.process_lock import hold_process_lock
with hold_process_lock(Reporter(), Path(sys.argv[1])):
    print("holds", flush=True)
    threading.Event().wait()
"""


@pytest.fixture
def lock_holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until it is killed."""
    command = [sys.executable, "-c", HOLD_LOCK, str(tmp_path / "lock")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout is not None and process.stdout.readline() == "holds\n"
    yield process
    process.kill()
    process.wait()


class WaitingReporter(Reporter):
    """Kills the lock holder, or cancels, at the third report of waiting."""

    def __init__(self, lock_holder: subprocess.Popen[str] | None = None) -> None:
        self.stages: list[str] = []
        self.lock_holder = lock_holder

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        self.stages.append(stage)
        if len(self.stages) == 3:
            if self.lock_holder is None:
                raise Cancelled
            self.lock_holder.kill()


class NoteReporter(Reporter):
    """Collects notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        """Keep a note."""
        self.notes.append(message)


def test_waits_until_the_other_process_is_killed(lock_holder: subprocess.Popen[str], tmp_path: Path) -> None:
    reporter = WaitingReporter(lock_holder)
    with hold_process_lock(reporter, tmp_path / "lock"):
        assert set(reporter.stages) == {WAIT_STAGE} and len(reporter.stages) >= 3


def test_waiting_can_be_cancelled(lock_holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(Cancelled), hold_process_lock(WaitingReporter(), tmp_path / "lock"):
        raise AssertionError("the lock is held")
    assert lock_holder.poll() is None


def test_free_lock_is_taken_at_once_and_released(tmp_path: Path) -> None:
    for _ in range(2):
        reporter = WaitingReporter()
        with hold_process_lock(reporter, tmp_path / "lock"):
            assert not reporter.stages


def test_block_runs_with_a_note_when_the_lock_file_cannot_be_made(tmp_path: Path) -> None:
    reporter = NoteReporter()
    with hold_process_lock(reporter, tmp_path / "nowhere" / "lock"):
        assert len(reporter.notes) == 1 and "does not wait" in reporter.notes[0]


def test_link_at_the_lock_path_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / "lock").symlink_to(target)
    with hold_process_lock(Reporter(), tmp_path / "lock"):
        assert not target.exists()
