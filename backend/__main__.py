"""`python -m backend COMMAND …`: everything the backend does, for people, for Blender and for farms.

Exit codes: 0 done, 2 one sentence says what is wrong, 130 cancelled, 1 a bug whose log is named.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .cli.commands import build_parser
from .cli.console import (
    Canceller,
    Console,
    JsonLinesConsole,
    TerminalConsole,
    error_from_exception,
    exit_code,
    format_figures,
    redirect_library_output,
    watch_requests,
)
from .cli.eta_estimator import EtaEstimator
from .contract.atomic_write import make_folder, write_bytes_atomically
from .contract.errors import Cancelled, UserError
from .contract.protocol import Request
from .setup.device import choose_device, configure_native_threads, device_name
from .setup.process_lock import hold_process_lock

if TYPE_CHECKING:
    from .contract.actor_folder import ActorFolder
    from .speech.model import Delivery

Outcome = tuple[str, dict[str, Any]]  # one sentence for the person, and the result's data


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    configure_native_threads()
    for_blender = "--json-lines" in arguments or arguments[:1] == ["serve"]
    if {"-h", "--help"} & set(arguments):
        for_blender = False
    if not for_blender:
        redirect_library_output()
    console: Console = JsonLinesConsole(__version__) if for_blender else TerminalConsole()
    canceller = Canceller(console)
    canceller.catch_signals()
    folder: Path | None = None
    try:
        options = build_parser().parse_args(arguments)
        folder = getattr(options, "actor", None)
        if for_blender and options.command != "serve":
            _watch_for_cancel(console, canceller, is_detached=getattr(options, "detached", False))
        console.eta_estimator = EtaEstimator(options.shares)
        code = 0
        if options.command == "serve":
            _serve(options, console, canceller)
        else:
            _announce_device(options, console)
            summary, data = COMMANDS[options.command](options, console)
            canceller.disarm()
            console.finish(summary, data)
            code = UserError.exit_code if data.get("ok") is False else 0
    except SystemExit as leaving:  # --help
        return int(leaving.code or 0)
    except BaseException as error:  # every failure, a bug too, ends in one sentence and an exit code
        canceller.disarm()
        told = error_from_exception(error, folder)
        console.fail(told)
        return exit_code(told)
    canceller.disarm()
    return code


def _watch_for_cancel(console: Console, canceller: Canceller, *, is_detached: bool) -> None:
    """A request may cancel the job; the end of all requests does, unless it is to go on without Blender."""
    if is_detached and isinstance(console, JsonLinesConsole):
        console.is_detached = True
    watch_requests(
        lambda request: canceller.cancel() if request.verb in ("cancel", "quit") else None,
        (lambda: None) if is_detached else canceller.cancel,
    )


def _announce_device(options: argparse.Namespace, console: Console) -> None:
    """The first word to Blender: which device works. Commands without a choice work on the CPU."""
    if isinstance(console, JsonLinesConsole):
        device = choose_device(getattr(options, "device", "cpu"))
        console.begin(device.type, device_name(device))


def _create(options: argparse.Namespace, console: Console) -> Outcome:
    from .pipeline.create import CreateOptions, create_actor

    wishes = CreateOptions(
        preset=options.preset,
        device=options.device,
        face_number=options.face,
        name=options.name,
        consent_who=options.consent_who,
        seed=options.seed,
        landmarker_file=options.landmarker,
        face_image_folder=options.pictures,
    )
    with hold_process_lock(console):
        folder = create_actor(options.video, options.actor, wishes, console)
    info = folder.info
    data = {"folder": str(folder.path), "name": info.name, "frames": info.frame_count, "notes": info.notes}
    return f"{info.name} is in {folder.path}.", {**data, "figures": info.figures}


def _speak(options: argparse.Namespace, console: Console) -> Outcome:
    from .contract.actor_folder import ActorFolder
    from .speech.model import speak

    folder = ActorFolder.open(options.actor)
    console.progress("speak", 0, 1)
    said = speak(folder, options.audio, _read_delivery(options), fps=options.fps, first_frame=options.first_frame)
    make_folder(options.performance.parent)
    said.save(options.performance)
    console.progress("speak", 1, 1)
    data = {
        "performance": str(options.performance), "fps": said.fps, "count": len(said),
        "first": int(said.frames[0]), "last": int(said.frames[-1]),
    }  # fmt: skip
    return f"{len(said)} frames are in {options.performance}.", data


def _read_delivery(options: argparse.Namespace) -> Delivery:
    """How a line is to be spoken; a dub asks for the mouth alone."""
    from .speech.model import Delivery

    said = {**vars(options), "style": tuple(options.style)}
    return Delivery(**{field.name: said[field.name] for field in fields(Delivery) if field.name in said})


def _learn_to_speak(options: argparse.Namespace, console: Console) -> Outcome:
    from .contract.actor_folder import ActorFolder
    from .speech.model import train_speech

    folder = ActorFolder.open(options.actor)
    figures = train_speech(folder, console, options.seed, options.features)
    folder.info.figures["speech"] = figures
    folder.save()
    able = "can speak" if figures else "cannot speak"
    return f"{folder.info.name} {able}.", figures


def _render(options: argparse.Namespace, console: Console) -> Outcome:
    from .contract.actor_folder import ActorFolder
    from .contract.camera import CameraPath
    from .contract.performance import Performance
    from .rendering.frames import render_performance
    from .rendering.options import RenderOptions

    folder = ActorFolder.open(options.actor)
    performance = Performance.load(options.performance)
    camera = CameraPath.load(options.camera) if options.camera else None
    wishes = RenderOptions(
        out=options.out, format=options.format, name=options.name, device=options.device, scale=options.scale,
        png_bits=options.bits, audio=options.sound, audio_offset_seconds=options.sound_offset, use_plate=options.plate,
        blur_samples=options.blur, with_vectors=options.vectors,
    )  # fmt: skip
    data = render_performance(folder, performance, camera, wishes, console)
    where = data.get("file") or f"{data['folder']} ({data['pattern']})"
    return f"{data['count']} frames are in {where}.", data


def _dub(options: argparse.Namespace, console: Console) -> Outcome:
    from .contract.actor_folder import ActorFolder
    from .pipeline.dub import DubOptions, dub

    folder = ActorFolder.open(options.actor)
    wishes = DubOptions(options.out, options.footage, options.start, options.device)
    data = dub(folder, options.audio, _read_delivery(options), wishes, console)
    return f"{data['count']} frames are in {options.out}.", data


def _track(options: argparse.Namespace, console: Console) -> Outcome:
    from .contract.actor_folder import ActorFolder
    from .pipeline.retarget import retarget_video

    folder = ActorFolder.open(options.actor)
    make_folder(options.performance.parent)
    done = retarget_video(options.video, folder, console, face_number=options.face, match_range=options.match_range)
    done.save(options.performance)
    data = {"performance": str(options.performance), "fps": done.fps, "count": len(done)}
    return f"{len(done)} frames are in {options.performance}.", data


def _export(options: argparse.Namespace, console: Console) -> Outcome:
    from .contract.actor_folder import ActorFolder
    from .contract.live_link import write_live_link
    from .contract.performance import Performance

    folder, performance = ActorFolder.open(options.actor), Performance.load(options.performance)
    if options.out.suffix.lower() == ".csv":
        make_folder(options.out.parent)
        write_live_link(performance, options.out, _parse_signs(options.signs))
        return f"{len(performance)} frames are in {options.out}.", {"file": str(options.out), "count": len(performance)}
    from .rendering.frames import load_portrait  # with torch, which a .csv does not need
    from .rendering.ply import write_ply

    frame = int(performance.frames[0]) if options.frame is None else options.frame
    make_folder(options.out.parent)
    count = write_ply(load_portrait(folder, choose_device(options.device)), performance, frame, options.out)
    return f"{count} Gaussians are in {options.out}.", {"file": str(options.out), "gaussians": count, "frame": frame}


def _import(options: argparse.Namespace, console: Console) -> Outcome:
    from .contract.live_link import CaptureOptions, read_live_link

    how = CaptureOptions(options.fps, options.capture_fps, _parse_signs(options.signs), options.neutral, options.head)
    made = read_live_link(options.capture, how)
    make_folder(options.performance.parent)
    made.save(options.performance)
    data = {"performance": str(options.performance), "fps": made.fps, "count": len(made)}
    return f"{len(made)} frames at {made.fps:g} frames per second are in {options.performance}.", data


def _parse_signs(text: str) -> tuple[int, int, int]:
    yaw, pitch, roll = (1 if sign == "+" else -1 for sign in text)
    return yaw, pitch, roll


def _evaluate(options: argparse.Namespace, console: Console) -> Outcome:
    from .evaluation.evaluate import evaluate_actor

    device = choose_device(options.device)
    return _report_figures(options, lambda folder: evaluate_actor(folder, device, console, options.features))


def _ablate(options: argparse.Namespace, console: Console) -> Outcome:
    from .evaluation.ablate import ablate_method
    from .training.config import PRESETS

    preset = PRESETS[options.preset]
    return _report_figures(
        options, lambda folder: ablate_method(folder, choose_device(options.device), preset, options.seed, console)
    )


def _report_figures(options: argparse.Namespace, measure: Callable[[ActorFolder], dict[str, Any]]) -> Outcome:
    """Figures of an actor, as text and, where asked for, as a file."""
    from .contract.actor_folder import ActorFolder

    folder = ActorFolder.open(options.actor)
    if options.json:
        make_folder(options.json.parent)
    figures = measure(folder)
    text = format_figures(figures)
    if options.json:
        write_bytes_atomically(options.json, f"{text}\n".encode())
    return text, figures


def _serve(options: argparse.Namespace, console: Console, canceller: Canceller) -> None:
    """Speaks the protocol always: there is nothing in it for a terminal."""
    from .cli.preview_service import PreviewService
    from .contract.actor_folder import ActorFolder
    from .rendering.frames import load_portrait

    assert isinstance(console, JsonLinesConsole)
    folder = ActorFolder.open(options.actor)
    if options.pictures:
        make_folder(options.pictures)
    service = PreviewService(
        folder, console.send, lambda error: error_from_exception(error, folder.path), options.pictures
    )

    def on_close() -> None:
        service.close()
        canceller.cancel()  # a frame in the making does not hold up the end

    def on_request(request: Request) -> None:
        service.post_request(request)
        if request.verb == "quit":
            canceller.cancel()

    watch_requests(on_request, on_close)
    device = choose_device(options.device)
    console.begin(device.type, device_name(device))
    service.run(load_portrait, device)


def _doctor(options: argparse.Namespace, console: Console) -> Outcome:
    from .setup.doctor import diagnose, format_report

    report = diagnose()
    return format_report(report), report


def _sample(options: argparse.Namespace, console: Console) -> Outcome:
    from .synthetic import SampleOptions, make_sample, make_speech_line

    make_folder(options.out.parent)
    ending = options.out.suffix.lower()
    if ending == ".wav":
        words = make_speech_line(options.out, options.seed)
        return f"{options.out} says: {words}", {"file": str(options.out), "words": words}
    if options.out.suffix.lower() != ".mp4":
        raise UserError(
            "bad_arguments", f"{options.out.name} is neither .mp4 nor .wav.", "Choose one of these endings."
        )
    wishes = SampleOptions(seconds=options.seconds, size=options.size, seed=options.seed)
    make_sample(options.out, wishes, console)
    return f"The sample clip is {options.out}.", {"file": str(options.out)}


COMMANDS: dict[str, Callable[[argparse.Namespace, Console], Outcome]] = {
    "create": _create,
    "speak": _speak,
    "learn-to-speak": _learn_to_speak,
    "render": _render,
    "dub": _dub,
    "track": _track,
    "export": _export,
    "import": _import,
    "evaluate": _evaluate,
    "ablate": _ablate,
    "doctor": _doctor,
    "sample": _sample,
}  # `serve` answers many requests and has no outcome


if __name__ == "__main__":
    status = main()
    if status == Cancelled.exit_code:  # taking torch and mediapipe apart takes seconds, and the person wants out
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
