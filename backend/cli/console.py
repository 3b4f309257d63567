"""How a command talks (a progress bar for a person, protocol lines for Blender), is cancelled, and fails."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from ..contract import protocol
from ..contract.errors import Cancelled, UserError
from ..contract.progress import Reporter
from ..contract.protocol import Error, Message, Request
from .eta_estimator import EtaEstimator

JOB_ID = "job"
CANCEL_GRACE_SECONDS = 0.8  # seconds that a job has to react to a cancel request, before it is ended hard
PROGRESS_INTERVAL_SECONDS, DETACHED_INTERVAL_SECONDS = (
    0.1,
    60.0,
)  # seconds between two progress lines of a stage; the same when only the log is told
CANCELLED_REMEDY = "Run the same command again to go on."
PROGRESS_BAR_FORMAT = (
    "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"  # without tqdm's own guess of the time that is left
)
LIBRARY_LOG_NAME = "portrait_actor_libraries.log"
# A log goes into folders that others may write to as well: never through a link, nor into a pipe.
LOG_OPEN_FLAGS = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
DISK_ERROR_NUMBERS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG,
)  # fmt: skip


class TerminalConsole(Reporter):
    """A person's terminal: results on standard output, everything else on standard error."""

    def __init__(self) -> None:
        self.eta_estimator = EtaEstimator({})
        self._progress_bar: Any = None
        self._stage = ""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a console of another encoding shows what it can
                stream.reconfigure(errors="backslashreplace")

    def begin(self, device: str, device_name: str) -> None:
        """The command starts on that device."""

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        super().progress(stage, done, total, message)
        from tqdm import tqdm

        text = message or stage.replace("_", " ").capitalize()
        if stage != self._stage or self._progress_bar is None:
            self._close_progress_bar()
            self._stage = stage
            quiet = not sys.stderr.isatty()
            if quiet:
                self._write_line(text)
            self._progress_bar = tqdm(
                total=total,
                initial=done,
                file=sys.stderr,
                disable=quiet,
                dynamic_ncols=True,
                bar_format=PROGRESS_BAR_FORMAT,
            )
        self._progress_bar.total = total  # a stage may learn on its way how much there is to do
        self._progress_bar.set_description_str(text, refresh=False)
        eta = self.eta_estimator.estimate_eta(stage, done, total)
        self._progress_bar.set_postfix_str(f"whole job {format_duration(eta)} left" if eta > 0 else "", refresh=False)
        self._progress_bar.update(done - self._progress_bar.n)

    def note(self, message: str) -> None:
        self._write_line(message)

    def finish(self, summary: str, data: dict[str, Any]) -> None:
        """Tells how it ended well."""
        self._close_progress_bar()
        sys.stdout.write(summary + "\n")
        sys.stdout.flush()

    def fail(self, error: Error) -> None:
        """Tells how it ended otherwise."""
        self._close_progress_bar()
        start = "" if error.code == "cancelled" else "Error: "
        end = f"\nThe details are in {error.log}" if error.log else ""
        sys.stderr.write(f"{start}{error.message} {error.remedy}".rstrip() + end + "\n")
        sys.stderr.flush()

    def _write_line(self, text: str) -> None:
        if self._progress_bar is not None:
            self._progress_bar.clear()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def _close_progress_bar(self) -> None:
        if self._progress_bar is not None:
            self._progress_bar.close()
            self._progress_bar = None


class JsonLinesConsole(Reporter):
    """Blender's end of the line: one protocol message a line on standard output, and nothing else ever.

    Libraries that write to standard output reach standard error instead, and so the log.

    Attributes:
        detached: the job goes on when its reader has gone, and tells the log what is left to say.
    """

    def __init__(self, version: str) -> None:
        self.eta_estimator = EtaEstimator({})
        self._stdout = claim_stdout()
        self._lock = threading.RLock()
        self._version = version
        self.is_detached = False
        self._min_interval = PROGRESS_INTERVAL_SECONDS
        self._is_hello_sent = self._is_ended = False
        self._last_progress: tuple[str, float] = ("", 0.0)

    def begin(self, device: str, device_name: str) -> None:
        """The first line."""
        with self._lock:
            if not self._is_hello_sent:
                self._is_hello_sent = True
                self.send(
                    protocol.Hello(version=self._version, device=device, device_name=device_name, pid=os.getpid())
                )

    def send(self, message: Message) -> None:
        """Writes one message; a reader that has gone ends the process, unless it is detached."""
        line = protocol.encode_message(message) + "\n"
        with self._lock:
            try:
                self._stdout.write(line)
                self._stdout.flush()
            except OSError:  # a broken pipe, which Windows calls an invalid argument
                if not self.is_detached:
                    os._exit(Cancelled.exit_code)
                self._stdout, self._min_interval = sys.stderr, DETACHED_INTERVAL_SECONDS
                self._stdout.write(line)

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        super().progress(stage, done, total, message)
        eta = self.eta_estimator.estimate_eta(stage, done, total)
        now = time.monotonic()
        if stage == self._last_progress[0] and now - self._last_progress[1] < self._min_interval and done < total:
            return
        self._last_progress = stage, now
        self.send(protocol.Progress(JOB_ID, stage, done, total, round(eta, 1), message))

    def note(self, message: str) -> None:
        self.send(protocol.Note(JOB_ID, message))

    def preview(self, path: str) -> None:
        self.send(protocol.Preview(JOB_ID, path))

    def finish(self, summary: str, data: dict[str, Any]) -> None:
        """The last line, unless one was sent."""
        self._send_last(protocol.Result(JOB_ID, to_json_value(data)))

    def fail(self, error: Error) -> None:
        """The last line, unless one was sent."""
        self._send_last(error)

    def _send_last(self, message: Message) -> None:
        with self._lock:
            self.begin("", "")
            if not self._is_ended:
                self._is_ended = True
                self.send(message)


Console = TerminalConsole | JsonLinesConsole


class Canceller:
    """Stops a job within a second: asks it first, then ends the process. All files are renamed into place when whole,
    so a hard end leaves nothing half-made under a final name."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()
        self._is_disarmed = False

    def cancel(self) -> None:
        """May be called from any thread and any number of times; after `stop` it does nothing."""
        with self._lock:
            self._console.is_cancelled = True
            if self._timer is None and not self._is_disarmed:
                self._timer = threading.Timer(CANCEL_GRACE_SECONDS, self._exit_process)
                self._timer.daemon = True
                self._timer.start()

    def disarm(self) -> None:
        """The job has ended by itself: what it says now is the last word."""
        with self._lock:
            self._is_disarmed = True

    def catch_signals(self) -> None:
        """Ctrl-C and the system's request to end cancel the job. Nothing is raised in the middle of other code."""
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: self.cancel())

    def _exit_process(self) -> None:
        with self._lock:
            if self._is_disarmed:
                return
            self._console.fail(error_from_exception(Cancelled(), None))
            os._exit(Cancelled.exit_code)


def watch_requests(on_request: Callable[[Request], None], on_close: Callable[[], None]) -> None:
    """Reads requests from standard input in a thread of its own; what is no request is left out."""

    def read_requests() -> None:
        # os.read, not sys.stdin: a thread that waits in a buffered reader would hold its lock when Python ends.
        for line in protocol.split_lines(lambda: _read_descriptor(0)):
            try:
                message = protocol.decode_message(line.decode("utf-8"))
            except ValueError as error:
                sys.stderr.write(f"Not a request: {error}\n")
                continue
            if isinstance(message, Request):
                on_request(message)
        on_close()

    threading.Thread(target=read_requests, name="requests", daemon=True).start()


def _read_descriptor(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        return b""  # closed under us


def claim_stdout() -> TextIO:
    """The real standard output; what anyone else writes there, from C as well, goes to standard error from now on."""
    sys.stdout.flush()
    lines = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
    os.dup2(2, 1)
    return lines


def redirect_library_output() -> None:
    """What C libraries write to standard error goes to a file from now on: it would tear the progress bar apart."""
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    try:
        chatter = os.open(Path(tempfile.gettempdir()) / LIBRARY_LOG_NAME, LOG_OPEN_FLAGS | os.O_TRUNC, 0o600)
    except OSError:  # nowhere to write: then the terminal bears it
        chatter = os.dup(2)
    os.dup2(chatter, 2)
    os.close(chatter)
    sys.stderr = terminal


def error_from_exception(error: BaseException, log_folder: Path | None) -> Error:
    """One sentence and a remedy for whatever went wrong. A bug's traceback goes to a log file.

    Args:
        folder: where that log may go, e.g. the actor's; the temporary folder when it cannot be written.
    """
    known = user_error_from_exception(error)
    if known is not None:
        return Error(JOB_ID, known.code, known.message, known.remedy, data=to_json_value(known.data))
    if isinstance(error, (Cancelled, KeyboardInterrupt)):
        return Error(JOB_ID, "cancelled", "Cancelled.", CANCELLED_REMEDY)
    log = _write_log(error, log_folder)
    reason = re.sub(r"\s+", " ", str(error)).strip().rstrip(".")
    detail = f"{type(error).__name__}: {reason[:160]}" if reason else type(error).__name__
    remedy = "Run it again; if it happens again, send us the log."
    return Error(JOB_ID, "internal", f"An unexpected error stopped the job ({detail}).", remedy, log)


def exit_code(error: Error) -> int:
    """What the process returns to its parent."""
    return {"cancelled": Cancelled.exit_code, "internal": 1}.get(error.code, UserError.exit_code)


def user_error_from_exception(error: BaseException) -> UserError | None:
    """The failure as something a person can act on, or None when it is not."""
    if isinstance(error, UserError):
        return error
    text = str(error).lower()
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "not enough memory" in text)
    ):
        place = "on the GPU " if "cuda" in text else ""
        return UserError(
            "out_of_memory",
            f"There is not enough memory {place}for this job.",
            "Close other programs, or choose a smaller size or preset.",
        )
    if isinstance(error, OSError) and error.errno in DISK_ERROR_NUMBERS:
        from ..contract.atomic_write import error_from_failed_write

        return error_from_failed_write(Path(os.fsdecode(error.filename)) if error.filename else Path.cwd(), error)
    if isinstance(error, ImportError) and not (error.name or "backend").startswith("backend"):
        return UserError(
            "missing_package",
            f"The Python package {(error.name or '').split('.')[0]} is missing or cannot be loaded.",
            "Set up the backend again; `python -m backend doctor` tells what is missing.",
        )
    return None


def _write_log(error: BaseException, log_folder: Path | None) -> str:
    """Writes the traceback and returns the file's path; empty when nowhere can be written."""
    text = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(sys.argv)}\n{''.join(traceback.format_exception(error))}\n"
    # An actor's folder may be shared, as its other files are; the temporary folder is open to strangers.
    for place, mode in ((log_folder, 0o666), (Path(tempfile.gettempdir()), 0o600)):
        if place is None or not place.is_dir():
            continue
        file = place / "portrait_actor_error.log"
        try:
            handle = os.open(file, LOG_OPEN_FLAGS | os.O_APPEND, mode)
            with os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(text)
        except OSError:
            continue  # the next place
        return str(file)
    sys.stderr.write(text)
    return ""


def to_json_value(value: Any) -> Any:
    """A copy for JSON: numbers that are not finite become None, paths and numpy numbers plain."""
    if isinstance(value, dict):
        return {str(k): to_json_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(v) for v in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, Path):
        return str(value)
    number = float(value)
    return number if number - number == 0 else None


def format_figures(figures: Mapping[str, Any]) -> str:
    """Figures as indented JSON, for reading."""
    return json.dumps(to_json_value(dict(figures)), indent=1, ensure_ascii=False)


def format_duration(seconds: float) -> str:
    """A time that a person reads at a glance, e.g. 75 → "1:15"."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
