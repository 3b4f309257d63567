"""What is heard in the footage: offset between sound and picture, and how right and how fast the speech features are.

The offset is measured on every clip of the folder that PORTRAIT_ACTOR_CLIPS names (by default `../shared/data` beside
the project) that can be used and has a voice, and on the sample actor, whose offset is zero. Each is measured again as
if its sound came −300 … 300 ms late, in steps of 40 ms; `shift_error_ms` is the difference of the lag found from the
lag expected. Phones and voicing are compared with what the sample's synthesiser was told to say.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.signal import lfilter, resample_poly
from scipy.stats import rankdata

from backend.contract.arrays import F32, F64, Floats, Mask
from backend.contract.errors import UserError
from backend.contract.progress import Reporter
from backend.media.audio_io import SAMPLE_RATE, is_silent, load_audio
from backend.pipeline.scan import scan_footage
from backend.speech.av_sync import NATURAL_LEAD, measure_audio_offset
from backend.speech.features import SpeechFeatures, analyze_speech
from backend.speech.phones import BILABIAL_PHONES
from backend.synthetic import SampleOptions, make_sample, voice
from backend.synthetic.phones import FOOTAGE_LINES, PHONES, TimedPhone, schedule_phones

PREFIXES = ("sound",)
CLIPS_FOLDER = Path(os.environ.get("PORTRAIT_ACTOR_CLIPS", Path(__file__).resolve().parents[2] / "shared" / "data"))
SECONDS, FPS = 24.0, 25.0
SHIFT_SECONDS = np.arange(-300, 301, 40) / 1000  # seconds
CORRECTABLE_SHIFT_SECONDS, NATURAL_SHIFT_SECONDS = (
    0.14,
    0.06,
)  # shifts that should be corrected, and those that may be the person's own
PHONE_EDGE_SECONDS = 0.02  # seconds at both ends of a phone that belong to its neighbours too


def run() -> dict[str, float]:
    """Figures under `sound.*`."""
    figures = feature_figures() | sample_figures()
    for group in ("train", "extra", "hard"):
        for clip in sorted((CLIPS_FOLDER / group).glob("*.m*")):
            found = offset_figures(clip)
            figures |= {f"sound.{clip.stem}.{name}": value for name, value in found.items()}
    return figures


def feature_figures() -> dict[str, float]:
    """Voicing, phones and speaker normalisation on a voice whose phones are known; speed."""
    rng = np.random.default_rng(0)
    said = schedule_phones(
        [text for _, text in FOOTAGE_LINES], rng, lead_seconds=0.6, pause_seconds=0.6, min_seconds=SECONDS
    )
    samples = resample_poly(voice.synthesize_speech(said, 0, SECONDS), SAMPLE_RATE, voice.SAMPLE_RATE).astype(
        np.float32
    )
    times = np.arange(round(SECONDS * FPS)) / FPS
    analyze_speech(samples[: 2 * SAMPLE_RATE])  # compiles
    began = time.process_time()
    track = analyze_speech(samples)
    windows = track.context_windows(times)
    figures = {"sound.features.frames_per_cpu_second_fps": len(times) / (time.process_time() - began)}
    return figures | recognition_figures(track, said) | normalization_figures(samples, windows, times)


def recognition_figures(track: SpeechFeatures, phones: list[TimedPhone]) -> dict[str, float]:
    """Voicing, activity and phones against what was said, in frames of 10 ms."""
    clock = np.arange(len(track)) / 100
    name, owned = np.full(len(clock), "SIL", dtype="U4"), np.ones(len(clock), bool)
    for phone in phones:
        name[(clock >= phone.start) & (clock < phone.end)] = phone.name
        owned &= (np.abs(clock - phone.start) > PHONE_EDGE_SECONDS) & (np.abs(clock - phone.end) > PHONE_EDGE_SECONDS)
    spoken = owned & (name != "SIL")
    voiced = np.array([n != "SIL" and PHONES[n].voicing >= 0.4 for n in name])
    loop, names = track.phones.loop_posteriors, np.array(track.phones.names)
    best = np.argsort(-loop, 1)
    right = names[best] == name[:, None]
    lips = np.isin(name, BILABIAL_PHONES)
    return {
        "sound.sample.voicing_accuracy": balanced_accuracy(track.rhythm[owned, 11] > 0.5, voiced[owned]),
        "sound.sample.voicing_auc": auc(track.rhythm[owned, 11], voiced[owned]),
        "sound.sample.activity_accuracy": balanced_accuracy(track.activity[owned] > 0.5, (name != "SIL")[owned]),
        "sound.sample.phone_top1": float(right[spoken, 0].mean()),
        "sound.sample.phone_top5": float(right[spoken, :5].any(1).mean()),
        "sound.sample.phone_chance": 1 / len(names),
        "sound.sample.bilabial_auc": auc(track.bilabial_probability[owned], lips[owned]),
    }


def normalization_figures(samples: F32, windows: F32, times: F64) -> dict[str, float]:
    """How far the features move, in their own deviations, when the same is said elsewhere or by another voice."""
    tilted = lfilter([1.0, -0.7], [1.0], samples).astype(np.float32)
    other = resample_poly(samples, 20, 23).astype(np.float32)  # 15 % higher, and faster
    changes = {
        "gain_minus_20_db": (samples * 0.1, times),
        "other_microphone": (tilted / np.abs(tilted).max() * np.abs(samples).max(), times),
        "higher_voice": (other, times * 20 / 23),
    }
    figures = {}
    for name, (changed, moments) in changes.items():
        moved = analyze_speech(changed).context_windows(moments)
        figures[f"sound.normalised.{name}_change"] = float(np.abs(moved - windows).mean() / windows.std(0).mean())
        figures[f"sound.normalised.{name}_r"] = float(np.corrcoef(moved.ravel(), windows.ravel())[0, 1])
    return figures


def balanced_accuracy(predicted: Mask, actual: Mask) -> float:
    """Mean of the shares of right answers among the true and among the false."""
    return float((predicted[actual].mean() + (~predicted[~actual]).mean()) / 2)


def auc(score: Floats, actual: Mask) -> float:
    """Probability that a true one scores higher than a false one."""
    ranks = rankdata(score)
    positive = int(actual.sum())
    return float((ranks[actual].sum() - positive * (positive + 1) / 2) / (positive * int((~actual).sum())))


def sample_figures() -> dict[str, float]:
    """The sample actor, whose sound and picture are made together, as the tracker sees it."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "sample.mp4"
        make_sample(clip, SampleOptions(seconds=14.0, size=256, seed=1))
        return {f"sound.sample.{name}": value for name, value in offset_figures(clip).items()}


def offset_figures(clip: Path) -> dict[str, float]:
    """The offset of one clip, and how the same clip is judged with its sound shifted; {} when it cannot be used."""
    began = time.perf_counter()
    try:
        info, found, chosen = scan_footage(clip, None, Reporter())
        scanned = time.perf_counter() - began
        samples = load_audio(clip)
    except UserError:
        return {}
    if is_silent(samples):
        return {}
    track, first = analyze_speech(samples), chosen.first / info.fps
    offset = measure_audio_offset(track, chosen.landmarks, info.fps, first)
    if not np.isfinite(offset.lag):
        return {}
    figures = {
        "offset_ms": 1000 * offset.seconds, "lag_ms": 1000 * offset.lag, "sure": float(offset.is_certain),
        "correlation": offset.correlation, "steady": offset.stability, "scan_fps": len(found.landmarks) / scanned,
    }  # fmt: skip
    shifted = [measure_audio_offset(track, chosen.landmarks, info.fps, first - late) for late in SHIFT_SECONDS]
    lags, sure = np.array([s.lag for s in shifted]), np.array([s.is_certain for s in shifted])
    figures["shift_error_ms_mean"] = float(1000 * np.abs(lags - offset.lag - SHIFT_SECONDS).mean())
    figures["shift_from_zero_error_ms_mean"] = float(1000 * np.abs(lags - NATURAL_LEAD - SHIFT_SECONDS).mean())
    figures["large_shifts_sure_percent"] = 100 * float(sure[np.abs(SHIFT_SECONDS) >= CORRECTABLE_SHIFT_SECONDS].mean())
    figures["small_shifts_sure_percent"] = 100 * float(sure[np.abs(SHIFT_SECONDS) <= NATURAL_SHIFT_SECONDS].mean())
    return figures
