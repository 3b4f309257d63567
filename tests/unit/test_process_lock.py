"""Actors that are created at the same time wait for each other, and never for a process that is gone."""

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
HOLD = """
import sys, time
from pathlib import Path
from backend.contract.progress import Reporter
from backend.setup.process_lock import hold_process_lock
with hold_process_lock(Reporter(), Path(sys.argv[1])):
    print("holds", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, whose turn it is."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "turn")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout is not None and process.stdout.readline() == "holds\n"
    yield process
    process.kill()
    process.wait()


class Waiting(Reporter):
    """Does something when it has been told a few times that others come first."""

    def __init__(self, other: subprocess.Popen[str] | None = None) -> None:
        self.stages: list[str] = []
        self.other = other

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        self.stages.append(stage)
        if len(self.stages) == 3:
            if self.other is None:
                raise Cancelled
            self.other.kill()


def test_it_waits_until_the_other_is_gone_even_killed(other: subprocess.Popen[str], tmp_path: Path) -> None:
    reporter = Waiting(other)
    with hold_process_lock(reporter, tmp_path / "turn"):
        assert set(reporter.stages) == {WAIT_STAGE} and len(reporter.stages) >= 3


def test_who_waits_can_be_cancelled(other: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(Cancelled), hold_process_lock(Waiting(), tmp_path / "turn"):
        raise AssertionError("it is the other's turn")
    assert other.poll() is None


def test_nobody_waits_alone_and_the_turn_passes_on(tmp_path: Path) -> None:
    for _ in range(2):
        reporter = Waiting()
        with hold_process_lock(reporter, tmp_path / "turn"):
            assert not reporter.stages


def test_a_place_that_cannot_be_locked_is_told_and_holds_up_nothing(tmp_path: Path) -> None:
    notes: list[str] = []
    reporter = Reporter()
    reporter.note = notes.append  # type: ignore[method-assign]
    with hold_process_lock(reporter, tmp_path / "nowhere" / "turn"):
        assert len(notes) == 1 and "does not wait" in notes[0]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "somebody's"
    (tmp_path / "turn").symlink_to(target)
    with hold_process_lock(Reporter(), tmp_path / "turn"):
        assert not target.exists()
