"""How a command communicates: a progress bar for a terminal, protocol lines for Blender, and its cancellation."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from ..contract import protocol
from ..contract.errors import Cancelled
from ..contract.progress import Reporter
from ..contract.protocol import JOB_ID, Error, Message, Request
from .eta_estimator import EtaEstimator
from .failures import LOG_OPEN_FLAGS, error_from_exception
from .formatting import format_duration, to_json_value

CANCEL_GRACE_SECONDS = 0.8  # time for a job to react to a cancel request before the process is ended; promised is 1 s
PROGRESS_INTERVAL_SECONDS = 0.1  # least time between two progress lines of a stage; shorter floods Blender
DETACHED_INTERVAL_SECONDS = 60.0  # the same when the lines only go to a log
PROGRESS_BAR_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"  # without tqdm's own remaining time
LIBRARY_LOG_NAME = "portrait_actor_libraries.log"
READ_SIZE_BYTES = 1 << 16

Outcome = tuple[str, dict[str, Any]]  # what a command returns: a sentence for the user, and the result's data


class TerminalConsole(Reporter):
    """A terminal: results go to standard output, everything else to standard error."""

    def __init__(self) -> None:
        self.eta_estimator = EtaEstimator({})
        self._progress_bar: Any = None
        self._stage = ""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # escape characters that the terminal cannot encode
                stream.reconfigure(errors="backslashreplace")

    def begin(self, device: str, device_name: str) -> None:
        """Announce the device; a terminal shows nothing."""

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        """Update the progress bar; without a terminal, print each stage once."""
        super().progress(stage, done, total, message)
        from tqdm import tqdm

        text = message or stage.replace("_", " ").capitalize()
        if stage != self._stage or self._progress_bar is None:
            self._close_progress_bar()
            self._stage = stage
            is_terminal = sys.stderr.isatty()
            if not is_terminal:
                self._write_line(text)
            self._progress_bar = tqdm(
                total=total, initial=done, file=sys.stderr, disable=not is_terminal, dynamic_ncols=True,
                bar_format=PROGRESS_BAR_FORMAT,
            )  # fmt: skip
        self._progress_bar.total = total  # may change while the stage runs
        self._progress_bar.set_description_str(text, refresh=False)
        eta = self.eta_estimator.estimate_eta(stage, done, total)
        self._progress_bar.set_postfix_str(f"whole job {format_duration(eta)} left" if eta > 0 else "", refresh=False)
        self._progress_bar.update(done - self._progress_bar.n)

    def note(self, message: str) -> None:
        """Print a note above the progress bar."""
        self._write_line(message)

    def finish(self, summary: str, data: dict[str, Any]) -> None:
        """Print the result."""
        self._close_progress_bar()
        sys.stdout.write(summary + "\n")
        sys.stdout.flush()

    def fail(self, error: Error) -> None:
        """Print the error."""
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
    """The connection to Blender: standard output carries one protocol message per line and nothing else.

    What libraries write to standard output goes to standard error instead, and so to the log.

    Attributes:
        is_detached: whether the job continues without its reader; further lines then go to the log.
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
        """Send the first line, once."""
        with self._lock:
            if not self._is_hello_sent:
                self._is_hello_sent = True
                self.send(protocol.Hello(protocol.PROTOCOL_VERSION, self._version, device, device_name, os.getpid()))

    def send(self, message: Message) -> None:
        """Write one message. If its reader is gone, end the process unless the job is detached."""
        line = protocol.encode_message(message) + "\n"
        with self._lock:
            try:
                self._stdout.write(line)
                self._stdout.flush()
            except OSError:  # a broken pipe; on Windows, an invalid argument
                if not self.is_detached:
                    os._exit(Cancelled.exit_code)
                self._stdout, self._min_interval = sys.stderr, DETACHED_INTERVAL_SECONDS
                self._stdout.write(line)

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        """Send the progress, at most every `PROGRESS_INTERVAL_SECONDS`, and always the end of a stage."""
        super().progress(stage, done, total, message)
        eta = self.eta_estimator.estimate_eta(stage, done, total)
        now = time.monotonic()
        if stage == self._last_progress[0] and now - self._last_progress[1] < self._min_interval and done < total:
            return
        self._last_progress = stage, now
        self.send(protocol.Progress(JOB_ID, stage, done, total, round(eta, 1), message))

    def note(self, message: str) -> None:
        """Send a note."""
        self.send(protocol.Note(JOB_ID, message))

    def preview(self, path: str) -> None:
        """Send the path of a preview image."""
        self.send(protocol.Preview(JOB_ID, path))

    def finish(self, summary: str, data: dict[str, Any]) -> None:
        """Send the result as the last line, unless the job has ended already."""
        self._send_last(protocol.Result(JOB_ID, to_json_value(data)))

    def fail(self, error: Error) -> None:
        """Send the error as the last line, unless the job has ended already."""
        self._send_last(error)

    def _send_last(self, message: Message) -> None:
        with self._lock:
            self.begin("", "")
            if not self._is_ended:
                self._is_ended = True
                self.send(message)


Console = TerminalConsole | JsonLinesConsole


class Canceller:
    """Stops a job within a second: asks it first, then ends the process.

    All files are written atomically, so ending the process leaves no incomplete file under a final name.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._timer: threading.Timer | None = None
        self._lock = threading.RLock()
        self._is_disarmed = False

    def cancel(self) -> None:
        """Cancel the job. May be called from any thread and repeatedly; after `disarm` it does nothing."""
        with self._lock:
            self._console.is_cancelled = True
            if self._timer is None and not self._is_disarmed:
                self._timer = threading.Timer(CANCEL_GRACE_SECONDS, self._exit_process)
                self._timer.daemon = True
                self._timer.start()

    def disarm(self) -> None:
        """Prevent a later cancellation: the job has ended by itself."""
        with self._lock:
            self._is_disarmed = True

    def catch_signals(self) -> None:
        """Cancel the job on Ctrl-C or the system's request to end, without an exception in the middle of other code."""
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
    """Read requests from standard input in a thread; other lines are reported on standard error.

    Args:
        on_request: called for every request.
        on_close: called when standard input ends.
    """

    def read_requests() -> None:
        # os.read instead of sys.stdin: a thread that waits in a buffered reader would hold its lock when Python ends.
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
        return os.read(descriptor, READ_SIZE_BYTES)
    except OSError:
        return b""  # closed meanwhile


def claim_stdout() -> TextIO:
    """Return the real standard output; later writes of other code to it, from C as well, go to standard error."""
    sys.stdout.flush()
    stdout = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n")
    os.dup2(2, 1)
    return stdout


def redirect_library_output() -> None:
    """Redirect what C libraries write to standard error to a file, since it would garble the progress bar."""
    sys.stderr.flush()
    terminal = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    try:
        library_log = os.open(Path(tempfile.gettempdir()) / LIBRARY_LOG_NAME, LOG_OPEN_FLAGS | os.O_TRUNC, 0o600)
    except OSError:  # no log file: then the terminal shows it
        library_log = os.dup(2)
    os.dup2(library_log, 2)
    os.close(library_log)
    sys.stderr = terminal
