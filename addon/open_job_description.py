"""Templates of Open Job Description, which render managers run as they are.

Specification: "Open Job Description, Template Schemas, 2023-09". A bundle is a folder with ``template.json``, a copy of
the .blend and a copy of the actor, named by paths within the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TEMPLATE_FILE = "template.json"
CANCEL_GRACE_SECONDS = 30  # between the request to end and the end by force: enough to finish a frame


@dataclass(frozen=True)
class FarmJob:
    """The render that the tasks share.

    Attributes:
        name: name of the job.
        blend_file: name of the .blend within the bundle.
        actor_folder: name of the actor's folder within the bundle.
        actor: name of the armature.
        first_frame: first frame.
        last_frame: last frame, inclusive.
        frame_step: distance between frames.
        frames_per_task: frames that a task renders.
        file_format: "exr" or "png".
        render_options: further arguments of the command `render`.
    """

    name: str
    blend_file: str
    actor_folder: str
    actor: str
    first_frame: int
    last_frame: int
    frame_step: int
    frames_per_task: int
    file_format: str
    render_options: tuple[str, ...] = ()


def job_template(job: FarmJob) -> dict[str, Any]:
    """Return the content of ``template.json``: a job of one step whose tasks are chunks of frames."""
    return {
        "specificationVersion": "jobtemplate-2023-09",
        "name": job.name,
        "parameterDefinitions": _parameter_definitions(job),
        "steps": [
            {
                "name": "RenderActor",
                "parameterSpace": {
                    "taskParameterDefinitions": [
                        {
                            "name": "ChunkStart",
                            "type": "INT",
                            "range": "{{Param.FirstFrame}}-{{Param.LastFrame}}:{{Param.ChunkLength}}",
                        }
                    ]
                },
                "script": {
                    "actions": {
                        "onRun": {
                            "command": "{{Param.Blender}}",
                            "args": _render_arguments(job),
                            "cancelation": {
                                "mode": "NOTIFY_THEN_TERMINATE",
                                "notifyPeriodInSeconds": CANCEL_GRACE_SECONDS,
                            },
                        }
                    }
                },
            }
        ],
    }


def _parameter_definitions(job: FarmJob) -> list[dict[str, Any]]:
    """Return the parameters that a farm can change for each submission."""

    def path(name: str, kind: str, flow: str, default: str, text: str) -> dict[str, Any]:
        typed = {"name": name, "type": "PATH", "objectType": kind, "dataFlow": flow}
        return {**typed, "default": default, "description": text}

    def number(name: str, default: int, text: str, **limits: int) -> dict[str, Any]:
        return {"name": name, "type": "INT", "default": default, "description": text, **limits}

    def choice(name: str, default: str, values: list[str], text: str) -> dict[str, Any]:
        return {"name": name, "type": "STRING", "default": default, "allowedValues": values, "description": text}

    return [
        path("BlendFile", "FILE", "IN", job.blend_file, "The scene."),
        path("ActorFolder", "DIRECTORY", "IN", job.actor_folder, "The actor."),
        path("OutputFolder", "DIRECTORY", "OUT", "frames", "Where the frames go."),
        number("FirstFrame", job.first_frame, "The first frame."),
        number("LastFrame", job.last_frame, "The last frame."),
        number("FrameStep", job.frame_step, "Every how many frames.", minValue=1),
        number(
            "ChunkLength",
            job.frames_per_task * job.frame_step,
            "Frame numbers per task: a multiple of FrameStep.",
            minValue=1,
        ),
        choice("Format", job.file_format, ["exr", "png"], "What the frames are."),
        choice("Device", "auto", ["auto", "cpu", "cuda"], "What renders."),
        {"name": "Blender", "type": "STRING", "default": "blender", "description": "The Blender program."},
    ]


def _render_arguments(job: FarmJob) -> list[str]:
    """Return the arguments of Blender for one task."""
    return [
        "-b", "{{Param.BlendFile}}", "--command", "portrait_actor", "render",
        "--actor", job.actor, "--actor-folder", "{{Param.ActorFolder}}",
        "--out", "{{Param.OutputFolder}}", "--format", "{{Param.Format}}", "--place", "none",
        "--frame-start", "{{Task.Param.ChunkStart}}", "--frame-end", "{{Param.LastFrame}}",
        "--frame-step", "{{Param.FrameStep}}", "--chunk", "{{Param.ChunkLength}}",
        "--device", "{{Param.Device}}", *job.render_options,
    ]  # fmt: skip
