"""The commands of `python -m backend` and their options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from .. import __version__
from ..contract.errors import UserError
from ..setup.install_torch import DEVICES

# How long the last stages take beside each other, for the time that is left; see `forecast.py`.
STAGE_SHARES = {
    "create": {"train the actor": 0.9, "learn to speak": 0.1},
    "evaluate": {
        "refine the held-out frames": 0.7,
        "evaluate tracked": 0.1,
        "evaluate refined": 0.1,
        "evaluate audio": 0.1,
    },
}
ANGLE_SIGNS = tuple(f"{yaw}{pitch}{roll}" for yaw in "+-" for pitch in "+-" for roll in "+-")
STRENGTH_HELP = "strength: 1 is the actor's own, 0 still"
PRESETS = ("tiny", "draft", "standard", "final")


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    common = _ArgumentParser(add_help=False)
    common.add_argument("--json-lines", action="store_true", help="speak the protocol, for Blender")
    device = _ArgumentParser(add_help=False)
    device.add_argument("--device", choices=DEVICES, default="auto", help="default: the GPU where there is one")
    top = _ArgumentParser(prog="python -m backend", description="Portrait Actor: a portrait video becomes an actor.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=_ArgumentParser)

    def add_command(name: str, help_text: str, *, has_device: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, parents=[common, device] if has_device else [common], help=help_text)
        made.set_defaults(command=name, shares=STAGE_SHARES.get(name, {}))
        return made

    create = add_command("create", "turn a video into an actor; run it again to go on")
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
    create.add_argument("--detached", action="store_true", help="with --json-lines: go on when standard input closes")

    speak = add_command("speak", "let an actor speak a sound file", has_device=False)
    speak.add_argument("actor", type=Path, metavar="ACTOR")
    speak.add_argument("audio", type=Path, metavar="AUDIO")
    speak.add_argument("performance", type=Path, metavar="PERFORMANCE", help="the .npz to write")
    speak.add_argument("--fps", type=float, metavar="RATE", help="frames per second (default: the footage's)")
    speak.add_argument("--first-frame", type=int, default=0, metavar="N", help="the frame at which the sound begins")
    _add_delivery_options(speak)

    teach = add_command("learn-to-speak", "let an actor learn to speak again", has_device=False)
    teach.add_argument("actor", type=Path, metavar="ACTOR")
    teach.add_argument("--seed", type=int, default=0, metavar="N")
    teach.add_argument(
        "--features", type=Path, metavar="FILE", help="HuBERT, wav2vec 2.0 or other features of its footage's sound"
    )

    render = add_command("render", "render a performance to EXR, PNG or a film; unchanged frames are kept")
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
    render.add_argument(
        "--blur", type=int, default=1, metavar="N", help="motion blur: the performance has N moments a frame"
    )
    render.add_argument(
        "--vectors", action="store_true", help="Vector pass: the performance has three moments a frame, f−1, f, f+1"
    )
    render.add_argument("--plate", action="store_true", help="put a film over the footage's background")

    dub = add_command("dub", "lay another line over the footage: its shot stays, the lips are new")
    dub.add_argument("actor", type=Path, metavar="ACTOR")
    dub.add_argument("audio", type=Path, metavar="AUDIO")
    dub.add_argument("--out", type=Path, required=True, metavar="OUT", help="an .mp4, or a folder for PNG frames")
    dub.add_argument(
        "--footage",
        type=Path,
        metavar="VIDEO",
        help="the original video, for whole frames (default: the crops)",
    )
    dub.add_argument("--start", type=float, default=0.0, metavar="S", help="seconds into the footage of the line")
    _add_mouth_options(dub)

    export = add_command("export", "write a performance as Live Link Face .csv, or a frame's Gaussians as .ply")
    export.add_argument("actor", type=Path, metavar="ACTOR")
    export.add_argument("performance", type=Path, metavar="PERFORMANCE", help=".npz of speak or of Blender")
    export.add_argument("out", type=Path, metavar="OUT", help="the .ply or .csv to write")
    export.add_argument("--frame", type=int, metavar="N", help="for a .ply (default: the first)")
    export.add_argument("--signs", choices=ANGLE_SIGNS, default="+++", help="for a .csv: of yaw, pitch and roll")

    capture = add_command("import", "turn a Live Link Face .csv into a performance", has_device=False)
    capture.add_argument("capture", type=Path, metavar="CAPTURE")
    capture.add_argument("performance", type=Path, metavar="PERFORMANCE", help="the .npz to write")
    capture.add_argument("--fps", type=float, metavar="RATE", help="frames per second (default: the capture's)")
    capture.add_argument("--capture-fps", type=float, metavar="RATE", help="of its timecodes (default: guessed)")
    capture.add_argument("--neutral", type=float, metavar="S", help="seconds into it of a relaxed face, to take out")
    capture.add_argument(
        "--signs", choices=ANGLE_SIGNS, default="+++", help="of yaw, pitch and roll, as in --signs=-+-"
    )
    capture.add_argument("--head", action=argparse.BooleanOptionalAction, default=True, help="head motion")

    track = add_command("track", "let another video drive an actor: its motion as a performance", has_device=False)
    track.add_argument("video", type=Path, metavar="VIDEO")
    track.add_argument("performance", type=Path, metavar="PERFORMANCE", help="the .npz to write")
    track.add_argument("--for", dest="actor", type=Path, required=True, metavar="ACTOR", help="who shall move so")
    track.add_argument("--face", type=int, metavar="N", help="which of several faces, from the left, starting at 1")
    track.add_argument(
        "--match-range", action="store_true", help="scale each channel to what the actor's own footage shows"
    )

    evaluate = add_command("evaluate", "measure an actor on the footage it has not seen")
    evaluate.add_argument("actor", type=Path, metavar="ACTOR")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    evaluate.add_argument("--features", type=Path, metavar="FILE", help="of its footage's sound, see learn-to-speak")

    ablate = add_command("ablate", "measure what each part of the method is worth to an actor")
    ablate.add_argument("actor", type=Path, metavar="ACTOR")
    ablate.add_argument("--preset", choices=PRESETS, default="draft", help="how long each variant is trained")
    ablate.add_argument("--seed", type=int, default=0, metavar="N")
    ablate.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")

    serve = add_command("serve", "draw previews for Blender until standard input closes")
    serve.add_argument("actor", type=Path, metavar="ACTOR")
    serve.add_argument("--pictures", type=Path, metavar="DIR", help="where they go (default: for temporary files)")

    add_command("doctor", "tell what is installed, and what is missing", has_device=False)

    sample = add_command("sample", "make a sample clip (.mp4) or a line to speak (.wav) by code", has_device=False)
    sample.add_argument("out", type=Path, metavar="OUT")
    sample.add_argument("--seconds", type=float, default=12.0)
    sample.add_argument("--size", type=int, default=512, help="side in pixels")
    sample.add_argument("--seed", type=int, default=0, metavar="N")
    return top


def _add_delivery_options(command: argparse.ArgumentParser) -> None:
    """How a line is spoken."""
    command.add_argument("--seed", type=int, default=0, metavar="N", help="another one gives another reading")
    for part in ("--brows", "--head", "--blink"):
        command.add_argument(part, type=float, default=1.0, metavar="N", help=STRENGTH_HELP)
    _add_mouth_options(command)


def _add_mouth_options(command: argparse.ArgumentParser) -> None:
    """How the mouth speaks a line."""
    command.add_argument("--lips", type=float, default=1.0, metavar="N", help=STRENGTH_HELP)
    command.add_argument(
        "--smoothing", type=float, default=0.0, metavar="S", help="seconds over which the mouth's motion is averaged"
    )
    command.add_argument(
        "--style", type=_parse_seconds_range, action="append", default=[], metavar="A-B",
        help="take the manner of these seconds of the footage, e.g. 3.5-9; may be given several times",
    )  # fmt: skip
    command.add_argument("--features", type=Path, metavar="FILE", help="the line's features, if it learned from such")


class _ArgumentParser(argparse.ArgumentParser):
    """Wrong arguments are a failure like any other."""

    def error(self, message: str) -> NoReturn:
        raise UserError("bad_arguments", f"{message[:1].upper()}{message[1:]}.", f"`{self.prog} --help` tells more.")


def _parse_seconds_range(text: str) -> tuple[float, float]:
    """Two numbers of seconds with a dash between them."""
    start, _, end = text.partition("-")
    return float(start), float(end)
