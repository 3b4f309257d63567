"""All commands of `python -m backend`, and the run of one: console, cancellation, result or error, exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..contract.errors import Cancelled, UserError
from ..setup.device import choose_device, device_name
from . import actor_commands, performance_commands, render_commands
from .console import (
    Canceller,
    Console,
    JsonLinesConsole,
    Outcome,
    TerminalConsole,
    redirect_library_output,
    watch_requests,
)
from .eta_estimator import EtaEstimator
from .failures import error_from_exception, exit_code
from .parser import AddCommand, ArgumentParser, device_parser, json_lines_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; `options.run` is the function of the chosen one."""
    common, device = json_lines_parser(), device_parser()
    parser = ArgumentParser(prog="python -m backend", description="Portrait Actor: a portrait video becomes an actor.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=ArgumentParser)

    def add_command(name: str, help_text: str, *, has_device: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[common, device] if has_device else [common], help=help_text)
        command.set_defaults(command=name, shares={})
        return command

    for define_command in (
        actor_commands.add_create,
        performance_commands.add_speak,
        actor_commands.add_learn_to_speak,
        render_commands.add_render,
        render_commands.add_dub,
        performance_commands.add_export,
        performance_commands.add_import,
        performance_commands.add_track,
        actor_commands.add_evaluate,
        actor_commands.add_ablate,
        render_commands.add_serve,
        _add_doctor,
        render_commands.add_sample,
    ):
        define_command(add_command)
    return parser


def _add_doctor(add_command: AddCommand) -> None:
    command = add_command("doctor", "tell what is installed, and what is missing", has_device=False)
    command.set_defaults(run=_run_doctor)


def _run_doctor(options: argparse.Namespace, console: Console) -> Outcome:
    from ..setup.doctor import diagnose, format_report

    report = diagnose()
    return format_report(report), report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Exit codes: 0 done, 2 the user can fix the error, 130 cancelled, 1 a bug, whose log the error names.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for_blender = "--json-lines" in arguments or arguments[:1] == ["serve"]
    if {"-h", "--help"} & set(arguments):
        for_blender = False
    if not for_blender:
        redirect_library_output()
    console: Console = JsonLinesConsole(__version__) if for_blender else TerminalConsole()
    canceller = Canceller(console)
    canceller.catch_signals()
    log_folder: Path | None = None
    try:
        options = build_parser().parse_args(arguments)
        log_folder = getattr(options, "actor", None)
        console.eta_estimator = EtaEstimator(options.shares)
        return _run_command(options, console, canceller)
    except SystemExit as request:  # --help and --version
        return int(request.code or 0)
    except BaseException as exception:  # every failure, bugs included, ends in an error message and an exit code
        canceller.disarm()
        error = error_from_exception(exception, log_folder)
        console.fail(error)
        return exit_code(error)
    finally:
        canceller.disarm()


def _run_command(options: argparse.Namespace, console: Console, canceller: Canceller) -> int:
    """Run the chosen command and return its exit code."""
    if options.command == "serve":
        assert isinstance(console, JsonLinesConsole)
        render_commands.run_serve(options, console, canceller)
        return 0
    if isinstance(console, JsonLinesConsole):
        _watch_for_cancel(console, canceller, is_detached=getattr(options, "detached", False))
        device = choose_device(getattr(options, "device", "cpu"))
        console.begin(device.type, device_name(device))
    summary, data = options.run(options, console)
    canceller.disarm()
    console.finish(summary, data)
    return UserError.exit_code if data.get("ok") is False else 0


def _watch_for_cancel(console: JsonLinesConsole, canceller: Canceller, *, is_detached: bool) -> None:
    """Cancel the job on request, and when standard input closes unless the job is detached from Blender."""
    console.is_detached = console.is_detached or is_detached
    watch_requests(
        lambda request: canceller.cancel() if request.verb in ("cancel", "quit") else None,
        (lambda: None) if is_detached else canceller.cancel,
    )


def exit_process(status: int) -> None:
    """End the process; after a cancellation at once, since unloading torch and the tracker takes seconds."""
    if status == Cancelled.exit_code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
