"""Exceptions as error messages: known failures with a remedy, bugs with a log file."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path

from ..contract.atomic_write import error_from_failed_write
from ..contract.errors import Cancelled, UserError
from ..contract.protocol import JOB_ID, Error
from .formatting import to_json_value

CANCELLED_REMEDY = "Run the same command again to go on."
MAX_REASON_LENGTH = 160  # characters of a bug's message that the error shows; the log has all of it
# Log folders may be writable for others: never write through a link, nor into a pipe.
LOG_OPEN_FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
DISK_ERROR_NUMBERS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG,
)  # fmt: skip


def error_from_exception(error: BaseException, log_folder: Path | None) -> Error:
    """Return the error message for an exception. The traceback of a bug goes to a log file.

    Args:
        error: any exception.
        log_folder: where that log is written, e.g. the actor's folder; else in the temporary folder.
    """
    user_error = user_error_from_exception(error)
    if user_error is not None:
        data = to_json_value(user_error.data)
        return Error(JOB_ID, user_error.code, user_error.message, user_error.remedy, data=data)
    if isinstance(error, (Cancelled, KeyboardInterrupt)):
        return Error(JOB_ID, "cancelled", "Cancelled.", CANCELLED_REMEDY)
    log = _write_log(error, log_folder)
    reason = re.sub(r"\s+", " ", str(error)).strip().rstrip(".")
    detail = f"{type(error).__name__}: {reason[:MAX_REASON_LENGTH]}" if reason else type(error).__name__
    remedy = "Run it again; if it happens again, send us the log."
    return Error(JOB_ID, "internal", f"An unexpected error stopped the job ({detail}).", remedy, log)


def exit_code(error: Error) -> int:
    """Return the exit code of a process that ends with `error`."""
    return {"cancelled": Cancelled.exit_code, "internal": 1}.get(error.code, UserError.exit_code)


def user_error_from_exception(error: BaseException) -> UserError | None:
    """Return the failure as one that the user can fix, or None for a bug or a cancellation."""
    if isinstance(error, UserError):
        return error
    text = str(error).lower()
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "not enough memory" in text)
    ):
        device = "on the GPU " if "cuda" in text else ""
        return UserError(
            "out_of_memory",
            f"There is not enough memory {device}for this job.",
            "Close other programs, or choose a smaller size or preset.",
        )
    if isinstance(error, OSError) and error.errno in DISK_ERROR_NUMBERS:
        return error_from_failed_write(Path(os.fsdecode(error.filename)) if error.filename else Path.cwd(), error)
    if isinstance(error, ImportError) and not (error.name or "backend").startswith("backend"):
        return UserError(
            "missing_package",
            f"The Python package {(error.name or '').split('.')[0]} is missing or cannot be loaded.",
            "Set up the backend again; `python -m backend doctor` tells what is missing.",
        )
    return None


def _write_log(error: BaseException, log_folder: Path | None) -> str:
    """Write the traceback to the first folder that accepts it and return the file's path, or "" if none does."""
    text = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(sys.argv)}\n{''.join(traceback.format_exception(error))}\n"
    # An actor's folder may be shared, so the umask decides; others can read the temporary folder: its log is private.
    for folder, mode in ((log_folder, 0o666), (Path(tempfile.gettempdir()), 0o600)):
        if folder is None or not folder.is_dir():
            continue
        file = folder / "portrait_actor_error.log"
        try:
            handle = os.open(file, LOG_OPEN_FLAGS | os.O_APPEND, mode)
            with os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(text)
        except OSError:
            continue  # the next folder
        return str(file)
    sys.stderr.write(text)
    return ""
