"""`python -m backend COMMAND …`: everything the backend does, for people, for Blender and for farms.

Exit codes: 0 done, 2 one sentence says what is wrong, 130 cancelled, 1 a bug whose log is named.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .console import (
    Canceller,
    Console,
    Forecast,
    LinesConsole,
    TerminalConsole,
    as_text,
    exit_code,
    explain,
    quiet_libraries,
    watch_requests,
)
from .device import CHOICES, choose_device, device_name, settle_environment
from .protocol import Cancelled, Request, UserError

if TYPE_CHECKING:
    from .actor import ActorFolder

Outcome = tuple[str, dict[str, Any]]  # one sentence for the person, and the result's data
# How long the last stages take beside each other, for the time that is left; see `Forecast`.
SHARES = {
    "create": {"train the actor": 0.9, "learn to speak": 0.1},
    "evaluate": {
        "refine the held-out frames": 0.7,
        "evaluate tracked": 0.1,
        "evaluate refined": 0.1,
        "evaluate audio": 0.1,
    },
}
SIGNS = tuple(f"{yaw}{pitch}{roll}" for yaw in "+-" for pitch in "+-" for roll in "+-")
PRESETS = ("tiny", "draft", "standard", "final")


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    settle_environment()
    for_blender = "--json-lines" in words or words[:1] == ["serve"]
    if {"-h", "--help"} & set(words):
        for_blender = False
    if not for_blender:
        quiet_libraries()
    console: Console = LinesConsole(__version__) if for_blender else TerminalConsole()
    canceller = Canceller(console)
    canceller.catch_signals()
    folder: Path | None = None
    try:
        options = parser().parse_args(words)
        folder = getattr(options, "actor", None)
        if for_blender and options.run is not _serve:
            watch_requests(lambda r: canceller.cancel() if r.verb in ("cancel", "quit") else None, canceller.cancel)
        console.forecast = Forecast(options.shares)
        code = 0
        if options.run is _serve:
            _serve(options, console, canceller)
        else:
            _greet(options, console)
            summary, data = options.run(options, console)
            canceller.stop()
            console.finish(summary, data)
            code = UserError.exit_code if data.get("ok") is False else 0
    except SystemExit as leaving:  # --help
        return int(leaving.code or 0)
    except BaseException as error:  # every failure, a bug too, ends in one sentence and an exit code
        canceller.stop()
        told = explain(error, folder)
        console.fail(told)
        return exit_code(told)
    canceller.stop()
    return code


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    common = _Parser(add_help=False)
    common.add_argument("--json-lines", action="store_true", help="speak the protocol, for Blender")
    device = _Parser(add_help=False)
    device.add_argument("--device", choices=CHOICES, default="auto", help="default: the GPU where there is one")
    top = _Parser(prog="python -m backend", description="Portrait Actor: a portrait video becomes an actor.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name: str, run: Any, text: str, *, on_device: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, parents=[common, device] if on_device else [common], help=text)
        made.set_defaults(run=run, shares=SHARES.get(name, {}))
        return made

    create = command("create", _create, "turn a video into an actor; run it again to go on")
    create.add_argument("video", type=Path, metavar="VIDEO")
    create.add_argument("actor", type=Path, metavar="ACTOR", help="its folder, e.g. jane.actor")
    create.add_argument("--preset", choices=PRESETS, default="draft")
    create.add_argument("--face", type=int, metavar="N", help="which of several faces, from the left, starting at 1")
    create.add_argument("--name", default="", help="what the actor is called (default: the folder's name)")
    create.add_argument("--consent-who", default="", metavar="NAME", help="the person who is shown, and agreed")
    create.add_argument("--seed", type=int, default=0, metavar="N")
    create.add_argument(
        "--landmarker", type=Path, metavar="FILE", help="MediaPipe's face_landmarker.task, to measure the channels"
    )
    create.add_argument(
        "--pictures", type=Path, metavar="DIR", help="where pictures of several faces go, to choose one"
    )

    speak = command("speak", _speak, "let an actor speak a sound file", on_device=False)
    speak.add_argument("actor", type=Path, metavar="ACTOR")
    speak.add_argument("audio", type=Path, metavar="AUDIO")
    speak.add_argument("performance", type=Path, metavar="PERFORMANCE", help="the .npz to write")
    speak.add_argument("--fps", type=float, metavar="RATE", help="frames per second (default: the footage's)")
    speak.add_argument("--first-frame", type=int, default=0, metavar="N", help="the frame at which the sound begins")
    speak.add_argument("--seed", type=int, default=0, metavar="N")
    speak.add_argument("--head", action=argparse.BooleanOptionalAction, default=True, help="head motion")
    speak.add_argument("--blink", action=argparse.BooleanOptionalAction, default=True, help="blinks and brows")

    render = command("render", _render, "render a performance to EXR, PNG or a film; unchanged frames are kept")
    render.add_argument("actor", type=Path, metavar="ACTOR")
    render.add_argument("performance", type=Path, metavar="PERFORMANCE", help=".npz of speak or of Blender")
    render.add_argument("--camera", type=Path, metavar="FILE", help="camera file (default: the footage's camera)")
    render.add_argument("--out", type=Path, required=True, metavar="DIR")
    render.add_argument("--format", choices=("exr", "png", "mp4"), default="exr")
    render.add_argument("--name", default="", help="of the files (default: the actor folder's)")
    render.add_argument("--bits", type=int, choices=(8, 16), default=16, help="of a PNG")
    render.add_argument("--scale", type=float, default=1.0, metavar="FACTOR", help="on the camera's resolution")
    render.add_argument("--sound", type=Path, metavar="FILE", help="sound of a film")
    render.add_argument("--sound-offset", type=float, default=0.0, metavar="S", help="seconds before the sound begins")
    render.add_argument("--plate", action="store_true", help="put a film over the footage's background")

    export = command("export", _export, "write a performance as Live Link Face .csv, or a frame's Gaussians as .ply")
    export.add_argument("actor", type=Path, metavar="ACTOR")
    export.add_argument("performance", type=Path, metavar="PERFORMANCE", help=".npz of speak or of Blender")
    export.add_argument("out", type=Path, metavar="OUT", help="the .ply or .csv to write")
    export.add_argument("--frame", type=int, metavar="N", help="for a .ply (default: the first)")
    export.add_argument("--signs", choices=SIGNS, default="+++", help="for a .csv: of yaw, pitch and roll")

    capture = command("import", _import, "turn a Live Link Face .csv into a performance", on_device=False)
    capture.add_argument("capture", type=Path, metavar="CAPTURE")
    capture.add_argument("performance", type=Path, metavar="PERFORMANCE", help="the .npz to write")
    capture.add_argument("--fps", type=float, metavar="RATE", help="frames per second (default: the capture's)")
    capture.add_argument("--capture-fps", type=float, metavar="RATE", help="of its timecodes (default: guessed)")
    capture.add_argument("--neutral", type=float, metavar="S", help="seconds into it of a relaxed face, to take out")
    capture.add_argument("--signs", choices=SIGNS, default="+++", help="of yaw, pitch and roll, as in --signs=-+-")
    capture.add_argument("--head", action=argparse.BooleanOptionalAction, default=True, help="head motion")

    evaluate = command("evaluate", _evaluate, "measure an actor on the footage it has not seen")
    evaluate.add_argument("actor", type=Path, metavar="ACTOR")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")

    ablate = command("ablate", _ablate, "measure what each part of the method is worth to an actor")
    ablate.add_argument("actor", type=Path, metavar="ACTOR")
    ablate.add_argument("--preset", choices=PRESETS, default="draft", help="how long each variant is trained")
    ablate.add_argument("--seed", type=int, default=0, metavar="N")
    ablate.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")

    serve = command("serve", _serve, "draw previews for Blender until standard input closes")
    serve.add_argument("actor", type=Path, metavar="ACTOR")

    command("doctor", _doctor, "tell what is installed, and what is missing", on_device=False)

    sample = command("sample", _sample, "make a sample clip (.mp4) or a line to speak (.wav) by code", on_device=False)
    sample.add_argument("out", type=Path, metavar="OUT")
    sample.add_argument("--seconds", type=float, default=12.0)
    sample.add_argument("--size", type=int, default=512, help="side in pixels")
    sample.add_argument("--seed", type=int, default=0, metavar="N")
    return top


class _Parser(argparse.ArgumentParser):
    """Wrong arguments are a failure like any other."""

    def error(self, message: str) -> NoReturn:
        raise UserError("bad_arguments", f"{message[:1].upper()}{message[1:]}.", f"`{self.prog} --help` tells more.")


def _greet(options: argparse.Namespace, console: Console) -> None:
    """The first word to Blender: which device works. Commands without a choice work on the CPU."""
    if isinstance(console, LinesConsole):
        device = choose_device(getattr(options, "device", "cpu"))
        console.begin(device.type, device_name(device))


def _create(options: argparse.Namespace, console: Console) -> Outcome:
    from .training.create import CreateOptions, create_actor

    wishes = CreateOptions(
        preset=options.preset, device=options.device, face=options.face, name=options.name,
        consent_who=options.consent_who, seed=options.seed, landmarker=options.landmarker, pictures=options.pictures,
    )  # fmt: skip
    folder = create_actor(options.video, options.actor, wishes, console)
    info = folder.info
    data = {"folder": str(folder.path), "name": info.name, "frames": info.frame_count, "notes": info.notes}
    return f"{info.name} is in {folder.path}.", {**data, "figures": info.figures}


def _speak(options: argparse.Namespace, console: Console) -> Outcome:
    from .actor import ActorFolder
    from .model.speech import speak

    folder = ActorFolder.open(options.actor)
    console.progress("speak", 0, 1)
    said = speak(
        folder, options.audio, fps=options.fps, first_frame=options.first_frame, seed=options.seed,
        head=float(options.head), blink=float(options.blink), brows=float(options.blink),
    )  # fmt: skip
    _make_parent(options.performance)
    said.save(options.performance)
    console.progress("speak", 1, 1)
    data = {
        "performance": str(options.performance), "fps": said.fps, "count": len(said),
        "first": int(said.frames[0]), "last": int(said.frames[-1]),
    }  # fmt: skip
    return f"{len(said)} frames are in {options.performance}.", data


def _render(options: argparse.Namespace, console: Console) -> Outcome:
    from .actor import ActorFolder
    from .camera import CameraPath
    from .performance import Performance
    from .rendering.frames import RenderOptions, render_performance

    folder = ActorFolder.open(options.actor)
    performance = Performance.load(options.performance)
    camera = CameraPath.load(options.camera) if options.camera else None
    wishes = RenderOptions(
        out=options.out, format=options.format, name=options.name, device=options.device, scale=options.scale,
        bits=options.bits, sound=options.sound, sound_offset=options.sound_offset, plate=options.plate,
    )  # fmt: skip
    data = render_performance(folder, performance, camera, wishes, console)
    where = data.get("file") or f"{data['folder']} ({data['pattern']})"
    return f"{data['count']} frames are in {where}.", data


def _export(options: argparse.Namespace, console: Console) -> Outcome:
    from .actor import ActorFolder
    from .live_link import write_live_link
    from .performance import Performance
    from .rendering.frames import load_portrait
    from .rendering.ply import write_ply

    folder, performance = ActorFolder.open(options.actor), Performance.load(options.performance)
    if options.out.suffix.lower() == ".csv":
        _make_parent(options.out)
        write_live_link(performance, options.out, _signs(options.signs))
        return f"{len(performance)} frames are in {options.out}.", {"file": str(options.out), "count": len(performance)}
    frame = int(performance.frames[0]) if options.frame is None else options.frame
    _make_parent(options.out)
    count = write_ply(load_portrait(folder, choose_device(options.device)), performance, frame, options.out)
    return f"{count} Gaussians are in {options.out}.", {"file": str(options.out), "gaussians": count, "frame": frame}


def _import(options: argparse.Namespace, console: Console) -> Outcome:
    from .live_link import Reading, read_live_link

    how = Reading(options.fps, options.capture_fps, _signs(options.signs), options.neutral, options.head)
    made = read_live_link(options.capture, how)
    _make_parent(options.performance)
    made.save(options.performance)
    data = {"performance": str(options.performance), "fps": made.fps, "count": len(made)}
    return f"{len(made)} frames at {made.fps:g} frames per second are in {options.performance}.", data


def _signs(word: str) -> tuple[int, int, int]:
    yaw, pitch, roll = (1 if sign == "+" else -1 for sign in word)
    return yaw, pitch, roll


def _evaluate(options: argparse.Namespace, console: Console) -> Outcome:
    from .evaluation.evaluate import evaluate

    return _figures(options, lambda folder: evaluate(folder, choose_device(options.device), console))


def _ablate(options: argparse.Namespace, console: Console) -> Outcome:
    from .evaluation.ablate import ablate
    from .training.schedule import PRESETS

    preset = PRESETS[options.preset]
    return _figures(
        options, lambda folder: ablate(folder, choose_device(options.device), preset, options.seed, console)
    )


def _figures(options: argparse.Namespace, measure: Callable[[ActorFolder], dict[str, Any]]) -> Outcome:
    """Figures of an actor, as text and, where asked for, as a file."""
    from .actor import ActorFolder

    folder = ActorFolder.open(options.actor)
    if options.json:
        _make_parent(options.json)
    figures = measure(folder)
    text = as_text(figures)
    if options.json:
        from .rendering.images import save_whole

        save_whole(options.json, f"{text}\n".encode())
    return text, figures


def _serve(options: argparse.Namespace, console: Console, canceller: Canceller) -> None:
    """Speaks the protocol always: there is nothing in it for a terminal."""
    from .actor import ActorFolder
    from .rendering.frames import load_portrait
    from .service import Service

    assert isinstance(console, LinesConsole)
    folder = ActorFolder.open(options.actor)
    service = Service(folder, console.send, lambda error: explain(error, folder.path))

    def close() -> None:
        service.close()
        canceller.cancel()  # a frame in the making does not hold up the end

    def take(request: Request) -> None:
        service.post(request)
        if request.verb == "quit":
            canceller.cancel()

    watch_requests(take, close)
    device = choose_device(options.device)
    console.begin(device.type, device_name(device))
    service.run(load_portrait, device)


def _doctor(options: argparse.Namespace, console: Console) -> Outcome:
    from .doctor import as_table, examine

    report = examine()
    return as_table(report), report


def _sample(options: argparse.Namespace, console: Console) -> Outcome:
    from .sample import SampleOptions, make_line, make_sample

    _make_parent(options.out)
    ending = options.out.suffix.lower()
    if ending == ".wav":
        words = make_line(options.out, options.seed)
        return f"{options.out} says: {words}", {"file": str(options.out), "words": words}
    if options.out.suffix.lower() != ".mp4":
        raise UserError(
            "bad_arguments", f"{options.out.name} is neither .mp4 nor .wav.", "Choose one of these endings."
        )
    wishes = SampleOptions(seconds=options.seconds, size=options.size, seed=options.seed)
    make_sample(options.out, wishes, console)
    return f"The sample clip is {options.out}.", {"file": str(options.out)}


def _make_parent(file: Path) -> None:
    """Makes the folder that a file goes to.

    Raises:
        UserError: it cannot be made.
    """
    from .actor import write_error

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(file.parent, error) from error


if __name__ == "__main__":
    ended = main()
    if ended == Cancelled.exit_code:  # taking torch and mediapipe apart takes seconds, and the person wants out
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended)
    sys.exit(ended)
