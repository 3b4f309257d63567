"""The job that runs now or ran last: what the sidebar shows and what blocking callers wait for."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..contract import errors, protocol
from ..translations import iface_, translate_message
from .process import BackendProcess

FinishCallback = Callable[[dict[str, Any]], str]


class JobState(enum.Enum):
    """Where a job is. The last three are final."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass
class Job:
    """A backend process with what it said.

    Attributes:
        title: what the artist calls it, e.g. "Create Jane".
        process: its process.
        finish: called on the main thread with the result's data; does what follows in Blender and returns a sentence
            for the person. It may raise UserError, and then the job has failed.
        state: where it is.
        progress: the last progress message.
        notes: plain statements of the backend, e.g. what was left out.
        outcome: one sentence, when done.
        error: why it failed.
        folder: the actor's folder that it works on, when it makes one.
        request: what was asked for, so that it can be asked for again with one change.
        detached: its process goes on when Blender ends.
    """

    title: str
    process: BackendProcess
    finish: FinishCallback
    state: JobState = JobState.RUNNING
    progress: protocol.Progress | None = None
    notes: list[str] = field(default_factory=list)
    outcome: str = ""
    error: protocol.Error | None = None
    actor_folder: Path | None = None
    request: Any = None
    is_detached: bool = False

    @property
    def log(self) -> Path:
        return self.process.log

    @property
    def is_running(self) -> bool:
        return self.state in (JobState.RUNNING, JobState.CANCELLING)

    @property
    def fraction(self) -> float:
        """0–1 of the present stage."""
        return self.progress.done / self.progress.total if self.progress and self.progress.total > 0 else 0.0

    @property
    def status_text(self) -> str:
        """What to write on the progress bar."""
        if self.state is JobState.CANCELLING:
            return iface_("Cancelling…")
        if self.progress is None:
            return iface_("Starting…")
        step = self.progress
        now = translate_message(step.message or step.stage.replace("_", " ").capitalize())
        return f"{now} · {iface_('{} left').format(format_duration(step.eta))}" if step.eta >= 0 else now

    def cancel(self) -> None:
        """Asks the backend to stop; what it finished is used again by the next run."""
        if self.state is JobState.RUNNING:
            self.state = JobState.CANCELLING
            self.process.cancel()

    def update(self) -> bool:
        """Takes in what the process said; on the main thread, as the end of a job changes the scene.

        Returns:
            whether anything changed.
        """
        messages = self.process.receive_messages() if self.is_running else []
        for message in messages:
            if isinstance(message, protocol.Progress):
                self.progress = message
            elif isinstance(message, protocol.Note):
                self.notes.append(message.message)
            elif isinstance(message, protocol.Error):
                self.fail(message)
            elif isinstance(message, protocol.Result):
                self._finish(message.data)
        return bool(messages)

    def fail(self, error: protocol.Error) -> None:
        """Ends the job with an error."""
        self.error = error
        self.state = JobState.CANCELLED if error.code == "cancelled" else JobState.FAILED

    def _finish(self, data: dict[str, Any]) -> None:
        unexpected = protocol.Error(
            "job", "bug", f"{self.title} ended with an unexpected error.", "Read Blender's console.", str(self.log)
        )
        try:
            self.outcome = self.finish(data)
            self.state = JobState.DONE
        except errors.UserError as error:
            self.fail(protocol.Error("job", error.code, error.message, error.remedy, str(self.log)))
        finally:
            if (
                self.is_running
            ):  # a bug: its traceback goes where Blender shows it, and the panel must not wait for ever
                self.fail(unexpected)

    def wait(self, on_change: Callable[[Job], None] = lambda job: None) -> None:
        """Blocks until the job has ended, for Blender without a window. A dead or silent child ends it too.

        Args:
            watch: called when something changed.

        Raises:
            UserError: the job failed or was cancelled.
        """
        try:
            while self.is_running:
                if self.update():
                    on_change(self)
                else:
                    time.sleep(0.02)
        finally:
            if self.is_running:  # Ctrl-C
                self.process.close(1.0)
        if self.error is not None:
            raise errors.UserError(self.error.code, self.error.message, self.error.remedy, self.error.data)


_current_job: Job | None = None


def current_job() -> Job | None:
    """The job that runs, or the last one that ran."""
    return _current_job


def is_busy() -> bool:
    """Whether a job runs."""
    return _current_job is not None and _current_job.is_running


def start_job(
    title: str,
    command: list[str],
    log_file: Path,
    finish: FinishCallback,
    *,
    actor_folder: Path | None = None,
    request: Any = None,
    is_detached: bool = False,
) -> Job:
    """Starts a backend process as the current job; see `Job`.

    Raises:
        UserError: another job runs, or the process cannot be started.
    """
    global _current_job
    if is_busy():
        raise errors.UserError("busy", "Another job is running.", "Wait for it, or cancel it.")
    _current_job = Job(
        title,
        BackendProcess(command, log_file),
        finish,
        actor_folder=actor_folder,
        request=request,
        is_detached=is_detached,
    )
    return _current_job


def stop_job() -> None:
    """Ends the running job at once, unless it is detached, and forgets it: the extension is switched off, or Blender
    quits."""
    global _current_job
    if _current_job is not None and _current_job.is_running:
        if _current_job.is_detached and _current_job.state is JobState.RUNNING:
            _current_job.process.detach()
        else:
            _current_job.process.close(1.0)
    _current_job = None


def format_duration(seconds: float) -> str:
    """A time that a person reads at a glance."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
