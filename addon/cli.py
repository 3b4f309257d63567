"""The command ``blender -b FILE.blend --command portrait_actor …``, for farms and scripts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import bpy

from .contract import errors
from .jobs import job
from .operators import backend, create_actor, dub, export_job, import_actor, render_actor, speak
from .operators.operator_base import save_blend
from .properties import FORMAT_ITEMS, LINE_PROPERTIES, PLACEMENT_ITEMS, PRESET_ITEMS, SPEECH_PROPERTIES

COMMAND_NAME = "portrait_actor"
MATCH_SCENE_HELP = (
    "set the scene to the footage's camera, size, rate and length (default: only where no actor is there yet, and "
    "camera, size, rate and range are those that Blender starts with)"
)


def main(arguments: Sequence[str]) -> int:
    """Run the command. Return 0 (done), 2 (failed, with one sentence on standard error) or 130 (cancelled)."""
    parser = _build_parser()
    try:
        options = parser.parse_args(list(arguments))
    except SystemExit as leaving:  # --help, or a mistake that argparse has explained
        return int(leaving.code or 0)
    try:
        sys.stdout.write(options.run(options) + "\n")
        if options.save:
            _save_blend(options.save)
    except errors.UserError as error:
        sys.stderr.write(f"Error: {error}\n")
        return errors.Cancelled.exit_code if error.code == "cancelled" else errors.UserError.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("Error: The job was cancelled.\n")
        return errors.Cancelled.exit_code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _create(options: argparse.Namespace) -> str:
    request = create_actor.CreateRequest(
        video=options.video,
        folder=options.actor,
        name=options.name,
        preset=options.preset,
        face=options.face,
        consent_who=options.consent_who,
        frame_start=options.frame_start,
        match_scene=options.match_scene,
        device=options.device,
        landmarker=options.landmarker,
    )
    return _wait_for_job(create_actor.start_job(bpy.context, request))


def _import(options: argparse.Namespace) -> str:
    return import_actor.import_actor(
        bpy.context, Path(options.actor).absolute(), frame_start=options.frame_start, match_scene=options.match_scene
    )


def _speak(options: argparse.Namespace) -> str:
    return _wait_for_job(speak.start_job(bpy.context, options, options.frame_start, options.actor))


def _dub(options: argparse.Namespace) -> str:
    request = dub.DubRequest(
        film=options.out,
        speech=options,
        footage=options.footage,
        start_seconds=options.start,
        actor=options.actor,
        device=options.device,
    )
    return _wait_for_job(dub.start_job(bpy.context, request))


def _render(options: argparse.Namespace) -> str:
    request = render_actor.RenderRequest(
        output=options.out,
        file_format=options.format,
        frame_start=options.frame_start,
        frame_end=options.frame_end,
        placement=options.place,
        actor=options.actor,
        device=options.device,
        frame_step=options.frame_step,
        blur_samples=options.blur_samples,
        vectors=options.vectors,
        chunk=options.chunk,
        actor_folder=options.actor_folder,
    )
    return _wait_for_job(render_actor.start_job(bpy.context, request))


def _export_job(options: argparse.Namespace) -> str:
    request = render_actor.RenderRequest(
        output=options.out,
        file_format=options.format,
        frame_start=options.frame_start,
        frame_end=options.frame_end,
        actor=options.actor,
        frame_step=options.frame_step,
        blur_samples=options.blur_samples,
        vectors=options.vectors,
    )
    return f"The job is in {export_job.export_farm_job(bpy.context, request, options.chunk)}."


def _setup(options: argparse.Namespace) -> str:
    return _wait_for_job(backend.start_setup(options.wheels, should_reinstall=options.again))


def _doctor(options: argparse.Namespace) -> str:
    return _wait_for_job(backend.start_doctor())


def _wait_for_job(started_job: job.Job) -> str:
    """Block until the job's end. Write each tenth of a stage and each note to standard error, for the logs of farms."""
    note_count, last_step = 0, ("", 0)

    def write_progress(running: job.Job) -> None:
        nonlocal note_count, last_step
        if running.progress is not None:
            step = running.progress.stage, int(10 * running.fraction)
            if step != last_step:
                sys.stderr.write(f"{100 * running.fraction:3.0f} % {running.status_text}\n")
            last_step = step
        for note in running.notes[note_count:]:
            sys.stderr.write(f"{note}\n")
        note_count = len(running.notes)
        sys.stderr.flush()

    started_job.wait(write_progress)
    return started_job.outcome


def _save_blend(blend_file: str) -> None:
    """Save the .blend as that file; "." stands for its present file."""
    path = bpy.data.filepath if blend_file == "." else str(Path(blend_file).absolute())
    if not path:
        raise errors.UserError("unsaved", "The scene has no file yet.", "Name one: --save FILE.blend")
    save_blend(path)


# Subcommand → its help and the function that runs it.
SUBCOMMANDS: tuple[tuple[str, str, Callable[[argparse.Namespace], str]], ...] = (
    ("create", "turn a video into an actor and put it into the scene", _create),
    ("import", "put a finished actor into the scene", _import),
    ("speak", "let an actor of the scene speak a sound file", _speak),
    ("dub", "put another line into the footage that an actor was made from", _dub),
    ("render", "render an actor of the scene through the scene's camera", _render),
    ("export-job", "write the shot as an Open Job Description bundle for a render farm", _export_job),
    ("setup", "install the backend's Python environment", _setup),
    ("doctor", "check whether the backend works, and on which device", _doctor),
)
FORMATS = tuple(item[0] for item in FORMAT_ITEMS)
PRESETS = tuple(item[0] for item in PRESET_ITEMS)
PLACEMENTS = tuple(item[0] for item in PLACEMENT_ITEMS)
BLUR_SAMPLES = render_actor.DEFAULT_BLUR_SAMPLES
FARM_FORMATS = tuple(item[0] for item in export_job.SEQUENCE_FORMAT_ITEMS)
DEVICES = ("auto", "cpu", "cuda")
# The subcommands that have it, the argument, and the keywords of `ArgumentParser.add_argument`.
ARGUMENTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("create", "video", dict(metavar="VIDEO")),
    ("create", "actor", dict(metavar="ACTOR", nargs="?", default="", help="its folder (default: beside the video)")),
    ("import", "actor", dict(metavar="ACTOR", help="its folder")),
    ("create", "--name", dict(default="", help="the actor's name (default: the video's)")),
    ("create", "--preset", dict(choices=PRESETS, default="draft")),
    ("create", "--face", dict(type=int, default=0, metavar="N", help="which of several faces, from the left")),
    ("create", "--consent-who", dict(default="", metavar="NAME", help="the person in the video, who agreed")),
    ("create", "--landmarker", dict(default="", metavar="FILE", help="face_landmarker.task, to measure the channels")),
    ("create import", "--frame-start", dict(type=int, default=1, metavar="N", help="where the footage begins")),
    ("create import", "--match-scene", dict(action=argparse.BooleanOptionalAction, help=MATCH_SCENE_HELP)),
    ("speak", "--frame-start", dict(type=int, default=1, metavar="N", help="where the line begins")),
    ("dub", "--out", dict(required=True, metavar="FILE", help="the .mp4 to write; // is the .blend's folder")),
    ("dub", "--footage", dict(default="", metavar="VIDEO", help="the original video (default: the actor's crops)")),
    ("dub", "--start", dict(type=float, default=0.0, metavar="S", help="seconds into the footage of the line")),
    ("render", "--out", dict(required=True, metavar="DIR", help="folder for the frames; // is the .blend's")),
    ("export-job", "--out", dict(required=True, metavar="DIR", help="folder for the bundle; // is the .blend's")),
    ("render", "--format", dict(choices=FORMATS, default="exr")),
    ("export-job", "--format", dict(choices=FARM_FORMATS, default="exr")),
    ("render", "--place", dict(choices=PLACEMENTS, default="compositor", help="where frames appear")),
    ("render", "--chunk", dict(type=int, default=0, metavar="N", help="no more than N frame numbers of the range")),
    ("export-job", "--chunk", dict(type=int, default=10, metavar="N", help="frames per task")),
    ("render", "--actor-folder", dict(default="", metavar="DIR", help="where it is on this machine, if elsewhere")),
    ("render export-job", "--frame-start", dict(type=int, metavar="N", help="default: the scene's")),
    ("render export-job", "--frame-end", dict(type=int, metavar="N", help="default: the scene's")),
    ("render export-job", "--frame-step", dict(type=int, metavar="N", help="default: the scene's")),
    ("render export-job", "--blur-samples", dict(type=int, default=BLUR_SAMPLES, metavar="N", help="with motion blur")),
    ("render export-job", "--vectors", dict(action="store_true", help="a Vector pass; not with motion blur")),
    ("speak dub render export-job", "--actor", dict(default="", metavar="NAME", help="which of the scene's actors")),
    ("create dub render", "--device", dict(choices=DEVICES, default="", help="default: the preferences'")),
    ("setup", "--wheels", dict(default="", metavar="DIR", help="install from this folder, without a network")),
    ("setup", "--again", dict(action="store_true", help="install again even if it looks complete")),
    ("create import speak render", "--save", dict(nargs="?", const=".", metavar="FILE", help="save the .blend")),
)  # fmt: skip
# Subcommand → the properties of a form that become its options.
FORM_PROPERTIES = MappingProxyType({"speak": LINE_PROPERTIES, "dub": SPEECH_PROPERTIES})


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"blender -b FILE.blend --command {COMMAND_NAME}",
        description="Portrait Actor without a window: make actors, let them speak, render them.",
    )
    parsers = parser.add_subparsers(metavar="VERB", required=True)
    for name, description, function in SUBCOMMANDS:
        subparser = parsers.add_parser(name, help=description)
        subparser.set_defaults(run=function, save=None)
        for subcommands, argument, keywords in ARGUMENTS:
            if name in subcommands.split():
                subparser.add_argument(argument, **keywords)
        _add_property_options(subparser, FORM_PROPERTIES.get(name, {}))
    return parser


def _add_property_options(parser: argparse.ArgumentParser, properties: Mapping[str, Any]) -> None:
    """Add an option for each property, with its description and default. The sound is an argument by position."""
    for name, deferred in properties.items():
        declared = deferred.keywords
        keywords: dict[str, Any] = {"help": declared["description"].replace("%", "%%")}
        if name == "audio":
            parser.add_argument(name, metavar="AUDIO", nargs="?", default="", **keywords)
            continue
        if deferred.function is bpy.props.BoolProperty:
            keywords |= {"action": argparse.BooleanOptionalAction, "default": declared.get("default", False)}
        elif deferred.function is not bpy.props.StringProperty:
            kind = int if deferred.function is bpy.props.IntProperty else float
            keywords |= {"type": kind, "default": declared.get("default", kind()), "metavar": "N"}
        else:
            keywords |= {"default": "", "metavar": "NAME"}
        parser.add_argument(f"--{name.replace('_', '-')}", **keywords)


_command_handle: Any = None  # of Blender, while the command is registered


def register() -> None:
    """Register the command in Blender."""
    global _command_handle
    _command_handle = bpy.utils.register_cli_command(COMMAND_NAME, main)


def unregister() -> None:
    """Remove the command."""
    global _command_handle
    bpy.utils.unregister_cli_command(_command_handle)
    _command_handle = None
