"""What all operators share: one sentence instead of a traceback, and jobs that block when there is no window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..contract import errors, safe_io
from ..jobs import environment, job, main_thread
from ..scene import scene_actor
from ..translations import CONTEXT, failure_text, tip_


class OperatorBase:
    """Base of the operators: `act` does the work and may raise UserError."""

    bl_options = {"REGISTER"}
    bl_translation_context = CONTEXT

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            return self.run(context)
        except errors.UserError as error:
            self.report({"ERROR"}, failure_text(error))
            return {"CANCELLED"}

    def run(self, context: bpy.types.Context) -> set[str]:
        """Does what the operator is for.

        Raises:
            UserError: it cannot be done.
        """
        raise NotImplementedError

    def watch_job(self, started_job: job.Job) -> set[str]:
        """Watches a job: in a window Blender stays usable, without one this waits for its end."""
        if bpy.app.background:
            started_job.wait()
            self.report({"INFO"}, started_job.outcome)
        else:
            main_thread.start_timer()
        return {"FINISHED"}


class ActorOperator(OperatorBase):
    """Base of the operators on an actor of the scene."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if scene_actor.find_actor(context) is None:
            cls.poll_message_set(tip_("There is no actor in the scene: create or import one"))
            return False
        return super().poll(context)


class JobOperator(OperatorBase):
    """Base of the operators that start a job: one runs at a time."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if job.is_busy():
            cls.poll_message_set(tip_("A job is running: wait for it, or cancel it"))
            return False
        return super().poll(context)


class ActorJobOperator(JobOperator):
    """Base of those that start a job for an actor, which a script may name."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not scene_actor.has_actor(context.scene):
            cls.poll_message_set(tip_("There is no actor in the scene: create or import one"))
            return False
        return True


def fill_unset_properties(operator: bpy.types.Operator, **values: Any) -> None:
    """Sets what the caller has left open: a button, or a line of a menu, means what the sidebar's form says."""
    for name, value in values.items():
        if not operator.properties.is_property_set(name):
            setattr(operator, name, value)


@dataclass(frozen=True)
class JobTarget:
    """Where a job's result goes. Blender may undo, rename or open another file meanwhile, so it holds no pointers."""

    scene_uid: int
    armature_uid: int = 0

    @classmethod
    def from_context(cls, context: bpy.types.Context, armature: bpy.types.Object | None = None) -> JobTarget:
        return cls(context.scene.session_uid, armature.session_uid if armature else 0)

    def find_scene(self) -> bpy.types.Scene | None:
        return next((s for s in bpy.data.scenes if s.session_uid == self.scene_uid), None)

    def find_armature(self) -> bpy.types.Object | None:
        return next((o for o in bpy.data.objects if o.session_uid == self.armature_uid), None)


def start_backend_job(
    title: str,
    subcommand: str,
    arguments: list[str],
    job_folder: Path,
    finish: Callable[[dict[str, Any]], str],
    *,
    actor_folder: Path | None = None,
    request: Any = None,
    is_detached: bool = False,
) -> job.Job:
    """Starts `python -m backend VERB …` as the current job, with its log in the job's folder.

    Args:
        actor: the actor's folder that it makes. request: what was asked for; see `job.Job`.
        detached: it goes on when Blender ends.

    Raises:
        UserError: the backend is not set up, or another job runs.
    """
    command = [str(environment.require_python()), "-m", "backend", subcommand, *arguments, "--json-lines"]
    if is_detached:
        command.append("--detached")
    return job.start_job(
        title,
        command,
        job_folder / "log.txt",
        finish,
        actor_folder=actor_folder,
        request=request,
        is_detached=is_detached,
    )


def require_file(path: str, description: str) -> Path:
    """The absolute path of a file that the person named; `//` is the .blend's folder.

    Raises:
        UserError: none was named, or it does not exist.
    """
    if not path:
        raise errors.UserError("missing_file", f"No {description} was chosen.", f"Choose a {description}.")
    file = Path(absolute_path(path))
    if not safe_io.is_accessible_file(file):
        raise errors.UserError("missing_file", f"There is no {description} at {file}.", "Choose another file.")
    return file


def absolute_path(path: str) -> str:
    """A path that Blender knows as relative to the .blend, made absolute.

    Raises:
        UserError: it is relative to a .blend that has not been saved.
    """
    if path.startswith("//") and not bpy.data.filepath:
        raise errors.UserError(
            "unsaved", f"{path} is relative to the .blend file, which is not saved yet.", "Save it, or use a full path."
        )
    return str(Path(bpy.path.abspath(path)).absolute())


def save_blend(file: str | Path, **options: bool) -> None:
    """Saves the .blend, with the options of `wm.save_as_mainfile`.

    Raises:
        UserError: it could not be saved.
    """
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(file), **options)
    except RuntimeError as error:
        raise errors.UserError("write_failed", f"{file} could not be saved.", "Choose another place.") from error


def push_undo(message: str) -> None:
    """Makes what a finished job did one step of undo; without a window there is nothing to undo."""
    if not bpy.app.background:
        bpy.ops.ed.undo_push(message=message)
