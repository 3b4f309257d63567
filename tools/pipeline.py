"""`build.py demo` and `build.py run`: a video becomes an actor that speaks, a film of it, and a Blender scene."""

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


class PipelineRun:
    """One video on its way: where things are, which Python works, and how long each stage took."""

    def __init__(self, out: Path, name: str, options: argparse.Namespace) -> None:
        self.output_folder, self.name, self.options = out, name, options
        self.actor = out / f"{name}.actor"
        self.performance = out / f"{name}.npz"
        self.film = out / f"{name}.mp4"
        self.scene = out / f"{name}.blend"
        self.figures = out / "figures.json"
        self.seconds: dict[str, float] = {}
        self.python = environments.ensure_backend_python()

    def run_backend_stage(self, stage: str, title: str, *arguments: str | Path) -> None:
        """Runs one command of the backend as `stage`, told to the person as `what`.

        Raises:
            StepFailed, UserError, KeyboardInterrupt: see `step`.
        """
        self.run_timed_stage(stage, title, [self.python, "-m", "backend", *arguments])

    def run_timed_stage(self, stage: str, title: str, command: list[str | Path], **env_changes: str | Path) -> None:
        """Runs any command as `stage`, with `changes` to its environment."""
        write_line(f"\n== {title} ==")
        start = time.monotonic()
        run_step(command, env=child_environment(**env_changes))
        self.seconds[stage] = round(time.monotonic() - start, 1)


def run_demo(options: argparse.Namespace) -> None:
    """The sample actor, from a clip that the backend makes to a speaking head in a scene."""
    job = PipelineRun(make_output_folder(options.out or Path(DEMO_FOLDER)), "sample", options)
    clip, line = job.output_folder / "sample_footage.mp4", job.output_folder / "sample_line.wav"
    job.run_backend_stage("sample", "Making the sample footage", "sample", clip)
    job.run_backend_stage("line", "Making the line that the sample actor shall say", "sample", line)
    run_pipeline(job, clip, line, "--consent-who", "nobody: the head is drawn by code")


def run_video(options: argparse.Namespace) -> None:
    """The person's video, and what they want it to say.

    Raises:
        UserError: a file is missing, or the results' folder cannot be used.
    """
    for path in (options.video, options.audio):
        if path is not None and not path.is_file():
            raise UserError(
                "missing_file", f"There is no file at {path}.", "Check the path, and quote it if it has spaces."
            )
    name = options.name or options.video.stem
    if name != Path(name).name or name in (".", ".."):
        raise UserError("bad_name", f"{name} cannot be a file's name.", "Choose another --name.")
    job = PipelineRun(make_output_folder(options.out or Path(f"{name}_portrait_actor")), name, options)
    for path in (options.video, options.audio):
        if path is not None and path.resolve() in (job.film.resolve(), job.performance.resolve()):
            raise UserError("would_overwrite", f"{path} would be overwritten.", "Choose another folder with --out.")
    face = ("--face", str(options.face)) if options.face is not None else ()
    audio = options.audio.absolute() if options.audio else None
    run_pipeline(job, options.video.absolute(), audio, "--consent-who", options.consent_who, *face)


def make_output_folder(out: Path) -> Path:
    """The results' folder, made if need be, with space in it; absolute.

    Raises:
        UserError: it cannot be written, or the disk is too full.
    """
    out = out.expanduser().absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UserError(
            "read_only",
            f"The results cannot be written to {out} ({error.strerror}).",
            "Choose another folder with --out.",
        ) from error
    free = shutil.disk_usage(out).free
    if free < MIN_FREE_BYTES:
        raise UserError(
            "disk_full",
            f"Only {free / 1e9:.1f} GB are free at {out}, and {MIN_FREE_BYTES / 1e9:.0f} GB are needed.",
            "Free some space, or choose another folder with --out.",
        )
    return out


def run_pipeline(job: PipelineRun, video: Path, audio: Path | None, *create_options: str) -> None:
    """From the video to everything that the person gets; `wishes` are options of the backend's `create`."""
    device = ("--device", job.options.device)
    preset = ("--preset", job.options.preset)
    named = ("--name", job.name, *preset, *device, *create_options)
    job.run_backend_stage("create", f"Creating {job.actor.name}", "create", video, job.actor, *named)
    speech = audio or (video if (job.actor / "speech.safetensors").exists() else None)
    if speech is None:
        write_line("\nThe video has no voice and no --audio was given: the film shows the footage's own performance.")
        performance, heard = job.actor / "footage.npz", job.actor / "audio.wav"
    else:
        performance, heard = job.performance, speech
        job.run_backend_stage("speak", f"Speaking {speech.name}", "speak", job.actor, speech, performance)
    sound = ("--sound", heard) if heard.exists() else ()
    rendered = ("--out", job.output_folder, "--name", job.name, "--format", "mp4", "--plate", *sound, *device)
    job.run_backend_stage("render", f"Rendering {job.film.name}", "render", job.actor, performance, *rendered)
    job.run_backend_stage(
        "evaluate", "Measuring the actor on held-out frames", "evaluate", job.actor, "--json", job.figures, *device
    )
    make_scene(job, speech)
    figures = json.loads(job.figures.read_text(encoding="utf-8"))
    job.figures.write_text(json.dumps({**figures, "seconds": job.seconds}, indent=1) + "\n", encoding="utf-8")
    report_results(job)


def make_scene(job: PipelineRun, speech: Path | None) -> None:
    """The .blend: the zip installed in a Blender with a user folder of its own, the actor imported, the line spoken."""
    archive = package.build_archive()
    script = ROOT / "tools" / "make_scene.py"
    arguments: list[str | Path] = ["--", archive, job.actor, job.scene, *([speech] if speech else [])]
    blender = job.options.blender
    with tempfile.TemporaryDirectory(prefix="portrait_actor_") as user_folder:
        command: list[str | Path] = (
            [blender, "--background", "--python-exit-code", "1", "--python", script, *arguments]
            if blender
            else [environments.ensure_bpy_python("5.0"), script, *arguments]
        )
        places: dict[str, str | Path] = {"BLENDER_USER_RESOURCES": user_folder, "PORTRAIT_ACTOR_PYTHON": job.python}
        job.run_timed_stage("scene", f"Making {job.scene.name}", command, **places)


def report_results(job: PipelineRun) -> None:
    """Says where everything is."""
    write_line(f"\nDone in {sum(job.seconds.values()):.0f} s.")
    for what, path in (
        ("the actor", job.actor),
        ("the film", job.film),
        ("the scene", job.scene),
        ("figures", job.figures),
    ):
        write_line(f"  {what:9} {path}")
