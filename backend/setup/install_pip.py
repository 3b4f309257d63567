"""Runs venv and pip for `install`: a child process that can be cancelled, its progress, and its failures as errors.

Standard library only.
"""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from backend.contract.errors import Cancelled, UserError
from backend.contract.protocol import JOB_ID, Message, Progress

MessageSink = Callable[[Message], None]
MAX_REASON_LENGTH = 200  # characters of an unknown failure in its error; the log has all of it
MIN_PERCENT_STEP = 10  # between two progress messages of a download; smaller floods the log
MAX_PROGRESS_LENGTH = 100  # characters of a line of pip in the interface; longer ones lose their middle


def normalize_package_name(name: str) -> str:
    """Return the name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


class PipProgress:
    """Turns pip's output into progress messages.

    Args:
        stage: the stage of the messages.
        requirements: the packages that are counted when pip mentions them.
        send: receives the messages.
    """

    def __init__(self, stage: str, requirements: Sequence[str], send: MessageSink) -> None:
        self.stage, self.send = stage, send
        self.pending = {normalize_package_name(re.split("[=>]=", pin)[0]) for pin in requirements}
        self.total = len(self.pending)
        self.current_step, self.percent = "", 0

    def read_line(self, text: str) -> None:
        """Process one line of pip's output."""
        if match := re.match(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)", text):
            self.pending.discard(normalize_package_name(match[1]))
        if match := re.match(r"Progress (\d+) of (\d+)", text):
            percent = 100 * int(match[1]) // max(int(match[2]), 1)
            if percent >= self.percent + MIN_PERCENT_STEP:
                self.percent = percent
                self.send_progress(f"{self.current_step}: {percent} %")
        elif text.startswith(("Collecting", "Downloading", "Processing", "Installing collected")):
            self.current_step, self.percent = text, 0
            self.send_progress(text)

    def send_progress(self, text: str) -> None:
        """Send `text` with the number of packages that pip has mentioned."""
        shown = text if len(text) <= MAX_PROGRESS_LENGTH else text[:60] + "…" + text[-39:]
        self.send(Progress(JOB_ID, self.stage, self.total - len(self.pending), self.total, message=shown))

    def finish(self) -> None:
        """Send the end of the stage."""
        self.send(Progress(JOB_ID, self.stage, self.total, self.total))


class ChildProcess:
    """Runs one process at a time and, when cancelled, ends it with all its children."""

    def __init__(self) -> None:
        self.is_cancelled = False
        self.exit_code = 0
        self.process: subprocess.Popen[str] | None = None
        self.lock = threading.Lock()

    def run(self, command: Sequence[str], log_path: Path, on_line: Callable[[str], None] | None = None) -> str:
        """Run `command`, append its output to the log, and return it; `exit_code` is then set.

        Args:
            command: program and arguments.
            log_path: the log file.
            on_line: called with every line of output.

        Raises:
            Cancelled: `cancel` was called before or during the run.
        """
        lines: list[str] = []
        with log_path.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            with self.lock:
                if self.is_cancelled:
                    raise Cancelled
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    encoding="utf-8", errors="replace", env=clean_environment(), start_new_session=os.name != "nt",
                )  # fmt: skip
            try:
                assert self.process.stdout is not None
                for text in self.process.stdout:
                    log.write(text)
                    lines.append(text)
                    if on_line is not None:
                        on_line(text.strip())
                self.exit_code = self.process.wait()
            finally:
                self.kill()
        if self.is_cancelled:
            raise Cancelled
        return "".join(lines)

    def cancel(self) -> None:
        """End the running process; may be called from another thread."""
        with self.lock:
            self.is_cancelled = True
        self.kill()

    def kill(self) -> None:
        """End the process and its children, and wait for it."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "nt":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def clean_environment() -> dict[str, str]:
    """Return the environment for pip: without the settings of Blender's or a venv's Python, with English messages."""
    dropped = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_USER")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"PYTHONIOENCODING": "utf-8", "LC_MESSAGES": "C"}


# Known output of venv, pip and the system when they fail: pattern, error code, message, remedy.
KNOWN_FAILURES = (
    (r"No space left on device|Errno 28\b|WinError 112|Disk quota exceeded|Errno 122\b", "disk_full",
     "The disk became full during the installation.", "Free about 4 GB and set up again."),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError", "bad_certificate",
     "The package index could not be trusted: its certificate was not accepted.",
     "Check this machine's date and the studio's proxy settings (pip's option `cert`)."),
    (r"NewConnectionError|establish a new connection|Name or service not known|name resolution|NameResolutionError|"
     r"ProxyError|getaddrinfo failed|Read timed out|TimeoutError|unreachable|RemoteDisconnected|Connection refused",
     "no_network", "The packages could not be downloaded: the package index was not reached.",
     "Connect to the internet, or install from a folder of wheels (`build.py wheels DIR` makes one elsewhere)."),
    (r"ensurepip is not available|No module named venv|No module named ensurepip", "no_venv",
     "This Python {python} cannot make environments: its venv module is missing.",
     "Install it (on Debian and Ubuntu: apt install python{python}-venv)."),
    (r"No matching distribution found|is not a supported wheel on this platform", "no_wheel",
     "There is no {package} for Python {python} on this {machine} in {source}.",
     "Use Python 3.11 or 3.12 on 64-bit Linux, Windows or macOS, and wheels made for the same."),
    (r"DO NOT MATCH THE HASHES|BadZipFile|IncompleteRead|incomplete-download", "bad_download",
     "A package arrived damaged.", "Set up again; if it stays so, clear pip's cache with `pip cache purge`."),
    (r"Failed building wheel|metadata-generation-failed|subprocess-exited-with-error", "no_compiler",
     "A package has to be compiled for Python {python} on this {machine}, and that failed.",
     "Use Python 3.11 or 3.12 on 64-bit Linux, Windows or macOS: there are ready packages for those."),
    (r"Permission denied|Read-only file system|Errno (13|20|30)\b|WinError (5|32)\b|Access is denied", "read_only",
     "{folder} cannot be written, or a program still uses it.",
     "Close what uses it, or choose a folder that you may write to."),
)  # fmt: skip


def error_from_output(output: str, wheel_folder: Path | None, log_path: Path) -> UserError:
    """Return the error for the output of venv, pip or the system when they failed.

    Args:
        output: what was printed.
        wheel_folder: the folder of wheels, if packages come from one.
        log_path: the log; without its suffix it is the environment's folder.
    """
    package = re.search(r"No matching distribution found for ([\w.=-]+)|ERROR: ([\w.=-]+\.whl) is not", output)
    facts = {
        "python": "{}.{}".format(*sys.version_info),
        "machine": f"{platform.system()} {platform.machine()}",
        "package": (package[1] or package[2]) if package else "package",
        "source": wheel_folder or "the package index",
        "folder": log_path.with_suffix(""),
    }
    for pattern, code, message, remedy in KNOWN_FAILURES:
        if re.search(pattern, output, re.IGNORECASE):
            return UserError(code, message.format(**facts), remedy.format(**facts))
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["there was no output"]
    reason = next((line for line in lines if line.lower().startswith("error")), lines[-1])
    return UserError("install_failed", f"The installation failed: {reason[:MAX_REASON_LENGTH]}", f"See {log_path}.")
