"""Files that are written completely or not at all, and the errors of failed writes. Standard library only."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` when the block ends without an exception.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)  # a link of that name would redirect the write
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise error_from_failed_write(path, error) from error


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write `data` as the file `path`.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    with write_atomically(path) as part:
        part.write_bytes(data)


def make_folder(path: Path) -> None:
    """Make a folder and its parents; an existing one is fine.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise error_from_failed_write(path, error) from error


def error_from_failed_write(path: Path, error: OSError) -> UserError:
    """Return the error for a failed write: full disk, no permission, missing folder or another failure."""
    if error.errno == errno.ENOSPC:
        return UserError(
            "disk_full",
            f"The disk is full while writing {path}.",
            "Free some space and run it again: it goes on where it stopped.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError("read_only", f"{path} cannot be written.", "Choose a folder that you may write to.")
    if error.errno == errno.ENOENT:
        return UserError(
            "folder_gone",
            f"{path} could not be written: its folder is gone.",
            "Put the folder back, or choose another, and run it again.",
        )
    return UserError(
        "write_failed", f"{path} could not be written ({error.strerror}).", "Check the disk and run it again."
    )
