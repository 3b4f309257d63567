"""The commands that make or convert a performance: speak, track, import, export."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract.atomic_write import make_folder
from ..setup.device import choose_device
from .console import Console, Outcome
from .parser import (
    ANGLE_SIGNS,
    AddCommand,
    add_actor,
    add_delivery_options,
    add_face_number,
    add_input_performance,
    add_output_performance,
)

if TYPE_CHECKING:
    from ..speech.delivery import Delivery


def add_speak(add_command: AddCommand) -> None:
    """Define `speak`."""
    command = add_command("speak", "let an actor speak a sound file", has_device=False)
    command.set_defaults(run=run_speak)
    add_actor(command)
    command.add_argument("audio", type=Path, metavar="AUDIO")
    add_output_performance(command)
    command.add_argument("--fps", type=float, metavar="RATE", help="frames per second (default: the footage's)")
    command.add_argument("--first-frame", type=int, default=0, metavar="N", help="the frame at which the sound begins")
    add_delivery_options(command)


def run_speak(options: argparse.Namespace, console: Console) -> Outcome:
    """Predict the performance of an actor that speaks an audio file."""
    from ..contract.actor_folder import ActorFolder
    from ..speech.synthesis import speak

    folder = ActorFolder.open(options.actor)
    console.progress("speak", 0, 1)
    performance = speak(
        folder, options.audio, delivery_from_options(options), fps=options.fps, first_frame=options.first_frame
    )
    make_folder(options.performance.parent)
    performance.save(options.performance)
    console.progress("speak", 1, 1)
    data = {
        "performance": str(options.performance), "fps": performance.fps, "count": len(performance),
        "first": int(performance.frames[0]), "last": int(performance.frames[-1]),
    }  # fmt: skip
    return f"{len(performance)} frames are in {options.performance}.", data


def delivery_from_options(options: argparse.Namespace) -> Delivery:
    """Return how a line is spoken; `dub` has only the mouth's options."""
    from ..speech.delivery import Delivery

    values = {**vars(options), "style": tuple(options.style)}
    return Delivery(**{field.name: values[field.name] for field in fields(Delivery) if field.name in values})


def add_track(add_command: AddCommand) -> None:
    """Define `track`."""
    command = add_command("track", "let another video drive an actor: its motion as a performance", has_device=False)
    command.set_defaults(run=run_track)
    command.add_argument("video", type=Path, metavar="VIDEO")
    add_output_performance(command)
    command.add_argument("--for", dest="actor", type=Path, required=True, metavar="ACTOR", help="the actor to drive")
    add_face_number(command)
    command.add_argument(
        "--match-range", action="store_true", help="scale each channel to what the actor's own footage shows"
    )


def run_track(options: argparse.Namespace, console: Console) -> Outcome:
    """Track the face in another video as a performance for an actor."""
    from ..contract.actor_folder import ActorFolder
    from ..pipeline.retarget import retarget_video

    folder = ActorFolder.open(options.actor)
    make_folder(options.performance.parent)
    performance = retarget_video(
        options.video, folder, console, face_number=options.face, match_range=options.match_range
    )
    performance.save(options.performance)
    data = {"performance": str(options.performance), "fps": performance.fps, "count": len(performance)}
    return f"{len(performance)} frames are in {options.performance}.", data


def add_import(add_command: AddCommand) -> None:
    """Define `import`."""
    command = add_command("import", "turn a Live Link Face .csv into a performance", has_device=False)
    command.set_defaults(run=run_import)
    command.add_argument("capture", type=Path, metavar="CAPTURE")
    add_output_performance(command)
    command.add_argument("--fps", type=float, metavar="RATE", help="frames per second (default: the capture's)")
    command.add_argument("--capture-fps", type=float, metavar="RATE", help="of its timecodes (default: guessed)")
    command.add_argument(
        "--neutral", type=float, metavar="S", help="seconds into it of a relaxed face, which is subtracted"
    )
    command.add_argument(
        "--signs", choices=ANGLE_SIGNS, default="+++", help="of yaw, pitch and roll, as in --signs=-+-"
    )
    command.add_argument("--head", action=argparse.BooleanOptionalAction, default=True, help="head motion")


def run_import(options: argparse.Namespace, console: Console) -> Outcome:
    """Convert a Live Link Face capture to a performance."""
    from ..contract.live_link import CaptureOptions, read_live_link

    capture_options = CaptureOptions(
        options.fps, options.capture_fps, _parse_signs(options.signs), options.neutral, options.head
    )
    performance = read_live_link(options.capture, capture_options)
    make_folder(options.performance.parent)
    performance.save(options.performance)
    data = {"performance": str(options.performance), "fps": performance.fps, "count": len(performance)}
    summary = f"{len(performance)} frames at {performance.fps:g} frames per second are in {options.performance}."
    return summary, data


def add_export(add_command: AddCommand) -> None:
    """Define `export`."""
    command = add_command("export", "write a performance as Live Link Face .csv, or a frame's Gaussians as .ply")
    command.set_defaults(run=run_export)
    add_actor(command)
    add_input_performance(command)
    command.add_argument("out", type=Path, metavar="OUT", help="the .ply or .csv to write")
    command.add_argument("--frame", type=int, metavar="N", help="for a .ply (default: the first)")
    command.add_argument("--signs", choices=ANGLE_SIGNS, default="+++", help="for a .csv: of yaw, pitch and roll")


def run_export(options: argparse.Namespace, console: Console) -> Outcome:
    """Write a performance as .csv, or the Gaussians of one frame as .ply."""
    from ..contract.actor_folder import ActorFolder
    from ..contract.live_link import write_live_link
    from ..contract.performance import Performance

    folder, performance = ActorFolder.open(options.actor), Performance.load(options.performance)
    if options.out.suffix.lower() == ".csv":
        make_folder(options.out.parent)
        write_live_link(performance, options.out, _parse_signs(options.signs))
        return f"{len(performance)} frames are in {options.out}.", {"file": str(options.out), "count": len(performance)}
    from ..rendering.frames import load_portrait  # imports torch, which a .csv does not need
    from ..rendering.ply import write_ply

    frame = int(performance.frames[0]) if options.frame is None else options.frame
    make_folder(options.out.parent)
    count = write_ply(load_portrait(folder, choose_device(options.device)), performance, frame, options.out)
    return f"{count} Gaussians are in {options.out}.", {"file": str(options.out), "gaussians": count, "frame": frame}


def _parse_signs(text: str) -> tuple[int, int, int]:
    yaw, pitch, roll = (1 if sign == "+" else -1 for sign in text)
    return yaw, pitch, roll
