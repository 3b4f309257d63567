"""`build.py demo` and `build.py run`: a video becomes an actor, a film of it speaking, and a Blender scene."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

from backend.contract.errors import UserError

from . import environments, package
from .processes import ROOT, child_environment, run_step, write_line

MIN_FREE_BYTES = 2 << 30  # an actor's folder with its crops, checkpoints and film, for some minutes of footage
DEMO_FOLDER = "portrait_actor_demo"
DEMO_CONSENT = "nobody: the head is drawn by code"  # the demo's answer to who is shown and agreed


class PipelineRun:
    """The files, the Python and the durations of one run.

    Attributes:
        output_folder: where the results go.
        name: the actor's name.
        options: of the command line.
        actor: the actor's folder.
        performance: what the actor speaks, `.npz`.
        film: the rendered video.
        scene: the `.blend`.
        figures: the measured quality and durations, `.json`.
        seconds: duration of each stage.
        python: the backend's Python.
    """

    def __init__(self, output_folder: Path, name: str, options: argparse.Namespace) -> None:
        self.output_folder, self.name, self.options = output_folder, name, options
        self.actor = output_folder / f"{name}.actor"
        self.performance = output_folder / f"{name}.npz"
        self.film = output_folder / f"{name}.mp4"
        self.scene = output_folder / f"{name}.blend"
        self.figures = output_folder / "figures.json"
        self.seconds: dict[str, float] = {}
        self.python = environments.ensure_backend_python()

    def run_backend_stage(self, stage: str, title: str, *arguments: str | Path) -> None:
        """Run one command of the backend as `stage`, under a printed title.

        Raises:
            StepFailedError, UserError, KeyboardInterrupt: as in `run_step`.
        """
        self.run_timed_stage(stage, title, [self.python, "-m", "backend", *arguments])

    def run_timed_stage(self, stage: str, title: str, command: list[str | Path], **env_changes: str | Path) -> None:
        """Run any command as `stage`, under a printed title, with changes to its environment."""
        write_line(f"\n== {title} ==")
        start = time.monotonic()
        run_step(command, env=child_environment(**env_changes))
        self.seconds[stage] = round(time.monotonic() - start, 1)


def run_demo(options: argparse.Namespace) -> None:
    """Make the sample actor, from a clip that the backend makes to a speaking head in a scene."""
    run = PipelineRun(make_output_folder(options.out or Path(DEMO_FOLDER)), "sample", options)
    clip, line = run.output_folder / "sample_footage.mp4", run.output_folder / "sample_line.wav"
    run.run_backend_stage("sample", "Making the sample footage", "sample", clip)
    run.run_backend_stage("line", "Making the line that the sample actor speaks", "sample", line)
    run_pipeline(run, clip, line, "--consent-who", DEMO_CONSENT)


def run_video(options: argparse.Namespace) -> None:
    """Make an actor from the user's video and let it speak.

    Raises:
        UserError: a file is missing or would be overwritten, or the output folder cannot be used.
    """
    for path in (options.video, options.audio):
        if path is not None and not path.is_file():
            raise UserError(
                "missing_file", f"There is no file at {path}.", "Check the path, and quote it if it has spaces."
            )
    name = options.name or options.video.stem
    if name != Path(name).name or name in (".", ".."):
        raise UserError("bad_name", f"{name} cannot be a file's name.", "Choose another --name.")
    run = PipelineRun(make_output_folder(options.out or Path(f"{name}_portrait_actor")), name, options)
    for path in (options.video, options.audio):
        if path is not None and path.resolve() in (run.film.resolve(), run.performance.resolve()):
            raise UserError("would_overwrite", f"{path} would be overwritten.", "Choose another folder with --out.")
    face = ("--face", str(options.face)) if options.face is not None else ()
    audio = options.audio.absolute() if options.audio else None
    run_pipeline(run, options.video.absolute(), audio, "--consent-who", options.consent_who, *face)


def make_output_folder(folder: Path) -> Path:
    """Make the output folder if it is missing, check it, and return it as an absolute path.

    Raises:
        UserError: it cannot be written, or the disk is too full.
    """
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            "read_only",
            f"The results cannot be written to {folder} ({error.strerror}).",
            "Choose another folder with --out.",
        ) from error
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise UserError(
            "disk_full",
            f"Only {free / 1e9:.1f} GB are free at {folder}, and {MIN_FREE_BYTES / 1e9:.0f} GB are needed.",
            "Free some space, or choose another folder with --out.",
        )
    return folder


def run_pipeline(run: PipelineRun, video: Path, audio: Path | None, *create_options: str) -> None:
    """Create the actor and everything that follows from it.

    Args:
        run: the run.
        video: the footage.
        audio: what the actor speaks; None: the footage's own words.
        create_options: further options of the backend's `create`.
    """
    device = ("--device", run.options.device)
    named = ("--name", run.name, "--preset", run.options.preset, *device, *create_options)
    run.run_backend_stage("create", f"Creating {run.actor.name}", "create", video, run.actor, *named)
    speech = audio or (video if (run.actor / "speech.safetensors").exists() else None)
    if speech is None:
        write_line("\nThe video has no voice and no --audio was given: the film shows the footage's own performance.")
        performance, sound = run.actor / "footage.npz", run.actor / "audio.wav"
    else:
        performance, sound = run.performance, speech
        run.run_backend_stage("speak", f"Speaking {speech.name}", "speak", run.actor, speech, performance)
    sound_options = ("--sound", sound) if sound.exists() else ()
    render_options = ("--out", run.output_folder, "--name", run.name, "--format", "mp4", "--plate")
    run.run_backend_stage(
        "render", f"Rendering {run.film.name}",
        "render", run.actor, performance, *render_options, *sound_options, *device,
    )  # fmt: skip
    run.run_backend_stage(
        "evaluate", "Measuring the actor on held-out frames", "evaluate", run.actor, "--json", run.figures, *device
    )
    make_scene(run, speech)
    figures = json.loads(run.figures.read_text(encoding="utf-8"))
    run.figures.write_text(json.dumps({**figures, "seconds": run.seconds}, indent=1) + "\n", encoding="utf-8")
    report_results(run)


def make_scene(run: PipelineRun, speech: Path | None) -> None:
    """Make the .blend in a Blender with a user folder of its own: install the zip, import the actor, let it speak."""
    archive = package.build_archive()
    script = ROOT / "tools" / "make_scene.py"
    arguments: list[str | Path] = ["--", archive, run.actor, run.scene, *([speech] if speech else [])]
    blender = run.options.blender
    with tempfile.TemporaryDirectory(prefix="portrait_actor_") as user_folder:
        command: list[str | Path] = (
            [blender, "--background", "--python-exit-code", "1", "--python", script, *arguments]
            if blender
            else [environments.ensure_bpy_python("5.0"), script, *arguments]
        )
        run.run_timed_stage(
            "scene",
            f"Making {run.scene.name}",
            command,
            BLENDER_USER_RESOURCES=user_folder,
            PORTRAIT_ACTOR_PYTHON=run.python,
        )


def report_results(run: PipelineRun) -> None:
    """Print where the results are."""
    write_line(f"\nDone in {sum(run.seconds.values()):.0f} s.")
    for label, path in (("actor", run.actor), ("film", run.film), ("scene", run.scene), ("figures", run.figures)):
        write_line(f"  {label:9} {path}")
