"""Writes the sample clip (film, sound and ground truth) and a line for the actor to speak."""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contract.arrays import F32, U8
from ..contract.atomic_write import error_from_failed_write
from ..contract.errors import UserError
from ..contract.progress import Reporter
from ..media.encode import VideoWriter
from . import motion, phones, voice
from .ground_truth import GroundTruth, open_writer
from .render import PinholeCamera, SampleRenderer

MIN_SIZE, MAX_SIZE = 64, 4096  # pixels of the frame's side
MIN_FPS, MAX_FPS = 1, 240
MAX_SUBSAMPLES = 4  # per pixel and axis; more take long and show no difference

FOOTAGE_LEAD_SECONDS = 0.6  # silence before the first line of the footage: it begins at rest
FOOTAGE_PAUSE_SECONDS = 0.45  # between its lines
SPEECH_LEAD_SECONDS = 0.35  # the same of a line to speak
SPEECH_PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class SampleOptions:
    """Options of the sample clip.

    Attributes:
        seconds: length; at least one frame.
        size: side of the square frame in pixels, 64 to 4096.
        fps: frames per second, 1 to 240.
        seed: another seed says, looks and moves differently; the same seed gives the same clip.
        noise: deviation of the camera's noise, 0–1 of the display range.
        has_loose_hairs: whether single hairs stand off the outline, for difficult mattes.
        motion: "talk", "still_head", "range" or "parts", as in `motion.create_performance`.
        mattes: whether the mattes are written to the ground truth.
        depth: whether the depth is written to the ground truth.
        subsamples: subsamples per pixel and axis, 1 to 4.
    """

    seconds: float = 12.0
    size: int = 512
    fps: float = 25.0
    seed: int = 0
    noise: float = 0.0
    has_loose_hairs: bool = False
    motion: str = "talk"
    mattes: bool = True
    depth: bool = False
    subsamples: int = 2

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return round(self.seconds * self.fps)

    def check(self) -> None:
        """Check the ranges.

        Raises:
            UserError: an option is out of its range.
        """
        problem = next((problem for is_good, problem in self._conditions() if not is_good), None)
        if problem is not None:
            raise UserError("bad_sample", *problem)

    def _conditions(self) -> Iterator[tuple[bool, tuple[str, str]]]:
        """Yield what must hold, and the message and remedy where it does not."""
        yield (
            MIN_FPS <= self.fps <= MAX_FPS,
            (f"A sample clip cannot have {self.fps:g} frames per second.", f"Choose {MIN_FPS} to {MAX_FPS}."),
        )
        yield (
            self.seconds * self.fps >= 1,
            (f"A sample clip of {self.seconds:g} s has no frame.", "Choose a longer time."),
        )
        yield (
            MIN_SIZE <= self.size <= MAX_SIZE,
            (f"A sample clip cannot be {self.size} pixels wide.", f"Choose {MIN_SIZE} to {MAX_SIZE} pixels."),
        )
        yield (
            self.motion in motion.MOTIONS,
            (f"The sample actor has no motion {self.motion}.", f"Choose one of {', '.join(motion.MOTIONS)}."),
        )
        yield (
            1 <= self.subsamples <= MAX_SUBSAMPLES,
            (f"A pixel cannot have {self.subsamples} subsamples per axis.", f"Choose 1 to {MAX_SUBSAMPLES}."),
        )


def ground_truth_path(path: Path) -> Path:
    """Return where the ground truth of the clip at `path` lies: `<stem>.truth.npz` beside it."""
    return path.with_name(f"{path.stem}.truth.npz")


def make_sample(path: Path, options: SampleOptions = SampleOptions(), reporter: Reporter | None = None) -> None:
    """Write the clip `path` (.mp4, with sound) and its ground truth beside it.

    Raises:
        UserError: an option is out of its range, or the files cannot be written.
    """
    options.check()
    reporter = reporter or Reporter()
    timeline = _schedule_footage(options.seed, options.frame_count / options.fps)
    performance = motion.create_performance(options.motion, options.frame_count, options.fps, timeline, options.seed)
    renderer = SampleRenderer(
        PinholeCamera.head_and_shoulders(options.size), options.seed, options.has_loose_hairs, options.subsamples
    )
    noise_rng = np.random.default_rng((options.seed, 4))
    landmarks, openings, depths = [], [], []
    with tempfile.TemporaryDirectory() as folder, open_writer(ground_truth_path(path)) as writer:
        audio = Path(folder) / "voice.wav"
        write_wav(audio, voice.synthesize_speech(timeline, options.seed, options.frame_count / options.fps))
        if options.mattes:
            writer.begin_mattes((options.frame_count, 4, options.size, options.size))
        with VideoWriter(path, options.size, options.size, options.fps, audio, {"title": "Sample actor"}) as video:
            for index in reporter.report_items(range(options.frame_count), "sample", options.frame_count):
                frame = renderer.render(performance, index)
                video.write_frame(_add_noise(frame.image, options.noise, noise_rng))
                writer.write_mattes(frame.mattes)
                landmarks.append(frame.landmarks)
                openings.append(frame.mouth_opening)
                if options.depth:
                    depths.append(frame.depth.astype(np.float16))
        truth = GroundTruth(
            performance=performance, view=renderer.camera.view, intrinsics=renderer.camera.intrinsics,
            landmarks=np.stack(landmarks).astype(np.float32), mouth_opening=np.array(openings, np.float32),
            phones=tuple(p.name for p in timeline), phone_times=np.array([(p.start, p.end) for p in timeline]),
            depth=np.stack(depths) if depths else None,
        )  # fmt: skip
        writer.write_tables(truth)


def make_speech_line(path: Path, seed: int = 0) -> str:
    """Write a line to speak, not one of the footage's, as `path` (.wav, mono) and return its words.

    Raises:
        UserError: the file cannot be written.
    """
    words, text = phones.SPEECH_LINES[seed % len(phones.SPEECH_LINES)]
    timeline = phones.schedule_phones(
        [text],
        np.random.default_rng((seed, 7)),
        lead_seconds=SPEECH_LEAD_SECONDS,
        pause_seconds=SPEECH_PAUSE_SECONDS,
        min_seconds=0,
    )
    try:
        write_wav(path, voice.synthesize_speech(timeline, seed))
    except OSError as error:
        raise error_from_failed_write(path, error) from error
    return words


def write_wav(path: Path, samples: F32) -> None:
    """Write mono samples in −1…1 at `voice.SAMPLE_RATE` as 16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(voice.SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def _schedule_footage(seed: int, seconds: float) -> list[phones.TimedPhone]:
    """Return the footage's timeline: the first line comes first, the others in an order of the seed."""
    rng = np.random.default_rng((seed, 6))
    order = [0, *(1 + rng.permutation(len(phones.FOOTAGE_LINES) - 1))]
    return phones.schedule_phones(
        [phones.FOOTAGE_LINES[i][1] for i in order],
        rng,
        lead_seconds=FOOTAGE_LEAD_SECONDS,
        pause_seconds=FOOTAGE_PAUSE_SECONDS,
        min_seconds=seconds,
    )


def _add_noise(image: U8, noise: float, rng: np.random.Generator) -> U8:
    """Return the image with the camera's noise."""
    if noise <= 0:
        return image
    noisy = image + rng.standard_normal(image.shape) * (255 * noise)
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
