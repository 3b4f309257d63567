"""The commands that make or measure an actor: create, learn-to-speak, evaluate, ablate."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract.atomic_write import make_folder, write_bytes_atomically
from ..contract.presets import DEFAULT_PRESET, PRESET_NAMES
from ..setup.device import choose_device
from ..setup.process_lock import hold_process_lock
from .console import Console, Outcome
from .formatting import format_figures
from .parser import AddCommand, add_actor, add_face_number, add_seed

# Rough durations of the last stages relative to each other; they only affect the displayed remaining time, see
# `EtaEstimator`.
CREATE_SHARES = {"train the actor": 0.9, "learn to speak": 0.1}
EVALUATE_SHARES = {
    "refine the held-out frames": 0.7,
    "evaluate tracked": 0.1,
    "evaluate refined": 0.1,
    "evaluate audio": 0.1,
}

if TYPE_CHECKING:
    from ..contract.actor_folder import ActorFolder


def add_create(add_command: AddCommand) -> None:
    """Define `create`."""
    command = add_command("create", "turn a video into an actor; run it again to go on")
    command.set_defaults(run=run_create, shares=CREATE_SHARES)
    command.add_argument("video", type=Path, metavar="VIDEO")
    command.add_argument("actor", type=Path, metavar="ACTOR", help="its folder, e.g. jane.actor")
    command.add_argument("--preset", choices=PRESET_NAMES, default=DEFAULT_PRESET)
    add_face_number(command)
    command.add_argument("--name", default="", help="the actor's name (default: the folder's name)")
    command.add_argument("--consent-who", default="", metavar="NAME", help="the person who is shown, and agreed")
    add_seed(command)
    command.add_argument(
        "--landmarker", type=Path, metavar="FILE", help="MediaPipe's face_landmarker.task, to measure the channels"
    )
    command.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="folder for images of the faces if there are several to choose from",
    )
    command.add_argument("--detached", action="store_true", help="with --json-lines: go on when standard input closes")


def run_create(options: argparse.Namespace, console: Console) -> Outcome:
    """Create an actor from a video."""
    from ..pipeline.create import CreateOptions, create_actor

    create_options = CreateOptions(
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
        folder = create_actor(options.video, options.actor, create_options, console)
    info = folder.info
    data = {"folder": str(folder.path), "name": info.name, "frames": info.frame_count, "notes": info.notes}
    return f"{info.name} is in {folder.path}.", {**data, "figures": info.figures}


def add_learn_to_speak(add_command: AddCommand) -> None:
    """Define `learn-to-speak`."""
    command = add_command("learn-to-speak", "let an actor learn to speak again", has_device=False)
    command.set_defaults(run=run_learn_to_speak)
    add_actor(command)
    add_seed(command)
    command.add_argument(
        "--features", type=Path, metavar="FILE", help="HuBERT, wav2vec 2.0 or other features of its footage's sound"
    )


def run_learn_to_speak(options: argparse.Namespace, console: Console) -> Outcome:
    """Train the speech model of an actor."""
    from ..contract.actor_folder import ActorFolder
    from ..speech.training import train_speech

    folder = ActorFolder.open(options.actor)
    figures = train_speech(folder, console, options.seed, options.features)
    folder.info.figures["speech"] = figures
    folder.save()
    ability = "can speak" if figures else "cannot speak"
    return f"{folder.info.name} {ability}.", figures


def add_evaluate(add_command: AddCommand) -> None:
    """Define `evaluate`."""
    command = add_command("evaluate", "measure an actor on the footage it has not seen")
    command.set_defaults(run=run_evaluate, shares=EVALUATE_SHARES)
    add_actor(command)
    command.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    command.add_argument("--features", type=Path, metavar="FILE", help="of its footage's sound, see learn-to-speak")


def run_evaluate(options: argparse.Namespace, console: Console) -> Outcome:
    """Measure an actor on its held-out frames."""
    from ..evaluation.evaluate import evaluate_actor

    device = choose_device(options.device)
    return _report_figures(options, lambda folder: evaluate_actor(folder, device, console, options.features))


def add_ablate(add_command: AddCommand) -> None:
    """Define `ablate`."""
    command = add_command("ablate", "measure what each part of the method is worth to an actor")
    command.set_defaults(run=run_ablate)
    add_actor(command)
    command.add_argument(
        "--preset", choices=PRESET_NAMES, default=DEFAULT_PRESET, help="how long each variant is trained"
    )
    add_seed(command)
    command.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")


def run_ablate(options: argparse.Namespace, console: Console) -> Outcome:
    """Train an actor without each part of the method and compare."""
    from ..evaluation.ablate import ablate_method
    from ..training.config import PRESETS

    preset = PRESETS[options.preset]
    return _report_figures(
        options, lambda folder: ablate_method(folder, choose_device(options.device), preset, options.seed, console)
    )


def _report_figures(options: argparse.Namespace, measure: Callable[[ActorFolder], dict[str, Any]]) -> Outcome:
    """Measure an actor; return the figures as text, and write them to a file if the options name one."""
    from ..contract.actor_folder import ActorFolder

    folder = ActorFolder.open(options.actor)
    if options.json:
        make_folder(options.json.parent)
    figures = measure(folder)
    text = format_figures(figures)
    if options.json:
        write_bytes_atomically(options.json, f"{text}\n".encode())
    return text, figures
