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
from backend.contract.channels import CHANNEL_INDEX, CHANNELS, ORAL_CHANNELS
from backend.contract.errors import UserError
from backend.contract.progress import Reporter
from backend.dataset.crops import CropBox, write_crops
from backend.media.audio_io import SAMPLE_RATE, load_audio, save_wav
from backend.pipeline.prepare import track_segment
from backend.pipeline.scan import scan_footage, write_audio
from backend.speech.closures import CLOSURE_SEARCH_SECONDS, find_closures, pause_weights
from backend.speech.features import SpeechFeatures, analyze_speech
from backend.speech.model import SpeechModel
from backend.speech.synthesis import speak
from backend.speech.training import train_speech
from backend.synthetic import lip_sync, motion, voice
from backend.synthetic.phones import FOOTAGE_LINES, PHONES, SPEECH_LINES, schedule_phones
from backend.tracking.detection import topology as topo

CLIPS_FOLDER = Path(os.environ.get("PORTRAIT_ACTOR_CLIPS", Path(__file__).resolve().parents[2] / "shared" / "data"))
FPS, SECONDS, SIZE = 25.0, 24.0, 256
MIN_PHONE_PROBABILITY = 0.3  # probability of p, b or m; sounds are shared out among 42 phones
MAX_CLOSED_OPENNESS = 0.1  # of the opening's range, under which lips count as met
Floats = np.ndarray[Any, Any]


def run() -> dict[str, float]:
    """Figures under `features.*`, `sample.*`, `CLIP.*` and `voices.*`."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        figures = feature_figures() | sample_figures(place)
        best: ActorFolder | None = None
        for clip in sorted((CLIPS_FOLDER / "train").glob("*.mp4")):
            try:
                folder = write_tracked_actor(clip, place / f"{clip.stem}.actor")
            except UserError:
                continue  # a clip that cannot be tracked is the tracking benchmark's to tell
            figures |= {f"{clip.stem}.{k}": v for k, v in training_figures(folder).items()}
            best = best or folder
        return figures | (voice_figures(best) if best else {})


def feature_figures() -> dict[str, float]:
    """How many times faster than real time the features are."""
    rng = np.random.default_rng(0)
    samples = voice.synthesize_speech(
        schedule_phones([t for _, t in FOOTAGE_LINES], rng, lead_seconds=0.5, pause_seconds=0.5, min_seconds=20), 0, 20
    )
    analyze_speech(samples[: 2 * voice.SAMPLE_RATE], voice.SAMPLE_RATE)  # compiles
    began = time.process_time()
    track = analyze_speech(samples, voice.SAMPLE_RATE)
    track.context_windows(np.arange(500) / FPS)
    return {"features.cpu_seconds_per_second": (time.process_time() - began) / 20}


def sample_figures(parent: Path) -> dict[str, float]:
    """An actor whose mouth follows known phones exactly, and a line whose phones are known."""
    rng = np.random.default_rng(0)
    said = schedule_phones(
        [text for _, text in FOOTAGE_LINES], rng, lead_seconds=0.6, pause_seconds=0.6, min_seconds=SECONDS
    )
    folder = ActorFolder.create(parent / "sample.actor", ActorInfo("Sample", fps=FPS, has_audio=True, complete=True))
    motion.create_performance("talk", round(SECONDS * FPS), FPS, said, 0).save(folder.file_path("footage.npz"))
    save_wav(
        folder.file_path("audio.wav"), resample_poly(voice.synthesize_speech(said, 0, SECONDS), 2, 3).astype(np.float32)
    )
    _write_lip_proxy(folder)
    figures = {f"sample.{k}": v for k, v in training_figures(folder).items()}
    line = schedule_phones(
        [text for _, text in SPEECH_LINES], np.random.default_rng(5), lead_seconds=1.0, pause_seconds=1.2, min_seconds=0
    )
    save_wav(parent / "line.wav", resample_poly(voice.synthesize_speech(line, 5), 2, 3).astype(np.float32))
    spoken = speak(folder, parent / "line.wav")
    times, apart = np.arange(len(spoken)) / FPS, _lip_openness(folder, spoken.channels)
    truth = lip_sync.lip_channels(line, times)[:, CHANNEL_INDEX["jawOpen"]]
    shut = [(p.start, p.end) for p in line if PHONES[p.name].closure == "lips"]
    figures["sample.line.jawOpen_r"] = float(np.corrcoef(spoken.channels[:, CHANNEL_INDEX["jawOpen"]], truth)[0, 1])
    figures["sample.line.closures_met_percent"] = _closed_percent(apart, times, shut)
    return figures


def _write_lip_proxy(folder: ActorFolder) -> None:
    """A face mesh of which only the lips are shaped."""
    shapes = np.zeros((len(CHANNELS), topo.LANDMARK_COUNT, 3), np.float32)
    lower = topo.index_array(*topo.LIP_INNER_LOWER)
    shapes[CHANNEL_INDEX["jawOpen"], lower, 1], shapes[CHANNEL_INDEX["mouthClose"], lower, 1] = -0.025, 0.025
    still = np.zeros((topo.LANDMARK_COUNT, 3), np.float32)
    folder.save_arrays(
        "proxy.npz", vertices=still, faces=np.array([[0, 1, 2]], np.int32), shapes=shapes,
        colors=still, head_weight=still[:, 0],
    )  # fmt: skip


def write_tracked_actor(clip: Path, path: Path) -> ActorFolder:
    """An actor folder with tracking and sound, without a portrait.

    Raises:
        UserError: the clip cannot be used.
    """
    reporter = Reporter()
    info, found, chosen = scan_footage(clip, None, reporter)
    folder = ActorFolder.create(path, ActorInfo(clip.stem, fps=info.fps, size=SIZE, complete=True))
    folder.info.frame_count = chosen.last - chosen.first + 1
    write_audio(clip, folder, chosen, info, reporter)
    box = CropBox.from_landmarks(chosen.landmarks, found.frame_size, SIZE)
    write_crops(clip, folder, chosen, box, reporter)
    track_segment(folder, chosen, box, reporter)
    return folder


def training_figures(folder: ActorFolder) -> dict[str, float]:
    """Trains and measures one actor."""
    figures: dict[str, Any] = train_speech(folder, Reporter(), 0)
    flat = {f"{kind}.{k}": v for kind in ("held_out", "unshaped", "ridge") for k, v in figures.get(kind, {}).items()}
    flat |= {k: figures[k] for k in ("pause_opening", "closure_opening") if k in figures}
    flat["train_seconds"] = figures.get("seconds", 0.0)
    spoken = speak(folder, folder.file_path("audio.wav"))
    own, ours = (_lip_openness(folder, p.channels) for p in (folder.load_footage_performance(), spoken))
    flat["jitter_ratio"] = float(np.abs(np.diff(ours, 2)).mean() / max(np.abs(np.diff(own, 2)).mean(), 1e-9))
    flat["liveliness_ratio"] = float(ours.std() / max(own.std(), 1e-9))
    track, times = analyze_speech(load_audio(folder.file_path("audio.wav"))), np.arange(len(ours)) / spoken.fps
    shut = _detect_closures(track)
    if shut:
        flat["closures_met_percent"] = _closed_percent(ours, times, shut)
        flat["closures_met_percent.footage"] = _closed_percent(own[: len(times)], times[: len(own)], shut)
    return flat


def voice_figures(folder: ActorFolder) -> dict[str, float]:
    """Every driving voice at hand, spoken by one actor: liveliness of the lips, and their opening in pauses."""
    figures = {}
    for path in sorted((CLIPS_FOLDER / "audio").glob("*.wav")):
        began = time.perf_counter()
        spoken = speak(folder, path)
        seconds = time.perf_counter() - began
        samples = load_audio(path)
        apart = _lip_openness(folder, spoken.channels)
        track, times = analyze_speech(samples), np.arange(len(spoken)) / spoken.fps
        paused, shut = pause_weights(track, times) > 0.95, _detect_closures(track)
        figures[f"voices.{path.stem}.openness_deviation"] = float(apart[~paused].std())
        if paused.any():
            figures[f"voices.{path.stem}.pause_opening"] = float(apart[paused].mean())
        if shut:
            figures[f"voices.{path.stem}.closures_met_percent"] = _closed_percent(apart, times, shut)
        figures[f"voices.{path.stem}.seconds_per_second"] = seconds / (len(samples) / SAMPLE_RATE)
    return figures


def _detect_closures(track: SpeechFeatures) -> list[tuple[float, float]]:
    """Start and end in seconds of what the recogniser takes for p, b or m."""
    return [(start, end) for start, end, probability in find_closures(track) if probability > MIN_PHONE_PROBABILITY]


def _closed_percent(openness: Floats, times: Floats, closure_times: list[tuple[float, float]]) -> float:
    """In how many of these spans, and just around them, the lips (T,) come together."""
    near = [
        openness[(times > start - CLOSURE_SEARCH_SECONDS) & (times < end + CLOSURE_SEARCH_SECONDS)]
        for start, end in closure_times
    ]
    return 100 * float(np.mean([span.min() < MAX_CLOSED_OPENNESS for span in near if len(span)]))


def _lip_openness(folder: ActorFolder, channels: Floats) -> Floats:
    """(T,) how far the lips are apart as a share of the footage's range."""
    return SpeechModel.load(folder).mouth_profile.openness(channels[:, : len(ORAL_CHANNELS)])
