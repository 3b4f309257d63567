"""``blender -b FILE.blend --command portrait_actor create|import|speak|render|…``: for farms and scripts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from .contract import errors
from .jobs import job
from .operators import backend, create_actor, dub, export_job, import_actor, render_actor, speak
from .operators.operator_base import save_blend
from .properties import FORMAT_ITEMS, LINE_PROPERTIES, PLACEMENT_ITEMS, PRESET_ITEMS, SPEECH_PROPERTIES

COMMAND_NAME = "portrait_actor"


def main(arguments: Sequence[str]) -> int:
    """The command. Returns 0 (done), 2 (one sentence says what is wrong) or 130 (cancelled)."""
    parser = _build_parser()
    try:
        options = parser.parse_args(list(arguments))
    except SystemExit as leaving:  # --help, or a mistake that argparse has explained: Blender wants a number
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
        options.video, options.actor, options.name, options.preset, options.face, options.consent_who,
        options.frame_start, options.match_scene, options.device, options.landmarker,
    )  # fmt: skip
    return _wait_for_job(create_actor.start_job(bpy.context, request))


def _import(options: argparse.Namespace) -> str:
    return import_actor.import_actor(
        bpy.context, Path(options.actor).absolute(), frame_start=options.frame_start, match_scene=options.match_scene
    )


def _speak(options: argparse.Namespace) -> str:
    return _wait_for_job(speak.start_job(bpy.context, options, options.frame_start, options.actor))


def _dub(options: argparse.Namespace) -> str:
    started = dub.start_job(
        bpy.context, options, options.out, options.footage, options.start, options.actor, options.device
    )
    return _wait_for_job(started)


def _render(options: argparse.Namespace) -> str:
    request = render_actor.RenderRequest(
        options.out, options.format, options.frame_start, options.frame_end, options.place, options.actor,
        options.device, options.frame_step, options.blur_samples, options.vectors, options.chunk, options.actor_folder,
    )  # fmt: skip
    return _wait_for_job(render_actor.start_job(bpy.context, request))


def _export_job(options: argparse.Namespace) -> str:
    wish = render_actor.RenderRequest(
        options.out, options.format, options.frame_start, options.frame_end, actor=options.actor,
        frame_step=options.frame_step, blur_samples=options.blur_samples, vectors=options.vectors,
    )  # fmt: skip
    return f"The job is in {export_job.export_farm_job(bpy.context, wish, options.chunk)}."


def _setup(options: argparse.Namespace) -> str:
    return _wait_for_job(backend.start_setup(options.wheels, should_reinstall=options.again))


def _doctor(options: argparse.Namespace) -> str:
    return _wait_for_job(backend.start_doctor())


def _wait_for_job(started_job: job.Job) -> str:
    """Blocks until the job's end. Each tenth of a stage and each note is a line on standard error, for farms' logs."""
    notes_told, told = 0, ("", 0)

    def watch(running: job.Job) -> None:
        nonlocal notes_told, told
        if running.progress is not None:
            now = running.progress.stage, int(10 * running.fraction)
            if now != told:
                sys.stderr.write(f"{100 * running.fraction:3.0f} % {running.status_text}\n")
            told = now
        for note in running.notes[notes_told:]:
            sys.stderr.write(f"{note}\n")
        notes_told = len(running.notes)
        sys.stderr.flush()

    started_job.wait(watch)
    return started_job.outcome


def _save_blend(blend_file: str) -> None:
    path = bpy.data.filepath if blend_file == "." else str(Path(blend_file).absolute())
    if not path:
        raise errors.UserError("unsaved", "The scene has no file yet.", "Name one: --save FILE.blend")
    save_blend(path)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"blender -b FILE.blend --command {COMMAND_NAME}",
        description="Portrait Actor without a window: make actors, let them speak, render them.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    create = verbs.add_parser("create", help="turn a video into an actor and put it into the scene")
    create.add_argument("video", metavar="VIDEO")
    create.add_argument("actor", metavar="ACTOR", nargs="?", default="", help="its folder (default: beside the video)")
    create.add_argument("--name", default="", help="what it is called (default: the video's name)")
    create.add_argument("--preset", choices=[p[0] for p in PRESET_ITEMS], default="draft")
    create.add_argument("--face", type=int, default=0, metavar="N", help="which of several faces, from the left")
    create.add_argument("--consent-who", default="", metavar="NAME", help="the person who is shown, and agreed")
    create.add_argument(
        "--landmarker", default="", metavar="FILE", help="face_landmarker.task, to measure the channels"
    )
    create.set_defaults(run=_create)

    import_ = verbs.add_parser("import", help="put a finished actor into the scene")
    import_.add_argument("actor", metavar="ACTOR", help="its folder")
    import_.set_defaults(run=_import)

    for verb in (create, import_):
        verb.add_argument("--frame-start", type=int, default=1, metavar="N", help="where the footage begins")
        verb.add_argument(
            "--match-scene", action=argparse.BooleanOptionalAction,
            help="take the footage's camera, size, rate and length (default: only where no actor is there yet, and "
            "camera, size, rate and range are those that Blender starts with)",
        )  # fmt: skip

    say = verbs.add_parser("speak", help="let an actor of the scene speak a sound file")
    say.add_argument("--frame-start", type=int, default=1, metavar="N", help="where the line begins")
    _add_property_options(say, LINE_PROPERTIES)
    say.set_defaults(run=_speak)

    lay = verbs.add_parser("dub", help="lay a sound over the footage that an actor was made from")
    lay.add_argument("--out", required=True, metavar="FILE", help="the .mp4 to write; // is the .blend's folder")
    lay.add_argument("--footage", default="", metavar="VIDEO", help="the original video (default: the actor's crops)")
    lay.add_argument("--start", type=float, default=0.0, metavar="S", help="seconds into the footage of the line")
    _add_property_options(lay, SPEECH_PROPERTIES)
    lay.set_defaults(run=_dub, save=None)

    render = verbs.add_parser("render", help="render an actor of the scene through the scene's camera")
    render.add_argument("--out", required=True, metavar="DIR", help="folder for the frames; // is the .blend's")
    render.add_argument("--format", choices=[f[0] for f in FORMAT_ITEMS], default="exr")
    render.add_argument(
        "--place", choices=[p[0] for p in PLACEMENT_ITEMS], default="compositor", help="where frames appear"
    )
    render.add_argument("--chunk", type=int, default=0, metavar="N", help="no more than N frame numbers of the range")
    render.add_argument("--actor-folder", default="", metavar="DIR", help="where it is on this machine, if elsewhere")
    render.set_defaults(run=_render)

    farm = verbs.add_parser("export-job", help="write the shot as an Open Job Description bundle for a render farm")
    farm.add_argument("--out", required=True, metavar="DIR", help="folder for the bundle; // is the .blend's")
    farm.add_argument("--format", choices=[f[0] for f in export_job.SEQUENCE_FORMAT_ITEMS], default="exr")
    farm.add_argument("--chunk", type=int, default=10, metavar="N", help="frames per task")
    farm.set_defaults(run=_export_job, save=None)

    for verb in (render, farm):
        for option in ("--frame-start", "--frame-end", "--frame-step"):
            verb.add_argument(option, type=int, metavar="N", help="default: the scene's")
        verb.add_argument(
            "--blur-samples",
            type=int,
            default=render_actor.DEFAULT_BLUR_SAMPLES,
            metavar="N",
            help="where motion blur is on",
        )
        verb.add_argument("--vectors", action="store_true", help="a Vector pass; not with motion blur")

    for verb in (say, lay, render, farm):
        verb.add_argument("--actor", default="", metavar="NAME", help="which, when the scene has several")

    for verb in (create, lay, render):
        verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="", help="default: the preferences'")

    setup = verbs.add_parser("setup", help="install the backend's Python environment")
    setup.add_argument("--wheels", default="", metavar="DIR", help="install from this folder, without a network")
    setup.add_argument("--again", action="store_true", help="make it anew even if it looks complete")
    setup.set_defaults(run=_setup, save=None)

    doctor = verbs.add_parser("doctor", help="tell whether the backend works, and on which device")
    doctor.set_defaults(run=_doctor, save=None)

    for verb in (create, import_, say, render):
        verb.add_argument("--save", nargs="?", const=".", metavar="FILE", help="save the .blend (as FILE)")
    return parser


def _add_property_options(parser: argparse.ArgumentParser, properties: dict[str, Any]) -> None:
    """An option for each property, with its description and default."""
    for name, deferred in properties.items():
        told = deferred.keywords
        how: dict[str, Any] = {"help": told["description"].replace("%", "%%")}
        if name == "audio":
            parser.add_argument(name, metavar="AUDIO", nargs="?", default="", **how)
            continue
        if deferred.function is bpy.props.BoolProperty:
            how |= {"action": argparse.BooleanOptionalAction, "default": told.get("default", False)}
        elif deferred.function is not bpy.props.StringProperty:
            kind = int if deferred.function is bpy.props.IntProperty else float
            how |= {"type": kind, "default": told.get("default", kind()), "metavar": "N"}
        else:
            how |= {"default": "", "metavar": "NAME"}
        parser.add_argument(f"--{name.replace('_', '-')}", **how)


_command_handle: object = None


def register() -> None:
    """Makes the command known to Blender."""
    global _command_handle
    _command_handle = bpy.utils.register_cli_command(COMMAND_NAME, main)


def unregister() -> None:
    """Takes it away."""
    global _command_handle
    bpy.utils.unregister_cli_command(_command_handle)
    _command_handle = None
