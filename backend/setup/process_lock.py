"""One creation at a time on a machine: others wait, so that they do not compete for the cores or the GPU.

Standard library only. The system releases the lock of a process that dies.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..contract.progress import Reporter

WAIT_STAGE = "wait for another actor"
POLL_INTERVAL_SECONDS = 0.2  # of the lock; also the delay of a cancellation


@contextmanager
def hold_process_lock(reporter: Reporter, lock_path: Path | None = None) -> Iterator[None]:
    """Run the block when no other process of this user is in such a block.

    Args:
        reporter: receives the waiting stage, or a note when locking is impossible.
        lock_path: the file to lock; by default one in the system's folder for temporary files.

    Raises:
        Cancelled: the user cancelled while it was waiting.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(lock_path or _default_lock_path(), flags, 0o600)
    except OSError as error:
        reporter.note(f"This does not wait for other actors that are being created: {error.strerror}.")
        yield
        return
    try:
        while not _try_lock(handle):
            reporter.progress(WAIT_STAGE, 0, 1)
            time.sleep(POLL_INTERVAL_SECONDS)
        yield
    finally:
        os.close(handle)


def _default_lock_path() -> Path:
    owner = f"_{os.getuid()}" if hasattr(os, "getuid") else ""  # on Windows every user has a temporary folder
    return Path(tempfile.gettempdir()) / f"portrait_actor{owner}.turn"


def _try_lock(handle: int) -> bool:
    """Take the lock if it is free; closing the file or ending the process releases it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
