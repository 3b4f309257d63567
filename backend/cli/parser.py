"""What the commands share when they define their options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn, Protocol

from ..contract.errors import UserError
from ..setup.install_torch import DEVICES

ANGLE_SIGNS = tuple(f"{yaw}{pitch}{roll}" for yaw in "+-" for pitch in "+-" for roll in "+-")
STRENGTH_HELP = "strength: 1 is the actor's own, 0 none"


class ArgumentParser(argparse.ArgumentParser):
    """A parser that raises UserError for invalid arguments."""

    def error(self, message: str) -> NoReturn:
        """Raise the error that argparse would print."""
        raise UserError("bad_arguments", f"{message[:1].upper()}{message[1:]}.", f"`{self.prog} --help` tells more.")


class AddCommand(Protocol):
    """Adds a command to the parser of all commands."""

    def __call__(self, name: str, help_text: str, *, has_device: bool = True) -> argparse.ArgumentParser:
        """Return the new command's parser, with --json-lines and, if `has_device`, --device."""


def json_lines_parser() -> ArgumentParser:
    """Return the options of every command."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--json-lines", action="store_true", help="speak the protocol, for Blender")
    return parser


def device_parser() -> ArgumentParser:
    """Return the options of commands that can use the GPU."""
    parser = ArgumentParser(add_help=False)
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: the GPU where there is one")
    return parser


def add_actor(command: argparse.ArgumentParser) -> None:
    """Add the actor folder."""
    command.add_argument("actor", type=Path, metavar="ACTOR")


def add_input_performance(command: argparse.ArgumentParser) -> None:
    """Add the performance file that is read."""
    command.add_argument("performance", type=Path, metavar="PERFORMANCE", help=".npz of speak or of Blender")


def add_output_performance(command: argparse.ArgumentParser) -> None:
    """Add the performance file that is written."""
    command.add_argument("performance", type=Path, metavar="PERFORMANCE", help="the .npz to write")


def add_face_number(command: argparse.ArgumentParser) -> None:
    """Add the choice among several faces in a video."""
    command.add_argument("--face", type=int, metavar="N", help="which of several faces, from the left, starting at 1")


def add_seed(command: argparse.ArgumentParser, help_text: str | None = None) -> None:
    """Add the seed of the random numbers."""
    command.add_argument("--seed", type=int, default=0, metavar="N", help=help_text)


def add_delivery_options(command: argparse.ArgumentParser) -> None:
    """Add how a line is spoken: `Delivery` with head, brows and blinks."""
    add_seed(command, "another seed gives another reading")
    for part in ("--brows", "--head", "--blink"):
        command.add_argument(part, type=float, default=1.0, metavar="N", help=STRENGTH_HELP)
    add_mouth_options(command)


def add_mouth_options(command: argparse.ArgumentParser) -> None:
    """Add how the mouth moves when it speaks a line."""
    command.add_argument("--lips", type=float, default=1.0, metavar="N", help=STRENGTH_HELP)
    command.add_argument(
        "--smoothing", type=float, default=0.0, metavar="S", help="seconds over which the mouth's motion is averaged"
    )
    command.add_argument(
        "--style", type=_parse_seconds_range, action="append", default=[], metavar="A-B",
        help="imitate these seconds of the footage, e.g. 3.5-9; may be given several times",
    )  # fmt: skip
    command.add_argument(
        "--features", type=Path, metavar="FILE", help="the line's features, for an actor that learned from features"
    )


def _parse_seconds_range(text: str) -> tuple[float, float]:
    """Parse two numbers of seconds with a dash between them."""
    start, _, end = text.partition("-")
    return float(start), float(end)
