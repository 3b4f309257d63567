"""Operators that set up and check the backend, cancel its job, and open its log."""

import os
from pathlib import Path
from typing import Any

import bpy

from .. import rna
from ..contract import ROOT, errors
from ..jobs import environment, job, main_thread
from ..translations import CONTEXT, iface_, rpt_, tip_
from ..translations.props import BoolProperty, StringProperty
from .operator_base import JobOperator, OperatorBase, OperatorResult, backend_command


def start_setup(wheels: str = "", *, should_reinstall: bool = False) -> job.Job:
    """Start the installation of the backend's own Python environment in the cache folder.

    Args:
        wheels: folder of wheels to install from; empty: the preferences' folder, else the network.
        should_reinstall: install again even if the environment looks complete.

    Raises:
        UserError: going online is not allowed, there is no suitable Python, or another job runs.
    """
    source = bpy.path.abspath(wheels or rna.get_preferences().wheels)
    if not source and not bpy.app.online_access:
        raise errors.UserError(
            "offline",
            "Blender may not go online, so the backend's packages cannot be downloaded.",
            "Allow Online Access in the preferences, or choose a folder of wheels.",
        )
    if os.environ.get(environment.PYTHON_OVERRIDE_VARIABLE):
        raise errors.UserError(
            "override",
            f"The environment variable {environment.PYTHON_OVERRIDE_VARIABLE} names the backend's Python.",
            "Unset it to use an environment that Portrait Actor makes.",
        )
    host = environment.find_host_python()
    command = [
        str(host),
        str(ROOT / "backend" / "setup" / "install.py"),
        "--target",
        str(environment.environment_folder()),
        "--json-lines",
    ]
    command += ["--device", rna.get_preferences().device]
    command += ["--wheels", source] if source else []
    command += ["--again"] if should_reinstall else []

    def finish(data: dict[str, Any]) -> str:
        rna.get_preferences().backend_python = ""  # use the environment that has been made
        return rpt_("The backend is ready.")

    folder = environment.make_job_folder("setup")
    return job.start_job(job.JobRequest(iface_("Set Up Backend"), command, folder, finish))


def start_doctor() -> job.Job:
    """Start the backend's check of its own installation.

    Raises:
        UserError: there is no backend yet, or another job runs.
    """

    def finish(report: dict[str, Any]) -> str:
        problems = [found for found in report["findings"] if not found["ok"]]
        for found in problems:
            if found["needed"]:
                if found["what"] == "disk":
                    raise errors.UserError("disk_full", f"The disk is full: {found['state']}.", found["remedy"])
                raise errors.UserError(
                    "broken_backend", f"The backend lacks {found['what']}: {found['state']}.", found["remedy"]
                )
        rest = "".join(f" {found['what']}: {found['state']}. {found['remedy']}" for found in problems)
        return rpt_("Everything needed is there; jobs run on {}.").format(report["device_name"]) + rest

    command, folder = backend_command("doctor"), environment.make_job_folder("doctor")
    return job.start_job(job.JobRequest(iface_("Check Backend"), command, folder, finish))


class PORTRAIT_ACTOR_OT_setup_backend(JobOperator, bpy.types.Operator):
    """Install the backend in a Python environment of its own; Blender's Python stays as it is"""

    bl_idname = "portrait_actor.setup_backend"
    bl_label = "Set Up Backend"

    wheels: StringProperty(name="Wheels", description="Folder of wheels; empty: the preferences'", subtype="DIR_PATH")
    again: BoolProperty(
        name="Again",
        description="Install again even if the backend looks complete; the old installation stays in use until then",
    )

    def run(self, context: bpy.types.Context) -> OperatorResult:
        return self.watch_job(start_setup(self.wheels, should_reinstall=self.again))


class PORTRAIT_ACTOR_OT_check_backend(JobOperator, bpy.types.Operator):
    """Check that everything the backend needs is installed and works, and on which device"""

    bl_idname = "portrait_actor.check_backend"
    bl_label = "Check Backend"

    def run(self, context: bpy.types.Context) -> OperatorResult:
        return self.watch_job(start_doctor())


class PORTRAIT_ACTOR_OT_cancel_job(bpy.types.Operator):
    """Stop the running job. What it has finished is kept and used again"""

    bl_idname = "portrait_actor.cancel_job"
    bl_label = "Cancel Job"
    bl_translation_context = CONTEXT

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not job.is_busy():
            cls.poll_message_set(tip_("No job is running"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        running = job.current_job()
        if running is not None:
            running.cancel()
        main_thread.redraw_areas()
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_open_log(bpy.types.Operator):
    """Show what the backend wrote during the last job"""

    bl_idname = "portrait_actor.open_log"
    bl_label = "Open Log"
    bl_translation_context = CONTEXT

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if job.current_job() is None:
            cls.poll_message_set(tip_("No job has run yet"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        last = job.current_job()
        log = Path(last.error.log) if last and last.error and last.error.log else last.log if last else None
        if log is None or not log.is_file():
            self.report({"ERROR"}, rpt_("The log does not exist anymore."))
            return {"CANCELLED"}
        if not bpy.app.background:
            bpy.ops.wm.path_open(filepath=str(log))
        self.report({"INFO"}, rpt_("The log is {}").format(log))
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_open_folder(OperatorBase, bpy.types.Operator):
    """Show the folder in the system's file browser"""

    bl_idname = "portrait_actor.open_folder"
    bl_label = "Open Folder"
    bl_options = {"INTERNAL"}

    directory: StringProperty(name="Folder", description="The folder to show", subtype="DIR_PATH")

    def run(self, context: bpy.types.Context) -> OperatorResult:
        folder = Path(bpy.path.abspath(self.directory))
        if not self.directory or not folder.is_dir():
            raise errors.UserError("missing_file", f"There is no folder at {folder}.", "Choose another.")
        bpy.ops.wm.path_open(filepath=str(folder))
        return {"FINISHED"}


class PORTRAIT_ACTOR_OT_dismiss(bpy.types.Operator):
    """Clear the message of the last job"""

    bl_idname = "portrait_actor.dismiss"
    bl_label = "Dismiss"
    bl_options = {"INTERNAL"}
    bl_translation_context = CONTEXT

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if job.is_busy():
            cls.poll_message_set(tip_("A job is running: wait for it, or cancel it"))
            return False
        return True

    def execute(self, context: bpy.types.Context) -> OperatorResult:
        job.stop_job()
        return {"FINISHED"}


CLASSES = (
    PORTRAIT_ACTOR_OT_setup_backend,
    PORTRAIT_ACTOR_OT_check_backend,
    PORTRAIT_ACTOR_OT_cancel_job,
    PORTRAIT_ACTOR_OT_open_log,
    PORTRAIT_ACTOR_OT_open_folder,
    PORTRAIT_ACTOR_OT_dismiss,
)
