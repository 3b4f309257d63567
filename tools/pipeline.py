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
from .processes import ROOT, environment, say, step

NEEDED_BYTES = 2 << 30  # an actor's folder with its crops, checkpoints and film, for some minutes of footage
DEMO_FOLDER = "portrait_actor_demo"


class Job:
    """One video on its way: where things are, which Python works, and how long each stage took."""

    def __init__(self, out: Path, name: str, options: argparse.Namespace) -> None:
        self.out, self.name, self.options = out, name, options
        self.actor = out / f"{name}.actor"
        self.performance = out / f"{name}.npz"
        self.film = out / f"{name}.mp4"
        self.scene = out / f"{name}.blend"
        self.figures = out / "figures.json"
        self.seconds: dict[str, float] = {}
        self.python = environments.backend()

    def stage(self, stage: str, what: str, *arguments: str | Path) -> None:
        """Runs one command of the backend as `stage`, told to the person as `what`.

        Raises:
            StepFailed, UserError, KeyboardInterrupt: see `step`.
        """
        self.timed(stage, what, [self.python, "-m", "backend", *arguments])

    def timed(self, stage: str, what: str, command: list[str | Path], **changes: str | Path) -> None:
        """Runs any command as `stage`, with `changes` to its environment."""
        say(f"\n== {what} ==")
        start = time.monotonic()
        step(command, env=environment(**changes))
        self.seconds[stage] = round(time.monotonic() - start, 1)


def demo(options: argparse.Namespace) -> None:
    """The sample actor, from a clip that the backend makes to a speaking head in a scene."""
    job = Job(prepared(options.out or Path(DEMO_FOLDER)), "sample", options)
    clip, line = job.out / "sample_footage.mp4", job.out / "sample_line.wav"
    job.stage("sample", "Making the sample footage", "sample", clip)
    job.stage("line", "Making the line that the sample actor shall say", "sample", line)
    finish(job, clip, line, "--consent-who", "nobody: the head is drawn by code")


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
    job = Job(prepared(options.out or Path(f"{name}_portrait_actor")), name, options)
    for path in (options.video, options.audio):
        if path is not None and path.resolve() in (job.film.resolve(), job.performance.resolve()):
            raise UserError("would_overwrite", f"{path} would be overwritten.", "Choose another folder with --out.")
    face = ("--face", str(options.face)) if options.face is not None else ()
    audio = options.audio.absolute() if options.audio else None
    finish(job, options.video.absolute(), audio, "--consent-who", options.consent_who, *face)


def prepared(out: Path) -> Path:
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
    if free < NEEDED_BYTES:
        raise UserError(
            "disk_full",
            f"Only {free / 1e9:.1f} GB are free at {out}, and {NEEDED_BYTES / 1e9:.0f} GB are needed.",
            "Free some space, or choose another folder with --out.",
        )
    return out


def finish(job: Job, video: Path, audio: Path | None, *wishes: str) -> None:
    """From the video to everything that the person gets; `wishes` are options of the backend's `create`."""
    device = ("--device", job.options.device)
    preset = ("--preset", job.options.preset)
    named = ("--name", job.name, *preset, *device, *wishes)
    job.stage("create", f"Creating {job.actor.name}", "create", video, job.actor, *named)
    speech = audio or (video if (job.actor / "speech.safetensors").exists() else None)
    if speech is None:
        say("\nThe video has no voice and no --audio was given: the film shows the footage's own performance.")
        performance, heard = job.actor / "footage.npz", job.actor / "audio.wav"
    else:
        performance, heard = job.performance, speech
        job.stage("speak", f"Speaking {speech.name}", "speak", job.actor, speech, performance)
    sound = ("--sound", heard) if heard.exists() else ()
    rendered = ("--out", job.out, "--name", job.name, "--format", "mp4", "--plate", *sound, *device)
    job.stage("render", f"Rendering {job.film.name}", "render", job.actor, performance, *rendered)
    job.stage(
        "evaluate", "Measuring the actor on held-out frames", "evaluate", job.actor, "--json", job.figures, *device
    )
    make_scene(job, speech)
    figures = json.loads(job.figures.read_text(encoding="utf-8"))
    job.figures.write_text(json.dumps({**figures, "seconds": job.seconds}, indent=1) + "\n", encoding="utf-8")
    tell(job)


def make_scene(job: Job, speech: Path | None) -> None:
    """The .blend: the zip installed in a Blender with a user folder of its own, the actor imported, the line spoken."""
    archive = package.build()
    script = ROOT / "tools" / "make_scene.py"
    arguments: list[str | Path] = ["--", archive, job.actor, job.scene, *([speech] if speech else [])]
    blender = job.options.blender
    with tempfile.TemporaryDirectory(prefix="portrait_actor_") as user_folder:
        command: list[str | Path] = (
            [blender, "--background", "--python-exit-code", "1", "--python", script, *arguments]
            if blender
            else [environments.bpy("5.0"), script, *arguments]
        )
        places: dict[str, str | Path] = {"BLENDER_USER_RESOURCES": user_folder, "PORTRAIT_ACTOR_PYTHON": job.python}
        job.timed("scene", f"Making {job.scene.name}", command, **places)


def tell(job: Job) -> None:
    """Says where everything is."""
    say(f"\nDone in {sum(job.seconds.values()):.0f} s.")
    for what, path in (
        ("the actor", job.actor),
        ("the film", job.film),
        ("the scene", job.scene),
        ("figures", job.figures),
    ):
        say(f"  {what:9} {path}")
