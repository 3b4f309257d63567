"""Runs venv and pip for `install`: as a child that can be cancelled, with its progress, and failures in one sentence.

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
from backend.contract.protocol import Message, Progress

JOB_ID = "job"
MessageSink = Callable[[Message], None]


def normalize_package_name(name: str) -> str:
    """A package name as the index compares them (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


class PipProgress:
    """Turns pip's output into progress: the packages named in `wanted` are counted as pip comes to them."""

    def __init__(self, stage: str, requirements: Sequence[str], send: MessageSink) -> None:
        self.stage, self.send = stage, send
        self.pending = {normalize_package_name(re.split("[=>]=", pin)[0]) for pin in requirements}
        self.total = len(self.pending)
        self.current_step, self.percent = "", 0

    def read_line(self, text: str) -> None:
        """One line of pip's output."""
        if named := re.match(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)", text):
            self.pending.discard(normalize_package_name(named[1]))
        if part := re.match(r"Progress (\d+) of (\d+)", text):
            percent = 100 * int(part[1]) // max(int(part[2]), 1)
            if percent >= self.percent + 10:
                self.percent = percent
                self.send_progress(f"{self.current_step}: {percent} %")
        elif text.startswith(("Collecting", "Downloading", "Processing", "Installing collected")):
            self.current_step, self.percent = text, 0
            self.send_progress(text)

    def send_progress(self, text: str) -> None:
        """Reports `text` with how many of the wanted packages pip has come to."""
        shown = text if len(text) <= 100 else text[:60] + "…" + text[-39:]
        self.send(Progress(JOB_ID, self.stage, self.total - len(self.pending), self.total, message=shown))

    def finish(self) -> None:
        """The step is done."""
        self.send(Progress(JOB_ID, self.stage, self.total, self.total))


class ChildProcess:
    """The one process that runs at a time, with everything that it starts."""

    def __init__(self) -> None:
        self.is_cancelled = False
        self.exit_code = 0
        self.process: subprocess.Popen[str] | None = None
        self.lock = threading.Lock()

    def run(self, command: Sequence[str], log_path: Path, on_line: Callable[[str], None] | None = None) -> str:
        """Runs `command`, appends what it writes to `log`, and returns that. Its exit code is then in `code`.

        Raises:
            Cancelled: `cancel` was called before or meanwhile.
        """
        lines: list[str] = []
        with log_path.open("a", encoding="utf-8") as record:
            record.write(f"$ {' '.join(command)}\n")
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
                    record.write(text)
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
        """Ends the running process; may be called from another thread."""
        with self.lock:
            self.is_cancelled = True
        self.kill()

    def kill(self) -> None:
        """Ends the process and what it started, and waits for it."""
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
    """The environment for pip: without what Blender or an outer venv set for their own Python, messages in English."""
    dropped = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV", "PIP_TARGET", "PIP_USER")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"PYTHONIOENCODING": "utf-8", "LC_MESSAGES": "C"}


# What venv, pip and the system say when they fail: a pattern, the error's code, its sentence and its remedy.
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
    """The one sentence, with its remedy, for the `output` of venv, pip or the system when they failed."""
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
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["nothing was said"]
    said = next((line for line in lines if line.lower().startswith("error")), lines[-1])
    return UserError("install_failed", f"The installation failed: {said[:200]}", f"See {log_path}.")
