"""pip as a child process: cancellation, progress, and errors from its output."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from child import TIMEOUT_SECONDS

from backend.contract.errors import Cancelled
from backend.contract.protocol import Message, Progress
from backend.setup import install_pip


def test_cancel_ends_the_child_and_its_children(tmp_path: Path) -> None:
    """The child starts a child itself, as pip does when it compiles; both run until they are killed."""
    inner = "import threading; threading.Event().wait()"
    start_inner = f"p = subprocess.Popen([sys.executable, '-c', {inner!r}])"
    outer = f"import subprocess, sys; {start_inner}; print(p.pid, flush=True); p.wait()"
    child, pids = install_pip.ChildProcess(), list[int]()

    def cancel_at_output(line: str) -> None:
        pids.append(int(line))
        threading.Thread(target=child.cancel).start()

    with pytest.raises(Cancelled):
        child.run([sys.executable, "-c", outer], tmp_path / "log", cancel_at_output)
    if os.name != "nt":
        wait_until_dead(pids[0])
    with pytest.raises(Cancelled):
        child.run([sys.executable, "-c", "pass"], tmp_path / "log")


def wait_until_dead(pid: int) -> None:
    """Wait for the end of a process that is not a child of this one; it may end a moment after its signal."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while is_running(pid):
        assert time.monotonic() < deadline, "the process was not ended"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("output", "code", "word"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk_full", "GB"),
        ("urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool: Read timed out.", "no_network", "wheels"),
        ("WARNING: Retrying after connection broken by 'NameResolutionError(\"Failed to resolve\")'\n"
         "ERROR: No matching distribution found for torch==2.13.0", "no_network", "wheels"),
        ("SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED'))", "bad_certificate", "proxy"),
        ("The virtual environment was not created successfully because ensurepip is not available.", "no_venv", "apt"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no_wheel", "64-bit"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "bad_download", "cache"),
        ("error: subprocess-exited-with-error\n× Building wheel did not run successfully", "no_compiler", "Python"),
        ("ERROR: [WinError 32] The process cannot access the file", "read_only", "Close"),
        ("something\nERROR: a thing that nobody knows\nmore", "install_failed", "env.log"),
        ("", "install_failed", "env.log"),
    ],
)  # fmt: skip
def test_output_of_pip_becomes_an_error_with_a_remedy(output: str, code: str, word: str) -> None:
    error = install_pip.error_from_output(output, None, Path("env.log"))
    assert error.code == code and word in error.remedy
    assert "\n" not in str(error) and "{" not in str(error)


def test_progress_counts_the_required_packages() -> None:
    messages: list[Message] = []
    progress = install_pip.PipProgress("packages", ["big_one==1", "other.two==2"], messages.append)
    for line in (
        "Collecting big-one==1", "Downloading big_one-1.whl (100 MB)", "Progress 10 of 100", "Progress 11 of 100",
        "Progress 60 of 100", "Collecting needed>=3", "Requirement already satisfied: other-two==2 in /lib", "noise",
    ):  # fmt: skip
        progress.read_line(line)
    progress.finish()
    sent = [m for m in messages if isinstance(m, Progress)]
    assert [m.done for m in sent] == [1, 1, 1, 1, 1, 2]
    assert {m.total for m in sent} == {2}
    assert [m.message[-4:] for m in sent[2:4]] == ["10 %", "60 %"]
