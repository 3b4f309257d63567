"""One backend process and the messages that it exchanges with Blender. Independent of Blender's API.

The child gets a clean environment: Blender's own PYTHONHOME or PYTHONPATH would make it load the wrong modules. It ends
when its standard input closes, so it cannot outlive Blender unless it was started with `--detached`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..contract import ROOT, errors, protocol

HELLO_TIMEOUT_SECONDS = 120.0  # until the first message: loading torch from a cold disk takes most of a minute
CANCEL_TIMEOUT_SECONDS = 5.0  # for the child to answer a cancel request, and again to end once its input is closed
READ_CHUNK_BYTES = 1 << 16  # read from the child's standard output at a time
EXIT_CODE_TIMEOUT_SECONDS = 1.0  # between the end of the child's output and its exit code
LOG_TAIL_BYTES = 4096  # of a log in which its last line is searched
MAX_LOG_LINE_LETTERS = 200  # of that line that an error message shows
KILLED_EXIT_CODES = (-signal.SIGTERM, -9, 137)  # 137: killed inside a container, most often for memory
JOB_ID = "job"

_INHERITED_VARIABLES = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA",
    "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "HTTP_PROXY",
    "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
})  # fmt: skip
_INHERITED_PREFIXES = ("LC_", "XDG_", "CUDA_", "NVIDIA_", "TORCH_", "OMP_", "MKL_", "NUMBA_", "PIP_", "PORTRAIT_ACTOR_")


def clean_environment() -> dict[str, str]:
    """Return this process's environment without the variables of Blender and its Python."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if k.upper() in _INHERITED_VARIABLES or k.upper().startswith(_INHERITED_PREFIXES)
    }
    return kept | {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "PYTHONNOUSERSITE": "1"}


class BackendProcess:
    """A running backend command. Call `receive_messages` regularly."""

    def __init__(self, command: Sequence[str], log: Path, *, is_service: bool = False) -> None:
        """Start the command in the folder that holds backend/.

        Args:
            command: the program and its arguments.
            log: file for its standard error and for output that is no message.
            is_service: whether it answers requests, each with a result or an error, until it is closed.

        Raises:
            UserError: it cannot be started.
        """
        self.log, self._is_service = log, is_service
        self.is_finished = False  # the last message was a Result or an Error, and the process is being ended
        # None stands for the end of standard output.
        self._message_queue: queue.SimpleQueue[protocol.Message | None] = queue.SimpleQueue()
        self._start_time = time.monotonic()
        self._has_greeted = False
        self._cancel_deadline: float | None = None  # when a cancelled child is terminated
        self._is_cancelled = self._is_detached = False
        try:
            with log.open("ab") as error_log:
                self._child = subprocess.Popen(
                    list(command), cwd=ROOT, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=error_log, start_new_session=os.name != "nt",
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )  # fmt: skip
        except OSError as error:
            raise errors.UserError(
                "backend_not_started",
                f"The backend's Python {command[0]} could not be started ({error.strerror}).",
                "Choose another Python in the preferences, or set up the backend again.",
            ) from error
        threading.Thread(target=self._read_output, name="Portrait Actor backend", daemon=True).start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def receive_messages(self) -> list[protocol.Message]:
        """Return the messages since the last call. The last message of a process is always a Result or an Error."""
        messages: list[protocol.Message] = []
        while not self.is_finished:
            try:
                message = self._message_queue.get_nowait()
            except queue.Empty:
                messages += self._check_timeouts()
                break
            messages.append(self._exit_error() if message is None else message)
            self._has_greeted = True
            if isinstance(messages[-1], protocol.Hello) and messages[-1].protocol != protocol.PROTOCOL_VERSION:
                messages[-1] = self._make_error(
                    "other_version", "The backend is of another version.", "Set it up again."
                )
            if isinstance(messages[-1], (protocol.Result, protocol.Error)) and (
                not self._is_service or messages[-1].id == JOB_ID
            ):
                self.close_in_background()
        return messages

    def cancel(self) -> None:
        """Ask the child to stop. `receive_messages` ends it by force if it does not."""
        self._is_cancelled = True
        self._cancel_deadline = time.monotonic() + CANCEL_TIMEOUT_SECONDS
        self.send_request(protocol.Request(JOB_ID, "cancel"))

    def send_request(self, request: protocol.Request) -> None:
        """Send a request to the child."""
        with contextlib.suppress(OSError):  # the child has ended already: `receive_messages` reports it
            assert self._child.stdin is not None
            self._child.stdin.write((protocol.encode_message(request) + "\n").encode())
            self._child.stdin.flush()

    def close(self, timeout_seconds: float = CANCEL_TIMEOUT_SECONDS) -> None:
        """Close the child's input and end it by force if that does not help.

        Args:
            timeout_seconds: for each of the three steps: closed input, termination, kill.
        """
        with contextlib.suppress(OSError):
            assert self._child.stdin is not None
            self._child.stdin.close()
        steps: tuple[Callable[[], None], ...] = (lambda: None, self._terminate, self._kill)
        for end in steps:
            end()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout_seconds)
                return

    def detach(self) -> None:
        """Let a detached child go on alone. As long as this process lives, the child's messages go to the log."""
        self.is_finished = self._is_detached = True
        with contextlib.suppress(OSError):
            assert self._child.stdin is not None
            self._child.stdin.close()

    def close_in_background(self) -> None:
        """End the child in the background: it may take seconds to free its memory."""
        self.is_finished = True
        threading.Thread(target=self.close, name="Portrait Actor backend's end", daemon=True).start()

    def _check_timeouts(self) -> list[protocol.Message]:
        """Return the error for a child that never greeted or that ignores a cancel request."""
        now = time.monotonic()
        if self._cancel_deadline is not None and now > self._cancel_deadline:
            self._terminate()
            self.close_in_background()
            return [self._make_error("cancelled", "The job was cancelled.", "")]
        if not self._has_greeted and now > self._start_time + HELLO_TIMEOUT_SECONDS:
            self._terminate()
            self.close_in_background()
            return [self._make_error("no_answer", "The backend did not answer.", "Open the log, or set it up again.")]
        return []

    def _exit_error(self) -> protocol.Message:
        """Return the error for a child that ended without a Result or an Error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(EXIT_CODE_TIMEOUT_SECONDS)
        code = self._child.poll()
        if self._is_cancelled:
            return self._make_error("cancelled", "The job was cancelled.", "")
        last = read_last_line(self.log)
        said = f": {last.rstrip('.')}" if last else ""
        if code in KILLED_EXIT_CODES:
            remedy = "If memory ran out, close other programs; then start again: it goes on."
            return self._make_error("backend_died", f"The backend was killed{said}.", remedy)
        remedy = "Open the log; start again: it goes on where it stopped."
        return self._make_error("backend_died", f"The backend stopped (exit code {code}){said}.", remedy)

    def _make_error(self, code: str, message: str, remedy: str) -> protocol.Error:
        return protocol.Error(JOB_ID, code, message, remedy, str(self.log))

    def _read_output(self) -> None:
        """Turn the child's output into messages, in a thread. Other output, e.g. a library's, goes to the log."""
        assert self._child.stdout is not None
        with self._child.stdout as output, self.log.open("ab") as log:
            descriptor = output.fileno()
            for line in protocol.split_lines(lambda: os.read(descriptor, READ_CHUNK_BYTES)):
                try:
                    message = protocol.decode_message(line.decode("utf-8", "replace"))
                except ValueError:
                    message = None
                if message is None or self._is_detached:
                    log.write(line + b"\n")
                    log.flush()
                else:
                    self._message_queue.put(message)
        self._message_queue.put(None)

    def _terminate(self) -> None:
        self._send_signal(getattr(signal, "SIGTERM", 15))

    def _kill(self) -> None:
        self._send_signal(getattr(signal, "SIGKILL", 9))

    def _send_signal(self, signal_number: int) -> None:
        """Send a signal to the child and, where the system can, to the child's children."""
        with contextlib.suppress(OSError):
            if os.name == "nt":
                self._child.kill()
            else:
                os.killpg(self._child.pid, signal_number)


def read_last_line(log: Path) -> str:
    """Return the last line of a log that is not empty, cut to a length that fits a panel."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:MAX_LOG_LINE_LETTERS] for line in reversed(lines) if line.strip()), "")
