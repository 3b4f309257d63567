"""Shared parts of the operators: one sentence instead of a traceback, and jobs that block without a window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import bpy

from .. import rna
from ..contract import errors, safe_io
from ..jobs import environment, job, main_thread
from ..scene import scene_actor
from ..translations import CONTEXT, failure_text, tip_

if TYPE_CHECKING:
    _BlenderOperator = bpy.types.Operator
else:
    _BlenderOperator = object  # Blender registers only classes that derive from Operator themselves

OperatorResult = set[Literal["RUNNING_MODAL", "CANCELLED", "FINISHED", "PASS_THROUGH", "INTERFACE"]]


class OperatorBase(_BlenderOperator):
    """Base of the operators. `run` does the work and may raise UserError."""

    bl_options = {"REGISTER"}
    bl_translation_context = CONTEXT

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Return whether the operator can run now."""
        return True

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Run the operator and report a UserError as one sentence."""
        try:
            return self.run(context)
        except errors.UserError as error:
            self.report({"ERROR"}, failure_text(error))
            return {"CANCELLED"}

    def run(self, context: bpy.types.Context) -> OperatorResult:
        """Do the operator's work.

        Raises:
            UserError: it cannot be done.
        """
        raise NotImplementedError

    def watch_job(self, started_job: job.Job) -> OperatorResult:
        """Wait for a job without a window; with one, let the timer watch it, so that Blender stays usable."""
        if bpy.app.background:
            started_job.wait()
            self.report({"INFO"}, started_job.outcome)
        else:
            main_thread.start_timer()
        return {"FINISHED"}


class ActorOperator(OperatorBase):
    """Base of the operators that work on the actor in use."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Return whether there is an actor."""
        if scene_actor.find_actor(context) is None:
            cls.poll_message_set(tip_("There is no actor in the scene: create or import one"))
            return False
        return super().poll(context)


class JobOperator(OperatorBase):
    """Base of the operators that start a job. One job runs at a time."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Return whether no other job runs."""
        if job.is_busy():
            cls.poll_message_set(tip_("A job is running: wait for it, or cancel it"))
            return False
        return super().poll(context)


class ActorJobOperator(JobOperator):
    """Base of the operators that start a job for an actor, which a script may name."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Return whether no other job runs and the scene has an actor."""
        if not super().poll(context):
            return False
        if not scene_actor.has_actor(rna.get_scene(context)):
            cls.poll_message_set(tip_("There is no actor in the scene: create or import one"))
            return False
        return True


def fill_unset_properties(operator: bpy.types.Operator, **values: Any) -> None:
    """Set the properties that the caller has left open, as a button or a menu item does, to the form's values."""
    for name, value in values.items():
        if not operator.properties.is_property_set(name):
            setattr(operator, name, value)


@dataclass(frozen=True)
class JobTarget:
    """The scene and the actor that a job's result is for.

    Holds session ids: the artist may undo, rename, or open another file while the job runs.
    """

    scene_uid: int
    armature_uid: int = 0

    @classmethod
    def from_context(cls, context: bpy.types.Context, armature: bpy.types.Object | None = None) -> JobTarget:
        """Return the target for the context's scene and an actor's armature in it."""
        return cls(rna.get_scene(context).session_uid, armature.session_uid if armature else 0)

    def find_scene(self) -> bpy.types.Scene | None:
        """Return the scene, if it is still in the file."""
        return next((s for s in bpy.data.scenes if s.session_uid == self.scene_uid), None)

    def find_armature(self) -> bpy.types.Object | None:
        """Return the armature, if it is still in the file."""
        return next((o for o in bpy.data.objects if o.session_uid == self.armature_uid), None)


def backend_command(subcommand: str, *arguments: str) -> list[str]:
    """Return the command that runs `python -m backend SUBCOMMAND …` as a job.

    Raises:
        UserError: the backend is not set up.
    """
    return [str(environment.require_python()), "-m", "backend", subcommand, *arguments, "--json-lines"]


def choose_device(device: str) -> str:
    """Return "auto", "cpu" or "cuda"; an empty name stands for the device of the preferences."""
    return device or str(rna.get_preferences().device)


def require_file(path: str, description: str) -> Path:
    """Return the absolute path of a file that the artist chose; `//` is the .blend's folder.

    Raises:
        UserError: none was chosen, or it does not exist.
    """
    if not path:
        raise errors.UserError("missing_file", f"No {description} was chosen.", f"Choose a {description}.")
    file = Path(absolute_path(path))
    if not safe_io.is_accessible_file(file):
        raise errors.UserError("missing_file", f"There is no {description} at {file}.", "Choose another file.")
    return file


def absolute_path(path: str) -> str:
    """Return a path that may be relative to the .blend as an absolute path.

    Raises:
        UserError: it is relative to a .blend that has not been saved.
    """
    if path.startswith("//") and not bpy.data.filepath:
        raise errors.UserError(
            "unsaved", f"{path} is relative to the .blend file, which is not saved yet.", "Save it, or use a full path."
        )
    return str(Path(bpy.path.abspath(path)).absolute())


def save_blend(file: str | Path, **options: Any) -> None:
    """Save the .blend with the options of `wm.save_as_mainfile`.

    Raises:
        UserError: it could not be saved.
    """
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(file), **options)
    except RuntimeError as error:
        raise errors.UserError("write_failed", f"{file} could not be saved.", "Choose another place.") from error


def push_undo(message: str) -> None:
    """Make what a finished job changed one step of undo. Without a window there is no undo."""
    if not bpy.app.background:
        bpy.ops.ed.undo_push(message=message)
