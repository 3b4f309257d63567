"""Makes the sample clip: film, sound and truth; and a line for the actor to speak."""

from __future__ import annotations

import tempfile
import wave
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


@dataclass(frozen=True)
class SampleOptions:
    """What clip to make.

    Attributes:
        seconds: length. size: side of the square frame in pixels, at least 64. fps: frames per second.
        seed: another seed says, looks and moves differently; the same seed gives the same clip.
        noise: deviation of the camera's noise, 0–1 of the display range.
        strands: loose hairs at the outline, for difficult mattes.
        motion: "talk", "still_head", "range" or "parts", as in `motion.perform`.
        mattes: write the mattes to the truth. depth: write the depth too.
        samples: subsamples per pixel and axis.
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

    def check(self) -> None:
        """Raises UserError when no clip can be made like this."""
        sound = self.seconds * self.fps >= 1 and 64 <= self.size <= 4096 and 1 <= self.fps <= 240
        if not sound or self.motion not in motion.MOTIONS or not 1 <= self.subsamples <= 4:
            raise UserError(
                "bad_sample",
                "A sample clip cannot be made with these options.",
                f"Choose 64 to 4096 pixels, 1 to 240 frames per second and one of {', '.join(motion.MOTIONS)}.",
            )


def ground_truth_path(path: Path) -> Path:
    """Where the truth of the clip at `path` lies."""
    return path.with_name(f"{path.stem}.truth.npz")


def make_sample(path: Path, options: SampleOptions = SampleOptions(), reporter: Reporter | None = None) -> None:
    """Writes the clip `path` (.mp4, with sound) and `<stem>.truth.npz` beside it.

    Raises:
        UserError: the options make no sense, or the files cannot be written.
    """
    options.check()
    reporter = reporter or Reporter()
    count = round(options.seconds * options.fps)
    said = _build_script(phones.FOOTAGE_LINES, options.seed, count / options.fps)
    performance = motion.create_performance(options.motion, count, options.fps, said, options.seed)
    studio = SampleRenderer(
        PinholeCamera.head_and_shoulders(options.size), options.seed, options.has_loose_hairs, options.subsamples
    )
    grain = np.random.default_rng((options.seed, 4))
    landmarks, openings, depths = [], [], []
    with tempfile.TemporaryDirectory() as folder, open_writer(ground_truth_path(path)) as record:
        sound = Path(folder) / "voice.wav"
        write_wav(sound, voice.synthesize_speech(said, options.seed, count / options.fps))
        if options.mattes:
            record.begin_mattes((count, 4, options.size, options.size))
        with VideoWriter(path, options.size, options.size, options.fps, sound, {"title": "Sample actor"}) as film:
            for frame in reporter.report_items(range(count), "sample", count):
                shot = studio.render(performance, frame)
                film.write_frame(_add_noise(shot.image, options.noise, grain))
                record.write_mattes(shot.mattes)
                landmarks.append(shot.landmarks)
                openings.append(shot.mouth_opening)
                if options.depth:
                    depths.append(shot.depth.astype(np.float16))
        truth = GroundTruth(
            performance=performance, view=studio.camera.view, intrinsics=studio.camera.intrinsics,
            landmarks=np.stack(landmarks).astype(np.float32), mouth_opening=np.array(openings, np.float32),
            phones=tuple(p.name for p in said), phone_times=np.array([(p.start, p.end) for p in said]),
            depth=np.stack(depths) if depths else None,
        )  # fmt: skip
        record.write_tables(truth)


def make_speech_line(path: Path, seed: int = 0) -> str:
    """Writes a line to speak, not one of the footage's, as `path` (.wav, mono). Returns its words.

    Raises:
        UserError: the file cannot be written.
    """
    words, text = phones.SPEECH_LINES[seed % len(phones.SPEECH_LINES)]
    said = phones.schedule_phones(
        [text], np.random.default_rng((seed, 7)), lead_seconds=0.35, pause_seconds=0.5, min_seconds=0
    )
    try:
        write_wav(path, voice.synthesize_speech(said, seed))
    except OSError as error:
        raise error_from_failed_write(path, error) from error
    return words


def write_wav(path: Path, samples: F32) -> None:
    """Writes mono sound in −1…1 at `voice.RATE` as 16-bit wav."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(voice.SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def _build_script(lines: tuple[tuple[str, str], ...], seed: int, seconds: float) -> list[phones.TimedPhone]:
    """The footage's timeline: the first line always comes first, the others in an order of the seed."""
    rng = np.random.default_rng((seed, 6))
    order = [0, *(1 + rng.permutation(len(lines) - 1))]
    return phones.schedule_phones(
        [lines[i][1] for i in order], rng, lead_seconds=0.6, pause_seconds=0.45, min_seconds=seconds
    )


def _add_noise(image: U8, noise: float, rng: np.random.Generator) -> U8:
    """The picture with the camera's noise."""
    if noise <= 0:
        return image
    noisy = image + rng.standard_normal(image.shape) * (255 * noise)
    return np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
