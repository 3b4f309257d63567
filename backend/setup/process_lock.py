"""One creation at a time on a machine: others wait for their turn, so that they do not fight for its cores or its GPU.

Standard library only. The system takes the lock back from a process that dies, so nobody waits for the dead.
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
POLLS_PER_SECOND = 5


@contextmanager
def hold_process_lock(reporter: Reporter, lock_path: Path | None = None) -> Iterator[None]:
    """The block runs while no other process of this person is in one.

    Args:
        file: what is locked; by default one in the system's folder for temporary files.

    Raises:
        Cancelled: while it was waiting.
    """
    try:
        handle = os.open(
            lock_path or _default_lock_path(), os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600
        )
    except OSError as error:
        reporter.note(f"This does not wait for other actors that are being created: {error.strerror}.")
        yield
        return
    try:
        while not _try_lock(handle):
            reporter.progress(WAIT_STAGE, 0, 1)
            time.sleep(1 / POLLS_PER_SECOND)
        yield
    finally:
        os.close(handle)


def _default_lock_path() -> Path:
    owner = f"_{os.getuid()}" if hasattr(os, "getuid") else ""  # on Windows the folder is the person's own
    return Path(tempfile.gettempdir()) / f"portrait_actor{owner}.turn"


def _try_lock(handle: int) -> bool:
    """Takes the lock if nobody has it; it ends with the file or the process."""
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
