"""How well and how fast an actor learns to speak: on the sample's voice, and on real clips where they are at hand.

Real clips lie in the folder that PORTRAIT_ACTOR_CLIPS names (by default `../shared/data` beside the project), in
`train/` to learn from and in `audio/` to speak. `*_r` are correlations on held-out frames: of the performance as it is
spoken, of the regression before rest and closures are enforced, and of ridge regression on the log-mel spectrum.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.channels import CHANNELS, INDEX, ORAL
from backend.contract.errors import UserError
from backend.contract.progress import Reporter
from backend.dataset.crops import crop_box, write_crops
from backend.media.audio_io import RATE, load_sound, save_wav
from backend.pipeline.prepare import track_stretch
from backend.pipeline.scan import scan_footage, write_sound
from backend.speech.features import SpeechTrack, analyse
from backend.speech.model import Speaker, speak, train_speech
from backend.speech.mouth import NEAR, closures, pauses
from backend.synthetic import motion, voice
from backend.synthetic.phones import FOOTAGE, LINES, PHONES, speak_lines
from backend.tracking.detection import topology as topo

CLIPS = Path(os.environ.get("PORTRAIT_ACTOR_CLIPS", Path(__file__).resolve().parents[2] / "shared" / "data"))
FPS, SECONDS, SIZE = 25.0, 24.0, 256
SURE = 0.3  # probability of p, b or m; sounds are shared out among 42 phones
TOGETHER = 0.1  # of the opening's range, under which lips count as met
Floats = np.ndarray[Any, Any]


def run() -> dict[str, float]:
    """Figures under `features.*`, `sample.*`, `CLIP.*` and `voices.*`."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        figures = features() | sample(place)
        best: ActorFolder | None = None
        for clip in sorted((CLIPS / "train").glob("*.mp4")):
            try:
                folder = tracked(clip, place / f"{clip.stem}.actor")
            except UserError:
                continue  # a clip that cannot be tracked is the tracking benchmark's to tell
            figures |= {f"{clip.stem}.{k}": v for k, v in learned(folder).items()}
            best = best or folder
        return figures | (voices(best) if best else {})


def features() -> dict[str, float]:
    """How many times faster than real time the features are."""
    rng = np.random.default_rng(0)
    samples = voice.synthesise(speak_lines([t for _, t in FOOTAGE], rng, lead=0.5, pause=0.5, until=20), 0, 20)
    analyse(samples[: 2 * voice.RATE], voice.RATE)  # compiles
    began = time.process_time()
    track = analyse(samples, voice.RATE)
    track.windows(np.arange(500) / FPS)
    return {"features.cpu_seconds_per_second": (time.process_time() - began) / 20}


def sample(place: Path) -> dict[str, float]:
    """An actor whose mouth follows known phones exactly, and a line whose phones are known."""
    rng = np.random.default_rng(0)
    said = speak_lines([text for _, text in FOOTAGE], rng, lead=0.6, pause=0.6, until=SECONDS)
    folder = ActorFolder.create(place / "sample.actor", ActorInfo("Sample", fps=FPS, has_audio=True, complete=True))
    motion.perform("talk", round(SECONDS * FPS), FPS, said, 0).save(folder.file("footage.npz"))
    save_wav(folder.file("audio.wav"), resample_poly(voice.synthesise(said, 0, SECONDS), 2, 3).astype(np.float32))
    _write_lips(folder)
    figures = {f"sample.{k}": v for k, v in learned(folder).items()}
    line = speak_lines([text for _, text in LINES], np.random.default_rng(5), lead=1.0, pause=1.2, until=0)
    save_wav(place / "line.wav", resample_poly(voice.synthesise(line, 5), 2, 3).astype(np.float32))
    spoken = speak(folder, place / "line.wav")
    times, apart = np.arange(len(spoken)) / FPS, _openness(folder, spoken.channels)
    truth = motion.lip_channels(line, times)[:, INDEX["jawOpen"]]
    shut = [(p.start, p.end) for p in line if PHONES[p.name].closure == "lips"]
    figures["sample.line.jawOpen_r"] = float(np.corrcoef(spoken.channels[:, INDEX["jawOpen"]], truth)[0, 1])
    figures["sample.line.closures_met_percent"] = _met_percent(apart, times, shut)
    return figures


def _write_lips(folder: ActorFolder) -> None:
    """A face mesh of which only the lips are shaped."""
    shapes = np.zeros((len(CHANNELS), topo.COUNT, 3), np.float32)
    lower = topo.indices(*topo.LIP_INNER_LOWER)
    shapes[INDEX["jawOpen"], lower, 1], shapes[INDEX["mouthClose"], lower, 1] = -0.025, 0.025
    still = np.zeros((topo.COUNT, 3), np.float32)
    folder.write_arrays(
        "proxy.npz", vertices=still, faces=np.array([[0, 1, 2]], np.int32), shapes=shapes,
        colors=still, head_weight=still[:, 0],
    )  # fmt: skip


def tracked(clip: Path, path: Path) -> ActorFolder:
    """An actor folder with tracking and sound, without a portrait.

    Raises:
        UserError: the clip cannot be used.
    """
    reporter = Reporter()
    info, found, chosen = scan_footage(clip, None, reporter)
    folder = ActorFolder.create(path, ActorInfo(clip.stem, fps=info.fps, size=SIZE, complete=True))
    folder.info.frame_count = chosen.last - chosen.first + 1
    write_sound(clip, folder, chosen, info, reporter)
    box = crop_box(chosen.landmarks, found.size)
    size = min(SIZE, int(box[2]) // 16 * 16)
    write_crops(clip, folder, chosen, box, size, reporter)
    track_stretch(folder, chosen, box, size, found.size, reporter)
    return folder


def learned(folder: ActorFolder) -> dict[str, float]:
    """Trains and measures one actor."""
    figures: dict[str, Any] = train_speech(folder, Reporter(), 0)
    flat = {f"{kind}.{k}": v for kind in ("held_out", "unshaped", "ridge") for k, v in figures.get(kind, {}).items()}
    flat |= {k: figures[k] for k in ("pause_opening", "closure_opening") if k in figures}
    flat["train_seconds"] = figures.get("seconds", 0.0)
    spoken = speak(folder, folder.file("audio.wav"))
    own, ours = (_openness(folder, p.channels) for p in (folder.footage(), spoken))
    flat["jitter_ratio"] = float(np.abs(np.diff(ours, 2)).mean() / max(np.abs(np.diff(own, 2)).mean(), 1e-9))
    flat["liveliness_ratio"] = float(ours.std() / max(own.std(), 1e-9))
    track, times = analyse(load_sound(folder.file("audio.wav"))), np.arange(len(ours)) / spoken.fps
    shut = _heard_closures(track)
    if shut:
        flat["closures_met_percent"] = _met_percent(ours, times, shut)
        flat["closures_met_percent.footage"] = _met_percent(own[: len(times)], times[: len(own)], shut)
    return flat


def voices(folder: ActorFolder) -> dict[str, float]:
    """Every driving voice at hand, spoken by one actor: liveliness of the lips, and their opening in pauses."""
    figures = {}
    for path in sorted((CLIPS / "audio").glob("*.wav")):
        began = time.perf_counter()
        spoken = speak(folder, path)
        seconds = time.perf_counter() - began
        samples = load_sound(path)
        apart = _openness(folder, spoken.channels)
        track, times = analyse(samples), np.arange(len(spoken)) / spoken.fps
        paused, shut = pauses(track, times) > 0.95, _heard_closures(track)
        figures[f"voices.{path.stem}.openness_deviation"] = float(apart[~paused].std())
        if paused.any():
            figures[f"voices.{path.stem}.pause_opening"] = float(apart[paused].mean())
        if shut:
            figures[f"voices.{path.stem}.closures_met_percent"] = _met_percent(apart, times, shut)
        figures[f"voices.{path.stem}.seconds_per_second"] = seconds / (len(samples) / RATE)
    return figures


def _heard_closures(track: SpeechTrack) -> list[tuple[float, float]]:
    """Start and end in seconds of what the recogniser takes for p, b or m."""
    return [(start, end) for start, end, probability in closures(track) if probability > SURE]


def _met_percent(apart: Floats, times: Floats, shut: list[tuple[float, float]]) -> float:
    """In how many of these spans, and just around them, the lips (T,) come together."""
    near = [apart[(times > start - NEAR) & (times < end + NEAR)] for start, end in shut]
    return 100 * float(np.mean([span.min() < TOGETHER for span in near if len(span)]))


def _openness(folder: ActorFolder, channels: Floats) -> Floats:
    """(T,) how far the lips are apart as a share of the footage's range."""
    return Speaker.load(folder).mouth.openness(channels[:, : len(ORAL)])
