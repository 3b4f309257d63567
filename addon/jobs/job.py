"""The current job: what the sidebar shows and what callers without a window wait for."""

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
WAIT_INTERVAL_SECONDS = 0.02  # between two looks at a process that a caller waits for
SHUTDOWN_TIMEOUT_SECONDS = 1.0  # for each step of ending a process: Blender's exit must not feel stuck


class JobState(enum.Enum):
    """The state of a job. The last three are final."""

    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class JobRequest:
    """A process to run and what follows its result.

    Attributes:
        title: the name that the artist reads, e.g. "Create Jane".
        command: the program and its arguments.
        folder: the job's own folder; the log goes there.
        finish: called on the main thread with the result's data. It makes the changes in Blender and returns a
            sentence for the artist. If it raises UserError, the job has failed.
        actor_folder: the actor that the job creates, if any.
        settings: what the artist asked for, so that the job can be started again with one change.
        is_detached: whether the process goes on when Blender ends.
    """

    title: str
    command: list[str]
    folder: Path
    finish: FinishCallback
    actor_folder: Path | None = None
    settings: Any = None
    is_detached: bool = False


@dataclass
class Job:
    """A backend process with everything that it has reported.

    Attributes:
        request: what the job runs.
        process: the process.
        state: the current state.
        progress: the last progress message.
        notes: statements of the backend, e.g. which part of the footage is left out.
        outcome: one sentence, once the job is done.
        error: why the job failed.
    """

    request: JobRequest
    process: BackendProcess
    state: JobState = JobState.RUNNING
    progress: protocol.Progress | None = None
    notes: list[str] = field(default_factory=list)
    outcome: str = ""
    error: protocol.Error | None = None

    @property
    def title(self) -> str:
        """The name that the artist reads."""
        return self.request.title

    @property
    def actor_folder(self) -> Path | None:
        """The actor that the job creates, if any."""
        return self.request.actor_folder

    @property
    def log(self) -> Path:
        """The file with what the process wrote."""
        return self.process.log

    @property
    def is_running(self) -> bool:
        """Whether the job has not ended yet."""
        return self.state in (JobState.RUNNING, JobState.CANCELLING)

    @property
    def fraction(self) -> float:
        """The finished share of the present stage, 0–1."""
        return self.progress.done / self.progress.total if self.progress and self.progress.total > 0 else 0.0

    @property
    def status_text(self) -> str:
        """The text on the progress bar."""
        if self.state is JobState.CANCELLING:
            return iface_("Cancelling…")
        if self.progress is None:
            return iface_("Starting…")
        step = self.progress
        stage = translate_message(step.message or step.stage.replace("_", " ").capitalize())
        return f"{stage} · {iface_('{} left').format(format_duration(step.eta))}" if step.eta >= 0 else stage

    def cancel(self) -> None:
        """Ask the backend to stop. The next run uses what it has finished."""
        if self.state is JobState.RUNNING:
            self.state = JobState.CANCELLING
            self.process.cancel()

    def update(self) -> bool:
        """Apply the process's new messages. Call on the main thread: the end of a job changes the scene.

        Returns:
            whether anything has changed.
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
        """End the job with an error."""
        self.error = error
        self.state = JobState.CANCELLED if error.code == "cancelled" else JobState.FAILED

    def _finish(self, data: dict[str, Any]) -> None:
        try:
            self.outcome = self.request.finish(data)
            self.state = JobState.DONE
        except errors.UserError as error:
            self.fail(protocol.Error("job", error.code, error.message, error.remedy, str(self.log)))
        except BaseException:  # a bug: Blender shows its traceback, and the panel must not wait for ever
            self.fail(
                protocol.Error(
                    "job",
                    "bug",
                    f"{self.title} ended with an unexpected error.",
                    "Read Blender's console.",
                    str(self.log),
                )
            )
            raise

    def wait(self, on_change: Callable[[Job], None] = lambda job: None) -> None:
        """Block until the job has ended. A dead or silent process ends it too.

        Args:
            on_change: called when something has changed.

        Raises:
            UserError: the job failed or was cancelled.
        """
        try:
            while self.is_running:
                if self.update():
                    on_change(self)
                else:
                    time.sleep(WAIT_INTERVAL_SECONDS)
        finally:
            if self.is_running:  # Ctrl-C
                self.process.close(SHUTDOWN_TIMEOUT_SECONDS)
        if self.error is not None:
            raise errors.UserError(self.error.code, self.error.message, self.error.remedy, self.error.data)


class JobManager:
    """Owner of the one job that runs at a time.

    Attributes:
        current: the job that runs, or the last one that ran.
    """

    def __init__(self) -> None:
        self.current: Job | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a job runs."""
        return self.current is not None and self.current.is_running

    def start(self, request: JobRequest) -> Job:
        """Start a process as the current job.

        Raises:
            UserError: another job runs, or the process cannot be started.
        """
        if self.is_busy:
            raise errors.UserError("busy", "Another job is running.", "Wait for it, or cancel it.")
        self.current = Job(request, BackendProcess(request.command, request.folder / "log.txt"))
        return self.current

    def stop(self) -> None:
        """End the running job at once, unless it is detached, and forget it."""
        job, self.current = self.current, None
        if job is None or not job.is_running:
            return
        if job.request.is_detached and job.state is JobState.RUNNING:
            job.process.detach()
        else:
            job.process.close(SHUTDOWN_TIMEOUT_SECONDS)


_manager: JobManager | None = None  # while the extension is switched on


def register() -> None:
    """Make the job manager."""
    global _manager
    _manager = JobManager()


def unregister() -> None:
    """End the running job and drop the manager."""
    global _manager
    stop_job()
    _manager = None


def _get_manager() -> JobManager:
    assert _manager is not None, "the extension is switched off"
    return _manager


def current_job() -> Job | None:
    """Return the job that runs, or the last one that ran."""
    return _manager.current if _manager is not None else None


def is_busy() -> bool:
    """Return whether a job runs."""
    return _get_manager().is_busy


def start_job(request: JobRequest) -> Job:
    """Start a process as the current job.

    Raises:
        UserError: another job runs, or the process cannot be started.
    """
    return _get_manager().start(request)


def stop_job() -> None:
    """End the running job at once, unless it is detached, and forget it."""
    if _manager is not None:
        _manager.stop()


def format_duration(seconds: float) -> str:
    """Return a time that is read at a glance, e.g. ``"12 min"``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
