"""The commands that make images: render, dub, serve, sample."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..contract.atomic_write import make_folder
from ..contract.errors import UserError
from ..contract.protocol import Request
from ..setup.device import choose_device, device_name
from .console import Canceller, Console, JsonLinesConsole, Outcome, watch_requests
from .failures import error_from_exception
from .parser import AddCommand, add_actor, add_input_performance, add_mouth_options, add_seed
from .performance_commands import delivery_from_options


def add_render(add_command: AddCommand) -> None:
    """Define `render`."""
    command = add_command("render", "render a performance to EXR, PNG or a film; unchanged frames are kept")
    command.set_defaults(run=run_render)
    add_actor(command)
    add_input_performance(command)
    command.add_argument("--camera", type=Path, metavar="FILE", help="camera file (default: the footage's camera)")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument("--format", choices=("exr", "png", "mp4"), default="exr")
    command.add_argument("--name", default="", help="of the files (default: the actor folder's)")
    command.add_argument("--bits", type=int, choices=(8, 16), default=16, help="of a PNG")
    command.add_argument("--scale", type=float, default=1.0, metavar="FACTOR", help="on the camera's resolution")
    command.add_argument("--sound", type=Path, metavar="FILE", help="sound of a film")
    command.add_argument("--sound-offset", type=float, default=0.0, metavar="S", help="seconds before the sound begins")
    command.add_argument(
        "--blur", type=int, default=1, metavar="N", help="motion blur: the performance has N moments per frame"
    )
    command.add_argument(
        "--vectors", action="store_true", help="Vector pass: the performance has three moments per frame, f−1, f, f+1"
    )
    command.add_argument("--plate", action="store_true", help="put a film over the footage's background")


def run_render(options: argparse.Namespace, console: Console) -> Outcome:
    """Render a performance to files."""
    from ..contract.actor_folder import ActorFolder
    from ..contract.camera import CameraPath
    from ..contract.performance import Performance
    from ..rendering.frames import render_performance
    from ..rendering.options import RenderOptions

    folder = ActorFolder.open(options.actor)
    performance = Performance.load(options.performance)
    camera = CameraPath.load(options.camera) if options.camera else None
    render_options = RenderOptions(
        out=options.out, format=options.format, name=options.name, device=options.device, scale=options.scale,
        png_bits=options.bits, audio=options.sound, audio_offset_seconds=options.sound_offset, use_plate=options.plate,
        blur_samples=options.blur, with_vectors=options.vectors,
    )  # fmt: skip
    data = render_performance(folder, performance, camera, render_options, console)
    where = data.get("file") or f"{data['folder']} ({data['pattern']})"
    return f"{data['count']} frames are in {where}.", data


def add_dub(add_command: AddCommand) -> None:
    """Define `dub`."""
    command = add_command("dub", "dub the footage with another line: only the lips change")
    command.set_defaults(run=run_dub)
    add_actor(command)
    command.add_argument("audio", type=Path, metavar="AUDIO")
    command.add_argument("--out", type=Path, required=True, metavar="OUT", help="an .mp4, or a folder for PNG frames")
    command.add_argument(
        "--footage", type=Path, metavar="VIDEO", help="the original video, for whole frames (default: the crops)"
    )
    command.add_argument("--start", type=float, default=0.0, metavar="S", help="seconds into the footage of the line")
    add_mouth_options(command)


def run_dub(options: argparse.Namespace, console: Console) -> Outcome:
    """Replace the lips in the footage so that they speak another line."""
    from ..contract.actor_folder import ActorFolder
    from ..pipeline.dub import DubOptions, dub

    folder = ActorFolder.open(options.actor)
    dub_options = DubOptions(options.out, options.footage, options.start, options.device)
    data = dub(folder, options.audio, delivery_from_options(options), dub_options, console)
    return f"{data['count']} frames are in {options.out}.", data


def add_serve(add_command: AddCommand) -> None:
    """Define `serve`; it always uses the protocol, and answers many requests instead of returning one outcome."""
    command = add_command("serve", "render previews for Blender until standard input closes")
    add_actor(command)
    command.add_argument(
        "--pictures", type=Path, metavar="DIR", help="folder for the images (default: a temporary one)"
    )


def run_serve(options: argparse.Namespace, console: JsonLinesConsole, canceller: Canceller) -> None:
    """Run the preview service until a quit request or the end of standard input."""
    from ..contract.actor_folder import ActorFolder
    from ..rendering.frames import load_portrait
    from .preview_service import PreviewService

    folder = ActorFolder.open(options.actor)
    if options.pictures:
        make_folder(options.pictures)
    service = PreviewService(
        folder, console.send, lambda error: error_from_exception(error, folder.path), options.pictures
    )

    def on_close() -> None:
        service.close()
        canceller.cancel()  # so that a frame in progress does not delay the end

    def on_request(request: Request) -> None:
        service.post_request(request)
        if request.verb == "quit":
            canceller.cancel()

    watch_requests(on_request, on_close)
    device = choose_device(options.device)
    console.begin(device.type, device_name(device))
    service.run(load_portrait, device)


def add_sample(add_command: AddCommand) -> None:
    """Define `sample`."""
    command = add_command("sample", "make a sample clip (.mp4) or a line to speak (.wav) by code", has_device=False)
    command.set_defaults(run=run_sample)
    command.add_argument("out", type=Path, metavar="OUT")
    command.add_argument("--seconds", type=float, default=12.0)
    command.add_argument("--size", type=int, default=512, help="side in pixels")
    add_seed(command)


def run_sample(options: argparse.Namespace, console: Console) -> Outcome:
    """Make the sample clip or a spoken line."""
    from ..synthetic import SampleOptions, make_sample, make_speech_line

    make_folder(options.out.parent)
    suffix = options.out.suffix.lower()
    if suffix == ".wav":
        words = make_speech_line(options.out, options.seed)
        return f"{options.out} says: {words}", {"file": str(options.out), "words": words}
    if suffix != ".mp4":
        raise UserError("bad_arguments", f"{options.out.name} is neither .mp4 nor .wav.", "Choose one of them.")
    make_sample(options.out, SampleOptions(seconds=options.seconds, size=options.size, seed=options.seed), console)
    return f"The sample clip is {options.out}.", {"file": str(options.out)}
