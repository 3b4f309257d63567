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
from ..translations import CONTEXT, failure, tip_


class Verb:
    """Base of the operators: `act` does the work and may raise UserError."""

    bl_options = {"REGISTER"}
    bl_translation_context = CONTEXT

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            return self.act(context)
        except errors.UserError as error:
            self.report({"ERROR"}, failure(error))
            return {"CANCELLED"}

    def act(self, context: bpy.types.Context) -> set[str]:
        """Does what the operator is for.

        Raises:
            UserError: it cannot be done.
        """
        raise NotImplementedError

    def follow(self, started: job.Job) -> set[str]:
        """Watches a job: in a window Blender stays usable, without one this waits for its end."""
        if bpy.app.background:
            started.wait()
            self.report({"INFO"}, started.outcome)
        else:
            main_thread.start()
        return {"FINISHED"}


class ActorVerb(Verb):
    """Base of the operators on an actor of the scene."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if scene_actor.find(context) is None:
            cls.poll_message_set(tip_("There is no actor in the scene: create or import one"))
            return False
        return super().poll(context)


class JobVerb(Verb):
    """Base of the operators that start a job: one runs at a time."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if job.is_busy():
            cls.poll_message_set(tip_("A job is running: wait for it, or cancel it"))
            return False
        return super().poll(context)


class ActorJobVerb(JobVerb):
    """Base of those that start a job for an actor, which a script may name."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not scene_actor.is_any_in(context.scene):
            cls.poll_message_set(tip_("There is no actor in the scene: create or import one"))
            return False
        return True


def fill_in(operator: bpy.types.Operator, **values: Any) -> None:
    """Sets what the caller has left open: a button, or a line of a menu, means what the sidebar's form says."""
    for name, value in values.items():
        if not operator.properties.is_property_set(name):
            setattr(operator, name, value)


@dataclass(frozen=True)
class Place:
    """Where a job's result goes. Blender may undo, rename or open another file meanwhile, so it holds no pointers."""

    scene: int
    actor: int = 0

    @classmethod
    def of(cls, context: bpy.types.Context, actor: bpy.types.Object | None = None) -> Place:
        return cls(context.scene.session_uid, actor.session_uid if actor else 0)

    def find_scene(self) -> bpy.types.Scene | None:
        return next((s for s in bpy.data.scenes if s.session_uid == self.scene), None)

    def find_actor(self) -> bpy.types.Object | None:
        return next((o for o in bpy.data.objects if o.session_uid == self.actor), None)


def start_backend(
    title: str,
    verb: str,
    arguments: list[str],
    folder: Path,
    finish: Callable[[dict[str, Any]], str],
    *,
    actor: Path | None = None,
    request: Any = None,
    detached: bool = False,
) -> job.Job:
    """Starts `python -m backend VERB …` as the current job, with its log in the job's folder.

    Args:
        actor: the actor's folder that it makes. request: what was asked for; see `job.Job`.
        detached: it goes on when Blender ends.

    Raises:
        UserError: the backend is not set up, or another job runs.
    """
    command = [str(environment.require_python()), "-m", "backend", verb, *arguments, "--json-lines"]
    if detached:
        command.append("--detached")
    return job.start(title, command, folder / "log.txt", finish, folder=actor, request=request, detached=detached)


def existing_file(path: str, what: str) -> Path:
    """The absolute path of a file that the person named; `//` is the .blend's folder.

    Raises:
        UserError: none was named, or it does not exist.
    """
    if not path:
        raise errors.UserError("missing_file", f"No {what} was chosen.", f"Choose a {what}.")
    file = Path(absolute(path))
    if not safe_io.is_file(file):
        raise errors.UserError("missing_file", f"There is no {what} at {file}.", "Choose another file.")
    return file


def absolute(path: str) -> str:
    """A path that Blender knows as relative to the .blend, made absolute.

    Raises:
        UserError: it is relative to a .blend that has not been saved.
    """
    if path.startswith("//") and not bpy.data.filepath:
        raise errors.UserError(
            "unsaved", f"{path} is relative to the .blend file, which is not saved yet.", "Save it, or use a full path."
        )
    return str(Path(bpy.path.abspath(path)).absolute())


def save_blend(file: str | Path, **how: bool) -> None:
    """Saves the .blend, with the options of `wm.save_as_mainfile`.

    Raises:
        UserError: it could not be saved.
    """
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(file), **how)
    except RuntimeError as error:
        raise errors.UserError("write_failed", f"{file} could not be saved.", "Choose another place.") from error


def push_undo(message: str) -> None:
    """Makes what a finished job did one step of undo; without a window there is nothing to undo."""
    if not bpy.app.background:
        bpy.ops.ed.undo_push(message=message)
